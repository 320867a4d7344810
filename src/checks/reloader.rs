use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::Evidence,
    inventory,
    object::{flag, flags, items, mount_of, name_of, text, title},
    prometheus::{CONFIG_FILE, main_containers},
};

const NAME: &str = "config-reloader";
/// Whose configuration is reloaded: kind, container, port of the program.
const WATCHED: [(&str, &str, &str); 2] = [
    ("Prometheus", "prometheus", "9090"),
    ("Alertmanager", "alertmanager", "9093"),
];

const PROMETHEUS: &str = "prometheus-reloader:/metrics";
const ALERTMANAGER: &str = "alertmanager-reloader:/metrics";

pub(super) const CHECKS: &[Check] = &[
    Check::new("reloader.image", "the config-reloaders run the image that the operator was told", image)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("reloader.args", "the config-reloaders write what the programs read, and tell them", args)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"])
        .hint("--config-file is what is watched, --config-envsubst-file what is written, --reload-url who is told"),
    Check::new("reloader.mounts", "the config-reloaders share a volume with the programs", mounts)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("reloader.rules", "the config-reloader of Prometheus watches every folder of rules", rules)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"])
        .hint("a changed rule is taken up only if its folder is watched"),
    Check::new("reloader.init", "the first configuration is written before the programs start", init)
        .needs(&["inventory.statefulsets"])
        .reads(&["StatefulSet"]),
    Check::new("reloader.prometheus", "the last reload of Prometheus succeeded", last_of_prometheus)
        .standard()
        .needs(&["prom.pod"])
        .reads(&[PROMETHEUS])
        .hint("the log of config-reloader has the answer of Prometheus; the former configuration stays in use")
        .fix("kubectl -n monitoring logs statefulset/prometheus-monitoring-kube-prometheus-prometheus -c config-reloader --tail=20"),
    Check::new("reloader.alertmanager", "the last reload of Alertmanager succeeded", last_of_alertmanager)
        .standard()
        .needs(&["am.pod"])
        .reads(&[ALERTMANAGER])
        .hint("the log of config-reloader has the answer of Alertmanager; the former configuration stays in use")
        .fix("kubectl -n monitoring logs statefulset/alertmanager-monitoring-kube-prometheus-alertmanager -c config-reloader --tail=20"),
];

/// What a reloader belongs to.
struct Pair<'a> {
    set: &'a Value,
    main: &'a Value,
    reloader: &'a Value,
    port: &'static str,
}

fn pairs(e: &Evidence) -> Result<Vec<Pair<'_>>, Miss> {
    let mut pairs = Vec::new();
    for (kind, program, port) in WATCHED {
        if e.applied(kind).next().is_some() {
            let mains = main_containers(e, kind, program)?;
            let reloaders = main_containers(e, kind, NAME)?;
            pairs.extend(
                mains
                    .into_iter()
                    .zip(reloaders)
                    .map(|((set, main), (_, reloader))| Pair {
                        set,
                        main,
                        reloader,
                        port,
                    }),
            );
        }
    }
    if pairs.is_empty() {
        return Err(Miss::skip("the stack has no Prometheus and no Alertmanager"));
    }
    Ok(pairs)
}

fn image(e: &Evidence, _: &'static str) -> Outcome {
    let wanted =
        inventory::operator(e).and_then(|(_, operator)| flag(operator, "--prometheus-config-reloader"));
    let pairs = pairs(e)?;
    let wanted = wanted.ok_or_else(|| Miss::skip("the stack has no Prometheus operator"))?;
    let other = pairs
        .iter()
        .filter(|pair| text(pair.reloader, "/image") != wanted);
    let wrong: Vec<String> = other
        .map(|pair| format!("{}: {}", title(pair.set), text(pair.reloader, "/image")))
        .collect();
    none(&wrong, wanted, wanted)
}

