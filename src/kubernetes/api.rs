//! The kind `k8s.api`: an API server answers and accepts us. What lives in a cluster that takes its time refers to it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use serde_json::{Value, json};

use super::{
    client::{Clusters, text},
    error::CallError,
};
use crate::{
    model::Address,
    resource::{
        Boxed, Intent, Kind, Live, Made, Observed, Readiness, ResourceError, Stack, Target, Traits,
        references,
    },
};

const DOCUMENTATION: &str = "\
The API server of a cluster, once it answers and accepts us. Nothing is made: it is only awaited, and everything of
Kubernetes refers to it. It goes with its cluster.

cluster    all outputs of the cluster";

/// Any namespace would do; this one is in every cluster, and reading it needs an identity and a right.
const AUTHENTICATED: &str = "/api/v1/namespaces/default";

/// The kind `k8s.api`.
pub(super) struct Api {
    clusters: Arc<Clusters>,
    /// What this run let go: there is nothing to look at.
    gone: Mutex<BTreeSet<Address>>,
}

impl Api {
    pub(super) fn new(clusters: &Arc<Clusters>) -> Self {
        Self {
            clusters: Arc::clone(clusters),
            gone: Mutex::default(),
        }
    }

    async fn look(&self, target: &Target) -> Result<Observed, ResourceError> {
        let Some(cluster) = target.inputs.as_ref().and_then(|inputs| inputs.get("cluster")) else {
            return Ok(self.unwanted(target));
        };
        match self.greet(cluster).await {
            Ok(version) => {
                let mut outputs = cluster.clone();
                if let Value::Object(fields) = &mut outputs {
                    fields.insert("kubernetes".into(), version.into());
                }
                Ok(Observed::Live(Box::new(Live::ready(outputs))))
            }
            Err(error) if !begins(&error) || answered_before(target, cluster) => Err(error.into()),
            Err(error) => Ok(Observed::Live(Box::new(Live {
                readiness: Readiness::NotYet(why(&error)),
                ..Live::ready(cluster.clone())
            }))),
        }
    }

    /// The server's version, if it answers and accepts us.
    async fn greet(&self, outputs: &Value) -> Result<String, CallError> {
        let cluster = self.clusters.connect(outputs).await?;
        let version = cluster.get("/version").await?;
        // That it is not there is an answer, too.
        cluster.find(AUTHENTICATED).await?;
        Ok(text(&version, "/gitVersion").to_owned())
    }

    fn unwanted(&self, target: &Target) -> Observed {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        match &target.remembered {
            Some(remembered) if !gone.contains(&target.address) => {
                Observed::Live(Box::new(Live::ready(remembered.outputs.clone())))
            }
            _ => Observed::Absent,
        }
    }
}

/// Whether an error may be one of a server that is still starting, or does not know us yet.
fn begins(error: &CallError) -> bool {
    match error {
        CallError::Refused(refusal) => matches!(refusal.code, 401 | 403 | 408 | 429 | 500..),
        CallError::NoAnswer { .. } | CallError::Broken(_) => true,
        CallError::Token(error) => error.again(),
        CallError::Access(_) | CallError::Unreadable(_) | CallError::NoSuchType { .. } => false,
    }
}

/// Whether an earlier run was accepted by this very server: then it does not begin, it fails.
fn answered_before(target: &Target, cluster: &Value) -> bool {
    let before = target.remembered.as_ref().map(|remembered| &remembered.outputs);
    before.is_some_and(|before| {
        before.get("kubernetes").is_some() && before.get("server") == cluster.get("server")
    })
}

fn why(error: &CallError) -> String {
    match error.refusal().map(|refusal| refusal.code) {
        Some(401) => {
            "it answers and does not know us yet: the access entry takes effect in about a minute".into()
        }
        Some(403) => format!("it answers and gives us no rights yet: {error}"),
        _ => match error {
            CallError::NoAnswer { server, message } => format!("{server} does not answer yet: {message}"),
            CallError::Broken(message) => format!("it does not answer yet: {message}"),
            CallError::Refused(_)
            | CallError::Access(_)
            | CallError::Token(_)
            | CallError::Unreadable(_)
            | CallError::NoSuchType { .. } => error.to_string(),
        },
    }
}

/// The identity of what is one of its sort in a cluster.
pub(super) fn identity(address: &Address, inputs: &Value) -> Result<Value, ResourceError> {
    let cluster = inputs
        .get("cluster")
        .map(references)
        .and_then(|found| found.into_iter().next())
        .ok_or_else(|| ResourceError::permanent(format!("{address} refers to no cluster")))?;
    Ok(json!({"cluster": cluster}))
}

/// What it belongs to, from that identity.
pub(super) fn cluster_of(target: &Target) -> Option<Address> {
    Address::parse(text(&target.identity, "/cluster")).ok()
}

