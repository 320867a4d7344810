use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::{Map, Value, json};

use super::{
    edges::{self, Item},
    object::{Object, list_at, text_at},
    pods,
    prepare::{Prepared, prepare},
    scope::Types,
};
use crate::{
    model::{Address, CompanionSpec, Mistake, Need, StackModel},
    resource::{Reference, Wanted},
};

/// The name of the kind that every object is of.
const KIND: &str = "k8s.object";

/// What the components of a stack come to.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// Every object, in the order of the components and their files.
    pub wanted: Vec<Wanted>,
    /// Programs to run beside a simulated cluster.
    pub companions: Vec<CompanionSpec>,
}

/// Loads all components of a stack and finds out what needs what, or tells every mistake.
///
/// `cluster` is what every object lives in; `pods_need` is what must be there before any image is pulled.
pub fn expand(
    model: &StackModel,
    cluster: &Address,
    pods_need: &[Address],
) -> Result<Expanded, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut prepared: Vec<Option<Prepared>> = model
        .components
        .iter()
        .map(|component| prepare(model, component, &mut mistakes))
        .collect();
    let objects = || prepared.iter().flatten().flat_map(|prepared| &prepared.objects);
    let types = Types::new(objects());
    let mut items = items(&mut prepared, &types, &mut mistakes);
    doubles(&items, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(sorted(mistakes));
    }
    let generated = generate(&prepared, &mut items, &mut mistakes);
    let companions = companions(model, &prepared, &items, &mut mistakes);
    let depends_on: Vec<Vec<usize>> = model
        .components
        .iter()
        .map(|component| {
            let named = |name: &String| model.components.iter().position(|other| other.name == *name);
            component.depends_on.iter().filter_map(named).collect()
        })
        .collect();
    let references: Vec<(usize, usize)> = generated.references;
    let edges = edges::infer(&items, &types, &depends_on, &references, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(sorted(mistakes));
    }

    let addresses: Vec<Address> = items.iter().map(|item| item.address.clone()).collect();
    let wanted = items
        .into_iter()
        .enumerate()
        .map(|(index, item)| {
            let mut needs: Vec<Need> = edges
                .needs(index)
                .filter_map(|(needed, until)| {
                    let address = addresses.get(needed)?.clone();
                    Some(Need { address, until })
                })
                .collect();
            if edges::pulls_images(&item.object) {
                needs.extend(pods_need.iter().cloned().map(Need::applied));
            }
            needs.sort();
            let mut inputs = Map::from_iter([
                ("cluster".to_owned(), Reference::whole(cluster)),
                ("namespaced".to_owned(), json!(item.namespaced)),
                ("object".to_owned(), item.object.value),
            ]);
            if let Some(generate) = generated.inputs.get(&index) {
                inputs.insert("generate".to_owned(), generate.clone());
            }
            if let Some(scaler) = edges.scaled_by(index).and_then(|scaler| addresses.get(scaler)) {
                inputs.insert("scaledBy".to_owned(), json!(scaler));
            }
            Wanted {
                address: item.address,
                kind: KIND,
                component: model
                    .components
                    .get(item.component)
                    .map(|component| component.name.as_str().into()),
                inputs: Arc::new(Value::Object(inputs)),
                needs,
            }
        })
        .collect();
    Ok(Expanded { wanted, companions })
}

fn sorted(mut mistakes: Vec<Mistake>) -> Vec<Mistake> {
    mistakes.sort();
    mistakes.dedup();
    mistakes
}

