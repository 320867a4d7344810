use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Edges, Item, index::Index, infer::texts};
use crate::{
    kubernetes::manifest::{
        object::{Object, at, list_at, text_at},
        pods,
        scope::{self, GroupKind, Types},
    },
    model::Until,
};

/// Requests for some objects that a program of the stack must answer first, or that it would not see.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    /// What asks: a webhook configuration or a CRD.
    by: usize,
    /// The workloads that answer.
    backends: Vec<usize>,
    concerns: Concerns<'a>,
}

#[derive(Debug)]
enum Concerns<'a> {
    /// What the rules of a webhook name.
    Rules(Vec<&'a Value>),
    /// Every object of a type whose versions are converted.
    Type(GroupKind),
}

/// What is served from inside the cluster waits for its backend; returns what must wait for it in turn.
pub(super) fn infer<'a>(index: &Index<'a>, edges: &mut Edges) -> Vec<Gate<'a>> {
    let workloads = Workloads::new(index);
    let mut gates = Vec::new();
    for (number, item) in index.iter() {
        let object = &item.object;
        if is_configuration(object) {
            for webhook in list_at(&object.value, &["webhooks"]) {
                let Some((service, backends)) =
                    workloads.behind(index, at(webhook, &["clientConfig", "service"]))
                else {
                    continue;
                };
                wait(number, service, &backends, edges);
                // Kubernetes' own default is Fail. Where a webhook may be ignored, only what it names waits for it.
                let ignored = text_at(webhook, &["failurePolicy"]) == Some("Ignore");
                let rules = list_at(webhook, &["rules"]).iter();
                gates.push(Gate {
                    by: number,
                    backends,
                    concerns: Concerns::Rules(rules.filter(|rule| !(ignored && is_wide(rule))).collect()),
                });
            }
        } else if object.is("apiregistration.k8s.io", "APIService") {
            if let Some((service, backends)) =
                workloads.behind(index, at(&object.value, &["spec", "service"]))
            {
                wait(number, service, &backends, edges);
            }
        } else if let Some((group_kind, _)) = scope::defined(object) {
            let service = at(
                &object.value,
                &["spec", "conversion", "webhook", "clientConfig", "service"],
            );
            if let Some((_, backends)) = workloads.behind(index, service) {
                let concerns = Concerns::Type(group_kind);
                gates.push(Gate {
                    by: number,
                    backends,
                    concerns,
                });
            }
        }
    }
    gates
}

fn wait(number: usize, service: usize, backends: &[usize], edges: &mut Edges) {
    edges.need(number, service, Until::Applied);
    for backend in backends {
        edges.need(number, *backend, Until::Ready);
    }
}

fn is_configuration(object: &Object) -> bool {
    object.is("admissionregistration.k8s.io", "MutatingWebhookConfiguration")
        || object.is("admissionregistration.k8s.io", "ValidatingWebhookConfiguration")
}

/// Whether a rule of a webhook names no types, but all of a group or of the cluster.
fn is_wide(rule: &Value) -> bool {
    ["apiGroups", "resources"]
        .iter()
        .any(|key| texts(rule, &[key]).any(|named| named.starts_with('*')))
}

/// What a gate would stop, or let pass unseen, waits for the gate and its backend, except what the backend itself
/// needs: that must pass before.
pub(super) fn intercept(index: &Index<'_>, types: &Types, gates: &[Gate<'_>], edges: &mut Edges) {
    for gate in gates.iter().filter(|gate| !gate.backends.is_empty()) {
        let mut before = gate.backends.clone();
        before.push(gate.by);
        let before = edges.closure(&before);
        for (number, item) in index.iter() {
            if before.get(number) != Some(&true) && gate.concerns.object(&item.object, types) {
                edges.need(number, gate.by, Until::Applied);
                for backend in &gate.backends {
                    edges.need(number, *backend, Until::Ready);
                }
            }
        }
    }
}

impl Concerns<'_> {
    fn object(&self, object: &Object, types: &Types) -> bool {
        match self {
            Self::Type(group_kind) => object.group_kind() == *group_kind,
            // The server never asks webhooks about webhooks.
            Self::Rules(_) if is_configuration(object) => false,
            Self::Rules(rules) => {
                let known = types.of(object);
                rules.iter().any(|rule| {
                    let scope = match (text_at(rule, &["scope"]), known.map(|known| known.namespaced)) {
                        (Some("Namespaced"), Some(namespaced)) => namespaced,
                        (Some("Cluster"), Some(namespaced)) => !namespaced,
                        _ => true,
                    };
                    let plural = known.map_or("", |known| known.plural.as_str());
                    scope
                        && ["CREATE", "UPDATE"]
                            .iter()
                            .any(|operation| scope::names(rule, "operations", operation))
                        && scope::names(rule, "apiGroups", object.group())
                        && scope::names(rule, "apiVersions", object.version())
                        && (scope::names(rule, "resources", plural)
                            || texts(rule, &["resources"]).any(|named| named == "*/*"))
                })
            }
        }
    }
}

/// Workloads with the labels of their pods, by namespace.
struct Workloads<'a>(HashMap<&'a str, Vec<Workload<'a>>>);

/// An item and the labels of its pods.
type Workload<'a> = (usize, &'a Map<String, Value>);

impl<'a> Workloads<'a> {
    fn new(index: &Index<'a>) -> Self {
        let mut found: HashMap<&str, Vec<_>> = HashMap::new();
        for (number, item) in index.iter() {
            if let Some(labels) = pods::labels(&item.object) {
                found.entry(item.namespace()).or_default().push((number, labels));
            }
        }
        Self(found)
    }

    /// The Service that a client configuration names, and the workloads whose pods it selects.
    fn behind(&self, index: &Index<'_>, client: Option<&Value>) -> Option<(usize, Vec<usize>)> {
        let text = |key| client.and_then(|client| text_at(client, &[key]));
        let namespace = text("namespace")?;
        let service = index.find("", "Service", namespace, text("name")?)?;
        let selector = index
            .items
            .get(service)
            .and_then(|item: &Item| at(&item.object.value, &["spec", "selector"]));
        let selector = selector
            .and_then(Value::as_object)
            .filter(|selector| !selector.is_empty());
        let selects = |labels: &Map<String, Value>| {
            selector
                .is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
        };
        let workloads = self.0.get(namespace).into_iter().flatten();
        let backends = workloads
            .filter(|(_, labels)| selects(labels))
            .map(|(number, _)| *number);
        Some((service, backends.collect()))
    }
}