impl Kind for Api {
    fn name(&self) -> &'static str {
        "k8s.api"
    }

    fn documentation(&self) -> &'static str {
        DOCUMENTATION
    }

    fn traits(&self) -> Traits {
        Traits {
            intent: Intent::Together,
            records_inputs: false,
            at_once: 4,
            // Measured by others between 20 and 60 s after the cluster counts as active.
            expected: Some(Duration::from_secs(45)),
            removal: None,
            deadline: Duration::from_mins(10),
            settles: Duration::ZERO,
            paced: true,
            pins: false,
        }
    }

    fn identity(&self, _: &Stack, address: &Address, inputs: &Value) -> Result<Value, ResourceError> {
        identity(address, inputs)
    }

    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        Box::pin(join_all(targets.iter().map(|target| self.look(target))))
    }

    fn create<'a>(&'a self, _: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(std::future::ready(Ok(Made::default())))
    }

    fn update<'a>(&'a self, _: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(std::future::ready(Ok(Made::default())))
    }

    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.insert(target.address.clone());
        Box::pin(std::future::ready(Ok(())))
    }

    fn goes_with(&self, target: &Target) -> Option<Address> {
        cluster_of(target)
    }

    fn lives_in(&self, target: &Target) -> Option<Address> {
        cluster_of(target)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::{
        model::Secret,
        resource::{Reference, Remembered},
    };

    /// A server that gives these answers, one a connection, and what it was asked.
    pub(in crate::kubernetes) async fn server(
        answers: Vec<(u16, Value)>,
    ) -> (String, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serve = tokio::spawn(async move {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap();
                asked.push(String::from_utf8_lossy(&request[..length]).into_owned());
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            asked
        });
        (address, serve)
    }

    fn kind() -> Api {
        let tokens: super::super::Tokens =
            Arc::new(|_| Box::pin(async { Ok(Secret::new("a-token".to_owned())) }));
        let warn = Arc::new(|_| {});
        Api::new(&Clusters::new(
            "/nowhere".into(),
            Secret::new(vec![1]),
            warn,
            Some(tokens),
        ))
    }

    fn target(server: Option<&str>, remembered: Option<Value>) -> Target {
        let cluster = Address::new("aws.eks_cluster", "demo");
        let address = Address::new("k8s.api", "demo");
        let identity = identity(&address, &json!({"cluster": Reference::whole(&cluster)})).unwrap();
        let outputs =
            |server| json!({"server": server, "context": "demo", "profile": "eks", "ephemeral": true});
        Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "u".into(),
            }),
            address,
            identity: identity.clone(),
            inputs: server.map(|server| Arc::new(json!({"cluster": outputs(server)}))),
            input_hash: String::new(),
            remembered: remembered.map(|outputs| {
                Arc::new(Remembered {
                    kind: "k8s.api".into(),
                    identity,
                    id: None,
                    component: None,
                    inputs: None,
                    input_hash: String::new(),
                    outputs,
                    needs: Vec::new(),
                    refers: vec![cluster],
                    generation: 0,
                })
            }),
            outputs: BTreeMap::new(),
            generation: 0,
            adopt: false,
        }
    }

    async fn readiness(answers: Vec<(u16, Value)>) -> (Result<Live, ResourceError>, Vec<String>) {
        let (address, asked) = server(answers).await;
        let seen = kind().look(&target(Some(&address), None)).await;
        (
            seen.map(|seen| seen.live().unwrap().clone()),
            asked.await.unwrap(),
        )
    }

    #[tokio::test]
    async fn a_server_that_answers_and_accepts_the_token_is_ready_and_tells_its_version() {
        let version = json!({"gitVersion": "v1.34.4-eks"});
        let (live, asked) = readiness(vec![(200, version), (200, json!({}))]).await;
        let live = live.unwrap();
        assert_eq!(live.readiness, Readiness::Ready);
        assert_eq!(live.outputs["kubernetes"], "v1.34.4-eks");
        assert_eq!(
            live.outputs["context"], "demo",
            "the cluster's outputs are handed on"
        );
        assert_eq!(asked.len(), 2);
        for request in asked {
            assert!(
                request.to_lowercase().contains("authorization: bearer a-token"),
                "{request}"
            );
        }
    }

    #[tokio::test]
    async fn a_server_that_does_not_know_us_yet_is_awaited() {
        let refused = json!({"message": "Unauthorized"});
        let (live, _) = readiness(vec![(200, json!({})), (401, refused)]).await;
        let Readiness::NotYet(why) = live.unwrap().readiness else {
            panic!("it is not ready")
        };
        assert!(why.contains("access entry"), "{why}");
        let (live, _) = readiness(vec![(503, json!({}))]).await;
        assert!(matches!(live.unwrap().readiness, Readiness::NotYet(_)));
    }

    #[tokio::test]
    async fn nobody_there_is_awaited_the_first_time_and_an_error_once_it_had_answered() {
        let nobody = "http://127.0.0.1:1";
        let seen = kind().look(&target(Some(nobody), None)).await.unwrap();
        let Readiness::NotYet(why) = &seen.live().unwrap().readiness else {
            panic!("it is not ready")
        };
        assert!(why.contains(nobody), "{why}");
        let before = |server: &str| Some(json!({"server": server, "kubernetes": "v1.34.4"}));
        let error = kind()
            .look(&target(Some(nobody), before(nobody)))
            .await
            .unwrap_err();
        assert_eq!(error.cause, crate::resource::Cause::Unreachable);
        let other = target(Some(nobody), before("https://the-one-before.invalid"));
        assert!(kind().look(&other).await.is_ok(), "a new cluster begins");
    }

    #[tokio::test]
    async fn when_it_is_no_longer_wanted_no_call_is_made_and_it_is_gone_once_let_go() {
        let kind = kind();
        let target = target(None, Some(json!({"server": "http://127.0.0.1:1"})));
        assert!(kind.look(&target).await.unwrap().live().is_some());
        assert_eq!(kind.goes_with(&target).unwrap().as_str(), "aws.eks_cluster/demo");
        kind.delete(&target).await.unwrap();
        assert!(kind.look(&target).await.unwrap().live().is_none());
    }
}
