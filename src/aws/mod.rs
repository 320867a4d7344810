//! AWS: networks, roles and EKS clusters, found again by the tags that carry our mark or by names of ours.
//!
//! Calls are made once; waiting and retrying are the engine's. What a list shows late, what a lost answer may have made
//! and what another service must learn first are told to the engine as causes, never waited for here.

mod audit;
mod clients;
mod difference;
mod eks;
mod error;
mod expand;
mod find;
mod iam;
mod idempotency;
mod marked;
mod network;
mod preflight;
mod price;
mod reap;
mod state;
mod sweep;
mod tags;
mod token;

use std::sync::Arc;

use self::find::ByMark;
use crate::resource::{Kind, kind};

pub use audit::{Audited, Left, audit};
pub use clients::Clients;
pub use expand::expand;
pub use preflight::{ACTIONS, BUCKET_ACTIONS, Problem, STATE_ACTIONS, misplaced, preflight};
pub use price::{Price, price};
pub use reap::{Tagged, stacks};
pub use state::{Bucket, Lack, S3Store, make_bucket};
pub use sweep::keep;
pub use token::{Identity, Token, account, identity, token};

/// All kinds of this room.
pub fn kinds(clients: &Arc<Clients>) -> Vec<Arc<dyn Kind>> {
    vec![
        sweep::leftovers(clients),
        kind::<eks::AccessEntry>(clients),
        kind::<eks::Addon>(clients),
        kind::<eks::Cluster>(clients),
        kind::<eks::LaunchTemplate>(clients),
        kind::<eks::LogGroup>(clients),
        kind::<eks::NodeGroup>(clients),
        kind::<iam::Role>(clients),
        kind::<ByMark<network::ElasticAddress>>(clients),
        kind::<ByMark<network::InternetGateway>>(clients),
        kind::<ByMark<network::NatGateway>>(clients),
        kind::<ByMark<network::RouteTable>>(clients),
        kind::<ByMark<network::Subnet>>(clients),
        kind::<ByMark<network::Vpc>>(clients),
        kind::<ByMark<network::VpcEndpoint>>(clients),
        kind::<network::Zones>(clients),
    ]
}
