use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::ResourceError;
use crate::model::Address;

const ADDRESS: &str = "$ref";
const FIELD: &str = "field";

/// A value of another resource's outputs, symbolic until that resource is there.
///
/// Inside inputs it is written `{"$ref": "aws.vpc/main", "field": "id"}`; without a field it is the outputs whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Whose outputs.
    pub address: Address,
    /// Which of them; `None` for all.
    pub field: Option<String>,
}

impl Reference {
    /// Refers to one output.
    pub fn field(address: &Address, field: &str) -> Value {
        Value::Object(Map::from_iter([
            (ADDRESS.to_owned(), Value::String(address.to_string())),
            (FIELD.to_owned(), Value::String(field.to_owned())),
        ]))
    }

    /// Refers to all outputs.
    pub fn whole(address: &Address) -> Value {
        Value::Object(Map::from_iter([(
            ADDRESS.to_owned(),
            Value::String(address.to_string()),
        )]))
    }

    fn read(map: &Map<String, Value>) -> Option<Self> {
        let address = Address::parse(map.get(ADDRESS)?.as_str()?).ok()?;
        let field = map.get(FIELD).and_then(Value::as_str).map(str::to_owned);
        (map.len() == 1 + usize::from(field.is_some())).then_some(Self { address, field })
    }
}

/// Every resource that the inputs refer to, in order and once.
pub fn references(inputs: &Value) -> Vec<Address> {
    fn walk(value: &Value, found: &mut Vec<Address>) {
        match value {
            Value::Object(map) => match Reference::read(map) {
                Some(reference) => found.push(reference.address),
                None => map.values().for_each(|value| walk(value, found)),
            },
            Value::Array(items) => items.iter().for_each(|value| walk(value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(inputs, &mut found);
    found.sort();
    found.dedup();
    found
}

/// Whether the inputs read one of these outputs of a resource.
pub fn reads(inputs: &Value, address: &Address, fields: &[&str]) -> bool {
    match inputs {
        Value::Object(map) => match Reference::read(map) {
            Some(Reference { address: of, field }) => {
                let read = |moved: &&str| field.as_deref().is_none_or(|field| field == *moved);
                of == *address && fields.iter().any(read)
            }
            None => map.values().any(|value| reads(value, address, fields)),
        },
        Value::Array(items) => items.iter().any(|value| reads(value, address, fields)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The inputs with every reference replaced by what it refers to; without references they are shared, not copied.
pub fn resolve(
    inputs: &Arc<Value>,
    outputs: &BTreeMap<Address, Arc<Value>>,
) -> Result<Arc<Value>, ResourceError> {
    fn walk(value: &Value, outputs: &BTreeMap<Address, Arc<Value>>) -> Result<Value, ResourceError> {
        Ok(match value {
            Value::Object(map) => match Reference::read(map) {
                Some(reference) => look_up(&reference, outputs)?,
                None => Value::Object(
                    map.iter()
                        .map(|(key, value)| Ok((key.clone(), walk(value, outputs)?)))
                        .collect::<Result<_, ResourceError>>()?,
                ),
            },
            Value::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|value| walk(value, outputs))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
        })
    }
    if references(inputs).is_empty() {
        Ok(Arc::clone(inputs))
    } else {
        Ok(Arc::new(walk(inputs, outputs)?))
    }
}

fn look_up(reference: &Reference, outputs: &BTreeMap<Address, Arc<Value>>) -> Result<Value, ResourceError> {
    let Some(found) = outputs.get(&reference.address) else {
        return Err(ResourceError::permanent(format!(
            "nothing is known of {} yet",
            reference.address
        )));
    };
    let Some(field) = &reference.field else {
        return Ok(Value::clone(found));
    };
    found.get(field).cloned().ok_or_else(|| {
        let known: Vec<&str> = found
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        ResourceError::permanent(format!("{} has no output '{field}'", reference.address))
            .hint(format!("its outputs are: {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reference_is_found_and_replaced_wherever_it_stands() {
        let vpc = Address::new("aws.vpc", "main");
        let inputs =
            Arc::new(json!({"a": [{"b": Reference::field(&vpc, "id")}], "c": Reference::whole(&vpc)}));
        assert_eq!(references(&inputs), std::slice::from_ref(&vpc));
        let outputs = BTreeMap::from([(vpc, Arc::new(json!({"id": "vpc-1"})))]);
        let resolved = resolve(&inputs, &outputs).unwrap();
        assert_eq!(*resolved, json!({"a": [{"b": "vpc-1"}], "c": {"id": "vpc-1"}}));
    }

    #[test]
    fn what_is_read_by_name_or_whole_is_read_and_nothing_is_read_of_no_outputs() {
        let template = Address::new("aws.launch_template", "a");
        let by_name = json!({"template": [Reference::field(&template, "version")]});
        let whole = json!({"template": Reference::whole(&template)});
        for (inputs, fields, read) in [
            (&by_name, &["version"][..], true),
            (&by_name, &["id"], false),
            (&whole, &["version"], true),
            (&whole, &[], false),
        ] {
            assert_eq!(reads(inputs, &template, fields), read, "{inputs} {fields:?}");
        }
        assert!(!reads(
            &by_name,
            &Address::new("aws.launch_template", "b"),
            &["version"]
        ));
    }

    #[test]
    fn an_unknown_output_names_the_known_ones() {
        let vpc = Address::new("aws.vpc", "main");
        let inputs = Arc::new(Reference::field(&vpc, "idd"));
        let outputs = BTreeMap::from([(vpc, Arc::new(json!({"id": "vpc-1", "cidr": "10.0.0.0/16"})))]);
        let error = resolve(&inputs, &outputs).unwrap_err();
        assert_eq!(error.hint.unwrap(), "its outputs are: cidr, id");
    }
}
