use std::collections::{BTreeMap, BTreeSet};

/// A type of objects that checks read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Its kind.
    pub kind: &'static str,
    /// Its group and version, as `apiVersion` says it.
    pub api_version: &'static str,
    /// Its name in paths and roles.
    pub resource: &'static str,
    /// Whether only the stack's own namespaces are read: what may hold secrets, or is large.
    pub own_namespaces: bool,
}

const fn everywhere(kind: &'static str, api_version: &'static str, resource: &'static str) -> Kind {
    Kind {
        kind,
        api_version,
        resource,
        own_namespaces: false,
    }
}

const fn own(kind: &'static str, api_version: &'static str, resource: &'static str) -> Kind {
    Kind {
        kind,
        api_version,
        resource,
        own_namespaces: true,
    }
}

const OPERATOR: &str = "monitoring.coreos.com/v1";
const KINDS: &[Kind] = &[
    everywhere("Namespace", "v1", "namespaces"),
    everywhere("Node", "v1", "nodes"),
    everywhere("Pod", "v1", "pods"),
    everywhere("Service", "v1", "services"),
    own("ConfigMap", "v1", "configmaps"),
    own("Secret", "v1", "secrets"),
    everywhere("PersistentVolumeClaim", "v1", "persistentvolumeclaims"),
    everywhere("Deployment", "apps/v1", "deployments"),
    everywhere("StatefulSet", "apps/v1", "statefulsets"),
    everywhere("DaemonSet", "apps/v1", "daemonsets"),
    own("ReplicaSet", "apps/v1", "replicasets"),
    everywhere("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
    everywhere("StorageClass", "storage.k8s.io/v1", "storageclasses"),
    everywhere(
        "CustomResourceDefinition",
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
    ),
    everywhere(
        "MutatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
    ),
    everywhere(
        "ValidatingWebhookConfiguration",
        "admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
    ),
    everywhere("Prometheus", OPERATOR, "prometheuses"),
    everywhere("Alertmanager", OPERATOR, "alertmanagers"),
    everywhere("ServiceMonitor", OPERATOR, "servicemonitors"),
    everywhere("PodMonitor", OPERATOR, "podmonitors"),
    everywhere("PrometheusRule", OPERATOR, "prometheusrules"),
];

/// The type of a kind that checks read.
pub fn kind(named: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.kind == named)
}

/// The smallest roles for what is read, as YAML: one for the cluster, and one for each of the stack's namespaces.
pub fn role(reads: &BTreeSet<&'static str>, namespaces: &BTreeSet<String>) -> String {
    let kinds: Vec<&Kind> = reads.iter().filter_map(|read| kind(read)).collect();
    let rules = |own: bool| {
        let mut groups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for kind in kinds.iter().filter(|kind| kind.own_namespaces == own) {
            let group = kind.api_version.split_once('/').map_or("", |(group, _)| group);
            groups.entry(group).or_default().insert(kind.resource);
        }
        let rule = |(group, resources): (&str, BTreeSet<&str>)| {
            let resources = resources.into_iter().collect::<Vec<_>>().join(", ");
            format!("  - {{apiGroups: [\"{group}\"], resources: [{resources}], verbs: [list]}}\n")
        };
        groups.into_iter().map(rule).collect::<String>()
    };
    let head = |kind: &str, namespace: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: stackup-verify\n{namespace}rules:\n"
        )
    };
    let mut text = head("ClusterRole", "") + &rules(false);
    text.push_str("  - {nonResourceURLs: [/readyz, /version], verbs: [get]}\n");
    let mut local = rules(true);
    if reads
        .iter()
        .any(|read| read.contains(':') && !read.starts_with("cluster:"))
    {
        local.push_str("  - {apiGroups: [\"\"], resources: [pods], verbs: [get]}\n");
        // Over a WebSocket it is a GET, and from Kubernetes 1.35 on the right to create is asked for as well.
        local.push_str("  - {apiGroups: [\"\"], resources: [pods/portforward], verbs: [get, create]}\n");
    }
    if !local.is_empty() {
        for namespace in namespaces {
            text.push_str("---\n");
            text.push_str(&head("Role", &format!("  namespace: {namespace}\n")));
            text.push_str(&local);
        }
    }
    text
}
