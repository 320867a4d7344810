//! Identities: the roles of a cluster, of its nodes and of its add-ons. Found again by their names.

mod addon;
mod role;
mod trust;

pub(super) use role::Role;
