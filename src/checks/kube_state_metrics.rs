use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome},
    evidence::Evidence,
    object::{label, title},
    workload,
};

const PODS: &str = "prometheus:/api/v1/query?query=count(kube_pod_info)";
const NODES: &str = "prometheus:/api/v1/query?query=count(kube_node_info)";

pub(super) const CHECKS: &[Check] = &[
    Check::new("ksm.deployment", "kube-state-metrics runs", deployment)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .fix("kubectl -n monitoring describe deployment monitoring-kube-state-metrics"),
    Check::new("ksm.nodes", "kube-state-metrics sees every node", nodes)
        .standard()
        .needs(&["targets.kube-state-metrics"])
        .reads(&[NODES, "Node"])
        .hint("its ClusterRole may lack the right to list nodes: its log says so"),
    Check::new("ksm.pods", "kube-state-metrics sees every pod", pods)
        .standard()
        .needs(&["targets.kube-state-metrics"])
        .reads(&[PODS, "Pod"])
        .hint("its ClusterRole may lack the right to list pods: its log says so"),
];

fn wanted(e: &Evidence) -> Result<&Value, Miss> {
    let found = e
        .applied("Deployment")
        .find(|object| label(object, "app.kubernetes.io/name") == "kube-state-metrics");
    found.ok_or_else(|| Miss::skip("the stack has no kube-state-metrics"))
}

fn deployment(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = wanted(e)?;
    let live = e
        .live(wanted)
        .ok_or_else(|| Miss::fail(format!("no Deployment {}", title(wanted)), "it"))?;
    workload::ready(live).map_err(|why| Miss::fail(why, "available"))
}

/// Compares a count in Prometheus with what the API server lists; pods come and go between the two.
fn agree(e: &Evidence, key: &str, listed: usize, apart: usize) -> Outcome {
    wanted(e)?;
    let samples = e.samples(key)?;
    let counted = samples
        .first()
        .map(|(_, value)| value.round())
        .unwrap_or_default();
    let listed = f64::from(u32::try_from(listed).unwrap_or(u32::MAX));
    let apart = f64::from(u32::try_from(apart).unwrap_or(u32::MAX))
        .max(listed * 0.05 * f64::from(u8::from(apart > 0)));
    if (counted - listed).abs() > apart {
        return Err(Miss::fail(counted.to_string(), listed.to_string()));
    }
    Ok(counted.to_string())
}

fn nodes(e: &Evidence, _: &'static str) -> Outcome {
    agree(e, NODES, e.all("Node").len(), 0)
}

fn pods(e: &Evidence, _: &'static str) -> Outcome {
    agree(e, PODS, e.all("Pod").len(), 3)
}
