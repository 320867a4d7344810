//! For each check a change to the good dump after which its fact is not so.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{all, answered, edited, live, remove, set};
use crate::checks::evidence::Evidence;

/// Checks that the good dump has nothing for: kind makes no load balancers.
pub(super) const NOT_IN_THE_FIXTURE: &[&str] = &["demo.external"];

const PROMETHEUS: &str = "prometheus-monitoring-kube-prometheus-prometheus";
const ALERTMANAGER: &str = "alertmanager-monitoring-kube-prometheus-alertmanager";
const OPERATOR: &str = "monitoring-kube-prometheus-operator";
const P: &str = "monitoring-kube-prometheus-prometheus";
const A: &str = "monitoring-kube-prometheus-alertmanager";
const EXPORTER: &str = "monitoring-prometheus-node-exporter";
const ADMISSION: &str = "monitoring-kube-prometheus-admission";
const CRD: &str = "servicemonitors.monitoring.coreos.com";
const CONTAINERS: &str = "/spec/template/spec/containers";

type Mutation = fn(&mut Evidence);

pub(super) const ALL: &[(&str, Mutation)] = &[
    ("cluster.reachable", |e| answered(e, "cluster:/version", 503, "")),
    ("cluster.ready", |e| {
        answered(
            e,
            "cluster:/readyz?verbose",
            200,
            "[+]ping ok\n[-]etcd failed: reason withheld\n",
        );
    }),
    ("cluster.version", |e| {
        edited(e, "cluster:/version", |v| v["minor"] = json!("24"));
    }),
    ("cluster.dns", |e| {
        set(
            e,
            "Service",
            "kube-dns",
            "/spec/selector",
            json!({"k8s-app": "other"}),
        );
    }),
    ("cluster.kube-proxy", |e| {
        set(e, "DaemonSet", "kube-proxy", "/status/numberAvailable", json!(0));
    }),
    ("cluster.default-storageclass", |e| {
        wanted(e, "Prometheus", P)["spec"]["storage"] = json!({"volumeClaimTemplate": {"spec": {}}});
        all(e, "StorageClass").clear();
    }),
    ("cluster.webhooks-alive", |e| remove(e, "Service", OPERATOR)),
    ("nodes.ready", |e| {
        condition(e, "Node", &node(e, 0), "Ready", "False");
    }),
    ("nodes.count", |e| {
        let worker = node_where(e, |node| {
            node.pointer("/metadata/labels/node-role.kubernetes.io~1control-plane")
                .is_none()
        });
        remove(e, "Node", &worker);
    }),
    ("nodes.pressure", |e| {
        condition(e, "Node", &node(e, 0), "DiskPressure", "True");
    }),
    ("nodes.schedulable", |e| {
        let node = node(e, 1);
        set(e, "Node", &node, "/spec/unschedulable", json!(true));
    }),
    ("nodes.pod-capacity", |e| {
        let node = node(e, 1);
        set(e, "Node", &node, "/status/allocatable/pods", json!("1"));
    }),
    ("nodes.version-skew", |e| {
        let node = node(e, 1);
        set(
            e,
            "Node",
            &node,
            "/status/nodeInfo/kubeletVersion",
            json!("v1.30.0"),
        );
    }),
    ("nodes.unschedulable-pods", |e| {
        let pod = format!("{PROMETHEUS}-0");
        condition(e, "Pod", &pod, "PodScheduled", "False");
    }),
    ("inventory.statefulsets", |e| {
        remove(e, "StatefulSet", ALERTMANAGER);
    }),
    ("inventory.deployments", |e| remove(e, "Deployment", "frontend")),
    ("inventory.replicasets", |e| {
        let owner = live(e, "Deployment", "frontend")["metadata"]["uid"].clone();
        all(e, "ReplicaSet").retain(|set| set["metadata"]["ownerReferences"][0]["uid"] != owner);
    }),
    ("inventory.daemonsets", |e| {
        let mut node = live(e, "Node", &node(e, 0)).clone();
        node["metadata"]["name"] = json!("bare");
        all(e, "Node").push(node);
    }),
    ("inventory.pods", |e| remove(e, "Pod", &format!("{PROMETHEUS}-0"))),
    ("inventory.services", |e| {
        remove(e, "Service", "prometheus-operated");
    }),
    ("inventory.configmaps", |e| {
        remove(e, "ConfigMap", &format!("{PROMETHEUS}-rulefiles-0"));
    }),
    ("inventory.secrets", |e| {
        remove(e, "Secret", &format!("{ALERTMANAGER}-generated"));
    }),
    ("inventory.monitors", |e| remove(e, "ServiceMonitor", EXPORTER)),
    ("workloads.ready", |e| {
        set(
            e,
            "Deployment",
            "cartservice",
            "/status/availableReplicas",
            json!(0),
        );
    }),
    ("workloads.containers", |e| {
        let pod = format!("{PROMETHEUS}-0");
        let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
        set(e, "Pod", &pod, "/status/containerStatuses/0/state", state);
    }),
    ("workloads.restarts", |e| {
        let pod = format!("{PROMETHEUS}-0");
        let last = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137}});
        set(e, "Pod", &pod, "/status/containerStatuses/0/lastState", last);
    }),
    ("demo.deployments", |e| {
        set(
            e,
            "Deployment",
            "adservice",
            "/status/availableReplicas",
            json!(0),
        );
    }),
    ("demo.services", |e| {
        set(e, "Service", "cartservice", "/spec/selector/app", json!("nobody"));
    }),
    ("demo.wiring", |e| {
        set(e, "Service", "cartservice", "/spec/ports/0/port", json!(7071));
    }),
    ("demo.external", |e| e.profile = "existing".into()),
    ("demo.health", |e| answered(e, "frontend:/_healthz", 500, "no")),
    ("demo.home", |e| {
        answered(
            e,
            "frontend:/",
            500,
            "rpc error: code = Unavailable desc = could not retrieve products",
        );
    }),
    ("demo.traffic", |e| {
        samples_of(e, "container_network_receive", Vec::clear);
    }),
    ("crds.present", |e| remove(e, "CustomResourceDefinition", CRD)),
    ("crds.established", |e| {
        condition(e, "CustomResourceDefinition", CRD, "Established", "False");
    }),
    ("crds.served", |e| {
        set(
            e,
            "CustomResourceDefinition",
            CRD,
            "/spec/versions/0/served",
            json!(false),
        );
    }),
    ("operator.deployment", |e| {
        set(e, "Deployment", OPERATOR, "/status/availableReplicas", json!(0));
    }),
    ("operator.args", |e| remove(e, "Secret", ADMISSION)),
    ("operator.single", |e| {
        let mut other = live(e, "Deployment", OPERATOR).clone();
        other["metadata"]["name"] = json!("other");
        all(e, "Deployment").push(other);
    }),
    ("operator.kubelet-service", |e| {
        let slices = all(e, "EndpointSlice");
        slices.retain(|slice| {
            slice["metadata"]["labels"]["kubernetes.io/service-name"] != "monitoring-kube-prometheus-kubelet"
        });
    }),
    ("operator.kubelet-stale", |e| {
        let mut old = live(e, "Service", "monitoring-kube-prometheus-kubelet").clone();
        old["metadata"]["name"] = json!("old-kubelet");
        all(e, "Service").push(old);
    }),
    ("operator.webhook-config", |e| remove(e, "Service", OPERATOR)),
    ("operator.webhook-ca", |e| {
        set(e, "Secret", ADMISSION, "/data/ca", json!("b3RoZXI="));
    }),
    ("operator.webhook-stamp", |e| {
        let rule = "monitoring-kube-prometheus-general";
        let late =
            json!({"name": rule, "namespace": "monitoring", "creationTimestamp": "2999-01-01T00:00:00Z"});
        set(e, "PrometheusRule", rule, "/metadata", late);
    }),
    ("operator.version-skew", |e| {
        set(
            e,
            "CustomResourceDefinition",
            CRD,
            "/metadata/annotations/operator.prometheus.io~1version",
            json!("0.47.1"),
        );
    }),
    ("operator.ready", |e| {
        samples_of(e, "prometheus_operator_ready", |samples| {
            samples[0]["value"][1] = json!("0");
        });
    }),
    ("operator.syncs", |e| {
        samples_of(e, "prometheus_operator_syncs", |samples| {
            samples
                .push(json!({"metric": {"status": "failed", "controller": "prometheus"}, "value": [0, "1"]}));
        });
    }),
    ("operator.rejected", |e| {
        samples_of(e, "prometheus_operator_managed_resources", |samples| {
            samples.push(
                json!({"metric": {"state": "rejected", "resource": "PrometheusRule"}, "value": [0, "2"]}),
            );
        });
    }),
    ("prom.cr", |e| {
        condition(e, "Prometheus", P, "Reconciled", "False");
    }),
    ("prom.statefulset", |e| remove(e, "Prometheus", P)),
    ("prom.pod", |e| {
        set(
            e,
            "Pod",
            &format!("{PROMETHEUS}-0"),
            "/status/containerStatuses/1/ready",
            json!(false),
        );
    }),
    ("prom.image", |e| {
        set_main(
            e,
            PROMETHEUS,
            "prometheus",
            "image",
            json!("prom/prometheus:latest"),
        );
    }),
    ("prom.args", |e| {
        replace_arg(
            e,
            PROMETHEUS,
            "prometheus",
            "--config.file",
            "--config.file=/etc/prometheus/prometheus.yml",
        );
    }),
    ("prom.mounts", |e| rename_volume(e, PROMETHEUS, "web-config")),
    ("prom.config-out", |e| {
        let volumes = live(e, "StatefulSet", PROMETHEUS)
            .pointer_mut("/spec/template/spec/volumes")
            .unwrap();
        let volume = volumes
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .find(|volume| volume["name"] == "config-out")
            .unwrap();
        volume["emptyDir"] = json!({});
    }),
    ("prom.service", |e| {
        set(
            e,
            "Service",
            P,
            "/spec/selector",
            json!({"app.kubernetes.io/name": "prometheus", "x": "y"}),
        );
    }),
    ("prom.storage", |e| {
        wanted(e, "Prometheus", P)["spec"]["storage"] = json!({"volumeClaimTemplate": {"spec": {}}});
    }),
    ("prom.ready", |e| {
        answered(e, "prometheus:/-/ready", 503, "Service Unavailable");
    }),
    ("prom.version", |e| {
        edited(e, "prometheus:/api/v1/status/buildinfo", |v| {
            v["data"]["version"] = json!("2.26.0");
        });
    }),
    ("prom.runtime", |e| {
        edited(e, "prometheus:/api/v1/status/runtimeinfo", |v| {
            v["data"]["reloadConfigSuccess"] = json!(false);
        });
    }),
    ("prom.ingest", |e| {
        samples_of(e, "prometheus_tsdb_head", Vec::clear);
    }),
    ("prom.alertmanagers", |e| {
        edited(e, "prometheus:/api/v1/alertmanagers", |v| {
            v["data"]["activeAlertmanagers"] = json!([]);
        });
    }),
    ("reloader.image", |e| {
        set_main(
            e,
            ALERTMANAGER,
            "config-reloader",
            "image",
            json!("quay.io/other:v1"),
        );
    }),
    ("reloader.args", |e| {
        replace_arg(
            e,
            ALERTMANAGER,
            "config-reloader",
            "--reload-url",
            "--reload-url=http://127.0.0.1:9999/-/reload",
        );
    }),
    ("reloader.mounts", |e| {
        set_mount(
            e,
            PROMETHEUS,
            "config-reloader",
            "config-out",
            "name",
            json!("other"),
        );
    }),
    ("reloader.rules", |e| {
        replace_arg(
            e,
            PROMETHEUS,
            "config-reloader",
            "--watched-dir=/etc/prometheus/rules",
            "--log-level=info",
        );
    }),
    ("reloader.init", |e| {
        set(
            e,
            "StatefulSet",
            PROMETHEUS,
            "/spec/template/spec/initContainers",
            json!([]),
        );
    }),
    ("reloader.prometheus", |e| {
        answered(
            e,
            "prometheus-reloader:/metrics",
            200,
            "reloader_last_reload_successful 0\n",
        );
    }),
    ("reloader.alertmanager", |e| {
        answered(
            e,
            "alertmanager-reloader:/metrics",
            200,
            "reloader_last_reload_successful 0\n",
        );
    }),
    ("wiring.volumes", |e| {
        remove(e, "ConfigMap", "monitoring-dashboard-nodes");
    }),
    ("wiring.prom-secret", |e| {
        set(e, "Secret", PROMETHEUS, "/data", json!({}));
    }),
    ("wiring.am-secret", |e| {
        set(
            e,
            "Secret",
            &format!("{ALERTMANAGER}-generated"),
            "/data",
            json!({}),
        );
    }),
    ("wiring.rulefiles", |e| {
        set(
            e,
            "ConfigMap",
            &format!("{PROMETHEUS}-rulefiles-0"),
            "/data",
            json!({}),
        );
    }),
    ("wiring.unselected", |e| {
        set(
            e,
            "ServiceMonitor",
            EXPORTER,
            "/metadata/labels/release",
            json!("other"),
        );
    }),
    ("wiring.ports", |e| {
        set(
            e,
            "ServiceMonitor",
            EXPORTER,
            "/spec/endpoints/0/port",
            json!("web"),
        );
    }),
    ("wiring.owners", |e| remove(e, "Alertmanager", A)),
    ("wiring.config-loaded", |e| {
        edited(e, "prometheus:/api/v1/status/config", |v| {
            v["data"]["yaml"] = json!("scrape_configs: []\nglobal: {}\n");
        });
    }),
    ("wiring.external-labels", |e| {
        edited(e, "prometheus:/api/v1/status/config", |v| {
            v["data"]["yaml"] = json!("    prometheus_replica: $(POD_NAME)\n");
        });
    }),
    ("targets.kubelet", |e| {
        down(e, "monitoring-kube-prometheus-kubelet/0");
    }),
    ("targets.cadvisor", |e| {
        missing(e, "monitoring-kube-prometheus-kubelet/1");
    }),
    ("targets.node-exporter", |e| {
        missing(e, "monitoring-prometheus-node-exporter/0");
    }),
    ("targets.apiserver", |e| {
        missing(e, "monitoring-kube-prometheus-apiserver/0");
    }),
    ("targets.controller-manager", |e| {
        down(e, "monitoring-kube-prometheus-kube-controller-manager/0");
    }),
    ("targets.scheduler", |e| {
        nobody_behind(e, "monitoring-kube-prometheus-kube-scheduler");
    }),
    ("targets.etcd", |e| {
        remove(e, "ServiceMonitor", "monitoring-kube-prometheus-kube-etcd");
    }),
    ("targets.kube-proxy", |e| {
        down(e, "monitoring-kube-prometheus-kube-proxy/0");
    }),
    ("targets.coredns", |e| {
        missing(e, "monitoring-kube-prometheus-coredns/0");
    }),
    ("targets.kube-state-metrics", |e| {
        missing(e, "monitoring-kube-state-metrics/0");
    }),
    ("targets.grafana", |e| down(e, "monitoring-grafana/0")),
    ("targets.operator", |e| {
        down(e, "monitoring-kube-prometheus-operator/0");
    }),
    ("targets.prometheus", |e| {
        missing(e, "monitoring-kube-prometheus-prometheus/0");
    }),
    ("targets.prometheus-reloader", |e| {
        down(e, "monitoring-kube-prometheus-prometheus/1");
    }),
    ("targets.alertmanager", |e| {
        missing(e, "monitoring-kube-prometheus-alertmanager/0");
    }),
    ("targets.alertmanager-reloader", |e| {
        missing(e, "monitoring-kube-prometheus-alertmanager/1");
    }),
    ("targets.monitors", |e| {
        down(e, "monitoring-kube-prometheus-kubelet/2");
    }),
    ("targets.duplicate", |e| {
        edited(e, TARGETS, |v| {
            let targets = v["data"]["activeTargets"].as_array_mut().unwrap();
            let twice = targets[0].clone();
            targets.push(twice);
        });
    }),
    ("rules.loaded", |e| {
        edited(e, RULES, |v| v["data"]["groups"] = json!([]));
    }),
    ("rules.health", |e| {
        edited(e, RULES, |v| {
            v["data"]["groups"][0]["rules"][0]["health"] = json!("err");
        });
    }),
    ("prom.watchdog", |e| {
        rule(e, "Watchdog", |rule| rule["state"] = json!("inactive"));
    }),
    ("rules.alerts", |e| {
        rule(e, "TargetDown", |rule| rule["state"] = json!("firing"));
    }),
    ("am.cr", |e| {
        condition(e, "Alertmanager", A, "Available", "Degraded");
    }),
    ("am.statefulset", |e| {
        set(e, "StatefulSet", ALERTMANAGER, "/status/readyReplicas", json!(0));
    }),
    ("am.pod", |e| {
        set(
            e,
            "Pod",
            &format!("{ALERTMANAGER}-0"),
            "/status/containerStatuses",
            json!([]),
        );
    }),
    ("am.image", |e| {
        set_main(
            e,
            ALERTMANAGER,
            "alertmanager",
            "image",
            json!("prom/alertmanager:latest"),
        );
    }),
    ("am.args", |e| {
        replace_arg(
            e,
            ALERTMANAGER,
            "alertmanager",
            "--config.file",
            "--config.file=/tmp/a.yaml",
        );
    }),
    ("am.mounts", |e| rename_volume(e, ALERTMANAGER, "web-config")),
    ("am.service", |e| remove(e, "Service", "alertmanager-operated")),
    ("am.ready", |e| {
        answered(e, "alertmanager:/-/ready", 503, "starting");
    }),
    ("am.status", |e| {
        edited(e, "alertmanager:/api/v2/status", |v| {
            v["cluster"]["status"] = json!("settling");
        });
    }),
    ("am.watchdog", |e| {
        answered(e, "alertmanager:/api/v2/alerts?active=true", 200, "[]");
    }),
    ("am.receivers", |e| {
        edited(e, "alertmanager:/api/v2/status", |v| {
            v["config"]["original"] = json!("");
        });
    }),
    ("grafana.deployment", |e| {
        set(
            e,
            "Deployment",
            "monitoring-grafana",
            "/status/availableReplicas",
            json!(0),
        );
    }),
    ("grafana.provisioned", |e| remove(e, "Service", P)),
    ("grafana.health", |e| {
        answered(e, "grafana:/api/health", 200, r#"{"database": "failing"}"#);
    }),
    ("grafana.datasources", |e| {
        answered(e, "grafana:/api/datasources", 200, "[]");
    }),
    ("grafana.datasource-health", |e| {
        let body = r#"{"status": "ERROR", "message": "connection refused"}"#;
        answered(e, "grafana:/api/datasources/uid/prometheus/health", 200, body);
    }),
    ("grafana.dashboards", |e| {
        answered(e, "grafana:/api/search?type=dash-db", 200, "[]");
    }),
    ("ne.daemonset", |e| {
        let node = node(e, 0);
        set(
            e,
            "Node",
            &node,
            "/metadata/labels/type",
            json!("virtual-kubelet"),
        );
    }),
    ("ne.host", |e| {
        set(
            e,
            "DaemonSet",
            EXPORTER,
            "/spec/template/spec/hostPID",
            json!(false),
        );
    }),
    ("ne.nodes-in-prometheus", |e| {
        samples_of(e, "node_uname_info", |samples| drop(samples.pop()));
    }),
    ("ne.collectors", |e| {
        samples_of(e, "node_scrape_collector_success", |samples| {
            samples.push(
                json!({"metric": {"collector": "zfs", "instance": "10.0.0.1:9100"}, "value": [0, "0"]}),
            );
        });
    }),
    ("ne.truth", |e| {
        samples_of(e, "node_memory_MemTotal_bytes", |samples| {
            samples[0]["value"][1] = json!("1024");
        });
    }),
    ("ksm.deployment", |e| {
        remove(e, "Deployment", "monitoring-kube-state-metrics");
    }),
    ("ksm.nodes", |e| {
        samples_of(e, "kube_node_info", Vec::clear);
    }),
    ("ksm.pods", |e| {
        samples_of(e, "kube_pod_info", |samples| samples[0]["value"][1] = json!("1"));
    }),
];

