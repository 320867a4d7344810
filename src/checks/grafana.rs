use std::path::Path;

use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, none},
    evidence::Evidence,
    object::{items, label, number, text, title},
    workload,
};

const HEALTH: &str = "grafana:/api/health";
const SOURCES: &str = "grafana:/api/datasources";
const SOURCE_HEALTH: &str = "grafana:/api/datasources/uid/prometheus/health";
const SEARCH: &str = "grafana:/api/search?type=dash-db";

pub(super) const CHECKS: &[Check] = &[
    Check::new("grafana.deployment", "Grafana runs", deployment)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .fix("kubectl -n monitoring describe deployment monitoring-grafana"),
    Check::new("grafana.provisioned", "Grafana's data sources name Services that are there", provisioned)
        .needs(&["cluster.reachable"])
        .reads(&["ConfigMap", "Service"]),
    Check::new("grafana.health", "Grafana answers and its database works", health)
        .standard()
        .needs(&["grafana.deployment"])
        .reads(&[HEALTH])
        .fix("kubectl -n monitoring logs deployment/monitoring-grafana --tail=20"),
    Check::new("grafana.datasources", "Grafana knows Prometheus and Alertmanager", sources)
        .standard()
        .needs(&["grafana.health"])
        .reads(&[SOURCES, "Secret"])
        .hint("status 401 means that the password was changed inside Grafana: its Secret no longer says the right one"),
    Check::new("grafana.datasource-health", "Grafana reaches Prometheus", source_health)
        .standard()
        .needs(&["grafana.datasources", "prom.ready"])
        .reads(&[SOURCE_HEALTH, "Secret"]),
    Check::new("grafana.dashboards", "Grafana shows every dashboard of the stack", dashboards)
        .standard()
        .needs(&["grafana.datasources"])
        .reads(&[SEARCH, "Secret"])
        .hint("Grafana's log names the dashboard that it cannot read"),
];

fn grafana(e: &Evidence) -> Result<&Value, Miss> {
    let found = e
        .applied("Deployment")
        .find(|object| label(object, "app.kubernetes.io/name") == "grafana");
    found.ok_or_else(|| Miss::skip("the stack has no Grafana"))
}

fn deployment(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = grafana(e)?;
    let live = e
        .live(wanted)
        .ok_or_else(|| Miss::fail(format!("no Deployment {}", title(wanted)), "it"))?;
    workload::ready(live).map_err(|why| Miss::fail(why, "available"))
}

/// The `ConfigMap`s that Grafana mounts, as the stack wants them.
fn mounted<'a>(e: &'a Evidence, deployment: &'a Value) -> impl Iterator<Item = &'a Value> {
    let volumes = items(deployment, "/spec/template/spec/volumes");
    let named: Vec<&str> = volumes
        .iter()
        .flat_map(|volume| std::iter::once(volume).chain(items(volume, "/projected/sources")))
        .map(|source| text(source, "/configMap/name"))
        .collect();
    e.applied("ConfigMap").filter(move |map| {
        super::object::namespace(map) == super::object::namespace(deployment)
            && named.contains(&super::object::name(map))
    })
}

fn provisioned(e: &Evidence, _: &'static str) -> Outcome {
    let deployment = grafana(e)?;
    let live: Vec<&Value> = mounted(e, deployment).filter_map(|map| e.live(map)).collect();
    let texts = live
        .iter()
        .filter_map(|map| map.pointer("/data").and_then(Value::as_object))
        .flat_map(|data| data.values());
    let urls: Vec<&str> = texts
        .filter_map(Value::as_str)
        .filter(|text| text.contains("datasources:"))
        .flat_map(str::lines)
        .filter_map(|line| line.trim().strip_prefix("url:"))
        .map(str::trim)
        .collect();
    if urls.is_empty() {
        return Err(Miss::fail(
            "no data source in any ConfigMap that Grafana mounts",
            "a data source",
        ));
    }
    let offered = |url: &&str| {
        let host = url.split("://").nth(1).unwrap_or(url).trim_end_matches('/');
        let (host, port) = host.split_once(':').unwrap_or((host, "80"));
        let (service, in_namespace) = host
            .split_once('.')
            .unwrap_or((host, super::object::namespace(deployment)));
        let in_namespace = in_namespace.split('.').next().unwrap_or_default();
        e.find("Service", in_namespace, service).is_some_and(|service| {
            items(service, "/spec/ports")
                .iter()
                .any(|offer| number(offer, "/port").to_string() == port)
        })
    };
    let wrong: Vec<String> = urls
        .iter()
        .filter(|url| !offered(url))
        .map(|url| format!("{url} is no Service's port"))
        .collect();
    none(&wrong, urls.join(", "), "the port of a Service for each")
}

