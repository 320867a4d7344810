use aws_sdk_ec2::types::{Filter, ResourceType, VpcState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Clients,
    error::{Purpose, failed, is_gone},
    find::{Item, find, ours},
    subnet::{NETWORK, force},
    tags::Mark,
};
use crate::resource::{Change, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed};

/// A virtual network.
pub(super) struct Vpc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Inputs {
    cidr: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outputs {
    id: String,
    cidr: String,
}

impl Resource for Vpc {
    const KIND: &'static str = "aws.vpc";
    const DOCUMENTATION: &'static str = "A virtual network (VPC) of AWS.\n\
        cidr: its range of addresses, 10.0.0.0/16; another one makes the network anew.";
    const TRAITS: Traits = NETWORK;

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        if inputs.cidr != outputs.cidr {
            force(&mut change, "cidr", json!(outputs.cidr), json!(inputs.cidr));
        }
        change
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        let targets: Vec<&Target> = targets.iter().map(|typed| typed.target).collect();
        find(&targets, "vpc-id", |filters| list(clients, filters)).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let tags = Mark::of(target)?.specification(ResourceType::Vpc);
        let call = clients.ec2().await?.create_vpc();
        let call = call.cidr_block(&inputs.cidr).tag_specifications(tags);
        let made = call
            .send()
            .await
            .map_err(|error| failed("CreateVpc", Purpose::Write, &error))?;
        Ok(made.vpc.and_then(|vpc| vpc.vpc_id))
    }

    async fn update(_: &Clients, target: &Target, _: &Inputs) -> Result<(), ResourceError> {
        Err(ResourceError::permanent(format!(
            "nothing of {} can be changed in place",
            target.address
        )))
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let seen = find(&[target], "vpc-id", |filters| list(clients, filters)).await;
        let Some(id) = ours(seen)? else {
            return Ok(());
        };
        match clients.ec2().await?.delete_vpc().vpc_id(id).send().await {
            Err(error) if !is_gone(&error) => Err(failed("DeleteVpc", Purpose::Delete, &error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

async fn list(clients: &Clients, filters: Vec<Filter>) -> Result<Vec<Item<Outputs>>, ResourceError> {
    let call = clients.ec2().await?.describe_vpcs().set_filters(Some(filters));
    let vpcs: Vec<_> = call
        .into_paginator()
        .items()
        .send()
        .collect::<Result<_, _>>()
        .await
        .map_err(|error| failed("DescribeVpcs", Purpose::Read, &error))?;
    let items = vpcs.into_iter().filter_map(|vpc| {
        let readiness = match vpc.state() {
            Some(VpcState::Available) => Readiness::Ready,
            Some(state) => Readiness::NotYet(format!("it is {state}")),
            None => Readiness::NotYet("AWS does not tell its state".to_owned()),
        };
        let id = vpc.vpc_id?;
        let outputs = Outputs {
            id: id.clone(),
            cidr: vpc.cidr_block?,
        };
        Some(Item {
            id,
            tags: vpc.tags.unwrap_or_default(),
            readiness,
            outputs,
        })
    });
    Ok(items.collect())
}
