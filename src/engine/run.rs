use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::Value;

use super::Cancel;
use crate::{
    model::{Address, Events},
    resource::{Registry, Remembered, Stack, Target, Wanted},
    state::KeyedHash,
};

/// What a run works with: the stack, its kinds, and where it tells what happens.
#[derive(Debug, Clone)]
pub struct Run {
    /// The stack.
    pub stack: Arc<Stack>,
    /// The kinds of this program.
    pub registry: Registry,
    /// Where it tells what happens.
    pub events: Events,
    /// Whether it was asked to stop.
    pub cancel: Cancel,
    /// Hashes inputs under the stack's key.
    pub hash: KeyedHash,
    /// Whether live things without any mark may be taken over.
    pub adopt: bool,
    /// How often what has no watch is looked at while it is awaited.
    pub pace: Duration,
}

impl Run {
    /// The question about one resource, before anything is resolved.
    pub(super) fn target(
        &self,
        address: &Address,
        identity: Value,
        wanted: Option<&Wanted>,
        remembered: Option<&Arc<Remembered>>,
    ) -> Target {
        Target {
            stack: Arc::clone(&self.stack),
            address: address.clone(),
            identity,
            inputs: None,
            input_hash: wanted
                .map(|wanted| self.hash.of(&wanted.inputs))
                .unwrap_or_default(),
            remembered: remembered.cloned(),
            outputs: BTreeMap::new(),
            generation: remembered.map_or(0, |remembered| remembered.generation),
            adopt: self.adopt,
        }
    }
}
