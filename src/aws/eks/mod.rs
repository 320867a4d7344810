//! EKS: the cluster and everything that is named inside it. Found again by name; as names are
//! unique, a create that is sent twice makes one thing, and needs no token of ours: AWS may remember a token longer than
//! the thing that it made.

mod access_entry;
mod addon;
mod call;
mod cluster;
mod cluster_change;
mod launch_template;
mod log_group;
mod name;
mod node_group;
mod node_group_request;
mod node_group_state;
mod update;

pub(super) use access_entry::AccessEntry;
pub(super) use addon::Addon;
pub(super) use cluster::Cluster;
pub(super) use launch_template::LaunchTemplate;
pub(super) use log_group::LogGroup;
pub(super) use node_group::NodeGroup;
pub(super) use update::Updates;
