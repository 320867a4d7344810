//! How objects are written, and what others wrote before.

use serde_json::{Value, json};

use super::bench::{Bench, bench};

const SETTINGS: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: b}}\n";

/// Fields that the server fills in are left out, in each way in which people do so.
const DEFAULTED: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NS}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: registry.test/web
        ports: [{containerPort: 80}]
        env: [{name: EMPTY}, {name: TEXT, value: ''}]
        resources: {requests: {cpu: '0.5', memory: 1024Mi}, limits: {cpu: 1000m}}
        readinessProbe: {httpGet: {port: 80}}
      volumes: [{name: scratch, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: NS, annotations: {}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: NS}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}, creationTimestamp: null}
    spec: {containers: [{name: agent, image: 'registry.test/agent:1'}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, namespace: NS}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly, namespace: NS}
spec:
  schedule: '0 3 * * *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: job, image: registry.test/job}]}}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: NS}
roleRef: {kind: Role, name: reader, apiGroup: rbac.authorization.k8s.io}
subjects: [{kind: ServiceAccount, name: default}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: NS}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
";

/// The resource version of every object of these types in the namespace, by name.
fn versions(bench: &Bench) -> Vec<(String, Value)> {
    let types = "configmaps,secrets,deployments,daemonsets,services,ingresses,cronjobs,roles,rolebindings";
    let listed = bench.kubectl(&["--namespace", "NS", "get", types, "--output", "json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let items = listed["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let metadata = &item["metadata"];
            (
                format!("{} {}", item["kind"], metadata["name"]),
                json!([metadata["resourceVersion"], metadata["generation"]]),
            )
        })
        .collect()
}

#[test]
fn case_11_what_is_written_is_ours_by_name_and_holds_no_copy_of_itself() {
    let Some(bench) = bench("case-11") else { return };
    bench.in_namespace(SETTINGS);
    bench.apply().ends(0);
    let live = bench.core("configmaps/settings");
    let fields = live["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(fields.len(), 1, "{fields:#?}");
    assert_eq!(
        (&fields[0]["manager"], &fields[0]["operation"]),
        (&json!("stackup"), &json!("Apply"))
    );
    let annotations = live["metadata"]["annotations"].as_object().unwrap();
    assert!(annotations.contains_key("stackup/owner"));
    assert!(
        !annotations.keys().any(|name| name.contains("last-applied")),
        "{annotations:?}"
    );
}

#[test]
fn case_12_a_second_apply_leaves_every_resource_version_and_sends_no_write() {
    let Some(bench) = bench("case-12") else { return };
    bench.in_namespace(&format!("{SETTINGS}---\n{}", DEFAULTED.trim_start()));
    bench.apply().ends(0);
    let before = versions(&bench);
    bench.apply().ends(0);
    assert_eq!(bench.written(), Vec::<String>::new());
    let dry_runs = bench
        .proxy
        .sent()
        .iter()
        .filter(|sent| sent.method != "GET")
        .count();
    assert_eq!(dry_runs, 0, "what has not changed costs no dry run either");
    assert_eq!(versions(&bench), before);
}

#[test]
fn case_13_fields_that_the_server_fills_in_are_no_difference() {
    let Some(bench) = bench("case-13") else { return };
    bench.in_namespace(DEFAULTED);
    bench.apply().ends(0);
    bench.nothing_to_do();
    // The same without memory: every object is compared by a dry run of the server.
    let state = bench.sandbox.read(&format!(".stackup/{}/state.json", bench.name));
    bench.in_namespace(&DEFAULTED.replace("registry.test/agent:1", "registry.test/agent:2"));
    bench.diff();
    bench
        .in_namespace(&DEFAULTED.replace("\nmetadata: {name: web, ", "\nmetadata: {labels: {}, name: web, "));
    bench.nothing_to_do();
    assert_eq!(
        bench.sandbox.read(&format!(".stackup/{}/state.json", bench.name)),
        state,
        "a diff changes no state"
    );
}

#[test]
fn case_13_an_agent_on_every_node_does_not_differ_once_its_pods_are_placed() {
    let Some(bench) = bench("case-13b") else { return };
    bench.in_namespace(DEFAULTED);
    bench.apply().ends(0);
    let status = bench.live("/apis/apps/v1/namespaces/NS/daemonsets/agent")["status"].clone();
    assert_eq!(status["desiredNumberScheduled"], status["numberReady"]);
    assert!(status["numberReady"].as_u64().unwrap() >= 1, "{status}");
    bench.nothing_to_do();
}

#[test]
fn case_14_what_kubectl_wrote_and_we_took_over_can_be_removed_field_by_field() {
    let Some(bench) = bench("case-14") else { return };
    let ours = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: b, old: value}}";
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.kubectl_with(ours, &["apply"]);
    bench.manifests(ours);
    bench.sandbox.stackup(&["apply", "--yes", "--adopt"]).ends(0);
    bench.manifests(SETTINGS);
    let change = bench.only_change();
    assert_eq!(change["action"], "update");
    assert_eq!(change["fields"][0]["path"], "data.old", "{change:#}");
    assert_eq!(change["fields"][0]["new"], json!({"is": "absent"}));
    bench.apply().ends(0);
    let live = bench.core("configmaps/settings");
    assert_eq!(live["data"], json!({"a": "b"}), "the field has really gone");
    bench.nothing_to_do();
}

