use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    fields::{LAST_APPLIED, Owners},
    marks::Marks,
};
use crate::model::{FieldChange, Shown};

/// Fields of metadata that the server fills in.
const FILLED_IN: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "generation",
    "uid",
    "creationTimestamp",
    "selfLink",
];

/// What identifies an item of a list, in the order in which it is tried.
const KEYS: [&[&str]; 9] = [
    &["name"],
    &["containerPort", "protocol"],
    &["port", "protocol"],
    &["mountPath"],
    &["key"],
    &["topologyKey"],
    &["ip"],
    &["type"],
    &["uid"],
];

/// Compares two objects that the server filled in, and hides what may be secret.
pub(super) struct Diff<'a> {
    marks: &'a Marks,
    secret: bool,
    changes: Vec<FieldChange>,
}

/// How `live` differs from what it would be. What the server and controllers fill in does not count.
pub(super) fn diff(live: &Value, wanted: &Value, marks: &Marks) -> Vec<FieldChange> {
    let mut diff = Diff {
        marks,
        secret: is_secret(wanted),
        changes: Vec::new(),
    };
    diff.maps(
        "",
        &without_status(live),
        &without_status(wanted),
        &Owners::of(live),
    );
    diff.changes
}

/// An object without what the server and its controller fill in.
pub(super) fn without_status(object: &Value) -> Map<String, Value> {
    let mut map = object.as_object().cloned().unwrap_or_default();
    map.remove("status");
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        metadata.retain(|field, _| !FILLED_IN.contains(&field.as_str()));
    }
    map
}

/// Whether the values of this object must not be shown.
pub(super) fn is_secret(object: &Value) -> bool {
    object.get("kind").and_then(Value::as_str) == Some("Secret")
        && object.get("apiVersion").and_then(Value::as_str) == Some("v1")
}

/// Whether what stands at this path of a Secret must not be shown.
pub(super) fn is_hidden(path: &str) -> bool {
    path.starts_with("data.")
        || path.starts_with("stringData.")
        || matches!(path, "data" | "stringData")
        || path.ends_with(LAST_APPLIED)
}

/// One value of an object, as it may be shown.
pub(super) fn shown(object: &Value, path: &str, value: Option<&Value>, marks: &Marks) -> Shown {
    if is_secret(object) && is_hidden(path) {
        marks.hidden(value)
    } else {
        Shown::of(value)
    }
}

impl Diff<'_> {
    fn values(&mut self, path: &str, live: Option<&Value>, wanted: Option<&Value>, owners: &Owners<'_>) {
        let empty = Map::new();
        match (live, wanted) {
            (Some(Value::Object(live)), Some(Value::Object(wanted))) => self.maps(path, live, wanted, owners),
            (Some(Value::Array(live)), Some(Value::Array(wanted))) => self.lists(path, live, wanted, owners),
            // Each value of a Secret has its own mark.
            (Some(Value::Object(live)), None) if self.secret && is_hidden(path) => {
                self.maps(path, live, &empty, owners);
            }
            (None, Some(Value::Object(wanted))) if self.secret && is_hidden(path) => {
                self.maps(path, &empty, wanted, owners);
            }
            (live, wanted) => {
                if live != wanted {
                    self.change(path, live, wanted, owners);
                }
            }
        }
    }

    fn change(&mut self, path: &str, live: Option<&Value>, wanted: Option<&Value>, owners: &Owners<'_>) {
        let hidden = self.secret && is_hidden(path);
        let show = |value: Option<&Value>| {
            if hidden {
                self.marks.hidden(value)
            } else {
                Shown::of(value)
            }
        };
        self.changes.push(FieldChange {
            path: path.to_owned(),
            old: show(live),
            new: show(wanted),
            owner: live.and_then(|_| owners.others()),
        });
    }

    fn maps(
        &mut self,
        path: &str,
        live: &Map<String, Value>,
        wanted: &Map<String, Value>,
        owners: &Owners<'_>,
    ) {
        let names: BTreeSet<&String> = live.keys().chain(wanted.keys()).collect();
        for name in names {
            let (old, new) = (live.get(name), wanted.get(name));
            if old != new {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                self.values(&path, old, new, &owners.field(name));
            }
        }
    }

    fn lists(&mut self, path: &str, live: &[Value], wanted: &[Value], owners: &Owners<'_>) {
        if let Some(keys) = keys(live, wanted) {
            let find =
                |items: &'_ [Value], label: &str| items.iter().position(|item| labelled(item, keys) == label);
            let mut seen = BTreeSet::new();
            for item in live.iter().chain(wanted) {
                let label = labelled(item, keys);
                if seen.insert(label.clone()) {
                    let old = find(live, &label).and_then(|at| live.get(at));
                    let new = find(wanted, &label).and_then(|at| wanted.get(at));
                    if old != new {
                        self.values(&format!("{path}[{label}]"), old, new, &owners.item(item));
                    }
                }
            }
            let order =
                |items: &[Value]| -> Vec<String> { items.iter().map(|item| labelled(item, keys)).collect() };
            let (old, new) = (order(live), order(wanted));
            if old != new && seen.len() == old.len() && seen.len() == new.len() {
                let list = |labels: Vec<String>| Value::from(labels);
                self.change(
                    &format!("{path}[order]"),
                    Some(&list(old)),
                    Some(&list(new)),
                    owners,
                );
            }
        } else if live.len() == wanted.len() && live.iter().chain(wanted).all(Value::is_object) {
            for (at, (old, new)) in live.iter().zip(wanted).enumerate() {
                self.values(&format!("{path}[{at}]"), Some(old), Some(new), owners);
            }
        } else if live != wanted {
            let list = |items: &[Value]| Value::Array(items.to_vec());
            self.change(path, Some(&list(live)), Some(&list(wanted)), owners);
        }
    }
}

