use serde_json::{Map, Value};

use super::object::{Object, at, list_at, text_at};

/// The Prometheus operator's group: its resources describe pods nearly as a pod template does.
const MONITORING: &str = "monitoring.coreos.com";

/// Something that pods need by its kind and name, in their own namespace where its kind has one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: String,
}

/// The path to the pod template of a workload: what holds the pod's metadata and spec.
fn template_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    match (group, kind) {
        ("", "Pod") | (MONITORING, "Prometheus" | "PrometheusAgent" | "Alertmanager" | "ThanosRuler") => {
            Some(&[])
        }
        ("", "ReplicationController")
        | ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job") => Some(&["spec", "template"]),
        ("batch", "CronJob") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

/// Whether the pods of this object are made by an operator from a custom resource.
fn by_operator(object: &Object) -> bool {
    object.group() == MONITORING && template_path(object.group(), object.kind()).is_some()
}

/// Whether pods come of this object.
pub(super) fn has_pods(object: &Object) -> bool {
    template_path(object.group(), object.kind()).is_some()
}

/// The JSON pointer of the pod spec, if pods come of such an object.
pub(super) fn spec_pointer(group: &str, kind: &str) -> Option<String> {
    let path = template_path(group, kind)?;
    let path: Vec<&str> = [""].iter().chain(path).chain(&["spec"]).copied().collect();
    Some(path.join("/"))
}

/// The labels of the pods that come of this object, as far as the manifest says.
pub(super) fn labels(object: &Object) -> Option<&Map<String, Value>> {
    if by_operator(object) {
        return None;
    }
    let template = at(&object.value, template_path(object.group(), object.kind())?)?;
    at(template, &["metadata", "labels"])?.as_object()
}

/// The service account that the pods of this object run as.
pub(super) fn service_account(object: &Object) -> Option<&str> {
    let spec = spec(object)?;
    let name = text_at(spec, &["serviceAccountName"]).filter(|name| !name.is_empty());
    Some(name.unwrap_or("default"))
}

fn spec(object: &Object) -> Option<&Value> {
    at(&object.value, template_path(object.group(), object.kind())?)?.get("spec")
}

/// Everything that the pods of this object need by name, and the storage classes of its volumes.
pub(super) fn uses(object: &Object) -> Vec<Use> {
    let mut found = Found(Vec::new());
    if let Some(account) = service_account(object) {
        found.add("", "ServiceAccount", Some(account));
    }
    if let Some(spec) = spec(object) {
        found.pod(spec);
        if by_operator(object) {
            found.custom(spec);
        }
    }
    for claim in list_at(&object.value, &["spec", "volumeClaimTemplates"]) {
        found.add(
            STORAGE,
            "StorageClass",
            text_at(claim, &["spec", "storageClassName"]),
        );
    }
    if object.is("", "PersistentVolumeClaim") {
        found.add(
            STORAGE,
            "StorageClass",
            text_at(&object.value, &["spec", "storageClassName"]),
        );
    }
    if object.is("networking.k8s.io", "Ingress") {
        found.add(
            "networking.k8s.io",
            "IngressClass",
            text_at(&object.value, &["spec", "ingressClassName"]),
        );
    }
    found.0.sort();
    found.0.dedup();
    found.0
}

const STORAGE: &str = "storage.k8s.io";

struct Found(Vec<Use>);

impl Found {
    fn add(&mut self, group: &'static str, kind: &'static str, name: Option<&str>) {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            let name = name.to_owned();
            self.0.push(Use { group, kind, name });
        }
    }

    fn config(&mut self, value: &Value, config_map: &[&str], secret: &[&str]) {
        self.add("", "ConfigMap", text_at(value, config_map));
        self.add("", "Secret", text_at(value, secret));
    }

    fn pod(&mut self, spec: &Value) {
        self.add(
            "scheduling.k8s.io",
            "PriorityClass",
            text_at(spec, &["priorityClassName"]),
        );
        self.add(
            "node.k8s.io",
            "RuntimeClass",
            text_at(spec, &["runtimeClassName"]),
        );
        for secret in list_at(spec, &["imagePullSecrets"]) {
            self.add("", "Secret", text_at(secret, &["name"]));
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in list_at(spec, &[list]) {
                for env in list_at(container, &["env"]) {
                    self.config(
                        env,
                        &["valueFrom", "configMapKeyRef", "name"],
                        &["valueFrom", "secretKeyRef", "name"],
                    );
                }
                for source in list_at(container, &["envFrom"]) {
                    self.config(source, &["configMapRef", "name"], &["secretRef", "name"]);
                }
            }
        }
        for volume in list_at(spec, &["volumes"]) {
            self.config(volume, &["configMap", "name"], &["secret", "secretName"]);
            self.add(
                "",
                "Secret",
                text_at(volume, &["csi", "nodePublishSecretRef", "name"]),
            );
            self.add(
                "",
                "PersistentVolumeClaim",
                text_at(volume, &["persistentVolumeClaim", "claimName"]),
            );
            let class = ["ephemeral", "volumeClaimTemplate", "spec", "storageClassName"];
            self.add(STORAGE, "StorageClass", text_at(volume, &class));
            for source in list_at(volume, &["projected", "sources"]) {
                self.config(source, &["configMap", "name"], &["secret", "name"]);
            }
        }
    }

    /// What only the operator's resources have.
    fn custom(&mut self, spec: &Value) {
        self.add("", "Secret", text_at(spec, &["configSecret"]));
        self.config(
            spec,
            &["web", "tlsConfig", "cert", "configMap", "name"],
            &["web", "tlsConfig", "cert", "secret", "name"],
        );
        self.add("", "Secret", text_at(spec, &["additionalScrapeConfigs", "name"]));
        for (list, kind) in [("secrets", "Secret"), ("configMaps", "ConfigMap")] {
            for name in list_at(spec, &[list]) {
                self.add("", kind, name.as_str());
            }
        }
        let class = ["storage", "volumeClaimTemplate", "spec", "storageClassName"];
        self.add(STORAGE, "StorageClass", text_at(spec, &class));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::manifest::{object::Source, yaml::Place};

    fn used(value: Value) -> Vec<String> {
        let source = Source {
            file: "a".into(),
            place: Place::default(),
        };
        uses(&Object { value, source })
            .into_iter()
            .map(|found| format!("{}/{}", found.kind, found.name))
            .collect()
    }

    #[test]
    fn everything_that_pods_name_is_found() {
        let spec = json!({
            "serviceAccountName": "sa", "priorityClassName": "high", "runtimeClassName": "vm", "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s1", "key": "k"}}}]}],
            "containers": [{"env": [{"name": "A", "value": "x"}, {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c1"}}}],
                "envFrom": [{"configMapRef": {"name": "c2"}}, {"secretRef": {"name": "s2"}}]}],
            "volumes": [{"configMap": {"name": "c3"}}, {"secret": {"secretName": "s3"}}, {"persistentVolumeClaim": {"claimName": "p"}},
                {"projected": {"sources": [{"configMap": {"name": "c4"}}, {"secret": {"name": "s4"}}, {"serviceAccountToken": {}}]}}, {"emptyDir": {}}],
        });
        let expected = [
            "ConfigMap/c1",
            "ConfigMap/c2",
            "ConfigMap/c3",
            "ConfigMap/c4",
            "PersistentVolumeClaim/p",
            "Secret/pull",
            "Secret/s1",
            "Secret/s2",
            "Secret/s3",
            "Secret/s4",
            "ServiceAccount/sa",
            "RuntimeClass/vm",
            "PriorityClass/high",
        ];
        for (api_version, kind, spec) in [
            ("v1", "Pod", spec.clone()),
            ("apps/v1", "Deployment", json!({"template": {"spec": spec}})),
            (
                "batch/v1",
                "CronJob",
                json!({"jobTemplate": {"spec": {"template": {"spec": spec}}}}),
            ),
        ] {
            assert_eq!(
                used(json!({"apiVersion": api_version, "kind": kind, "spec": spec})),
                expected,
                "{kind}"
            );
        }
    }

    #[test]
    fn custom_resources_of_the_operator_name_what_their_pods_need() {
        let value = json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "Alertmanager", "spec": {
            "serviceAccountName": "sa", "configSecret": "config", "secrets": ["s"], "configMaps": ["c"],
            "storage": {"volumeClaimTemplate": {"spec": {"storageClassName": "fast"}}},
        }});
        assert_eq!(
            used(value),
            [
                "ConfigMap/c",
                "Secret/config",
                "Secret/s",
                "ServiceAccount/sa",
                "StorageClass/fast"
            ]
        );
    }

    #[test]
    fn pods_without_an_account_run_as_the_default_one_and_other_objects_have_none() {
        assert_eq!(
            used(json!({"apiVersion": "v1", "kind": "Pod", "spec": {}})),
            ["ServiceAccount/default"]
        );
        assert_eq!(
            used(json!({"apiVersion": "v1", "kind": "Service", "spec": {}})),
            [""; 0]
        );
    }
}