/// Every object with its scope, namespace and address.
fn items(prepared: &mut [Option<Prepared>], types: &Types, mistakes: &mut Vec<Mistake>) -> Vec<Item> {
    let mut found = Vec::new();
    for (component, prepared) in prepared.iter_mut().enumerate() {
        let Some(prepared) = prepared else { continue };
        for mut object in std::mem::take(&mut prepared.objects) {
            let namespaced = types.of(&object).map(|found| found.namespaced);
            match (namespaced, object.namespace(), &prepared.namespace) {
                (Some(true), None, Some(namespace)) => object.set_namespace(namespace),
                (Some(true), None, None) => {
                    let hint = "write metadata.namespace, or namespace: of the component in the stack file";
                    mistakes.push(
                        object
                            .source
                            .mistake(format!("{} has no namespace", object.title()), hint.to_owned()),
                    );
                }
                (Some(false), Some(_), _) => {
                    let message = format!("a {} belongs to no namespace", object.kind());
                    mistakes.push(
                        object
                            .source
                            .mistake(message, "remove metadata.namespace".to_owned()),
                    );
                }
                (Some(false), None, _) | (Some(true), Some(_), _) | (None, _, _) => {}
            }
            found.push((component, namespaced, object));
        }
    }
    let mut groups: HashMap<(String, String), BTreeSet<String>> = HashMap::new();
    for (_, _, object) in &found {
        groups
            .entry(key(object))
            .or_default()
            .insert(object.group().to_owned());
    }
    found
        .into_iter()
        .map(|(component, namespaced, object)| {
            // Two API groups may have one kind: then the group tells them apart.
            let alone = groups.get(&key(&object)).is_none_or(|groups| groups.len() == 1);
            let kind = match (alone, object.kind(), object.group()) {
                (true, kind, _) | (false, kind, "") => kind.to_owned(),
                (false, kind, group) => format!("{kind}.{group}"),
            };
            let name = match object.namespace() {
                Some(namespace) => format!("{namespace}/{kind}/{}", object.name()),
                None => format!("{kind}/{}", object.name()),
            };
            Item {
                address: Address::new("k8s", &name),
                component,
                namespaced,
                object,
            }
        })
        .collect()
}

fn key(object: &Object) -> (String, String) {
    (
        object.kind().to_owned(),
        format!("{}/{}", object.namespace().unwrap_or_default(), object.name()),
    )
}

/// One object in two versions of its group is one object.
fn doubles(items: &[Item], mistakes: &mut Vec<Mistake>) {
    let mut seen: HashMap<&Address, &Object> = HashMap::with_capacity(items.len());
    for item in items {
        if let Some(first) = seen.get(&item.address) {
            let message = format!("{} is given twice", item.object.title());
            mistakes.push(
                item.object
                    .source
                    .mistake(message, format!("first at {}", first.source)),
            );
        } else {
            seen.insert(&item.address, &item.object);
        }
    }
}

/// What `generate` of the components comes to.
#[derive(Default)]
struct Generated {
    /// By item: what the live half makes.
    inputs: BTreeMap<usize, Value>,
    /// Which item refers to which one's outputs.
    references: Vec<(usize, usize)>,
}

/// What a component's own word names: found, deleted by a patch, or not there.
fn named(
    prepared: &Prepared,
    items: &[Item],
    component: usize,
    kind: &str,
    name: &str,
) -> Result<Option<usize>, String> {
    let is = |object: &Object| object.kind() == kind && object.name() == name;
    match items
        .iter()
        .position(|item| item.component == component && is(&item.object))
    {
        Some(index) => Ok(Some(index)),
        None if prepared.deleted.iter().any(is) => Ok(None),
        None => Err(format!(
            "names {kind}/{name}, which no manifest of the component holds"
        )),
    }
}

fn generate(prepared: &[Option<Prepared>], items: &mut [Item], mistakes: &mut Vec<Mistake>) -> Generated {
    let mut generated = Generated::default();
    for (component, prepared) in prepared.iter().enumerate() {
        let Some(prepared) = prepared else { continue };
        let mut found = |items: &[Item], kind: &str, name: &str| {
            named(prepared, items, component, kind, name).unwrap_or_else(|fault| {
                mistakes.push(prepared.source.mistake(format!("generate: {fault}"), None));
                None
            })
        };
        for wanted in &prepared.definition.generate {
            let secret = found(items, "Secret", &wanted.secret);
            let bundles: Vec<usize> = wanted
                .ca_bundle_of
                .iter()
                .filter_map(|named| {
                    let (kind, name) = named.split_once('/').unwrap_or((named, ""));
                    found(items, kind, name)
                })
                .collect();
            let Some(secret) = secret else { continue };
            let (Some(what), Some(address)) =
                (wanted.what(), items.get(secret).map(|item| item.address.clone()))
            else {
                continue;
            };
            generated.inputs.insert(secret, json!(what));
            for bundle in bundles {
                if let Some(item) = items.get_mut(bundle) {
                    set_ca_bundle(&mut item.object.value, &Reference::field(&address, "ca"));
                    generated.references.push((bundle, secret));
                }
            }
        }
    }
    generated
}

