//! Waiting: it ends as soon as it is known how, and what others need not wait for goes on.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::bench::{Bench, bench, failure, told};

/// A Deployment whose pods no scheduler takes, so that the test says what became of them.
fn workload(name: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: NS}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      schedulerName: nobody
      initContainers: [{{name: prepare, image: registry.test/prepare}}]
      containers: [{{name: main, image: registry.test/{name}}}]
      {more}
---
"
    )
}

/// Waits for the only pod of a workload and says what its kubelet would say of it.
fn pod_says(bench: &Bench, app: &str, containers: &str, state: &Value) {
    let pods = format!("/api/v1/namespaces/{}/pods?labelSelector=app%3D{app}", bench.name);
    let pods = bench.cluster.until(&pods, |pods| {
        pods["items"].as_array().is_some_and(|items| !items.is_empty())
    });
    let name = if containers == "initContainerStatuses" {
        "prepare"
    } else {
        "main"
    };
    let mut status =
        json!({"name": name, "image": "registry.test/a", "imageID": "", "ready": false, "restartCount": 0});
    status
        .as_object_mut()
        .unwrap()
        .extend(state.as_object().unwrap().clone());
    let patch = json!({"status": {"startTime": "2024-01-01T00:00:00Z", containers: [status]}}).to_string();
    let pod = format!("pod/{}", pods["items"][0]["metadata"]["name"].as_str().unwrap());
    bench.kubectl(&[
        "--namespace",
        "NS",
        "patch",
        &pod,
        "--subresource=status",
        "--type=merge",
        "--patch",
        &patch,
    ]);
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"state": {"waiting": {"reason": reason, "message": message}}})
}

#[test]
fn case_53_an_image_that_does_not_exist_ends_the_wait_and_mending_it_does_only_the_rest() {
    let Some(bench) = bench("case-53") else { return };
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}}\n---\n";
    let after = "{apiVersion: v1, kind: ConfigMap, metadata: {name: after, namespace: NS, annotations: \
                 {stackup/needs: k8s/NS/Deployment/web}}}\n---\n";
    bench.in_namespace(&format!("{}{settings}{after}", workload("web", "")));
    let apply = bench.sandbox.spawn(&["apply", "--yes", "--output", "json"]);
    pod_says(
        &bench,
        "web",
        "containerStatuses",
        &waiting(
            "ErrImagePull",
            "failed to pull image \"registry.test/web\": not found",
        ),
    );
    let run = apply.wait().ends(1);
    let why = failure(&run, &format!("k8s/{}/Deployment/web", bench.name));
    assert!(
        why.contains("ErrImagePull") && why.contains("not found") && why.contains("main"),
        "{why}"
    );
    assert!(
        !bench.core("configmaps/settings").is_null(),
        "what does not need it is done"
    );
    assert!(bench.core("configmaps/after").is_null(), "what needs it is not");
    let skipped = told(&run, "stepSkipped");
    assert_eq!(skipped.len(), 1, "{skipped:#?}");
    assert_eq!(
        skipped[0]["because"],
        format!("k8s/{}/Deployment/web", bench.name)
    );

    // With the usual scheduler a simulated node runs it.
    bench.in_namespace(&format!(
        "{}{settings}{after}",
        workload("web", "").replace("      schedulerName: nobody\n", "")
    ));
    bench.apply().ends(0);
    assert_eq!(
        bench.written(),
        ["PATCH deployments/web", "PATCH configmaps/after"]
    );
    bench.nothing_to_do();
}

#[test]
fn case_53_a_deployment_that_still_cannot_start_fails_again_though_nothing_differs() {
    let Some(bench) = bench("case-53b") else { return };
    bench.in_namespace(&workload("web", ""));
    let apply = bench.sandbox.spawn(&["apply", "--yes", "--output", "json"]);
    pod_says(
        &bench,
        "web",
        "containerStatuses",
        &waiting("InvalidImageName", "couldn't parse image name"),
    );
    apply.wait().ends(1);
    let run = bench.apply().ends(1);
    assert!(failure(&run, &format!("k8s/{}/Deployment/web", bench.name)).contains("InvalidImageName"));
    assert_eq!(bench.written(), Vec::<String>::new(), "there is nothing to write");
}

#[test]
fn case_62_a_missing_key_and_a_failing_first_container_end_the_wait_with_their_reason() {
    let Some(bench) = bench("case-62") else { return };
    bench.in_namespace(&[workload("key", ""), workload("first", "")].concat());
    let apply = bench.sandbox.spawn(&["apply", "--yes", "--output", "json"]);
    let no_key = "couldn't find key password in Secret shop/credentials";
    pod_says(
        &bench,
        "key",
        "containerStatuses",
        &waiting("CreateContainerConfigError", no_key),
    );
    let ended = json!({"exitCode": 3, "reason": "Error"});
    let crashing = json!({"restartCount": 4, "lastState": {"terminated": ended},
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}}});
    pod_says(&bench, "first", "initContainerStatuses", &crashing);
    let run = apply.wait().ends(1);
    let why = |name: &str| failure(&run, &format!("k8s/{}/Deployment/{name}", bench.name));
    assert!(
        why("key").contains("CreateContainerConfigError") && why("key").contains(no_key),
        "{}",
        why("key")
    );
    let first = why("first");
    assert!(
        first.contains("prepare") && first.contains("exit code 3") && first.contains("4 restarts"),
        "{first}"
    );
}

