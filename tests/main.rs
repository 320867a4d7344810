//! The integration tests: one binary, so that it is linked once. Most run the real program in a sandbox.
//!
//! Tests that need a control plane, Docker or another server say so through `support::tier`, which skips them in the
//! open, or fails where `STACKUP_REQUIRE` names the tier.
#![cfg_attr(
    not(feature = "kubernetes"),
    expect(dead_code, reason = "most of the support is for tests with a cluster")
)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start programs, read the environment, and wait for other processes"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails, also where it calls what the tests share"
)]

#[cfg(all(feature = "aws", feature = "kubernetes"))]
mod aws;
mod cli;
#[cfg(feature = "kubernetes")]
mod conformance;
#[cfg(feature = "kubernetes")]
mod contract;
#[cfg(all(feature = "faults", feature = "kubernetes"))]
mod faults;
#[cfg(feature = "kubernetes")]
mod full_stack;
#[cfg(feature = "kubernetes")]
mod interruptions;
#[cfg(feature = "kubernetes")]
mod kind;
mod rules;
mod support;
#[cfg(feature = "kubernetes")]
mod telling;
