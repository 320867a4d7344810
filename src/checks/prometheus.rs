use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::{Evidence, excerpt},
    object::{
        condition, container, flag, full_title, items, mount_of, name, name_of, namespace, number, owned_by,
        tag, text, title, truth,
    },
    workload,
};

const STATEFULSET: &str = "prom.statefulset";
const READY: &str = "prom.ready";
const READY_PATH: &str = "prometheus:/-/ready";
const RUNTIME: &str = "prometheus:/api/v1/status/runtimeinfo";
const BUILD: &str = "prometheus:/api/v1/status/buildinfo";
const ALERTMANAGERS: &str = "prometheus:/api/v1/alertmanagers";
const INGEST: &str =
    "prometheus:/api/v1/query?query=rate(prometheus_tsdb_head_samples_appended_total%5B5m%5D)";
/// What the operator is asked to make.
pub(super) const CONFIG_FILE: &str = "--config.file";

pub(super) const CHECKS: &[Check] = &[
    Check::new("prom.cr", "the operator has carried out the Prometheus object", cr)
        .needs(&["operator.deployment"])
        .reads(&["Prometheus"])
        .hint("the condition's message is the operator's own word")
        .fix("kubectl -n monitoring describe prometheus"),
    Check::new(STATEFULSET, "the StatefulSet of Prometheus is ready and of the last version", statefulset)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet", "Prometheus"])
        .fix("kubectl -n monitoring get statefulsets,pods"),
    Check::new("prom.pod", "every Prometheus pod runs Prometheus and its config-reloader", pod)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet", "Pod"])
        .hint("Prometheus that needs longer for its start than 15 minutes, or more memory than its limit, is restarted")
        .fix("kubectl -n monitoring get pods -l app.kubernetes.io/name=prometheus"),
    Check::new("prom.image", "Prometheus runs the image that the stack names", image)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("prom.args", "Prometheus reads the configuration that the reloader writes", args)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"])
        .hint("--config.file has to lie below the mount of the volume config-out"),
    Check::new("prom.mounts", "every volume that Prometheus mounts is one of its pod", mounts)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("prom.config-out", "the written configuration is kept in memory only", config_out)
        .warning()
        .needs(&["prom.args"])
        .reads(&["StatefulSet"])
        .hint("it holds what was in Secrets: on a disk it would stay there"),
    Check::new("prom.service", "the Services of Prometheus lead to its pods", service)
        .needs(&["inventory.services", "prom.pod"])
        .reads(&["Service", "Pod", "StatefulSet"]),
    Check::new("prom.storage", "Prometheus keeps its samples where the stack says", storage)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"])
        .hint("the volume of a StatefulSet cannot be changed in place: the operator makes it anew, unless it may not"),
    Check::new(READY, "Prometheus answers and is ready", ready)
        .standard()
        .needs(&["prom.pod"])
        .reads(&[READY_PATH])
        .hint("after a restart it reads its log of samples first, which takes a while")
        .fix("kubectl -n monitoring logs statefulset/prometheus-monitoring-kube-prometheus-prometheus -c prometheus --tail=20"),
    Check::new("prom.version", "Prometheus is of the version that the stack names", version)
        .standard()
        .needs(&[READY])
        .reads(&[BUILD]),
    Check::new("prom.runtime", "Prometheus has accepted its last configuration", runtime)
        .standard()
        .needs(&[READY])
        .reads(&[RUNTIME])
        .hint("its log names the line that it does not take; the former configuration stays in use meanwhile"),
    Check::new("prom.ingest", "Prometheus stores samples", ingest)
        .standard()
        .needs(&[READY])
        .reads(&[INGEST]),
    Check::new("prom.alertmanagers", "Prometheus knows every Alertmanager of the stack", alertmanagers)
        .standard()
        .needs(&[READY])
        .reads(&[ALERTMANAGERS])
        .hint("alerting.alertmanagers of the Prometheus object names the Service and its port"),
];

