use serde_json::json;

use super::*;

fn now() -> Timestamp {
    "2026-01-01T01:00:00Z".parse().unwrap()
}

fn around() -> Around {
    Around {
        unschedulable: Duration::from_mins(5),
        now: now(),
        ..Around::default()
    }
}

fn ready(object: &Value) -> bool {
    matches!(readiness(object, &around()), Readiness::Ready)
}

fn waiting(object: &Value) -> String {
    match readiness(object, &around()) {
        Readiness::NotYet(words) => words,
        other @ (Readiness::Ready | Readiness::Failed(_) | Readiness::Stuck(_)) => {
            panic!("{other:?} for {object}")
        }
    }
}

fn failed(object: &Value) -> String {
    match readiness(object, &around()) {
        Readiness::Failed(words) => words,
        other @ (Readiness::Ready | Readiness::NotYet(_) | Readiness::Stuck(_)) => {
            panic!("{other:?} for {object}")
        }
    }
}

fn workload(kind: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": status})
}

/// A pod of which one container is in this state, an hour old.
fn pod(containers: &str, name: &str, state: Value) -> Value {
    let mut status = json!({"phase": "Pending", "startTime": "2026-01-01T00:00:00Z"});
    let mut container = json!({"name": name});
    container
        .as_object_mut()
        .unwrap()
        .extend(state.as_object().unwrap().clone());
    status[containers] = json!([container]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "status": status})
}

fn held(reason: &str, message: &str) -> Value {
    pod(
        "containerStatuses",
        "server",
        json!({"state": {"waiting": {"reason": reason, "message": message}}}),
    )
}

#[test]
fn case_51_deployments() {
    let with = |spec: Value, status: Value| workload("Deployment", spec, status);
    let full = json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3});
    let less = |field: &str, count: u8| {
        let mut status = full.clone();
        status[field] = json!(count);
        with(json!({"replicas": 3}), status)
    };
    assert!(ready(&with(json!({"replicas": 3}), full.clone())));
    assert_eq!(
        waiting(&with(json!({}), json!({}))),
        "its controller has not seen it yet"
    );
    let stale = less("observedGeneration", 1);
    assert_eq!(waiting(&stale), "its controller has not seen the last change yet");
    assert_eq!(waiting(&less("updatedReplicas", 1)), "1/3 of the new revision");
    assert_eq!(
        waiting(&less("replicas", 5)),
        "2 of the former revision still there"
    );
    assert_eq!(waiting(&less("availableReplicas", 2)), "2/3 available");
    assert!(ready(&with(
        json!({"replicas": 0}),
        json!({"observedGeneration": 2})
    )));
    let late = json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "too late"}]});
    assert_eq!(
        failed(&with(json!({}), late)),
        "ProgressDeadlineExceeded: too late"
    );
}

#[test]
fn case_57_a_paused_deployment_is_as_ready_as_it_gets() {
    let paused = workload(
        "Deployment",
        json!({"paused": true, "replicas": 1}),
        json!({"observedGeneration": 2}),
    );
    assert!(ready(&paused));
}

#[test]
fn case_60_a_deployment_that_may_not_make_pods_says_why() {
    let quota = json!({"observedGeneration": 2, "conditions": [{"type": "ReplicaFailure", "status": "True",
        "reason": "FailedCreate", "message": "exceeded quota"}]});
    let words = waiting(&workload("Deployment", json!({"replicas": 1}), quota));
    assert_eq!(words, "0/1 available, FailedCreate: exceeded quota");
}

