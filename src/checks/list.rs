use super::{
    alertmanager, check::Check, cluster, crds, grafana, inventory, kube_state_metrics, node_exporter, nodes,
    operator, prometheus, reloader, rules, shop, targets, wiring,
};

const AREAS: &[&[Check]] = &[
    cluster::CHECKS,
    nodes::CHECKS,
    inventory::CHECKS,
    shop::CHECKS,
    crds::CHECKS,
    operator::CHECKS,
    prometheus::CHECKS,
    reloader::CHECKS,
    wiring::CHECKS,
    targets::CHECKS,
    rules::CHECKS,
    alertmanager::CHECKS,
    grafana::CHECKS,
    node_exporter::CHECKS,
    kube_state_metrics::CHECKS,
];

/// Every check, in the order in which they are told.
pub fn all() -> impl Iterator<Item = &'static Check> {
    AREAS.iter().copied().flatten()
}

/// One check.
pub(super) fn find(id: &str) -> Option<&'static Check> {
    all().find(|check| check.id == id)
}
