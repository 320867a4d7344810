use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Address;

/// One side of a change, as a person may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "value")]
pub enum Shown {
    /// The field is not there.
    Absent,
    /// The field's value.
    Value(Value),
    /// A secret value; equal secrets of one plan carry the same mark, and nothing else is told.
    Secret(String),
    /// Only known once another resource is there.
    KnownAfter(Address),
}

impl Shown {
    /// `Absent` for nothing, else the value.
    pub fn of(value: Option<&Value>) -> Self {
        value.map_or(Self::Absent, |value| Self::Value(value.clone()))
    }
}
