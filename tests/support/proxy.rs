//! A plain HTTP server on loopback in front of an API server: it records every request, and breaks those it is told to.
//!
//! It does not pass on upgraded connections (exec, port-forward).

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1::SendRequest,
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use super::cluster;

/// The context in the proxy's kubeconfig.
pub(crate) const CONTEXT: &str = "proxy";

/// One request as the API server got it, or would have got it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
    /// The answer's status; nothing as long as there is none, or if the connection was cut.
    pub(crate) status: Option<u16>,
}

impl Sent {
    /// Whether it changes something on the server: not a read, and not a dry run.
    pub(crate) fn writes(&self) -> bool {
        let review =
            self.path.contains("/authorization.k8s.io/") || self.path.contains("/authentication.k8s.io/");
        self.method != "GET" && !self.query.contains("dryRun=All") && !review
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// It is not passed on; this is the answer.
    Status(u16),
    /// It is not passed on, and the connection ends.
    Drop,
    /// It is passed on, and the connection ends without the answer.
    LoseAnswer,
}

type Chooses = Box<dyn Fn(&Sent) -> bool + Send>;

struct Rule {
    chooses: Chooses,
    /// How many that match pass unharmed first.
    skip: usize,
    times: usize,
    fault: Fault,
}

struct Shared {
    sent: Mutex<Vec<Sent>>,
    rules: Mutex<Vec<Rule>>,
    upstream: Upstream,
}

struct Upstream {
    address: String,
    host: ServerName<'static>,
    tls: TlsConnector,
    bearer: Option<String>,
}

/// A running proxy; it ends with its value.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    folder: tempfile::TempDir,
    _runtime: Runtime,
}

type Body = BoxBody<Bytes, hyper::Error>;

impl Proxy {
    /// A proxy in front of the server of this kubeconfig's only cluster, as its only user.
    pub(crate) fn start(kubeconfig: &Path) -> Self {
        let shared = Arc::new(Shared {
            sent: Mutex::default(),
            rules: Mutex::default(),
            upstream: Upstream::read(kubeconfig),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(listen(listener, Arc::clone(&shared)));
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": CONTEXT,
            "clusters": [{"name": CONTEXT, "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": CONTEXT, "user": {}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        });
        fs::write(folder.path().join("kubeconfig.yaml"), config.to_string()).unwrap();
        Self {
            shared,
            folder,
            _runtime: runtime,
        }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig.yaml")
    }

    /// The head of a stack file that reaches the cluster through this proxy.
    pub(crate) fn stack(&self, name: &str) -> String {
        cluster::stack(name, &self.kubeconfig(), CONTEXT)
    }

    /// All requests since the last call.
    pub(crate) fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.shared.sent.lock().unwrap())
    }

    /// The requests so far.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.shared.sent.lock().unwrap().clone()
    }

    /// Breaks `times` of the requests that are chosen, after `skip` of them have passed.
    pub(crate) fn inject(
        &self,
        fault: Fault,
        skip: usize,
        times: usize,
        chooses: impl Fn(&Sent) -> bool + Send + 'static,
    ) {
        self.shared.rules.lock().unwrap().push(Rule {
            chooses: Box::new(chooses),
            skip,
            times,
            fault,
        });
    }

    /// Everything passes again.
    pub(crate) fn mend(&self) {
        self.shared.rules.lock().unwrap().clear();
    }
}

impl Shared {
    /// Notes a request; its number, and what is to become of it.
    fn note(&self, sent: Sent) -> (usize, Option<Fault>) {
        let fault = self.rules.lock().unwrap().iter_mut().find_map(|rule| {
            if rule.times == 0 || !(rule.chooses)(&sent) {
                return None;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                return None;
            }
            rule.times -= 1;
            Some(rule.fault)
        });
        let mut all = self.sent.lock().unwrap();
        all.push(sent);
        (all.len() - 1, fault)
    }

    /// Notes the answer, unless the record was taken away meanwhile.
    fn answered(&self, number: usize, path: &str, status: StatusCode) {
        if let Some(sent) = self
            .sent
            .lock()
            .unwrap()
            .get_mut(number)
            .filter(|sent| sent.path == path)
        {
            sent.status = Some(status.as_u16());
        }
    }
}

