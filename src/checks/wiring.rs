use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, none},
    evidence::{Evidence, digest},
    object::{full_title, items, keys, label, name, namespace, owned_by, text, title, truth},
    pool::{Pool, pools},
    rules::unchosen,
    workload,
};

/// The configuration that Prometheus has loaded.
const CONFIG: &str = "prometheus:/api/v1/status/config";

pub(super) const CHECKS: &[Check] = &[
    Check::new("wiring.volumes", "the Secret or ConfigMap behind every volume is there", volumes)
        .needs(&["cluster.reachable"])
        .reads(&["StatefulSet", "Deployment", "DaemonSet", "Secret", "ConfigMap"])
        .hint("the pod stays in ContainerCreating until what it mounts is there"),
    Check::new("wiring.prom-secret", "the operator has written the configuration of Prometheus", prometheus_secret)
        .needs(&["inventory.secrets"])
        .reads(&["Secret"]),
    Check::new("wiring.am-secret", "the operator has written the configuration of Alertmanager", alertmanager_secret)
        .needs(&["inventory.secrets"])
        .reads(&["Secret"])
        .hint("the operator refuses a configuration whose route names a receiver that is not defined"),
    Check::new("wiring.rulefiles", "the operator has written every rule object of the stack", rulefiles)
        .needs(&["inventory.configmaps"])
        .reads(&["ConfigMap", "PrometheusRule"])
        .hint("a rule needs the label that ruleSelector asks for, on the object itself; the operator leaves out what is not valid"),
    Check::new("wiring.unselected", "Prometheus chooses every monitor and rule in the cluster", unselected)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["ServiceMonitor", "PodMonitor", "PrometheusRule", "Prometheus", "Namespace"])
        .hint("it is never scraped or evaluated without the label that the selector of the Prometheus object asks for"),
    Check::new("wiring.ports", "every monitor finds Services with the ports that it names", ports)
        .needs(&["prom.cr"])
        .reads(&["ServiceMonitor", "Service", "Prometheus", "Namespace", "EndpointSlice"])
        .hint("a monitor names a Service's port by its name, not by its number"),
    Check::new("wiring.owners", "what the operator made belongs to an object that is there", owners)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["Secret", "ConfigMap", "StatefulSet", "Prometheus", "Alertmanager"])
        .hint("it was left behind by an object of the same name that is gone"),
    Check::new("wiring.config-loaded", "Prometheus has loaded a scrape job for every monitor", config_loaded)
        .standard()
        .alike()
        .needs(&["prom.ready"])
        .reads(&[CONFIG, "ServiceMonitor", "Service", "Prometheus", "Namespace", "EndpointSlice"])
        .hint("a change needs up to two minutes: the kubelet brings the Secret to the pod, the reloader tells Prometheus"),
    Check::new("wiring.external-labels", "every sample is marked with the Prometheus that it comes from", external_labels)
        .standard()
        .warning()
        .needs(&["prom.ready"])
        .reads(&[CONFIG])
        .hint("$(POD_NAME) in the loaded configuration means that the reloader did not replace it"),
];

fn volumes(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut count = 0;
    for workload in workload::all(e).into_iter().flatten() {
        for volume in items(workload, "/spec/template/spec/volumes") {
            let projected = items(volume, "/projected/sources").iter();
            for source in std::iter::once(volume).chain(projected) {
                for (kind, at, named) in [
                    ("Secret", "secret", "secretName"),
                    ("Secret", "secret", "name"),
                    ("ConfigMap", "configMap", "name"),
                ] {
                    let needed = text(source, &format!("/{at}/{named}"));
                    if needed.is_empty() || truth(source, &format!("/{at}/optional")) {
                        continue;
                    }
                    count += 1;
                    if e.find(kind, namespace(workload), needed).is_none() {
                        wrong.push(format!(
                            "{} mounts {kind} {needed}, which is missing",
                            full_title(workload)
                        ));
                    }
                }
            }
        }
    }
    none(
        &wrong,
        format!("{count} Secrets and ConfigMaps"),
        "all there, but for optional ones",
    )
}

/// Whether the operator's Secret for each object of a kind has the key with the configuration.
fn written(e: &Evidence, kind: &str, secret: impl Fn(&Value) -> String, key: &str) -> Outcome {
    let mut wrong = Vec::new();
    let wanted = e.some_applied(kind)?;
    for object in &wanted {
        let named = secret(object);
        let has = e
            .find("Secret", namespace(object), &named)
            .is_some_and(|secret| keys(secret, "/data").contains(&key));
        if !has {
            wrong.push(format!("Secret {}/{named} has no {key}", namespace(object)));
        }
    }
    none(&wrong, key, format!("a Secret with {key}"))
}

fn prometheus_secret(e: &Evidence, _: &'static str) -> Outcome {
    written(
        e,
        "Prometheus",
        |object| format!("prometheus-{}", name(object)),
        "prometheus.yaml.gz",
    )
}

