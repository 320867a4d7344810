use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::{
    error::ProvideErrorMetadata as _,
    types::{Filter, ResourceType, RouteState},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{
    Clients,
    error::{Answer, after_made, deleted, read, written},
    find::{Item, Listed},
    idempotency::token,
    tags::{self, Mark, Tags, filter},
};
use super::{NETWORK, field, force};
use crate::resource::{Change, Readiness, Target, Traits};

/// Where the traffic of some subnets goes.
pub(in crate::aws) struct RouteTable;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    vpc_id: String,
    #[serde(default)]
    routes: Vec<Route>,
    #[serde(default)]
    subnet_ids: BTreeSet<String>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Route {
    destination: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gateway_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nat_gateway_id: Option<String>,
    /// What it leads to is gone; never wanted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    blackhole: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    id: String,
    vpc_id: String,
    routes: Vec<Route>,
    subnet_ids: BTreeSet<String>,
    tags: Tags,
    /// The ids of its associations, by subnet: only calls need them.
    #[serde(skip)]
    associations: BTreeMap<String, String>,
}

impl Listed for RouteTable {
    const KIND: &'static str = "aws.route_table";
    const DOCUMENTATION: &'static str = "A route table of a VPC of AWS.\n\
        vpcId: the VPC; another one makes the table anew.\n\
        routes: each with a destination (a range of IPv4 addresses) and gatewayId or natGatewayId; those that lead to\n\
        nothing any more are shown as a difference; changed in place.\n\
        subnetIds: the subnets that use it; changed in place.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = NETWORK;
    const BY_ID: &'static str = "route-table-id";

    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        force(&mut change, "vpcId", json!(outputs.vpc_id), json!(inputs.vpc_id));
        let destinations = inputs.routes.iter().chain(&outputs.routes);
        let destinations: BTreeSet<&str> = destinations.map(|route| route.destination.as_str()).collect();
        for destination in destinations {
            let (old, new) = (to(&outputs.routes, destination), to(&inputs.routes, destination));
            field(
                &mut change,
                &format!("routes[{destination}]"),
                json!(old),
                json!(new),
            );
        }
        let (old, new) = (&outputs.subnet_ids, &inputs.subnet_ids);
        field(&mut change, "subnetIds", json!(old), json!(new));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn list(clients: &Clients, filters: Vec<Filter>) -> Answer<Vec<Item<Outputs>>> {
        let call = clients.ec2().await?.describe_route_tables();
        let call = call.set_filters(Some(filters));
        let found = call.into_paginator().items().send().collect().await;
        let tables: Vec<aws_sdk_ec2::types::RouteTable> = read("ec2:DescribeRouteTables", found)?;
        Ok(tables.into_iter().filter_map(item).collect())
    }

    async fn create(clients: &Clients, target: &Target, inputs: &Inputs) -> Answer<Option<String>> {
        let tags = Mark::of(target)?.specification(ResourceType::RouteTable, &inputs.tags);
        let call = clients.ec2().await?.create_route_table().vpc_id(&inputs.vpc_id);
        let call = call.client_token(token(target, inputs)).tag_specifications(tags);
        let made = written("ec2:CreateRouteTable", call.send().await)?;
        let id = made.route_table.and_then(|table| table.route_table_id);
        if let Some(id) = &id {
            after_made(fill(clients, id, inputs, &[], &BTreeSet::new()).await)?;
        }
        Ok(id)
    }

    async fn update(clients: &Clients, id: &str, live: &Outputs, inputs: &Inputs) -> Answer {
        fill(clients, id, inputs, &live.routes, &live.subnet_ids).await?;
        for route in &live.routes {
            if to(&inputs.routes, &route.destination).is_none() {
                let call = clients.ec2().await?.delete_route().route_table_id(id);
                let sent = call.destination_cidr_block(&route.destination).send().await;
                deleted("ec2:DeleteRoute", "InvalidRoute.NotFound", sent)?;
            }
        }
        for (subnet, association) in &live.associations {
            if !inputs.subnet_ids.contains(subnet) {
                release(clients, association).await?;
            }
        }
        tags::align(clients, id, &inputs.tags, &live.tags).await
    }

    async fn delete(clients: &Clients, _: &Mark, id: &str, live: &Outputs) -> Answer {
        for association in live.associations.values() {
            release(clients, association).await?;
        }
        let call = clients.ec2().await?.delete_route_table();
        let sent = call.route_table_id(id).send().await;
        deleted("ec2:DeleteRouteTable", "InvalidRouteTableID.NotFound", sent)
    }
}

/// The route to a destination.
fn to<'a>(routes: &'a [Route], destination: &str) -> Option<&'a Route> {
    routes.iter().find(|route| route.destination == destination)
}