fn set_ca_bundle(configuration: &mut Value, bundle: &Value) {
    let webhooks = configuration.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks.into_iter().flatten() {
        if let Some(client) = webhook.get_mut("clientConfig").and_then(Value::as_object_mut) {
            client.insert("caBundle".to_owned(), bundle.clone());
        }
    }
}

fn companions(
    model: &StackModel,
    prepared: &[Option<Prepared>],
    items: &[Item],
    mistakes: &mut Vec<Mistake>,
) -> Vec<CompanionSpec> {
    let mut companions = Vec::new();
    for (component, (prepared, named_by)) in prepared.iter().zip(&model.components).enumerate() {
        let Some(prepared) = prepared else { continue };
        let Some(profile) = prepared.definition.profiles.get(model.cluster.provider()) else {
            continue;
        };
        for companion in &profile.companions {
            match named(prepared, items, component, "Deployment", &companion.deployment) {
                Ok(index) => companions.extend(index.and_then(|index| items.get(index)).map(|item| {
                    CompanionSpec {
                        component: named_by.name.as_str().into(),
                        deployment: item.address.clone(),
                        namespace: item.namespace().to_owned(),
                        name: item.object.name().to_owned(),
                        program: companion.program.clone(),
                        args: arguments(&item.object),
                        service_account: pods::service_account(&item.object)
                            .unwrap_or("default")
                            .to_owned(),
                    }
                })),
                Err(fault) => mistakes.push(prepared.source.mistake(format!("companions: {fault}"), None)),
            }
        }
    }
    companions
}

