use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{scope::GroupKind, yaml::Place};
use crate::model::Mistake;

/// Where an object was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) file: PathBuf,
    pub(super) place: Place,
}

impl Source {
    /// A mistake at this place.
    pub(super) fn mistake(&self, message: impl Into<String>, hint: impl Into<Option<String>>) -> Mistake {
        Mistake {
            file: self.file.clone(),
            line: self.place.line,
            column: self.place.column,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}:{}",
            self.file.display(),
            self.place.line,
            self.place.column
        )
    }
}

/// One object of a manifest; loading made sure of apiVersion, kind and name.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) value: Value,
    pub(super) source: Source,
}

impl Object {
    /// The text at a path of keys; empty if there is none.
    pub(super) fn text(&self, path: &[&str]) -> &str {
        at(&self.value, path).and_then(Value::as_str).unwrap_or_default()
    }

    /// `monitoring.coreos.com/v1`.
    pub(super) fn api_version(&self) -> &str {
        self.text(&["apiVersion"])
    }

    /// The API group; empty for the core group.
    pub(super) fn group(&self) -> &str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// The version within the group.
    pub(super) fn version(&self) -> &str {
        self.api_version()
            .split_once('/')
            .map_or(self.api_version(), |(_, version)| version)
    }

    pub(super) fn kind(&self) -> &str {
        self.text(&["kind"])
    }

    pub(super) fn name(&self) -> &str {
        self.text(&["metadata", "name"])
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        Some(self.text(&["metadata", "namespace"])).filter(|namespace| !namespace.is_empty())
    }

    /// What decides how it is treated, whatever its version.
    pub(super) fn group_kind(&self) -> GroupKind {
        (self.group().to_owned(), self.kind().to_owned())
    }

    /// Whether it is of this group and kind.
    pub(super) fn is(&self, group: &str, kind: &str) -> bool {
        self.kind() == kind && self.group() == group
    }

    /// `Deployment shop/frontend`, for messages.
    pub(super) fn title(&self) -> String {
        let name = self.name();
        match self.namespace() {
            Some(namespace) => format!("{} {namespace}/{name}", self.kind()),
            None => format!("{} {name}", self.kind()),
        }
    }

    /// Sets a text in the metadata.
    pub(super) fn set_namespace(&mut self, namespace: &str) {
        if let Some(metadata) = object_at(&mut self.value, &["metadata"]) {
            metadata.insert("namespace".into(), namespace.into());
        }
    }

    /// Sets a label; never one of a selector or of a pod template, which would replace running pods.
    pub(super) fn set_label(&mut self, key: &str, value: &str) {
        if let Some(labels) = object_at(&mut self.value, &["metadata", "labels"]) {
            labels.insert(key.into(), value.into());
        }
    }
}

/// The value at a path of keys.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

/// The text at a path of keys.
pub(super) fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    at(value, path).and_then(Value::as_str)
}

/// The items of the list at a path of keys; none if there is no list.
pub(super) fn list_at<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The mapping at a path of keys, made if it is missing or null; `None` if something else stands there.
fn object_at<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut map = value.as_object_mut()?;
    for key in path {
        let next = map.entry(*key).or_insert_with(|| Value::Object(Map::new()));
        if next.is_null() {
            *next = Value::Object(Map::new());
        }
        map = next.as_object_mut()?;
    }
    Some(map)
}
