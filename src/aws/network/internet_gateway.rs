use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    types::{Filter, ResourceType},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, after_made, deleted, is_in_use, read, written},
    find::{Item, Listed},
    tags::{self, Mark, Tags},
};
use super::{NETWORK, dependents::name_interfaces, field, force};
use crate::resource::{Cause, Change, Readiness, ResourceError, Target, Traits};

/// The way between a VPC and the internet.
pub(in crate::aws) struct InternetGateway;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    vpc_id: String,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    /// Which VPC it is attached to.
    vpc_id: Option<String>,
    tags: Tags,
}

impl Listed for InternetGateway {
    const KIND: &'static str = "aws.internet_gateway";
    const DOCUMENTATION: &'static str = "The internet gateway of a VPC of AWS.\n\
        vpcId: the VPC that it is attached to; attached again if someone has detached it, made anew for another one.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = NETWORK;
    const BY_ID: &'static str = "internet-gateway-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        let note = if outputs.vpc_id.is_some() { force } else { field };
        note(&mut change, "vpcId", json!(outputs.vpc_id), json!(inputs.vpc_id));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_internet_gateways();
        let call = call.set_filters(Some(filters));
        let found = call.into_paginator().items().send().collect().await;
        let gateways: Vec<aws_sdk_ec2::types::InternetGateway> = read("ec2:DescribeInternetGateways", found)?;
        let items = gateways.into_iter().filter_map(|gateway| {
            let id = gateway.internet_gateway_id?;
            let tags = tags::read(gateway.tags);
            let attachment = gateway.attachments.into_iter().flatten().next();
            let outputs = Outputs {
                id: id.clone(),
                vpc_id: attachment.and_then(|attachment| attachment.vpc_id),
                tags: tags.clone(),
            };
            Some(Item::new(id, tags, Readiness::Ready, outputs))
        });
        Ok(items.collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::InternetGateway, &inputs.tags);
        let call = clients
            .ec2()
            .await?
            .create_internet_gateway()
            .tag_specifications(tags);
        let made = written("ec2:CreateInternetGateway", call.send().await)?;
        let id = made
            .internet_gateway
            .and_then(|gateway| gateway.internet_gateway_id);
        if let Some(id) = &id {
            after_made(attach(clients, id, &inputs.vpc_id).await)?;
        }
        Ok(id)
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        if live.vpc_id.is_none() {
            attach(clients, id, &inputs.vpc_id).await?;
        }
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, live: &Outputs) -> Answer {
        if let Some(vpc) = &live.vpc_id {
            detach(clients, id, vpc).await?;
        }
        let call = clients.ec2().await?.delete_internet_gateway();
        deleted(
            "ec2:DeleteInternetGateway",
            "InvalidInternetGatewayID.NotFound",
            call.internet_gateway_id(id).send().await,
        )
    }
}

async fn attach(clients: &Clients, id: &str, vpc: &str) -> Answer {
    let call = clients.ec2().await?.attach_internet_gateway();
    let sent = call.internet_gateway_id(id).vpc_id(vpc).send().await;
    let attached = matches!(&sent, Err(error) if error.code() == Some("Resource.AlreadyAssociated"));
    match written("ec2:AttachInternetGateway", sent) {
        Err(error) if attached => attached_to(clients, id, vpc, error).await,
        sent => sent.map(drop),
    }
}

/// What it means that a gateway is attached already: all is well if it is to our VPC, as after an answer that was lost;
/// and where no list shows it yet, the next look will.
async fn attached_to(clients: &Clients, id: &str, vpc: &str, error: ResourceError) -> Answer {
    let by_id = tags::filter(InternetGateway::BY_ID, vec![id.to_owned()]);
    let found = InternetGateway::list(clients, vec![by_id]).await?;
    let live = found.into_iter().find_map(|gateway| gateway.outputs.vpc_id);
    match live {
        Some(live) if live == vpc => Ok(()),
        Some(_) => Err(error),
        None => Err(ResourceError {
            cause: Cause::Transient,
            ..error
        }),
    }
}

/// Refused while public addresses of the VPC are in use.
async fn detach(clients: &Clients, id: &str, vpc: &str) -> Answer {
    let call = clients.ec2().await?.detach_internet_gateway();
    let sent = call.internet_gateway_id(id).vpc_id(vpc).send().await;
    let in_use = sent.as_ref().is_err_and(is_in_use);
    match deleted("ec2:DetachInternetGateway", "Gateway.NotAttached", sent) {
        Err(error) if in_use => Err(name_interfaces(clients, "vpc-id", vpc, error).await),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_was_detached_is_attached_and_one_of_another_vpc_is_made_anew() {
        let inputs = Inputs {
            vpc_id: "vpc-1".into(),
            tags: Tags::new(),
        };
        let live = |vpc: Option<&str>| Outputs {
            id: "igw-1".into(),
            vpc_id: vpc.map(str::to_owned),
            tags: Tags::new(),
        };
        let change = InternetGateway::diff(&inputs, &live(None));
        assert!(change.fields.len() == 1 && change.forces.is_empty(), "{change:?}");
        assert_eq!(
            InternetGateway::diff(&inputs, &live(Some("vpc-2"))).forces,
            ["vpcId"]
        );
        assert_eq!(
            InternetGateway::diff(&inputs, &live(Some("vpc-1"))),
            Change::default()
        );
    }
}
