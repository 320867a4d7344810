//! Decides and drives: refresh, plan, lint, apply, wait, cancel. Knows no cloud and no terminal.
//!
//! [`refresh()`] looks at everything that is wanted or remembered, [`plan()`] compares (a pure function), [`execute()`] walks
//! the plan's graph: each resource starts the moment its own needs are met, and every effect is announced in the
//! journal before it happens. Waiting, retrying, deadlines and limits are here, once, for every kind.

mod cancel;
mod doomed;
mod execute;
mod finish;
mod graph;
mod later;
mod ledger;
mod lint;
mod node;
mod plan;
mod refresh;
mod run;
mod start;
mod timings;
mod wait;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use cancel::{Cancel, Canceller};
pub use execute::{Executed, execute};
pub use lint::lint;
pub use plan::{Planned, plan};
pub use refresh::{Found, Refreshed, Seen, refresh};
pub use run::Run;
pub use timings::{Expected, critical_path, expected};
