//! What is looked at before the first write: everything that would fail minutes later, found in seconds and all at once.
//!
//! Each check is one function with read-only calls and a judge that makes none. They run side by side.

mod access;
mod existing;
mod leftovers;
mod names;
mod permissions;
mod problem;
mod quotas;
mod range;
mod run;
mod versions;
mod zones;

use problem::{Ask, Check, Findings};

pub use permissions::{ACTIONS, BUCKET_ACTIONS, STATE_ACTIONS};
pub use problem::Problem;
pub use run::{misplaced, preflight};

/// All checks, with what each looks at.
const CHECKS: [(&str, Check); 9] = [
    ("permissions", permissions::check),
    ("who may use the cluster", access::check),
    ("quotas", quotas::check),
    ("names", names::check),
    ("leftovers of earlier runs", leftovers::check),
    ("zones and instance types", zones::check),
    ("Kubernetes versions", versions::check),
    ("the range of addresses", range::check),
    ("the existing network", existing::check),
];
