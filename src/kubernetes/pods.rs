use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    client::{Cluster, encoded, text},
    clock::now,
    discovery::ApiType,
    error::CallError,
    item::STACK,
    readiness::{Around, condition, number, readiness as judged},
};
use crate::resource::Readiness;

/// A container that starts may fail on what is not there yet; after so many restarts it will not mend itself.
const RESTARTS: i64 = 3;
/// How long the kubelet may find a reference missing before that is a failure: what it needs may be on its way.
const MISSING_FOR: i64 = 15;
/// How long a registry may be out of reach, or a container fail to be started.
const OUT_OF_REACH_FOR: i64 = 60;

/// How long a pod may find no node where a node may still be on its way.
const NO_NODE_FOR: Duration = Duration::from_mins(5);
/// The same where the set of nodes is fixed and does not grow to fit a pod.
const NO_NODE_OF_FEW_FOR: Duration = Duration::from_mins(2);
/// The same while there are no nodes at all: the first ones are made beside the objects.
const NO_NODES_FOR: Duration = Duration::from_mins(15);

/// Which pods belong to an object, as labels; `None` if none do.
pub(super) fn labels(object: &Value) -> Option<Vec<(String, String)>> {
    let name = || text(object, "/metadata/name").to_owned();
    match text(object, "/kind") {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            let wanted = object.pointer("/spec/selector/matchLabels")?.as_object()?;
            let labels = wanted
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
            Some(labels.collect()).filter(|labels: &Vec<_>| !labels.is_empty())
        }
        kind @ ("Prometheus" | "Alertmanager" | "ThanosRuler") => Some(vec![
            ("app.kubernetes.io/instance".into(), name()),
            (
                "app.kubernetes.io/name".into(),
                if kind == "ThanosRuler" {
                    "thanos-ruler".into()
                } else {
                    kind.to_lowercase()
                },
            ),
            (
                "app.kubernetes.io/managed-by".into(),
                "prometheus-operator".into(),
            ),
        ]),
        _ => None,
    }
}

/// The labels as the query of a list.
pub(super) fn selector(labels: &[(String, String)]) -> String {
    let all: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("?labelSelector={}", encoded(&all.join(",")))
}

pub(super) fn matches(pod: &Value, labels: &[(String, String)]) -> bool {
    let own = pod.pointer("/metadata/labels");
    labels
        .iter()
        .all(|(key, value)| own.and_then(|own| own.get(key)).and_then(Value::as_str) == Some(value))
}

/// Whether an object can be used, judged without a further call: what is not known counts as not there yet.
pub(super) fn at_once(cluster: &Cluster, live: &Value) -> Readiness {
    let mut around = around(cluster);
    if text(live, "/kind") == "CustomResourceDefinition" {
        let types = ApiType::of_definition(live);
        around.served = types.iter().all(|of| cluster.discovery.knows(of));
    }
    judged(live, &around)
}

/// Whether an object can be used; asks for its pods and the like only if it matters.
pub(super) async fn readiness(cluster: &Cluster, live: &Value) -> Result<Readiness, CallError> {
    let first = at_once(cluster, live);
    if first == Readiness::Ready {
        return on_nodes(cluster, live).await;
    }
    let pods = match labels(live) {
        Some(labels) => pods_with(cluster, text(live, "/metadata/namespace"), &labels).await?,
        None => Vec::new(),
    };
    with_pods(cluster, live, pods).await
}

/// The same, when the pods are known.
pub(super) async fn with_pods(
    cluster: &Cluster,
    live: &Value,
    pods: Vec<Arc<Value>>,
) -> Result<Readiness, CallError> {
    let mut around = around(cluster);
    match text(live, "/kind") {
        "CustomResourceDefinition" => around.served = served(cluster, live).await?,
        "PersistentVolumeClaim" => around.first_consumer = first_consumer(cluster, live).await?,
        _ => {}
    }
    around.pods = pods;
    if judged(live, &around) == Readiness::Ready {
        return on_nodes(cluster, live).await;
    }
    let overdue = |pod: &Value| waits_for_node(pod) && doom(pod, &around).is_some();
    if (overdue(live) || around.pods.iter().any(|pod| overdue(pod))) && no_nodes(cluster).await? {
        around.unschedulable = around.unschedulable.max(NO_NODES_FOR);
    }
    around.pods = of_present_revision(cluster, live, &around).await?;
    Ok(judged(live, &around))
}