fn arguments(deployment: &Object) -> Vec<String> {
    let containers = list_at(&deployment.value, &["spec", "template", "spec", "containers"]);
    let args = containers
        .first()
        .map_or(&[][..], |container| list_at(container, &["args"]));
    args.iter()
        .filter_map(|argument| text_at(argument, &[]))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kubernetes::manifest::{
            fixture::{self, Fixture},
            images,
        },
        model::{ClusterModel, ManifestSource},
    };

    const CONFIG: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: x}}\n";

    #[test]
    fn an_object_becomes_a_node_with_its_marks_and_its_cluster() {
        let mut stack = Fixture::new(&[(
            "app",
            "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: x, labels: {b: c}}, spec: {selector: {matchLabels: {b: c}}, template: {metadata: {labels: {b: c}}}}}\n---\n{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'a:b'}}\n",
        )]);
        stack.first().labels.insert("team".into(), "shop".into());
        let wanted = stack.wanted();
        assert_eq!(
            *wanted[0].inputs,
            json!({"cluster": {"$ref": "kwok.cluster/demo"}, "namespaced": true, "object": {
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "a", "namespace": "x", "labels": {"b": "c", "team": "shop", "stackup/stack": "demo"}},
                "spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}},
            }})
        );
        let told: Vec<_> = wanted
            .iter()
            .map(|wanted| (wanted.address.as_str(), wanted.kind, wanted.component.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("k8s/x/Deployment/a", "k8s.object", Some("app")),
                ("k8s/ClusterRole/a:b", "k8s.object", Some("app"))
            ]
        );
    }

    #[test]
    fn the_namespace_is_that_of_the_object_then_of_the_stack_file_then_of_the_component() {
        let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: b, namespace: own}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: m}}\n";
        for (of_stack, of_component, expected) in [(Some("s"), "c", "s"), (None, "c", "c")] {
            let mut stack =
                Fixture::new(&[("app", text)]).define("app", &format!("namespace: {of_component}\n"));
            stack.first().namespace = of_stack.map(str::to_owned);
            let addresses: Vec<_> = stack
                .wanted()
                .iter()
                .map(|wanted| wanted.address.to_string())
                .collect();
            let expected = [
                &format!("k8s/{expected}/ConfigMap/a"),
                "k8s/own/ConfigMap/b",
                "k8s/Namespace/m",
            ];
            assert_eq!(addresses, expected);
        }
    }

    #[test]
    fn scope_is_checked_where_it_is_known_and_left_to_a_server_where_it_is_not() {
        let stack = Fixture::new(&[
            (
                "app",
                "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: m, namespace: x}}\n---\n{apiVersion: e.com/v1, kind: W, metadata: {name: w}}\n",
            ),
            (
                "crd",
                "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: ws.e.com}, spec: {group: e.com, scope: Namespaced, names: {kind: W, plural: ws}}}\n",
            ),
        ]);
        assert_eq!(
            stack.mistakes(),
            [
                "app/a.yaml:1:52: ConfigMap a has no namespace (write metadata.namespace, or namespace: of the component in the stack file)",
                "app/a.yaml:3:52: a Namespace belongs to no namespace (remove metadata.namespace)",
                "app/a.yaml:5:50: W w has no namespace (write metadata.namespace, or namespace: of the component in the stack file)",
            ]
        );
        let unknown = Fixture::new(&[("app", "{apiVersion: e.com/v1, kind: W, metadata: {name: w}}\n")]);
        assert_eq!(unknown.wanted()[0].inputs["namespaced"], Value::Null);
    }

    #[test]
    fn one_object_given_twice_is_told_with_both_places_whatever_its_version() {
        let hpa = |version: &str| {
            format!(
                "{{apiVersion: autoscaling/{version}, kind: HorizontalPodAutoscaler, metadata: {{name: a, namespace: x}}}}\n"
            )
        };
        let stack = Fixture::new(&[("one", &hpa("v2")), ("two", &hpa("v1"))]);
        let mistakes = stack.mistakes();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].starts_with("two/a.yaml:1:78: HorizontalPodAutoscaler x/a is given twice (first at "),
            "{mistakes:?}"
        );
        assert!(mistakes[0].ends_with("one/a.yaml:1:78)"), "{mistakes:?}");
    }

    #[test]
    fn kinds_of_one_name_in_two_groups_are_told_apart() {
        let stack = Fixture::new(&[(
            "app",
            "{apiVersion: v1, kind: Event, metadata: {name: a, namespace: x}}\n---\n{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: a, namespace: x}}\n---\n{apiVersion: v1, kind: Event, metadata: {name: b, namespace: x}}\n",
        )]);
        let addresses: Vec<_> = stack
            .wanted()
            .iter()
            .map(|wanted| wanted.address.to_string())
            .collect();
        assert_eq!(
            addresses,
            ["k8s/x/Event/a", "k8s/x/Event.events.k8s.io/a", "k8s/x/Event/b"]
        );
    }

    #[test]
    fn mistakes_of_all_components_are_told_at_once_and_show_no_secret() {
        let mut stack = Fixture::new(&[
            (
                "one",
                "{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: x}, data: {p: hunter2!}, stringData: {q: 12345}}\n",
            ),
            ("two", CONFIG),
        ]);
        stack.model.components[1]
            .values
            .insert("a".into(), json!("hunter2"));
        stack.model.components[1].patches = vec![
            json!({"target": {"name": "hunter"}, "merge": {"stringData": {"p": "hunter2"}}}),
            json!({"target": {"name": "a"}}),
            json!({"target": {"name": "a"}, "when": true, "delete": true}),
        ];
        let mistakes = stack.mistakes();
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
        assert!(
            !mistakes
                .iter()
                .any(|told| told.contains("hunter2") || told.contains("12345")),
            "{mistakes:#?}"
        );
    }

    #[test]
    fn patches_apply_in_order_provider_then_option_then_user() {
        let definition = "options: [{name: o, type: string, default: none, description: d, patches: [{target: {name: a}, merge: {data: {b: '${value}', c: '${value}'}}}]}]\n\
             profiles: {kwok: {patches: [{target: {name: a}, merge: {data: {a: profile, b: profile, c: profile}}}]}}\n";
        let mut stack = Fixture::new(&[("app", CONFIG)]).define("app", definition);
        stack.first().values.insert("o".into(), json!("option"));
        stack.first().patches = vec![
            json!({"target": {"kind": "ConfigMap"}, "json": [{"op": "replace", "path": "/data/c", "value": "user"}]}),
        ];
        assert_eq!(
            stack.wanted()[0].inputs["object"]["data"],
            json!({"a": "profile", "b": "option", "c": "user"})
        );
    }

    #[test]
    fn a_patch_of_the_user_that_matches_nothing_is_a_mistake() {
        let mut stack = Fixture::new(&[("app", CONFIG)]);
        stack.first().patches = vec![json!({"target": {"kind": "Secret"}, "delete": true})];
        assert_eq!(
            stack.mistakes(),
            [
                "/stack: component 'app': a patch's target {kind: Secret} matches no object (a target's kind, name and namespace must each be equal to the object's)"
            ]
        );
    }

    #[test]
    fn an_image_key_that_nothing_uses_is_a_mistake() {
        let mut stack = Fixture::new(&[(
            "app",
            "{apiVersion: v1, kind: Pod, metadata: {name: a, namespace: x}, spec: {containers: [{name: c, image: 'a.io/b:1'}]}}\n",
        )]);
        stack.first().images.insert("a.oi".into(), "m.example".into());
        assert_eq!(
            stack.mistakes(),
            ["/stack: component 'app': images: nothing uses 'a.oi' (it names: a.io/b:1)"]
        );
        stack.first().images = BTreeMap::from([("a.io".into(), "m.example".into())]);
        assert_eq!(
            images(&stack.wanted()),
            BTreeSet::from(["m.example/b:1".to_owned()])
        );
    }

    #[test]
    fn what_the_program_makes_is_told_and_its_authority_is_referred_to() {
        let text = "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: x}}\n---\n{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: w}, webhooks: [{name: a, clientConfig: {url: u}}]}\n";
        let definition = "generate: [{secret: s, certificate: {dnsNames: [a.b], keys: {ca: ca, certificate: c, privateKey: k}}, caBundleOf: [ValidatingWebhookConfiguration/w]}]\n";
        let stack = Fixture::new(&[("app", text)]).define("app", definition);
        let wanted = stack.wanted();
        assert_eq!(
            wanted[0].inputs["generate"],
            json!({"certificate": {"dnsNames": ["a.b"], "keys": {"ca": "ca", "certificate": "c", "privateKey": "k"}}})
        );
        assert_eq!(
            wanted[1].inputs["object"]["webhooks"][0]["clientConfig"]["caBundle"],
            json!({"$ref": "k8s/x/Secret/s", "field": "ca"})
        );
        let missing = Fixture::new(&[("app", CONFIG)]).define("app", definition);
        assert_eq!(missing.mistakes().len(), 2, "{:?}", missing.mistakes());
    }

    fn shipped(cluster: ClusterModel) -> StackModel {
        let builtin = |name: &str| fixture::component(name, ManifestSource::Builtin(name.into()));
        fixture::stack(cluster, vec![builtin("online-boutique"), builtin("monitoring")])
    }

    fn expanded(model: &StackModel) -> Expanded {
        expand(model, &fixture::cluster(), &[]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
    }

    #[test]
    fn what_ships_with_the_program_expands_without_mistakes_on_every_provider() {
        for cluster in fixture::providers() {
            let kwok = matches!(cluster, ClusterModel::Kwok(_));
            let expanded = expanded(&shipped(cluster));
            let count = |kind: &str| {
                let of = |wanted: &&Wanted| wanted.inputs["object"]["kind"] == kind;
                expanded.wanted.iter().filter(of).count()
            };
            assert_eq!(
                (count("Deployment"), count("DaemonSet"), count("Namespace")),
                (15, 1, 2)
            );
            assert_eq!(count("CustomResourceDefinition"), 10);
            assert_eq!(count("ValidatingWebhookConfiguration"), usize::from(!kwok));
            assert_eq!(expanded.companions.len(), usize::from(kwok));
            if let Some(companion) = expanded.companions.first() {
                // Beside a simulated cluster the operator runs with its own arguments, as the profile patched them.
                let name = "monitoring-kube-prometheus-operator";
                assert_eq!(companion.program, "operator");
                assert_eq!(
                    companion.deployment.as_str(),
                    format!("k8s/monitoring/Deployment/{name}")
                );
                assert_eq!(
                    (&*companion.namespace, &*companion.service_account),
                    ("monitoring", name)
                );
                assert_eq!(companion.args[0], "--web.listen-address=127.0.0.1:0");
            }
            assert!(
                expanded
                    .wanted
                    .iter()
                    .all(|wanted| wanted.inputs["namespaced"].is_boolean())
            );
            let edges = fixture::edges(&expanded.wanted);
            assert!(
                edges.len() < 6 * expanded.wanted.len(),
                "{} edges of {} objects",
                edges.len(),
                expanded.wanted.len()
            );
            assert!(images(&expanded.wanted).len() >= 15);
        }
    }

    #[test]
    fn every_option_that_ships_can_be_set_to_something_else() {
        let mut model = shipped(fixture::kwok());
        for component in &mut model.components {
            let files = crate::kubernetes::manifest::files::read(&component.source).unwrap();
            let mut mistakes = Vec::new();
            let definition =
                crate::kubernetes::manifest::component::definition(files.definition.as_ref(), &mut mistakes);
            assert_eq!(mistakes, []);
            for option in definition.options {
                let other = match option.default {
                    Value::Bool(value) => json!(!value),
                    Value::Number(_) => json!(3),
                    Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => json!("7d"),
                };
                component.values.insert(option.name, other);
            }
        }
        let wanted = expanded(&model).wanted;
        assert!(
            !wanted
                .iter()
                .any(|wanted| wanted.address.as_str().contains("grafana")),
            "grafana.enabled is false"
        );
    }

    #[test]
    fn the_shipped_objects_wait_for_what_they_need() {
        let [_, kind, _] = fixture::providers();
        let edges = fixture::edges(&expanded(&shipped(kind)).wanted);
        let operator = "monitoring/Deployment/monitoring-kube-prometheus-operator";
        for expected in [
            format!("ValidatingWebhookConfiguration/monitoring-kube-prometheus-admission => {operator}"),
            "ValidatingWebhookConfiguration/monitoring-kube-prometheus-admission => monitoring/Secret/monitoring-kube-prometheus-admission".into(),
            format!("monitoring/Prometheus/monitoring-kube-prometheus-prometheus -> {operator}"),
            "monitoring/Prometheus/monitoring-kube-prometheus-prometheus => CustomResourceDefinition/prometheuses.monitoring.coreos.com".into(),
            "monitoring/Prometheus/monitoring-kube-prometheus-prometheus -> ClusterRoleBinding/monitoring-kube-prometheus-prometheus".into(),
            "monitoring/Alertmanager/monitoring-kube-prometheus-alertmanager -> monitoring/Secret/alertmanager-monitoring-kube-prometheus-alertmanager".into(),
            format!("{operator} -> monitoring/Secret/monitoring-kube-prometheus-admission"),
            format!("{operator} => CustomResourceDefinition/prometheuses.monitoring.coreos.com"),
            format!("{operator} -> kube-system/RoleBinding/monitoring-kube-prometheus-operator"),
            "monitoring/Deployment/monitoring-grafana -> monitoring/Secret/monitoring-grafana".into(),
            "online-boutique/Deployment/frontend -> online-boutique/ServiceAccount/frontend".into(),
            "online-boutique/Service/frontend => Namespace/online-boutique".into(),
        ] {
            assert!(edges.contains(&expected), "{expected}\n{edges:#?}");
        }
        assert!(
            !edges
                .iter()
                .any(|edge| edge.starts_with("online-boutique/") && edge.contains("monitoring"))
        );
    }
}
