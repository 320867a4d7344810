//! The EKS part of a stack file as resources and their edges.
//!
//! What the cluster itself must wait for is its role and its subnets, nothing else: it takes three quarters of the
//! time. Gateways, routes, other roles and launch templates are made beside it; add-ons, access entries and node groups
//! go out together once it stands.

mod addresses;
mod compute;
mod network;
mod parts;

pub use parts::expand;
