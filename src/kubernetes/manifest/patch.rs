use serde::Deserialize;
use serde_json::Value;

use super::{
    json_patch::{self, Operation},
    merge::merge,
    object::Object,
};

/// A change to the objects that a target names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Patch {
    pub(super) target: Target,
    /// Only for this value of the option that the patch belongs to.
    when: Option<Value>,
    merge: Option<Value>,
    json: Option<Vec<Operation>>,
    #[serde(default)]
    delete: bool,
}

/// Which objects: all that is given must be equal.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Target {
    kind: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
}

/// The objects of a component while they are being patched.
#[derive(Debug)]
pub(super) struct Patched {
    pub(super) objects: Vec<Object>,
    /// What patches deleted.
    pub(super) deleted: Vec<Object>,
    /// The namespace of objects that name none.
    pub(super) namespace: Option<String>,
}

impl Patch {
    /// What is wrong with the patch itself, if anything is.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let means =
            usize::from(self.merge.is_some()) + usize::from(self.json.is_some()) + usize::from(self.delete);
        let target = &self.target;
        if target.kind.is_none() && target.name.is_none() && target.namespace.is_none() {
            Some("has a target that names no kind, name or namespace")
        } else if means != 1 {
            Some("needs exactly one of merge, json and 'delete: true'")
        } else if self.merge.as_ref().is_some_and(|merge| !merge.is_object()) {
            Some("has a merge that is not a mapping")
        } else {
            None
        }
    }

    /// Whether the patch is meant for this value of its option.
    pub(super) fn is_for(&self, value: &Value) -> bool {
        self.when.as_ref().is_none_or(|when| when == value)
    }

    /// Whether the patch is meant for one value of an option only.
    pub(super) fn has_condition(&self) -> bool {
        self.when.is_some()
    }

    /// The patch with `${value}` filled in.
    pub(super) fn with(&self, value: &Value) -> Self {
        let mut patch = self.clone();
        if let Some(merge) = &mut patch.merge {
            fill(merge, value);
        }
        for operation in patch.json.iter_mut().flatten() {
            if let Some(target) = operation.value_mut() {
                fill(target, value);
            }
        }
        patch
    }

    fn change(&self, object: &mut Object) -> Result<(), String> {
        if let Some(changes) = &self.merge {
            merge(&mut object.value, changes, "");
        }
        match &self.json {
            Some(operations) => json_patch::apply(&mut object.value, operations),
            None => Ok(()),
        }
    }
}

