//! Kubernetes: objects as resources, and what checks want to know of a cluster.
//!
//! [`manifest`] turns folders of YAML into wanted objects; the rest writes, compares, awaits and removes them. Objects
//! are written by server-side apply only, and nothing that does not differ is sent. Waiting, retries and deadlines are
//! the engine's. The only room that names `kube` and `k8s_openapi`; its clusters' outputs say how to reach them.

mod access;
mod api;
mod apply;
mod client;
mod clock;
mod compare;
mod diagnose;
mod diff;
mod discovery;
mod error;
mod evidence;
mod fields;
mod follow;
mod forward;
mod generate;
mod item;
pub mod manifest;
mod marks;
mod object;
mod observe;
mod outside;
mod pods;
mod readiness;
mod refusal;
mod removal;
mod watches;

pub use access::Tokens;
pub use client::{Cluster, Clusters, Warn};
pub use forward::PodAnswer;
pub use object::kinds;
pub use outside::Keep;

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    clippy::similar_names,
    reason = "json! makes values that are used once, and a path is next to a patch"
)]
mod live_tests;
