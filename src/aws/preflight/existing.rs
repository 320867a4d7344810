//! Whether a network that is there already is there, and will do.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{Subnet, Vpc, VpcAttributeName};

use super::super::{error::read, tags::filter};
use super::{
    Ask, Findings, Problem,
    range::{Range, SERVICES, both_used},
};
use crate::{
    model::NetworkModel,
    resource::{Boxed, ResourceError},
};

/// How many addresses a subnet must have left for EKS to put its control plane's interfaces in it.
const FREE: i32 = 6;

/// Looks at the VPC and the subnets that the stack file names.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let NetworkModel::Existing { vpc, subnets } = &ask.model.network else {
            return Ok(Vec::new());
        };
        let ec2 = ask.clients.ec2().await?;
        let (found, cards) =
            futures::try_join!(Box::pin(vpc_of(ask, vpc)), Box::pin(subnets_of(ask, subnets)))?;
        let Some(found) = found else {
            return Ok(vec![Problem::new(
                "the VPC is not there",
                format!("{vpc} is not in {}", ask.region),
                "look at cluster.network.vpc and cluster.region",
            )]);
        };
        let mut problems = judge(&found, subnets, &cards);
        for (attribute, name) in [
            (VpcAttributeName::EnableDnsSupport, "DNS support"),
            (VpcAttributeName::EnableDnsHostnames, "DNS hostnames"),
        ] {
            let told = ec2
                .describe_vpc_attribute()
                .vpc_id(vpc)
                .attribute(attribute)
                .send()
                .await;
            let told = read("ec2:DescribeVpcAttribute", told)?;
            let value = told.enable_dns_support.or(told.enable_dns_hostnames);
            if value.and_then(|value| value.value) != Some(true) {
                problems.push(Problem::new(
                    format!("{name} is off"),
                    format!("{vpc} has {name} switched off; nodes then do not find the API server"),
                    format!("switch {name} on: aws ec2 modify-vpc-attribute --vpc-id {vpc}"),
                ));
            }
        }
        Ok(problems)
    })
}

async fn vpc_of(ask: &Ask<'_>, id: &str) -> Result<Option<Vpc>, ResourceError> {
    let call = ask.clients.ec2().await?.describe_vpcs();
    let told = call.filters(filter("vpc-id", vec![id.to_owned()])).send().await;
    let told = read("ec2:DescribeVpcs", told)?;
    Ok(told.vpcs.into_iter().flatten().next())
}

async fn subnets_of(ask: &Ask<'_>, ids: &[String]) -> Result<Vec<Subnet>, ResourceError> {
    let call = ask
        .clients
        .ec2()
        .await?
        .describe_subnets()
        .filters(filter("subnet-id", ids.to_vec()));
    let listed: Result<_, _> = call.into_paginator().items().send().collect().await;
    read("ec2:DescribeSubnets", listed)
}

fn judge(vpc: &Vpc, wanted: &[String], subnets: &[Subnet]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let here = subnets.iter().filter(|subnet| subnet.vpc_id() == vpc.vpc_id());
    let known: BTreeSet<&str> = here.filter_map(Subnet::subnet_id).collect();
    let missing: Vec<&str> = wanted
        .iter()
        .map(String::as_str)
        .filter(|id| !known.contains(id))
        .collect();
    let name = vpc.vpc_id().unwrap_or_default();
    if !missing.is_empty() {
        problems.push(Problem::new(
            "a subnet is not there",
            format!("not in {name}: {}", missing.join(", ")),
            "look at cluster.network.subnets",
        ));
    }
    let zones: BTreeSet<&str> = subnets.iter().filter_map(Subnet::availability_zone).collect();
    if missing.is_empty() && zones.len() < 2 {
        let zones: Vec<&str> = zones.into_iter().collect();
        problems.push(Problem::new(
            "the subnets are in one zone",
            format!("all are in {}; EKS wants at least two zones", zones.join(", ")),
            "name a subnet of another zone in cluster.network.subnets as well",
        ));
    }
    let full = subnets.iter().filter(|subnet| {
        subnet
            .available_ip_address_count()
            .is_some_and(|free| free < FREE)
    });
    for subnet in full {
        problems.push(Problem::new(
            "a subnet is full",
            format!(
                "{} has {} free addresses, and EKS needs {FREE}",
                subnet.subnet_id().unwrap_or_default(),
                subnet.available_ip_address_count().unwrap_or_default()
            ),
            "name another subnet, or free addresses in it",
        ));
    }
    let ranges = vpc
        .cidr_block_association_set()
        .iter()
        .filter_map(|one| one.cidr_block());
    let ranges: Vec<Range> = ranges.chain(vpc.cidr_block()).filter_map(Range::parse).collect();
    if both_used(&ranges) {
        problems.push(Problem::new(
            "no range is left for Services",
            format!(
                "{name} overlaps both ranges of which EKS takes one for Services: {}",
                SERVICES.join(", ")
            ),
            "use another VPC",
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(id: &str, vpc: &str, zone: &str, free: i32) -> Subnet {
        Subnet::builder()
            .subnet_id(id)
            .vpc_id(vpc)
            .availability_zone(zone)
            .available_ip_address_count(free)
            .build()
    }

    fn titles(cidr: &str, subnets: &[Subnet]) -> Vec<String> {
        let vpc = Vpc::builder().vpc_id("vpc-1").cidr_block(cidr).build();
        let wanted = ["subnet-1".to_owned(), "subnet-2".to_owned()];
        judge(&vpc, &wanted, subnets)
            .into_iter()
            .map(|one| one.title)
            .collect()
    }

    #[test]
    fn subnets_must_be_there_in_two_zones_and_have_room() {
        let good = [
            subnet("subnet-1", "vpc-1", "a", 200),
            subnet("subnet-2", "vpc-1", "b", 200),
        ];
        assert_eq!(titles("10.0.0.0/16", &good), Vec::<String>::new());
        let elsewhere = [
            subnet("subnet-1", "vpc-1", "a", 200),
            subnet("subnet-2", "vpc-2", "b", 200),
        ];
        assert_eq!(titles("10.0.0.0/16", &elsewhere), ["a subnet is not there"]);
        let narrow = [
            subnet("subnet-1", "vpc-1", "a", 200),
            subnet("subnet-2", "vpc-1", "a", 5),
        ];
        assert_eq!(
            titles("10.0.0.0/16", &narrow),
            ["the subnets are in one zone", "a subnet is full"]
        );
        assert_eq!(titles("0.0.0.0/0", &good), ["no range is left for Services"]);
    }
}
