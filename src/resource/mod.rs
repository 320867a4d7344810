//! The contract between the engine and every kind of resource.
//!
//! A kind says how one sort of thing is found, made, changed and removed. It has no loop, sleep,
//! retry, timeout, print or log: waiting, retrying, deadlines, limits, cancel, journal and events
//! are the engine's. Authors of a kind with plain inputs and outputs implement the typed
//! [`Resource`]; the engine sees only the erased [`Kind`]. Nothing here names a cloud.

mod error;
mod kind;
mod reference;
mod registry;
mod target;
mod typed;

pub use error::{Cause, ResourceError};
pub use kind::{Boxed, Intent, Kind, Traits};
pub use reference::{Reference, reads, references, resolve};
pub use registry::Registry;
pub use target::{ClusterPart, Live, Made, Observed, Readiness, Remembered, Stack, Target, Wanted};
pub use typed::{Change, Resource, Seen, Typed, kind};
