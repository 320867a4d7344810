use std::{
    fmt,
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::mpsc;

use super::{Action, Address, Component, Finding, Link, Outcome, Summary};

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verb {
    /// Make what is wanted.
    Apply,
    /// Take everything down.
    Destroy,
    /// Say what would happen.
    Diff,
    /// Prove that it works.
    Verify,
}

impl Verb {
    /// The verb as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Destroy => "destroy",
            Self::Diff => "diff",
            Self::Verify => "verify",
        }
    }
}

/// Something that happened, when, counted from the start of the run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Milliseconds since the run began.
    pub elapsed_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// All that can happen in a run. The names are the contract of `--output json` (docs/events.md).
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum EventKind {
    /// A run begins.
    RunStarted {
        /// What for.
        verb: Verb,
        /// Of which stack.
        stack: String,
    },
    /// An earlier run did not end; this one takes up its work.
    Resumed {
        /// What had begun and had not ended.
        unfinished: Vec<Address>,
    },
    /// The run reads what stands.
    Refreshing {
        /// How many resources.
        resources: usize,
    },
    /// The plan is made.
    Planned {
        /// How many of what.
        summary: Summary,
    },
    /// Work on a resource begins.
    StepStarted {
        /// Which.
        address: Address,
        /// Of which component.
        component: Option<Component>,
        /// What is done to it.
        action: Action,
        /// How long this usually takes, in milliseconds, if known.
        expected_ms: Option<u64>,
    },
    /// The write has happened; the resource may not be ready yet.
    StepApplied {
        /// Which.
        address: Address,
        /// What was done.
        action: Action,
    },
    /// The resource is not ready yet.
    StepWaiting {
        /// Which.
        address: Address,
        /// What is awaited, and why it is not there yet.
        why: String,
    },
    /// A call failed and will be made again.
    StepRetrying {
        /// Which.
        address: Address,
        /// What the call said.
        message: String,
        /// When, from now.
        in_ms: u64,
    },
    /// The resource is as wanted, and ready (or gone).
    StepFinished {
        /// Which.
        address: Address,
        /// What was done; `Unchanged` if it was only awaited.
        action: Action,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The resource could not be brought to what is wanted.
    StepFailed {
        /// Which.
        address: Address,
        /// What was tried.
        action: Action,
        /// What happened.
        message: String,
        /// What to do next.
        hint: Option<String>,
        /// What was found by looking closer: pod reasons, last log lines.
        details: Vec<String>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// The resource was not tried.
    StepSkipped {
        /// Which.
        address: Address,
        /// Because of which other one.
        because: Address,
    },
    /// Something that a person should know and that stops nothing.
    Warning {
        /// About which resource, if about one.
        address: Option<Address>,
        /// What.
        message: String,
    },
    /// A signal asked to stop: nothing new starts.
    Stopping {
        /// Its name: INT, TERM, HUP.
        signal: String,
        /// How many calls are still in flight.
        in_flight: usize,
    },
    /// A check was answered.
    Checked {
        /// The answer.
        finding: Finding,
    },
    /// The run is over.
    RunFinished {
        /// What for.
        verb: Verb,
        /// How it ended.
        outcome: Outcome,
        /// How many resources were brought to what is wanted, or checks hold.
        done: usize,
        /// How many could not be.
        failed: usize,
        /// How many were not tried.
        skipped: usize,
        /// Which chain of resources made it as long as it was.
        critical_path: Vec<Link>,
    },
}

/// Where a run tells what happens. Cheap to clone; sending never blocks and never fails the run.
#[derive(Clone)]
pub struct Events {
    start: Instant,
    to: Option<mpsc::UnboundedSender<Event>>,
}

impl Events {
    /// Events that someone receives.
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (to, from) = mpsc::unbounded_channel();
        (
            Self {
                start: Instant::now(),
                to: Some(to),
            },
            from,
        )
    }

    /// Events that nobody wants.
    pub fn ignored() -> Self {
        Self {
            start: Instant::now(),
            to: None,
        }
    }

    /// Tells what happened.
    pub fn send(&self, kind: EventKind) {
        self.pass_on(Event {
            elapsed_ms: millis(self.start.elapsed()),
            kind,
        });
    }

    /// Tells what a person should know of the whole run.
    pub fn warn(&self, message: String) {
        let address = None;
        self.send(EventKind::Warning { address, message });
    }

    /// Tells what happened earlier, and when.
    pub fn pass_on(&self, event: Event) {
        if let Some(to) = &self.to {
            // The teller may have ended before the doer; that stops nothing.
            drop(to.send(event));
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events")
    }
}

/// Whole milliseconds; a run does not last 500 million years.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
