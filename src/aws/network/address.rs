use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    types::{DomainType, Filter, ResourceType},
};
use serde::{Deserialize, Serialize};

use super::super::{
    Clients,
    error::{Answer, deleted, read, written},
    find::{Item, Listed},
    tags::{self, Mark, Tags},
};
use super::NETWORK;
use crate::resource::{Cause, Change, Readiness, ResourceError, Target, Traits};

/// A public address that stays the same.
pub(in crate::aws) struct ElasticAddress;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    /// The id of its allocation.
    id: String,
    ip: String,
    tags: Tags,
}

impl Listed for ElasticAddress {
    const KIND: &'static str = "aws.address";
    const DOCUMENTATION: &'static str = "A public address (Elastic IP) of AWS.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = NETWORK;
    const BY_ID: &'static str = "allocation-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    /// AWS gives them all at once.
    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_addresses();
        let found = read(
            "ec2:DescribeAddresses",
            call.set_filters(Some(filters)).send().await,
        )?;
        let items = found.addresses.into_iter().flatten().filter_map(|address| {
            let id = address.allocation_id?;
            let tags = tags::read(address.tags);
            let outputs = Outputs {
                id: id.clone(),
                ip: address.public_ip?,
                tags: tags.clone(),
            };
            Some(Item::new(id, tags, Readiness::Ready, outputs))
        });
        Ok(items.collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::ElasticIp, &inputs.tags);
        let call = clients.ec2().await?.allocate_address().domain(DomainType::Vpc);
        let made = written("ec2:AllocateAddress", call.tag_specifications(tags).send().await)?;
        Ok(made.allocation_id)
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, live: &Outputs) -> Answer {
        let call = clients.ec2().await?.release_address();
        let sent = call.allocation_id(id).send().await;
        // AWS calls it a lack of rights when one of its own gateways still holds the address; we could just look at it.
        let held = sent
            .as_ref()
            .is_err_and(|error| matches!(error.code(), Some("AuthFailure" | "InvalidIPAddress.InUse")));
        deleted("ec2:ReleaseAddress", "InvalidAllocationID.NotFound", sent).map_err(|error| {
            if !held {
                return error;
            }
            let ip = &live.ip;
            let passing = ResourceError {
                cause: Cause::Transient,
                ..error
            };
            passing.hint(format!(
                "something still uses {ip} ({id}): a NAT gateway lets go of it some time after it was deleted"
            ))
        })
    }
}
