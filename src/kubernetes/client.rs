use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::{Client, client::Body};
use serde_json::Value;

use super::{
    access::{Access, Tokens},
    discovery::Discovery,
    error::{CallError, Credentials, Refusal},
    follow::Applied,
    marks::Marks,
    watches::Watches,
};
use crate::{
    model::{Address, Secret},
    resource::ResourceError,
};

/// How many requests may wait for their headers at once; open watches do not count.
pub(super) const IN_FLIGHT: usize = 16;
/// Longer than an API server's own limit of 60 s and than a webhook's longest of 30 s.
pub(super) const HEADERS_WITHIN: Duration = Duration::from_secs(65);
const BODY_WITHIN: Duration = Duration::from_mins(1);
pub(super) const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Receives each distinct warning that an API server sends, once.
pub type Warn = Arc<dyn Fn(String) + Send + Sync>;

/// The API servers that a run talks to: one client for each way to one, made on first use and shared.
pub struct Clusters {
    data_folder: PathBuf,
    tokens: Option<Tokens>,
    pub(super) marks: Marks,
    warnings: Arc<Warnings>,
    known: tokio::sync::Mutex<HashMap<Access, Arc<Cluster>>>,
    /// What the applies of this run returned, for a watch that tells outputs later.
    pub(super) applied: Mutex<HashMap<Address, Applied>>,
}

struct Warnings {
    told: Mutex<BTreeSet<String>>,
    warn: Warn,
}

/// One API server and what is known of it.
pub struct Cluster {
    pub(super) client: Client,
    pub(super) discovery: Discovery,
    pub(super) watches: Watches,
    /// `kind`, `kwok`, `existing` or `eks`.
    pub(super) profile: String,
    server: String,
    by_token: bool,
    /// When this run connected to it.
    pub(super) first_look: Timestamp,
    answered: AtomicBool,
    accepted: AtomicBool,
    warnings: Arc<Warnings>,
}

/// The body of a request, and with it the content type.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    Nothing,
    Json(&'a Value),
    Apply(&'a Value),
    JsonPatch(&'a Value),
}

impl Clusters {
    /// Kubeconfig paths are relative to `data_folder`; `key` keeps hashes of secret values from being guessed;
    /// `warn` is told what the servers warn of; `tokens` are for clusters whose outputs name no kubeconfig.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller keeps no copy of the key"
    )]
    pub fn new(data_folder: PathBuf, key: Secret<Vec<u8>>, warn: Warn, tokens: Option<Tokens>) -> Arc<Self> {
        Arc::new(Self {
            data_folder,
            tokens,
            marks: Marks::new(&key),
            warnings: Arc::new(Warnings {
                told: Mutex::default(),
                warn,
            }),
            known: tokio::sync::Mutex::default(),
            applied: Mutex::default(),
        })
    }

    /// The cluster that has these outputs.
    pub async fn cluster(&self, outputs: &Value) -> Result<Arc<Cluster>, ResourceError> {
        Ok(self.connect(outputs).await?)
    }

    /// What makes the cluster with these outputs this one and no other: the uid of its namespace `kube-system`. Nothing
    /// if it does not answer or does not let us read that.
    pub async fn uid(&self, outputs: &Value) -> Option<String> {
        let cluster = self.connect(outputs).await.ok()?;
        let namespace = cluster.get("/api/v1/namespaces/kube-system").await.ok()?;
        Some(text(&namespace, "/metadata/uid").to_owned()).filter(|uid| !uid.is_empty())
    }

    pub(super) async fn connect(&self, outputs: &Value) -> Result<Arc<Cluster>, CallError> {
        let access = Access::read(outputs, &self.data_folder).await?;
        let mut known = self.known.lock().await;
        if let Some(cluster) = known.get(&access) {
            return Ok(Arc::clone(cluster));
        }
        let (client, server) = access.client(outputs, self.tokens.as_ref()).await?;
        let cluster = Arc::new(Cluster {
            client,
            discovery: Discovery::default(),
            watches: Watches::default(),
            profile: access.profile.clone(),
            server,
            by_token: access.by_token(),
            first_look: super::clock::now(),
            answered: AtomicBool::new(false),
            accepted: AtomicBool::new(false),
            warnings: Arc::clone(&self.warnings),
        });
        known.insert(access, Arc::clone(&cluster));
        Ok(cluster)
    }
}

