//! What the tests stand on: a sandbox for the real binary, a shared cluster, a recording proxy. No test is in here.

#[cfg(feature = "kubernetes")]
pub(crate) mod cluster;
#[cfg(feature = "kubernetes")]
pub(crate) mod proxy;
pub(crate) mod sandbox;
#[cfg(feature = "kubernetes")]
pub(crate) mod shop;
#[cfg(feature = "kubernetes")]
pub(crate) mod tier;
#[cfg(feature = "kubernetes")]
pub(crate) mod whole;
