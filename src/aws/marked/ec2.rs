//! Every type of EC2 that a stack has, or that is made from what it has. Each is asked for itself: a list of all tags
//! still tells of what is gone.

use aws_sdk_ec2::types::{InstanceStateName, NatGatewayState, State, Tag, VolumeState};
use futures::future::try_join_all;
use serde_json::json;

use super::{
    super::{
        Clients,
        error::read,
        tags::{self, UID},
    },
    Thing, Whose,
};
use crate::resource::{Boxed, ResourceError};

/// One call, all pages of it, and what it tells that is not gone.
macro_rules! listed {
    ($call:expr, $action:literal, $thing:expr) => {{
        let call = $call;
        Box::pin(async move {
            let sent: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
            Ok(read($action, sent)?.into_iter().filter_map($thing).collect())
        }) as Boxed<'_, Result<Vec<Thing>, ResourceError>>
    }};
}

fn thing(kind: &str, id: Option<String>, tags: Option<Vec<Tag>>) -> Option<Thing> {
    let id = id?;
    Some(Thing {
        kind: kind.to_owned(),
        outputs: json!({"id": id}),
        id,
        tags: tags::read(tags),
    })
}

/// All of them at once.
pub(super) async fn list(clients: &Clients, whose: Whose<'_>) -> Result<Vec<Thing>, ResourceError> {
    let by = || match whose {
        Whose::All => tags::filter("tag-key", vec![UID.to_owned()]),
        Whose::One { uid, .. } => tags::filter(&format!("tag:{UID}"), vec![uid.to_owned()]),
    };
    let ec2 = clients.ec2().await?;
    let calls = [
        listed!(ec2.describe_vpcs().filters(by()), "ec2:DescribeVpcs", |one| {
            thing("ec2:vpc", one.vpc_id, one.tags)
        }),
        listed!(
            ec2.describe_subnets().filters(by()),
            "ec2:DescribeSubnets",
            |one| { thing("ec2:subnet", one.subnet_id, one.tags) }
        ),
        listed!(
            ec2.describe_internet_gateways().filters(by()),
            "ec2:DescribeInternetGateways",
            |one| { thing("ec2:internet-gateway", one.internet_gateway_id, one.tags) }
        ),
        listed!(
            ec2.describe_route_tables().filters(by()),
            "ec2:DescribeRouteTables",
            |one| { thing("ec2:route-table", one.route_table_id, one.tags) }
        ),
        listed!(
            ec2.describe_launch_templates().filters(by()),
            "ec2:DescribeLaunchTemplates",
            |one| { thing("ec2:launch-template", one.launch_template_id, one.tags) }
        ),
        listed!(
            ec2.describe_security_groups().filters(by()),
            "ec2:DescribeSecurityGroups",
            |one| { thing("ec2:security-group", one.group_id, one.tags) }
        ),
        listed!(
            ec2.describe_network_interfaces().filters(by()),
            "ec2:DescribeNetworkInterfaces",
            |one| { thing("ec2:network-interface", one.network_interface_id, one.tag_set) }
        ),
        listed!(
            ec2.describe_nat_gateways().filter(by()),
            "ec2:DescribeNatGateways",
            |one| {
                let there = one.state() != Some(&NatGatewayState::Deleted);
                thing("ec2:natgateway", one.nat_gateway_id.filter(|_| there), one.tags)
            }
        ),
        listed!(
            ec2.describe_vpc_endpoints().filters(by()),
            "ec2:DescribeVpcEndpoints",
            |one| {
                // On the wire it is in small letters, unlike in the SDK's list of states.
                let gone = |state: &State| state.as_str().eq_ignore_ascii_case(State::Deleted.as_str());
                let there = !one.state().is_some_and(gone);
                thing(
                    "ec2:vpc-endpoint",
                    one.vpc_endpoint_id.filter(|_| there),
                    one.tags,
                )
            }
        ),
        listed!(
            ec2.describe_volumes().filters(by()),
            "ec2:DescribeVolumes",
            |one| {
                let there = one.state() != Some(&VolumeState::Deleted);
                thing("ec2:volume", one.volume_id.filter(|_| there), one.tags)
            }
        ),
        Box::pin(instances(clients, by())),
        Box::pin(addresses(clients, by())),
    ];
    Ok(try_join_all(calls).await?.concat())
}

async fn instances(clients: &Clients, by: aws_sdk_ec2::types::Filter) -> Result<Vec<Thing>, ResourceError> {
    let call = clients.ec2().await?.describe_instances().filters(by);
    let sent: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let reservations = read("ec2:DescribeInstances", sent)?.into_iter();
    let instances = reservations.flat_map(|one| one.instances.into_iter().flatten());
    let there = instances
        .filter(|one| one.state().and_then(|state| state.name()) != Some(&InstanceStateName::Terminated));
    Ok(there
        .filter_map(|one| thing("ec2:instance", one.instance_id, one.tags))
        .collect())
}

async fn addresses(clients: &Clients, by: aws_sdk_ec2::types::Filter) -> Result<Vec<Thing>, ResourceError> {
    let call = clients.ec2().await?.describe_addresses().filters(by);
    let told = read("ec2:DescribeAddresses", call.send().await)?.addresses;
    let told = told.into_iter().flatten();
    Ok(told
        .filter_map(|one| thing("ec2:elastic-ip", one.allocation_id, one.tags))
        .collect())
}
