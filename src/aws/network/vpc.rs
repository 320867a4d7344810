use std::time::Duration;

use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    types::{AttributeBooleanValue, Filter, ResourceType, VpcAttributeName, VpcState},
};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, after_made, deleted, is_in_use, read, written},
    find::{Item, Listed, readiness},
    tags::{self, Mark, Tags},
};
use super::{NETWORK, dependents::name_contents, field, force};
use crate::resource::{Change, ResourceError, Target, Traits};

/// What AWS says of a VPC that is not there.
const GONE: &str = "InvalidVpcID.NotFound";

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
    dns_support: bool,
    dns_hostnames: bool,
    tags: Tags,
}

impl Listed for Vpc {
    const KIND: &'static str = "aws.vpc";
    const DOCUMENTATION: &'static str = "A virtual network (VPC) of AWS, with its DNS and names of machines on.\n\
        cidr: its range of addresses, 10.0.0.0/16; another one makes the network anew.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        // Interfaces that AWS made in it go away by themselves, in minutes.
        deadline: Duration::from_mins(10),
        ..NETWORK
    };
    const BY_ID: &'static str = "vpc-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        force(&mut change, "cidr", json!(outputs.cidr), json!(inputs.cidr));
        field(&mut change, "dnsSupport", json!(outputs.dns_support), json!(true));
        field(
            &mut change,
            "dnsHostnames",
            json!(outputs.dns_hostnames),
            json!(true),
        );
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_vpcs().set_filters(Some(filters));
        let found = call.into_paginator().items().send().collect().await;
        let vpcs: Vec<aws_sdk_ec2::types::Vpc> = read("ec2:DescribeVpcs", found)?;
        let items = vpcs.into_iter().filter_map(|vpc| {
            let id = vpc.vpc_id?;
            Some(async move {
                let Some((dns_support, dns_hostnames)) = dns(clients, &id).await? else {
                    return Ok::<_, ResourceError>(None);
                };
                let tags = tags::read(vpc.tags);
                let outputs = Outputs {
                    id: id.clone(),
                    cidr: vpc.cidr_block.unwrap_or_default(),
                    dns_support,
                    dns_hostnames,
                    tags: tags.clone(),
                };
                Ok(Some(Item::new(
                    id,
                    tags,
                    readiness(vpc.state.as_ref().map(VpcState::as_str)),
                    outputs,
                )))
            })
        });
        Ok(try_join_all(items).await?.into_iter().flatten().collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::Vpc, &inputs.tags);
        let call = clients.ec2().await?.create_vpc();
        let call = call.cidr_block(&inputs.cidr).tag_specifications(tags);
        let made = written("ec2:CreateVpc", call.send().await)?;
        let id = made.vpc.and_then(|vpc| vpc.vpc_id);
        if let Some(id) = &id {
            after_made(switch_dns_on(clients, id).await)?;
        }
        Ok(id)
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        if !(live.dns_support && live.dns_hostnames) {
            switch_dns_on(clients, id).await?;
        }
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, mark: &Mark, id: &str, _: &Outputs) -> Answer {
        let sent = clients.ec2().await?.delete_vpc().vpc_id(id).send().await;
        let in_use = sent.as_ref().is_err_and(is_in_use);
        match deleted("ec2:DeleteVpc", GONE, sent) {
            Err(error) if in_use => Err(Box::pin(name_contents(clients, mark, id, error)).await),
            other => other,
        }
    }
}

/// One attribute a call, and names need the DNS itself.
async fn switch_dns_on(clients: &Clients, id: &str) -> Answer {
    let on = || AttributeBooleanValue::builder().value(true).build();
    let ec2 = clients.ec2().await?;
    let support = ec2.modify_vpc_attribute().vpc_id(id).enable_dns_support(on());
    written("ec2:ModifyVpcAttribute", support.send().await)?;
    let names = ec2.modify_vpc_attribute().vpc_id(id).enable_dns_hostnames(on());
    written("ec2:ModifyVpcAttribute", names.send().await).map(drop)
}

/// Whether DNS and names are on, as no list tells; nothing if the VPC is gone.
async fn dns(clients: &Clients, id: &str) -> Answer<Option<(bool, bool)>> {
    let ec2 = clients.ec2().await?;
    let ask = |name| ec2.describe_vpc_attribute().vpc_id(id).attribute(name).send();
    let asked = futures::try_join!(
        ask(VpcAttributeName::EnableDnsSupport),
        ask(VpcAttributeName::EnableDnsHostnames)
    );
    if asked.as_ref().is_err_and(|error| error.code() == Some(GONE)) {
        return Ok(None);
    }
    let (support, names) = read("ec2:DescribeVpcAttribute", asked)?;
    let on = |value: Option<AttributeBooleanValue>| value.and_then(|value| value.value).unwrap_or_default();
    Ok(Some((
        on(support.enable_dns_support),
        on(names.enable_dns_hostnames),
    )))
}
