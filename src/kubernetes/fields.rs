use serde_json::{Map, Value, json};

use super::client::text;

/// Under this name everything is written.
pub(super) const MANAGER: &str = "stackup";
/// Writers by client-side apply; what they wrote is taken over when an object is adopted.
const CLIENT_SIDE: [&str; 3] = [
    "kubectl-client-side-apply",
    "kubectl-create",
    "before-first-apply",
];
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The entries of `metadata.managedFields`.
pub(super) fn entries(object: &Value) -> impl Iterator<Item = &Value> {
    object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The names of all who wrote to the object, once each.
pub(super) fn managers(object: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = entries(object).map(|entry| text(entry, "/manager")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether this manager only ever updated, as a person with `kubectl edit` does, and applies nothing of its own.
pub(super) fn only_updates(object: &Value, manager: &str) -> bool {
    !entries(object).any(|entry| text(entry, "/manager") == manager && text(entry, "/operation") == "Apply")
}

fn is_ours(entry: &Value) -> bool {
    text(entry, "/manager") == MANAGER
        && text(entry, "/operation") == "Apply"
        && text(entry, "/subresource").is_empty()
}

/// What we own of a live object and the values there: two objects with the same projection have the same drift: none.
/// `None` if we own nothing. `without` is a field that is someone else's to change: `["spec", "replicas"]`.
pub(super) fn projection(object: &Value, without: Option<[&str; 2]>) -> Option<Value> {
    let mut all: Option<Value> = None;
    for entry in entries(object).filter(|entry| is_ours(entry)) {
        let fields = entry.get("fieldsV1")?;
        all = Some(all.map_or_else(|| fields.clone(), |all| union(&all, fields)));
    }
    let mut fields = all?;
    if let Some([outer, inner]) = without
        && let Some(Value::Object(outer)) = fields.get_mut(format!("f:{outer}"))
    {
        outer.remove(&format!("f:{inner}"));
    }
    Some(project(Some(object), &fields))
}

fn project(value: Option<&Value>, fields: &Value) -> Value {
    match fields.as_object() {
        Some(fields) if !fields.is_empty() => Value::Object(
            fields
                .iter()
                .map(|(key, fields)| {
                    let inner = value.and_then(|value| member(value, key));
                    // "." says that the thing itself is owned, not what is in it.
                    let shown = if key == "." {
                        Value::Bool(value.is_some())
                    } else {
                        project(inner, fields)
                    };
                    (key.clone(), shown)
                })
                .collect(),
        ),
        _ => value.cloned().unwrap_or_default(),
    }
}

/// The part of `value` that a key of fieldsV1 means: `f:name`, `k:{"port":80}`, `v:"x"`, `i:0`.
fn member<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let (sort, name) = key.split_once(':')?;
    match sort {
        "f" => value.get(name),
        "k" => {
            let wanted: Value = serde_json::from_str(name).ok()?;
            value.as_array()?.iter().find(|item| has_keys(item, &wanted))
        }
        "v" => {
            let wanted: Value = serde_json::from_str(name).ok()?;
            value.as_array()?.iter().find(|item| **item == wanted)
        }
        "i" => value.get(name.parse::<usize>().ok()?),
        _ => None,
    }
}

fn has_keys(item: &Value, keys: &Value) -> bool {
    keys.as_object()
        .is_some_and(|keys| keys.iter().all(|(name, value)| item.get(name) == Some(value)))
}

/// All that either of two sets of fields holds.
pub(super) fn union(a: &Value, b: &Value) -> Value {
    let empty = Map::new();
    let (a, b) = (a.as_object().unwrap_or(&empty), b.as_object().unwrap_or(&empty));
    let mut all = a.clone();
    for (key, fields) in b {
        let merged = all
            .get(key)
            .map_or_else(|| fields.clone(), |own| union(own, fields));
        all.insert(key.clone(), merged);
    }
    // A leaf on one side is the thing itself; beside parts of it, that is written ".".
    if a.is_empty() != b.is_empty() && !all.contains_key(".") {
        all.insert(".".into(), json!({}));
    }
    Value::Object(all)
}

/// The patch that makes us the owner of what client-side apply wrote, so that what is no longer wanted can go.
/// `None` if there is no such writer.
pub(super) fn take_over(object: &Value) -> Option<Value> {
    let former = |entry: &&Value| {
        CLIENT_SIDE.contains(&text(entry, "/manager"))
            && text(entry, "/operation") == "Update"
            && text(entry, "/subresource").is_empty()
    };
    let mut fields: Option<Value> = None;
    for entry in entries(object).filter(|entry| former(entry) || is_ours(entry)) {
        let found = entry.get("fieldsV1").cloned().unwrap_or_else(|| json!({}));
        fields = Some(fields.map_or_else(|| found.clone(), |all| union(&all, &found)));
    }
    entries(object).find(|entry| former(entry))?;
    let mut fields = fields?;
    if let Some(Value::Object(annotations)) = fields.pointer_mut("/f:metadata/f:annotations") {
        annotations.remove(&format!("f:{LAST_APPLIED}"));
    }
    let mut kept: Vec<Value> = entries(object)
        .filter(|entry| !former(entry) && !is_ours(entry))
        .cloned()
        .collect();
    kept.push(json!({
        "manager": MANAGER, "operation": "Apply", "apiVersion": text(object, "/apiVersion"),
        "fieldsType": "FieldsV1", "fieldsV1": fields,
    }));
    let mut steps = vec![
        // Fails if anything was written since the object was read.
        json!({"op": "replace", "path": "/metadata/resourceVersion", "value": text(object, "/metadata/resourceVersion")}),
        json!({"op": "replace", "path": "/metadata/managedFields", "value": kept}),
    ];
    if object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .is_some()
    {
        let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
        steps.push(json!({"op": "remove", "path": path}));
    }
    Some(Value::Array(steps))
}

/// Who wrote a part of an object: begins with the whole and narrows with the path.
#[derive(Clone)]
pub(super) struct Owners<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> Owners<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        Self(
            entries(object)
                .filter_map(|entry| Some((text(entry, "/manager"), entry.get("fieldsV1")?)))
                .collect(),
        )
    }

    fn narrow(&self, inner: impl Fn(&'a Value) -> Option<&'a Value>) -> Self {
        let owned = |fields: &'a Value| {
            let leaf = fields.as_object().is_some_and(Map::is_empty);
            if leaf { Some(fields) } else { inner(fields) }
        };
        Self(
            self.0
                .iter()
                .filter_map(|(name, fields)| Some((*name, owned(fields)?)))
                .collect(),
        )
    }

    /// The owners of a field.
    pub(super) fn field(&self, name: &str) -> Self {
        self.narrow(|fields| fields.get(format!("f:{name}")))
    }

    /// The owners of an item of a list.
    pub(super) fn item(&self, item: &Value) -> Self {
        self.narrow(|fields| {
            fields.as_object()?.iter().find_map(|(key, fields)| {
                let keys: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
                has_keys(item, &keys).then_some(fields)
            })
        })
    }

    /// The owners other than us, in words.
    pub(super) fn others(&self) -> Option<String> {
        let mut names: Vec<&str> = self
            .0
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| *name != MANAGER)
            .collect();
        names.sort_unstable();
        names.dedup();
        (!names.is_empty()).then(|| names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Value {
        json!({
            "metadata": {"name": "web", "managedFields": [
                {"manager": "stackup", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {},
                    "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {}}},
                    "f:finalizers": {"v:\"x\"": {}}}}},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            ]},
            "spec": {"replicas": 2, "paused": true, "finalizers": ["x"],
                "containers": [{"name": "b", "image": "b:1"}, {"name": "a", "image": "a:1", "tty": false}]},
        })
    }

    #[test]
    fn only_what_we_own_counts_for_the_projection() {
        let mut object = live();
        let before = projection(&object, None);
        object["spec"]["paused"] = json!(false);
        object["spec"]["containers"][0]["image"] = json!("b:2");
        object["spec"]["containers"][1]["tty"] = json!(true);
        assert_eq!(projection(&object, None), before);
        object["spec"]["containers"][1]["image"] = json!("a:2");
        assert_ne!(projection(&object, None), before);
    }

    #[test]
    fn a_field_that_an_autoscaler_owns_does_not_count() {
        let mut object = live();
        let before = projection(&object, Some(["spec", "replicas"]));
        object["spec"]["replicas"] = json!(9);
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
            .as_object_mut()
            .unwrap()
            .remove("f:replicas");
        assert_eq!(projection(&object, Some(["spec", "replicas"])), before);
    }

    #[test]
    fn an_object_that_we_own_nothing_of_has_no_projection() {
        assert_eq!(
            projection(&json!({"metadata": {"managedFields": []}}), None),
            None
        );
    }

    #[test]
    fn owners_narrow_down_to_the_field() {
        let object = live();
        let spec = Owners::of(&object).field("spec");
        assert_eq!(spec.field("paused").others().unwrap(), "kubectl-edit");
        assert_eq!(spec.field("replicas").others(), None);
        let image = spec
            .field("containers")
            .item(&json!({"name": "a"}))
            .field("image");
        assert_eq!(image.others(), None);
        assert_eq!(image.0.len(), 1);
    }

    #[test]
    fn a_leaf_and_its_parts_unite_to_both() {
        let united = union(&json!({"f:a": {}}), &json!({"f:a": {"f:b": {}}, "f:c": {}}));
        assert_eq!(united, json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
    }

    #[test]
    fn what_client_side_apply_wrote_becomes_ours_and_its_annotation_goes() {
        let object = json!({"apiVersion": "v1", "metadata": {"resourceVersion": "7",
        "annotations": {LAST_APPLIED: "{}"},
        "managedFields": [
            {"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1":
                {"f:data": {"f:old": {}}, "f:metadata": {"f:annotations": {".": {}, format!("f:{LAST_APPLIED}"): {}}}}},
            {"manager": "controller", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
        ]}});
        let patch = take_over(&object).unwrap();
        let kept = patch[1]["value"].as_array().unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept[1]["manager"], "stackup");
        assert_eq!(kept[1]["operation"], "Apply");
        assert_eq!(
            kept[1]["fieldsV1"],
            json!({"f:data": {"f:old": {}}, "f:metadata": {"f:annotations": {".": {}}}})
        );
        assert_eq!(patch[2]["op"], "remove");
        assert_eq!(take_over(&live()), None);
    }
}
