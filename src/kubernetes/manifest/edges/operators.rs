use std::collections::{BTreeSet, HashMap};

use super::{
    Edges, Item,
    index::Index,
    infer::{Definitions, texts},
};
use crate::{
    kubernetes::manifest::{
        object::{Object, list_at, text_at},
        pods,
    },
    model::Until,
};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Which bindings give rights to an account.
#[derive(Debug)]
pub(super) struct Accounts<'a>(HashMap<(&'a str, &'a str), Vec<usize>>);

impl<'a> Accounts<'a> {
    pub(super) fn new(index: &Index<'a>) -> Self {
        let mut found: HashMap<_, Vec<usize>> = HashMap::new();
        for (number, item) in index.iter() {
            for account in bound_accounts(&item.object) {
                found.entry(account).or_default().push(number);
            }
        }
        Self(found)
    }

    /// The bindings that name an account.
    pub(super) fn bindings<'b>(&'b self, namespace: &'b str, name: &'b str) -> &'b [usize] {
        self.0.get(&(namespace, name)).map_or(&[], Vec::as_slice)
    }
}

fn is_binding(object: &Object) -> bool {
    object.is(RBAC, "RoleBinding") || object.is(RBAC, "ClusterRoleBinding")
}

/// The service accounts that an object gives rights to, by namespace and name.
pub(super) fn bound_accounts(object: &Object) -> Vec<(&str, &str)> {
    let subjects = if is_binding(object) {
        list_at(&object.value, &["subjects"])
    } else {
        &[]
    };
    subjects
        .iter()
        .filter(|subject| text_at(subject, &["kind"]) == Some("ServiceAccount"))
        .filter_map(|subject| Some((text_at(subject, &["namespace"])?, text_at(subject, &["name"])?)))
        .collect()
}

/// The role that an object gives, if it is a binding and the role is in the stack.
pub(super) fn role(index: &Index<'_>, item: &Item) -> Option<usize> {
    if !is_binding(&item.object) {
        return None;
    }
    let kind = item.object.text(&["roleRef", "kind"]);
    let namespace = if kind == "Role" { item.namespace() } else { "" };
    index.find(RBAC, kind, namespace, item.object.text(&["roleRef", "name"]))
}

/// Custom resources come after what works on them, so that they go before it: only a running operator removes what it
/// made of them. The operator in turn comes after the CRDs: many look once, when they start, which types are served.
///
/// An operator is a `Deployment` or `StatefulSet` whose account has rights on the resource's API group, in the component
/// that holds the resource or its CRD.
pub(super) fn infer(index: &Index<'_>, crds: &Definitions, accounts: &Accounts<'_>, edges: &mut Edges) {
    let mut operators: HashMap<&str, BTreeSet<usize>> = HashMap::new();
    for (number, item) in index.iter() {
        if !item.object.is("apps", "Deployment") && !item.object.is("apps", "StatefulSet") {
            continue;
        }
        let account = pods::service_account(&item.object).unwrap_or_default();
        for binding in accounts.bindings(item.namespace(), account) {
            let role = index.items.get(*binding).and_then(|binding| role(index, binding));
            let rules = role
                .and_then(|role| index.items.get(role))
                .map(|role| list_at(&role.object.value, &["rules"]));
            for group in rules
                .into_iter()
                .flatten()
                .flat_map(|rule| texts(rule, &["apiGroups"]))
            {
                operators.entry(group).or_default().insert(number);
            }
        }
    }
    let component = |number: usize| index.items.get(number).map(|item| item.component);
    let of_group = |group: &str| {
        let named = [group, "*"].map(|group| operators.get(group).into_iter().flatten().copied());
        named.into_iter().flatten().collect::<Vec<usize>>()
    };
    for ((group, _), crd) in crds {
        for operator in of_group(group) {
            if component(operator) == component(*crd) {
                edges.need(operator, *crd, Until::Ready);
            }
        }
    }
    for (number, item) in index.iter() {
        let Some(crd) = crds.get(&item.object.group_kind()) else {
            continue;
        };
        for operator in of_group(item.object.group()) {
            if [component(number), component(*crd)].contains(&component(operator)) {
                edges.need(number, operator, Until::Applied);
            }
        }
    }
}
