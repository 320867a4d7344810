//! The plan tells the truth: all of it, nothing else, and no secrets.

use serde_json::{Value, json};

use super::{
    bench::{Bench, bench},
    order::widget,
};

const SETTINGS: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: b}}\n";

fn secret(value: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: password, namespace: NS}}, stringData: {{password: {value}, same: equal-hunter}}}}\n"
    )
}

#[test]
fn case_30_exit_codes_tell_whether_there_are_changes() {
    let Some(bench) = bench("case-30") else { return };
    bench.in_namespace(SETTINGS);
    bench.sandbox.stackup(&["diff", "--exit-code"]).ends(4);
    bench.sandbox.stackup(&["diff"]).ends(0);
    bench.apply().ends(0);
    bench
        .sandbox
        .stackup(&["diff", "--exit-code"])
        .ends(0)
        .says("No changes");
    bench.in_namespace(&SETTINGS.replace("{a: b}", "{a: c}"));
    bench
        .sandbox
        .stackup(&["diff", "--exit-code"])
        .ends(4)
        .says("data.a");
    bench.in_namespace("{apiVersion: v1, kind: ConfigMap}");
    bench
        .sandbox
        .stackup(&["diff", "--exit-code"])
        .ends(2)
        .says("app/app.yaml:");
}

#[test]
fn case_31_a_diff_writes_nothing_neither_there_nor_here() {
    let Some(bench) = bench("case-31") else { return };
    bench.in_namespace(&format!("{SETTINGS}---\n{}", secret("first-hunter")));
    let plan = bench.diff();
    assert_eq!(plan["summary"]["create"], 3, "{plan:#}");
    assert!(bench.writes().is_empty(), "{:#?}", bench.written());
    assert!(bench.live("/api/v1/namespaces/NS").is_null());
    assert!(!bench.sandbox.path(".stackup").exists(), "and no state is begun");
}

#[test]
fn case_31_nothing_is_asked_by_name_in_a_namespace_that_is_not_there() {
    let Some(bench) = bench("case-31c") else { return };
    bench.in_namespace(SETTINGS);
    let named = |bench: &Bench| {
        let sent = bench.proxy.sent().into_iter();
        sent.filter(|sent| sent.path.contains("/configmaps/")).count()
    };
    bench.diff();
    assert_eq!(named(&bench), 0, "{:#?}", bench.proxy.sent());
    // Made by someone else, it may hold what carries no mark and is in no list of ours.
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.diff();
    assert!(named(&bench) > 0, "{:#?}", bench.proxy.sent());
}

#[test]
fn case_31_a_diff_needs_no_more_than_the_right_to_read() {
    let Some(bench) = bench("case-31b") else { return };
    bench.in_namespace(SETTINGS);
    bench.apply().ends(0);
    // Whoever may only read gets this answer to a dry run as well as to a write.
    bench
        .proxy
        .inject(crate::support::proxy::Fault::Status(403), 0, 1000, |sent| {
            sent.method != "GET"
        });
    bench.nothing_to_do();
    assert!(bench.proxy.sent().iter().all(|sent| sent.method == "GET"));
}

#[test]
fn case_32_values_of_secrets_are_compared_and_never_shown() {
    let Some(bench) = bench("case-32") else { return };
    bench.in_namespace(&secret("first-hunter"));
    let mut told = vec![
        bench.sandbox.stackup(&["diff", "--full"]).ends(0).all(),
        bench.apply().ends(0).all(),
    ];
    bench.in_namespace(&secret("other-hunter"));
    let change = bench.only_change();
    assert_eq!(change["action"], "update");
    let fields = change["fields"].as_array().unwrap();
    assert_eq!(
        fields.len(),
        1,
        "the value that is the same is no difference: {change:#}"
    );
    assert_eq!(fields[0]["path"], "data.password");
    assert_eq!(
        (&fields[0]["old"]["is"], &fields[0]["new"]["is"]),
        (&json!("secret"), &json!("secret"))
    );
    assert_ne!(fields[0]["old"], fields[0]["new"], "that they differ can be seen");
    told.push(change.to_string());
    for arguments in [
        &["diff"][..],
        &["diff", "--full"],
        &["diff", "--format", "markdown"],
        &["diff", "--log", "trace"],
        &["apply", "--yes", "--log", "trace"],
        &["status"],
        &["output", "--output", "json"],
    ] {
        told.push(bench.sandbox.stackup(arguments).all());
    }
    assert_eq!(
        bench.core("secrets/password")["data"]["password"],
        "b3RoZXItaHVudGVy"
    );
    let hidden = [
        "hunter",
        "Zmlyc3QtaHVudGVy",
        "b3RoZXItaHVudGVy",
        "ZXF1YWwtaHVudGVy",
    ];
    for text in hidden {
        for told in &told {
            assert!(!told.contains(text), "{text} is told:\n{told}");
        }
        bench.never_stored(text);
    }
}

#[test]
fn case_33_what_a_person_changed_with_kubectl_is_shown_with_its_owner_and_repaired() {
    let Some(bench) = bench("case-33") else { return };
    bench.in_namespace(SETTINGS);
    bench.apply().ends(0);
    let merge = ["--type=merge", "--patch", r#"{"data":{"a":"by hand"}}"#];
    bench.kubectl(&[&["--namespace", "NS", "patch", "configmap/settings"][..], &merge].concat());
    let change = bench.only_change();
    assert_eq!(change["action"], "update");
    assert_eq!(
        change["fields"],
        json!([{"path": "data.a", "old": {"is": "value", "value": "by hand"}, "new": {"is": "value", "value": "b"},
            "owner": "kubectl-patch"}])
    );
    bench.sandbox.stackup(&["diff"]).ends(0).says("kubectl-patch");
    bench.apply().ends(0);
    assert_eq!(
        bench.written().last().unwrap(),
        "PATCH configmaps/settings",
        "{:#?}",
        bench.written()
    );
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "b");
    bench.nothing_to_do();
}

