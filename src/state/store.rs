use std::fmt;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Record, Snapshot, StateError};

/// Who holds the lock of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// What it does: `apply`.
    pub verb: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "'stackup {}', process {} on {}, since {}",
            self.verb, self.pid, self.host, self.since
        )
    }
}

/// A state as it was found, with an unfinished run folded in.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What is remembered.
    pub snapshot: Snapshot,
    /// Whether a former run did not end.
    pub unfinished: bool,
    /// What a person should know about how it was found: a journal's torn tail.
    pub notes: Vec<String>,
}

/// Where a state lies. Every write is durable once it returns.
pub trait Store: Send {
    /// Reads snapshot and journal; `None` where no state was ever written.
    fn load(&mut self) -> BoxFuture<'_, Result<Option<Loaded>, StateError>>;

    /// Adds records to the journal.
    fn append<'a>(&'a mut self, records: &'a [Record]) -> BoxFuture<'a, Result<(), StateError>>;

    /// Replaces the snapshot, whole or not at all, and empties the journal. Sets the next serial.
    fn save<'a>(&'a mut self, snapshot: &'a mut Snapshot) -> BoxFuture<'a, Result<(), StateError>>;

    /// Removes the state of a stack of which nothing is left.
    fn clear(&mut self) -> BoxFuture<'_, Result<(), StateError>>;
}

/// A store that several processes come to, of which one at a time may write.
pub trait SharedStore: Store {
    /// Takes the lock for as long as this store lives, or says who has it.
    fn lock<'a>(&'a mut self, holder: &'a Holder) -> BoxFuture<'a, Result<(), StateError>>;

    /// Removes a lock whose holder gave no sign of life for so long that it lapsed, and gives that holder. Refuses while
    /// it lives; `None` where nobody has it.
    fn unlock<'a>(&'a mut self, by: &'a Holder) -> BoxFuture<'a, Result<Option<Holder>, StateError>>;

    /// Gives the lock back.
    fn release(&mut self) -> BoxFuture<'_, Result<(), StateError>>;

    /// Reads the stack's key for hashes of secret values; `None` where there is none yet.
    fn key(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateError>>;

    /// Keeps that key where only who may read the state can read it.
    fn keep_key<'a>(&'a mut self, key: &'a [u8]) -> BoxFuture<'a, Result<(), StateError>>;
}
