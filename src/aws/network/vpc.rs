use aws_sdk_ec2::types::{Filter, ResourceType, VpcState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Purpose, failed, is_gone},
    find::{Item, find, ours},
    tags::{self, Mark, Tags},
};
use super::{NETWORK, force, vanished};
use crate::resource::{Change, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed};

/// A virtual network.
pub(in crate::aws) struct Vpc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    cidr: String,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    cidr: String,
    tags: Tags,
}

impl Resource for Vpc {
    const KIND: &'static str = "aws.vpc";
    const DOCUMENTATION: &'static str = "A virtual network (VPC) of AWS.\n\
        cidr: its range of addresses, 10.0.0.0/16; another one makes the network anew.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = NETWORK;

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        force(&mut change, "cidr", json!(outputs.cidr), json!(inputs.cidr));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
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
        let tags = Mark::of(target)?.specification(ResourceType::Vpc, &inputs.tags);
        let call = clients.ec2().await?.create_vpc();
        let call = call.cidr_block(&inputs.cidr).tag_specifications(tags);
        let made = call
            .send()
            .await
            .map_err(|error| failed("ec2:CreateVpc", Purpose::Write, &error))?;
        Ok(made.vpc.and_then(|vpc| vpc.vpc_id))
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let seen = find(&[target], "vpc-id", |filters| list(clients, filters)).await;
        match ours(seen)? {
            Some(id) => tags::write(clients, &id, &inputs.tags).await,
            None => Err(vanished(target)),
        }
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let seen = find(&[target], "vpc-id", |filters| list(clients, filters)).await;
        let Some(id) = ours(seen)? else {
            return Ok(());
        };
        match clients.ec2().await?.delete_vpc().vpc_id(id).send().await {
            Err(error) if !is_gone(&error) => Err(failed("ec2:DeleteVpc", Purpose::Delete, &error)),
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
        .map_err(|error| failed("ec2:DescribeVpcs", Purpose::Read, &error))?;
    let items = vpcs.into_iter().filter_map(|vpc| {
        let readiness = match vpc.state() {
            Some(VpcState::Available) => Readiness::Ready,
            Some(state) => Readiness::NotYet(format!("it is {state}")),
            None => Readiness::NotYet("AWS does not tell its state".to_owned()),
        };
        let id = vpc.vpc_id?;
        let tags = tags::read(vpc.tags);
        let outputs = Outputs {
            id: id.clone(),
            cidr: vpc.cidr_block?,
            tags: tags.clone(),
        };
        Some(Item {
            id,
            tags,
            readiness,
            outputs,
        })
    });
    Ok(items.collect())
}