const TARGETS: &str = "prometheus:/api/v1/targets?state=active";
const RULES: &str = "prometheus:/api/v1/rules";

fn node(e: &Evidence, index: usize) -> String {
    e.all("Node")[index]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn node_where(e: &Evidence, holds: impl Fn(&Value) -> bool) -> String {
    let node = e.all("Node").iter().find(|node| holds(node)).unwrap();
    node["metadata"]["name"].as_str().unwrap().to_owned()
}

pub(super) fn wanted<'a>(e: &'a mut Evidence, kind: &str, named: &str) -> &'a mut Value {
    let mut objects = Arc::make_mut(&mut e.applied).iter_mut();
    objects
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == named)
        .unwrap()
}

pub(super) fn condition(e: &mut Evidence, kind: &str, named: &str, condition: &str, status: &str) {
    let conditions = live(e, kind, named)
        .pointer_mut("/status/conditions")
        .unwrap()
        .as_array_mut()
        .unwrap();
    let found = conditions.iter_mut().find(|found| found["type"] == condition);
    found.unwrap_or_else(|| panic!("{kind} {named} has no {condition}"))["status"] = json!(status);
}

fn main_of<'a>(e: &'a mut Evidence, set: &str, named: &str) -> &'a mut Value {
    let containers = live(e, "StatefulSet", set)
        .pointer_mut(CONTAINERS)
        .unwrap()
        .as_array_mut()
        .unwrap();
    containers
        .iter_mut()
        .find(|container| container["name"] == named)
        .unwrap()
}