/// Of something that is ready: a `DaemonSet` that wants no pod is not, as long as the cluster has no node at all.
async fn on_nodes(cluster: &Cluster, live: &Value) -> Result<Readiness, CallError> {
    let wants_none = number(live, "/status/desiredNumberScheduled") == Some(0);
    if text(live, "/kind") == "DaemonSet" && wants_none && no_nodes(cluster).await? {
        return Ok(Readiness::NotYet("the cluster has no node yet".into()));
    }
    Ok(Readiness::Ready)
}

fn around(cluster: &Cluster) -> Around {
    let fixed = matches!(cluster.profile.as_str(), "kind" | "kwok");
    Around {
        load_balancers: cluster.profile == "eks",
        unschedulable: if fixed { NO_NODE_OF_FEW_FOR } else { NO_NODE_FOR },
        first_look: (!fixed).then_some(cluster.first_look),
        now: now(),
        ..Around::default()
    }
}

async fn no_nodes(cluster: &Cluster) -> Result<bool, CallError> {
    let nodes = cluster.get("/api/v1/nodes?limit=1").await?;
    Ok(nodes
        .get("items")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty))
}

/// The pods with these labels.
pub(super) async fn pods_with(
    cluster: &Cluster,
    namespace: &str,
    labels: &[(String, String)],
) -> Result<Vec<Arc<Value>>, CallError> {
    let collection = format!("/api/v1/namespaces/{}/pods", encoded(namespace));
    let pods = cluster.list(&collection, &selector(labels)).await?;
    Ok(pods.into_iter().map(Arc::new).collect())
}

/// The pods of the revision that is being rolled out: a former one that crashes is not this one's fault.
async fn of_present_revision(
    cluster: &Cluster,
    live: &Value,
    around: &Around,
) -> Result<Vec<Arc<Value>>, CallError> {
    let pods = &around.pods;
    if !pods.iter().any(|pod| doom(pod, around).is_some()) {
        return Ok(pods.clone());
    }
    let (label, present) = match text(live, "/kind") {
        "Deployment" => ("pod-template-hash", template_hash(cluster, live).await?),
        "StatefulSet" => (
            "controller-revision-hash",
            Some(text(live, "/status/updateRevision").to_owned()),
        ),
        "DaemonSet" => (
            "pod-template-generation",
            annotation(live, "deprecated.daemonset.template.generation").map(str::to_owned),
        ),
        _ => return Ok(pods.clone()),
    };
    let Some(present) = present.filter(|present| !present.is_empty()) else {
        return Ok(pods.clone());
    };
    let wanted = [(label.to_owned(), present)];
    Ok(pods.iter().filter(|pod| matches(pod, &wanted)).cloned().collect())
}

