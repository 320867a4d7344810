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
    model::{Address, Component, Mistake, Need, StackModel},
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

/// A Deployment whose first container also runs as a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanionSpec {
    /// The component that asks for it.
    pub component: Component,
    /// The Deployment's address.
    pub deployment: Address,
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// The program to run.
    pub program: String,
    /// The arguments of the first container.
    pub args: Vec<String>,
    /// The ServiceAccount that the pods run as.
    pub service_account: String,
}

/// Loads all components of a stack and finds out what needs what, or tells every mistake.
///
/// `cluster` is what every object lives in; `pods_need` is what must be there before any image is pulled.
pub fn expand(model: &StackModel, cluster: &Address, pods_need: &[Address]) -> Result<Expanded, Vec<Mistake>> {
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

    let wanted = items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let mut needs: Vec<Need> = edges
                .needs(index)
                .filter_map(|(needed, until)| {
                    let address = items.get(needed)?.address.clone();
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
                ("object".to_owned(), item.object.value.clone()),
            ]);
            if let Some(generate) = generated.inputs.get(&index) {
                inputs.insert("generate".to_owned(), generate.clone());
            }
            if let Some(scaler) = edges.scaled_by(index).and_then(|scaler| items.get(scaler)) {
                inputs.insert("scaledBy".to_owned(), json!(scaler.address));
            }
            Wanted {
                address: item.address.clone(),
                kind: KIND,
                component: model.components.get(item.component).map(|component| component.name.as_str().into()),
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
                    mistakes.push(object.source.mistake(format!("{} has no namespace", object.title()), hint.to_owned()));
                }
                (Some(false), Some(_), _) => {
                    let message = format!("a {} belongs to no namespace", object.kind());
                    mistakes.push(object.source.mistake(message, "remove metadata.namespace".to_owned()));
                }
                (Some(false), None, _) | (Some(true) | None, Some(_), _) | (None, None, _) => {}
            }
            found.push((component, namespaced, object));
        }
    }
    let mut groups: HashMap<(String, String), BTreeSet<String>> = HashMap::new();
    for (_, _, object) in &found {
        groups.entry(key(object)).or_default().insert(object.group().to_owned());
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
    (object.kind().to_owned(), format!("{}/{}", object.namespace().unwrap_or_default(), object.name()))
}

/// One object in two versions of its group is one object.
fn doubles(items: &[Item], mistakes: &mut Vec<Mistake>) {
    let mut seen: HashMap<&Address, &Object> = HashMap::with_capacity(items.len());
    for item in items {
        if let Some(first) = seen.get(&item.address) {
            let message = format!("{} is given twice", item.object.title());
            mistakes.push(item.object.source.mistake(message, format!("first at {}", first.source)));
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
fn named(prepared: &Prepared, items: &[Item], component: usize, kind: &str, name: &str) -> Result<Option<usize>, String> {
    let is = |object: &Object| object.kind() == kind && object.name() == name;
    match items.iter().position(|item| item.component == component && is(&item.object)) {
        Some(index) => Ok(Some(index)),
        None if prepared.deleted.iter().any(is) => Ok(None),
        None => Err(format!("names {kind}/{name}, which no manifest of the component holds")),
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
            let (Some(what), Some(address)) = (wanted.what(), items.get(secret).map(|item| item.address.clone())) else {
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
                Ok(index) => companions.extend(index.and_then(|index| items.get(index)).map(|item| CompanionSpec {
                    component: named_by.name.as_str().into(),
                    deployment: item.address.clone(),
                    namespace: item.namespace().to_owned(),
                    name: item.object.name().to_owned(),
                    program: companion.program.clone(),
                    args: arguments(&item.object),
                    service_account: pods::service_account(&item.object).unwrap_or("default").to_owned(),
                })),
                Err(fault) => mistakes.push(prepared.source.mistake(format!("companions: {fault}"), None)),
            }
        }
    }
    companions
}

fn arguments(deployment: &Object) -> Vec<String> {
    let containers = list_at(&deployment.value, &["spec", "template", "spec", "containers"]);
    let args = containers.first().map_or(&[][..], |container| list_at(container, &["args"]));
    args.iter().filter_map(|argument| text_at(argument, &[])).map(str::to_owned).collect()
}
