//! What dashboards and rules ask a living Prometheus: every query is answered, and every series that is read exists.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::Shop;

/// Prometheus, through the API server.
const PROMETHEUS: &str =
    "/api/v1/namespaces/monitoring/services/monitoring-kube-prometheus-prometheus:http-web/proxy/api/v1";

/// A job that declares every series that it can give, whether or not there is any now.
const KUBE_STATE_METRICS: &str = "kube-state-metrics";

/// How long a cluster that has just been made may take until rates over five minutes and the rules above them have
/// values: some scrapes and evaluations, each every 30 seconds.
const PATIENCE: Duration = Duration::from_mins(5);

/// Panels that may show nothing, by dashboard and title, and why.
const EMPTY: [(&str, &str, &str); 4] = [
    (
        "Workloads",
        "Containers that wait",
        "none does in a cluster that is well",
    ),
    ("Workloads", "Ended for lack of memory", "nothing was"),
    (
        "Workloads",
        "Volumes: space left",
        "the stack claims no volume unless it is told to",
    ),
    ("Workloads", "Jobs that failed", "the stack has no Job"),
];

/// How the names of series begin that rules read and that may be missing, and why.
const ABSENT: [(&str, &str); 9] = [
    ("kube_pod_container_status_waiting_reason", "no container waits"),
    (
        "kube_pod_container_status_last_terminated_reason",
        "no container has ended",
    ),
    ("kube_job_", "the stack has no Job"),
    ("kube_horizontalpodautoscaler_", "the stack has no autoscaler"),
    ("kube_poddisruptionbudget_", "the stack has no disruption budget"),
    (
        "kube_persistentvolume",
        "the stack claims no volume unless it is told to",
    ),
    ("kube_pod_spec_volumes_persistentvolumeclaims_", "the same"),
    (
        "kubelet_volume_stats_",
        "the same, and a kubelet declares these once it has a volume",
    ),
    (
        "namespace_persistentvolumeclaim:kubelet_volume_stats_",
        "the same",
    ),
];

/// Every query of every dashboard gives something, and every rule reads what exists.
pub(super) fn all_are_answered(shop: &Shop) {
    let prometheus = Prometheus { shop };
    let mut queries = asked_by_dashboards(shop);
    for (dashboard, title, _) in EMPTY {
        let mut known = queries.keys();
        assert!(
            known.any(|(on, panel, _)| on == dashboard && panel == title),
            "no panel {title}"
        );
    }
    until_none(|| {
        queries.retain(|_, query| prometheus.ask(query).is_empty());
        queries.retain(|(on, panel, _), _| {
            !EMPTY
                .iter()
                .any(|(dashboard, title, _)| on == dashboard && panel == title)
        });
        queries.values().cloned().collect()
    });

    let read = prometheus.read_by_rules();
    for (prefix, _) in ABSENT {
        assert!(
            read.iter().any(|series| series.starts_with(prefix)),
            "no rule reads {prefix}"
        );
    }
    let declared = prometheus.declared(KUBE_STATE_METRICS);
    until_none(|| {
        let existing = prometheus.series();
        let may_be_missing = |series: &String| {
            ABSENT.iter().any(|(prefix, _)| series.starts_with(prefix))
                && (declared.contains(series) || !series.ends_with(&of_job("", KUBE_STATE_METRICS)))
        };
        let missing = read.difference(&existing);
        missing
            .filter(|series| !may_be_missing(series))
            .cloned()
            .collect()
    });
}

/// Looks until nothing is missing any more.
#[track_caller]
fn until_none(mut missing: impl FnMut() -> Vec<String>) {
    let began = Instant::now();
    loop {
        let left = missing();
        if left.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "these give nothing: {left:#?}");
        thread::sleep(Duration::from_secs(2));
    }
}

