use aws_sdk_ec2::types::{NetworkInterface, SecurityGroup, Subnet};

use super::super::{
    Clients,
    error::read,
    tags::{self, Mark, filter},
};
use crate::resource::{Cause, ResourceError};

/// How many of them are named; the rest is counted.
const NAMED: usize = 10;

/// The refusal to remove a subnet, a security group or a gateway, with the network interfaces that hold it named.
///
/// `within` is the filter that finds them: `subnet-id`, `group-id`, `vpc-id`. They may be on their way out, so the
/// refusal is as passing as it was.
pub(super) async fn name_interfaces(
    clients: &Clients,
    within: &str,
    id: &str,
    refused: ResourceError,
) -> ResourceError {
    match interfaces(clients, within, id).await {
        Ok(interfaces) => with(refused, &interfaces.iter().map(interface).collect::<Vec<_>>()),
        // Without their names it is still the refusal.
        Err(_) => refused,
    }
}

/// The refusal to remove a VPC, with what is still in it. What someone else made there does not go away by itself.
pub(super) async fn name_contents(
    clients: &Clients,
    mark: &Mark,
    vpc: &str,
    refused: ResourceError,
) -> ResourceError {
    let found = futures::try_join!(
        interfaces(clients, "vpc-id", vpc),
        subnets(clients, vpc),
        groups(clients, vpc)
    );
    let Ok((interfaces, subnets, groups)) = found else {
        return refused;
    };
    let foreign = subnets
        .iter()
        .filter(|subnet| !mark.is_of_stack(&tags::read(subnet.tags.clone())));
    let foreign: Vec<String> = foreign.map(subnet).collect();
    if !foreign.is_empty() {
        let message = format!("{vpc} holds what is not of this stack: {}", list(&foreign));
        return ResourceError::new(Cause::Refused, message)
            .hint("delete it, or move what is in it elsewhere; then run 'stackup destroy' again");
    }
    let words = interfaces.iter().map(interface).chain(groups.iter().map(group));
    with(refused, &words.collect::<Vec<_>>())
}

fn with(mut refused: ResourceError, words: &[String]) -> ResourceError {
    if !words.is_empty() {
        refused.message = format!("{}; in it: {}", refused.message, list(words));
    }
    refused
}

fn list(words: &[String]) -> String {
    let named: Vec<&str> = words.iter().take(NAMED).map(String::as_str).collect();
    let more = words.len().saturating_sub(NAMED);
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

fn interface(interface: &NetworkInterface) -> String {
    let id = interface.network_interface_id().unwrap_or("an interface");
    let attached = interface.attachment().and_then(|attachment| {
        attachment
            .instance_id()
            .or_else(|| attachment.instance_owner_id())
    });
    let owner = attached
        .or_else(|| interface.requester_id())
        .or_else(|| interface.owner_id());
    let of = owner.map(|owner| format!(", of {owner}")).unwrap_or_default();
    format!("{id} ('{}'{of})", interface.description().unwrap_or_default())
}

fn subnet(subnet: &Subnet) -> String {
    let id = subnet.subnet_id().unwrap_or("a subnet");
    let name = subnet.tags().iter().find(|tag| tag.key() == Some("Name"));
    let name = name.and_then(|tag| tag.value()).unwrap_or("no name");
    format!("{id} ({}, {name})", subnet.cidr_block().unwrap_or_default())
}

fn group(group: &SecurityGroup) -> String {
    let id = group.group_id().unwrap_or("a security group");
    format!("{id} ({})", group.group_name().unwrap_or_default())
}

async fn interfaces(
    clients: &Clients,
    within: &str,
    id: &str,
) -> Result<Vec<NetworkInterface>, ResourceError> {
    let call = clients.ec2().await?.describe_network_interfaces();
    let call = call.filters(filter(within, vec![id.to_owned()]));
    let found = call.into_paginator().items().send().collect().await;
    read("ec2:DescribeNetworkInterfaces", found)
}

async fn subnets(clients: &Clients, vpc: &str) -> Result<Vec<Subnet>, ResourceError> {
    let call = clients.ec2().await?.describe_subnets();
    let call = call.filters(filter("vpc-id", vec![vpc.to_owned()]));
    read(
        "ec2:DescribeSubnets",
        call.into_paginator().items().send().collect().await,
    )
}

/// Without the one that goes with the VPC.
async fn groups(clients: &Clients, vpc: &str) -> Result<Vec<SecurityGroup>, ResourceError> {
    let call = clients.ec2().await?.describe_security_groups();
    let call = call.filters(filter("vpc-id", vec![vpc.to_owned()]));
    let found = call.into_paginator().items().send().collect().await;
    let mut groups: Vec<SecurityGroup> = read("ec2:DescribeSecurityGroups", found)?;
    groups.retain(|group| group.group_name() != Some("default"));
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::NetworkInterfaceAttachment;

    use super::*;

    #[test]
    fn a_refusal_names_what_is_in_it_and_stays_as_passing_as_it_was() {
        let attachment = NetworkInterfaceAttachment::builder().instance_owner_id("amazon-elb");
        let balancer = NetworkInterface::builder()
            .network_interface_id("eni-1")
            .description("ELB shop")
            .owner_id("123456789012")
            .attachment(attachment.build());
        let refused = ResourceError::new(Cause::Transient, "ec2:DeleteSubnet gave DependencyViolation");
        let named = with(refused, &[interface(&balancer.build())]);
        assert_eq!(named.cause, Cause::Transient);
        assert_eq!(
            named.message,
            "ec2:DeleteSubnet gave DependencyViolation; in it: eni-1 ('ELB shop', of amazon-elb)"
        );
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let many: Vec<String> = (0..12).map(|n| format!("eni-{n}")).collect();
        assert!(list(&many).ends_with("eni-9 and 2 more"), "{}", list(&many));
    }
}