fn health(e: &Evidence, _: &'static str) -> Outcome {
    grafana(e)?;
    let answer = e.json(HEALTH)?;
    match text(&answer, "/database") {
        "ok" => Ok(format!("{}, database ok", text(&answer, "/version"))),
        database => Err(Miss::fail(format!("database {database}"), "database ok")),
    }
}

fn sources(e: &Evidence, _: &'static str) -> Outcome {
    grafana(e)?;
    let answer = e.json(SOURCES)?;
    let found: Vec<&str> = items(&answer, "")
        .iter()
        .map(|source| text(source, "/type"))
        .collect();
    let wanted: Vec<&str> = [("Prometheus", "prometheus"), ("Alertmanager", "alertmanager")]
        .into_iter()
        .filter(|(kind, _)| e.applied(kind).next().is_some())
        .map(|(_, source)| source)
        .collect();
    let missing = wanted.iter().filter(|wanted| !found.contains(wanted));
    none(
        &missing
            .map(|missing| format!("no data source of type {missing}"))
            .collect::<Vec<_>>(),
        found.join(", "),
        wanted.join(", "),
    )
}

fn source_health(e: &Evidence, _: &'static str) -> Outcome {
    grafana(e)?;
    e.some_applied("Prometheus")?;
    let answer = e.json(SOURCE_HEALTH)?;
    match text(&answer, "/status") {
        "OK" => Ok(text(&answer, "/message").to_owned()),
        status => Err(Miss::fail(
            format!("{status} {}", text(&answer, "/message")),
            "OK",
        )),
    }
}

/// The files of dashboards in a `ConfigMap`: key and text.
fn files(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    let data = map.pointer("/data").and_then(Value::as_object);
    let is_json = |key: &str| Path::new(key).extension().is_some_and(|end| end == "json");
    data.into_iter()
        .flatten()
        .filter(move |(key, _)| is_json(key))
        .map(|(key, file)| (key.as_str(), file.as_str().unwrap_or_default()))
}

fn dashboards(e: &Evidence, _: &'static str) -> Outcome {
    let deployment = grafana(e)?;
    let answer = e.json(SEARCH)?;
    let shows = |by: &str, mark: &str| {
        let at = format!("/{by}");
        items(&answer, "").iter().any(|shown| text(shown, &at) == mark)
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for map in mounted(e, deployment) {
        for (key, file) in files(map) {
            count += 1;
            let dashboard: Value = serde_json::from_str(file).unwrap_or_default();
            // Grafana makes up a uid for one that has none.
            let mut marks = ["uid", "title"]
                .map(|by| (by, text(&dashboard, &format!("/{by}"))))
                .into_iter();
            let from = format!("{key} of ConfigMap {}", title(map));
            match marks.find(|(_, mark)| !mark.is_empty()) {
                None => wrong.push(format!("{from} is no dashboard with a uid or title")),
                Some((by, mark)) if !shows(by, mark) => {
                    wrong.push(format!("no dashboard with {by} {mark} ({from})"));
                }
                Some(_) => {}
            }
        }
    }
    none(
        &wrong,
        format!("{count} dashboards"),
        format!("all {count} dashboards of the stack"),
    )
}
