//! Networks of AWS: a VPC and its subnets, found again by the tags that carry our mark.
//!
//! Not a product feature: no stack file can ask for it yet, and the command line does not list its kinds. It proves
//! that engine, contract and state hold for a cloud whose things have no name of ours, whose create calls have no
//! idempotency token, and whose lists lag behind. Calls are made once; waiting and retrying are the engine's.

mod clients;
mod error;
mod find;
mod subnet;
mod tags;
mod vpc;

use std::sync::Arc;

use crate::resource::{Kind, kind};

pub use clients::Clients;

/// All kinds of this room.
pub fn kinds(clients: &Arc<Clients>) -> Vec<Arc<dyn Kind>> {
    vec![kind::<vpc::Vpc>(clients), kind::<subnet::Subnet>(clients)]
}
