//! AWS: networks, roles and EKS clusters, found again by the tags that carry our mark or by names of ours.
//!
//! Calls are made once; waiting and retrying are the engine's. What a list shows late, what a lost answer may have made
//! and what another service must learn first are told to the engine as causes, never waited for here.

mod clients;
mod difference;
mod eks;
mod error;
mod expand;
mod find;
mod iam;
mod idempotency;
mod network;
mod tags;
mod token;

use std::sync::Arc;

use crate::resource::{Kind, kind};

pub use clients::Clients;
pub use expand::expand;
pub use token::{Identity, Token, identity, token};

/// All kinds of this room.
pub fn kinds(clients: &Arc<Clients>) -> Vec<Arc<dyn Kind>> {
    vec![
        kind::<eks::AccessEntry>(clients),
        kind::<eks::Addon>(clients),
        kind::<eks::Cluster>(clients),
        kind::<eks::LaunchTemplate>(clients),
        kind::<eks::LogGroup>(clients),
        kind::<eks::NodeGroup>(clients),
        kind::<iam::Role>(clients),
        kind::<network::ElasticAddress>(clients),
        kind::<network::InternetGateway>(clients),
        kind::<network::NatGateway>(clients),
        kind::<network::RouteTable>(clients),
        kind::<network::Subnet>(clients),
        kind::<network::Vpc>(clients),
        kind::<network::VpcEndpoint>(clients),
        kind::<network::Zones>(clients),
    ]
}
