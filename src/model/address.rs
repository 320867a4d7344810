use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names one resource of a stack: `kind.cluster/demo`, `k8s/monitoring/Deployment/monitoring-grafana`.
///
/// Cheap to clone; ordered as text, which is the order of every list that a person reads.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Arc<str>);

/// A text that cannot be an address.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an address: it needs a kind and a name, as in kind.cluster/demo")]
pub struct AddressError(String);

/// The name of a component of the stack file: what groups resources for a reader.
pub type Component = Arc<str>;

impl Address {
    /// Joins a kind (`aws.vpc`) and a name (`main`).
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}/{name}").into())
    }

    /// Reads an address that a person or a file wrote.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let valid = text
            .split_once('/')
            .is_some_and(|(kind, name)| !kind.is_empty() && !name.is_empty())
            && !text.contains(char::is_whitespace);
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(AddressError(text.to_owned()))
        }
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first slash.
    pub fn kind(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(kind, _)| kind)
    }

    /// The part after the first slash.
    pub fn name(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, name)| name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
