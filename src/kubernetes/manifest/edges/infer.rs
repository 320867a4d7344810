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
    let addresses: HashMap<&str, usize> = index
        .iter()
        .map(|(number, item)| (item.address.as_str(), number))
        .collect();
    for (number, item) in index.iter() {
        let listed = item.object.text(&["metadata", "annotations", NEEDS]);
        for address in listed
            .split(',')
            .map(str::trim)
            .filter(|address| !address.is_empty())
        {
            if let Some(needed) = addresses.get(address) {
                edges.need(number, *needed, Until::Ready);
            } else {
                let hint = names::closest(address, addresses.keys().copied()).map_or_else(
                    || {
                        "an address is k8s/NAMESPACE/KIND/NAME, or k8s/KIND/NAME without a namespace"
                            .to_owned()
                    },
                    |known| format!("did you mean '{known}'?"),
                );
                let message = format!(
                    "annotation {NEEDS} of {} names '{address}', which is not in the stack",
                    item.object.title()
                );
                mistakes.push(item.object.source.mistake(message, hint));
            }
        }
    }
}

fn cycle(items: &[Item], edges: &Edges) -> Option<Mistake> {
    let mut graph = Graph::new(items.len());
    for number in 0..items.len() {
        edges
            .needs(number)
            .for_each(|(needed, _)| graph.need(number, needed));
    }
    let cycle = graph.order().err()?;
    let path: Vec<&Item> = cycle.iter().filter_map(|number| items.get(*number)).collect();
    let first = path.first()?;
    let addresses: Vec<&str> = path
        .iter()
        .chain([first])
        .map(|item| item.address.as_str())
        .collect();
    let message = format!(
        "objects need each other in a circle: {}",
        addresses.join(" needs ")
    );
    let hint = format!(
        "take one of these edges away: dependsOn of a component, annotation {NEEDS}, or a reference in an object"
    );
    Some(first.object.source.mistake(message, hint))
}

/// Texts of a list.
pub(super) fn texts<'a>(value: &'a Value, path: &[&str]) -> impl Iterator<Item = &'a str> {
    list_at(value, path).iter().filter_map(|item| text_at(item, &[]))
}

#[cfg(test)]
mod tests {
    use crate::kubernetes::manifest::fixture::Fixture;

    /// Objects, and the edges between them.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

    /// Objects in a short form: `apiVersion kind name [namespace]`, then JSON fields.
    fn text(objects: &[(&str, &str)]) -> String {
        objects
            .iter()
            .map(|(head, fields)| {
                let mut parts = head.split(' ');
                let mut part = || parts.next().unwrap_or_default();
                let (api_version, kind, name, namespace) = (part(), part(), part(), part());
                let namespace = if namespace.is_empty() { String::new() } else { format!(", namespace: {namespace}") };
                format!("{{apiVersion: {api_version}, kind: {kind}, metadata: {{name: {name}{namespace}}}, {fields}}}\n---\n")
            })
            .collect::<Vec<_>>()
            .concat()
    }

    const RBAC: &str = "rbac.authorization.k8s.io/v1";
    const POD: &str = "spec: {selector: {matchLabels: {app: a}}, template: {metadata: {labels: {app: a}}, spec: {serviceAccountName: sa}}}";

    fn crd() -> (&'static str, &'static str) {
        (
            "apiextensions.k8s.io/v1 CustomResourceDefinition ws.e.com",
            "spec: {group: e.com, scope: Namespaced, names: {kind: W, plural: ws}}",
        )
    }

