use std::time::Duration;

use http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{Cluster, chain};
use crate::{
    model::Secret,
    resource::{Cause, ResourceError},
};

const BODY_LIMIT: usize = 16 << 20;

/// What a pod answered.
#[derive(Debug, Clone)]
pub struct PodAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Cluster {
    /// One HTTP GET to a port of a pod, through the API server's port-forward, which passes the header
    /// `Authorization` on as it is.
    pub async fn get_from_pod(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
        authorization: Option<&Secret<String>>,
        within: Duration,
    ) -> Result<PodAnswer, ResourceError> {
        let what = format!("pod {namespace}/{pod}, port {port}, {path}");
        let failed = |error: &dyn std::error::Error| {
            ResourceError::new(Cause::Transient, format!("{what}: {}", chain(error)))
        };
        let exchange = async {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
            let mut forward = pods
                .portforward(pod, &[port])
                .await
                .map_err(|error| failed(&error))?;
            let stream = forward
                .take_stream(port)
                .ok_or_else(|| ResourceError::permanent(format!("{what}: the port-forward has no stream")))?;
            let refused = forward.take_error(port);
            let answer = get(stream, path, authorization).await;
            let answer = match answer {
                Ok(answer) => Ok(answer),
                Err(error) => {
                    // The kubelet says why apart from the stream, if it does.
                    let why = match refused {
                        Some(refused) => tokio::time::timeout(Duration::from_secs(1), refused)
                            .await
                            .ok()
                            .flatten(),
                        None => None,
                    };
                    Err(match why {
                        Some(why) => ResourceError::new(Cause::Transient, format!("{what}: {}", why.trim())),
                        None => failed(&*error),
                    })
                }
            };
            forward.abort();
            answer
        };
        tokio::time::timeout(within, exchange)
            .await
            .unwrap_or_else(|error| Err(failed(&error)))
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

async fn get<S>(stream: S, path: &str, authorization: Option<&Secret<String>>) -> Result<PodAnswer, BoxError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::CONNECTION, "close")
        .header(header::ACCEPT, "*/*");
    let request = match authorization {
        Some(secret) => request.header(header::AUTHORIZATION, secret.expose()),
        None => request,
    };
    let request = request.body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await;
    let answer = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), BODY_LIMIT).collect().await;
            body.map(|body| PodAnswer {
                status,
                body: body.to_bytes().to_vec(),
            })
        }
        Err(error) => Err(error.into()),
    };
    connection.abort();
    answer
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn status_and_body_come_through_a_plain_stream() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let server = tokio::spawn(async move {
            let mut request = vec![0; 1024];
            let length = theirs.read(&mut request).await.unwrap();
            theirs
                .write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 5\r\n\r\nlater")
                .await
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let answer = get(ours, "/-/ready", None).await.unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (503, b"later".as_slice())
        );
        assert!(server.await.unwrap().starts_with("GET /-/ready HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off_with_an_error() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let server = tokio::spawn(async move {
            let mut request = vec![0; 1024];
            assert!(theirs.read(&mut request).await.unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_LIMIT * 2);
            theirs.write_all(head.as_bytes()).await.unwrap();
            let part = vec![b'x'; 1 << 16];
            // Ends when the reader goes away.
            while theirs.write_all(&part).await.is_ok() {}
        });
        let error = get(ours, "/", None).await.unwrap_err().to_string();
        assert!(error.contains("length limit"), "{error}");
        server.await.unwrap();
    }
}
