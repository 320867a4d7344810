use std::collections::BTreeMap;

use serde::Serialize;

use super::{Action, Address, Timing};

/// Which signal ended a run early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Stop {
    /// Ctrl-C.
    Int,
    /// A polite end, as from an init system or a CI runner.
    Term,
    /// The terminal went away.
    Hup,
}

/// How a run ended; the first that fits, from the top, decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// A signal stopped it.
    Stopped(Stop),
    /// The state could not be written any more: no further effect was started.
    StateLost,
    /// Something failed, or was skipped because of it.
    Failed,
    /// Only conflicts stood in the way, and nothing was written.
    Refused,
    /// Nothing failed but a deadline.
    Deadline,
    /// Everything is as wanted.
    Done,
}

/// Why one resource could not be brought to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What was tried.
    pub action: Action,
    /// What happened.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What was found by looking closer.
    pub details: Vec<String>,
    /// Whether only the time ran out.
    pub deadline: bool,
    /// Whether the resource was refused before anything was written (a conflict, or not ours).
    pub refused: bool,
    /// Whether what it lives in could not be reached at all.
    pub unreachable: bool,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What was brought to what is wanted, and by which action.
    pub done: BTreeMap<Address, Action>,
    /// What could not be.
    pub failed: BTreeMap<Address, Failure>,
    /// What was not tried, and because of what.
    pub skipped: BTreeMap<Address, Address>,
    /// What was begun and not seen to its end when a signal came: it may stand.
    pub begun: Vec<Address>,
    /// What had not been reached when a signal came.
    pub left: Vec<Address>,
    /// When each step that ended came to what.
    pub timings: Vec<Timing>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            outcome: Outcome::Done,
            done: BTreeMap::new(),
            failed: BTreeMap::new(),
            skipped: BTreeMap::new(),
            begun: Vec::new(),
            left: Vec::new(),
            timings: Vec::new(),
        }
    }
}

impl Report {
    /// How many resources were written.
    pub fn written(&self) -> usize {
        self.done.values().filter(|action| action.writes()).count()
    }
}