    #[test]
    fn objects_need_what_they_live_in_and_what_they_name() {
        let (crd, crd_fields) = crd();
        let cases: &[Case] = &[
            (
                &[("v1 Namespace x", "spec: {}"), ("v1 ConfigMap a x", "data: {}")],
                &["x/ConfigMap/a => Namespace/x"],
            ),
            (
                &[("e.com/v1 W w x", "spec: {}"), (crd, crd_fields)],
                &["x/W/w => CustomResourceDefinition/ws.e.com"],
            ),
            (
                &[
                    ("v1 ServiceAccount sa x", "automountServiceAccountToken: false"),
                    ("v1 ServiceAccount sa z", "secrets: []"),
                    ("apps/v1 Deployment d x", POD),
                ],
                &[
                    "x/Deployment/d -> kind.images/demo",
                    "x/Deployment/d -> x/ServiceAccount/sa",
                ],
            ),
            (
                &[
                    ("storage.k8s.io/v1 StorageClass fast", "provisioner: p"),
                    ("v1 PersistentVolumeClaim c x", "spec: {storageClassName: fast}"),
                ],
                &["x/PersistentVolumeClaim/c -> StorageClass/fast"],
            ),
            (
                &[
                    ("scheduling.k8s.io/v1 PriorityClass high", "value: 1"),
                    ("v1 Pod p x", "spec: {priorityClassName: high}"),
                ],
                &["x/Pod/p -> PriorityClass/high", "x/Pod/p -> kind.images/demo"],
            ),
            (
                &[
                    (
                        "autoscaling/v2 HorizontalPodAutoscaler h x",
                        "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}",
                    ),
                    ("apps/v1 Deployment d x", POD),
                ],
                &[
                    "x/Deployment/d -> kind.images/demo",
                    "x/HorizontalPodAutoscaler/h -> x/Deployment/d",
                ],
            ),
            (
                &[("e.com/v1 W w x", "spec: {image: 'a.io/b'}")],
                &["x/W/w -> kind.images/demo"],
            ),
        ];
        for (objects, expected) in cases {
            assert_eq!(
                Fixture::new(&[("app", &text(objects))]).edges(),
                *expected,
                "{objects:?}"
            );
        }
    }

    #[test]
    fn bindings_come_after_role_and_account_and_before_the_pods_that_use_them() {
        let binding =
            |kind: &str| format!("{RBAC} {kind} b{}", if kind == "RoleBinding" { " x" } else { "" });
        let role = |kind: &str| format!("{RBAC} {kind} r{}", if kind == "Role" { " x" } else { "" });
        for (binding_kind, role_kind, b, r) in [
            ("RoleBinding", "Role", "x/RoleBinding/b", "x/Role/r"),
            ("RoleBinding", "ClusterRole", "x/RoleBinding/b", "ClusterRole/r"),
            (
                "ClusterRoleBinding",
                "ClusterRole",
                "ClusterRoleBinding/b",
                "ClusterRole/r",
            ),
        ] {
            let fields = format!(
                "roleRef: {{kind: {role_kind}, name: r}}, subjects: [{{kind: ServiceAccount, name: sa, namespace: x}}, {{kind: Group, name: g}}]"
            );
            let stack = Fixture::new(&[(
                "app",
                &text(&[
                    (&binding(binding_kind), &fields),
                    (&role(role_kind), "rules: []"),
                    ("v1 ServiceAccount sa x", "secrets: []"),
                    ("apps/v1 Deployment d x", POD),
                ]),
            )]);
            let mut expected = vec![
                format!("{b} -> {r}"),
                format!("{b} -> x/ServiceAccount/sa"),
                format!("x/Deployment/d -> {b}"),
                "x/Deployment/d -> kind.images/demo".into(),
                "x/Deployment/d -> x/ServiceAccount/sa".into(),
            ];
            expected.sort();
            assert_eq!(stack.edges(), expected);
        }
    }

    #[test]
    fn replicas_of_what_an_autoscaler_scales_are_left_to_it() {
        let stack = Fixture::new(&[(
            "app",
            &text(&[
                (
                    "autoscaling/v2 HorizontalPodAutoscaler h x",
                    "spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}}",
                ),
                ("apps/v1 Deployment d x", POD),
            ]),
        )]);
        let wanted = stack.wanted();
        assert_eq!(wanted[1].inputs["scaledBy"], "k8s/x/HorizontalPodAutoscaler/h");
        assert!(wanted[0].inputs.get("scaledBy").is_none());
    }

    fn webhook(policy: &str, rules: &str) -> Vec<String> {
        let fields = format!(
            "webhooks: [{{name: a, failurePolicy: {policy}, clientConfig: {{service: {{name: s, namespace: x}}}}, rules: [{rules}]}}]"
        );
        let stack = Fixture::new(&[(
            "app",
            &text(&[
                (
                    "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration w",
                    &fields,
                ),
                ("v1 Service s x", "spec: {selector: {app: a}}"),
                ("apps/v1 Deployment d x", POD),
                ("v1 ServiceAccount sa x", "secrets: []"),
                ("v1 ConfigMap c z", "data: {}"),
                ("v1 Service other z", "spec: {}"),
            ]),
        )]);
        let mut edges = stack.edges();
        edges.retain(|edge| !edge.starts_with("x/Deployment/d"));
        edges
    }

