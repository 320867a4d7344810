use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::Evidence,
    object::{flag, full_title, items, name, name_of, namespace, number, text, title},
    workload::{self, active_replica_sets},
};

pub(super) const CHECKS: &[Check] = &[
    Check::new("inventory.statefulsets", "there is a StatefulSet for each Prometheus and Alertmanager", statefulsets)
        .needs(&["cluster.reachable"])
        .reads(&["StatefulSet"])
        .hint("the operator makes them: its log says what it does not like about the Prometheus or Alertmanager object")
        .fix("kubectl -n monitoring logs deployment/monitoring-kube-prometheus-operator --tail=50"),
    Check::new("inventory.deployments", "every Deployment of the stack is there", deployments)
        .needs(&["cluster.reachable"])
        .reads(&["Deployment"])
        .fix("stackup diff"),
    Check::new("inventory.replicasets", "every Deployment has exactly one active ReplicaSet", replicasets)
        .needs(&["inventory.deployments"])
        .reads(&["Deployment", "ReplicaSet"])
        .hint("two are active while a change is rolled out; if it stays so, the new pods do not become ready"),
    Check::new("inventory.daemonsets", "every DaemonSet has a pod on every node that takes it", daemonsets)
        .needs(&["cluster.reachable"])
        .reads(&["DaemonSet", "Node", "Pod"])
        .fix("kubectl get daemonsets -A"),
    Check::new("inventory.pods", "there are as many pods as the workloads ask for", pods)
        .needs(&["inventory.statefulsets", "inventory.deployments"])
        .reads(&["StatefulSet", "Deployment", "DaemonSet", "Node", "Pod"])
        .fix("kubectl get pods -A -o wide"),
    Check::new("inventory.services", "every Service of the stack and of the operator is there", services)
        .needs(&["cluster.reachable"])
        .reads(&["Service"])
        .fix("stackup diff"),
    Check::new("inventory.configmaps", "every ConfigMap of the stack and of the operator is there", configmaps)
        .needs(&["cluster.reachable"])
        .reads(&["ConfigMap"])
        .fix("stackup diff"),
    Check::new("inventory.secrets", "every Secret of the stack and of the operator is there", secrets)
        .needs(&["cluster.reachable"])
        .reads(&["Secret"])
        .fix("stackup diff"),
    Check::new("inventory.monitors", "every ServiceMonitor and PrometheusRule of the stack is there", monitors)
        .needs(&["cluster.reachable"])
        .reads(&["ServiceMonitor", "PrometheusRule"])
        .fix("stackup diff"),
    Check::new("workloads.ready", "every workload of the stack is ready", ready)
        .needs(&["cluster.reachable"])
        .reads(&["StatefulSet", "Deployment", "DaemonSet"])
        .hint("'workloads.containers' says what its containers do")
        .fix("stackup status"),
    Check::new("workloads.containers", "no container of the stack crashes or waits", containers)
        .needs(&["cluster.reachable"])
        .reads(&["Pod"])
        .hint("the last lines of its log say more: kubectl logs -n NAMESPACE POD -c CONTAINER --previous"),
    Check::new("workloads.restarts", "no container of the stack ran out of memory", out_of_memory)
        .warning()
        .needs(&["cluster.reachable"])
        .reads(&["Pod"])
        .hint("raise resources.limits.memory of that container, or give it less to do"),
];

/// The pods in the namespaces that the stack makes, and those of its workloads in others.
pub(super) fn stack_pods(e: &Evidence) -> Vec<&Value> {
    let made = e.applied("Namespace").map(name).collect::<BTreeSet<_>>();
    let ours = |pod: &&Value| {
        made.contains(namespace(pod)) || workload::applied(e).any(|workload| workload::has(workload, pod))
    };
    e.all("Pod").iter().filter(ours).collect()
}

