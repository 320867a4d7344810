use std::time::Duration;

use aws_sdk_ec2::types::{Filter, NatGatewayState, ResourceType};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, deleted, read, written},
    find::{Item, Listed, readiness},
    idempotency::token,
    tags::{self, Mark, Tags},
};
use super::{NETWORK, force};
use crate::resource::{Change, Readiness, Target, Traits};

/// The way out for machines without public addresses.
pub(in crate::aws) struct NatGateway;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    subnet_id: String,
    allocation_id: String,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    subnet_id: String,
    allocation_id: String,
    /// As AWS says it; one that failed or is being deleted can only be made anew.
    state: String,
    tags: Tags,
}

impl Listed for NatGateway {
    const KIND: &'static str = "aws.nat_gateway";
    const DOCUMENTATION: &'static str = "A NAT gateway of AWS: the way out for machines without public addresses.\n\
        subnetId: the public subnet that it stands in.\n\
        allocationId: the public address that it uses; both make the gateway anew when they change.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        expected: Some(Duration::from_secs(95)),
        removal: Some(Duration::from_mins(1)),
        ..NETWORK
    };
    const BY_ID: &'static str = "nat-gateway-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        for (path, old, new) in [
            ("subnetId", &outputs.subnet_id, &inputs.subnet_id),
            ("allocationId", &outputs.allocation_id, &inputs.allocation_id),
        ] {
            force(&mut change, path, json!(old), json!(new));
        }
        if matches!(outputs.state.as_str(), "failed" | "deleting") {
            force(&mut change, "state", json!(outputs.state), json!("available"));
        }
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    /// Without those that are gone, which AWS shows for an hour.
    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_nat_gateways();
        let found = call
            .set_filter(Some(filters))
            .into_paginator()
            .items()
            .send()
            .collect()
            .await;
        let gateways: Vec<aws_sdk_ec2::types::NatGateway> = read("ec2:DescribeNatGateways", found)?;
        Ok(gateways.into_iter().filter_map(item).collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::Natgateway, &inputs.tags);
        let call = clients.ec2().await?.create_nat_gateway();
        let call = call
            .subnet_id(&inputs.subnet_id)
            .allocation_id(&inputs.allocation_id);
        let call = call.client_token(token(target, inputs)).tag_specifications(tags);
        let made = written("ec2:CreateNatGateway", call.send().await)?;
        Ok(made.nat_gateway.and_then(|gateway| gateway.nat_gateway_id))
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, live: &Outputs) -> Answer {
        if live.state == "deleting" {
            return Ok(());
        }
        let call = clients.ec2().await?.delete_nat_gateway();
        let sent = call.nat_gateway_id(id).send().await;
        deleted("ec2:DeleteNatGateway", "NatGatewayNotFound", sent)
    }
}

fn item(gateway: aws_sdk_ec2::types::NatGateway) -> Option<Item<Outputs>> {
    let state = gateway.state.filter(|state| *state != NatGatewayState::Deleted)?;
    let readiness = if state == NatGatewayState::Failed {
        let code = gateway.failure_code.as_deref().unwrap_or("no code");
        let message = gateway.failure_message.as_deref().unwrap_or("no message");
        Readiness::Failed(format!("AWS could not make it: {code}: {message}"))
    } else {
        readiness(Some(state.as_str()))
    };
    let address = gateway.nat_gateway_addresses.into_iter().flatten().next();
    let id = gateway.nat_gateway_id?;
    let tags = tags::read(gateway.tags);
    let outputs = Outputs {
        id: id.clone(),
        subnet_id: gateway.subnet_id.unwrap_or_default(),
        allocation_id: address
            .and_then(|address| address.allocation_id)
            .unwrap_or_default(),
        state: state.as_str().to_owned(),
        tags: tags.clone(),
    };
    Some(Item::new(id, tags, readiness, outputs))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::NatGatewayAddress;

    use super::*;

    fn live(state: NatGatewayState) -> Option<Item<Outputs>> {
        let address = NatGatewayAddress::builder().allocation_id("eipalloc-1").build();
        item(
            aws_sdk_ec2::types::NatGateway::builder()
                .nat_gateway_id("nat-1")
                .subnet_id("subnet-1")
                .nat_gateway_addresses(address)
                .failure_code("Gateway.NotAttached")
                .failure_message("no internet gateway")
                .state(state)
                .build(),
        )
    }

    #[test]
    fn each_state_says_whether_to_wait_or_to_make_it_anew() {
        let inputs = Inputs {
            subnet_id: "subnet-1".into(),
            allocation_id: "eipalloc-1".into(),
            tags: Tags::new(),
        };
        let failed =
            Readiness::Failed("AWS could not make it: Gateway.NotAttached: no internet gateway".into());
        for (state, ready, anew) in [
            (
                NatGatewayState::Pending,
                Readiness::NotYet("it is pending".into()),
                false,
            ),
            (NatGatewayState::Available, Readiness::Ready, false),
            (
                NatGatewayState::Deleting,
                Readiness::NotYet("it is deleting".into()),
                true,
            ),
            (NatGatewayState::Failed, failed, true),
        ] {
            let item = live(state.clone()).unwrap();
            assert_eq!(item.readiness, ready, "{state}");
            let forces = NatGateway::diff(&inputs, &item.outputs).forces;
            assert_eq!(!forces.is_empty(), anew, "{state}: {forces:?}");
        }
        assert!(live(NatGatewayState::Deleted).is_none());
    }
}
