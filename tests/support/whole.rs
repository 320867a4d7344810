//! Whole stacks as the examples describe them: the resources and kinds are the real ones.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::{Map, Value, json};
use stackup::{
    kubernetes::{self, Clusters, manifest},
    local::{self, Local, ProgramPaths},
    model::{Address, Secret, StackModel},
    resource::{Kind, Wanted, references},
    stack,
};

/// One stack with everything that its runs need.
pub(crate) struct Whole {
    pub(crate) name: String,
    pub(crate) wanted: Vec<Arc<Wanted>>,
    pub(crate) kinds: Vec<Arc<dyn Kind>>,
    /// Outputs for everything that something refers to.
    pub(crate) outputs: BTreeMap<Address, Value>,
}

impl Whole {
    /// That of an example, with more settings (`cluster.workers=3`); its kinds keep what they have in `data`.
    pub(crate) fn of(file: &str, set: &[&str], data: &Path) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks").join(file);
        let request = stack::Request {
            files: vec![path],
            set: set.iter().map(|set| (*set).to_owned()).collect(),
            env: BTreeMap::from([("RUN_ID".to_owned(), "1".to_owned())]),
        };
        let model = stack::load(&request).unwrap();
        let part = part(&model);
        let objects = manifest::expand(&model, &part.cluster, &part.pods_need).unwrap();
        let companions = local::companions(&model, &part.cluster, &objects.companions);
        let wanted: Vec<_> = part
            .wanted
            .into_iter()
            .chain(objects.wanted)
            .chain(companions)
            .map(Arc::new)
            .collect();
        Self {
            name: model.name,
            outputs: outputs(&wanted),
            wanted,
            kinds: kinds(data),
        }
    }
}

fn part(model: &StackModel) -> stackup::resource::ClusterPart {
    #[cfg(feature = "aws")]
    let cloud = || stackup::aws::expand(model);
    #[cfg(not(feature = "aws"))]
    let cloud = || None;
    local::expand(model).or_else(cloud).unwrap()
}

/// The kinds of all rooms, which find no program to start.
pub(crate) fn kinds(data: &Path) -> Vec<Arc<dyn Kind>> {
    let clusters = Clusters::new(data.to_owned(), Secret::new(vec![1]), Arc::new(|_| {}), None);
    let mut kinds = kubernetes::kinds(&clusters, None);
    kinds.extend(local::kinds(&Arc::new(Local::new(
        data.to_owned(),
        ProgramPaths::default(),
    ))));
    #[cfg(feature = "aws")]
    kinds.extend(stackup::aws::kinds(&Arc::new(stackup::aws::Clients::new(None))));
    kinds
}

/// Whatever field is asked for.
fn outputs(wanted: &[Arc<Wanted>]) -> BTreeMap<Address, Value> {
    let mut outputs: BTreeMap<Address, Map<String, Value>> = BTreeMap::new();
    for wanted in wanted {
        for address in references(&wanted.inputs) {
            let of = outputs.entry(address).or_default();
            for (field, value) in [
                ("kubeconfig", json!("kubeconfig")),
                ("context", json!("memory")),
                ("server", json!("https://127.0.0.1:1")),
                ("ephemeral", json!(true)),
            ] {
                of.insert(field.to_owned(), value);
            }
        }
        fields(&wanted.inputs, &mut outputs);
    }
    outputs
        .into_iter()
        .map(|(address, of)| (address, Value::Object(of)))
        .collect()
}

fn fields(value: &Value, outputs: &mut BTreeMap<Address, Map<String, Value>>) {
    match value {
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str);
            if let (Some(address), Some(field)) = (text("$ref"), text("field")) {
                let of = outputs.entry(Address::parse(address).unwrap()).or_default();
                of.entry(field)
                    .or_insert_with(|| json!(format!("{field} of {address}")));
            }
            map.values().for_each(|value| fields(value, outputs));
        }
        Value::Array(items) => items.iter().for_each(|value| fields(value, outputs)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