#[test]
fn case_58_stateful_sets_with_and_without_partition() {
    let status = |updated: u8, current: &str| {
        json!({"observedGeneration": 2, "replicas": 3, "readyReplicas": 3, "updatedReplicas": updated,
            "currentRevision": current, "updateRevision": "new"})
    };
    let with = |spec: Value, status: Value| workload("StatefulSet", spec, status);
    assert!(ready(&with(json!({"replicas": 3}), status(3, "new"))));
    assert_eq!(
        waiting(&with(json!({"replicas": 3}), status(1, "old"))),
        "1/3 of the new revision"
    );
    let parted = json!({"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}});
    assert!(ready(&with(parted.clone(), status(1, "old"))));
    assert_eq!(
        waiting(&with(parted, status(0, "old"))),
        "0/1 of the new revision"
    );
    let on_delete = json!({"replicas": 3, "updateStrategy": {"type": "OnDelete"}});
    assert!(ready(&with(on_delete.clone(), status(0, "old"))));
    let starting = json!({"observedGeneration": 2, "replicas": 1, "readyReplicas": 0});
    assert_eq!(waiting(&with(on_delete, starting)), "0/3 ready");
}

#[test]
fn case_51_daemon_sets() {
    let with = |status: Value| workload("DaemonSet", json!({}), status);
    assert_eq!(waiting(&with(json!({}))), "its controller has not seen it yet");
    let on = |wanted: u8, updated: u8, there: u8| {
        with(
            json!({"observedGeneration": 2, "desiredNumberScheduled": wanted, "updatedNumberScheduled": updated,
            "numberAvailable": there, "numberReady": there}),
        )
    };
    assert!(ready(&on(3, 3, 3)));
    assert!(ready(&on(0, 0, 0)), "no node that it wants");
    assert_eq!(waiting(&on(3, 2, 3)), "2/3 of the new revision");
    assert_eq!(waiting(&on(3, 3, 1)), "1/3 available");
}

#[test]
fn case_58_jobs_are_ready_when_complete() {
    let with = |spec: Value, status: Value| json!({"apiVersion": "batch/v1", "kind": "Job", "spec": spec, "status": status});
    assert_eq!(
        waiting(&with(json!({}), json!({"startTime": "x", "active": 1}))),
        "0/1 completed"
    );
    assert!(ready(&with(
        json!({}),
        json!({"conditions": [{"type": "Complete", "status": "True"}]})
    )));
    let over =
        json!({"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]});
    assert_eq!(failed(&with(json!({}), over)), "BackoffLimitExceeded");
    assert!(ready(&with(json!({"suspend": true}), json!({}))));
}

#[test]
fn case_58_services_wait_for_an_address_only_where_one_is_given() {
    let with = |spec: Value, status: Value| json!({"apiVersion": "v1", "kind": "Service", "spec": spec, "status": status});
    let balanced = with(
        json!({"type": "LoadBalancer"}),
        json!({"loadBalancer": {"ingress": []}}),
    );
    let cloud = Around {
        load_balancers: true,
        ..around()
    };
    assert!(ready(&balanced), "nobody gives one here");
    assert!(matches!(readiness(&balanced, &cloud), Readiness::NotYet(_)));
    let given = with(
        json!({"type": "LoadBalancer"}),
        json!({"loadBalancer": {"ingress": [{"hostname": "x"}]}}),
    );
    assert_eq!(readiness(&given, &cloud), Readiness::Ready);
    let own = with(
        json!({"type": "LoadBalancer", "externalIPs": ["192.0.2.1"]}),
        json!({}),
    );
    assert_eq!(readiness(&own, &cloud), Readiness::Ready);
    assert_eq!(
        readiness(&with(json!({"type": "ExternalName"}), json!({})), &cloud),
        Readiness::Ready
    );
}

#[test]
fn case_58_definitions_must_be_established_and_served() {
    let with = |conditions: Value| json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "status": {"conditions": conditions}});
    let condition =
        |kind: &str, status: &str, reason: &str| json!({"type": kind, "status": status, "reason": reason});
    assert_eq!(waiting(&with(json!([]))), "not established yet");
    assert_eq!(
        failed(&with(json!([condition(
            "NamesAccepted",
            "False",
            "PluralConflict"
        )]))),
        "PluralConflict"
    );
    assert_eq!(
        waiting(&with(json!([condition("Established", "False", "Installing")]))),
        "not established yet"
    );
    let established = with(json!([condition("Established", "True", "InitialNamesAccepted")]));
    assert_eq!(waiting(&established), "established, not served yet");
    let served = Around {
        served: true,
        ..around()
    };
    assert_eq!(readiness(&established, &served), Readiness::Ready);
}

#[test]
fn a_claim_without_a_pod_waits_for_nobody() {
    let claim = |phase: &str| json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": phase}});
    assert_eq!(waiting(&claim("Pending")), "no volume bound yet");
    let patient = Around {
        first_consumer: true,
        ..around()
    };
    assert_eq!(readiness(&claim("Pending"), &patient), Readiness::Ready);
    assert!(ready(&claim("Bound")));
    failed(&claim("Lost"));
}

#[test]
fn an_api_service_must_be_available() {
    let with = |status: &str| {
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "status": {"conditions":
            [{"type": "Available", "status": status, "reason": "MissingEndpoints"}]}})
    };
    assert_eq!(waiting(&with("False")), "MissingEndpoints");
    assert!(ready(&with("True")));
}

#[test]
fn case_61_the_operators_resources_need_both_conditions_at_the_present_generation() {
    let with = |available: (&str, u8), reconciled: (&str, u8)| {
        let condition = |kind: &str, (status, seen): (&str, u8)| json!({"type": kind, "status": status, "observedGeneration": seen, "message": "why"});
        json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Prometheus", "metadata": {"generation": 2},
            "status": {"conditions": [condition("Available", available), condition("Reconciled", reconciled)]}})
    };
    assert!(ready(&with(("True", 2), ("True", 2))));
    assert_eq!(
        waiting(&with(("Degraded", 2), ("True", 2))),
        "Available is Degraded, why"
    );
    assert_eq!(
        waiting(&with(("True", 2), ("False", 2))),
        "Reconciled is False, why"
    );
    assert_eq!(
        waiting(&with(("True", 1), ("True", 2))),
        "the operator has not seen the last change yet"
    );
    let new = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Alertmanager", "metadata": {"generation": 1}});
    assert_eq!(waiting(&new), "the operator has not seen it yet");
}

#[test]
fn case_59_conditions_that_are_not_as_they_should_be_do_no_harm() {
    let odd = json!({"kind": "Widget", "status": {"conditions": [{"status": 1}, "text", {"type": "Ready"}]}});
    waiting(&odd);
    assert!(ready(
        &json!({"kind": "Widget", "status": {"conditions": "none"}})
    ));
    assert!(ready(&json!({"kind": "ConfigMap"})));
}

