use super::{
    check::{Check, Miss, Outcome},
    evidence::{Evidence, digest, excerpt},
    object::{items, text},
    prometheus, workload,
};

const READY: &str = "am.ready";
const READY_PATH: &str = "alertmanager:/-/ready";
const STATUS: &str = "alertmanager:/api/v2/status";
const ALERTS: &str = "alertmanager:/api/v2/alerts?active=true";
const KIND: &str = "Alertmanager";

pub(super) const CHECKS: &[Check] = &[
    Check::new("am.cr", "the operator has carried out the Alertmanager object", cr)
        .needs(&["operator.deployment"])
        .reads(&[KIND])
        .hint("the operator refuses a configuration that names a receiver which is not defined")
        .fix("kubectl -n monitoring describe alertmanager"),
    Check::new("am.statefulset", "the StatefulSet of Alertmanager is ready and of the last version", statefulset)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet", KIND])
        .fix("kubectl -n monitoring get statefulsets,pods"),
    Check::new("am.pod", "every Alertmanager pod runs Alertmanager and its config-reloader", pod)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet", "Pod"])
        .fix("kubectl -n monitoring get pods -l app.kubernetes.io/name=alertmanager"),
    Check::new("am.image", "Alertmanager runs the image that the stack names", image)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("am.args", "Alertmanager reads the configuration that its reloader writes", args)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("am.mounts", "every volume that Alertmanager mounts is one of its pod", mounts)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("am.service", "the Services of Alertmanager lead to its pods", service)
        .needs(&["inventory.services", "am.pod"])
        .reads(&["Service", "Pod", "StatefulSet"]),
    Check::new(READY, "Alertmanager answers and is ready", ready)
        .standard()
        .needs(&["am.pod"])
        .reads(&[READY_PATH])
        .fix("kubectl -n monitoring logs statefulset/alertmanager-monitoring-kube-prometheus-alertmanager -c alertmanager --tail=20"),
    Check::new("am.status", "all Alertmanagers of the stack have found each other", status)
        .standard()
        .needs(&[READY])
        .reads(&[STATUS])
        .hint("Alertmanagers that do not see each other each send every notification"),
    Check::new("am.watchdog", "the alert Watchdog has arrived in Alertmanager", watchdog)
        .standard()
        .needs(&[READY, "prom.watchdog", "prom.alertmanagers"])
        .reads(&[ALERTS])
        .hint("Prometheus fires it but does not reach Alertmanager: its log says why")
        .fix("kubectl -n monitoring logs statefulset/prometheus-monitoring-kube-prometheus-prometheus -c prometheus --tail=20"),
    Check::new("am.receivers", "Alertmanager's receivers are known", receivers)
        .standard()
        .alike()
        .needs(&[READY])
        .reads(&[STATUS]),
];

fn cr(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::carried_out(e, KIND)
}

fn statefulset(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::made(e, KIND)
}

fn pod(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::running(e, KIND, &["alertmanager", "config-reloader"])
}

fn image(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::runs_image(e, KIND, "alertmanager")
}

fn args(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::reads_what_is_written(e, KIND, "alertmanager")
}

fn mounts(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::mounted(e, KIND, "alertmanager")
}

fn service(e: &Evidence, _: &'static str) -> Outcome {
    prometheus::served(e, KIND, "alertmanager-operated")
}

fn ready(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied(KIND)?;
    Ok(excerpt(e.body(READY_PATH)?))
}

fn status(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = e.some_applied(KIND)?;
    let replicas: i64 = wanted.into_iter().map(workload::replicas).sum();
    let answer = e.json(STATUS)?;
    let state = text(&answer, "/cluster/status");
    let peers = items(&answer, "/cluster/peers").len();
    let version = text(&answer, "/versionInfo/version");
    // One alone has nobody to talk to, and its clustering is off.
    let joined = replicas <= 1 || (state == "ready" && i64::try_from(peers) == Ok(replicas));
    if joined && state != "settling" {
        return Ok(format!("{version}, clustering {state}"));
    }
    Err(Miss::fail(
        format!("clustering {state}, {peers} peers"),
        format!("ready, {replicas} peers"),
    ))
}

fn watchdog(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied(KIND)?;
    let alerts = e.json(ALERTS)?;
    let arrived = items(&alerts, "")
        .iter()
        .any(|alert| text(alert, "/labels/alertname") == "Watchdog");
    if arrived {
        return Ok("arrived".to_owned());
    }
    Err(Miss::fail(
        format!("{} alerts, Watchdog is not among them", items(&alerts, "").len()),
        "the alert Watchdog",
    ))
}

/// No receiver is a choice, not a fault: it is said, without a warning.
fn receivers(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied(KIND)?;
    let answer = e.json(STATUS)?;
    let original = text(&answer, "/config/original");
    if original.is_empty() {
        return Err(Miss::fail(
            "the configuration is not shown",
            "the loaded configuration",
        ));
    }
    let sends = original
        .lines()
        .filter(|line| line.trim_start_matches(['-', ' ']).ends_with("_configs:"))
        .count();
    let sends = match sends {
        0 => "none: no alert leaves the cluster".to_owned(),
        sends => format!("{sends} ways out"),
    };
    Ok(format!("{sends}; configuration {}", digest(original)))
}
