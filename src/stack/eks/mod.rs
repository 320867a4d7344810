//! What a stack file says of an EKS cluster: the cluster itself, its network, its groups of nodes.

mod cluster;
mod network;
mod node_group;
pub(super) mod schema;

pub(super) use cluster::eks;
