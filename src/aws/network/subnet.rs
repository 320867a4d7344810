use aws_sdk_ec2::types::{AttributeBooleanValue, Filter, ResourceType, SubnetState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, after_made, deleted, is_in_use, read, written},
    find::{Item, Listed, readiness},
    tags::{self, Mark, Tags},
};
use super::{NETWORK, dependents::name_interfaces, field, force};
use crate::resource::{Change, Target, Traits};

/// A part of a VPC's addresses in one zone.
pub(in crate::aws) struct Subnet;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    vpc_id: String,
    cidr: String,
    zone: String,
    #[serde(default)]
    public_addresses: bool,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    vpc_id: String,
    cidr: String,
    zone: String,
    public_addresses: bool,
    tags: Tags,
}

impl Listed for Subnet {
    const KIND: &'static str = "aws.subnet";
    const DOCUMENTATION: &'static str = "A subnet of a VPC of AWS.\n\
        vpcId: the VPC that it is part of.\n\
        cidr: its range of addresses, within that of the VPC.\n\
        zone: the availability zone; vpcId, cidr and zone make the subnet anew when they change.\n\
        publicAddresses: whether machines in it get a public address; changed in place.\n\
        tags: more tags for it, such as the role that load balancers look for; changed in place.";
    const TRAITS: Traits = NETWORK;
    const BY_ID: &'static str = "subnet-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        for (path, old, new) in [
            ("vpcId", &outputs.vpc_id, &inputs.vpc_id),
            ("cidr", &outputs.cidr, &inputs.cidr),
            ("zone", &outputs.zone, &inputs.zone),
        ] {
            force(&mut change, path, json!(old), json!(new));
        }
        let (old, new) = (outputs.public_addresses, inputs.public_addresses);
        field(&mut change, "publicAddresses", json!(old), json!(new));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_subnets().set_filters(Some(filters));
        let found = call.into_paginator().items().send().collect().await;
        let subnets: Vec<aws_sdk_ec2::types::Subnet> = read("ec2:DescribeSubnets", found)?;
        let items = subnets.into_iter().filter_map(|subnet| {
            let id = subnet.subnet_id?;
            let tags = tags::read(subnet.tags);
            let outputs = Outputs {
                id: id.clone(),
                vpc_id: subnet.vpc_id?,
                cidr: subnet.cidr_block?,
                zone: subnet.availability_zone?,
                public_addresses: subnet.map_public_ip_on_launch.unwrap_or_default(),
                tags: tags.clone(),
            };
            Some(Item::new(
                id,
                tags,
                readiness(subnet.state.as_ref().map(SubnetState::as_str)),
                outputs,
            ))
        });
        Ok(items.collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::Subnet, &inputs.tags);
        let call = clients.ec2().await?.create_subnet();
        let call = call.vpc_id(&inputs.vpc_id).cidr_block(&inputs.cidr);
        let call = call.availability_zone(&inputs.zone).tag_specifications(tags);
        let made = written("ec2:CreateSubnet", call.send().await)?;
        let id = made.subnet.and_then(|subnet| subnet.subnet_id);
        if let (Some(id), true) = (&id, inputs.public_addresses) {
            after_made(set_public_addresses(clients, id, true).await)?;
        }
        Ok(id)
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        if live.public_addresses != inputs.public_addresses {
            set_public_addresses(clients, id, inputs.public_addresses).await?;
        }
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, _: &Outputs) -> Answer {
        let sent = clients.ec2().await?.delete_subnet().subnet_id(id).send().await;
        let in_use = sent.as_ref().is_err_and(is_in_use);
        match deleted("ec2:DeleteSubnet", "InvalidSubnetID.NotFound", sent) {
            Err(error) if in_use => Err(name_interfaces(clients, "subnet-id", id, error).await),
            other => other,
        }
    }
}

async fn set_public_addresses(clients: &Clients, id: &str, wanted: bool) -> Answer {
    let wanted = AttributeBooleanValue::builder().value(wanted).build();
    let call = clients.ec2().await?.modify_subnet_attribute();
    let sent = call.subnet_id(id).map_public_ip_on_launch(wanted).send().await;
    written("ec2:ModifySubnetAttribute", sent).map(drop)
}
