use serde_json::Value;

use super::{
    check::Miss,
    evidence::Evidence,
    object::{
        condition, expression, full_title, items, name, namespace, number, owned_by, selects, text, truth,
    },
};

/// The kinds of workloads, as the inventory counts them.
pub(super) const KINDS: &[&str] = &["StatefulSet", "Deployment", "DaemonSet"];

/// How many pods a workload, or an object of the operator, asks for: one where it does not say.
pub(super) fn replicas(object: &Value) -> i64 {
    let replicas = object.pointer("/spec/replicas").and_then(Value::as_i64);
    replicas.unwrap_or(1)
}

/// Says `2/2`, or why a workload is not ready.
pub(super) fn ready(workload: &Value) -> Result<String, String> {
    let daemon = text(workload, "/kind") == "DaemonSet";
    let wanted = if daemon {
        number(workload, "/status/desiredNumberScheduled")
    } else {
        replicas(workload)
    };
    let (updated, ready) = match text(workload, "/kind") {
        "DaemonSet" => (
            number(workload, "/status/updatedNumberScheduled"),
            number(workload, "/status/numberAvailable"),
        ),
        "StatefulSet" => (
            number(workload, "/status/updatedReplicas"),
            number(workload, "/status/readyReplicas"),
        ),
        _ => (
            number(workload, "/status/updatedReplicas"),
            number(workload, "/status/availableReplicas"),
        ),
    };
    let what = full_title(workload);
    if number(workload, "/status/observedGeneration") < number(workload, "/metadata/generation") {
        return Err(format!("{what}: its controller has not seen the last change"));
    }
    if updated < wanted {
        return Err(format!(
            "{what}: {updated} of {wanted} pods are of the last version"
        ));
    }
    if ready < wanted {
        let why = ["Available", "Progressing"]
            .iter()
            .filter_map(|kind| condition(workload, kind))
            .find_map(|found| {
                let message = text(found, "/message");
                (text(found, "/status") == "False" && !message.is_empty()).then(|| format!(": {message}"))
            });
        return Err(format!(
            "{what}: {ready} of {wanted} ready{}",
            why.unwrap_or_default()
        ));
    }
    Ok(format!("{ready}/{wanted}"))
}

/// Whether a pod serves, or did its work.
pub(super) fn pod_ready(pod: &Value) -> bool {
    text(pod, "/status/phase") == "Running"
        && pod.pointer("/metadata/deletionTimestamp").is_none()
        && condition(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True")
}

/// The pods of a workload that are not being deleted, nor over: an evicted one stays to be read long after its successor
/// runs.
pub(super) fn pods<'a>(e: &'a Evidence, workload: &'a Value) -> Vec<&'a Value> {
    e.all("Pod")
        .iter()
        .filter(|pod| has(workload, pod))
        .filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none())
        .filter(|pod| !matches!(text(pod, "/status/phase"), "Failed" | "Succeeded"))
        .collect()
}

/// Whether a pod is one of a workload.
pub(super) fn has(workload: &Value, pod: &Value) -> bool {
    let selector = workload.pointer("/spec/selector").unwrap_or(&Value::Null);
    namespace(pod) == namespace(workload) && selects(selector, pod.pointer("/metadata/labels"))
}

/// The workloads as the stack has them.
pub(super) fn applied(e: &Evidence) -> impl Iterator<Item = &Value> {
    KINDS.iter().flat_map(|kind| e.applied(kind))
}

/// The `StatefulSet`s that the operator makes: of each applied Prometheus one a shard, of each Alertmanager one.
pub(super) fn operated(e: &Evidence) -> Vec<(&Value, String)> {
    let prometheus = e.applied("Prometheus").flat_map(|object| {
        let shards = object
            .pointer("/spec/shards")
            .and_then(Value::as_i64)
            .unwrap_or(1);
        (0..shards).map(move |shard| {
            let suffix = if shard == 0 {
                String::new()
            } else {
                format!("-shard-{shard}")
            };
            (object, format!("prometheus-{}{suffix}", name(object)))
        })
    });
    let alertmanager = e
        .applied("Alertmanager")
        .map(|object| (object, format!("alertmanager-{}", name(object))));
    prometheus.chain(alertmanager).collect()
}

/// The live `StatefulSet`s that the operator made for the applied objects of a kind.
pub(super) fn made_for<'a>(e: &'a Evidence, kind: &str) -> Result<Vec<&'a Value>, Miss> {
    e.some_applied(kind)?;
    let of_kind = operated(e)
        .into_iter()
        .filter(|(owner, _)| text(owner, "/kind") == kind);
    of_kind
        .map(|(owner, named)| {
            e.find("StatefulSet", namespace(owner), &named).ok_or_else(|| {
                Miss::fail(
                    format!("no StatefulSet {}/{named}", namespace(owner)),
                    "the operator makes it",
                )
            })
        })
        .collect()
}