/// What the operator writes into the status of its objects.
pub(super) fn carried_out(e: &Evidence, kind: &str) -> Outcome {
    let wanted = e.some_applied(kind)?;
    let mut seen = Vec::new();
    for wanted in wanted {
        let expected = "conditions Reconciled and Available true, for the last generation";
        let live = e
            .live(wanted)
            .ok_or_else(|| Miss::fail(format!("no {}", full_title(wanted)), expected))?;
        if truth(live, "/spec/paused") {
            return Err(Miss::fail(
                format!("{} is paused", title(live)),
                "spec.paused false",
            ));
        }
        for kind in ["Reconciled", "Available"] {
            let Some(found) = condition(live, kind) else {
                return Err(Miss::fail(
                    format!("{} has no condition {kind}", title(live)),
                    expected,
                ));
            };
            let current = number(found, "/observedGeneration") >= number(live, "/metadata/generation");
            if text(found, "/status") != "True" || !current {
                let (status, reason) = (text(found, "/status"), text(found, "/reason"));
                let observed = format!(
                    "{}: {kind} is {status} {reason} {}",
                    title(live),
                    text(found, "/message")
                );
                return Err(Miss::fail(observed.trim_end(), expected));
            }
        }
        seen.push(format!("{} available", number(live, "/status/availableReplicas")));
    }
    Ok(few(&seen))
}

/// Readiness, owner and size of the `StatefulSet`s that the operator made.
pub(super) fn made(e: &Evidence, kind: &str) -> Outcome {
    let mut seen = Vec::new();
    for set in workload::made_for(e, kind)? {
        seen.push(
            workload::ready(set).map_err(|why| Miss::fail(why, "all pods ready and of the last version"))?,
        );
        let Some(owner) = e.all(kind).iter().find(|owner| owned_by(set, owner)) else {
            return Err(Miss::fail(
                format!("{} is owned by no {kind} that is there", title(set)),
                format!("a {kind} as owner"),
            ));
        };
        let (asked, has) = (workload::replicas(owner), workload::replicas(set));
        if asked != has {
            return Err(Miss::fail(
                format!("{} has spec.replicas {has}", title(set)),
                format!("{asked}, as {} says", full_title(owner)),
            ));
        }
        let annotation = "/metadata/annotations/prometheus-operator-input-hash";
        if text(set, annotation).is_empty() {
            return Err(Miss::fail(
                format!("{} lacks the operator's mark", title(set)),
                "annotation prometheus-operator-input-hash",
            ));
        }
    }
    Ok(few(&seen))
}

/// Whether all of the operator's pods are there and the named containers in them run, and their init containers have ended well.
pub(super) fn running(e: &Evidence, kind: &str, containers: &[&str]) -> Outcome {
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for set in workload::made_for(e, kind)? {
        let pods = workload::pods(e, set);
        let wanted = usize::try_from(workload::replicas(set))
            .unwrap_or_default()
            .max(1);
        if pods.len() < wanted {
            wrong.push(format!("{} has {} of {wanted} pods", title(set), pods.len()));
        }
        for pod in pods {
            for named in containers {
                let status = container(pod, "/status/containerStatuses", named);
                if !status.is_some_and(|status| truth(status, "/ready")) {
                    let why = status.map_or("is not there", |status| text(status, "/state/waiting/reason"));
                    wrong.push(
                        format!("{} {named} is not ready {why}", title(pod))
                            .trim_end()
                            .to_owned(),
                    );
                }
            }
            for status in items(pod, "/status/initContainerStatuses") {
                if text(status, "/state/terminated/reason") != "Completed" && !e.simulated {
                    wrong.push(format!("{} {} has not ended well", title(pod), name_of(status)));
                }
            }
            seen.push(name(pod).to_owned());
        }
    }
    none(
        &wrong,
        few(&seen),
        format!("{} ready, init containers done", containers.join(" and ")),
    )
}

/// A container of each `StatefulSet` that the operator made.
pub(super) fn main_containers<'a>(
    e: &'a Evidence,
    kind: &str,
    named: &str,
) -> Result<Vec<(&'a Value, &'a Value)>, Miss> {
    let sets = workload::made_for(e, kind)?;
    sets.into_iter()
        .map(|set| {
            let found = set
                .pointer("/spec/template/spec")
                .and_then(|spec| container(spec, "/containers", named));
            let found = found.ok_or_else(|| {
                Miss::fail(
                    format!("{} has no container {named}", title(set)),
                    "that container",
                )
            });
            Ok((set, found?))
        })
        .collect()
}