/// What tells the items of both lists apart, if anything does.
pub(super) fn keys(a: &[Value], b: &[Value]) -> Option<&'static [&'static str]> {
    let first = |keys: &[&str]| keys.first().copied().unwrap_or_default().to_owned();
    let apart = |items: &[Value], keys: &[&str]| {
        let labels: BTreeSet<String> = items.iter().map(|item| labelled(item, keys)).collect();
        labels.len() == items.len() && items.iter().all(|item| item.get(first(keys)).is_some())
    };
    if a.is_empty() && b.is_empty() {
        return None;
    }
    KEYS.into_iter().find(|keys| apart(a, keys) && apart(b, keys))
}

/// `name=server`, `port=80,protocol=TCP`.
pub(super) fn labelled(item: &Value, keys: &[&str]) -> String {
    let mut label = String::new();
    for key in keys {
        if let Some(value) = item.get(key) {
            if !label.is_empty() {
                label.push(',');
            }
            label.push_str(key);
            label.push('=');
            match value.as_str() {
                Some(text) => label.push_str(text),
                None => label.push_str(&value.to_string()),
            }
        }
    }
    label
}

/// What `live` would be with `sent` laid over it, for the case that the server cannot be asked. It sees less than the
/// server: fields that we no longer send stay.
pub(super) fn overlaid(live: &Value, sent: &Value) -> Value {
    match (live, sent) {
        (Value::Object(live), Value::Object(sent)) => {
            let mut all = live.clone();
            for (name, value) in sent {
                let merged = live
                    .get(name)
                    .map_or_else(|| value.clone(), |old| overlaid(old, value));
                all.insert(name.clone(), merged);
            }
            Value::Object(all)
        }
        (Value::Array(live), Value::Array(sent)) if sent.iter().all(Value::is_object) => {
            let keys = keys(live, sent);
            let beside = |at: usize, item: &Value| match keys {
                Some(keys) => {
                    let label = labelled(item, keys);
                    // A key that has a default may be missing in what is sent.
                    live.iter().find(|old| labelled(old, keys).starts_with(&label))
                }
                None if live.len() == sent.len() => live.get(at),
                None => None,
            };
            Value::Array(
                sent.iter()
                    .enumerate()
                    .map(|(at, item)| {
                        beside(at, item).map_or_else(|| item.clone(), |old| overlaid(old, item))
                    })
                    .collect(),
            )
        }
        (_, sent) => sent.clone(),
    }
}

