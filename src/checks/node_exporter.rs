use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, none},
    evidence::Evidence,
    nodes,
    object::{items, label, name, text, title, truth},
    workload,
};

const NODES: &str = "prometheus:/api/v1/query?query=node_uname_info";
const MEMORY: &str = "prometheus:/api/v1/query?query=node_memory_MemTotal_bytes";
const COLLECTORS: &str = "prometheus:/api/v1/query?query=node_scrape_collector_success%7Bcollector%3D~%22cpu%7Cdiskstats%7Cfilesystem%7Cloadavg%7Cmeminfo%7Cnetdev%7Cstat%7Cuname%22%7D";

pub(super) const CHECKS: &[Check] = &[
    Check::new(
        "ne.daemonset",
        "node-exporter runs on every Linux node",
        daemonset,
    )
    .needs(&["inventory.daemonsets"])
    .reads(&["DaemonSet", "Node"])
    .hint("another program on the port 9100 of a node keeps it from starting there"),
    Check::new(
        "ne.host",
        "node-exporter looks at the node and not at its own container",
        host,
    )
    .needs(&["cluster.reachable"])
    .reads(&["DaemonSet"]),
    Check::new(
        "ne.nodes-in-prometheus",
        "Prometheus has the metrics of every node",
        in_prometheus,
    )
    .standard()
    .needs(&["targets.node-exporter"])
    .reads(&[NODES, "Node", "DaemonSet"])
    .hint("a new target is scraped within its interval of 30 seconds"),
    Check::new(
        "ne.collectors",
        "node-exporter reads the processors, memory, disks and network of every node",
        collectors,
    )
    .standard()
    .warning()
    .needs(&["targets.node-exporter"])
    .reads(&[COLLECTORS])
    .hint("its log on that node says what it could not read"),
    Check::new(
        "ne.truth",
        "the memory that node-exporter sees is that of the node",
        memory,
    )
    .standard()
    .warning()
    .needs(&["targets.node-exporter"])
    .reads(&[MEMORY, "Node"])
    .hint("it sees another machine: its host paths are not those of the node"),
];

/// The node-exporter that the stack wants.
fn wanted(e: &Evidence) -> Result<&Value, Miss> {
    let mut all = e.applied("DaemonSet");
    let found = all.find(|object| label(object, "app.kubernetes.io/name") == "node-exporter");
    found.ok_or_else(|| Miss::skip("the stack has no node-exporter"))
}

fn exporter(e: &Evidence) -> Result<&Value, Miss> {
    let wanted = wanted(e)?;
    e.live(wanted)
        .ok_or_else(|| Miss::fail(format!("no DaemonSet {}", title(wanted)), "it"))
}

fn daemonset(e: &Evidence, _: &'static str) -> Outcome {
    let live = exporter(e)?;
    let ready = workload::ready(live).map_err(|why| Miss::fail(why, "a ready pod on every node"))?;
    let takes: Vec<&str> = workload::nodes(e, live).into_iter().map(name).collect();
    let linux = e.all("Node").iter().filter(|node| nodes::linux(node));
    let left_out: Vec<String> = linux
        .filter(|node| !takes.contains(&name(node)))
        .map(|node| format!("{} takes no pod of it", name(node)))
        .collect();
    none(&left_out, ready, "every Linux node")
}

fn host(e: &Evidence, _: &'static str) -> Outcome {
    let live = exporter(e)?;
    let spec = live.pointer("/spec/template/spec").unwrap_or(&Value::Null);
    let mut wrong = Vec::new();
    for setting in ["hostNetwork", "hostPID"] {
        if !truth(spec, &format!("/{setting}")) {
            wrong.push(format!("{setting} is not set"));
        }
    }
    for path in ["/proc", "/sys", "/"] {
        if !items(spec, "/volumes")
            .iter()
            .any(|volume| text(volume, "/hostPath/path") == path)
        {
            wrong.push(format!("{path} of the node is not mounted"));
        }
    }
    none(
        &wrong,
        "the node's network, processes, /proc, /sys and /",
        "all of the node's",
    )
}

fn in_prometheus(e: &Evidence, _: &'static str) -> Outcome {
    let expected = workload::nodes(e, exporter(e)?);
    let samples = e.samples(NODES)?;
    let seen = |node: &Value| {
        let addresses = nodes::addresses(node);
        samples.iter().any(|(labels, _)| {
            let instance = text(labels, "/instance")
                .rsplit_once(':')
                .map_or("", |(host, _)| host);
            addresses.contains(&instance.trim_matches(['[', ']'])) || instance == name(node)
        })
    };
    let missing: Vec<String> = expected
        .iter()
        .filter(|node| !seen(node))
        .map(|node| name(node).to_owned())
        .collect();
    none(
        &missing,
        format!("{} nodes", samples.len()),
        "node_uname_info of every node",
    )
}

fn collectors(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let samples = e.samples(COLLECTORS)?;
    if samples.is_empty() {
        return Err(Miss::fail(
            "no sample of any collector",
            "a sample of each on every node",
        ));
    }
    let failed = samples.iter().filter(|(_, value)| *value < 1.0);
    let wrong: Vec<String> = failed
        .map(|(labels, _)| format!("{} on {}", text(labels, "/collector"), text(labels, "/instance")))
        .collect();
    none(
        &wrong,
        format!("{} collectors", samples.len()),
        "no collector that fails",
    )
}

fn memory(e: &Evidence, _: &'static str) -> Outcome {
    wanted(e)?;
    let samples = e.samples(MEMORY)?;
    let mut wrong = Vec::new();
    let mut compared = 0;
    for node in e.all("Node") {
        let addresses = nodes::addresses(node);
        let of_node = |(labels, _): &&(Value, f64)| {
            text(labels, "/instance")
                .rsplit_once(':')
                .is_some_and(|(host, _)| addresses.contains(&host.trim_matches(['[', ']'])))
        };
        let (Some((_, seen)), Some(capacity)) = (
            samples.iter().find(of_node),
            bytes(text(node, "/status/capacity/memory")),
        ) else {
            continue;
        };
        compared += 1;
        if (seen - capacity).abs() > capacity * 0.05 {
            wrong.push(format!(
                "{}: {seen:.0} bytes instead of {capacity:.0}",
                name(node)
            ));
        }
    }
    if compared == 0 {
        return Err(Miss::fail(
            "no node whose memory is known to both",
            "the memory of each node",
        ));
    }
    none(&wrong, format!("{compared} nodes"), "the same within 5%")
}

/// Bytes of a quantity as nodes tell their memory.
fn bytes(quantity: &str) -> Option<f64> {
    let end = quantity
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(quantity.len());
    let (number, unit) = quantity.split_at(end);
    let factor = match unit {
        "" => 1.0,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}