    #[test]
    fn a_webhook_waits_for_its_backend_and_what_it_guards_or_only_looks_at_by_name_waits_for_it() {
        let own = [
            "ValidatingWebhookConfiguration/w -> x/Service/s",
            "ValidatingWebhookConfiguration/w => x/Deployment/d",
        ];
        let all = "{operations: ['*'], apiGroups: ['*'], apiVersions: ['*'], resources: ['*']}";
        let maps = "{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [configmaps]}";
        let deletes = "{operations: [DELETE], apiGroups: [''], apiVersions: [v1], resources: [configmaps]}";
        assert_eq!(webhook("Ignore", all), own);
        assert_eq!(webhook("Fail", deletes), own);
        // One that may be ignored would otherwise not see what is written before it answers.
        for policy in ["Fail", "Ignore"] {
            assert_eq!(
                webhook(policy, maps)[2..],
                [
                    "z/ConfigMap/c -> ValidatingWebhookConfiguration/w",
                    "z/ConfigMap/c => x/Deployment/d"
                ]
            );
        }
        // Neither the backend nor what it needs waits for it.
        assert_eq!(
            webhook("Fail", all)[2..],
            [
                "z/ConfigMap/c -> ValidatingWebhookConfiguration/w",
                "z/ConfigMap/c => x/Deployment/d",
                "z/Service/other -> ValidatingWebhookConfiguration/w",
                "z/Service/other => x/Deployment/d"
            ]
        );
    }

    #[test]
    fn an_api_service_waits_for_its_backend_and_its_objects_for_it() {
        let stack = Fixture::new(&[(
            "app",
            &text(&[
                (
                    "apiregistration.k8s.io/v1 APIService v1.e.com",
                    "spec: {service: {name: s, namespace: x}}",
                ),
                ("v1 Service s x", "spec: {selector: {app: a}}"),
                ("apps/v1 Deployment d x", POD),
                ("e.com/v1 W w x", "spec: {}"),
            ]),
        )]);
        assert_eq!(
            stack.edges(),
            [
                "APIService/v1.e.com -> x/Service/s",
                "APIService/v1.e.com => x/Deployment/d",
                "x/Deployment/d -> kind.images/demo",
                "x/W/w => APIService/v1.e.com",
            ]
        );
    }

    #[test]
    fn converted_resources_wait_for_what_converts_them() {
        let fields = "spec: {group: e.com, scope: Namespaced, names: {kind: W, plural: ws}, conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: s, namespace: x}}}}}";
        let stack = Fixture::new(&[(
            "app",
            &text(&[
                (crd().0, fields),
                ("v1 Service s x", "spec: {selector: {app: a}}"),
                ("apps/v1 Deployment d x", POD),
                ("e.com/v1 W w x", "spec: {}"),
            ]),
        )]);
        assert!(stack.edges().contains(&"x/W/w => x/Deployment/d".to_owned()));
    }

    #[test]
    fn custom_resources_go_before_the_operator_that_works_on_them() {
        let (crd, crd_fields) = crd();
        let operator = |group: &str| {
            let rules = format!("rules: [{{apiGroups: [{group}], resources: [ws], verbs: [watch]}}]");
            text(&[
                (crd, crd_fields),
                ("v1 ServiceAccount sa x", "secrets: []"),
                (&format!("{RBAC} ClusterRole r"), &rules),
                (
                    &format!("{RBAC} ClusterRoleBinding b"),
                    "roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: ServiceAccount, name: sa, namespace: x}]",
                ),
                ("apps/v1 Deployment d x", POD),
            ])
        };
        let resource = text(&[("e.com/v1 W w z", "spec: {}")]);
        let edge = "z/W/w -> x/Deployment/d".to_owned();
        let of_operator = "x/Deployment/d => CustomResourceDefinition/ws.e.com".to_owned();
        for (group, expected) in [("e.com", true), ("'*'", true), ("other.com", false)] {
            let both = Fixture::new(&[("one", &format!("{}{resource}", operator(group)))]);
            assert_eq!(both.edges().contains(&edge), expected, "{group}");
            assert_eq!(both.edges().contains(&of_operator), expected, "{group}");
            let apart = Fixture::new(&[("one", &operator(group)), ("two", &resource)]);
            assert_eq!(
                apart.edges().contains(&edge),
                expected,
                "{group}, in two components"
            );
        }
    }