#[test]
fn case_33_labels_and_annotations_of_ours_that_went_missing_come_back_and_those_of_others_stay() {
    let Some(bench) = bench("case-33b") else { return };
    let labelled = SETTINGS.replace("{name: settings,", "{name: settings, labels: {team: shop},");
    bench.in_namespace(&labelled);
    bench.apply().ends(0);
    let labels = [
        "--namespace",
        "NS",
        "label",
        "configmap/settings",
        "team-",
        "theirs=1",
    ];
    bench.kubectl(&labels);
    let change = bench.only_change();
    assert_eq!(change["fields"][0]["path"], "metadata.labels.team", "{change:#}");
    assert_eq!(change["fields"].as_array().unwrap().len(), 1, "{change:#}");
    bench.apply().ends(0);
    let live = bench.core("configmaps/settings");
    assert_eq!(
        (
            &live["metadata"]["labels"]["team"],
            &live["metadata"]["labels"]["theirs"]
        ),
        (&json!("shop"), &json!("1"))
    );
    bench.nothing_to_do();
}

#[test]
fn case_36_a_namespace_a_definition_and_an_object_of_it_are_planned_in_one_go() {
    let Some(bench) = bench("case-36") else { return };
    let (definition, widget) = widget("case36.test");
    bench.in_namespace(&format!("{definition}{widget}"));
    let plan = bench.diff();
    let created = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["kind"] == "k8s.object");
    assert_eq!(
        created.filter(|change| change["action"] == "create").count(),
        3,
        "{plan:#}"
    );
    assert_eq!(plan["summary"]["conflict"], 0);
    bench.apply().ends(0);
    bench.nothing_to_do();
}

#[test]
fn case_36_nothing_is_asked_of_a_cluster_that_is_not_there_yet() {
    let Some(bench) = bench("case-36b") else { return };
    let (definition, widget) = widget("case36b.test");
    bench.in_namespace(&format!("{definition}{widget}"));
    let head = format!(
        "name: {}\ncluster: {{provider: kwok, workers: 1}}\nverify: off\n",
        bench.name
    );
    bench.sandbox.write(
        "stackup.yaml",
        format!("{head}components:\n- {{name: app, manifests: app}}\n"),
    );
    let plan = bench.diff();
    assert_eq!(
        plan["summary"]["create"], 4,
        "the cluster and all in it: {plan:#}"
    );
    assert_eq!(plan["summary"]["update"], 0);
    let of_the_cluster = format!("kwok.cluster/{}", bench.name);
    let changes = plan["changes"].as_array().unwrap();
    let waiting = changes
        .iter()
        .filter(|change| change["reason"] == json!({"knownAfter": of_the_cluster}));
    assert_eq!(waiting.count(), 3, "{plan:#}");
}

#[test]
fn a_cluster_that_does_not_answer_is_an_error_and_not_an_empty_cluster() {
    let Some(bench) = bench("gone") else { return };
    bench.in_namespace(SETTINGS);
    bench.apply().ends(0);
    bench
        .proxy
        .inject(crate::support::proxy::Fault::Status(403), 0, 1000, |_| true);
    let run = bench.sandbox.stackup(&["diff", "--output", "json"]);
    assert!(matches!(run.code, Some(1 | 6 | 7)), "{run:?}");
    assert!(!run.stdout.contains("create"), "{run:?}");
    bench.proxy.mend();
    bench.nothing_to_do();
}

#[test]
fn case_37_rules_that_a_controller_gathers_are_no_difference() {
    let Some(bench) = bench("case-37") else { return };
    bench.manifests(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS-all}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part-of: NS}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: NS-part, labels: {part-of: NS}}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
",
    );
    bench.apply().ends(0);
    let path = format!(
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/{}-all",
        bench.name
    );
    let gathered = |role: &Value| role["rules"].as_array().is_some_and(|rules| !rules.is_empty());
    bench.cluster.until(&path, gathered);
    bench.nothing_to_do();
    bench.apply().ends(0);
    assert!(gathered(&bench.cluster.get(&path)), "they are not wiped");
    bench.destroy().ends(0);
}

/// What differs after the manifests have become these, and whether anything does once it is applied.
fn becomes(bench: &Bench, yaml: &str) -> Value {
    bench.in_namespace(yaml);
    let plan = bench.diff();
    bench.apply().ends(0);
    bench.nothing_to_do();
    plan["changes"].clone()
}

#[test]
fn case_71_one_object_in_two_versions_of_its_group_is_one_object() {
    let Some(bench) = bench("case-71") else { return };
    let with = |version: &str, more: &str| {
        format!(
            "{{apiVersion: autoscaling/{version}, kind: HorizontalPodAutoscaler, metadata: {{name: a, namespace: NS}}, \
             spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: a}}, maxReplicas: 3{more}}}}}"
        )
    };
    becomes(&bench, &with("v2", ""));
    let path = "/apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers/a";
    let before = bench.live(path)["metadata"]["uid"].clone();
    let changes = becomes(&bench, &with("v1", ", minReplicas: 2"));
    assert_eq!(changes.as_array().unwrap().len(), 1, "{changes:#}");
    assert_eq!(changes[0]["action"], "update");
    let live = bench.live(path);
    assert_eq!(
        (&live["metadata"]["uid"], &live["spec"]["minReplicas"]),
        (&before, &json!(2))
    );
    let twice = format!("{}\n---\n{}", with("v1", ""), with("v2", ""));
    bench.in_namespace(&twice);
    bench.sandbox.stackup(&["diff"]).ends(2).says("given twice");
}
