use serde_json::{Map, Value};

/// Lays `patch` over `value`: mappings merge, null deletes, lists of named things merge by their name, other lists are
/// replaced. `field` is the key under which the value stands, as it decides what names an item.
pub(super) fn merge(value: &mut Value, patch: &Value, field: &str) {
    match (&mut *value, patch) {
        (Value::Object(map), Value::Object(changes)) => {
            for (key, change) in changes {
                if change.is_null() {
                    map.remove(key);
                } else {
                    merge(map.entry(key.clone()).or_insert(Value::Null), change, key);
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) => match merge_key(field, items, changes) {
            Some(key) => changes.iter().for_each(|change| merge_item(items, change, key)),
            None => value.clone_from(patch),
        },
        (_, Value::Object(_)) => {
            // What is new holds no deletions either.
            *value = Value::Object(Map::new());
            merge(value, patch, field);
        }
        _ => value.clone_from(patch),
    }
}

fn merge_item(items: &mut Vec<Value>, change: &Value, key: &str) {
    let at = items.iter().position(|item| item.get(key) == change.get(key));
    if change.get("$patch").and_then(Value::as_str) == Some("delete") {
        if let Some(at) = at {
            items.remove(at);
        }
        return;
    }
    if let Some(item) = at.and_then(|at| items.get_mut(at)) {
        merge(item, change, "");
    } else {
        let mut item = Value::Null;
        merge(&mut item, change, "");
        items.push(item);
    }
}

/// What names the items of both lists, if something does: the keys that the API server itself merges by.
fn merge_key(field: &str, items: &[Value], changes: &[Value]) -> Option<&'static str> {
    let candidates: &[&str] = match field {
        "ports" => &["containerPort", "port"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey"],
        "conditions" => &["type"],
        "tolerations" | "subjects" => &[],
        _ => &["name"],
    };
    let names = |list: &[Value], key: &str| {
        let mut names: Vec<String> = Vec::with_capacity(list.len());
        for item in list {
            let name = item.get(key)?.to_string();
            if names.contains(&name) {
                return None;
            }
            names.push(name);
        }
        Some(())
    };
    candidates
        .iter()
        .find(|key| !changes.is_empty() && names(items, key).is_some() && names(changes, key).is_some())
        .copied()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_merge_changes_what_it_names_and_nothing_else() {
        for (value, patch, expected) in [
            (json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2})),
            (
                json!({"a": {"b": 1, "c": 2}}),
                json!({"a": {"b": null}}),
                json!({"a": {"c": 2}}),
            ),
            (
                json!({"a": 1}),
                json!({"b": {"c": null, "d": 1}}),
                json!({"a": 1, "b": {"d": 1}}),
            ),
            (json!({"a": 1}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
            (json!({"a": [1, 2]}), json!({"a": [3]}), json!({"a": [3]})),
            (
                json!({"a": [{"x": 1}]}),
                json!({"a": [{"x": 2}]}),
                json!({"a": [{"x": 2}]}),
            ),
            (
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}),
                json!({"env": [{"name": "B", "value": "3"}, {"name": "C", "value": null}]}),
                json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C"}]}),
            ),
            (
                json!({"env": [{"name": "A"}, {"name": "B"}]}),
                json!({"env": [{"name": "A", "$patch": "delete"}]}),
                json!({"env": [{"name": "B"}]}),
            ),
            (
                json!({"env": [{"name": "A"}]}),
                json!({"env": []}),
                json!({"env": []}),
            ),
            (
                json!({"ports": [{"containerPort": 80, "name": "a"}]}),
                json!({"ports": [{"containerPort": 80, "name": "b"}, {"containerPort": 81}]}),
                json!({"ports": [{"containerPort": 80, "name": "b"}, {"containerPort": 81}]}),
            ),
            (
                json!({"ports": [{"port": 80}, {"port": 81}]}),
                json!({"ports": [{"port": 80, "targetPort": 1}]}),
                json!({"ports": [{"port": 80, "targetPort": 1}, {"port": 81}]}),
            ),
            (
                json!({"volumeMounts": [{"name": "d", "mountPath": "/a"}, {"name": "d", "mountPath": "/b"}]}),
                json!({"volumeMounts": [{"mountPath": "/b", "readOnly": true}]}),
                json!({"volumeMounts": [{"name": "d", "mountPath": "/a"}, {"name": "d", "mountPath": "/b", "readOnly": true}]}),
            ),
            (
                json!({"subjects": [{"name": "a", "kind": "User"}]}),
                json!({"subjects": [{"name": "a", "kind": "Group"}]}),
                json!({"subjects": [{"name": "a", "kind": "Group"}]}),
            ),
        ] {
            let mut merged = value.clone();
            merge(&mut merged, &patch, "");
            assert_eq!(merged, expected, "{value} with {patch}");
        }
    }
}
