//! What goes wrong is named, and stops no more than it must.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    bench::{bench, failure, told},
    order::widget,
};
use crate::support::{
    cluster::Cluster,
    proxy::{Fault, Sent},
};

fn object(name: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: NS{more}}}, data: {{a: b}}}}\n---\n"
    )
}

#[test]
fn case_09_a_namespace_that_is_not_there_is_named_and_nothing_is_made_in_it() {
    let Some(bench) = bench("case-09") else { return };
    bench.manifests(&object("settings", ""));
    let run = bench.apply().ends(1);
    let why = failure(&run, &format!("k8s/{}/ConfigMap/settings", bench.name));
    assert!(
        why.contains(&format!("make the namespace {} part of the stack", bench.name)),
        "{why}"
    );
    assert!(bench.live("/api/v1/namespaces/NS").is_null());
    // Once it is part of the stack, the same command goes on.
    bench.in_namespace(&object("settings", ""));
    bench.apply().ends(0);
    assert!(!bench.core("configmaps/settings").is_null());
}

#[test]
fn case_10_whether_an_object_needs_a_namespace_is_known_from_the_definition_beside_it() {
    let Some(bench) = bench("case-10") else { return };
    let (definition, widget) = widget("case10.test");
    bench.manifests(&format!("{definition}{}", widget.replace(", namespace: NS", "")));
    bench
        .apply()
        .ends(2)
        .says("has no namespace")
        .says("app/app.yaml:17:");
    bench.manifests(&format!(
        "{}{widget}",
        definition.replace("Namespaced", "Cluster")
    ));
    bench.apply().ends(2).says("a Widget belongs to no namespace");
    assert!(bench.proxy.sent().is_empty(), "nothing was even asked");
}

#[test]
fn case_29_an_object_that_appears_after_the_plan_was_made_is_not_merged_into() {
    let Some(bench) = bench("case-29") else { return };
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.kubectl_with(
        &object("late", "").replace("{a: b}", "{theirs: theirs}"),
        &["create"],
    );
    bench.manifests(&[object("first", ""), object("late", "")].concat());
    // To whoever plans it is not there yet.
    let look = |sent: &Sent| sent.method == "GET" && sent.path.ends_with("/configmaps/late");
    bench.proxy.inject(Fault::Status(404), 0, 1, look);
    let run = bench.apply().ends(1);
    let why = failure(&run, &format!("k8s/{}/ConfigMap/late", bench.name));
    assert!(
        why.contains("it exists meanwhile") && why.contains("kubectl-create"),
        "{why}"
    );
    assert_eq!(
        bench.core("configmaps/late")["data"],
        json!({"theirs": "theirs"}),
        "it is left as it is"
    );
    // The server itself refuses, whoever is quicker; nothing was sent after that.
    let late: Vec<_> = bench
        .writes()
        .into_iter()
        .filter(|sent| sent.path.ends_with("/late"))
        .collect();
    assert!(
        matches!(late.as_slice(), [one] if one.status == Some(409)),
        "{late:?}"
    );
    assert_eq!(bench.written().len(), 2);
}

#[test]
fn case_45_a_delete_that_is_denied_stays_remembered_until_it_is_allowed() {
    let Some(bench) = bench("case-45") else { return };
    bench.in_namespace(&[object("a", ""), object("b", "")].concat());
    bench.apply().ends(0);
    bench.in_namespace(&object("a", ""));
    bench
        .proxy
        .inject(Fault::Status(403), 0, 100, |sent| sent.method == "DELETE");
    let run = bench.apply().ends(1);
    failure(&run, &format!("k8s/{}/ConfigMap/b", bench.name));
    assert!(bench.remembered().contains(&"k8s/NS/ConfigMap/b".to_owned()));
    bench.proxy.mend();
    bench.apply().ends(0);
    assert!(!bench.remembered().contains(&"k8s/NS/ConfigMap/b".to_owned()));
    assert!(bench.core("configmaps/b").is_null());
}

#[test]
fn case_55_independent_branches_are_completed_and_what_needs_the_failed_one_is_not() {
    let Some(bench) = bench("case-55") else { return };
    let broken = "{apiVersion: v1, kind: Service, metadata: {name: broken, namespace: NS}, \
                  spec: {ports: [{port: 80}], sessionAffinity: Sometimes}}\n---\n";
    let needs = |on: &str| format!(", annotations: {{stackup/needs: {on}}}");
    bench.in_namespace(&format!(
        "{}{broken}{}{}{}",
        object("alone", ""),
        object("child", &needs("k8s/NS/Service/broken")),
        object("grandchild", &needs("k8s/NS/ConfigMap/child")),
        object("after", &needs("k8s/NS/ConfigMap/alone")),
    ));
    let run = bench.apply().ends(1);
    let address = |name: &str| format!("k8s/{}/{name}", bench.name);
    assert!(failure(&run, &address("Service/broken")).contains("sessionAffinity"));
    for done in ["alone", "after"] {
        assert!(!bench.core(&format!("configmaps/{done}")).is_null(), "{done}");
    }
    for left in ["child", "grandchild"] {
        assert!(bench.core(&format!("configmaps/{left}")).is_null(), "{left}");
    }
    let skipped = told(&run, "stepSkipped");
    assert_eq!(skipped.len(), 2, "{skipped:#?}");
    assert!(
        skipped
            .iter()
            .all(|told| told["because"] == address("Service/broken")),
        "{skipped:#?}"
    );
    let finished = &told(&run, "runFinished")[0];
    assert_eq!(
        (&finished["failed"], &finished["skipped"]),
        (&json!(1), &json!(2)),
        "{finished}"
    );
}

