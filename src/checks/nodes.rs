use std::collections::{BTreeMap, BTreeSet};

use super::{
    check::{Check, Miss, Outcome, none},
    cluster::{cordoned, is},
    evidence::Evidence,
    object::{condition, items, label, name, number, text, title},
};

const READY: &str = "nodes.ready";

pub(super) const CHECKS: &[Check] = &[
    Check::new(READY, "every node is ready", ready)
        .needs(&["cluster.reachable"])
        .reads(&["Node"])
        .hint("the kubelet of that node does not report, or its pod network is not set up")
        .fix("kubectl describe nodes"),
    Check::new(
        "nodes.count",
        "all nodes that the stack asks for have joined",
        count,
    )
    .needs(&["cluster.reachable"])
    .reads(&["Node"])
    .hint("a node that was taken away by hand comes back with the next apply")
    .fix("stackup diff"),
    Check::new(
        "nodes.pressure",
        "no node runs out of memory, disk or process ids",
        pressure,
    )
    .needs(&["cluster.reachable"])
    .reads(&["Node"])
    .hint("pods are evicted from that node until it has room again")
    .fix("kubectl describe nodes"),
    Check::new("nodes.schedulable", "every node takes new pods", schedulable)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["Node"])
        .hint("someone cordoned it: 'kubectl uncordon NODE' takes it into use again"),
    Check::new(
        "nodes.pod-capacity",
        "every node has room for more pods",
        capacity,
    )
    .warning()
    .needs(&["cluster.reachable"])
    .reads(&["Node", "Pod"])
    .hint("add nodes or choose larger ones: a node takes only so many pods, whatever they need"),
    Check::new("nodes.version-skew", "all kubelets are of one version", skew)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["Node"])
        .hint("finish the upgrade of the nodes that are behind"),
    Check::new(
        "nodes.unschedulable-pods",
        "every pod of the stack has found a node",
        unschedulable,
    )
    .needs(&["cluster.reachable"])
    .reads(&["Pod"])
    .hint("the scheduler's own words say what is lacking; more or larger nodes are the usual answer")
    .fix("kubectl get pods -A --field-selector=status.phase=Pending"),
];

fn ready(e: &Evidence, _: &'static str) -> Outcome {
    let nodes = e.all("Node");
    if nodes.is_empty() {
        return Err(Miss::fail("no nodes", "at least one"));
    }
    let not_ready = nodes.iter().filter(|node| !is(node, "Ready"));
    let wrong: Vec<String> = not_ready
        .map(|node| {
            let why = condition(node, "Ready").map_or("it never reported", |ready| text(ready, "/message"));
            format!("{}: {why}", name(node))
        })
        .collect();
    none(&wrong, format!("{} nodes", nodes.len()), "all nodes ready")
}

fn count(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = number(&e.cluster, "/workers");
    if wanted == 0 {
        return Err(Miss::skip(
            "the stack does not say how many nodes this cluster has",
        ));
    }
    let workers = e.all("Node").iter().filter(|node| !control_plane(node)).count();
    if i64::try_from(workers) != Ok(wanted) {
        return Err(Miss::fail(
            format!("{workers} workers"),
            format!("{wanted} workers"),
        ));
    }
    Ok(format!("{workers} workers"))
}

/// Whether a node is one of the control plane's.
pub(super) fn control_plane(node: &serde_json::Value) -> bool {
    node.pointer("/metadata/labels/node-role.kubernetes.io~1control-plane")
        .is_some()
}

fn pressure(e: &Evidence, _: &'static str) -> Outcome {
    let kinds = [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "NetworkUnavailable",
    ];
    let wrong: Vec<String> = e
        .all("Node")
        .iter()
        .flat_map(|node| {
            kinds
                .iter()
                .filter(|kind| is(node, kind))
                .map(move |kind| format!("{}: {kind}", name(node)))
        })
        .collect();
    none(&wrong, "none", "none of these conditions")
}

fn schedulable(e: &Evidence, _: &'static str) -> Outcome {
    let cordoned = e.all("Node").iter().filter(|node| cordoned(node));
    none(
        &cordoned
            .map(|node| format!("{} is cordoned", name(node)))
            .collect::<Vec<_>>(),
        "all",
        "no node cordoned",
    )
}

fn capacity(e: &Evidence, _: &'static str) -> Outcome {
    let mut used: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in e.all("Pod") {
        if !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
            *used.entry(text(pod, "/spec/nodeName")).or_default() += 1;
        }
    }
    let mut wrong = Vec::new();
    let mut most = 0;
    for node in e.all("Node") {
        let used = used.get(name(node)).copied().unwrap_or_default();
        let room: i64 = text(node, "/status/allocatable/pods").parse().unwrap_or_default();
        if room > 0 {
            most = most.max(used * 100 / room);
            if used * 10 > room * 9 {
                wrong.push(format!("{}: {used} of {room} pods", name(node)));
            }
        }
    }
    none(
        &wrong,
        format!("at most {most}% used"),
        "at most 90% of each node's pods",
    )
}

fn skew(e: &Evidence, _: &'static str) -> Outcome {
    let versions: BTreeSet<&str> = e
        .all("Node")
        .iter()
        .map(|node| text(node, "/status/nodeInfo/kubeletVersion"))
        .collect();
    let shown = versions.iter().copied().collect::<Vec<_>>().join(", ");
    if versions.len() > 1 {
        return Err(Miss::fail(shown, "one version"));
    }
    Ok(shown)
}

fn unschedulable(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    for pod in super::inventory::stack_pods(e) {
        if let Some(found) = condition(pod, "PodScheduled")
            && text(found, "/status") == "False"
        {
            wrong.push(format!("{}: {}", title(pod), text(found, "/message")));
        }
    }
    none(&wrong, "all placed", "every pod on a node")
}

/// The addresses by which a node is known inside the cluster.
pub(super) fn addresses(node: &serde_json::Value) -> Vec<&str> {
    let internal = items(node, "/status/addresses")
        .iter()
        .filter(|address| text(address, "/type") == "InternalIP");
    internal.map(|address| text(address, "/address")).collect()
}

/// Whether Linux runs on a node.
pub(super) fn linux(node: &serde_json::Value) -> bool {
    matches!(label(node, "kubernetes.io/os"), "linux" | "")
}
