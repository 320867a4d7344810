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

/// How long a cluster that has just been made may take until rates over five minutes and the rules above them have
/// values: some scrapes and evaluations, each every 30 seconds.
const PATIENCE: Duration = Duration::from_mins(5);

/// Panels that show nothing, by dashboard and title, and why.
const EMPTY: [(&str, &str, &str); 2] = [
    ("Workloads", "Ended for lack of memory", "nothing was"),
    (
        "Workloads",
        "Volumes: space left",
        "kubelets tell it of no volume that is a folder of the node",
    ),
];

/// How the names of series begin that rules read and that may be missing, and why.
const ABSENT: [(&str, &str); 9] = [
    ("alertmanager_cluster_members", "one Alertmanager is no cluster"),
    (
        "apiserver_admission_webhook_fail_open_count",
        "every webhook answered",
    ),
    (
        "apiserver_admission_webhook_rejection_count",
        "no webhook refused anything",
    ),
    (
        "apiserver_request_terminations_total",
        "the API server shed no load",
    ),
    (
        "kube_pod_container_status_last_terminated_reason",
        "no container ended",
    ),
    (
        "kube_state_metrics_list_total",
        "a watch that begins with what is there needs no list",
    ),
    ("kubelet_evictions", "no pod was evicted"),
    (
        "kubelet_volume_stats_",
        "kubelets tell it of no volume that is a folder of the node",
    ),
    (
        "namespace_persistentvolumeclaim:kubelet_volume_stats_",
        "the same",
    ),
];

/// What rules and dashboards read of and the stack has none of: autoscaler, disruption budget, volume, claim, a Job that
/// fails, and one whose container waits for ever.
const OBJECTS: &str = r#"
{"apiVersion": "v1", "kind": "List", "items": [
  {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "seen"},
   "spec": {"minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"},
     "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}},
  {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "seen"},
   "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "none"}}}},
  {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "seen"},
   "spec": {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", "hostPath": {"path": "/tmp"}}},
  {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "seen"},
   "spec": {"volumeName": "seen", "storageClassName": "", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}},
  {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "fails"},
   "spec": {"activeDeadlineSeconds": 1, "template": {"spec": {"restartPolicy": "Never",
     "containers": [{"name": "c", "image": "none:1", "imagePullPolicy": "Never"}]}}}},
  {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "waits"},
   "spec": {"template": {"spec": {"restartPolicy": "Never",
     "containers": [{"name": "c", "image": "none:1", "imagePullPolicy": "Never"}],
     "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "seen"}}]}}}}
]}"#;

/// Every query of every dashboard gives something, and every rule reads what exists.
pub(super) fn all_are_answered(shop: &Shop) {
    let prometheus = Prometheus { shop };
    shop.sandbox.write("objects.json", OBJECTS);
    let objects = shop.sandbox.path("objects.json");
    shop.kubectl(&[
        "apply",
        "--namespace=default",
        "--filename",
        objects.to_str().unwrap(),
    ]);
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
    until_none(|| {
        let existing = prometheus.series();
        let missing = read.difference(&existing);
        missing
            .filter(|series| !ABSENT.iter().any(|(prefix, _)| series.starts_with(prefix)))
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
