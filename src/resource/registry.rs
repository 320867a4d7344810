use std::{collections::BTreeMap, sync::Arc};

use super::{Kind, ResourceError};

/// The kinds of this program, by name.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Kind>>);

impl Registry {
    /// Gathers the lists of all rooms.
    pub fn new(kinds: impl IntoIterator<Item = Arc<dyn Kind>>) -> Self {
        Self(kinds.into_iter().map(|kind| (kind.name(), kind)).collect())
    }

    /// The kind of this name. It is missing only if this build lacks a feature that an earlier one had.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Kind>, ResourceError> {
        self.0.get(name).ok_or_else(|| {
            ResourceError::permanent(format!("this build of stackup does not know the kind '{name}'"))
                .hint("use a build with all features: cargo build --release")
        })
    }

    /// All kinds, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Kind>> {
        self.0.values()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