/// Whether a program's configuration file lies where its reloader writes: below the mount of the volume `config-out`.
pub(super) fn reads_what_is_written(e: &Evidence, kind: &str, named: &str) -> Outcome {
    let mut seen = Vec::new();
    for (set, main) in main_containers(e, kind, named)? {
        let path = flag(main, CONFIG_FILE).unwrap_or_default();
        let mount = mount_of(main, path);
        if mount.map(name_of) != Some("config-out") {
            let observed = format!(
                "{}: {CONFIG_FILE}={path} lies in {}",
                title(set),
                mount.map_or("no volume", name_of)
            );
            return Err(Miss::fail(
                observed,
                "a path below the mount of the volume config-out",
            ));
        }
        seen.push(format!("{CONFIG_FILE}={path}"));
    }
    Ok(few(&seen))
}

/// Whether every mount of every container names a volume of the pod.
pub(super) fn mounted(e: &Evidence, kind: &str, named: &str) -> Outcome {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (set, _) in main_containers(e, kind, named)? {
        let Some(spec) = set.pointer("/spec/template/spec") else {
            continue;
        };
        let volumes: Vec<&str> = items(spec, "/volumes").iter().map(name_of).collect();
        let claims: Vec<&str> = items(set, "/spec/volumeClaimTemplates")
            .iter()
            .map(name)
            .collect();
        for container in items(spec, "/initContainers")
            .iter()
            .chain(items(spec, "/containers"))
        {
            for mount in items(container, "/volumeMounts").iter().map(name_of) {
                count += 1;
                if !volumes.contains(&mount) && !claims.contains(&mount) {
                    wrong.push(format!(
                        "{} {}: no volume {mount}",
                        title(set),
                        name_of(container)
                    ));
                }
            }
        }
    }
    none(&wrong, format!("{count} mounts"), "a volume for each mount")
}

/// Whether the applied Services that select a kind's pods, and the one that the operator keeps, lead to ready pods.
pub(super) fn served(e: &Evidence, kind: &str, operated: &str) -> Outcome {
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for set in workload::made_for(e, kind)? {
        let labels = set.pointer("/spec/template/metadata/labels");
        let governing = e.find("Service", namespace(set), operated);
        let own = e.applied("Service").filter(|service| {
            namespace(service) == namespace(set) && super::object::service_selects(service, labels)
        });
        for service in own.filter_map(|wanted| e.live(wanted)).chain(governing) {
            if super::cluster::backing(e, service) == 0 {
                wrong.push(format!("{} leads to no ready pod", title(service)));
            }
            seen.push(name(service).to_owned());
        }
        if governing.is_none() {
            wrong.push(format!("no Service {}/{operated}", namespace(set)));
        }
    }
    none(&wrong, few(&seen), "a ready pod behind each")
}

/// Whether a kind's image is the one that its object names.
pub(super) fn runs_image(e: &Evidence, kind: &str, named: &str) -> Outcome {
    let mut seen = Vec::new();
    for (set, main) in main_containers(e, kind, named)? {
        let image = text(main, "/image");
        let wanted = e
            .applied(kind)
            .filter(|object| namespace(object) == namespace(set))
            .find(|object| name(set).contains(name(object)));
        let wanted = wanted
            .map(|object| text(object, "/spec/image"))
            .unwrap_or_default();
        if !wanted.is_empty() && wanted != image {
            return Err(Miss::fail(image, wanted));
        }
        seen.push(image.to_owned());
    }
    Ok(few(&seen))
}

/// Whether a program's data lies on a volume if its object asks for one. None is a choice, not a fault: it is said.
fn stored(e: &Evidence, kind: &str) -> Outcome {
    e.some_applied(kind)?;
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for (owner, named) in workload::operated(e)
        .into_iter()
        .filter(|(owner, _)| text(owner, "/kind") == kind)
    {
        let Some(set) = e.find("StatefulSet", namespace(owner), &named) else {
            continue;
        };
        let asked = owner.pointer("/spec/storage/volumeClaimTemplate").is_some();
        match (asked, items(set, "/spec/volumeClaimTemplates").first()) {
            (true, None) => wrong.push(format!("{} keeps its data in an emptyDir", title(set))),
            (_, Some(claim)) => seen.push(format!(
                "a volume of {}",
                text(claim, "/spec/resources/requests/storage")
            )),
            (false, None) => seen.push("an emptyDir: lost with the pod".to_owned()),
        }
    }
    none(&wrong, few(&seen), "a volume, as the stack asks")
}

