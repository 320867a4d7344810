//! The ways to an API server: through a kubeconfig, or by address, certificate authority and tokens made by the caller.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use futures::future::BoxFuture;
use http::{HeaderValue, Request, header};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{limit::ConcurrencyLimitLayer, timeout::TimeoutLayer};

use super::{
    client::{CONNECT_WITHIN, HEADERS_WITHIN, IN_FLIGHT, chain},
    error::CallError,
};
use crate::{model::Secret, resource::ResourceError};

/// Gives the present bearer token for the cluster that has these outputs. Asked before each request; the caller keeps
/// the token and renews it before it ends.
pub type Tokens =
    Arc<dyn Fn(&Value) -> BoxFuture<'static, Result<Secret<String>, ResourceError>> + Send + Sync>;

/// What a cluster's outputs say that is needed to reach it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outputs {
    kubeconfig: Option<PathBuf>,
    server: Option<String>,
    /// Base64 of PEM.
    #[serde(default)]
    certificate_authority: String,
    context: String,
    #[serde(default)]
    profile: String,
}

/// One way to one cluster: what two of them share a connection by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Access {
    way: Way,
    context: String,
    pub(super) profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Way {
    /// A kubeconfig that was written anew is another cluster, though its path is the same.
    Kubeconfig {
        path: PathBuf,
        written: Option<SystemTime>,
    },
    Tokens {
        server: String,
        authority: String,
    },
}

/// Whether these outputs say how to reach a cluster.
pub(super) fn is_known(outputs: &Value) -> bool {
    ["kubeconfig", "server"]
        .iter()
        .any(|name| outputs.get(name).is_some_and(Value::is_string))
}

impl Access {
    /// Kubeconfig paths are relative to `data_folder`.
    pub(super) async fn read(outputs: &Value, data_folder: &std::path::Path) -> Result<Self, CallError> {
        let lacks = |what: &dyn std::fmt::Display| {
            CallError::Access(format!("the cluster's outputs lack something: {what}"))
        };
        let outputs = Outputs::deserialize(outputs).map_err(|error| lacks(&error))?;
        let way = match (outputs.kubeconfig, outputs.server) {
            (Some(path), _) => {
                let path = data_folder.join(path);
                let metadata = tokio::fs::metadata(&path).await;
                let written = metadata.and_then(|metadata| metadata.modified()).ok();
                Way::Kubeconfig { path, written }
            }
            (None, Some(server)) => Way::Tokens {
                server,
                authority: outputs.certificate_authority,
            },
            (None, None) => return Err(lacks(&"neither kubeconfig nor server")),
        };
        Ok(Self {
            way,
            context: outputs.context,
            profile: outputs.profile,
        })
    }

    /// Whether the caller's tokens are used, and not a kubeconfig's credentials.
    pub(super) fn by_token(&self) -> bool {
        matches!(self.way, Way::Tokens { .. })
    }

    /// A client, and the address that it talks to. No request is made.
    pub(super) async fn client(
        &self,
        outputs: &Value,
        tokens: Option<&Tokens>,
    ) -> Result<(Client, String), CallError> {
        let config = self.config().await?;
        let server = config.cluster_url.to_string();
        // A build with AWS in it has a second provider of cryptography; kube wants to be told which one is meant.
        // If another thread was first, it has said the same.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let client = ClientBuilder::try_from(config)
            .map_err(|error| self.unusable(&chain(&error)))?
            .with_layer(&TimeoutLayer::new(HEADERS_WITHIN))
            .with_layer(&ConcurrencyLimitLayer::new(IN_FLIGHT))
            .build();
        let client = match (&self.way, tokens) {
            (Way::Kubeconfig { .. }, _) => client,
            (Way::Tokens { .. }, Some(tokens)) => authorized(client, Arc::clone(tokens), outputs.clone()),
            (Way::Tokens { .. }, None) => {
                return Err(self.unusable(&"this run has nothing that makes tokens for it"));
            }
        };
        Ok((client, server.trim_end_matches('/').to_owned()))
    }