    #[test]
    fn a_component_begins_when_those_it_depends_on_work() {
        let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n---\n";
        let of = |name: &str| {
            format!(
                "{}{}",
                namespace.replace("NAME", name),
                text(&[
                    (&format!("apps/v1 Deployment d {name}"), POD),
                    (&format!("v1 Service s {name}"), "spec: {}")
                ])
            )
        };
        let mut stack = Fixture::new(&[("a", &of("a")), ("b", &of("b")), ("c", &of("c"))]);
        stack.model.components[1].depends_on = vec!["a".into()];
        stack.model.components[2].depends_on = vec!["b".into()];
        let between: Vec<_> = stack
            .edges()
            .into_iter()
            .filter(|edge| edge.starts_with("Namespace/"))
            .collect();
        assert_eq!(
            between,
            ["Namespace/b => a/Deployment/d", "Namespace/c => b/Deployment/d"]
        );
    }

    #[test]
    fn a_component_without_objects_hands_on_what_it_depends_on() {
        let mut stack = Fixture::new(&[
            ("a", &text(&[("v1 ConfigMap a x", "data: {}")])),
            ("b", "# nothing here\n"),
            ("c", &text(&[("v1 ConfigMap c x", "data: {}")])),
        ]);
        stack.model.components[1].depends_on = vec!["a".into()];
        stack.model.components[2].depends_on = vec!["b".into()];
        assert_eq!(stack.edges(), ["x/ConfigMap/c => x/ConfigMap/a"]);
    }

    #[test]
    fn an_annotation_declares_an_edge_and_a_wrong_one_is_a_mistake() {
        let stack = |needs: &str| {
            Fixture::new(&[(
                "app",
                &format!(
                    "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: a, namespace: x, annotations: {{stackup/needs: '{needs}'}}}}}}\n---\n{}",
                    text(&[("v1 ConfigMap b x", "data: {}"), ("v1 Namespace m", "spec: {}")])
                ),
            )])
        };
        assert_eq!(
            stack("k8s/x/ConfigMap/b, k8s/Namespace/m").edges(),
            ["x/ConfigMap/a => Namespace/m", "x/ConfigMap/a => x/ConfigMap/b"]
        );
        assert_eq!(
            stack("k8s/x/Configmap/b").mistakes(),
            [
                "app/a.yaml:1:52: annotation stackup/needs of ConfigMap x/a names 'k8s/x/Configmap/b', which is not in the stack (did you mean 'k8s/x/ConfigMap/b'?)"
            ]
        );
    }

    #[test]
    fn a_circle_is_told_with_its_whole_path() {
        let mut stack = Fixture::new(&[
            ("a", &text(&[("v1 ConfigMap a x", "data: {}")])),
            ("b", &text(&[("v1 ConfigMap b x", "data: {}")])),
        ]);
        stack.model.components[0].depends_on = vec!["b".into()];
        stack.model.components[1].depends_on = vec!["a".into()];
        assert_eq!(
            stack.mistakes(),
            [
                "a/a.yaml:1:52: objects need each other in a circle: k8s/x/ConfigMap/a needs k8s/x/ConfigMap/b needs k8s/x/ConfigMap/a (take one of these edges away: dependsOn of a component, annotation stackup/needs, or a reference in an object)"
            ]
        );
    }

    #[test]
    fn edges_stay_linear_in_the_number_of_objects() {
        let of = |count: usize| {
            let mut objects = vec![
                ("v1 Namespace x".to_owned(), "spec: {}".to_owned()),
                (crd().0.to_owned(), crd().1.to_owned()),
            ];
            for number in 0..count {
                objects.push((format!("v1 ServiceAccount sa{number} x"), "secrets: []".into()));
                objects.push((format!("e.com/v1 W w{number} x"), "spec: {}".into()));
                objects.push((
                    format!("apps/v1 Deployment d{number} x"),
                    POD.replace("sa}", &format!("sa{number}}}")),
                ));
            }
            let objects: Vec<_> = objects
                .iter()
                .map(|(head, fields)| (head.as_str(), fields.as_str()))
                .collect();
            Fixture::new(&[("app", &text(&objects))]).edges().len()
        };
        assert_eq!(of(200) - of(100), of(300) - of(200));
    }
}
