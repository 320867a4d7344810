//! Whose an object is, and what becomes of it when nothing wants it any more.

use serde_json::json;
use stackup::state::Snapshot;

use super::bench::{Bench, bench};

const SETTINGS: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: b}}\n";
const MORE: &str =
    "---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: more, namespace: NS}, data: {a: b}}\n";

fn two(case: &str) -> Option<Bench> {
    let bench = bench(case)?;
    bench.in_namespace(&format!("{SETTINGS}{MORE}"));
    bench.apply().ends(0);
    Some(bench)
}

#[test]
fn case_38_what_carries_no_mark_is_refused_until_it_is_adopted() {
    let Some(bench) = bench("case-38") else { return };
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.kubectl_with(&SETTINGS.replace("{a: b}", "{a: theirs}"), &["create"]);
    bench.manifests(SETTINGS);
    let change = bench.only_change_of("settings");
    assert_eq!(change["action"], "conflict");
    assert!(
        change["reason"].to_string().contains("kubectl"),
        "who wrote it is named: {change:#}"
    );
    bench.apply().ends(6);
    bench.sandbox.stackup(&["diff"]).ends(0).says("--adopt");
    assert!(bench.writes().is_empty(), "{:#?}", bench.written());
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "theirs");

    let plan = bench.diff_with(&["--adopt"]);
    assert_eq!(
        (&plan["summary"]["update"], &plan["summary"]["conflict"]),
        (&json!(1), &json!(0)),
        "{plan:#}"
    );
    let before = bench.core("configmaps/settings")["metadata"]["uid"].clone();
    bench.sandbox.stackup(&["apply", "--yes", "--adopt"]).ends(0);
    let live = bench.core("configmaps/settings");
    assert_eq!(
        (&live["data"]["a"], &live["metadata"]["uid"]),
        (&json!("b"), &before)
    );
    bench.nothing_to_do();
    bench.destroy().ends(0);
    assert!(bench.core("configmaps/settings").is_null(), "adopted is ours");
    assert!(
        !bench.live("/api/v1/namespaces/NS").is_null(),
        "and the namespace never was"
    );
}

#[test]
fn another_cluster_under_the_same_context_is_refused_and_nothing_forgotten() {
    let Some(bench) = two("other-cluster") else { return };
    let path = bench.sandbox.path(format!(".stackup/{}/state.json", bench.name));
    let (bytes, remembered) = (std::fs::read(&path).unwrap(), bench.remembered());
    let mut snapshot = Snapshot::read(&bytes, &path).unwrap();
    assert_eq!(
        snapshot.cluster.as_deref(),
        bench.live("/api/v1/namespaces/kube-system")["metadata"]["uid"].as_str()
    );
    snapshot.cluster = Some("2b0c5f52-0000-4000-8000-000000000000".into());
    std::fs::write(&path, snapshot.write().unwrap()).unwrap();
    let before = bench.writes().len();
    for verb in [&["diff"][..], &["apply", "--yes"], &["destroy", "--yes"]] {
        bench
            .sandbox
            .stackup(verb)
            .ends(6)
            .says("leads to another cluster");
    }
    assert_eq!((bench.writes().len(), bench.remembered()), (before, remembered));
    std::fs::write(&path, bytes).unwrap();
    bench.nothing_to_do();
    bench.destroy().ends(0);
}

#[test]
fn case_40_what_was_deleted_by_hand_stops_neither_its_removal_nor_its_return() {
    let Some(bench) = two("case-40") else { return };
    bench.kubectl(&["--namespace", "NS", "delete", "configmap/more"]);
    let change = bench.only_change();
    assert_eq!(
        (&change["action"], &change["reason"]),
        (&json!("create"), &json!("vanished"))
    );
    bench.in_namespace(SETTINGS);
    assert_eq!(
        bench.only_change()["action"],
        "forget",
        "there is nothing to delete"
    );
    bench.apply().ends(0);
    assert!(!bench.remembered().contains(&"k8s/NS/ConfigMap/more".to_owned()));
    bench.nothing_to_do();
    bench.kubectl(&["--namespace", "NS", "delete", "configmap/settings"]);
    bench.apply().ends(0);
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "b");
    bench.kubectl(&["--namespace", "NS", "delete", "configmap/settings"]);
    bench.destroy().ends(0);
}