impl Upstream {
    fn read(path: &Path) -> Self {
        let config: Value = serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let server = cluster["server"]
            .as_str()
            .unwrap()
            .strip_prefix("https://")
            .unwrap()
            .trim_end_matches('/');
        let host = server
            .rsplit_once(':')
            .map_or(server, |(host, _)| host)
            .to_owned();
        let pem = |from: &Value, name: &str| -> Option<Vec<u8>> {
            let data = from[format!("{name}-data")].as_str();
            data.map(|data| BASE64_STANDARD.decode(data).unwrap())
                .or_else(|| Some(fs::read(path.parent().unwrap().join(from[name].as_str()?)).unwrap()))
        };
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(&pem(cluster, "certificate-authority").unwrap()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let tls = match pem(user, "client-certificate") {
            Some(chain) => {
                let chain = CertificateDer::pem_slice_iter(&chain)
                    .map(Result::unwrap)
                    .collect();
                let key = PrivateKeyDer::from_pem_slice(&pem(user, "client-key").unwrap()).unwrap();
                tls.with_client_auth_cert(chain, key).unwrap()
            }
            None => tls.with_no_client_auth(),
        };
        Self {
            address: server.to_owned(),
            host: ServerName::try_from(host).unwrap(),
            tls: TlsConnector::from(Arc::new(tls)),
            bearer: user["token"].as_str().map(|token| format!("Bearer {token}")),
        }
    }

    async fn connect(&self) -> io::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.host.clone(), stream).await?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        // One connection to the server for each to us; requests on it follow one another.
        let upstream = Arc::new(tokio::sync::Mutex::new(None));
        let service = service_fn(move |request| serve(Arc::clone(&shared), Arc::clone(&upstream), request));
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            // A client that goes away, and a connection that is to be cut, end it: both are as they should be.
            drop(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await,
            );
        });
    }
}

type Connection = Arc<tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>>;

/// Answers one request. An error cuts the connection.
async fn serve(
    shared: Arc<Shared>,
    upstream: Connection,
    request: Request<Incoming>,
) -> io::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path().to_owned();
    let (number, fault) = shared.note(Sent {
        method: head.method.to_string(),
        path: path.clone(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        // Server-side apply sends YAML by its content type; what stackup sends is JSON, which is YAML too.
        body: serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()),
        status: None,
    });
    match fault {
        Some(Fault::Status(status)) => {
            let status = StatusCode::from_u16(status).unwrap();
            shared.answered(number, &path, status);
            let text = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16(),
                "message": "injected by the test", "reason": status.canonical_reason().unwrap_or_default().replace(' ', "")});
            let response = Response::builder()
                .status(status)
                .header(header::CONTENT_TYPE, "application/json");
            return Ok(response.body(full(text.to_string())).unwrap());
        }
        Some(Fault::Drop) => return Err(io::Error::other("dropped")),
        Some(Fault::LoseAnswer) | None => {}
    }
    head.headers
        .insert(header::HOST, shared.upstream.address.parse().unwrap());
    if let Some(bearer) = &shared.upstream.bearer {
        head.headers
            .insert(header::AUTHORIZATION, bearer.parse().unwrap());
    }
    let mut connection = upstream.lock().await;
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        *connection = Some(shared.upstream.connect().await?);
    }
    let sender = connection.as_mut().unwrap();
    sender.ready().await.map_err(io::Error::other)?;
    let response = sender
        .send_request(Request::from_parts(head, Full::new(body)))
        .await
        .map_err(io::Error::other)?;
    if matches!(fault, Some(Fault::LoseAnswer)) {
        return Err(io::Error::other("the answer is lost"));
    }
    shared.answered(number, &path, response.status());
    Ok(response.map(BodyExt::boxed))
}

fn full(text: String) -> Body {
    Full::new(Bytes::from(text))
        .map_err(|never: Infallible| match never {})
        .boxed()
}
