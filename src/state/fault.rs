//! Fail points for the fault tests: the process ends itself, as `kill -9` would, where `STACKUP_FAULT` says.

use rustix::process::{Signal, getpid, kill_process};

/// A point where the process may be told to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Right after the nth record of this process became durable (from 1).
    Record(u64),
    /// The new snapshot is written beside the old one; a remote store has its backup of the old one.
    SnapshotWritten,
    /// The new snapshot has taken the old one's place; the journal is not empty yet.
    SnapshotRenamed,
}

/// Which point was asked for: `record:7`, `snapshot:written`, `snapshot:renamed`.
fn asked() -> Option<Point> {
    #[expect(
        clippy::disallowed_methods,
        reason = "fail points exist only in test builds and are set from outside"
    )]
    let text = std::env::var("STACKUP_FAULT").ok()?;
    match text.as_str() {
        "snapshot:written" => Some(Point::SnapshotWritten),
        "snapshot:renamed" => Some(Point::SnapshotRenamed),
        _ => text.strip_prefix("record:")?.parse().ok().map(Point::Record),
    }
}

/// How many of the next `count` records, of which `done` came before, may still be written.
pub fn allowed(done: u64, count: usize) -> usize {
    match asked() {
        Some(Point::Record(n)) => usize::try_from(n.saturating_sub(done))
            .unwrap_or(count)
            .min(count),
        Some(Point::SnapshotWritten | Point::SnapshotRenamed) | None => count,
    }
}

/// Ends the process if this is the point.
pub fn reach(point: Point) {
    if asked() == Some(point) {
        let _sent = kill_process(getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