/// Adds and mends what is wanted, beside what stands.
async fn fill(
    clients: &Clients,
    id: &str,
    inputs: &Inputs,
    routes: &[Route],
    subnets: &BTreeSet<String>,
) -> Answer {
    for route in &inputs.routes {
        match to(routes, &route.destination) {
            Some(live) if live == route => {}
            Some(_) => lead_elsewhere(clients, id, route).await?,
            None => lead(clients, id, route).await?,
        }
    }
    for subnet in inputs.subnet_ids.difference(subnets) {
        associate(clients, id, subnet).await?;
    }
    Ok(())
}

async fn lead(clients: &Clients, id: &str, route: &Route) -> Answer {
    let call = clients.ec2().await?.create_route().route_table_id(id);
    let call = call.destination_cidr_block(&route.destination);
    let call = call.set_gateway_id(route.gateway_id.clone());
    let sent = call.set_nat_gateway_id(route.nat_gateway_id.clone()).send().await;
    if sent
        .as_ref()
        .is_err_and(|error| error.code() == Some("RouteAlreadyExists"))
    {
        return lead_elsewhere(clients, id, route).await;
    }
    written("ec2:CreateRoute", sent).map(drop)
}

async fn lead_elsewhere(clients: &Clients, id: &str, route: &Route) -> Answer {
    let call = clients.ec2().await?.replace_route().route_table_id(id);
    let call = call.destination_cidr_block(&route.destination);
    let call = call.set_gateway_id(route.gateway_id.clone());
    let sent = call.set_nat_gateway_id(route.nat_gateway_id.clone()).send().await;
    written("ec2:ReplaceRoute", sent).map(drop)
}

/// A subnet uses one table only: where someone gave ours another, that association is led back.
async fn associate(clients: &Clients, id: &str, subnet: &str) -> Answer {
    let ec2 = clients.ec2().await?;
    let call = ec2.associate_route_table().route_table_id(id).subnet_id(subnet);
    let sent = call.send().await;
    if !sent
        .as_ref()
        .is_err_and(|error| error.code() == Some("Resource.AlreadyAssociated"))
    {
        return written("ec2:AssociateRouteTable", sent).map(drop);
    }
    let tables = RouteTable::list(
        clients,
        vec![filter("association.subnet-id", vec![subnet.to_owned()])],
    )
    .await?;
    let other = tables.into_iter().filter(|table| table.id != id);
    let mut other = other.filter_map(|mut table| table.outputs.associations.remove(subnet));
    let Some(association) = other.next() else {
        return Ok(());
    };
    let call = ec2.replace_route_table_association().route_table_id(id);
    let sent = call.association_id(association).send().await;
    written("ec2:ReplaceRouteTableAssociation", sent).map(drop)
}

async fn release(clients: &Clients, association: &str) -> Answer {
    let call = clients.ec2().await?.disassociate_route_table();
    deleted(
        "ec2:DisassociateRouteTable",
        "InvalidAssociationID.NotFound",
        call.association_id(association).send().await,
    )
}

