use std::collections::BTreeSet;

use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    types::{Filter, ResourceType, State, VpcEndpointType},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, read, written},
    find::{Item, Listed, readiness},
    idempotency::token,
    tags::{self, Mark, Tags},
};
use super::{NETWORK, field, force};
use crate::resource::{Cause, Change, Readiness, ResourceError, Target, Traits};

/// The way to a service of AWS that does not leave its network.
pub(in crate::aws) struct VpcEndpoint;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    vpc_id: String,
    service: String,
    route_table_ids: BTreeSet<String>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    vpc_id: String,
    service: String,
    route_table_ids: BTreeSet<String>,
    /// As AWS says it; one that failed or is being deleted can only be made anew.
    state: String,
    tags: Tags,
}

impl Listed for VpcEndpoint {
    const KIND: &'static str = "aws.vpc_endpoint";
    const DOCUMENTATION: &'static str = "A gateway endpoint of AWS: the way from a VPC to a service that needs neither NAT nor internet; costs nothing.\n\
        vpcId: the VPC.\n\
        service: s3 or dynamodb; vpcId and service make the endpoint anew when they change.\n\
        routeTableIds: the route tables that it adds its routes to; changed in place.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = NETWORK;
    const BY_ID: &'static str = "vpc-endpoint-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        for (path, old, new) in [
            ("vpcId", &outputs.vpc_id, &inputs.vpc_id),
            ("service", &outputs.service, &inputs.service),
        ] {
            force(&mut change, path, json!(old), json!(new));
        }
        if !matches!(outputs.state.as_str(), "available" | "pending") {
            force(&mut change, "state", json!(outputs.state), json!("available"));
        }
        let (old, new) = (&outputs.route_table_ids, &inputs.route_table_ids);
        field(&mut change, "routeTableIds", json!(old), json!(new));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_vpc_endpoints();
        let call = call.set_filters(Some(filters));
        let found = call.into_paginator().items().send().collect().await;
        let endpoints: Vec<aws_sdk_ec2::types::VpcEndpoint> = read("ec2:DescribeVpcEndpoints", found)?;
        Ok(endpoints.into_iter().filter_map(item).collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::VpcEndpoint, &inputs.tags);
        let service = format!("com.amazonaws.{}.{}", clients.region().await?, inputs.service);
        let call = clients.ec2().await?.create_vpc_endpoint();
        let call = call.vpc_endpoint_type(VpcEndpointType::Gateway);
        let call = call.vpc_id(&inputs.vpc_id).service_name(service);
        let tables = inputs.route_table_ids.iter().cloned().collect();
        let call = call.set_route_table_ids(Some(tables)).tag_specifications(tags);
        let sent = call.client_token(token(target, inputs)).send().await;
        let made = written("ec2:CreateVpcEndpoint", sent)?;
        Ok(made.vpc_endpoint.and_then(|endpoint| endpoint.vpc_endpoint_id))
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        let (old, new) = (&live.route_table_ids, &inputs.route_table_ids);
        if old != new {
            let call = clients.ec2().await?.modify_vpc_endpoint().vpc_endpoint_id(id);
            let call = call.set_add_route_table_ids(only(new, old));
            let call = call.set_remove_route_table_ids(only(old, new));
            written("ec2:ModifyVpcEndpoint", call.send().await)?;
        }
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, _: &Outputs) -> Answer {
        let call = clients.ec2().await?.delete_vpc_endpoints().vpc_endpoint_ids(id);
        // The call succeeds even where nothing was deleted, and says so item by item.
        let sent = call.send().await;
        if sent
            .as_ref()
            .is_err_and(|error| error.code().is_some_and(is_the_endpoint_gone))
        {
            return Ok(());
        }
        let answer = written("ec2:DeleteVpcEndpoints", sent)?;
        let error = answer.unsuccessful().iter().find_map(|item| item.error());
        match error.map(|error| (error.code().unwrap_or("no code"), error.message())) {
            Some((code, message)) if !is_the_endpoint_gone(code) => {
                let message = message.unwrap_or("no message");
                let message = format!("ec2:DeleteVpcEndpoints gave {code} for {id}: {message}");
                Err(ResourceError::new(Cause::Transient, message))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a code says that the endpoint itself is not there. That a route of it is missing says nothing of the kind.
fn is_the_endpoint_gone(code: &str) -> bool {
    code.starts_with("InvalidVpcEndpoint") && code.ends_with(".NotFound")
}

/// What is in the one and not in the other; nothing where that is nothing, as AWS takes no empty list.
fn only(one: &BTreeSet<String>, other: &BTreeSet<String>) -> Option<Vec<String>> {
    let only: Vec<String> = one.difference(other).cloned().collect();
    (!only.is_empty()).then_some(only)
}

fn item(endpoint: aws_sdk_ec2::types::VpcEndpoint) -> Option<Item<Outputs>> {
    // AWS writes the states of endpoints with and without a capital letter.
    let state = endpoint
        .state
        .as_ref()
        .map(State::as_str)
        .unwrap_or_default()
        .to_lowercase();
    if state == "deleted" {
        return None;
    }
    let readiness = match state.as_str() {
        "failed" | "rejected" | "expired" => {
            let error = endpoint.last_error.and_then(|error| error.message);
            let why = endpoint.failure_reason.or(error);
            Readiness::Failed(format!(
                "it is {state}: {}",
                why.as_deref().unwrap_or("no reason")
            ))
        }
        state => readiness(Some(state)),
    };
    let id = endpoint.vpc_endpoint_id?;
    let tags = tags::read(endpoint.tags);
    let service = endpoint.service_name.unwrap_or_default();
    let outputs = Outputs {
        id: id.clone(),
        vpc_id: endpoint.vpc_id.unwrap_or_default(),
        service: service.rsplit('.').next().unwrap_or_default().to_owned(),
        route_table_ids: endpoint.route_table_ids.into_iter().flatten().collect(),
        state,
        tags: tags.clone(),
    };
    Some(Item::new(id, tags, readiness, outputs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_endpoint_counts_as_gone() {
        assert!(is_the_endpoint_gone("InvalidVpcEndpoint.NotFound"));
        assert!(is_the_endpoint_gone("InvalidVpcEndpointId.NotFound"));
        for other in [
            "InvalidRoute.NotFound",
            "InvalidRouteTableID.NotFound",
            "InvalidVpcEndpoint.InUse",
        ] {
            assert!(!is_the_endpoint_gone(other), "{other}");
        }
    }

    #[test]
    fn route_tables_change_in_place_and_the_service_does_not() {
        let endpoint = aws_sdk_ec2::types::VpcEndpoint::builder()
            .vpc_endpoint_id("vpce-1")
            .vpc_id("vpc-1")
            .service_name("com.amazonaws.eu-central-1.s3")
            .state(State::from("Available"))
            .route_table_ids("rtb-2")
            .route_table_ids("rtb-1")
            .build();
        let live = item(endpoint).unwrap();
        assert_eq!(live.readiness, Readiness::Ready);
        let wanted = |service: &str, tables: &[&str]| Inputs {
            vpc_id: "vpc-1".into(),
            service: service.into(),
            route_table_ids: tables.iter().map(|&table| table.to_owned()).collect(),
            tags: Tags::new(),
        };
        let same = VpcEndpoint::diff(&wanted("s3", &["rtb-1", "rtb-2"]), &live.outputs);
        assert_eq!(same, Change::default());
        let moved = VpcEndpoint::diff(&wanted("s3", &["rtb-1", "rtb-3"]), &live.outputs);
        assert!(moved.fields.len() == 1 && moved.forces.is_empty(), "{moved:?}");
        let other = VpcEndpoint::diff(&wanted("dynamodb", &["rtb-1", "rtb-2"]), &live.outputs);
        assert_eq!(other.forces, ["service"]);
    }

    #[test]
    fn only_what_one_has_and_the_other_has_not_is_sent() {
        let set = |ids: &[&str]| ids.iter().map(|&id| id.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(only(&set(&["a", "b"]), &set(&["b"])), Some(vec!["a".to_owned()]));
        assert_eq!(only(&set(&["b"]), &set(&["a", "b"])), None);
    }
}
