//! A small stack with each kind of edge and action, as two versions of its manifests.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    cluster::Cluster,
    proxy::{Proxy, Sent},
    sandbox::{Run, Sandbox},
};

/// One such stack on the shared cluster, reached through a recording proxy.
pub(crate) struct Shop {
    pub(crate) cluster: &'static Cluster,
    pub(crate) sandbox: Sandbox,
    pub(crate) proxy: Proxy,
    /// Of the stack, its namespace, and the group of its custom resource.
    pub(crate) name: String,
}

const FIRST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: NAME}
---
apiVersion: shop.NAME.example/v1
kind: Teapot
metadata: {name: brown, namespace: NAME}
spec: {litres: 1}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: teapots.shop.NAME.example}
spec:
  group: shop.NAME.example
  names: {kind: Teapot, plural: teapots}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {litres: {type: integer}}}}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: NAME}
stringData: {token: open-sesame}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: NAME}
data: {colour: red}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fixed, namespace: NAME}
immutable: true
data: {size: small}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: going, namespace: NAME}
data: {a: b}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: NAME}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - name: web
          image: example.com/web:1
          envFrom: [{configMapRef: {name: settings}}, {secretRef: {name: token}}]
";

impl Shop {
    /// A stack of its own with the first version of its manifests; nothing is applied.
    pub(crate) fn new(cluster: &'static Cluster, test: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{test}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let proxy = Proxy::start(&cluster.kubeconfig());
        let sandbox = Sandbox::new();
        let component = "components:\n  - {name: shop, manifests: ./shop}\n";
        sandbox.write("stackup.yaml", proxy.stack(&name) + component);
        let shop = Self {
            cluster,
            sandbox,
            proxy,
            name,
        };
        shop.write(FIRST);
        shop
    }

    fn write(&self, manifests: &str) {
        self.sandbox
            .write("shop/all.yaml", manifests.replace("NAME", &self.name));
    }

    /// The second version: a changed field, a changed secret, a document that is gone, and one that must be replaced.
    pub(crate) fn second_version(&self) {
        let (before, rest) = FIRST
            .split_once("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: going")
            .unwrap();
        let (_, after) = rest.split_once("---").unwrap();
        let second = format!("{before}---{after}");
        let second = second
            .replace("colour: red", "colour: blue")
            .replace("size: small", "size: large");
        self.write(
            &second
                .replace("open-sesame", "knock-knock")
                .replace("litres: 1", "litres: 2"),
        );
    }

    /// The pods of the deployment are held back by a gate, so that it never becomes ready.
    pub(crate) fn hold_pods(&self) {
        self.write(&FIRST.replace(
            "      containers:",
            "      schedulingGates: [{name: example.com/wait}]\n      containers:",
        ));
    }

    /// Back to the first version.
    pub(crate) fn first_version(&self) {
        self.write(FIRST);
    }

    #[track_caller]
    pub(crate) fn apply(&self) -> Run {
        self.sandbox.stackup(&["apply", "--yes"])
    }

    #[track_caller]
    pub(crate) fn destroy(&self) -> Run {
        self.sandbox.stackup(&["destroy", "--yes"])
    }

    /// What the requests since the last call wrote.
    pub(crate) fn writes(&self) -> Vec<Sent> {
        let mut sent = self.proxy.take();
        sent.retain(Sent::writes);
        sent
    }

    /// What is on the cluster of this stack, without what differs from one stack to the next.
    pub(crate) fn objects(&self) -> Value {
        let name = &self.name;
        let lists = [
            format!("/api/v1/namespaces?labelSelector=stackup/stack={name}"),
            format!(
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?labelSelector=stackup/stack={name}"
            ),
            format!("/api/v1/namespaces/{name}/secrets"),
            format!("/api/v1/namespaces/{name}/configmaps?fieldSelector=metadata.name!=kube-root-ca.crt"),
            format!("/apis/apps/v1/namespaces/{name}/deployments"),
            format!("/apis/shop.{name}.example/v1/namespaces/{name}/teapots"),
        ];
        let mut all = Map::new();
        for list in lists {
            for item in self.cluster.get(&list)["items"].as_array().into_iter().flatten() {
                let kind = list.split('?').next().unwrap().rsplit('/').next().unwrap();
                let what = json!({"data": item["data"], "spec": item["spec"]});
                all.insert(
                    format!("{kind}/{}", item["metadata"]["name"].as_str().unwrap()),
                    what,
                );
            }
        }
        serde_json::from_str(&Value::from(all).to_string().replace(name, "NAME")).unwrap()
    }

    /// Fails unless nothing of the stack is left, neither on the cluster nor here.
    #[track_caller]
    pub(crate) fn is_gone(&self) {
        let name = &self.name;
        assert_eq!(self.objects(), json!({}), "left on the cluster");
        assert_eq!(
            self.cluster.get(&format!("/api/v1/namespaces/{name}")),
            Value::Null
        );
        assert!(!self.sandbox.path(".stackup").exists(), ".stackup is left");
    }
}

impl Drop for Shop {
    /// A failed test leaves nothing that would slow the others down.
    fn drop(&mut self) {
        if std::thread::panicking() && self.sandbox.path(".stackup").exists() {
            let mut delete = self.cluster.kubectl_command();
            delete.args([
                "delete",
                "--wait=false",
                "--ignore-not-found",
                "namespace",
                &self.name,
            ]);
            drop(delete.output());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