#[test]
fn case_63_a_definition_that_is_refused_stops_its_objects_and_no_others() {
    let Some(bench) = bench("case-63") else { return };
    let (definition, widget) = widget("case63.test");
    let invalid = definition.replace(
        "        type: object\n        properties",
        "        type: sometimes\n        properties",
    );
    bench.in_namespace(&format!("{invalid}{widget}{}", object("alone", "")));
    let run = bench.apply().ends(1);
    failure(&run, "k8s/CustomResourceDefinition/widgets.case63.test");
    assert_eq!(told(&run, "stepSkipped").len(), 1);
    assert!(!bench.core("configmaps/alone").is_null());
    bench.in_namespace(&format!("{definition}{widget}{}", object("alone", "")));
    bench.apply().ends(0);
    assert_eq!(
        bench.written(),
        [
            "PATCH customresourcedefinitions/widgets.case63.test",
            "PATCH widgets/w"
        ]
    );
    bench.destroy().ends(0);
}

#[test]
fn case_64_all_mistakes_of_all_manifests_are_told_at_once_and_nothing_is_made() {
    let Some(bench) = bench("case-64") else { return };
    bench.in_namespace("{kind: ConfigMap, metadata: {name: a, namespace: NS}}\n");
    bench.file(
        "app/more.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n---\n{apiVersion: v1, kind: Secret}\n",
    );
    let run = bench.apply().ends(2).says("2 mistakes");
    let run = run
        .says("app/app.yaml:5:1: object has no apiVersion")
        .says("app/more.yaml:5:1: ");
    assert!(run.stdout.is_empty() && bench.proxy.sent().is_empty(), "{run:?}");
    // Then what the objects say of each other.
    bench.in_namespace(&[object("a", ""), object("a", "")].concat());
    bench.file(
        "app/more.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
    );
    let run = bench
        .apply()
        .ends(2)
        .says("2 mistakes")
        .says("app/app.yaml:7:")
        .says("is given twice");
    let run = run.says("app/more.yaml:3:18: ConfigMap b has no namespace");
    assert!(run.stdout.is_empty() && bench.proxy.sent().is_empty(), "{run:?}");
    assert!(bench.live("/api/v1/namespaces/NS").is_null());
}

/// An API whose server does not exist; while it stands, no namespace can be deleted.
struct DeadApi(&'static Cluster);

impl DeadApi {
    const NAME: &str = "v1.case66.test";

    fn wait(&self) {
        let available = |api: &serde_json::Value| {
            let conditions = api["status"]["conditions"].as_array();
            conditions.is_some_and(|all| {
                all.iter()
                    .any(|one| one["type"] == "Available" && one["status"] == "False")
            })
        };
        self.0.until(
            &format!("/apis/apiregistration.k8s.io/v1/apiservices/{}", Self::NAME),
            available,
        );
    }
}

impl Drop for DeadApi {
    fn drop(&mut self) {
        let mut kubectl = self.0.kubectl_command();
        kubectl
            .args(["delete", "apiservice", Self::NAME])
            .stdout(Stdio::null());
        assert!(kubectl.status().unwrap().success());
    }
}

#[test]
fn case_66_an_api_without_a_backend_disturbs_nothing_that_does_not_use_it() {
    let Some(bench) = bench("case-66") else { return };
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.kubectl_with(
        "apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.case66.test}
spec:
  group: case66.test
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 10
  insecureSkipTLSVerify: true
  service: {name: nothing, namespace: NS}
",
        &["create"],
    );
    let dead = DeadApi(bench.cluster);
    dead.wait();
    let (definition, widget) = widget("case66b.test");
    bench.manifests(&format!("{definition}{widget}{}", object("settings", "")));
    let begun = Instant::now();
    assert_eq!(bench.diff()["summary"]["create"], 3);
    bench.apply().ends(0);
    bench.nothing_to_do();
    bench.destroy().ends(0);
    drop(dead);
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    assert!(bench.core("configmaps/settings").is_null());
}
