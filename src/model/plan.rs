use serde::{Deserialize, Serialize};

use super::{Address, Component, Shown};

/// What will happen to one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It does not exist yet.
    Create,
    /// It exists and differs in fields that can be changed in place.
    Update,
    /// It exists and differs in a field that cannot: it is deleted and made again.
    Replace,
    /// It exists, is ours and is no longer wanted.
    Delete,
    /// It is no longer wanted, and was told to stay: only our memory of it goes.
    Forget,
    /// It cannot be touched: another writer owns a field, or the whole object.
    Conflict,
    /// Nothing to do.
    Unchanged,
}

impl Action {
    /// Whether carrying it out writes anything.
    pub fn writes(self) -> bool {
        match self {
            Self::Create | Self::Update | Self::Replace | Self::Delete => true,
            Self::Forget | Self::Conflict | Self::Unchanged => false,
        }
    }

    /// How much it can destroy; apply never does more than was shown.
    pub fn severity(self) -> u8 {
        match self {
            Self::Unchanged | Self::Conflict => 0,
            Self::Forget | Self::Create => 1,
            Self::Update => 2,
            Self::Replace => 3,
            Self::Delete => 4,
        }
    }
}

/// How far a needed resource must be before what needs it may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// The write has happened.
    Applied,
    /// It works.
    Ready,
}

/// One edge of the graph: this resource needs that one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Need {
    /// What is needed.
    pub address: Address,
    /// How far it must be.
    pub until: Until,
}

impl Need {
    /// An edge that waits for the write only.
    pub fn applied(address: Address) -> Self {
        Self {
            address,
            until: Until::Applied,
        }
    }

    /// An edge that waits until the needed resource works.
    pub fn ready(address: Address) -> Self {
        Self {
            address,
            until: Until::Ready,
        }
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where: `spec.replicas`, `spec.template.spec.containers[name=server].image`.
    pub path: String,
    /// What stands.
    pub old: Shown,
    /// What is wanted.
    pub new: Shown,
    /// Who wrote what stands, where that is someone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// One field that another writer owns and that we want otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// Where.
    pub path: String,
    /// Who owns it.
    pub manager: String,
    /// Their value.
    pub theirs: Shown,
    /// Our value.
    pub ours: Shown,
}

/// Why a step is in the plan, where its fields do not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// It is wanted and is not there.
    New,
    /// It was there after the last run and is gone.
    Vanished,
    /// A run began it and did not finish.
    Unfinished,
    /// A former attempt failed.
    Failed,
    /// Nothing in the stack wants it any more.
    NotWanted,
    /// It is planned without asking, since what it lives in is not there yet.
    KnownAfter(Address),
    /// It reads what that other one will say once it is changed, and follows.
    Follows(Address),
    /// What it lives in is deleted, and it goes with it.
    GoesWith(Address),
    /// It is there and belongs to someone else; the text says to whom.
    NotOurs(String),
    /// It stands and is ready to be adopted, without a mark of ours.
    Adopted,
}

/// What the plan says of one resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Which resource.
    pub address: Address,
    /// Its kind: `k8s.object`, `kind.cluster`.
    pub kind: String,
    /// The component it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<Component>,
    /// What will happen.
    pub action: Action,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Which fields differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// Which fields force a replace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forces: Vec<String>,
    /// Which fields another writer owns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
}

/// What a run would do, in the order of addresses. Made by `engine::plan`, a pure function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The stack's name.
    pub stack: String,
    /// Every resource that is wanted or remembered.
    pub steps: Vec<Step>,
}

/// How many resources of a plan fall under each action.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Resources to make.
    pub create: usize,
    /// Resources to change in place.
    pub update: usize,
    /// Resources to delete and make again.
    pub replace: usize,
    /// Resources to delete.
    pub delete: usize,
    /// Resources that cannot be touched.
    pub conflict: usize,
    /// Resources to forget without deleting them.
    pub forget: usize,
    /// Resources that stand as wanted.
    pub unchanged: usize,
}

impl Plan {
    /// Counts the steps by action.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for step in &self.steps {
            let count = match step.action {
                Action::Create => &mut summary.create,
                Action::Update => &mut summary.update,
                Action::Replace => &mut summary.replace,
                Action::Delete => &mut summary.delete,
                Action::Forget => &mut summary.forget,
                Action::Conflict => &mut summary.conflict,
                Action::Unchanged => &mut summary.unchanged,
            };
            *count += 1;
        }
        summary
    }

    /// The steps that are not `Unchanged`.
    pub fn changes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.action != Action::Unchanged)
    }
}

impl Summary {
    /// Whether a run would do anything, or would have to be told that it cannot.
    pub fn pending(&self) -> bool {
        self.create + self.update + self.replace + self.delete + self.conflict + self.forget > 0
    }
}