    async fn config(&self) -> Result<Config, CallError> {
        let kubeconfig = match &self.way {
            Way::Kubeconfig { path, .. } => {
                Kubeconfig::read_from(path).map_err(|error| self.unusable(&chain(&error)))?
            }
            Way::Tokens { server, authority } => {
                let authority = Some(authority).filter(|authority| !authority.is_empty());
                let cluster = json!({"server": server, "certificate-authority-data": authority});
                let kubeconfig = json!({
                    "clusters": [{"name": self.context, "cluster": cluster}],
                    "users": [{"name": self.context, "user": {}}],
                    "contexts": [{"name": self.context, "context": {"cluster": self.context, "user": self.context}}],
                });
                serde_json::from_value(kubeconfig).map_err(|error| self.unusable(&error))?
            }
        };
        let named_proxy = kubeconfig.clusters.iter().any(|named| {
            named
                .cluster
                .as_ref()
                .is_some_and(|cluster| cluster.proxy_url.is_some())
        });
        let options = KubeConfigOptions {
            context: Some(self.context.clone()),
            ..KubeConfigOptions::default()
        };
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| self.unusable(&chain(&error)))?;
        // kube's own retry waits up to minutes on a 503; the engine's is bounded and told to the user.
        config.default_retry = false;
        config.connect_timeout = Some(CONNECT_WITHIN);
        // Audit logs name who sent what.
        let agent = HeaderValue::from_static(concat!("stackup/", env!("CARGO_PKG_VERSION")));
        config.headers.push((header::USER_AGENT, agent));
        let host = config.cluster_url.host().unwrap_or_default();
        if !named_proxy && (host.starts_with("127.") || host == "localhost" || host == "[::1]") {
            // A proxy from the environment is for the world outside, as every other client has it.
            config.proxy_url = None;
        }
        Ok(config)
    }

    fn unusable(&self, what: &dyn std::fmt::Display) -> CallError {
        let whose = match &self.way {
            Way::Kubeconfig { path, .. } => path.display().to_string(),
            Way::Tokens { server, .. } => server.clone(),
        };
        CallError::Access(format!(
            "the context '{}' of {whose} cannot be used: {what}",
            self.context
        ))
    }
}

/// Puts the token of the moment on every request, those that become streams included.
fn authorized(client: Client, tokens: Tokens, outputs: Value) -> Client {
    let service = tower::service_fn(move |mut request: Request<Body>| {
        let (client, token) = (client.clone(), tokens(&outputs));
        async move {
            let token = token.await?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
            Ok::<_, tower::BoxError>(client.send(request).await?)
        }
    });
    Client::new(service, "default")
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use super::*;
    use crate::{
        kubernetes::{Clusters, api::tests::server},
        resource::Cause,
    };

    fn outputs(server: &str, authority: &str) -> Value {
        json!({"server": server, "certificateAuthority": authority, "context": "demo", "profile": "eks"})
    }

    fn tokens() -> Tokens {
        Arc::new(|_| Box::pin(async { Ok(Secret::new("t".to_owned())) }))
    }

    async fn client(outputs: &Value, tokens: Option<&Tokens>) -> Result<String, CallError> {
        let access = Access::read(outputs, "/nowhere".as_ref()).await?;
        Ok(access.client(outputs, tokens).await?.1)
    }

    #[tokio::test]
    async fn an_address_and_a_certificate_make_a_client_without_a_request() {
        let key = rcgen::generate_simple_self_signed(vec!["x".to_owned()]).unwrap();
        let pem = base64::engine::general_purpose::STANDARD.encode(key.cert.pem());
        let outputs = outputs("https://abc.example.invalid", &pem);
        assert_eq!(
            client(&outputs, Some(&tokens())).await.unwrap(),
            "https://abc.example.invalid"
        );
        assert!(is_known(&outputs));
    }

    #[tokio::test]
    async fn a_request_that_becomes_a_stream_carries_the_token_too() {
        let (server, asked) = server(vec![(403, json!({"message": "no"}))]).await;
        let clusters = Clusters::new(
            "/nowhere".into(),
            Secret::new(vec![1]),
            Arc::new(|_| {}),
            Some(tokens()),
        );
        let cluster = clusters.cluster(&outputs(&server, "")).await.unwrap();
        let within = std::time::Duration::from_secs(5);
        let refused = cluster
            .get_from_pod("shop", "front-0", 80, "/", None, within)
            .await;
        assert!(refused.is_err());
        let asked = asked.await.unwrap().pop().unwrap().to_lowercase();
        assert!(asked.contains("/portforward"), "{asked}");
        assert!(asked.contains("upgrade: websocket"), "{asked}");
        assert!(asked.contains("authorization: bearer t\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn that_no_token_can_be_had_is_told_in_the_makers_words() {
        let tokens: Tokens = Arc::new(|_| {
            Box::pin(async { Err(ResourceError::new(Cause::Refused, "wrong account").hint("log in")) })
        });
        let warn = Arc::new(|_| {});
        let clusters = Clusters::new("/nowhere".into(), Secret::new(vec![1]), warn, Some(tokens));
        let cluster = clusters
            .cluster(&outputs("http://127.0.0.1:1", ""))
            .await
            .unwrap();
        let error: ResourceError = cluster.get("/version").await.unwrap_err().into();
        assert_eq!(
            (error.cause, error.message.as_str(), error.hint.as_deref()),
            (Cause::Refused, "wrong account", Some("log in"))
        );
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named() {
        let broken = outputs("https://abc.example.invalid", "***");
        let error = client(&broken, Some(&tokens())).await.unwrap_err().to_string();
        assert!(
            error.contains("https://abc.example.invalid cannot be used"),
            "{error}"
        );
        assert!(error.contains("base64"), "{error}");
        let error = client(&outputs("https://abc.example.invalid", ""), None)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("nothing that makes tokens"), "{error}");
        let nothing = json!({"context": "demo"});
        assert!(!is_known(&nothing));
        let error = client(&nothing, Some(&tokens())).await.unwrap_err().to_string();
        assert!(error.contains("neither kubeconfig nor server"), "{error}");
    }
}