/// The queries of all dashboards in the cluster, by dashboard, title of the panel and letter, with every variable at
/// "all"; and what fills the variables.
fn asked_by_dashboards(shop: &Shop) -> BTreeMap<(String, String, String), String> {
    let maps = shop.kubectl(&["get", "configmaps", "--namespace=monitoring", "--output=json"]);
    let maps: Value = serde_json::from_str(&maps).unwrap();
    let files = maps["items"].as_array().unwrap().iter();
    let files = files.flat_map(|map| map["data"].as_object().into_iter().flatten());
    let mut found = BTreeMap::new();
    for (_, dashboard) in files.filter(|(name, _)| Path::new(name).extension() == Some("json".as_ref())) {
        let dashboard: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let mut add = |title: &Value, letter: &Value, query: String| {
            let query = variables.iter().fold(query, |query, variable| {
                query.replace(&format!("${}", text(&variable["name"])), ".*")
            });
            assert!(!query.contains('$'), "{query}");
            let key = [&dashboard["title"], title, letter].map(text);
            assert!(
                found.insert(key.into(), query).is_none(),
                "{title} {letter} comes twice"
            );
        };
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                add(&panel["title"], &target["refId"], text(&target["expr"]));
            }
        }
        for variable in variables {
            let definition = text(&variable["definition"]);
            let values = definition
                .strip_prefix("label_values(")
                .unwrap()
                .strip_suffix(')')
                .unwrap();
            let (series, label) = values.rsplit_once(", ").unwrap();
            // Only what has the label at all.
            let query = format!("group by ({label}) ({series}) unless on ({label}) vector(1)");
            add(&variable["name"], &"values".into(), query);
        }
    }
    found
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// The Prometheus of a stack.
struct Prometheus<'a> {
    shop: &'a Shop,
}

impl Prometheus<'_> {
    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let answer = self
            .shop
            .kubectl(&["get", "--raw", &format!("{PROMETHEUS}{path}")]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The series of an instant query's answer.
    #[track_caller]
    fn ask(&self, query: &str) -> Vec<Value> {
        let answer = self.get(&format!("/query?query={}", encoded(query)));
        answer["result"].as_array().unwrap().clone()
    }

    /// The names of all series that are there now, alone and with the job that they come from.
    fn series(&self) -> BTreeSet<String> {
        let every = self.ask("group by (__name__, job) ({__name__=~\".+\"})");
        let names = every.iter().flat_map(|series| {
            let (name, job) = (text(&series["metric"]["__name__"]), &series["metric"]["job"]);
            let of = job.as_str().map(|job| of_job(&name, job));
            of.into_iter().chain([name])
        });
        names.collect()
    }

    /// The series that a job says it can give.
    fn declared(&self, job: &str) -> BTreeSet<String> {
        let target = encoded(&format!("{{job=\"{job}\"}}"));
        let declared = self.get(&format!("/targets/metadata?match_target={target}"));
        let names = declared.as_array().unwrap().iter();
        names
            .map(|metric| of_job(&text(&metric["metric"]), job))
            .collect()
    }

    /// What all rules select.
    fn read_by_rules(&self) -> BTreeSet<String> {
        let groups = self.get("/rules")["groups"].clone();
        let groups = groups.as_array().unwrap().iter();
        let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
        let parsed =
            rules.map(|rule| self.get(&format!("/parse_query?query={}", encoded(&text(&rule["query"])))));
        parsed.flat_map(|query| selectors(&query)).collect()
    }
}

fn of_job(name: &str, job: &str) -> String {
    format!("{name} of {job}")
}

/// The series that a parsed query selects, with their job where it names one.
fn selectors(node: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let parts: Vec<&Value> = match node {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    if let Some(matchers) = node["matchers"].as_array() {
        let equal = |label: &str| {
            let same = |matcher: &&Value| matcher["name"] == label && matcher["type"] == "=";
            matchers
                .iter()
                .find(same)
                .and_then(|matcher| matcher["value"].as_str())
        };
        if let Some(name) = equal("__name__") {
            found.push(equal("job").map_or_else(|| name.to_owned(), |job| of_job(name, job)));
        }
    }
    found.extend(parts.into_iter().flat_map(selectors));
    found
}

/// A query as a part of a URL.
fn encoded(query: &str) -> String {
    let mut text = String::new();
    for byte in query.bytes() {
        if byte.is_ascii_alphanumeric() {
            text.push(byte.into());
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
    }
    text
}