fn set_main(e: &mut Evidence, set: &str, named: &str, field: &str, value: Value) {
    main_of(e, set, named)[field] = value;
}

/// Replaces the first argument that begins so.
fn replace_arg(e: &mut Evidence, set: &str, named: &str, prefix: &str, other: &str) {
    let args = main_of(e, set, named)["args"].as_array_mut().unwrap();
    *args
        .iter_mut()
        .find(|arg| arg.as_str().unwrap().starts_with(prefix))
        .unwrap() = json!(other);
}

fn set_mount(e: &mut Evidence, set: &str, named: &str, mount: &str, field: &str, value: Value) {
    let mounts = main_of(e, set, named)["volumeMounts"].as_array_mut().unwrap();
    mounts.iter_mut().find(|found| found["name"] == mount).unwrap()[field] = value;
}

fn rename_volume(e: &mut Evidence, set: &str, named: &str) {
    let volumes = live(e, "StatefulSet", set)
        .pointer_mut("/spec/template/spec/volumes")
        .unwrap();
    let volumes = volumes.as_array_mut().unwrap();
    volumes.iter_mut().find(|volume| volume["name"] == named).unwrap()["name"] = json!("renamed");
}

/// Changes the samples of the query that names a metric.
pub(super) fn samples_of(e: &mut Evidence, metric: &str, change: impl FnOnce(&mut Vec<Value>)) {
    let key = e
        .http
        .keys()
        .find(|key| key.contains("/query?") && key.contains(metric))
        .unwrap()
        .clone();
    edited(e, &key, |answer| {
        change(answer["data"]["result"].as_array_mut().unwrap());
    });
}