#[test]
fn case_15_taking_over_what_kubectl_wrote_survives_writes_of_others_in_between() {
    let Some(bench) = bench("case-15") else { return };
    bench.kubectl(&["create", "namespace", "NS"]);
    bench.kubectl_with(SETTINGS, &["apply"]);
    bench.manifests(&SETTINGS.replace("{a: b}", "{a: c}"));
    let writes = |sent: &crate::support::proxy::Sent| sent.method == "PATCH" && sent.writes();
    bench
        .proxy
        .inject(crate::support::proxy::Fault::Status(409), 0, 2, writes);
    bench.sandbox.stackup(&["apply", "--yes", "--adopt"]).ends(0);
    bench.proxy.mend();
    let live = bench.core("configmaps/settings");
    assert_eq!(live["data"]["a"], "c");
    let managers = live["metadata"]["managedFields"].as_array().unwrap();
    assert!(
        managers.iter().all(|entry| entry["manager"] == "stackup"),
        "{managers:#?}"
    );
    bench.apply().ends(0);
    assert_eq!(
        bench.written(),
        Vec::<String>::new(),
        "the second run finds nothing to do"
    );
}

#[test]
fn case_18_a_field_of_another_manager_is_named_and_never_forced() {
    let Some(bench) = bench("case-18") else { return };
    bench.in_namespace(SETTINGS);
    bench.apply().ends(0);
    let theirs =
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: NS}, data: {a: theirs}}";
    bench.kubectl_with(
        theirs,
        &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=platform-team",
        ],
    );
    let change = bench.only_change();
    assert_eq!(change["action"], "conflict");
    assert_eq!(
        change["conflicts"],
        json!([{"path": "data.a", "manager": "platform-team",
            "theirs": {"is": "value", "value": "theirs"}, "ours": {"is": "value", "value": "b"}}])
    );
    let run = bench.sandbox.stackup(&["apply", "--yes"]).ends(6);
    run.says("data.a").says("platform-team");
    assert_eq!(bench.core("configmaps/settings")["data"]["a"], "theirs");
    assert!(bench.writes().is_empty(), "{:#?}", bench.written());
    assert!(
        !bench
            .proxy
            .sent()
            .iter()
            .any(|sent| sent.query.contains("force=true") && sent.writes())
    );
}

