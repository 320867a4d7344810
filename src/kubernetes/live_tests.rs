//! Against a real API server: they run if `STACKUP_TEST_KUBECONFIG` names the kubeconfig of a cluster that may be
//! written to (a kwok cluster with a node), and say that they are skipped otherwise. Each has namespaces of its own.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::Engine;
use futures::StreamExt;
use http::Method;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

use super::{
    Cluster, Clusters,
    client::Sent,
    item::{Item, OWNER, STACK},
    kinds,
    observe::is_settled,
};
use crate::{
    model::{Address, Secret, Shown},
    resource::{Cause, Kind, Live, Observed, Readiness, Reference, Remembered, ResourceError, Stack, Target},
};

const CLUSTER: &str = "existing.cluster/test";
/// Held by a test that removes claims and load balancers of the whole cluster, and by those that have some.
static OUTSIDE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Bench {
    kind: Arc<dyn Kind>,
    clusters: Arc<Clusters>,
    cluster: Arc<Cluster>,
    outputs: Value,
    stack: Arc<Stack>,
    namespace: String,
    warnings: Arc<Mutex<Vec<String>>>,
}

/// A bench with a namespace of this name in it, or nothing if there is no cluster to test on.
async fn bench(name: &str) -> Option<Bench> {
    let Some(kubeconfig) = std::env::var_os("STACKUP_TEST_KUBECONFIG").map(PathBuf::from) else {
        eprintln!("skipped: STACKUP_TEST_KUBECONFIG is not set");
        return None;
    };
    let context = Kubeconfig::read_from(&kubeconfig)
        .unwrap()
        .current_context
        .unwrap();
    let outputs =
        json!({"kubeconfig": kubeconfig, "context": context, "profile": "kwok", "ephemeral": false});
    let warnings = Arc::new(Mutex::new(Vec::new()));
    let clusters = Clusters::new(
        "/".into(),
        Secret::new(vec![1, 2, 3]),
        {
            let warnings = Arc::clone(&warnings);
            Arc::new(move |text| warnings.lock().unwrap().push(text))
        },
        None,
    );
    let cluster = clusters.cluster(&outputs).await.unwrap();
    let moment = super::clock::now().as_millisecond();
    let bench = Bench {
        kind: kinds(&clusters, None).pop().unwrap(),
        clusters,
        cluster,
        outputs,
        stack: Arc::new(Stack {
            name: format!("{name}-{moment}"),
            uid: format!("uid-{name}-{moment}"),
        }),
        namespace: format!("{name}-{moment}"),
        warnings,
    };
    let namespace =
        bench.target(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": bench.namespace}}));
    bench.apply(&namespace).await.unwrap();
    Some(bench)
}

impl Bench {
    fn target(&self, object: Value) -> Target {
        self.target_with(object, json!({}))
    }

    fn target_with(&self, mut object: Value, more: Value) -> Target {
        let namespaced = !matches!(
            object["kind"].as_str().unwrap(),
            "Namespace" | "CustomResourceDefinition" | "ClusterRole" | "ClusterRoleBinding"
        );
        if namespaced && object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(self.namespace);
        }
        object["metadata"]["labels"][STACK] = json!(self.stack.name);
        let address = Address::new(
            "k8s",
            &format!(
                "{}/{}/{}",
                object["metadata"]["namespace"].as_str().unwrap_or("-"),
                object["kind"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap()
            ),
        );
        let cluster = Address::parse(CLUSTER).unwrap();
        let mut inputs =
            json!({"cluster": Reference::whole(&cluster), "object": object, "namespaced": namespaced});
        let identity = self.kind.identity(&self.stack, &address, &inputs).unwrap();
        inputs["cluster"] = self.outputs.clone();
        inputs
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        Target {
            stack: Arc::clone(&self.stack),
            address,
            identity,
            input_hash: inputs.to_string(),
            inputs: Some(Arc::new(inputs)),
            remembered: None,
            outputs: BTreeMap::from([(cluster, Arc::new(self.outputs.clone()))]),
            generation: 0,
            adopt: false,
        }
    }

    async fn look(&self, target: &Target) -> Result<Observed, ResourceError> {
        self.kind
            .observe(std::slice::from_ref(target))
            .await
            .pop()
            .unwrap()
    }

    async fn live(&self, target: &Target) -> Live {
        self.look(target)
            .await
            .unwrap()
            .live()
            .expect("it stands")
            .clone()
    }

    /// What the engine does: looks, makes or changes, and remembers.
    async fn apply(&self, target: &Target) -> Result<Target, ResourceError> {
        let made = match self.look(target).await? {
            Observed::Absent => self.kind.create(target).await?,
            Observed::Live(_) => self.kind.update(target).await?,
        };
        Ok(remembering(target, &made.live.unwrap()))
    }

    async fn get(&self, target: &Target) -> Value {
        let item = Item::read(target).unwrap();
        let path = item.path(&self.cluster).await.unwrap();
        self.cluster.get(&path).await.unwrap()
    }

    /// Someone else writes: a JSON patch as an update by this manager.
    async fn edit(&self, target: &Target, manager: &str, patch: Value) {
        let path = Item::read(target).unwrap().path(&self.cluster).await.unwrap();
        let path = format!("{path}?fieldManager={manager}");
        let sent = Sent::JsonPatch(&patch);
        self.cluster.call(Method::PATCH, &path, sent).await.unwrap();
    }

    /// Someone else applies.
    async fn apply_as(&self, target: &Target, manager: &str, object: Value) {
        let path = Item::read(target).unwrap().path(&self.cluster).await.unwrap();
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.cluster
            .call(Method::PATCH, &path, Sent::Apply(&object))
            .await
            .unwrap();
    }

    fn settled(&self, target: &Target, live: &Value) -> bool {
        let item = Item::read(target).unwrap();
        is_settled(&item, live, item.settled(&self.clusters, live).as_deref())
    }

    /// Follows a watch until it says that the object can be used, or that it is gone.
    async fn wait(&self, target: &Target) -> Vec<Observed> {
        let mut seen = Vec::new();
        let mut watch = self.kind.watch(target).unwrap();
        let all = async {
            while let Some(observed) = watch.next().await {
                let observed = observed.unwrap();
                let over = observed
                    .live()
                    .is_none_or(|live| !matches!(live.readiness, Readiness::NotYet(_)));
                seen.push(observed);
                if over {
                    return;
                }
            }
        };
        let ended = tokio::time::timeout(Duration::from_mins(1), all).await;
        assert!(ended.is_ok(), "never ready: {seen:?}");
        seen
    }

    async fn end(self) {
        let namespace = self
            .target(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}));
        let namespace = remembering(&namespace, &self.live(&namespace).await);
        self.kind.delete(&forgotten(&namespace)).await.unwrap();
    }
}