impl std::fmt::Debug for Clusters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clusters")
            .field("data_folder", &self.data_folder)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// One request whose answer is JSON.
    pub(super) async fn call(&self, method: Method, path: &str, sent: Sent<'_>) -> Result<Value, CallError> {
        let body = self.exchange(method, path, sent, "application/json").await?;
        serde_json::from_slice(&body).map_err(|error| CallError::Unreadable(error.to_string()))
    }

    /// Reads one thing.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.call(Method::GET, path, Sent::Nothing).await
    }

    /// Reads one thing, or finds that it is not there.
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>, CallError> {
        match self.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All items of a collection, page by page. `query` begins with `?` or is empty.
    pub(super) async fn list(&self, collection: &str, query: &str) -> Result<Vec<Value>, CallError> {
        let separator = if query.is_empty() { '?' } else { '&' };
        'again: loop {
            let mut items: Vec<Value> = Vec::new();
            let mut next = String::new();
            loop {
                let path = format!("{collection}{query}{separator}limit=500{next}");
                let mut page = match self.get(&path).await {
                    Ok(page) => page,
                    // The place in the list has grown too old: the list is read from its beginning.
                    Err(CallError::Refused(refusal)) if refusal.code == 410 && !next.is_empty() => {
                        continue 'again;
                    }
                    Err(error) => return Err(error),
                };
                let kind = text(&page, "/kind").trim_end_matches("List").to_owned();
                let api_version = text(&page, "/apiVersion").to_owned();
                if let Some(Value::Array(found)) = page.get_mut("items").map(Value::take) {
                    items.extend(found.into_iter().map(|mut item| {
                        // The items of a built-in list do not say what they are.
                        if let Value::Object(fields) = &mut item {
                            fields.entry("kind").or_insert_with(|| kind.clone().into());
                            fields
                                .entry("apiVersion")
                                .or_insert_with(|| api_version.clone().into());
                        }
                        item
                    }));
                }
                match text(&page, "/metadata/continue") {
                    "" => return Ok(items),
                    token => next = format!("&continue={}", encoded(token)),
                }
            }
        }
    }

    /// One request, from first byte to last.
    pub(super) async fn exchange(
        &self,
        method: Method,
        path: &str,
        sent: Sent<'_>,
        accept: &str,
    ) -> Result<Vec<u8>, CallError> {
        let (content_type, body) = match sent {
            Sent::Nothing => (None, Vec::new()),
            Sent::Json(body) => (Some("application/json"), body.to_string().into_bytes()),
            // JSON is YAML; the name of the type is the server's.
            Sent::Apply(body) => (
                Some("application/apply-patch+yaml"),
                body.to_string().into_bytes(),
            ),
            Sent::JsonPatch(body) => (Some("application/json-patch+json"), body.to_string().into_bytes()),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|error| CallError::Unreadable(format!("'{path}' is not a request: {error}")))?;
        let answer = self
            .client
            .send(request)
            .await
            .map_err(|error| self.failed(&error))?;
        self.answered.store(true, Ordering::Relaxed);
        let (head, body) = answer.into_parts();
        self.warnings.tell(&head.headers);
        let body = tokio::time::timeout(BODY_WITHIN, body.collect())
            .await
            .map_err(|error| CallError::Broken(error.to_string()))?
            .map_err(|error| CallError::Broken(chain(&error)))?
            .to_bytes();
        if head.status.is_success() {
            self.accepted.store(true, Ordering::Relaxed);
            return Ok(body.to_vec());
        }
        let word = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let mut refusal = Refusal::read(
            head.status.as_u16(),
            &body,
            word("retry-after").and_then(|seconds| seconds.parse().ok()),
            word("audit-id").map(str::to_owned),
        );
        refusal.credentials = match (self.by_token, self.accepted.load(Ordering::Relaxed)) {
            (false, _) => Credentials::Kubeconfig,
            (true, false) => Credentials::Token,
            (true, true) => Credentials::TokenAcceptedBefore,
        };
        Err(CallError::Refused(Box::new(refusal)))
    }

    /// A server that answered before and refuses connections now is being restarted, not absent.
    fn failed(&self, error: &kube::Error) -> CallError {
        // That it is an error of a service tells nobody anything.
        let message = if let kube::Error::Service(error) = error {
            chain(error.as_ref())
        } else {
            chain(error)
        };
        if let kube::Error::Service(error) = error
            && let Some(error) = error.downcast_ref::<ResourceError>()
        {
            return CallError::Token(Box::new(error.clone()));
        }
        if matches!(error, kube::Error::Auth(_)) {
            return CallError::Access(format!(
                "the credentials for {} cannot be had: {message}",
                self.server
            ));
        }
        let connecting = [
            "connect error",
            "dns error",
            "certificate",
            "deadline has elapsed",
        ];
        if connecting.iter().any(|words| message.contains(words)) && !self.answered.load(Ordering::Relaxed) {
            return CallError::NoAnswer {
                server: self.server.clone(),
                message,
            };
        }
        CallError::Broken(message)
    }
}

