use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Address, Component, Conflict, FieldChange, Need};

/// Which stack this is: what every mark, token and hash is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its name, from the stack file.
    pub name: String,
    /// Its uid, made once by the first apply.
    pub uid: String,
}

/// A resource as the stack file wants it.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its name in the graph.
    pub address: Address,
    /// The name of its [`Kind`](super::Kind).
    pub kind: &'static str,
    /// The component of the stack file that it comes from.
    pub component: Option<Component>,
    /// What it should be; may hold [references](super::Reference). Not shown, as it may hold secrets.
    pub inputs: Arc<Value>,
    /// What must be there before it. What the inputs refer to is needed as well, without being named here.
    pub needs: Vec<Need>,
}

/// What a provider's room adds to a stack.
#[derive(Debug, Clone)]
pub struct ClusterPart {
    /// The resource whose outputs say how to reach the cluster.
    pub cluster: Address,
    /// What else must be ready before a pod can start.
    pub pods_need: Vec<Address>,
    /// The resources.
    pub wanted: Vec<Wanted>,
}

/// A resource as the state remembers it: enough to find and delete it without the stack file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remembered {
    /// The name of its kind.
    pub kind: String,
    /// What finds it again, as its kind made it before the first call.
    pub identity: Value,
    /// The id that the other side gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The component that it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// What it was made from, for kinds that [say so](super::Traits::records_inputs).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Value>,
    /// A keyed hash of the inputs.
    #[serde(default)]
    pub input_hash: String,
    /// What others may refer to, and what the kind wants to find again.
    #[serde(default)]
    pub outputs: Value,
    /// What it needs: the reverse is the order of removal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Need>,
    /// Whose outputs it needs to be reached: a Kubernetes object its cluster's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refers: Vec<Address>,
    /// Begins with the number of the state that it is new to, and grows with each that replaces it; part of every token,
    /// so that a new one is not taken for an old one.
    #[serde(default)]
    pub generation: u64,
}

/// One resource, as a kind is asked about it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The stack.
    pub stack: Arc<Stack>,
    /// Its name in the graph; also its mark on what is made.
    pub address: Address,
    /// What finds it, as [`Kind::identity`](super::Kind::identity) made it.
    pub identity: Value,
    /// What it should be, references resolved. `None` when it is only to be found or deleted.
    pub inputs: Option<Arc<Value>>,
    /// A keyed hash of the inputs before references were resolved.
    pub input_hash: String,
    /// What the state knows of it.
    pub remembered: Option<Arc<Remembered>>,
    /// The outputs of the resources that it refers to.
    pub outputs: BTreeMap<Address, Arc<Value>>,
    /// Tells it from what it replaced, and from what the state has forgotten.
    pub generation: u64,
    /// Whether a live thing without any mark may be taken over (`--adopt`).
    pub adopt: bool,
}

/// Whether a resource that exists can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It works.
    Ready,
    /// Not yet: what is awaited, and why it is not there.
    NotYet(String),
    /// It will never work without a change: why.
    Failed(String),
    /// Its removal was begun and has failed, so that it will not go by itself: why.
    Stuck(String),
}

/// What stands.
#[derive(Debug, Clone)]
pub struct Live {
    /// The id that the other side gave it.
    pub id: Option<String>,
    /// What others may refer to.
    pub outputs: Value,
    /// Whether it can be used.
    pub readiness: Readiness,
    /// Which fields differ from what is wanted; empty when nothing was wanted.
    pub changes: Vec<FieldChange>,
    /// Which of them cannot be changed in place.
    pub forces: Vec<String>,
    /// Which outputs will have another value once they are changed in place: who reads them follows in the same run.
    pub moves: &'static [&'static str],
    /// Which fields another writer owns.
    pub conflicts: Vec<Conflict>,
    /// Set if it carries no mark of ours: whose it is, in words.
    pub foreign: Option<String>,
    /// It is being deleted already.
    pub terminating: bool,
}

impl Live {
    /// Something that stands as wanted and works.
    pub fn ready(outputs: Value) -> Self {
        Self {
            id: None,
            outputs,
            readiness: Readiness::Ready,
            changes: Vec::new(),
            forces: Vec::new(),
            moves: &[],
            conflicts: Vec::new(),
            foreign: None,
            terminating: false,
        }
    }
}

/// What a look at a resource found.
#[derive(Debug, Clone)]
pub enum Observed {
    /// It is certainly not there.
    Absent,
    /// It stands.
    Live(Box<Live>),
}

impl Observed {
    /// What stands, if something does.
    pub fn live(&self) -> Option<&Live> {
        match self {
            Self::Absent => None,
            Self::Live(live) => Some(live),
        }
    }
}

/// What a create or update gave back.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// The id of the thing, if the call told it. It is on disk before anything else happens.
    pub id: Option<String>,
    /// What stands now, if the call told it: spares the engine a read.
    pub live: Option<Live>,
}