/// Every workload that the stack comes to: live, or the title of one that is missing.
pub(super) fn all(e: &Evidence) -> Vec<Result<&Value, String>> {
    let applied = applied(e).map(|wanted| e.live(wanted).ok_or_else(|| full_title(wanted)));
    let made = operated(e).into_iter().map(|(owner, named)| {
        let found = e.find("StatefulSet", namespace(owner), &named);
        found.ok_or_else(|| format!("StatefulSet {}/{named}", namespace(owner)))
    });
    made.chain(applied).collect()
}

/// The `ReplicaSet`s of a Deployment that are asked for pods.
pub(super) fn active_replica_sets<'a>(e: &'a Evidence, deployment: &Value) -> Vec<&'a Value> {
    e.all("ReplicaSet")
        .iter()
        .filter(|set| owned_by(set, deployment) && number(set, "/spec/replicas") > 0)
        .collect()
}

/// The nodes on which a `DaemonSet` should have a pod.
pub(super) fn nodes<'a>(e: &'a Evidence, set: &Value) -> Vec<&'a Value> {
    let Some(spec) = set.pointer("/spec/template/spec") else {
        return Vec::new();
    };
    e.all("Node").iter().filter(|node| takes(node, spec)).collect()
}

fn takes(node: &Value, spec: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let selector = spec.pointer("/nodeSelector").and_then(Value::as_object);
    let selected = selector
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let required = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = items(spec, required);
    let wanted = terms.is_empty()
        || terms.iter().any(|term| {
            items(term, "/matchExpressions")
                .iter()
                .all(|rule| expression(rule, label))
        });
    selected
        && wanted
        && items(node, "/spec/taints")
            .iter()
            .all(|taint| tolerated(taint, spec))
}

/// Whether a taint keeps no pod of a `DaemonSet` away: the controller adds tolerations for a node's own troubles.
fn tolerated(taint: &Value, spec: &Value) -> bool {
    const OWN: [&str; 7] = [
        "not-ready",
        "unreachable",
        "disk-pressure",
        "memory-pressure",
        "pid-pressure",
        "unschedulable",
        "network-unavailable",
    ];
    let (key, effect) = (text(taint, "/key"), text(taint, "/effect"));
    let own = key.strip_prefix("node.kubernetes.io/").is_some_and(|trouble| {
        OWN.contains(&trouble) && (trouble != "network-unavailable" || truth(spec, "/hostNetwork"))
    });
    own || effect == "PreferNoSchedule"
        || items(spec, "/tolerations").iter().any(|toleration| {
            let fits = |pointer: &str, value: &str| {
                let wanted = text(toleration, pointer);
                wanted.is_empty() || wanted == value
            };
            fits("/effect", effect)
                && fits("/key", key)
                && (text(toleration, "/operator") == "Exists"
                    || text(toleration, "/value") == text(taint, "/value"))
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(labels: &Value, taints: &Value) -> Value {
        json!({"kind": "Node", "metadata": {"name": "a", "labels": labels}, "spec": {"taints": taints}})
    }

    #[test]
    fn a_daemon_set_is_expected_where_its_pods_may_run() {
        let control_plane = json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
        let everywhere =
            json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"kubernetes.io/os": "linux"}});
        let linux = json!({"kubernetes.io/os": "linux"});
        assert!(takes(&node(&linux, &control_plane), &everywhere));
        assert!(!takes(&node(&linux, &control_plane), &json!({})));
        assert!(!takes(
            &node(&json!({"kubernetes.io/os": "windows"}), &json!([])),
            &everywhere
        ));
        let cordoned = json!([{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]);
        assert!(takes(&node(&linux, &cordoned), &json!({})));
        let no_fargate = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [{"key": "type", "operator": "NotIn", "values": ["fargate"]}]}]}}}});
        assert!(takes(&node(&linux, &json!([])), &no_fargate));
        assert!(!takes(
            &node(&json!({"type": "fargate"}), &json!([])),
            &no_fargate
        ));
    }

    #[test]
    fn a_workload_says_why_it_is_not_ready() {
        let mut deployment = json!({"kind": "Deployment", "metadata": {"name": "a", "namespace": "n", "generation": 2},
            "spec": {"replicas": 2}, "status": {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2}});
        assert_eq!(ready(&deployment), Ok("2/2".to_owned()));
        deployment["status"]["availableReplicas"] = json!(1);
        deployment["status"]["conditions"] =
            json!([{"type": "Available", "status": "False", "message": "not enough"}]);
        assert_eq!(
            ready(&deployment),
            Err("Deployment n/a: 1 of 2 ready: not enough".to_owned())
        );
        deployment["metadata"]["generation"] = json!(3);
        assert!(ready(&deployment).unwrap_err().contains("not seen"));
    }
}
