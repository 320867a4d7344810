//! Fields that cannot be changed: the object is made anew, and the plan says so first.

use serde_json::json;

use super::bench::{bench, failure};

#[test]
fn case_26_an_immutable_secret_is_replaced_and_its_values_are_never_told() {
    let Some(bench) = bench("case-26") else { return };
    let with = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: password, namespace: NS}}, immutable: true, stringData: {{password: {value}}}}}"
        )
    };
    bench.in_namespace(&with("first-hunter-value"));
    bench.apply().ends(0);
    let before = bench.core("secrets/password")["metadata"]["uid"].clone();
    bench.in_namespace(&with("second-hunter-value"));
    let change = bench.only_change();
    assert_eq!(change["action"], "replace");
    assert!(
        change["forces"].to_string().contains("data"),
        "the field that forces it is named: {change:#}"
    );
    let shown = bench.sandbox.stackup(&["diff", "--full"]).ends(0);
    let run = bench.apply().ends(0);
    for text in [shown.all(), run.all(), change.to_string()] {
        assert!(!text.contains("hunter"), "{text}");
    }
    let live = bench.core("secrets/password");
    assert_ne!(live["metadata"]["uid"], before);
    assert_eq!(live["data"]["password"], "c2Vjb25kLWh1bnRlci12YWx1ZQ==");
    bench.never_stored("hunter-value");
    bench.never_stored("c2Vjb25kLWh1bnRlci12YWx1ZQ==");
    bench.nothing_to_do();
}

#[test]
fn case_26_what_a_binding_grants_cannot_change_so_it_is_made_anew() {
    let Some(bench) = bench("case-26b") else { return };
    let with = |role: &str| {
        format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {{name: b, namespace: NS}}, \
             roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}, \
             subjects: [{{kind: ServiceAccount, name: default, namespace: NS}}]}}"
        )
    };
    bench.in_namespace(&with("view"));
    bench.apply().ends(0);
    bench.in_namespace(&with("edit"));
    let change = bench.only_change();
    assert_eq!(change["action"], "replace");
    assert!(change["forces"].to_string().contains("roleRef"), "{change:#}");
    bench.apply().ends(0);
    assert_eq!(bench.written(), ["DELETE rolebindings/b", "PATCH rolebindings/b"]);
    bench.nothing_to_do();
}

#[test]
fn case_26_a_value_that_the_server_refuses_never_deletes_what_stands() {
    let Some(bench) = bench("case-26c") else { return };
    let with = |policy: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: NS}}, \
             spec: {{selector: {{app: web}}, ports: [{{port: 80}}], sessionAffinity: {policy}}}}}"
        )
    };
    bench.in_namespace(&with("None"));
    bench.apply().ends(0);
    let before = bench.core("services/web")["metadata"]["uid"].clone();
    bench.in_namespace(&with("Sometimes"));
    let run = bench.apply();
    assert!(run.code.is_some_and(|code| code != 0), "{run:?}");
    run.says("sessionAffinity");
    assert_eq!(bench.core("services/web")["metadata"]["uid"], before);
    assert!(
        !bench.written().iter().any(|write| write.starts_with("DELETE")),
        "{:#?}",
        bench.written()
    );
}

#[test]
fn case_27_another_address_makes_a_service_anew_and_no_address_leaves_it() {
    let Some(bench) = bench("case-27") else { return };
    let with = |address: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web, namespace: NS}}, \
             spec: {{selector: {{app: web}}, ports: [{{port: 80}}]{address}}}}}"
        )
    };
    bench.in_namespace(&with(""));
    bench.apply().ends(0);
    let first = bench.core("services/web");
    bench.in_namespace(&with(", clusterIP: None"));
    let change = bench.only_change();
    assert_eq!(
        (&change["action"], &change["forces"]),
        (&json!("replace"), &json!(["spec.clusterIPs[0]"])),
        "{change:#}"
    );
    bench.apply().ends(0);
    let second = bench.core("services/web");
    assert_ne!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(second["spec"]["clusterIP"], "None");
    bench.in_namespace(&with(", clusterIP: None, publishNotReadyAddresses: true"));
    bench.apply().ends(0);
    assert_eq!(
        bench.core("services/web")["metadata"]["uid"],
        second["metadata"]["uid"],
        "an update in place"
    );
}

#[test]
fn case_28_what_cannot_be_made_again_fails_by_name_and_the_next_run_makes_it() {
    let Some(bench) = bench("case-28") else { return };
    let with = |value: &str| {
        format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: fixed, namespace: NS}}, immutable: true, data: {{a: {value}}}}}"
        )
    };
    bench.in_namespace(&with("one"));
    bench.apply().ends(0);
    bench.in_namespace(&with("two"));
    let makes = |sent: &crate::support::proxy::Sent| sent.method == "PATCH" && sent.writes();
    bench
        .proxy
        .inject(crate::support::proxy::Fault::Status(403), 0, 100, makes);
    let run = bench.apply().ends(1);
    failure(&run, &format!("k8s/{}/ConfigMap/fixed", bench.name));
    bench.proxy.mend();
    bench.apply().ends(0);
    assert_eq!(bench.core("configmaps/fixed")["data"]["a"], "two");
    bench.nothing_to_do();
}
