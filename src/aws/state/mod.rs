//! State in a bucket: the same snapshot and journal as on disk, in objects that are only ever written conditionally.
//!
//! `lock` is made only where there is none, and carries a lease that its holder renews; what has lapsed, by the clock of
//! the store, is taken over. Who takes over raises the epoch in `state.json` and puts a fence where the former holder
//! would write the next segment of its journal, so that one that was only suspended fails at its next write, and stops.

mod bucket;
mod lease;
mod objects;
mod store;

pub use bucket::{Bucket, Lack, make_bucket};
pub use store::S3Store;