fn alertmanager_secret(e: &Evidence, _: &'static str) -> Outcome {
    written(
        e,
        "Alertmanager",
        |object| format!("alertmanager-{}-generated", name(object)),
        "alertmanager.yaml.gz",
    )
}

fn rulefiles(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let rules = e.some_applied("PrometheusRule")?;
    let files: Vec<&str> = e
        .all("ConfigMap")
        .iter()
        .filter(|map| !label(map, "prometheus-name").is_empty())
        .flat_map(|map| keys(map, "/data"))
        .collect();
    let unwritten = rules.iter().filter_map(|rule| e.live(rule)).filter(|rule| {
        let file = format!(
            "{}-{}-{}.yaml",
            namespace(rule),
            name(rule),
            text(rule, "/metadata/uid")
        );
        !files.contains(&file.as_str())
    });
    none(
        &unwritten.map(title).collect::<Vec<_>>(),
        format!("{} files", files.len()),
        "a file for each",
    )
}

fn unselected(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let kinds = [
        ("ServiceMonitor", "serviceMonitor"),
        ("PodMonitor", "podMonitor"),
        ("PrometheusRule", "rule"),
    ];
    let wrong: Vec<String> = kinds
        .iter()
        .flat_map(|(kind, prefix)| unchosen(e, kind, prefix))
        .collect();
    let count: usize = kinds.iter().map(|(kind, _)| e.all(kind).len()).sum();
    none(&wrong, format!("{count} objects"), "each chosen")
}

fn ports(e: &Evidence, _: &'static str) -> Outcome {
    let pools = pools(e)?;
    let wrong: Vec<String> = pools.iter().filter_map(Pool::unmatched).collect();
    none(
        &wrong,
        format!("{} endpoints", pools.len()),
        "a Service with that port for each",
    )
}

fn owners(e: &Evidence, _: &'static str) -> Outcome {
    let of_operator = |object: &&Value| {
        label(object, "managed-by") == "prometheus-operator"
            || label(object, "app.kubernetes.io/managed-by") == "prometheus-operator"
    };
    let kinds = ["Secret", "ConfigMap", "StatefulSet"];
    let made: Vec<&Value> = kinds
        .iter()
        .flat_map(|kind| e.all(kind))
        .filter(of_operator)
        .collect();
    if made.is_empty() {
        return Err(Miss::skip("the operator has made nothing"));
    }
    let alive = |object: &&&Value| {
        items(object, "/metadata/ownerReferences").is_empty()
            || ["Prometheus", "Alertmanager"]
                .iter()
                .flat_map(|kind| e.all(kind))
                .any(|owner| owned_by(object, owner))
    };
    let orphans = made.iter().filter(|object| !alive(object));
    none(
        &orphans.map(|object| full_title(object)).collect::<Vec<_>>(),
        format!("{} objects", made.len()),
        "an owner that is there",
    )
}

/// The text of the loaded configuration.
fn config(e: &Evidence) -> Result<String, Miss> {
    e.some_applied("Prometheus")?;
    let answer = e.json(CONFIG)?;
    match text(&answer, "/data/yaml") {
        "" => Err(Miss::fail("an empty configuration", "the loaded configuration")),
        config => Ok(config.to_owned()),
    }
}

/// A configuration without the lines that name its own pod, which is what pods of one `StatefulSet` share.
fn common(e: &Evidence, config: &str) -> String {
    let pod = e
        .answer(CONFIG)
        .and_then(|(pod, _)| pod.rsplit('/').next())
        .unwrap_or_default();
    let own = |line: &&str| {
        line.split_once(": ")
            .is_some_and(|(_, value)| value.trim_matches('"') == pod)
    };
    config
        .lines()
        .filter(|line| !own(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn config_loaded(e: &Evidence, _: &'static str) -> Outcome {
    let config = config(e)?;
    let jobs: Vec<&str> = config
        .lines()
        .filter_map(|line| line.trim_start_matches(['-', ' ']).strip_prefix("job_name:"))
        .map(|job| job.trim().trim_matches(['"', '\'']))
        .collect();
    let pools = pools(e)?;
    let missing = pools
        .iter()
        .map(|pool| pool.name.clone())
        .filter(|pool| !jobs.contains(&pool.as_str()));
    none(
        &missing.collect::<Vec<_>>(),
        format!(
            "{} jobs, configuration {}",
            jobs.len(),
            digest(&common(e, &config))
        ),
        "a job for each monitored endpoint",
    )
}

fn external_labels(e: &Evidence, _: &'static str) -> Outcome {
    let config = config(e)?;
    let value = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("prometheus_replica:"))
        .map(str::trim);
    match value {
        Some(value) if !value.contains("$(") => Ok(format!("prometheus_replica {value}")),
        Some(value) => Err(Miss::fail(
            format!("prometheus_replica {value}"),
            "the name of the pod",
        )),
        None => Err(Miss::fail("no label prometheus_replica", "the name of the pod")),
    }
}