fn remembering(target: &Target, live: &Live) -> Target {
    Target {
        remembered: Some(Arc::new(Remembered {
            kind: "k8s.object".into(),
            identity: target.identity.clone(),
            id: live.id.clone(),
            component: None,
            inputs: None,
            input_hash: target.input_hash.clone(),
            outputs: live.outputs.clone(),
            needs: Vec::new(),
            refers: Vec::new(),
            generation: 0,
        })),
        ..target.clone()
    }
}

/// The same thing, no longer wanted.
fn forgotten(target: &Target) -> Target {
    Target {
        inputs: None,
        ..target.clone()
    }
}

fn config(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

fn deployment(image: &str) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
            "containers": [{"name": "server", "image": image, "ports": [{"containerPort": 80}]}]}}}})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn case_12_and_13_a_second_look_finds_nothing_to_do_and_asks_nothing() {
    let Some(bench) = bench("noop").await else { return };
    for object in [config(json!({"k": "v"})), deployment("a:1"), service()] {
        let target = bench.target(object);
        assert!(matches!(bench.look(&target).await.unwrap(), Observed::Absent));
        let target = bench.apply(&target).await.unwrap();
        let before = bench.get(&target).await;
        assert!(bench.settled(&target, &before), "the fast path holds at once");
        let live = bench.live(&target).await;
        assert_eq!(
            (live.changes, live.forces, live.foreign),
            (Vec::new(), Vec::new(), None)
        );
        assert_eq!(live.outputs, target.remembered.as_ref().unwrap().outputs);
        // Without memory the server is asked, and defaults are no difference either.
        let unknown = Target {
            remembered: None,
            ..target.clone()
        };
        assert_eq!(bench.live(&unknown).await.changes, []);
        let after = bench.get(&target).await;
        assert_eq!(after["metadata"]["generation"], before["metadata"]["generation"]);
        if after["kind"] != "Deployment" {
            // A Deployment's controller writes its status meanwhile.
            assert_eq!(
                after["metadata"]["resourceVersion"],
                before["metadata"]["resourceVersion"]
            );
        }
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_by_a_person_is_shown_with_its_owner_and_repaired() {
    let Some(bench) = bench("drift").await else { return };
    let target = bench.apply(&bench.target(deployment("a:1"))).await.unwrap();
    let image = "/spec/template/spec/containers/0/image";
    bench
        .edit(
            &target,
            "kubectl-edit",
            json!([{"op": "replace", "path": image, "value": "b:2"}]),
        )
        .await;
    let live = bench.live(&target).await;
    let change = &live.changes[0];
    assert_eq!(live.changes.len(), 1, "{:?}", live.changes);
    assert_eq!(change.path, "spec.template.spec.containers[name=server].image");
    assert_eq!(change.old, Shown::Value(json!("b:2")));
    assert_eq!(change.new, Shown::Value(json!("a:1")));
    assert_eq!(change.owner.as_deref(), Some("kubectl-edit"));
    assert!(live.conflicts.is_empty());
    assert_eq!(
        live.outputs.get("settled"),
        None,
        "drift is not remembered as wanted"
    );
    let target = bench.apply(&target).await.unwrap();
    assert_eq!(bench.get(&target).await.pointer(image).unwrap(), "a:1");
    assert_eq!(bench.live(&target).await.changes, []);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_field_that_another_tool_applies_is_a_conflict_and_stays() {
    let Some(bench) = bench("conflict").await else {
        return;
    };
    let target = bench
        .apply(&bench.target(config(json!({"k": "ours"}))))
        .await
        .unwrap();
    bench
        .apply_as(&target, "helm", config(json!({"k": "theirs"})))
        .await;
    let live = bench.live(&target).await;
    assert_eq!(live.conflicts.len(), 1, "{live:?}");
    let conflict = &live.conflicts[0];
    assert_eq!(
        (conflict.path.as_str(), conflict.manager.as_str()),
        ("data.k", "helm")
    );
    assert_eq!(conflict.theirs, Shown::Value(json!("theirs")));
    let error = bench.kind.update(&target).await.unwrap_err();
    assert_eq!(error.cause, Cause::Refused);
    assert!(error.message.contains("data.k is owned by helm"), "{error}");
    assert_eq!(bench.get(&target).await["data"]["k"], "theirs");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_26_and_27_immutable_fields_force_a_replace_and_invalid_values_do_not() {
    let _alone = OUTSIDE.lock().await;
    let Some(bench) = bench("immutable").await else {
        return;
    };
    let binding = |role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": "default"}]})
    };
    let frozen = |value: &str| {
        let mut object = config(json!({"k": value}));
        object["immutable"] = json!(true);
        object
    };
    let mut selector = deployment("a:1");
    selector["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
    selector["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
    let job = |image: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec":
            {"restartPolicy": "Never", "containers": [{"name": "j", "image": image}]}}}})
    };
    let address = |ip: &str| {
        let mut object = service();
        object["spec"]["clusterIP"] = json!(ip);
        object
    };
    let stateful = |service: &str| {
        let labels = json!({"app": "s"});
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"}, "spec": {"serviceName": service,
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "c", "image": "a"}]}}}})
    };
    for (first, second, field) in [
        (binding("one"), binding("two"), "roleRef"),
        (frozen("1"), frozen("2"), "data"),
        (deployment("a:1"), selector, "spec.selector"),
        (job("a:1"), job("a:2"), "spec.template"),
        (address(""), address("None"), "spec.clusterIPs[0]"),
        (stateful("one"), stateful("two"), "spec"),
    ] {
        bench.apply(&bench.target(first)).await.unwrap();
        let target = bench.target(second);
        let live = bench.live(&target).await;
        assert_eq!(live.forces, [field], "{live:?}");
        assert!(!live.changes.is_empty(), "{live:?}");
    }
    let mut wrong = deployment("a:1");
    wrong["spec"]["replicas"] = json!(-1);
    let error = bench.look(&bench.target(wrong)).await.unwrap_err();
    assert_eq!(error.cause, Cause::Permanent);
    assert!(error.message.contains("spec.replicas"), "{error}");
    let mut unknown = deployment("a:1");
    unknown["spec"]["replicsa"] = json!(1);
    let error = bench.look(&bench.target(unknown)).await.unwrap_err();
    assert!(error.message.contains("replicsa"), "{error}");
    let claim = |size: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec":
            {"accessModes": [size], "storageClassName": "none", "resources": {"requests": {"storage": "1Gi"}}}})
    };
    bench.apply(&bench.target(claim("ReadWriteOnce"))).await.unwrap();
    let error = bench
        .look(&bench.target(claim("ReadWriteMany")))
        .await
        .unwrap_err();
    assert!(error.message.contains("is not replaced"), "{error}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_a_changed_secret_is_seen_and_never_shown() {
    let Some(bench) = bench("secret").await else {
        return;
    };
    let secret = |part: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
        object
            .as_object_mut()
            .unwrap()
            .extend(part.as_object().unwrap().clone());
        object
    };
    let first = secret(json!({"stringData": {"password": "hunter2", "gone": "soon"}}));
    let target = bench.apply(&bench.target(first)).await.unwrap();
    assert!(bench.settled(&target, &bench.get(&target).await));
    let second = bench.target(secret(json!({"stringData": {"password": "hunter3"}})));
    let second = Target {
        remembered: target.remembered.clone(),
        ..second
    };
    let live = bench.live(&second).await;
    let paths: Vec<&str> = live.changes.iter().map(|change| change.path.as_str()).collect();
    assert_eq!(paths, ["data.gone", "data.password"]);
    let text = format!("{live:?}");
    for value in ["hunter", "aHVudGVy", "soon", "c29vbg"] {
        assert!(!text.contains(value), "{text}");
    }
    let second = bench.apply(&second).await.unwrap();
    assert_eq!(
        bench.get(&second).await["data"],
        json!({"password": "aHVudGVyMw=="})
    );
    // An immutable one is replaced, and its error tells nothing.
    let frozen = secret(json!({"stringData": {"password": "hunter3"}, "immutable": true}));
    let frozen = bench.apply(&bench.target(frozen)).await.unwrap();
    let changed = secret(json!({"stringData": {"password": "hunter4"}, "immutable": true}));
    let live = bench.live(&bench.target(changed.clone())).await;
    assert_eq!(live.forces, ["data"]);
    assert!(!format!("{live:?}").contains("aHVudGVy"));
    let error = bench
        .kind
        .update(&Target {
            remembered: frozen.remembered,
            ..bench.target(changed)
        })
        .await
        .unwrap_err();
    assert!(
        !format!("{error:?}").contains("aHVudGVy") && !format!("{error:?}").contains("hunter"),
        "{error:?}"
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_38_what_is_not_ours_is_refused_and_only_unmarked_things_can_be_adopted() {
    let Some(bench) = bench("owner").await else { return };
    let target = bench.target(config(json!({"k": "ours"})));
    let mut theirs = config(json!({"k": "theirs", "old": "field"}));
    theirs["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    let path = format!("/api/v1/namespaces/{}/configmaps", bench.namespace);
    let made = format!("{path}?fieldManager=kubectl-client-side-apply");
    bench
        .cluster
        .call(Method::POST, &made, Sent::Json(&theirs))
        .await
        .unwrap();

    let live = bench.live(&target).await;
    assert_eq!(
        live.foreign.as_deref(),
        Some("nobody's mark; field managers: kubectl-client-side-apply")
    );
    for error in [
        bench.kind.update(&target).await.unwrap_err(),
        bench.kind.create(&target).await.unwrap_err(),
        bench.kind.delete(&forgotten(&target)).await.unwrap_err(),
    ] {
        assert_eq!(error.cause, Cause::Refused, "{error}");
    }
    // Adopted: what client-side apply wrote and we do not want goes.
    let mut adopting = target.clone();
    adopting.adopt = true;
    let live = bench.live(&adopting).await;
    assert_eq!((live.foreign, live.conflicts), (None, Vec::new()));
    assert!(!live.changes.is_empty());
    let adopted = bench.apply(&adopting).await.unwrap();
    let live = bench.get(&adopted).await;
    assert_eq!(live["data"], json!({"k": "ours"}));
    let annotations = live["metadata"]["annotations"].as_object().unwrap();
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [OWNER]);
    assert!(bench.settled(&adopted, &live));
    // Another stack cannot take it, whatever it says.
    let other = Stack {
        name: "other".into(),
        uid: "other-uid".into(),
    };
    let stranger = Target {
        stack: Arc::new(other),
        remembered: None,
        ..adopting
    };
    let foreign = bench.live(&stranger).await.foreign.unwrap();
    assert_eq!(
        foreign,
        format!("stack {} (uid {})", bench.stack.name, bench.stack.uid)
    );
    assert_eq!(
        bench.kind.update(&stranger).await.unwrap_err().cause,
        Cause::Refused
    );
    assert_eq!(
        bench.kind.delete(&forgotten(&stranger)).await.unwrap_err().cause,
        Cause::Refused
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_36_namespace_type_and_object_that_are_not_there_are_absent() {
    let Some(bench) = bench("absent").await else {
        return;
    };
    let mut elsewhere = config(json!({}));
    elsewhere["metadata"]["namespace"] = json!("not-there-at-all");
    let widget = json!({"apiVersion": "example.dev/v1", "kind": "Widget", "metadata": {"name": "w"}});
    let targets = [
        bench.target(config(json!({}))),
        bench.target(elsewhere),
        bench.target(widget),
    ];
    for observed in bench.kind.observe(&targets).await {
        assert!(matches!(observed.unwrap(), Observed::Absent));
    }
    let error = bench.kind.create(&targets[1]).await.unwrap_err();
    assert!(
        error
            .hint
            .as_deref()
            .unwrap_or_default()
            .contains("not-there-at-all"),
        "{error:?}"
    );
    assert!(
        bench.kind.delete(&forgotten(&targets[0])).await.is_ok(),
        "gone is gone"
    );
    assert!(
        bench.kind.delete(&forgotten(&targets[2])).await.is_ok(),
        "with its type"
    );
    let mut blind = forgotten(&targets[0]);
    blind.outputs.clear();
    assert_eq!(bench.look(&blind).await.unwrap_err().cause, Cause::Unreachable);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_5_a_type_can_be_used_as_soon_as_its_definition_is_ready() {
    let Some(bench) = bench("definition").await else {
        return;
    };
    let group = format!("{}.example.dev", bench.namespace);
    let definition = bench.target(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}}));
    let widget = bench.target(json!({"apiVersion": format!("{group}/v1"), "kind": "Widget",
        "metadata": {"name": "w"}, "spec": {"size": 1}}));
    assert!(matches!(bench.look(&widget).await.unwrap(), Observed::Absent));
    let definition = bench.apply(&definition).await.unwrap();
    let seen = bench.wait(&definition).await;
    assert_eq!(seen.last().unwrap().live().unwrap().readiness, Readiness::Ready);
    let widget = bench.apply(&widget).await.unwrap();
    assert_eq!(bench.live(&widget).await.changes, []);
    bench.kind.delete(&forgotten(&widget)).await.unwrap();
    bench.kind.delete(&forgotten(&definition)).await.unwrap();
    assert!(matches!(
        bench.wait(&forgotten(&definition)).await.last().unwrap(),
        Observed::Absent
    ));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_follows_a_deployment_until_it_works_and_until_it_is_gone() {
    let Some(bench) = bench("watch").await else { return };
    let target = bench.apply(&bench.target(deployment("a:1"))).await.unwrap();
    let seen = bench.wait(&target).await;
    let last = seen.last().unwrap().live().unwrap();
    assert_eq!(last.readiness, Readiness::Ready);
    assert_eq!(last.outputs, target.remembered.as_ref().unwrap().outputs);
    let target = remembering(&target, last);
    assert!(bench.settled(&target, &bench.get(&target).await));
    bench.kind.delete(&forgotten(&target)).await.unwrap();
    let seen = bench.wait(&forgotten(&target)).await;
    assert!(matches!(seen.last().unwrap(), Observed::Absent), "{seen:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_a_finalizer_holds_says_so() {
    let Some(bench) = bench("finalizer").await else {
        return;
    };
    let mut object = config(json!({}));
    object["metadata"]["finalizers"] = json!(["example.dev/hold"]);
    let target = bench.apply(&bench.target(object)).await.unwrap();
    bench.kind.delete(&forgotten(&target)).await.unwrap();
    let live = bench.live(&forgotten(&target)).await;
    assert!(live.terminating);
    assert_eq!(
        live.readiness,
        Readiness::NotYet("terminating: finalizers example.dev/hold".into())
    );
    let release = json!([{"op": "remove", "path": "/metadata/finalizers"}]);
    bench.edit(&target, "controller", release).await;
    assert!(matches!(
        bench.wait(&forgotten(&target)).await.last().unwrap(),
        Observed::Absent
    ));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_made_once_and_told_to_others() {
    let Some(bench) = bench("certificate").await else {
        return;
    };
    let generate = json!({"generate": {"certificate": {"dnsNames": ["op.svc"],
        "keys": {"ca": "ca.crt", "certificate": "tls.crt", "privateKey": "tls.key"}}}});
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}});
    let target = bench.target_with(object, generate);
    let target = bench.apply(&target).await.unwrap();
    let live = bench.get(&target).await;
    let outputs = &target.remembered.as_ref().unwrap().outputs;
    assert_eq!(outputs["ca"], live["data"]["ca.crt"]);
    assert!(bench.settled(&target, &live));
    let unknown = Target {
        remembered: None,
        ..target.clone()
    };
    let seen = bench.live(&unknown).await;
    assert_eq!(seen.changes, []);
    assert_eq!(seen.outputs["ca"], live["data"]["ca.crt"]);
    bench.apply(&target).await.unwrap();
    assert_eq!(bench.get(&target).await["data"], live["data"]);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_replicas_of_an_autoscaler_are_no_drift() {
    let Some(bench) = bench("scaled").await else {
        return;
    };
    let target = bench.target_with(
        deployment("a:1"),
        json!({"scaledBy": "k8s/x/HorizontalPodAutoscaler/web"}),
    );
    let target = bench.apply(&target).await.unwrap();
    let scale = json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]);
    bench.edit(&target, "kube-controller-manager", scale).await;
    let live = bench.get(&target).await;
    assert!(bench.settled(&target, &live));
    assert_eq!(bench.live(&target).await.changes, []);
    let unknown = Target {
        remembered: None,
        ..target.clone()
    };
    let seen = bench.live(&unknown).await;
    assert_eq!((seen.changes, seen.conflicts), (Vec::new(), Vec::new()));
    let mut newer = bench.target_with(
        deployment("a:2"),
        json!({"scaledBy": "k8s/x/HorizontalPodAutoscaler/web"}),
    );
    newer.remembered = target.remembered.clone();
    bench.apply(&newer).await.unwrap();
    assert_eq!(bench.get(&newer).await["spec"]["replicas"], 3);
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_that_someone_removed_is_put_back() {
    let Some(bench) = bench("mark").await else { return };
    let target = bench
        .apply(&bench.target(config(json!({"k": "v"}))))
        .await
        .unwrap();
    let remove = json!([{"op": "remove", "path": "/metadata/annotations"}, {"op": "remove", "path": "/metadata/labels"}]);
    bench.edit(&target, "kubectl-annotate", remove).await;
    let live = bench.live(&target).await;
    assert_eq!(live.foreign, None);
    assert!(!live.changes.is_empty());
    let target = bench.apply(&target).await.unwrap();
    assert_eq!(
        bench.get(&target).await["metadata"]["labels"][STACK],
        json!(bench.stack.name)
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_between_is_never_overwritten() {
    let Some(bench) = bench("between").await else {
        return;
    };
    let target = bench
        .apply(&bench.target(config(json!({"k": "v"}))))
        .await
        .unwrap();
    // The object is another one by now: its uid differs from what was looked at.
    bench.kind.delete(&forgotten(&target)).await.unwrap();
    let error = bench.kind.update(&target).await.unwrap_err();
    assert_eq!(error.cause, Cause::Outdated, "{error}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_operator_leaves_behind_goes_with_it_unless_another_needs_it() {
    let Some(bench) = bench("leftover").await else {
        return;
    };
    let operator = |name: &str| {
        let mut object = deployment("operator:1");
        let service = format!("--kubelet-service={}/kubelet", bench.namespace);
        object["metadata"]["name"] = json!(name);
        object["spec"]["selector"]["matchLabels"] = json!({"app": name});
        object["spec"]["template"]["metadata"]["labels"] = json!({"app": name});
        object["spec"]["template"]["spec"]["containers"][0]["args"] = json!([service]);
        object
    };
    let path = format!("/api/v1/namespaces/{}/services", bench.namespace);
    let kubelet = json!({"metadata": {"name": "kubelet", "labels": {"app.kubernetes.io/managed-by": "prometheus-operator"}},
        "spec": {"clusterIP": "None", "ports": [{"port": 10250}]}});
    bench
        .cluster
        .call(Method::POST, &path, Sent::Json(&kubelet))
        .await
        .unwrap();
    let one = bench.apply(&bench.target(operator("one"))).await.unwrap();
    let two = bench.apply(&bench.target(operator("two"))).await.unwrap();
    bench.kind.delete(&forgotten(&one)).await.unwrap();
    let kubelet = format!("{path}/kubelet");
    assert!(
        bench.cluster.find(&kubelet).await.unwrap().is_some(),
        "the other operator keeps it"
    );
    bench.kind.delete(&forgotten(&two)).await.unwrap();
    assert!(bench.cluster.find(&kubelet).await.unwrap().is_none());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_nothing_can_start_ends_the_wait_with_its_reason() {
    let Some(bench) = bench("doomed").await else {
        return;
    };
    let target = bench
        .apply(&bench.target(deployment("no.such/image:1")))
        .await
        .unwrap();
    bench.wait(&target).await;
    // kwok starts whatever it is given, so the kubelet's word is put in its place.
    let pods = bench
        .cluster
        .objects("v1", "Pod", Some(&bench.namespace))
        .await
        .unwrap();
    assert_eq!(pods.len(), 2);
    let message = "Back-off pulling image: rpc error: code = NotFound: not found";
    for pod in &pods {
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}/status",
            bench.namespace,
            pod["metadata"]["name"].as_str().unwrap()
        );
        let patch = json!([
            {"op": "replace", "path": "/status/phase", "value": "Pending"},
            {"op": "replace", "path": "/status/conditions", "value": [{"type": "Ready", "status": "False"}]},
            {"op": "replace", "path": "/status/containerStatuses", "value": [{"name": "server", "image": "x", "imageID": "",
                "ready": false, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": message}}}]},
        ]);
        bench
            .cluster
            .call(Method::PATCH, &path, Sent::JsonPatch(&patch))
            .await
            .unwrap();
    }
    let mut failed = None;
    for _ in 0..50 {
        let live = bench.live(&target).await;
        if matches!(live.readiness, Readiness::Failed(_)) {
            failed = Some(live.readiness);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let Some(Readiness::Failed(why)) = failed else {
        panic!("never failed")
    };
    assert!(
        why.contains("container server cannot start: ImagePullBackOff"),
        "{why}"
    );
    let lines = bench.kind.diagnose(&target).await;
    assert!(lines.iter().any(|line| line.contains("not found")), "{lines:?}");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_24_the_largest_definitions_apply_and_a_second_look_is_short() {
    let Some(bench) = bench("large").await else { return };
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/monitoring/crds");
    let mut targets = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let mut object: Value = serde_saphyr::from_str(&text).unwrap();
        // Under a group of its own, so that it disturbs nobody else on this cluster.
        let group = format!("{}.example.dev", bench.namespace);
        let plural = object["spec"]["names"]["plural"].as_str().unwrap().to_owned();
        object["metadata"]["name"] = json!(format!("{plural}.{group}"));
        object["metadata"]["annotations"] = json!({});
        object["spec"]["group"] = json!(group);
        targets.push(bench.target(object));
    }
    assert!(targets.len() >= 9, "{}", targets.len());
    let begin = std::time::Instant::now();
    let applied = futures::future::join_all(targets.iter().map(async |target| {
        let target = bench.apply(target).await.unwrap();
        bench.wait(&target).await;
        target
    }));
    let applied = applied.await;
    let ready = begin.elapsed();
    let begin = std::time::Instant::now();
    for observed in bench.kind.observe(&applied).await {
        assert_eq!(observed.unwrap().live().unwrap().changes, []);
    }
    eprintln!(
        "applied and served in {ready:?}, looked at again in {:?}",
        begin.elapsed()
    );
    for target in &applied {
        let live = bench.get(target).await;
        assert!(bench.settled(target, &live));
        let annotations = live["metadata"]["annotations"].as_object().unwrap();
        assert!(
            annotations
                .values()
                .all(|text| text.as_str().unwrap().len() < 1000)
        );
        bench.kind.delete(&forgotten(target)).await.unwrap();
    }
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_warning_is_passed_on() {
    let Some(bench) = bench("warning").await else {
        return;
    };
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "e"}});
    bench.apply(&bench.target(endpoints)).await.unwrap();
    let warnings = bench.warnings.lock().unwrap().clone();
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("Endpoints is deprecated")),
        "{warnings:?}"
    );
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_read_as_it_is() {
    let Some(bench) = bench("evidence").await else {
        return;
    };
    let version = bench.cluster.raw("/version").await.unwrap();
    assert_eq!(version["major"], "1");
    let ready = bench.cluster.raw("/readyz").await.unwrap();
    assert_eq!(ready, "ok");
    let none = bench
        .cluster
        .objects("example.dev/v1", "Nothing", None)
        .await
        .unwrap();
    assert!(none.is_empty());
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_reached_by_address_certificate_and_token() {
    let Some(bench) = bench("token").await else {
        return;
    };
    let kubeconfig = Kubeconfig::read_from(bench.outputs["kubeconfig"].as_str().unwrap()).unwrap();
    let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
    let authority = cluster.certificate_authority_data.unwrap_or_else(|| {
        let pem = std::fs::read(cluster.certificate_authority.unwrap()).unwrap();
        base64::engine::general_purpose::STANDARD.encode(pem)
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "visitor"}});
    bench.apply(&bench.target(account)).await.unwrap();
    let path = format!(
        "/api/v1/namespaces/{}/serviceaccounts/visitor/token",
        bench.namespace
    );
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = bench
        .cluster
        .call(Method::POST, &path, Sent::Json(&request))
        .await
        .unwrap();
    let good = answer["status"]["token"].as_str().unwrap().to_owned();
    let outputs = json!({"server": cluster.server, "certificateAuthority": authority, "context": "demo",
        "profile": "eks", "ephemeral": true});
    let connect = |token: String| {
        let tokens: super::Tokens = Arc::new(move |_| {
            let token = token.clone();
            Box::pin(async move { Ok(Secret::new(token)) })
        });
        Clusters::new("/".into(), Secret::new(vec![1]), Arc::new(|_| {}), Some(tokens))
    };
    let cluster = connect(good).cluster(&outputs).await.unwrap();
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = cluster
        .call(Method::POST, path, Sent::Json(&review))
        .await
        .unwrap();
    assert_eq!(
        who["status"]["userInfo"]["username"],
        format!("system:serviceaccount:{}:visitor", bench.namespace)
    );
    let stranger = connect("not-a-token".into()).cluster(&outputs).await.unwrap();
    let error: ResourceError = stranger.get("/version").await.unwrap_err().into();
    assert_eq!(error.cause, Cause::Unreachable);
    assert!(error.hint.unwrap().contains("'access'"));
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_something_outside_goes_with_those_who_would_make_it_again() {
    let _alone = OUTSIDE.lock().await;
    let Some(bench) = bench("outside").await else {
        return;
    };
    let outside = kinds(&bench.clusters, None)
        .into_iter()
        .find(|kind| kind.name() == "k8s.outside")
        .unwrap();
    let mut objects = Vec::new();
    for object in with_something_outside() {
        objects.push(bench.apply(&bench.target(object)).await.unwrap());
    }
    let pod = format!("/api/v1/namespaces/{}/pods/db-0", bench.namespace);
    within(async || bench.cluster.find(&pod).await.unwrap().is_some()).await;
    let cluster = Address::parse(CLUSTER).unwrap();
    let mut target = Target {
        address: Address::new("k8s.outside", "demo"),
        identity: json!({"cluster": cluster}),
        inputs: None,
        ..objects[0].clone()
    };
    let look = async |target: &Target| {
        let seen = outside.observe(std::slice::from_ref(target)).await.pop().unwrap();
        seen.unwrap().live().map(|live| live.readiness.clone())
    };
    assert_eq!(
        look(&target).await,
        None,
        "a cluster that was there before is left alone"
    );
    outside.delete(&target).await.unwrap();
    assert!(
        bench
            .look(&objects[0])
            .await
            .unwrap()
            .live()
            .is_some_and(|live| !live.terminating)
    );

    let mut outputs = bench.outputs.clone();
    outputs["ephemeral"] = json!(true);
    target.outputs = BTreeMap::from([(cluster, Arc::new(outputs))]);
    assert!(matches!(look(&target).await, Some(Readiness::NotYet(_))));
    outside.delete(&target).await.unwrap();
    let held = "(finalizers example.dev/balancer)";
    within(async || {
        matches!(look(&target).await, Some(Readiness::NotYet(why))
            if why == format!("still there: Service {}/front {held}", bench.namespace))
    })
    .await;
    within(async || bench.cluster.find(&pod).await.unwrap().is_none()).await;
    bench
        .edit(
            &objects[0],
            "a-controller",
            json!([{"op": "remove", "path": "/metadata/finalizers"}]),
        )
        .await;
    within(async || look(&target).await.is_none()).await;
    let there = bench.kind.observe(&objects).await;
    let there: Vec<bool> = there
        .into_iter()
        .map(|seen| seen.unwrap().live().is_some())
        .collect();
    assert_eq!(
        there,
        [false, true, false, false, false],
        "only the inner Service stays"
    );
    bench.end().await;
}

/// A balancer that is held, a Service without one, a budget, an Ingress, and pods with claims.
fn with_something_outside() -> [Value; 5] {
    [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "finalizers": ["example.dev/balancer"]},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "back"}, "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "front"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "front"},
            "spec": {"defaultBackend": {"service": {"name": "front", "port": {"number": 80}}}}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": {"serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}}),
    ]
}

/// Asks until it is so, a minute at most.
async fn within(is_so: impl AsyncFn() -> bool) {
    for _ in 0..240 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    panic!("it did not come to be in a minute");
}