fn item(table: aws_sdk_ec2::types::RouteTable) -> Option<Item<Outputs>> {
    let id = table.route_table_id?;
    let tags = tags::read(table.tags);
    let associations = table.associations.into_iter().flatten();
    let associations: BTreeMap<String, String> = associations
        .filter_map(|association| Some((association.subnet_id?, association.route_table_association_id?)))
        .collect();
    let outputs = Outputs {
        id: id.clone(),
        vpc_id: table.vpc_id.unwrap_or_default(),
        routes: table.routes.into_iter().flatten().filter_map(route).collect(),
        subnet_ids: associations.keys().cloned().collect(),
        tags: tags.clone(),
        associations,
    };
    Some(Item::new(id, tags, Readiness::Ready, outputs))
}

/// A route of IPv4 that a person or we made: not the local one, and none that an endpoint or a gateway announces.
fn route(route: aws_sdk_ec2::types::Route) -> Option<Route> {
    let made = route.origin.is_none_or(|origin| origin.as_str() == "CreateRoute");
    let gateway = route.gateway_id.filter(|gateway| !gateway.is_empty());
    let own = |gateway: &String| gateway == "local" || gateway.starts_with("vpce-");
    if !made || gateway.as_ref().is_some_and(own) {
        return None;
    }
    Some(Route {
        destination: route.destination_cidr_block?,
        gateway_id: gateway,
        nat_gateway_id: route.nat_gateway_id,
        blackhole: route.state == Some(RouteState::Blackhole),
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{Route as LiveRoute, RouteOrigin, RouteTableAssociation};

    use super::*;

    fn live(state: RouteState) -> Outputs {
        let local = LiveRoute::builder()
            .destination_cidr_block("10.0.0.0/16")
            .gateway_id("local")
            .origin(RouteOrigin::CreateRouteTable);
        let endpoint = LiveRoute::builder()
            .destination_prefix_list_id("pl-1")
            .gateway_id("vpce-1");
        let out = LiveRoute::builder()
            .destination_cidr_block("0.0.0.0/0")
            .nat_gateway_id("nat-1")
            .origin(RouteOrigin::CreateRoute)
            .state(state);
        let association = RouteTableAssociation::builder()
            .subnet_id("subnet-1")
            .route_table_association_id("rtbassoc-1");
        let table = aws_sdk_ec2::types::RouteTable::builder()
            .route_table_id("rtb-1")
            .vpc_id("vpc-1")
            .routes(local.build())
            .routes(endpoint.build())
            .routes(out.build())
            .associations(association.build());
        item(table.build()).unwrap().outputs
    }

    fn wanted(nat: &str, subnets: &[&str]) -> Inputs {
        serde_json::from_value(json!({"vpcId": "vpc-1", "subnetIds": subnets,
            "routes": [{"destination": "0.0.0.0/0", "natGatewayId": nat}]}))
        .unwrap()
    }

    #[test]
    fn routes_of_the_vpc_itself_and_of_endpoints_are_no_difference() {
        let change = RouteTable::diff(&wanted("nat-1", &["subnet-1"]), &live(RouteState::Active));
        assert_eq!(change, Change::default());
    }

    #[test]
    fn a_route_that_leads_nowhere_is_shown_and_changed_in_place() {
        let change = RouteTable::diff(&wanted("nat-1", &["subnet-1"]), &live(RouteState::Blackhole));
        assert_eq!(change.forces, Vec::<String>::new());
        assert_eq!(change.fields[0].path, "routes[0.0.0.0/0]");
        let old = format!("{:?}", change.fields[0].old);
        assert!(old.contains("blackhole"), "{old}");
    }

    #[test]
    fn another_gateway_and_another_subnet_are_changed_in_place() {
        let change = RouteTable::diff(&wanted("nat-2", &["subnet-2"]), &live(RouteState::Active));
        let paths: Vec<&str> = change.fields.iter().map(|field| field.path.as_str()).collect();
        assert_eq!(paths, ["routes[0.0.0.0/0]", "subnetIds"]);
        assert_eq!(change.forces, Vec::<String>::new());
    }
}