fn args(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for Pair {
        set,
        main,
        reloader,
        port,
    } in pairs(e)?
    {
        let reads = flag(main, CONFIG_FILE).unwrap_or_default();
        let writes = flag(reloader, "--config-envsubst-file").unwrap_or_default();
        if reads != writes {
            wrong.push(format!(
                "{} reads {reads}, its reloader writes {writes}",
                title(set)
            ));
        }
        let told = flag(reloader, "--reload-url").unwrap_or_default();
        if !told.ends_with(&format!(":{port}/-/reload")) {
            wrong.push(format!("{}: --reload-url={told}", title(set)));
        }
        match flag(reloader, "--config-file") {
            Some(watched) => seen.push(format!("watches {watched}")),
            None => wrong.push(format!("{}: no --config-file", title(set))),
        }
    }
    none(
        &wrong,
        few(&seen),
        "the reloader writes --config.file and tells the program",
    )
}

fn mounts(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    for Pair {
        set, main, reloader, ..
    } in pairs(e)?
    {
        let reads = mount_of(main, flag(main, CONFIG_FILE).unwrap_or_default()).map(name_of);
        let write = mount_of(
            reloader,
            flag(reloader, "--config-envsubst-file").unwrap_or_default(),
        );
        if reads.is_none() || reads != write.map(name_of) {
            wrong.push(format!(
                "{}: the program reads another volume than its reloader writes",
                title(set)
            ));
        }
        if write.is_some_and(|mount| super::object::truth(mount, "/readOnly")) {
            wrong.push(format!("{}: the reloader may not write", title(set)));
        }
        let watched = mount_of(reloader, flag(reloader, "--config-file").unwrap_or_default());
        let volumes = items(set, "/spec/template/spec/volumes");
        let volume =
            watched.and_then(|mount| volumes.iter().find(|volume| name_of(volume) == name_of(mount)));
        if volume.is_none_or(|volume| text(volume, "/secret/secretName").is_empty()) {
            wrong.push(format!("{}: the watched file is in no Secret", title(set)));
        }
    }
    none(
        &wrong,
        "config-out",
        "one volume, written by the reloader, and a Secret that it watches",
    )
}

fn rules(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for (set, reloader) in main_containers(e, "Prometheus", NAME)? {
        let watched = flags(reloader, "--watched-dir");
        for volume in items(set, "/spec/template/spec/volumes")
            .iter()
            .map(name_of)
            .filter(|name| name.contains("-rulefiles-"))
        {
            let mount = items(reloader, "/volumeMounts")
                .iter()
                .find(|mount| name_of(mount) == volume);
            let at = mount.map(|mount| text(mount, "/mountPath")).unwrap_or_default();
            if at.is_empty() || !watched.contains(&at) {
                wrong.push(format!("{}: {volume} is not watched", title(set)));
            } else {
                seen.push(at.to_owned());
            }
        }
    }
    if wrong.is_empty() && seen.is_empty() {
        return Err(Miss::fail(
            "no folder of rules",
            "a volume of rules that is watched",
        ));
    }
    none(&wrong, few(&seen), "--watched-dir for each folder of rules")
}

fn init(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    for Pair { set, .. } in pairs(e)? {
        let init = items(set, "/spec/template/spec/initContainers");
        let found = init
            .iter()
            .find(|container| name_of(container) == "init-config-reloader");
        if found.and_then(|found| flag(found, "--watch-interval")) != Some("0") {
            wrong.push(format!("{} has no init-config-reloader that ends", title(set)));
        }
    }
    none(
        &wrong,
        "init-config-reloader",
        "an init container with --watch-interval=0",
    )
}

fn last_of_prometheus(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    last(e.body(PROMETHEUS)?)
}

fn last_of_alertmanager(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Alertmanager")?;
    last(e.body(ALERTMANAGER)?)
}

fn last(metrics: &str) -> Outcome {
    let name = "reloader_last_reload_successful";
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    match value {
        Some(value) if value > 0.0 => Ok(format!("{name} 1")),
        Some(_) => Err(Miss::fail(format!("{name} 0"), "1")),
        None => Err(Miss::fail(format!("no metric {name}"), "1")),
    }
}
