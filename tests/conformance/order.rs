//! What is written when: objects after what they need, removals the other way round.

use serde_json::json;

use super::bench::{bench, told};

/// A definition and an object of its type; `WIDGETS` stands for the plural, which only one test uses.
pub(super) fn widget(group: &str) -> (String, String) {
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets, singular: widget, listKind: WidgetList}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {{spec: {{type: object, properties: {{size: {{type: integer}}}}}}}}
---
"
    );
    let object = format!(
        "{{apiVersion: {group}/v1, kind: Widget, metadata: {{name: w, namespace: NS}}, spec: {{size: 1}}}}\n---\n"
    );
    (definition, object)
}

const WORKLOAD: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers: [{name: web, image: 'registry.test/web:1', envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: password}}]}]
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: b}}
---
{apiVersion: v1, kind: Secret, metadata: {name: password, namespace: NS}, stringData: {a: b}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: NS}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: NS}}
";

#[test]
fn case_01_each_object_is_written_after_what_it_needs() {
    let Some(bench) = bench("case-01") else { return };
    bench.manifests(WORKLOAD);
    bench.apply().ends(0);
    assert_eq!(
        bench.written().len(),
        5,
        "each object is written once: {:#?}",
        bench.written()
    );
    let namespace = bench.place("PATCH namespaces/NS");
    let workload = bench.place("PATCH deployments/web");
    for needed in [
        "PATCH configmaps/settings",
        "PATCH secrets/password",
        "PATCH serviceaccounts/web",
    ] {
        assert!(
            namespace < bench.place(needed) && bench.place(needed) < workload,
            "{needed}: {:#?}",
            bench.written()
        );
    }
}

#[test]
fn case_03_a_circle_is_told_whole_and_nothing_is_written() {
    let Some(bench) = bench("case-03") else { return };
    let object = |name: &str, needs: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: NS, \
             annotations: {{stackup/needs: k8s/NS/ConfigMap/{needs}}}}}}}\n---\n"
        )
    };
    bench.in_namespace(&[object("a", "b"), object("b", "c"), object("c", "a")].concat());
    let run = bench.apply().ends(2);
    let circle = ["a", "b", "c", "a"]
        .map(|name| format!("k8s/{}/ConfigMap/{name}", bench.name))
        .join(" needs ");
    let run = run.says(&circle).says("app/app.yaml:");
    assert!(run.stdout.is_empty(), "no run has begun: {}", run.stdout);
    assert!(bench.proxy.sent().is_empty(), "the server is not even asked");
}

#[test]
fn case_04_what_is_removed_goes_before_what_it_needed() {
    let Some(bench) = bench("case-04") else { return };
    let (definition, widget) = widget("case04.test");
    let account = "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: NS}}";
    bench.in_namespace(&format!("{definition}{widget}{account}"));
    bench.apply().ends(0);
    bench.destroy().ends(0);
    let definition = bench.place("DELETE customresourcedefinitions/widgets.case04.test");
    let namespace = bench.place("DELETE namespaces/NS");
    assert!(
        bench.place("DELETE widgets/w") < definition,
        "{:#?}",
        bench.written()
    );
    assert!(
        bench.place("DELETE widgets/w") < namespace,
        "{:#?}",
        bench.written()
    );
    assert!(
        bench.place("DELETE serviceaccounts/a") < namespace,
        "{:#?}",
        bench.written()
    );
    assert!(
        bench.live("/api/v1/namespaces/NS").is_null(),
        "destroy waits until the namespace has gone"
    );
    assert!(
        !bench.sandbox.path(".stackup").exists(),
        "nothing is left of the stack"
    );
}

#[test]
fn case_05_an_object_may_stand_before_the_definition_of_its_type() {
    let Some(bench) = bench("case-05") else { return };
    let (definition, widget) = widget("case05.test");
    bench.in_namespace(&format!("{widget}{definition}"));
    bench.apply().ends(0);
    let live = bench.live("/apis/case05.test/v1/namespaces/NS/widgets/w");
    assert_eq!(live["spec"]["size"], 1);
    assert!(
        bench.place("PATCH customresourcedefinitions/widgets.case05.test") < bench.place("PATCH widgets/w")
    );
    let remembered = bench.remembered();
    for address in [
        "k8s/CustomResourceDefinition/widgets.case05.test",
        "k8s/NS/Widget/w",
        "k8s/Namespace/NS",
    ] {
        assert!(
            remembered.iter().any(|known| known == address),
            "{address}: {remembered:?}"
        );
    }
    bench.nothing_to_do();
    bench.destroy().ends(0);
    assert!(
        bench
            .live("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.case05.test")
            .is_null()
    );
}

#[test]
fn case_06_components_stand_in_the_order_of_their_needs_and_fall_in_reverse() {
    let Some(bench) = bench("case-06") else { return };
    bench.stack(
        "components:\n- {name: third, manifests: third, dependsOn: [second]}\n- {name: second, manifests: second, \
         dependsOn: [first]}\n- {name: first, manifests: first}\n",
    );
    let object = |name: &str| {
        format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: NS}}}}")
    };
    bench.file(
        "first/first.yaml",
        &format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: NS}}}}\n---\n{}",
            object("first")
        ),
    );
    bench.file("second/second.yaml", &object("second"));
    bench.file("third/third.yaml", &object("third"));
    let names = |run, event: &str| -> Vec<String> {
        let all = told(run, event)
            .into_iter()
            .map(|told| told["address"].as_str().unwrap().to_owned());
        all.filter(|address| address.contains("/ConfigMap/"))
            .map(|address| address.replace(&bench.name, "NS"))
            .collect()
    };
    let run = bench.apply().ends(0);
    let order = ["first", "second", "third"].map(|name| format!("k8s/NS/ConfigMap/{name}"));
    assert_eq!(names(&run, "stepStarted"), order);
    assert_eq!(names(&run, "stepFinished"), order);
    let run = bench.destroy().ends(0);
    let mut reverse = order;
    reverse.reverse();
    assert_eq!(names(&run, "stepFinished"), reverse);
}

#[test]
fn case_07_one_changed_field_is_one_update_with_its_field_its_old_and_its_new_value() {
    let Some(bench) = bench("case-07") else { return };
    bench.manifests(WORKLOAD);
    bench.apply().ends(0);
    bench.manifests(&WORKLOAD.replace(
        "{a: b}}\n---\n{apiVersion: v1, kind: Secret",
        "{a: c}}\n---\n{apiVersion: v1, kind: Secret",
    ));
    let change = bench.only_change();
    assert_eq!(change["action"], "update");
    assert_eq!(
        change["address"],
        format!("k8s/{}/ConfigMap/settings", bench.name)
    );
    assert_eq!(
        change["fields"],
        json!([{"path": "data.a", "old": {"is": "value", "value": "b"}, "new": {"is": "value", "value": "c"}}])
    );
    bench.apply().ends(0);
    assert_eq!(
        bench.written(),
        ["PATCH configmaps/settings"],
        "and nothing else is written"
    );
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "c");
    bench.nothing_to_do();
}
