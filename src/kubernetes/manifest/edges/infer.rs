use std::collections::HashMap;

use serde_json::Value;

use super::{
    Edges, Item, backends, components,
    index::Index,
    operators::{self, Accounts},
};
use crate::{
    graph::Graph,
    kubernetes::manifest::{
        images, names,
        object::{Object, list_at, text_at},
        pods,
        scope::{self, GroupKind, Types},
    },
    model::{Mistake, Until},
};

/// The annotation that names further addresses that must be ready first.
const NEEDS: &str = "stackup/needs";

/// Finds all edges between the items; a cycle is a mistake, told with its path.
pub(in super::super) fn infer(
    items: &[Item],
    types: &Types,
    depends_on: &[Vec<usize>],
    references: &[(usize, usize)],
    mistakes: &mut Vec<Mistake>,
) -> Edges {
    let index = Index::new(items);
    let mut edges = Edges::new(items.len());
    let crds = definitions(&index);
    let accounts = Accounts::new(&index);
    for (item, needed) in references {
        edges.need(*item, *needed, Until::Ready);
    }
    for (number, item) in index.iter() {
        home(&index, &crds, number, item, &mut edges);
        pod_needs(&index, &accounts, number, item, &mut edges);
        bindings(&index, number, item, &mut edges);
        autoscaler(&index, number, item, &mut edges);
    }
    annotations(&index, &mut edges, mistakes);
    operators::infer(&index, &crds, &accounts, &mut edges);
    let gates = backends::infer(&index, &mut edges);
    components::infer(&index, depends_on, &crds, &mut edges);
    // Last, since a gate must know all that its own backend needs.
    backends::intercept(&index, types, &gates, &mut edges);
    if let Some(mistake) = cycle(items, &edges) {
        mistakes.push(mistake);
    }
    edges
}

/// Whether a node pulls images because of this object.
pub(in super::super) fn pulls_images(object: &Object) -> bool {
    pods::has_pods(object) || !images::of(&object.value).is_empty()
}

/// CRDs by the type that they define.
pub(super) type Definitions = HashMap<GroupKind, usize>;

fn definitions(index: &Index<'_>) -> Definitions {
    let defined = |(number, item): (usize, &Item)| Some((scope::defined(&item.object)?.0, number));
    index.iter().filter_map(defined).collect()
}

/// What an object lives in: its namespace, and the API that serves it.
fn home(index: &Index<'_>, crds: &Definitions, number: usize, item: &Item, edges: &mut Edges) {
    let object = &item.object;
    if let Some(namespace) = index.find("", "Namespace", "", item.namespace()) {
        edges.need(number, namespace, Until::Ready);
    }
    if let Some(crd) = crds.get(&object.group_kind()) {
        edges.need(number, *crd, Until::Ready);
    }
    let api_service = format!("{}.{}", object.version(), object.group());
    if let Some(service) = index.find("apiregistration.k8s.io", "APIService", "", &api_service) {
        edges.need(number, service, Until::Ready);
    }
}

/// What the pods of an object need by name, and the rights of their account.
fn pod_needs(index: &Index<'_>, accounts: &Accounts<'_>, number: usize, item: &Item, edges: &mut Edges) {
    for used in pods::uses(&item.object) {
        let cluster_wide = used.kind.ends_with("Class");
        let namespace = if cluster_wide { "" } else { item.namespace() };
        if let Some(needed) = index.find(used.group, used.kind, namespace, &used.name) {
            edges.need(number, needed, Until::Applied);
        }
    }
    if let Some(account) = pods::service_account(&item.object) {
        for binding in accounts.bindings(item.namespace(), account) {
            edges.need(number, *binding, Until::Applied);
        }
    }
}

/// Roles and accounts come before what binds them: the server checks that a binding may be made.
fn bindings(index: &Index<'_>, number: usize, item: &Item, edges: &mut Edges) {
    if let Some(role) = operators::role(index, item) {
        edges.need(number, role, Until::Applied);
    }
    for (namespace, name) in operators::bound_accounts(&item.object) {
        if let Some(account) = index.find("", "ServiceAccount", namespace, name) {
            edges.need(number, account, Until::Applied);
        }
    }
}

fn autoscaler(index: &Index<'_>, number: usize, item: &Item, edges: &mut Edges) {
    if !item.object.is("autoscaling", "HorizontalPodAutoscaler") {
        return;
    }
    let text = |key| item.object.text(&["spec", "scaleTargetRef", key]);
    let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
    if let Some(target) = index.find(group, text("kind"), item.namespace(), text("name")) {
        edges.need(number, target, Until::Applied);
        edges.scale(target, number);
    }
}

fn annotations(index: &Index<'_>, edges: &mut Edges, mistakes: &mut Vec<Mistake>) {
    let addresses: HashMap<&str, usize> = index.iter().map(|(number, item)| (item.address.as_str(), number)).collect();
    for (number, item) in index.iter() {
        let listed = item.object.text(&["metadata", "annotations", NEEDS]);
        for address in listed.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            if let Some(needed) = addresses.get(address) {
                edges.need(number, *needed, Until::Ready);
            } else {
                let hint = names::closest(address, addresses.keys().copied()).map_or_else(
                    || "an address is k8s/NAMESPACE/KIND/NAME, or k8s/KIND/NAME without a namespace".to_owned(),
                    |known| format!("did you mean '{known}'?"),
                );
                let message = format!("annotation {NEEDS} of {} names '{address}', which is not in the stack", item.object.title());
                mistakes.push(item.object.source.mistake(message, hint));
            }
        }
    }
}

fn cycle(items: &[Item], edges: &Edges) -> Option<Mistake> {
    let mut graph = Graph::new(items.len());
    for number in 0..items.len() {
        edges.needs(number).for_each(|(needed, _)| graph.need(number, needed));
    }
    let cycle = graph.order().err()?;
    let path: Vec<&Item> = cycle.iter().filter_map(|number| items.get(*number)).collect();
    let first = path.first()?;
    let addresses: Vec<&str> = path.iter().chain([first]).map(|item| item.address.as_str()).collect();
    let message = format!("objects need each other in a circle: {}", addresses.join(" needs "));
    let hint = format!("take one of these edges away: dependsOn of a component, annotation {NEEDS}, or a reference in an object");
    Some(first.object.source.mistake(message, hint))
}

/// Texts of a list.
pub(super) fn texts<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a str> {
    list_at(value, path).iter().filter_map(|item| text_at(item, &[]))
}
