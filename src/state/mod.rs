//! What `stackup` remembers, and how it never loses it: snapshot, journal, lock.
//!
//! A [`Snapshot`] is what stood at the end of the last run. A journal of [`Record`]s is written ahead of every effect
//! of the present run, so that a killed run leaves what the next one needs. What cannot be read is an error with its
//! place and the backup to use, never "nothing is there". Secret values are never in it.

mod error;
#[cfg(feature = "faults")]
pub mod fault;
mod file;
mod hash;
mod journal;
mod resume;
mod snapshot;
mod store;

pub use error::StateError;
pub use file::{FileStore, make_folder};
pub use hash::{KeyedHash, canonical, hex};
pub use journal::{Intended, Phase, Record, read_journal, write_line};
pub use resume::resume;
pub use snapshot::{Entry, Life, Place, Snapshot, Status};
pub use store::{Holder, Loaded, SharedStore, Store};