#[test]
fn case_22_the_number_of_replicas_that_an_autoscaler_set_stays() {
    let Some(bench) = bench("case-22") else { return };
    let with = |image: &str| {
        format!(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: NS}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: web, image: '{image}'}}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: web, namespace: NS}}
spec: {{scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}, minReplicas: 1, maxReplicas: 5}}
"
        )
    };
    let path = "/apis/apps/v1/namespaces/NS/deployments/web";
    bench.in_namespace(&with("registry.test/web:1"));
    bench.apply().ends(0);
    assert_eq!(
        bench.live(path)["spec"]["replicas"],
        2,
        "at first it is what the manifest says"
    );
    bench.kubectl(&["--namespace", "NS", "scale", "deployment/web", "--replicas=4"]);
    bench.nothing_to_do();
    bench.in_namespace(&with("registry.test/web:2"));
    let change = bench.only_change();
    assert_eq!(
        change["fields"].as_array().unwrap().len(),
        1,
        "only the image differs: {change:#}"
    );
    bench.apply().ends(0);
    let live = bench.live(path);
    assert_eq!(live["spec"]["replicas"], 4);
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.test/web:2"
    );
}

#[test]
fn case_24_a_definition_larger_than_an_annotation_may_be_is_applied_once() {
    let Some(bench) = bench("case-24") else { return };
    let long = "A sentence about this field which is there to be long. ".repeat(12);
    let fields: Vec<String> = (0..700)
        .map(|n| format!("                field{n}: {{type: string, description: '{long}'}}\n"))
        .collect();
    let fields = fields.concat();
    let definition = format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: larges.case24.test}}
spec:
  group: case24.test
  scope: Namespaced
  names: {{kind: Large, plural: larges, singular: large, listKind: LargeList}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
{fields}"
    );
    assert!(definition.len() > 480_000, "{} bytes", definition.len());
    bench.manifests(&definition);
    bench.apply().ends(0);
    let live = bench.live("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/larges.case24.test");
    let annotations = live["metadata"]["annotations"].as_object().unwrap();
    assert!(
        annotations
            .values()
            .all(|value| value.as_str().unwrap().len() < 1000),
        "{:?}",
        annotations.keys()
    );
    bench.apply().ends(0);
    assert_eq!(bench.written(), Vec::<String>::new());
    bench.destroy().ends(0);
}

#[test]
fn case_25_lists_are_taken_apart_and_each_item_is_remembered() {
    let Some(bench) = bench("case-25") else { return };
    bench.in_namespace(
        "
apiVersion: v1
kind: ConfigMapList
items:
- {metadata: {name: one, namespace: NS}, data: {a: b}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: two, namespace: NS}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleList
items:
- {metadata: {name: reader, namespace: NS}, rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ServiceAccount, metadata: {name: three, namespace: NS}}
",
    );
    bench.apply().ends(0);
    let remembered = bench.remembered();
    for address in [
        "ConfigMap/one",
        "ConfigMap/two",
        "Role/reader",
        "ServiceAccount/three",
    ] {
        assert!(
            remembered.contains(&format!("k8s/NS/{address}")),
            "{address}: {remembered:?}"
        );
    }
    assert_eq!(
        remembered.len(),
        6,
        "with the namespace and the cluster: {remembered:?}"
    );
    assert_eq!(bench.core("configmaps/one")["data"]["a"], "b");
    bench.nothing_to_do();
}

#[test]
fn case_19_a_null_is_the_same_as_nothing() {
    let Some(bench) = bench("case-19") else { return };
    let with = |replicas: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: NS, annotations: null, labels: {{a: b}}}}
spec:
  replicas: {replicas}
  strategy: null
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: null}}
    spec: {{containers: [{{name: web, image: registry.test/web, resources: null}}], volumes: null}}