fn rule(e: &mut Evidence, named: &str, change: impl FnOnce(&mut Value)) {
    edited(e, RULES, |answer| {
        let groups = answer["data"]["groups"].as_array_mut().unwrap();
        let mut rules = groups
            .iter_mut()
            .flat_map(|group| group["rules"].as_array_mut().unwrap());
        change(rules.find(|rule| rule["name"] == named).unwrap());
    });
}

/// One target of a pool refuses the connection.
fn down(e: &mut Evidence, pool: &str) {
    edited(e, TARGETS, |answer| {
        let targets = answer["data"]["activeTargets"].as_array_mut().unwrap();
        let target = targets
            .iter_mut()
            .find(|target| target["scrapePool"].as_str().unwrap().ends_with(pool))
            .unwrap();
        target["health"] = json!("down");
        target["lastError"] = json!("connection refused");
    });
}

/// One target of a pool is not there.
fn missing(e: &mut Evidence, pool: &str) {
    edited(e, TARGETS, |answer| {
        let targets = answer["data"]["activeTargets"].as_array_mut().unwrap();
        let at = targets
            .iter()
            .position(|target| target["scrapePool"].as_str().unwrap().ends_with(pool))
            .unwrap();
        targets.remove(at);
    });
}

/// A Service lists nothing, and so nothing is scraped: the job is gone without a target that is down.
fn nobody_behind(e: &mut Evidence, service: &str) {
    let slices = all(e, "EndpointSlice");
    slices.retain(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] != service);
    edited(e, TARGETS, |answer| {
        let targets = answer["data"]["activeTargets"].as_array_mut().unwrap();
        targets.retain(|target| !target["scrapePool"].as_str().unwrap().contains(service));
    });
}
