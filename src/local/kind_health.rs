use serde_json::Value;

use super::docker::Container;

/// What must run in `kube-system` before anything else can: names and addresses of services.
const ESSENTIAL: [&str; 3] = ["coredns", "kube-proxy", "kindnet"];

/// Whether kind has come to its end: every node has joined, which is its last step, and there is storage, which is the
/// one before.
pub(crate) fn whole(objects: &[Value], nodes: &[&Container]) -> bool {
    let joined = |name: &str| {
        objects
            .iter()
            .any(|object| is(object, "Node") && object_name(object) == name)
    };
    nodes.iter().all(|node| joined(node.name())) && objects.iter().any(|object| is(object, "StorageClass"))
}

/// The version that the nodes run.
pub(crate) fn kubernetes(objects: &[Value]) -> Option<String> {
    let node = objects.iter().find(|object| is(object, "Node"))?;
    Some(
        node.pointer("/status/nodeInfo/kubeletVersion")?
            .as_str()?
            .to_owned(),
    )
}

/// What does not work yet.
pub(crate) fn waiting(objects: &[Value]) -> Option<String> {
    let mut waiting: Vec<String> = objects
        .iter()
        .filter(|object| is(object, "Node") && !node_ready(object))
        .map(|node| format!("node {} is not Ready", object_name(node)))
        .collect();
    for name in ESSENTIAL {
        let Some(object) = objects
            .iter()
            .find(|object| !is(object, "Node") && !is(object, "StorageClass") && object_name(object) == name)
        else {
            continue;
        };
        let count = |field: &str| object.pointer(field).and_then(Value::as_u64).unwrap_or(0);
        let (have, want) = if is(object, "Deployment") {
            (count("/status/availableReplicas"), count("/spec/replicas"))
        } else {
            // A DaemonSet that its controller has not seen yet wants none.
            (
                count("/status/numberReady"),
                count("/status/desiredNumberScheduled").max(1),
            )
        };
        if have < want {
            waiting.push(format!("{name}: {have}/{want} ready"));
        }
    }
    (!waiting.is_empty()).then(|| waiting.join(", "))
}

fn is(object: &Value, kind: &str) -> bool {
    object.get("kind").and_then(Value::as_str) == Some(kind)
}

fn object_name(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether a Node object says that it is Ready.
pub(crate) fn node_ready(node: &Value) -> bool {
    node.pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|condition| {
            let is = |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
            is("type", "Ready") && is("status", "True")
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: &str) -> Value {
        json!({
            "kind": "Node", "metadata": {"name": name},
            "status": {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"kubeletVersion": "v1.34.4"}},
        })
    }

    #[test]
    fn what_does_not_work_yet_is_named() {
        let dns = |available: u32| {
            json!({"kind": "Deployment", "metadata": {"name": "coredns"}, "spec": {"replicas": 2},
                   "status": {"availableReplicas": available}})
        };
        let proxy =
            json!({"kind": "DaemonSet", "metadata": {"name": "kube-proxy"}, "status": {"numberReady": 0}});
        assert_eq!(waiting(&[node("a", "True"), dns(2)]), None);
        assert_eq!(
            waiting(&[node("a", "False"), dns(1), proxy]).unwrap(),
            "node a is not Ready, coredns: 1/2 ready, kube-proxy: 0/1 ready"
        );
    }

    #[test]
    fn a_cluster_is_whole_once_every_node_has_joined_and_there_is_storage() {
        let container = |name: &str| -> Container {
            serde_json::from_value(json!({
                "Id": name, "Name": name, "State": {"Running": true}, "Config": {"Image": "i", "Labels": {}},
            }))
            .unwrap()
        };
        let (a, b) = (container("a"), container("b"));
        let storage = json!({"kind": "StorageClass", "metadata": {"name": "standard"}});
        assert!(whole(&[node("a", "False"), storage.clone()], &[&a]));
        assert!(!whole(&[node("a", "True"), storage], &[&a, &b]));
        assert!(!whole(&[node("a", "True")], &[&a]));
    }
}