fn cr(e: &Evidence, _: &'static str) -> Outcome {
    carried_out(e, "Prometheus")
}

fn statefulset(e: &Evidence, _: &'static str) -> Outcome {
    made(e, "Prometheus")
}

fn pod(e: &Evidence, _: &'static str) -> Outcome {
    running(e, "Prometheus", &["prometheus", "config-reloader"])
}

fn image(e: &Evidence, _: &'static str) -> Outcome {
    runs_image(e, "Prometheus", "prometheus")
}

fn args(e: &Evidence, _: &'static str) -> Outcome {
    let seen = reads_what_is_written(e, "Prometheus", "prometheus")?;
    for (set, main) in main_containers(e, "Prometheus", "prometheus")? {
        if !super::object::texts(main, "/args").contains(&"--web.enable-lifecycle") {
            let observed = format!("{}: no --web.enable-lifecycle", title(set));
            return Err(Miss::fail(
                observed,
                "an argument that lets the reloader ask for a reload",
            ));
        }
    }
    Ok(seen)
}

fn mounts(e: &Evidence, _: &'static str) -> Outcome {
    mounted(e, "Prometheus", "prometheus")
}

fn config_out(e: &Evidence, _: &'static str) -> Outcome {
    for set in workload::made_for(e, "Prometheus")? {
        let volumes = items(set, "/spec/template/spec/volumes");
        let volume = volumes.iter().find(|volume| name_of(volume) == "config-out");
        if volume.map(|volume| text(volume, "/emptyDir/medium")) != Some("Memory") {
            return Err(Miss::fail(
                format!("{}: config-out is not kept in memory", title(set)),
                "emptyDir with medium Memory",
            ));
        }
    }
    Ok("emptyDir, medium Memory".to_owned())
}

fn service(e: &Evidence, _: &'static str) -> Outcome {
    served(e, "Prometheus", "prometheus-operated")
}

fn storage(e: &Evidence, _: &'static str) -> Outcome {
    stored(e, "Prometheus")
}

fn ready(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    Ok(excerpt(e.body(READY_PATH)?))
}

fn version(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = e.some_applied("Prometheus")?;
    let answer = e.json(BUILD)?;
    let found = text(&answer, "/data/version");
    for object in wanted {
        let version = match text(object, "/spec/version") {
            "" => tag(text(object, "/spec/image")),
            version => version,
        };
        let expected = version.trim_start_matches('v');
        if !expected.is_empty() && expected != found {
            return Err(Miss::fail(found, expected));
        }
    }
    Ok(found.to_owned())
}

fn runtime(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let answer = e.json(RUNTIME)?;
    let corrupt = number(&answer, "/data/corruptionCount");
    if !truth(&answer, "/data/reloadConfigSuccess") {
        return Err(Miss::fail("the last reload failed", "reloadConfigSuccess true"));
    }
    if corrupt > 0 {
        return Err(Miss::fail(format!("{corrupt} corruptions of its store"), "none"));
    }
    Ok(format!("loaded {}", text(&answer, "/data/lastConfigTime")))
}

fn ingest(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let rate: f64 = e.samples(INGEST)?.iter().map(|(_, value)| value).sum();
    if rate > 0.0 {
        return Ok(format!("{rate:.0} samples/s"));
    }
    Err(Miss::fail(
        "no samples in the last 5 minutes",
        "a rate above zero",
    ))
}

fn alertmanagers(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let wanted: i64 = e
        .some_applied("Alertmanager")?
        .into_iter()
        .map(workload::replicas)
        .sum();
    let answer = e.json(ALERTMANAGERS)?;
    let active = items(&answer, "/data/activeAlertmanagers").len();
    if i64::try_from(active) == Ok(wanted) {
        return Ok(format!("{active} active"));
    }
    Err(Miss::fail(format!("{active} active"), wanted.to_string()))
}
