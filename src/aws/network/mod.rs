//! Networks: a VPC and what is in it. AWS gives the ids, so everything is found again by the tags that carry our mark.

mod address;
mod dependents;
mod internet_gateway;
mod nat_gateway;
mod route_table;
mod subnet;
mod vpc;
mod vpc_endpoint;
mod zones;

use std::time::Duration;

use super::difference::{field, force};
use crate::resource::{Intent, Traits};

pub(super) use address::ElasticAddress;
pub(super) use internet_gateway::InternetGateway;
pub(super) use nat_gateway::NatGateway;
pub(super) use route_table::RouteTable;
pub(super) use subnet::Subnet;
pub(super) use vpc::Vpc;
pub(super) use vpc_endpoint::VpcEndpoint;
pub(super) use zones::{WITHOUT_EKS, Zones};

/// How the parts of a network are driven: AWS gives the ids, and lists lag behind by seconds.
const NETWORK: Traits = Traits {
    intent: Intent::Each,
    records_inputs: true,
    at_once: 4,
    expected: Some(Duration::from_secs(2)),
    removal: Some(Duration::from_secs(2)),
    deadline: Duration::from_mins(5),
    settles: Duration::from_secs(10),
    paced: true,
    pins: true,
};