#[test]
fn a_namespace_that_does_not_go_away_says_what_is_left() {
    let stuck = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"deletionTimestamp": "x"},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating", "conditions": [
        {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": "metrics.k8s.io/v1beta1: stale"}]}});
    assert_eq!(
        waiting(&stuck),
        "terminating: finalizers kubernetes; metrics.k8s.io/v1beta1: stale"
    );
}

#[test]
fn case_62_what_dooms_a_pod() {
    let crash = |containers: &str, restarts: u8| {
        pod(
            containers,
            "init",
            json!({"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 3}}}),
        )
    };
    let doomed = [
        (
            crash("initContainerStatuses", 3),
            "keeps failing: Error, exit code 3, 3 restarts",
        ),
        (crash("containerStatuses", 7), "7 restarts"),
        (
            held("ErrImagePull", "rpc error: code = NotFound desc = x: not found"),
            "ErrImagePull",
        ),
        (
            held("ImagePullBackOff", "Back-off: ErrImagePull: manifest unknown"),
            "manifest unknown",
        ),
        (
            held("ImagePullBackOff", "dial tcp: lookup registry: no such host"),
            "no such host",
        ),
        (held("InvalidImageName", "couldn't parse"), "InvalidImageName"),
        (
            held(
                "CreateContainerConfigError",
                "couldn't find key b in Secret shop/a",
            ),
            "couldn't find key b",
        ),
        (
            held("CreateContainerError", "executable file not found in $PATH"),
            "executable",
        ),
    ];
    for (object, words) in doomed {
        let reason = failed(&object);
        assert!(reason.contains(words), "{reason}");
    }
    for object in [
        crash("initContainerStatuses", 2),
        held("ImagePullBackOff", "Back-off pulling image"),
        held("ErrImagePull", "context deadline exceeded"),
        held(
            "CreateContainerConfigError",
            "failed to sync configmap cache: timed out",
        ),
        held("ContainerCreating", ""),
    ] {
        waiting(&object);
    }
}

#[test]
fn what_may_mend_itself_gets_a_while() {
    let mut young = held("CreateContainerConfigError", "secret \"a\" not found");
    young["status"]["startTime"] = json!("2026-01-01T00:59:50Z");
    waiting(&young);
    young["status"]["startTime"] = json!("2026-01-01T00:59:30Z");
    failed(&young);
    let unschedulable = |since: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/3 nodes", "lastTransitionTime": since}]}})
    };
    assert_eq!(
        waiting(&unschedulable("2026-01-01T00:58:00Z")),
        "Unschedulable: 0/3 nodes"
    );
    assert_eq!(
        failed(&unschedulable("2026-01-01T00:50:00Z")),
        "no node takes it: 0/3 nodes"
    );
}

#[test]
fn where_nodes_come_and_go_the_wait_for_one_counts_from_the_first_look() {
    let pod = Arc::new(
        json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes available",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}),
    );
    let looked = |at: &str| Around {
        first_look: Some(at.parse().unwrap()),
        pods: vec![Arc::clone(&pod)],
        ..around()
    };
    let (early, late) = (looked("2026-01-01T00:50:00Z"), looked("2026-01-01T00:59:00Z"));
    assert!(matches!(readiness(&pod, &late), Readiness::NotYet(_)));
    assert!(matches!(readiness(&pod, &early), Readiness::Failed(_)));
    // The Deployment's own clock ran out meanwhile.
    let deployment = workload(
        "Deployment",
        json!({"replicas": 1}),
        json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "status": "False",
            "reason": "ProgressDeadlineExceeded"}]}),
    );
    assert!(matches!(readiness(&deployment, &late), Readiness::NotYet(_)));
    assert!(matches!(readiness(&deployment, &early), Readiness::Failed(_)));
    failed(&deployment);
}

#[test]
fn case_62_one_doomed_pod_of_three_does_not_fail_its_workload() {
    let deployment = workload(
        "Deployment",
        json!({"replicas": 3}),
        json!({"observedGeneration": 2, "updatedReplicas": 3,
        "replicas": 3, "availableReplicas": 1, "readyReplicas": 1}),
    );
    let doomed = Arc::new(held("InvalidImageName", "bad"));
    let healthy = Arc::new(
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
    );
    let with = |pods: Vec<Arc<Value>>| readiness(&deployment, &Around { pods, ..around() });
    let some = with(vec![Arc::clone(&healthy), Arc::clone(&doomed), healthy]);
    assert_eq!(
        some,
        Readiness::NotYet("1/3 available, InvalidImageName: bad".into())
    );
    let all = with(vec![Arc::clone(&doomed), doomed]);
    assert_eq!(
        all,
        Readiness::Failed("container server cannot start: InvalidImageName: bad".into())
    );
}

#[test]
fn pods_end_as_they_end() {
    let with = |phase: &str| json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}});
    assert!(ready(&with("Succeeded")));
    failed(&with("Failed"));
    assert_eq!(waiting(&with("Running")), "Running, not ready");
}