#[test]
fn case_43_a_document_that_is_taken_out_is_planned_and_carried_out_as_a_delete() {
    let Some(bench) = two("case-43") else { return };
    bench.in_namespace(SETTINGS);
    let change = bench.only_change();
    assert_eq!(
        (&change["action"], &change["reason"]),
        (&json!("delete"), &json!("notWanted"))
    );
    assert_eq!(change["address"], format!("k8s/{}/ConfigMap/more", bench.name));
    bench.apply().ends(0);
    assert_eq!(bench.written(), ["DELETE configmaps/more"]);
    let deletes = bench.writes();
    assert!(
        !deletes[0].body["preconditions"]["uid"].is_null(),
        "only the very object that was seen: {deletes:#?}"
    );
    assert!(bench.core("configmaps/more").is_null());
    assert!(!bench.core("configmaps/settings").is_null());
    bench.nothing_to_do();
}

#[test]
fn case_44_an_object_of_another_stack_is_refused_even_if_it_may_be_adopted() {
    let Some(bench) = two("case-44") else { return };
    let other = bench.neighbour();
    other.manifests(&SETTINGS.replace("{a: b}", "{a: theirs}"));
    let change = other.only_change_of("settings");
    assert_eq!(change["action"], "conflict");
    assert!(
        change["reason"]
            .to_string()
            .contains(&format!("stack {} ", bench.name)),
        "{change:#}"
    );
    other.sandbox.stackup(&["apply", "--yes"]).ends(6);
    other.sandbox.stackup(&["apply", "--yes", "--adopt"]).ends(6);
    assert!(other.writes().is_empty(), "{:#?}", other.written());
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "b");
    bench.nothing_to_do();
    other.destroy().ends(0);
    assert!(
        !bench.core("configmaps/settings").is_null(),
        "what was refused is not destroyed"
    );
}

#[test]
fn case_47_what_every_cluster_has_survives_the_stack() {
    let Some(bench) = bench("case-47") else { return };
    bench.manifests("{apiVersion: v1, kind: ConfigMap, metadata: {name: NS, namespace: default}}");
    bench.apply().ends(0);
    bench.destroy().ends(0);
    assert!(bench.live("/api/v1/namespaces/default/configmaps/NS").is_null());
    bench.manifests("{apiVersion: v1, kind: Namespace, metadata: {name: default, labels: {a: b}}}");
    bench.sandbox.stackup(&["apply", "--yes", "--adopt"]).ends(6);
    let namespace = bench.live("/api/v1/namespaces/default");
    assert!(namespace["metadata"]["labels"]["a"].is_null(), "{namespace:#}");
    bench.destroy().ends(0);
    assert_eq!(
        bench.live("/api/v1/namespaces/default")["status"]["phase"],
        "Active"
    );
}

#[test]
fn case_49_what_lost_our_mark_to_another_is_not_destroyed() {
    let Some(bench) = two("case-49") else { return };
    let taken = [
        "annotate",
        "configmap/more",
        "--overwrite",
        "stackup/owner=someone-else/x",
    ];
    bench.kubectl(&[&["--namespace", "NS"][..], &taken].concat());
    bench.in_namespace(SETTINGS);
    assert_eq!(bench.only_change()["action"], "forget");
    bench.apply().ends(0);
    assert!(
        bench.written().iter().all(|write| !write.starts_with("DELETE")),
        "{:#?}",
        bench.written()
    );
    assert!(!bench.core("configmaps/more").is_null());
}

#[test]
fn case_72_what_controllers_make_with_copied_labels_is_never_removed() {
    let Some(bench) = bench("case-72") else { return };
    let with = |more: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: NS}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web, stackup/stack: NS}}}}
    spec: {{containers: [{{name: web, image: registry.test/web}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: NS}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
{more}"
        )
    };
    bench.in_namespace(&with(MORE));
    bench.apply().ends(0);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/NS/endpointslices".replace("NS", &bench.name);
    bench.cluster.until(&slices, |found| {
        found["items"].as_array().is_some_and(|items| !items.is_empty())
    });
    let children = |bench: &Bench| {
        let sets = [
            "--namespace",
            "NS",
            "get",
            "replicasets,pods,endpointslices",
            "--output",
            "name",
        ];
        bench.kubectl(&sets)
    };
    let before = children(&bench);
    assert!(
        before.contains("replicaset.apps/web") && before.contains("pod/web"),
        "{before}"
    );
    bench.in_namespace(&with(""));
    bench.apply().ends(0);
    assert_eq!(bench.written(), ["DELETE configmaps/more"]);
    assert_eq!(children(&bench), before);
}
