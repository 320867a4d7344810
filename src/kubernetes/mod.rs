//! Kubernetes: objects as resources, and what checks want to know of a cluster.
//!
//! Objects are written by server-side apply only, and nothing that does not differ is sent. Waiting, retries and
//! deadlines are the engine's. Nothing here knows how a cluster came to be: its outputs say how to reach it.

mod apply;
mod client;
mod compare;
mod diagnose;
mod diff;
mod discovery;
mod error;
mod evidence;
mod fields;
mod forward;
mod generate;
mod item;
mod marks;
mod object;
mod observe;
mod pods;
mod readiness;
mod removal;
mod watches;

pub use client::{Cluster, Clusters, Warn};
pub use forward::PodAnswer;
pub use object::kinds;

#[cfg(test)]
mod live_tests;
