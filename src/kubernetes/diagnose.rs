use http::Method;
use serde_json::Value;

use super::{
    client::{Cluster, Clusters, Sent, encoded, text},
    error::CallError,
    item::Item,
    pods::{failing, labels, pods_with, trouble},
    readiness::{condition, stuck, words},
};
use crate::resource::{ResourceError, Target};

/// Looking closer must not flood the reader.
const PODS: usize = 3;
const EVENTS: usize = 5;
const LOG_LINES: usize = 5;

/// What there is to know of an object that failed: pod reasons, events, last log lines.
pub(super) async fn diagnose(clusters: &Clusters, target: &Target) -> Vec<String> {
    let mut lines = Vec::new();
    if let Err(error) = look_closer(clusters, target, &mut lines).await {
        lines.push(format!("no closer look possible: {error}"));
    }
    lines
}

async fn look_closer(
    clusters: &Clusters,
    target: &Target,
    lines: &mut Vec<String>,
) -> Result<(), ResourceError> {
    let item = Item::read(target)?;
    let cluster = item.connect(clusters).await?;
    let Some(live) = cluster.find(&item.path(&cluster).await?).await? else {
        lines.push("it is not there".into());
        return Ok(());
    };
    lines.extend(conditions(&live));
    let namespace = text(&live, "/metadata/namespace");
    let pods = match labels(&live) {
        Some(labels) => pods_with(&cluster, namespace, &labels).await?,
        None if item.identity.kind == "Pod" => vec![std::sync::Arc::new(live.clone())],
        None => Vec::new(),
    };
    let troubled = pods.iter().filter_map(|pod| Some((pod, trouble(pod)?)));
    for (pod, trouble) in troubled.take(PODS) {
        let name = text(pod, "/metadata/name");
        lines.push(format!("pod {name}: {trouble}"));
        for (container, previous) in failing(pod) {
            match log(&cluster, namespace, name, &container, previous).await {
                Ok(log) => lines.extend(log.into_iter().map(|line| format!("  {container}: {line}"))),
                Err(error) => lines.push(format!("  {container}: no log: {error}")),
            }
        }
    }
    if !namespace.is_empty() {
        lines.extend(events(&cluster, namespace, &item.identity.name).await?);
    }
    Ok(())
}

/// The conditions that say why something is not as it should be.
fn conditions(live: &Value) -> Vec<String> {
    let mut lines: Vec<String> = stuck(live);
    for (kind, good) in [
        ("Established", "True"),
        ("NamesAccepted", "True"),
        ("Available", "True"),
        ("Reconciled", "True"),
        ("Progressing", "True"),
        ("ReplicaFailure", "False"),
        ("Failed", "False"),
    ] {
        if let Some(found) = condition(live, kind)
            && text(found, "/status") != good
        {
            lines.push(format!("{kind} is {}: {}", text(found, "/status"), words(found)));
        }
    }
    if live.pointer("/metadata/deletionTimestamp").is_some()
        && let Some(finalizers) = live.pointer("/metadata/finalizers")
    {
        lines.push(format!("waits for the finalizers {finalizers}"));
    }
    lines
}

/// The last warnings about an object and what its controller made for it.
async fn events(cluster: &Cluster, namespace: &str, name: &str) -> Result<Vec<String>, CallError> {
    let collection = format!("/api/v1/namespaces/{}/events", encoded(namespace));
    let query = format!("?fieldSelector={}", encoded("type=Warning"));
    let mut found: Vec<Value> = cluster
        .list(&collection, &query)
        .await?
        .into_iter()
        .filter(|event| {
            let about = text(event, "/involvedObject/name");
            about == name || about.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        })
        .collect();
    let moment = |event: &Value| {
        [
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]
        .iter()
        .map(|pointer| text(event, pointer))
        .find(|moment| !moment.is_empty())
        .unwrap_or_default()
        .to_owned()
    };
    found.sort_by_key(|event| std::cmp::Reverse(moment(event)));
    let mut lines: Vec<String> = Vec::new();
    for event in &found {
        let line = format!(
            "event {}: {}",
            text(event, "/reason"),
            text(event, "/message").trim()
        );
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.truncate(EVENTS);
    Ok(lines)
}

async fn log(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    container: &str,
    previous: bool,
) -> Result<Vec<String>, CallError> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={}&tailLines={LOG_LINES}&previous={previous}",
        encoded(namespace),
        encoded(pod),
        encoded(container)
    );
    let body = cluster
        .exchange(Method::GET, &path, Sent::Nothing, "text/plain, application/json")
        .await?;
    Ok(String::from_utf8_lossy(&body)
        .lines()
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_conditions_that_are_wrong_are_told() {
        let live = json!({"status": {"conditions": [
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "too few"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        ]}});
        assert_eq!(
            conditions(&live),
            ["Available is False: MinimumReplicasUnavailable: too few"]
        );
    }

    #[test]
    fn a_stuck_namespace_tells_what_is_left_in_it() {
        let live = json!({"status": {"phase": "Terminating", "conditions": [
            {"type": "NamespaceContentRemaining", "status": "True", "message": "Some resources are remaining: widgets."},
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources successfully discovered"},
        ]}});
        assert_eq!(conditions(&live), ["Some resources are remaining: widgets."]);
    }
}
