use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    component::{Definition, Opt},
    names::closest,
    patch::Patch,
};

/// Why a stack file's value cannot be used: what is wrong, and what to write instead.
pub(super) type Fault = (String, Option<String>);

/// The patches that the given values mean, in the order in which the options are declared.
pub(super) fn patches(
    definition: &Definition,
    values: &BTreeMap<String, Value>,
) -> Result<Vec<Patch>, Vec<Fault>> {
    let mut faults: Vec<Fault> = values
        .keys()
        .filter(|name| !definition.options.iter().any(|option| option.name == **name))
        .map(|name| unknown(definition, name))
        .collect();
    let mut patches = Vec::new();
    for option in &definition.options {
        match values.get(&option.name).filter(|value| !value.is_null()) {
            None => {}
            Some(value) if !option.of.takes(value) => faults.push(mistyped(option, value)),
            Some(value) if *value == option.default => {}
            Some(value) => patches.extend(
                option
                    .patches
                    .iter()
                    .filter(|patch| patch.is_for(value))
                    .map(|patch| patch.with(value)),
            ),
        }
    }
    if faults.is_empty() {
        Ok(patches)
    } else {
        Err(faults)
    }
}

fn unknown(definition: &Definition, name: &str) -> Fault {
    let known = || definition.options.iter().map(|option| option.name.as_str());
    let hint = match closest(name, known()) {
        Some(known) => format!("did you mean '{known}'?"),
        None if definition.options.is_empty() => "this component declares no options".to_owned(),
        None => format!("there are: {}", known().collect::<Vec<_>>().join(", ")),
    };
    (format!("values: there is no option '{name}'"), Some(hint))
}

fn mistyped(option: &Opt, value: &Value) -> Fault {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    let hint = match (option.of.takes(&"".into()), value) {
        (true, Value::Bool(_) | Value::Number(_)) => Some("write it in quotes".to_owned()),
        (false, Value::String(_)) => Some("write it without quotes".to_owned()),
        _ => None,
    };
    (
        format!(
            "values: '{}' takes a value of type {}, not {found}",
            option.name, option.of
        ),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::manifest::yaml;

    fn definition() -> Definition {
        yaml::typed(
            "options:\n\
             - {name: server.retention, type: string, default: 10d, description: d, patches: [{target: {name: a}, merge: {r: '${value}'}}]}\n\
             - {name: server.replicas, type: integer, default: 1, description: d, patches: [{target: {name: a}, merge: {n: '${value}'}}]}\n\
             - {name: server.enabled, type: boolean, default: true, description: d, patches: [{target: {name: a}, when: false, delete: true}]}\n\
             - {name: server.size, type: string, default: null, description: d, patches: [{target: {name: a}, merge: {s: '${value}'}}]}\n",
        )
        .unwrap()
    }

    #[test]
    fn values_mean_patches_where_they_differ_from_the_default() {
        for (values, expected) in [
            (json!({}), 0),
            (
                json!({"server.retention": "10d", "server.replicas": 1, "server.enabled": true}),
                0,
            ),
            (
                json!({"server.retention": "5d", "server.replicas": 2, "server.enabled": false, "server.size": "1Gi"}),
                4,
            ),
            (json!({"server.size": null, "server.retention": null}), 0),
        ] {
            let given: BTreeMap<_, _> = serde_json::from_value(values.clone()).unwrap();
            assert_eq!(
                patches(&definition(), &given).unwrap().len(),
                expected,
                "{values}"
            );
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_what_to_write_instead() {
        for (name, value, message, hint) in [
            (
                "server.retentoin",
                json!("5d"),
                "values: there is no option 'server.retentoin'",
                Some("did you mean 'server.retention'?"),
            ),
            (
                "zzz",
                json!(1),
                "values: there is no option 'zzz'",
                Some("there are: server.retention, server.replicas, server.enabled, server.size"),
            ),
            (
                "server.retention",
                json!(5),
                "values: 'server.retention' takes a value of type string, not a number",
                Some("write it in quotes"),
            ),
            (
                "server.replicas",
                json!("2"),
                "values: 'server.replicas' takes a value of type integer, not a string",
                Some("write it without quotes"),
            ),
            (
                "server.replicas",
                json!(1.5),
                "values: 'server.replicas' takes a value of type integer, not a number",
                None,
            ),
            (
                "server.enabled",
                json!([]),
                "values: 'server.enabled' takes a value of type boolean, not a list",
                None,
            ),
        ] {
            let faults = patches(&definition(), &BTreeMap::from([(name.to_owned(), value)])).unwrap_err();
            assert_eq!(faults, [(message.to_owned(), hint.map(str::to_owned))]);
        }
    }
}