/// The value at a path as the server writes it in a conflict: `.spec.template.spec.containers[name="a"].image`.
pub(super) fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        return Some(value);
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (label, rest) = rest.split_once(']')?;
        let item = value.as_array()?.iter().find(|item| {
            label.split(',').all(|pair| {
                let Some((key, wanted)) = pair.split_once('=') else {
                    return false;
                };
                match item.get(key) {
                    Some(Value::String(text)) => text == wanted.trim_matches('"'),
                    Some(other) => serde_json::from_str(wanted).is_ok_and(|wanted: Value| wanted == *other),
                    None => false,
                }
            })
        })?;
        return at(item, rest);
    }
    // A name may hold dots itself: the longest one that is there is meant.
    let (name, inner) = value
        .as_object()?
        .iter()
        .filter(|(name, _)| {
            path.strip_prefix(name.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
        .max_by_key(|(name, _)| name.len())?;
    at(inner, path.strip_prefix(name.as_str())?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Secret;

    fn marks() -> Marks {
        Marks::new(&Secret::new(vec![7]))
    }

    fn changed(live: &Value, wanted: &Value) -> Vec<(String, Shown, Shown)> {
        diff(live, wanted, &marks())
            .into_iter()
            .map(|change| (change.path, change.old, change.new))
            .collect()
    }

    #[test]
    fn a_changed_image_has_a_path_that_a_person_can_read() {
        let with = |image: &str| {
            json!({"kind": "Deployment", "spec": {"template": {"spec": {"containers":
                [{"name": "side", "image": "s"}, {"name": "server", "image": image}]}}}})
        };
        assert_eq!(
            changed(&with("a:1"), &with("a:2")),
            [(
                "spec.template.spec.containers[name=server].image".to_owned(),
                Shown::Value(json!("a:1")),
                Shown::Value(json!("a:2"))
            )]
        );
    }

    #[test]
    fn ports_are_told_apart_by_number_and_protocol() {
        let with = |target: u16| {
            json!({"spec": {"ports": [{"port": 53, "protocol": "TCP", "targetPort": target},
                {"port": 53, "protocol": "UDP", "targetPort": 53}]}})
        };
        let changes = changed(&with(1), &with(2));
        assert_eq!(changes[0].0, "spec.ports[port=53,protocol=TCP].targetPort");
        assert_eq!(changes.len(), 1);
    }

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let live = json!({"metadata": {"uid": "1", "resourceVersion": "2", "generation": 3, "name": "a"}, "status": {"x": 1}});
        let wanted = json!({"metadata": {"uid": "1", "resourceVersion": "9", "generation": 4, "name": "a"}});
        assert_eq!(changed(&live, &wanted), []);
    }

    #[test]
    fn values_of_a_secret_are_never_shown_and_equal_ones_look_equal() {
        let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "data": data});
        let changes = changed(
            &secret(json!({"a": "b2xk", "gone": "bmV3"})),
            &secret(json!({"a": "bmV3", "b": "bmV3"})),
        );
        let text = format!("{changes:?}");
        assert!(!text.contains("b2xk") && !text.contains("bmV3"), "{text}");
        assert_eq!(changes[0].0, "data.a");
        assert_eq!(changes[0].2, changes[1].2, "equal values carry equal marks");
        assert_ne!(changes[0].1, changes[0].2);
        let whole = changed(
            &json!({"apiVersion": "v1", "kind": "Secret"}),
            &secret(json!({"a": "bmV3"})),
        );
        assert_eq!(whole[0].0, "data.a");
        assert!(matches!(whole[0].2, Shown::Secret(_)));
    }

    #[test]
    fn the_owner_of_a_drifted_field_is_named() {
        let live = json!({"spec": {"replicas": 3}, "metadata": {"managedFields": [
            {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}});
        let changes = diff(&live, &json!({"spec": {"replicas": 1}, "metadata": {}}), &marks());
        assert_eq!(changes[0].owner.as_deref(), Some("kubectl-edit"));
    }

    #[test]
    fn another_order_of_the_same_items_is_one_change() {
        let list = |names: [&str; 2]| json!({"env": names.map(|name| json!({"name": name}))});
        let changes = changed(&list(["a", "b"]), &list(["b", "a"]));
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].0, "env[order]");
    }

    #[test]
    fn laying_over_keeps_what_the_server_defaulted() {
        let live = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}});
        let sent = json!({"spec": {"ports": [{"port": 80, "targetPort": 8080}]}});
        let wanted = overlaid(&live, &sent);
        assert_eq!(
            wanted,
            json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]}})
        );
    }

    #[test]
    fn a_path_of_the_server_leads_to_its_value() {
        let object = json!({"metadata": {"annotations": {"a.b/c": "x"}}, "spec": {"containers": [{"name": "a", "image": "i"}],
            "ports": [{"port": 80, "protocol": "TCP", "nodePort": 1}]}});
        assert_eq!(at(&object, ".metadata.annotations.a.b/c"), Some(&json!("x")));
        assert_eq!(
            at(&object, ".spec.containers[name=\"a\"].image"),
            Some(&json!("i"))
        );
        assert_eq!(
            at(&object, ".spec.ports[port=80,protocol=\"TCP\"].nodePort"),
            Some(&json!(1))
        );
        assert_eq!(at(&object, ".spec.nothing"), None);
    }
}