#[test]
fn case_62_what_may_mend_itself_is_waited_for() {
    let Some(bench) = bench("case-62b") else { return };
    bench.in_namespace(&[workload("cache", ""), workload("once", ""), workload("slow", "")].concat());
    let apply = bench.sandbox.spawn(&["apply", "--yes", "--output", "json"]);
    let behind = "failed to sync secret cache: timed out waiting for the condition";
    pod_says(
        &bench,
        "cache",
        "containerStatuses",
        &waiting("CreateContainerConfigError", behind),
    );
    let ended = json!({"exitCode": 1, "reason": "Error"});
    let once = json!({"restartCount": 1, "lastState": {"terminated": ended},
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}});
    pod_says(&bench, "once", "containerStatuses", &once);
    pod_says(
        &bench,
        "slow",
        "containerStatuses",
        &waiting("ErrImagePull", "context deadline exceeded"),
    );
    thread::sleep(Duration::from_secs(2));
    let ready = json!({"ready": true, "state": {"running": {}}});
    for app in ["cache", "once", "slow"] {
        pod_says(&bench, app, "containerStatuses", &ready);
        let pods = format!("/api/v1/namespaces/{}/pods?labelSelector=app%3D{app}", bench.name);
        let pod = bench.cluster.get(&pods)["items"][0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        let patch =
            json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
        let patch = [
            "--subresource=status",
            "--type=merge",
            "--patch",
            &patch.to_string(),
        ];
        bench.kubectl(&[&["--namespace", "NS", "patch", &format!("pod/{pod}")][..], &patch].concat());
    }
    let run = apply.wait().ends(0);
    let waited = told(&run, "stepWaiting")
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    assert!(
        waited.contains("failed to sync secret cache"),
        "what it waits for is told: {waited}"
    );
}

#[test]
fn case_57_what_is_paused_or_suspended_is_not_waited_for() {
    let Some(bench) = bench("case-57") else { return };
    let pods = "template: {spec: {restartPolicy: Never, schedulerName: nobody, containers: [{name: a, image: registry.test/a}]}}";
    bench.in_namespace(&format!(
        "{}{{apiVersion: batch/v1, kind: Job, metadata: {{name: later, namespace: NS}}, spec: {{suspend: true, {pods}}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: away, namespace: NS}}, spec: {{type: ExternalName, externalName: away.test}}}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: in, namespace: NS}}, spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}}}
",
        workload("web", "").replace("\nspec:\n", "\nspec:\n  paused: true\n"),
    ));
    let run = bench.apply().ends(0);
    assert_eq!(
        told(&run, "stepFinished").len(),
        6,
        "the cluster, its namespace and all in it: {}",
        run.stdout
    );
    bench.nothing_to_do();
}

#[test]
fn case_65_an_interrupted_wait_locks_nobody_out_and_is_taken_up_again() {
    let Some(bench) = bench("case-65") else { return };
    let settings = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}}\n---\n";
    bench.in_namespace(&format!("{}{settings}", workload("web", "")));
    let apply = bench.sandbox.spawn(&["apply", "--yes", "--output", "json"]);
    pod_says(
        &bench,
        "web",
        "containerStatuses",
        &waiting("ContainerCreating", ""),
    );
    bench.cluster.until(
        &format!("/api/v1/namespaces/{}/configmaps/settings", bench.name),
        Value::is_object,
    );
    apply.signal(Signal::INT);
    let run = apply.wait().ends(130);
    assert_eq!(told(&run, "stopping")[0]["signal"], "INT");
    let remembered = bench.remembered();
    for address in [
        "k8s/Namespace/NS",
        "k8s/NS/Deployment/web",
        "k8s/NS/ConfigMap/settings",
    ] {
        assert!(
            remembered.contains(&address.to_owned()),
            "{address}: {remembered:?}"
        );
    }
    bench.in_namespace(&format!(
        "{}{settings}",
        workload("web", "").replace("      schedulerName: nobody\n", "")
    ));
    bench.apply().ends(0);
    assert_eq!(bench.written(), ["PATCH deployments/web"]);
}

#[test]
fn case_67_a_finalizer_keeps_its_object_and_nothing_else_from_being_destroyed() {
    let Some(bench) = bench("case-67") else { return };
    let object = |name: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: NS}}}}\n---\n")
    };
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.manifests(&["a", "held", "z"].map(object).concat());
    bench.apply().ends(0);
    let finalizers = |list: &str| {
        let patch = format!("{{\"metadata\":{{\"finalizers\":{list}}}}}");
        bench.kubectl(&[
            "--namespace",
            "NS",
            "patch",
            "configmap/held",
            "--type=merge",
            "--patch",
            &patch,
        ]);
    };
    finalizers("[\"tests.stackup/hold\"]");
    let destroy = bench.sandbox.spawn(&["destroy", "--yes"]);
    let others = format!(
        "/api/v1/namespaces/{}/configmaps?labelSelector=stackup%2Fstack",
        bench.name
    );
    let held = |list: &Value| {
        let items = list["items"].as_array().unwrap();
        items.len() == 1 && !items[0]["metadata"]["deletionTimestamp"].is_null()
    };
    bench.cluster.until(&others, held);
    let mut destroy = destroy;
    destroy.until_it_says("tests.stackup/hold");
    destroy.signal(Signal::INT);
    destroy.wait().ends(130);
    let remembered: Vec<String> = bench
        .remembered()
        .into_iter()
        .filter(|address| address.starts_with("k8s/"))
        .collect();
    assert_eq!(remembered, ["k8s/NS/ConfigMap/held"]);
    finalizers("[]");
    bench.destroy().ends(0);
    assert!(bench.core("configmaps/held").is_null());
    assert!(!bench.sandbox.path(".stackup").exists());
}