/// The hash that marks the pods of a Deployment's newest `ReplicaSet`.
async fn template_hash(cluster: &Cluster, live: &Value) -> Result<Option<String>, CallError> {
    let Some(labels) = labels(live) else {
        return Ok(None);
    };
    let revision = "deployment.kubernetes.io/revision";
    let namespace = encoded(text(live, "/metadata/namespace"));
    let collection = format!("/apis/apps/v1/namespaces/{namespace}/replicasets");
    let sets = cluster.list(&collection, &selector(&labels)).await?;
    let present = annotation(live, revision);
    Ok(sets
        .iter()
        .filter(|set| {
            let owners = set.pointer("/metadata/ownerReferences").and_then(Value::as_array);
            owners
                .into_iter()
                .flatten()
                .any(|owner| text(owner, "/uid") == text(live, "/metadata/uid"))
        })
        .find(|set| annotation(set, revision) == present)
        .map(|set| text(set, "/metadata/labels/pod-template-hash").to_owned()))
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// Whether the API server answers for the type: a moment after the definition is established.
async fn served(cluster: &Cluster, definition: &Value) -> Result<bool, CallError> {
    let established =
        condition(definition, "Established").is_some_and(|found| text(found, "/status") == "True");
    if !established {
        return Ok(false);
    }
    let types = ApiType::of_definition(definition);
    // Without a limit the answer comes from the server's cache of the type, which is what a write needs as well.
    let nothing = selector(&[(STACK.to_owned(), "none".to_owned())]);
    for of in &types {
        match cluster.find(&format!("{}{nothing}", of.collection(None))).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(false),
            // The cache is not filled yet.
            Err(CallError::Refused(refusal)) if refusal.code == 429 => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    cluster.discovery.learn(types);
    Ok(true)
}

/// Whether the claim's class makes a volume only once a pod wants it.
async fn first_consumer(cluster: &Cluster, claim: &Value) -> Result<bool, CallError> {
    let name = text(claim, "/spec/storageClassName");
    if name.is_empty() {
        return Ok(false);
    }
    let path = format!("/apis/storage.k8s.io/v1/storageclasses/{}", encoded(name));
    let class = cluster.find(&path).await?;
    Ok(class.is_some_and(|class| text(&class, "/volumeBindingMode") == "WaitForFirstConsumer"))
}

/// The containers of a pod with their state, those that run first first.
fn statuses(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .filter_map(|pointer| pod.pointer(pointer).and_then(Value::as_array))
        .flatten()
}

/// The condition that says that no node takes a pod.
fn unschedulable(pod: &Value) -> Option<&Value> {
    condition(pod, "PodScheduled").filter(|scheduled| text(scheduled, "/reason") == "Unschedulable")
}

/// Whether a pod waits for a node that takes it.
pub(super) fn waits_for_node(pod: &Value) -> bool {
    unschedulable(pod).is_some()
}

/// Why a pod can never start as it is; `None` if it may.
pub(super) fn doom(pod: &Value, around: &Around) -> Option<String> {
    let since = |moment: &str| {
        let moment: Timestamp = moment.parse().ok()?;
        Some(around.now.as_second() - moment.as_second())
    };
    let age = since(text(pod, "/status/startTime")).unwrap_or(0);
    if let Some(scheduled) = unschedulable(pod)
        && let Some(age) = since(text(scheduled, "/lastTransitionTime"))
        && let looked = around
            .first_look
            .map_or(age, |first| around.now.as_second() - first.as_second())
        && age.min(looked) > i64::try_from(around.unschedulable.as_secs()).unwrap_or(i64::MAX)
    {
        return Some(format!("no node takes it: {}", text(scheduled, "/message")));
    }
    statuses(pod).find_map(|status| container_doom(status, age))
}

fn container_doom(status: &Value, pod_age: i64) -> Option<String> {
    let name = text(status, "/name");
    let message = text(status, "/state/waiting/message");
    let reason = text(status, "/state/waiting/reason");
    let says = |words: &[&str]| {
        let message = message.to_lowercase();
        words.iter().any(|words| message.contains(words))
    };
    let doomed = match reason {
        "CrashLoopBackOff" => {
            let restarts = number(status, "/restartCount").unwrap_or(0);
            if restarts < RESTARTS {
                return None;
            }
            return Some(format!(
                "container {name} keeps failing: {}, {restarts} restarts",
                ended(status, "/lastState/terminated").unwrap_or_else(|| message.to_owned())
            ));
        }
        "InvalidImageName" | "ErrImageNeverPull" => true,
        "ErrImagePull" | "ImagePullBackOff" => {
            if says(&[
                "no such host",
                "connection refused",
                "network is unreachable",
                "no route to host",
            ]) {
                pod_age > OUT_OF_REACH_FOR
            } else {
                says(&[
                    "not found",
                    "manifest unknown",
                    "does not exist",
                    "access denied",
                    "unauthorized",
                ])
            }
        }
        // The kubelet's cache may be behind the API server.
        "CreateContainerConfigError" => {
            !(says(&["failed to sync"]) && says(&["cache"])) && pod_age > MISSING_FOR
        }
        "CreateContainerError" | "RunContainerError" => pod_age > OUT_OF_REACH_FOR,
        _ => false,
    };
    doomed.then(|| format!("container {name} cannot start: {reason}: {message}"))
}

/// `Error, exit code 1`.
fn ended(status: &Value, pointer: &str) -> Option<String> {
    let terminated = status.pointer(pointer)?;
    let reason = match text(terminated, "/reason") {
        "" => "ended",
        reason => reason,
    };
    Some(format!(
        "{reason}, exit code {}",
        number(terminated, "/exitCode").unwrap_or(0)
    ))
}

/// What a pod that does not run waits for, in the words of whoever holds it up.
pub(super) fn trouble(pod: &Value) -> Option<String> {
    if condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True") {
        return None;
    }
    if let Some(scheduled) = condition(pod, "PodScheduled")
        && text(scheduled, "/status") == "False"
    {
        return Some(super::readiness::words(scheduled));
    }
    statuses(pod).find_map(|status| {
        let (reason, message) = (
            text(status, "/state/waiting/reason"),
            text(status, "/state/waiting/message"),
        );
        match (reason, message) {
            ("", _) if text(status, "/state/terminated/reason") == "Completed" => None,
            ("", _) => ended(status, "/state/terminated")
                .map(|ended| format!("container {}: {ended}", text(status, "/name"))),
            ("ContainerCreating" | "PodInitializing", "") => Some(reason.to_owned()),
            (reason, "") => Some(reason.to_owned()),
            (reason, message) => Some(format!("{reason}: {message}")),
        }
    })
}

/// The containers of a pod that do not do what they should, and whether their logs are of a run that ended.
pub(super) fn failing(pod: &Value) -> Vec<(String, bool)> {
    statuses(pod)
        .filter_map(|status| {
            let name = text(status, "/name").to_owned();
            let bad = |pointer: &str| {
                status
                    .pointer(pointer)
                    .is_some_and(|ended| number(ended, "/exitCode") != Some(0))
            };
            if bad("/state/terminated") {
                Some((name, false))
            } else {
                bad("/lastState/terminated").then_some((name, true))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        kubernetes::{Clusters, api::tests::server},
        model::Secret,
    };

    #[tokio::test]
    async fn a_daemon_set_waits_while_there_is_no_node() {
        let nodes = |items: Value| (200, json!({"kind": "NodeList", "items": items}));
        let (address, serve) = server(vec![
            nodes(json!([])),
            nodes(json!([{"metadata": {"name": "a"}}])),
        ])
        .await;
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = json!({"apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": address}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}]});
        std::fs::write(folder.path().join("config"), kubeconfig.to_string()).unwrap();
        let clusters = Clusters::new(
            folder.path().to_owned(),
            Secret::new(vec![1]),
            Arc::new(|_| {}),
            None,
        );
        let outputs = json!({"kubeconfig": "config", "context": "x", "profile": "kind"});
        let cluster = clusters.cluster(&outputs).await.unwrap();
        // What its controller says is the same in both: only the nodes tell whether it is over.
        let set = |pods: u8| {
            json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "a", "namespace": "n"},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": pods, "updatedNumberScheduled": pods,
                "numberAvailable": pods, "numberReady": pods}})
        };
        let none = readiness(&cluster, &set(0)).await.unwrap();
        assert_eq!(none, Readiness::NotYet("the cluster has no node yet".into()));
        assert_eq!(readiness(&cluster, &set(0)).await.unwrap(), Readiness::Ready);
        // One that has pods has nodes: nothing is asked.
        assert_eq!(readiness(&cluster, &set(1)).await.unwrap(), Readiness::Ready);
        let asked = serve.await.unwrap();
        assert!(
            asked
                .iter()
                .all(|request| request.starts_with("GET /api/v1/nodes?limit=1 ")),
            "{asked:?}"
        );
    }
}