/// Compares what should be there by `namespace/name` with what is.
fn all_there(e: &Evidence, kind: &str, expected: &BTreeSet<String>) -> Outcome {
    if expected.is_empty() {
        return Err(Miss::skip(format!("the stack has no {kind}")));
    }
    let found: BTreeSet<String> = e.all(kind).iter().map(title).collect();
    let missing: Vec<String> = expected.difference(&found).cloned().collect();
    if missing.is_empty() {
        return Ok(expected.len().to_string());
    }
    Err(Miss::fail(
        format!("missing: {}", few(&missing)),
        format!("{} of kind {kind}", expected.len()),
    ))
}

fn applied(e: &Evidence, kind: &str) -> BTreeSet<String> {
    e.applied(kind).map(title).collect()
}

fn statefulsets(e: &Evidence, _: &'static str) -> Outcome {
    let mut expected = applied(e, "StatefulSet");
    expected.extend(
        workload::operated(e)
            .into_iter()
            .map(|(owner, named)| format!("{}/{named}", namespace(owner))),
    );
    all_there(e, "StatefulSet", &expected)
}

fn deployments(e: &Evidence, _: &'static str) -> Outcome {
    all_there(e, "Deployment", &applied(e, "Deployment"))
}

fn replicasets(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut count = 0;
    for wanted in e.some_applied("Deployment")? {
        let Some(live) = e.live(wanted) else { continue };
        let expected = usize::from(live.pointer("/spec/replicas").and_then(Value::as_i64) != Some(0));
        let active = active_replica_sets(e, live).len();
        count += active;
        if active != expected {
            wrong.push(format!("{}: {active}", title(live)));
        }
    }
    none(
        &wrong,
        format!("{count} active"),
        "one for each Deployment that asks for pods",
    )
}

fn daemonsets(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for wanted in e.some_applied("DaemonSet")? {
        let Some(live) = e.live(wanted) else {
            wrong.push(format!("missing: {}", title(wanted)));
            continue;
        };
        let pods = workload::pods(e, live);
        let on: BTreeSet<&str> = pods
            .iter()
            .filter(|pod| workload::pod_ready(pod))
            .map(|pod| text(pod, "/spec/nodeName"))
            .collect();
        let expected = workload::nodes(e, live);
        let bare = expected.iter().filter(|node| !on.contains(name(node)));
        wrong.extend(bare.map(|node| format!("{} has no ready pod of {}", name(node), title(live))));
        seen.push(format!("{} on {} nodes", name(live), expected.len()));
    }
    none(&wrong, few(&seen), "a ready pod on each node that takes it")
}

fn pods(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut total = 0;
    for live in workload::all(e).into_iter().flatten() {
        let wanted = if text(live, "/kind") == "DaemonSet" {
            workload::nodes(e, live).len()
        } else {
            usize::try_from(workload::replicas(live)).unwrap_or_default()
        };
        let found = workload::pods(e, live).len();
        total += found;
        if found != wanted {
            wrong.push(format!("{}: {found} pods instead of {wanted}", full_title(live)));
        }
    }
    none(&wrong, format!("{total} pods"), "what each workload asks for")
}

fn services(e: &Evidence, _: &'static str) -> Outcome {
    let mut expected = applied(e, "Service");
    let of = |kind: &str, named: &str| {
        let found = e
            .applied(kind)
            .map(|owner| format!("{}/{named}", namespace(owner)));
        found.collect::<Vec<_>>()
    };
    expected.extend(of("Prometheus", "prometheus-operated"));
    expected.extend(of("Alertmanager", "alertmanager-operated"));
    expected.extend(kubelet_service(e).map(str::to_owned));
    all_there(e, "Service", &expected)
}

/// The Service that the operator keeps for the kubelets: `namespace/name`.
pub(super) fn kubelet_service(e: &Evidence) -> Option<&str> {
    operator(e).and_then(|(_, container)| flag(container, "--kubelet-service"))
}

/// The applied Deployment of the operator, and its container.
pub(super) fn operator(e: &Evidence) -> Option<(&Value, &Value)> {
    e.applied("Deployment").find_map(|deployment| {
        let containers = items(deployment, "/spec/template/spec/containers");
        let found = containers
            .iter()
            .find(|container| flag(container, "--prometheus-config-reloader").is_some());
        found.map(|container| (deployment, container))
    })
}

