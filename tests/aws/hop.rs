//! A plain HTTP server on loopback in front of moto: it counts the calls, and breaks those it is told to.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The caller is to be killed before the call has its effect.
    KillBefore,
    /// The caller is to be killed after the call had its effect, without its answer.
    KillAfter,
    /// It has its effect, and the connection ends without the answer.
    LoseAnswer,
    /// It has no effect, and the answer is that there were too many.
    Throttle,
    /// The list does not show anything yet.
    Hide,
    /// It waits until [`Hop::let_go`].
    Hold,
}

type Chooses = Box<dyn Fn(usize, &str) -> bool + Send + Sync>;

struct Shared {
    moto: SocketAddr,
    fault: Fault,
    chooses: Chooses,
    /// The calls so far, whether they were passed on or not.
    seen: AtomicUsize,
    /// The calls that moto got.
    passed: Mutex<Vec<String>>,
    kill: Notify,
    held: Notify,
    go: Notify,
    /// By how many seconds the clock of the server seems to be ahead.
    ahead: AtomicI64,
    /// Whether questions are passed on as they are: the double, unlike stock moto, takes them as AWS does.
    verbatim: AtomicBool,
}

/// A running hop; it ends with the test's runtime.
pub(super) struct Hop {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Hop {
    /// A hop that breaks the calls that `chooses` says, by number (from 0) and name.
    pub(super) async fn start(
        moto: SocketAddr,
        fault: Fault,
        chooses: impl Fn(usize, &str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            moto,
            fault,
            chooses: Box::new(chooses),
            seen: AtomicUsize::new(0),
            passed: Mutex::default(),
            kill: Notify::new(),
            held: Notify::new(),
            go: Notify::new(),
            ahead: AtomicI64::new(0),
            verbatim: AtomicBool::new(false),
        });
        tokio::spawn(listen(listener, Arc::clone(&shared)));
        Self { address, shared }
    }

    /// A hop that only counts.
    pub(super) async fn plain(moto: SocketAddr) -> Self {
        Self::start(moto, Fault::Throttle, |_, _| false).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns when the caller is to be killed.
    pub(super) async fn kill(&self) {
        self.shared.kill.notified().await;
    }

    /// Returns when a call is held.
    pub(super) async fn held(&self) {
        self.shared.held.notified().await;
    }

    /// Lets the call go that is held.
    pub(super) fn let_go(&self) {
        self.shared.go.notify_one();
    }

    /// The same hop to callers for whom the server's clock is so many seconds ahead.
    pub(super) fn ahead(self, seconds: i64) -> Self {
        self.shared.ahead.store(seconds, Ordering::SeqCst);
        self
    }

    /// The same hop in front of the double.
    pub(super) fn verbatim(self) -> Self {
        self.shared.verbatim.store(true, Ordering::SeqCst);
        self
    }

    /// The names of the calls that moto got.
    pub(super) fn calls(&self) -> Vec<String> {
        self.shared.passed.lock().unwrap().clone()
    }

    /// Those of them that change something.
    pub(super) fn writes(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| !call.starts_with("Describe"));
        calls
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| serve(Arc::clone(&shared), request));
        tokio::spawn(async move {
            // A client that goes away, and a connection that is to be cut, end it: both are as they should be.
            let server = hyper::server::conn::http1::Builder::new();
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Answers one call. An error cuts the connection.
async fn serve(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let text = String::from_utf8_lossy(&body);
    let action = text.split('&').find_map(|field| field.strip_prefix("Action="));
    // Services with JSON name their calls in a header; those of S3 and EKS have no name but their method and path.
    let target = head
        .headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok()?.rsplit('.').next());
    let call = action
        .or(target)
        .map_or_else(|| format!("{} {}", head.method, head.uri.path()), str::to_owned);
    let number = shared.seen.fetch_add(1, Ordering::SeqCst);
    let fault = (shared.chooses)(number, &call).then_some(shared.fault);
    match fault {
        Some(Fault::KillBefore) => return killed(&shared).await,
        Some(Fault::Throttle) => {
            let error = "<Response><Errors><Error><Code>RequestLimitExceeded</Code>\
                <Message>injected by the test</Message></Error></Errors><RequestID>id</RequestID></Response>";
            return Ok(Response::builder().status(503).body(Full::from(error)).unwrap());
        }
        Some(Fault::Hide) => {
            let nothing = format!("<{call}Response><requestId>id</requestId></{call}Response>");
            return Ok(Response::new(Full::from(nothing)));
        }
        Some(Fault::Hold) => {
            shared.held.notify_one();
            shared.go.notified().await;
        }
        Some(Fault::KillAfter | Fault::LoseAnswer) | None => {}
    }
    let body = if shared.verbatim.load(Ordering::SeqCst) {
        body.clone()
    } else {
        ask(&mut head.headers, &call, body.clone())
    };
    shared.passed.lock().unwrap().push(call);
    let stream = TcpStream::connect(shared.moto).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    tokio::spawn(connection);
    let answer = sender.send_request(Request::from_parts(head, Full::new(body)));
    let (mut head, body) = answer.await.map_err(io::Error::other)?.into_parts();
    turn(&mut head.headers, shared.ahead.load(Ordering::SeqCst));
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let body = correct(&mut head.headers, body);
    match fault {
        Some(Fault::KillAfter) => killed(&shared).await,
        Some(Fault::LoseAnswer) => Err(io::Error::other("the answer is lost")),
        Some(Fault::KillBefore | Fault::Throttle | Fault::Hide | Fault::Hold) | None => {
            Ok(Response::from_parts(head, Full::new(body)))
        }
    }
}

/// Sets the clock of an answer.
fn turn(headers: &mut hyper::HeaderMap, ahead: i64) {
    let Some(date) = headers.get_mut("date").filter(|_| ahead != 0) else {
        return;
    };
    let format = "%a, %d %b %Y %H:%M:%S";
    let text = date.to_str().unwrap().trim_end_matches(" GMT").to_owned();
    let then = jiff::civil::DateTime::strptime(format, text).unwrap();
    let then = then + jiff::Span::new().seconds(ahead);
    *date = format!("{} GMT", then.strftime(format)).parse().unwrap();
}

/// Asks moto for endpoints by id in the word that it has for that filter; it breaks down at AWS's own.
fn ask(headers: &mut hyper::HeaderMap, call: &str, body: Bytes) -> Bytes {
    match std::str::from_utf8(&body) {
        Ok(text) if call == "DescribeVpcEndpoints" => {
            headers.remove("content-length");
            text.replace("=vpc-endpoint-id&", "=id&").into()
        }
        Ok(_) | Err(_) => body,
    }
}

/// Gives an answer of moto the name that S3 gives it, without which no SDK of AWS can read it.
fn correct(headers: &mut hyper::HeaderMap, body: Bytes) -> Bytes {
    let wrong = "GetBucketVersioningResponse";
    match std::str::from_utf8(&body) {
        Ok(text) if text.contains(wrong) => {
            headers.remove("content-length");
            text.replace(wrong, "VersioningConfiguration").into()
        }
        Ok(_) | Err(_) => body,
    }
}

/// Has the caller killed; it never gets an answer.
async fn killed(shared: &Shared) -> io::Result<Response<Full<Bytes>>> {
    shared.kill.notify_one();
    std::future::pending().await
}
