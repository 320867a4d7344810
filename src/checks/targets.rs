use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::Evidence,
    nodes,
    object::{items, label, name, namespace, text},
    pool::pools,
    workload,
};

/// What Prometheus scrapes.
pub(super) const TARGETS: &str = "prometheus:/api/v1/targets?state=active";
const NEEDS: &[&str] = &["prom.ready"];
const READS: &[&str] = &[
    TARGETS,
    "ServiceMonitor",
    "Prometheus",
    "Service",
    "EndpointSlice",
    "Node",
    "Pod",
    "DaemonSet",
    "Namespace",
];

/// One job that the stack's monitors describe: the monitor's component, which of its endpoints, and how many targets
/// there must be.
struct Job {
    id: &'static str,
    component: &'static str,
    endpoint: Endpoint,
    expected: fn(&Evidence, &Value) -> Expected,
}

enum Endpoint {
    Path(&'static str),
    Port(&'static str),
    Only,
}

enum Expected {
    /// So many, whatever the Services list.
    Exactly(usize),
    /// As many as the Services list, and at least one.
    AsListed,
}

const fn job(
    id: &'static str,
    component: &'static str,
    endpoint: Endpoint,
    expected: fn(&Evidence, &Value) -> Expected,
) -> Job {
    Job {
        id,
        component,
        endpoint,
        expected,
    }
}

const JOBS: &[Job] = &[
    job(
        "targets.kubelet",
        "kubelet",
        Endpoint::Path("/metrics"),
        each_node,
    ),
    job(
        "targets.cadvisor",
        "kubelet",
        Endpoint::Path("/metrics/cadvisor"),
        each_node,
    ),
    job(
        "targets.node-exporter",
        "node-exporter",
        Endpoint::Only,
        each_exporter,
    ),
    job("targets.apiserver", "apiserver", Endpoint::Only, as_listed),
    job(
        "targets.controller-manager",
        "kube-controller-manager",
        Endpoint::Only,
        each_control_plane,
    ),
    job(
        "targets.scheduler",
        "kube-scheduler",
        Endpoint::Only,
        each_control_plane,
    ),
    job("targets.etcd", "kube-etcd", Endpoint::Only, each_control_plane),
    job("targets.kube-proxy", "kube-proxy", Endpoint::Only, each_proxy),
    job("targets.coredns", "coredns", Endpoint::Only, as_listed),
    job(
        "targets.kube-state-metrics",
        "kube-state-metrics",
        Endpoint::Only,
        replicas,
    ),
    job("targets.grafana", "grafana", Endpoint::Only, replicas),
    job(
        "targets.operator",
        "prometheus-operator",
        Endpoint::Only,
        replicas,
    ),
    job(
        "targets.prometheus",
        "prometheus",
        Endpoint::Port("http-web"),
        instances,
    ),
    job(
        "targets.prometheus-reloader",
        "prometheus",
        Endpoint::Port("reloader-web"),
        instances,
    ),
    job(
        "targets.alertmanager",
        "alertmanager",
        Endpoint::Port("http-web"),
        instances,
    ),
    job(
        "targets.alertmanager-reloader",
        "alertmanager",
        Endpoint::Port("reloader-web"),
        instances,
    ),
];

const fn target(id: &'static str, title: &'static str, hint: &'static str) -> Check {
    Check::new(id, title, one_job)
        .standard()
        .needs(NEEDS)
        .reads(READS)
        .hint(hint)
}

const REFUSED: &str = "'connection refused' means that it is down or listens on loopback only: stackup's kind clusters have it listen on all addresses, elsewhere set its bind address, or controlPlane.enabled=false where a provider hides it";

pub(super) const CHECKS: &[Check] = &[
    target("targets.kubelet", "the kubelet of every node is scraped", "status 401 or 403 means that the kubelet does not accept Prometheus's token, or that its ClusterRole lacks nodes/metrics"),
    target("targets.cadvisor", "cAdvisor of every node is scraped", "status 401 or 403 means that the kubelet does not accept Prometheus's token, or that its ClusterRole lacks nodes/metrics"),
    target("targets.node-exporter", "node-exporter of every node is scraped", "port 9100 of the node may be closed, or taken by another exporter"),
    target("targets.apiserver", "every API server is scraped", "Prometheus's ClusterRole needs the right to get /metrics"),
    target("targets.controller-manager", "the controller-manager of every control plane is scraped", REFUSED),
    target("targets.scheduler", "the scheduler of every control plane is scraped", REFUSED),
    target("targets.etcd", "etcd of every control plane is scraped", REFUSED),
    target("targets.kube-proxy", "kube-proxy of every node is scraped", "'connection refused' means that it listens on loopback only: set metricsBindAddress to 0.0.0.0:10249, or kubeProxy.enabled=false"),
    target("targets.coredns", "every CoreDNS pod is scraped", "its Corefile needs the plugin prometheus on port 9153"),
    target("targets.kube-state-metrics", "kube-state-metrics is scraped", "'workloads.ready' says whether it runs"),
    target("targets.grafana", "Grafana is scraped", "'workloads.ready' says whether it runs"),
    target("targets.operator", "the operator is scraped", "a certificate error means that the monitor trusts another authority than the operator's"),
    target("targets.prometheus", "Prometheus scrapes itself", "'prom.service' says whether its Service leads to it"),
    target("targets.prometheus-reloader", "the config-reloader of Prometheus is scraped", "the Service needs the port reloader-web"),
    target("targets.alertmanager", "Alertmanager is scraped", "'am.service' says whether its Service leads to it"),
    target("targets.alertmanager-reloader", "the config-reloader of Alertmanager is scraped", "the Service needs the port reloader-web"),
    Check::new("targets.monitors", "every selected ServiceMonitor has the targets that its Services list, and all are up", monitors)
        .standard()
        .needs(NEEDS)
        .reads(READS)
        .hint("a monitor that finds no target names a port that the Service does not have, or a label that no Service carries"),
    Check::new("targets.duplicate", "nothing is scraped twice by one job", duplicate)
        .standard()
        .warning()
        .needs(NEEDS)
        .reads(READS)
        .hint("two Services list the same address, such as one that an earlier installation left behind"),
];

/// The active targets by pool.
fn by_pool(answer: &Value) -> BTreeMap<&str, Vec<&Value>> {
    let mut pools: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for target in items(answer, "/data/activeTargets") {
        pools.entry(text(target, "/scrapePool")).or_default().push(target);
    }
    pools
}

fn one_job(e: &Evidence, id: &'static str) -> Outcome {
    let job = JOBS
        .iter()
        .find(|job| job.id == id)
        .ok_or_else(|| Miss::skip("no such job"))?;
    let of = |monitor: &&Value| label(monitor, "app.kubernetes.io/name") == job.component;
    let wanted = e.applied("ServiceMonitor").find(of);
    let wanted = wanted.ok_or_else(|| Miss::skip(format!("the stack does not monitor {}", job.component)))?;
    let pools = pools(e)?;
    let pool = pools.iter().find(|pool| {
        name(pool.monitor) == name(wanted)
            && namespace(pool.monitor) == namespace(wanted)
            && match job.endpoint {
                Endpoint::Path(path) => text(pool.endpoint, "/path") == path,
                Endpoint::Port(port) => text(pool.endpoint, "/port") == port,
                Endpoint::Only => true,
            }
    });
    let pool = pool.ok_or_else(|| {
        Miss::fail(
            format!(
                "Prometheus does not choose ServiceMonitor {}",
                super::object::title(wanted)
            ),
            "a monitor that is chosen",
        )
        .hint("it needs the label that serviceMonitorSelector of the Prometheus object asks for")
    })?;
    let answer = e.json(TARGETS)?;
    let targets = by_pool(&answer).remove(pool.name.as_str()).unwrap_or_default();
    let up = targets
        .iter()
        .filter(|target| text(target, "/health") == "up")
        .count();
    let expected = match (job.expected)(e, wanted) {
        Expected::Exactly(count) => count.max(1),
        Expected::AsListed => pool.addresses.len().max(1),
    };
    let mut wrong = pool.wrong(&targets);
    if up < expected && wrong.is_empty() {
        wrong.push(format!(
            "{up} of {expected} are up, and {} Services list {} addresses",
            pool.services.len(),
            pool.addresses.len()
        ));
    }
    none(
        &wrong,
        format!("{up} up"),
        format!("{expected} targets up in {}", pool.name),
    )
}

fn monitors(e: &Evidence, _: &'static str) -> Outcome {
    let pools = pools(e)?;
    let answer = e.json(TARGETS)?;
    let targets = by_pool(&answer);
    let mut wrong = Vec::new();
    for pool in &pools {
        let found = targets.get(pool.name.as_str()).map_or(&[][..], Vec::as_slice);
        if found.is_empty() {
            wrong.push(format!(
                "{} has no target ({} Services chosen)",
                pool.name,
                pool.services.len()
            ));
        }
        wrong.extend(
            pool.wrong(found)
                .into_iter()
                .map(|what| format!("{}: {what}", pool.name)),
        );
    }
    let all = items(&answer, "/data/activeTargets");
    none(
        &wrong,
        format!("{} targets of {} monitored endpoints", all.len(), pools.len()),
        "every target up",
    )
}

fn duplicate(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let answer = e.json(TARGETS)?;
    let mut wrong = Vec::new();
    for (pool, targets) in by_pool(&answer) {
        let mut seen = BTreeSet::new();
        wrong.extend(
            targets
                .iter()
                .map(|target| text(target, "/scrapeUrl"))
                .filter(|url| !seen.insert(*url))
                .map(|url| format!("{pool}: {url}")),
        );
    }
    if wrong.is_empty() {
        return Ok("none".to_owned());
    }
    Err(Miss::fail(few(&wrong), "each address once"))
}

fn each_node(e: &Evidence, _: &Value) -> Expected {
    Expected::Exactly(e.all("Node").len())
}

/// The Linux nodes on which the stack's node-exporter should run.
fn each_exporter(e: &Evidence, monitor: &Value) -> Expected {
    let component = label(monitor, "app.kubernetes.io/name");
    let set = e
        .applied("DaemonSet")
        .find(|set| label(set, "app.kubernetes.io/name") == component);
    Expected::Exactly(set.map_or(0, |set| workload::nodes(e, set).len()))
}

fn each_control_plane(e: &Evidence, _: &Value) -> Expected {
    Expected::Exactly(
        e.all("Node")
            .iter()
            .filter(|node| nodes::control_plane(node))
            .count(),
    )
}

fn each_proxy(e: &Evidence, _: &Value) -> Expected {
    let set = e.find("DaemonSet", "kube-system", "kube-proxy");
    set.map_or(Expected::AsListed, |set| {
        Expected::Exactly(workload::nodes(e, set).len())
    })
}

fn as_listed(_: &Evidence, _: &Value) -> Expected {
    Expected::AsListed
}

/// As many as the Deployment of the same component asks for.
fn replicas(e: &Evidence, monitor: &Value) -> Expected {
    let component = label(monitor, "app.kubernetes.io/name");
    let deployment = e
        .applied("Deployment")
        .find(|object| label(object, "app.kubernetes.io/name") == component);
    Expected::Exactly(deployment.map_or(1, count))
}

/// As many as the object of the operator asks for.
fn instances(e: &Evidence, monitor: &Value) -> Expected {
    let component = label(monitor, "app.kubernetes.io/name");
    let owners = workload::operated(e).into_iter().map(|(owner, _)| owner);
    Expected::Exactly(
        owners
            .filter(|owner| label(owner, "app.kubernetes.io/name") == component)
            .map(count)
            .sum(),
    )
}

fn count(object: &Value) -> usize {
    usize::try_from(workload::replicas(object)).unwrap_or_default()
}