impl Warnings {
    fn tell(&self, headers: &HeaderMap) {
        for header in headers.get_all(header::WARNING) {
            // 299 - "text"
            let Ok(header) = header.to_str() else { continue };
            let Some(text) = header.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"')) else {
                continue;
            };
            let text = text.0.replace("\\\"", "\"");
            let new = self
                .told
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(text.clone());
            if new {
                (self.warn)(text);
            }
        }
    }
}

/// An error with all that caused it, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        source = error.source();
    }
    text
}

/// A text as it may stand in a path segment or a query value.
pub(super) fn encoded(text: &str) -> String {
    let mut all = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => {
                all.push(char::from(byte));
            }
            _ => {
                let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap_or_default();
                all.extend([
                    '%',
                    digit(byte >> 4).to_ascii_uppercase(),
                    digit(byte & 15).to_ascii_uppercase(),
                ]);
            }
        }
    }
    all
}

/// The text at a JSON pointer, or nothing.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_told_once_and_without_its_code() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let warnings = Warnings {
            told: Mutex::default(),
            warn: {
                let told = Arc::clone(&told);
                Arc::new(move |text| told.lock().unwrap().push(text))
            },
        };
        let mut headers = HeaderMap::new();
        headers.append(
            header::WARNING,
            r#"299 - "unknown field \"spec.x\"""#.parse().unwrap(),
        );
        headers.append(
            header::WARNING,
            r#"299 - "v1 Endpoints is deprecated""#.parse().unwrap(),
        );
        warnings.tell(&headers);
        warnings.tell(&headers);
        assert_eq!(
            *told.lock().unwrap(),
            ["unknown field \"spec.x\"", "v1 Endpoints is deprecated"]
        );
    }

    #[test]
    fn what_has_a_meaning_in_an_address_is_encoded() {
        assert_eq!(
            encoded("system:node stackup/stack=demo"),
            "system:node%20stackup%2Fstack%3Ddemo"
        );
    }

    #[tokio::test]
    async fn a_server_that_never_answered_is_unreachable_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        });
        std::fs::write(folder.path().join("config"), kubeconfig.to_string()).unwrap();
        let clusters = Clusters::new(
            folder.path().to_owned(),
            Secret::new(vec![1]),
            Arc::new(|_| {}),
            None,
        );
        let outputs = serde_json::json!({"kubeconfig": "config", "context": "x", "profile": "kind"});
        let cluster = clusters.cluster(&outputs).await.unwrap();
        let error: ResourceError = cluster.get("/version").await.unwrap_err().into();
        assert_eq!(error.cause, crate::resource::Cause::Unreachable);
        assert!(error.message.contains("http://127.0.0.1:1"), "{}", error.message);
        let again = clusters.cluster(&outputs).await.unwrap();
        assert!(Arc::ptr_eq(&cluster, &again), "one client is shared");
        let other = serde_json::json!({"kubeconfig": "config", "context": "y", "profile": "kind"});
        let error = clusters.cluster(&other).await.unwrap_err();
        assert!(error.message.contains("'y'"), "{}", error.message);
    }
}