impl Target {
    fn matches(&self, object: &Object, namespace: Option<&str>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        same(&self.kind, Some(object.kind()))
            && same(&self.name, Some(object.name()))
            && same(&self.namespace, object.namespace().or(namespace))
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = [
            ("kind", &self.kind),
            ("name", &self.name),
            ("namespace", &self.namespace),
        ]
        .into_iter()
        .filter_map(|(field, value)| value.as_ref().map(|value| format!("{field}: {value}")))
        .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

impl Patched {
    /// Carries a patch out. `gone` says that a target which another patch deleted is no mistake.
    pub(super) fn apply(&mut self, patch: &Patch, gone: bool) -> Vec<String> {
        let namespace = self.namespace.clone();
        let namespace = namespace.as_deref();
        let hit = |object: &Object| patch.target.matches(object, namespace);
        if !self.objects.iter().any(hit) {
            let fine = gone && self.deleted.iter().any(hit);
            let message = format!("a patch's target {} matches no object", patch.target);
            return if fine { Vec::new() } else { vec![message] };
        }
        if patch.delete {
            let (deleted, kept) = std::mem::take(&mut self.objects).into_iter().partition(hit);
            self.objects = kept;
            self.deleted.extend::<Vec<_>>(deleted);
            return Vec::new();
        }
        let mut faults = Vec::new();
        for object in self.objects.iter_mut().filter(|object| hit(object)) {
            if let Err(fault) = patch.change(object) {
                faults.push(format!(
                    "a patch of {} cannot be applied: {fault}",
                    object.title()
                ));
            } else if [object.api_version(), object.kind(), object.name()].contains(&"") {
                faults.push(format!(
                    "a patch of {} removes apiVersion, kind or metadata.name",
                    patch.target
                ));
            }
        }
        faults
    }
}

const PLACEHOLDER: &str = "${value}";

/// Puts a value in: alone it keeps its type, within a text it becomes text.
fn fill(target: &mut Value, value: &Value) {
    match target {
        Value::String(text) if text == PLACEHOLDER => target.clone_from(value),
        Value::String(text) => {
            if text.contains(PLACEHOLDER) {
                let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                *text = text.replace(PLACEHOLDER, &plain);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, value)),
        Value::Object(map) => map.values_mut().for_each(|item| fill(item, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::manifest::{object::Source, yaml::Place};

    fn patch(value: Value) -> Patch {
        serde_json::from_value(value).unwrap()
    }

    fn patched() -> Patched {
        let object = |kind: &str, name: &str, namespace: Option<&str>| Object {
            value: json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, "data": {}}),
            source: Source {
                file: "a".into(),
                place: Place::default(),
            },
        };
        Patched {
            objects: vec![
                object("ConfigMap", "a", None),
                object("Secret", "a", Some("x")),
                object("ConfigMap", "b", Some("x")),
            ],
            deleted: Vec::new(),
            namespace: Some("home".into()),
        }
    }

    #[test]
    fn a_target_matches_what_is_equal_in_all_that_it_gives() {
        for (target, expected) in [
            (json!({"name": "a"}), vec!["ConfigMap a", "Secret x/a"]),
            (json!({"kind": "ConfigMap"}), vec!["ConfigMap a", "ConfigMap x/b"]),
            (
                json!({"kind": "ConfigMap", "namespace": "x"}),
                vec!["ConfigMap x/b"],
            ),
            (json!({"namespace": "home"}), vec!["ConfigMap a"]),
        ] {
            let mut patched = patched();
            assert_eq!(
                patched.apply(&patch(json!({"target": target, "delete": true})), false),
                [""; 0]
            );
            let deleted: Vec<_> = patched.deleted.iter().map(Object::title).collect();
            assert_eq!(deleted, expected);
        }
    }

    #[test]
    fn a_patch_that_matches_nothing_is_a_mistake_unless_another_deleted_its_target() {
        let mut patched = patched();
        let target = json!({"kind": "Secret", "name": "a"});
        assert_eq!(
            patched.apply(&patch(json!({"target": target, "delete": true})), false),
            [""; 0]
        );
        let again = patch(json!({"target": target, "merge": {"data": {}}}));
        assert_eq!(patched.apply(&again, true), [""; 0]);
        assert_eq!(
            patched.apply(&again, false),
            ["a patch's target {kind: Secret, name: a} matches no object"]
        );
        let never = patch(json!({"target": {"name": "z"}, "delete": true}));
        assert_eq!(patched.apply(&never, true).len(), 1);
    }

    #[test]
    fn a_patch_means_exactly_one_thing() {
        for (value, valid) in [
            (json!({"target": {"name": "a"}, "delete": true}), true),
            (json!({"target": {"name": "a"}, "merge": {}}), true),
            (json!({"target": {"name": "a"}, "json": []}), true),
            (json!({"target": {}, "delete": true}), false),
            (json!({"target": {"name": "a"}}), false),
            (
                json!({"target": {"name": "a"}, "merge": {}, "delete": true}),
                false,
            ),
            (json!({"target": {"name": "a"}, "merge": []}), false),
        ] {
            assert_eq!(patch(value.clone()).fault().is_none(), valid, "{value}");
        }
    }

    #[test]
    fn a_value_alone_keeps_its_type_and_becomes_text_within_a_text() {
        let patch = patch(json!({"target": {"name": "a"}, "merge": {"a": "${value}", "b": ["x=${value}"]}}));
        assert_eq!(patch.with(&json!(3)).merge, Some(json!({"a": 3, "b": ["x=3"]})));
        assert_eq!(
            patch.with(&json!("s")).merge,
            Some(json!({"a": "s", "b": ["x=s"]}))
        );
    }

    #[test]
    fn a_patch_may_not_take_the_name_away() {
        let patch = patch(json!({"target": {"kind": "Secret"}, "merge": {"metadata": {"name": null}}}));
        assert_eq!(patched().apply(&patch, false).len(), 1);
    }
}
