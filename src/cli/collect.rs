//! Collects what the checks read: one parallel list of each type, and HTTP through the API server's port-forward.

use std::{collections::BTreeSet, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, future::join_all, stream};
use serde_json::Value;

use super::{context::Session, error::CliError, evidence::namespaces, exit::Exit};
use crate::{
    checks::{self, Answer, Evidence, Kind, Place},
    kubernetes::Cluster,
    model::Secret,
    resource::ResourceError,
};

/// How long one component may take to answer.
const WITHIN: Duration = Duration::from_secs(10);
/// How many are asked at a time.
const AT_ONCE: usize = 8;

/// What is asked of the API server itself.
const SERVER: &str = "cluster:";

/// Reads anew what is named; everything else in the evidence stays as it was. Errs only if the API server cannot be
/// reached: what a component does not answer is evidence.
pub(super) async fn collect(
    session: &Session,
    reads: &BTreeSet<&'static str>,
    evidence: &mut Evidence,
) -> Result<(), CliError> {
    let Some(outputs) = session.cluster_outputs() else {
        return Err(CliError::new(
            Exit::Unreachable,
            format!("the cluster of stack '{}' is not there", evidence.stack),
        )
        .hint("make it: stackup apply"));
    };
    let cluster = session.clusters.cluster(&outputs).await?;
    evidence.at = now();
    let version = cluster.raw("/version").await?;
    told(evidence, &format!("{SERVER}/version"), "", response(&version));

    let http = |read: &&&str| read.contains(':');
    let components: Vec<&str> = reads
        .iter()
        .filter(http)
        .filter(|read| !read.starts_with(SERVER))
        .copied()
        .collect();
    let mut kinds: BTreeSet<&str> = reads.iter().filter(|read| !http(read)).copied().collect();
    if !components.is_empty() {
        // Where a component answers is found through these.
        kinds.extend(["Pod", "StatefulSet", "Deployment"]);
    }
    let own = namespaces(evidence);
    let kinds: Vec<&Kind> = kinds.into_iter().filter_map(checks::kind).collect();
    let lists = join_all(kinds.iter().map(|kind| list(&cluster, kind, &own))).await;
    let mut login = None;
    for (kind, list) in kinds.iter().zip(lists) {
        match list? {
            Some(objects) => {
                if kind.kind == "Secret" {
                    login =
                        checks::grafana_login(evidence).and_then(|wanted| authorization(&objects, &wanted));
                }
                let objects: Vec<Value> = objects.into_iter().map(checks::reduce).collect();
                evidence.objects.insert(kind.kind.to_owned(), objects.into());
                evidence.refused.remove(kind.kind);
            }
            None => {
                evidence.refused.insert(kind.kind.to_owned());
            }
        }
    }
    for read in reads
        .iter()
        .filter(|read| read.starts_with(SERVER) && **read != "cluster:/version")
    {
        let path = read.trim_start_matches(SERVER);
        let answer = match cluster.raw(path).await {
            Ok(answer) => response(&answer),
            Err(error) => Answer::Error {
                error: error.to_string(),
            },
        };
        told(evidence, read, "", answer);
    }
    ask(&cluster, &components, login.as_ref(), evidence).await;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what was seen is dated by the real clock; what is judged by it takes it as a value"
)]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// All objects of a kind, in the stack's own namespaces if no others matter; nothing if that is not allowed.
async fn list(
    cluster: &Cluster,
    kind: &Kind,
    own: &BTreeSet<String>,
) -> Result<Option<Vec<Value>>, ResourceError> {
    if !kind.own_namespaces {
        return cluster
            .objects_if_allowed(kind.api_version, kind.kind, None)
            .await;
    }
    let of = |namespace| cluster.objects_if_allowed(kind.api_version, kind.kind, Some(namespace));
    let mut all = Vec::new();
    for found in join_all(own.iter().map(|namespace| of(namespace.as_str()))).await {
        match found? {
            Some(found) => all.extend(found),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// Keeps an answer.
fn told(evidence: &mut Evidence, read: &str, pod: &str, answer: Answer) {
    let answers = evidence.http.entry(read.to_owned()).or_default();
    answers.insert(pod.to_owned(), answer);
}

/// Asks every pod of the components, several at a time. A component without pods has no answer.
async fn ask(cluster: &Cluster, reads: &[&str], login: Option<&Secret<String>>, evidence: &mut Evidence) {
    let places = checks::places(evidence);
    let asked = reads.iter().flat_map(|read| {
        let (component, path) = read.split_once(':').unwrap_or_default();
        let places = places.get(component).into_iter().flatten();
        places.map(move |place| (*read, place, path))
    });
    let answers = asked.map(|(read, place, path)| async move {
        let login = login.filter(|_| read.starts_with("grafana:"));
        (read, place, get(cluster, place, path, login).await)
    });
    let answers: Vec<_> = stream::iter(answers).buffer_unordered(AT_ONCE).collect().await;
    // A pod that answered earlier may be gone.
    evidence.http.retain(|key, _| !reads.contains(&key.as_str()));
    for (read, place, answer) in answers {
        let answer = answer.unwrap_or_else(|error| {
            if error.message.contains("forbidden") && error.message.contains("portforward") {
                evidence.refused.insert("pods/portforward".to_owned());
            }
            Answer::Error { error: error.message }
        });
        told(
            evidence,
            read,
            &format!("{}/{}", place.namespace, place.pod),
            answer,
        );
    }
}

async fn get(
    cluster: &Cluster,
    place: &Place,
    path: &str,
    login: Option<&Secret<String>>,
) -> Result<Answer, ResourceError> {
    let answer = cluster
        .get_from_pod(&place.namespace, &place.pod, place.port, path, login, WITHIN)
        .await?;
    Ok(Answer::Response {
        status: answer.status,
        body: String::from_utf8_lossy(&answer.body).into_owned(),
    })
}

fn response(answer: &Value) -> Answer {
    let body = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
    Answer::Response { status: 200, body }
}

/// What Grafana wants to see of whoever asks for more than its health.
fn authorization(secrets: &[Value], wanted: &checks::Login) -> Option<Secret<String>> {
    let secret = secrets.iter().find(|secret| {
        secret.pointer("/metadata/name").and_then(Value::as_str) == Some(&wanted.secret)
            && secret.pointer("/metadata/namespace").and_then(Value::as_str) == Some(&wanted.namespace)
    })?;
    let value = |key: &str| {
        let text = secret.get("data")?.get(key)?.as_str()?;
        String::from_utf8(STANDARD.decode(text).ok()?).ok()
    };
    let (user, password) = (value(&wanted.user)?, value(&wanted.password)?);
    Some(Secret::new(format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn grafana_is_asked_as_the_user_that_its_secret_names() {
        let wanted = checks::Login {
            namespace: "m".into(),
            secret: "g".into(),
            user: "u".into(),
            password: "p".into(),
        };
        let secret =
            json!({"metadata": {"namespace": "m", "name": "g"}, "data": {"u": "YWRtaW4=", "p": "c2VjcmV0"}});
        let found = authorization(&[secret], &wanted).unwrap();
        assert_eq!(found.expose(), "Basic YWRtaW46c2VjcmV0");
        assert!(authorization(&[], &wanted).is_none());
    }
}