"
        )
    };
    let replicas = || bench.live("/apis/apps/v1/namespaces/NS/deployments/web")["spec"]["replicas"].clone();
    bench.in_namespace(&with("2"));
    bench.apply().ends(0);
    bench.nothing_to_do();
    assert_eq!(replicas(), 2);
    bench.in_namespace(&with("null"));
    assert_eq!(bench.only_change()["fields"][0]["path"], "spec.replicas");
    bench.apply().ends(0);
    assert_eq!(replicas(), 1, "the server's own default");
    bench.nothing_to_do();
}

#[test]
fn case_21_a_certificate_that_someone_injected_stays() {
    let Some(bench) = bench("case-21") else { return };
    let with = |seconds: u32| {
        format!(
            "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: NS}}
webhooks:
- name: check.case21.test
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  timeoutSeconds: {seconds}
  clientConfig: {{service: {{name: none, namespace: default}}}}
  rules: [{{apiGroups: [case21.test], apiVersions: [v1], operations: [CREATE], resources: [nothings]}}]
"
        )
    };
    bench.manifests(&with(1));
    bench.apply().ends(0);
    let injected = r#"[{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "aW5qZWN0ZWQ="}]"#;
    let object = "validatingwebhookconfiguration/NS";
    bench.kubectl(&[
        "patch",
        object,
        "--field-manager=injector",
        "--type=json",
        "--patch",
        injected,
    ]);
    bench.nothing_to_do();
    bench.manifests(&with(2));
    assert_eq!(bench.only_change()["fields"].as_array().unwrap().len(), 1);
    bench.apply().ends(0);
    let live = bench.live("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/NS");
    assert_eq!(live["webhooks"][0]["clientConfig"]["caBundle"], "aW5qZWN0ZWQ=");
    assert_eq!(live["webhooks"][0]["timeoutSeconds"], 2);
    bench.destroy().ends(0);
}

#[test]
fn case_70_what_has_not_changed_costs_requests_by_type_and_not_by_object() {
    let Some(bench) = bench("case-70") else { return };
    let objects = (0..120).map(|number| SETTINGS.replace("settings", &format!("settings-{number}")));
    bench.in_namespace(&objects.collect::<Vec<_>>().join("---\n"));
    bench.apply().ends(0);
    let writes = bench.written().len();
    assert_eq!(writes, 121, "one write an object");
    bench.apply().ends(0);
    let requests = bench.proxy.sent();
    assert!(requests.len() < 20, "{requests:#?}");
    assert!(requests.iter().all(|sent| sent.method == "GET"));
}

#[test]
fn a_renewed_authority_reaches_what_trusts_it_in_the_same_apply() {
    let Some(bench) = bench("renewed") else { return };
    let made_for = |name: &str| {
        let keys = "{ca: ca, certificate: cert, privateKey: key}";
        let certificate = format!("{{dnsNames: [{name}.NS.svc], keys: {keys}}}");
        let hook = "ValidatingWebhookConfiguration/NS";
        bench.file(
            "app/component.yaml",
            &format!("generate:\n- {{secret: s, certificate: {certificate}, caBundleOf: [{hook}]}}\n"),
        );
    };
    bench.in_namespace(
        "apiVersion: v1
kind: Secret
metadata: {name: s, namespace: NS}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: NS}
webhooks:
- name: check.renewed.test
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Ignore
  clientConfig: {service: {name: none, namespace: NS}}
  rules: [{apiGroups: [renewed.test], apiVersions: [v1], operations: [CREATE], resources: [nothings]}]
",
    );
    let authority = || {
        let hook = bench.live("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/NS");
        let trusted = hook["webhooks"][0]["clientConfig"]["caBundle"].clone();
        assert_eq!(trusted, bench.core("secrets/s")["data"]["ca"]);
        assert!(trusted.as_str().is_some_and(|text| !text.is_empty()));
        trusted
    };
    made_for("one");
    bench.apply().ends(0);
    let first = authority();
    bench.nothing_to_do();
    made_for("other");
    bench.apply().ends(0);
    assert_ne!(authority(), first);
    bench.nothing_to_do();
    bench.destroy().ends(0);
}