fn configmaps(e: &Evidence, _: &'static str) -> Outcome {
    let mut expected = applied(e, "ConfigMap");
    for prometheus in e.applied("Prometheus") {
        expected.insert(format!(
            "{}/prometheus-{}-rulefiles-0",
            namespace(prometheus),
            name(prometheus)
        ));
    }
    all_there(e, "ConfigMap", &expected)
}

fn secrets(e: &Evidence, _: &'static str) -> Outcome {
    let mut expected = applied(e, "Secret");
    for owner in e.applied("Prometheus") {
        for suffix in ["", "-tls-assets-0", "-web-config"] {
            expected.insert(format!("{}/prometheus-{}{suffix}", namespace(owner), name(owner)));
        }
    }
    for owner in e.applied("Alertmanager") {
        for suffix in ["-generated", "-tls-assets-0", "-web-config"] {
            expected.insert(format!(
                "{}/alertmanager-{}{suffix}",
                namespace(owner),
                name(owner)
            ));
        }
    }
    all_there(e, "Secret", &expected)
}

fn monitors(e: &Evidence, _: &'static str) -> Outcome {
    let mut seen = Vec::new();
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        let expected = applied(e, kind);
        if !expected.is_empty() {
            seen.push(format!("{} {kind}s", all_there(e, kind, &expected)?));
        }
    }
    if seen.is_empty() {
        return Err(Miss::skip(
            "the stack has no ServiceMonitor and no PrometheusRule",
        ));
    }
    Ok(few(&seen))
}

fn ready(e: &Evidence, _: &'static str) -> Outcome {
    let all = workload::all(e);
    if all.is_empty() {
        return Err(Miss::skip("the stack has no workloads"));
    }
    let count = all.len();
    let why = |found: Result<&Value, String>| match found {
        Ok(live) => workload::ready(live).err(),
        Err(missing) => Some(format!("{missing} is missing")),
    };
    let wrong: Vec<String> = all.into_iter().filter_map(why).collect();
    none(
        &wrong,
        format!("{count} workloads"),
        "each as many ready pods as it asks for",
    )
}

fn containers(e: &Evidence, _: &'static str) -> Outcome {
    let pods = stack_pods(e);
    let mut wrong = Vec::new();
    let mut count = 0;
    for pod in &pods {
        for status in items(pod, "/status/initContainerStatuses")
            .iter()
            .chain(items(pod, "/status/containerStatuses"))
        {
            count += 1;
            let code = number(status, "/state/terminated/exitCode");
            // A pod that failed as a whole, as an evicted one, has been replaced, or its workload lacks one.
            if code != 0 && text(pod, "/status/phase") != "Failed" {
                wrong.push(format!(
                    "{} {}: ended with exit code {code}",
                    title(pod),
                    name_of(status)
                ));
            }
            let reason = text(status, "/state/waiting/reason");
            if !reason.is_empty() && reason != "PodInitializing" && reason != "ContainerCreating" {
                let message = text(status, "/state/waiting/message");
                wrong.push(
                    format!("{} {}: {reason} {message}", title(pod), name_of(status))
                        .trim_end()
                        .to_owned(),
                );
            }
        }
    }
    none(&wrong, format!("{count} containers"), "all running or done")
}

fn out_of_memory(e: &Evidence, _: &'static str) -> Outcome {
    let mut wrong = Vec::new();
    let mut restarts = 0;
    for pod in stack_pods(e) {
        for status in items(pod, "/status/containerStatuses") {
            restarts += number(status, "/restartCount");
            let ended = ["/lastState/terminated/reason", "/state/terminated/reason"];
            if ended.iter().any(|pointer| text(status, pointer) == "OOMKilled") {
                wrong.push(format!(
                    "{} {}: {} restarts",
                    title(pod),
                    name_of(status),
                    number(status, "/restartCount")
                ));
            }
        }
    }
    none(
        &wrong,
        format!("{restarts} restarts, none for lack of memory"),
        "no OOMKilled",
    )
}
