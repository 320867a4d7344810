//! Whether the account may have as much as the stack needs, beside what it has already.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Instance, InstanceLifecycleType};
use aws_sdk_servicequotas::{
    config::http::HttpResponse, error::SdkError, operation::get_service_quota::GetServiceQuotaError,
};

use super::super::{
    error::{Purpose, failed, read},
    marked::clusters,
    tags::{self, Tags, UID},
};
use super::{Ask, Findings, Problem};
use crate::{
    model::{CapacityModel, EksModel, NatModel, NetworkModel, NodeGroupModel, ZonesModel},
    resource::{Boxed, ResourceError},
};

/// A quota: its service, code and name at Service Quotas, and what of it is counted in the present.
#[derive(Debug, Clone, Copy)]
struct Quota {
    service: &'static str,
    code: &'static str,
    name: &'static str,
}

const VPCS: Quota = Quota {
    service: "vpc",
    code: "L-F678F1CE",
    name: "VPCs per Region",
};
const ADDRESSES: Quota = Quota {
    service: "ec2",
    code: "L-0263D0A3",
    name: "EC2-VPC Elastic IPs",
};
const CLUSTERS: Quota = Quota {
    service: "eks",
    code: "L-1194D53C",
    name: "EKS clusters",
};
const ON_DEMAND: Quota = Quota {
    service: "ec2",
    code: "L-1216C47A",
    name: "vCPUs of on-demand standard instances",
};
const SPOT: Quota = Quota {
    service: "ec2",
    code: "L-34B43A08",
    name: "vCPUs of spot standard instances",
};

/// How much of a quota is needed, how much is used by others, and how much this stack has already.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Count {
    need: u64,
    used: u64,
    own: u64,
}

/// Compares need, use and quota of what a stack runs into.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let (vpcs, addresses, clusters, vcpus) = futures::try_join!(
            Box::pin(vpcs(ask)),
            Box::pin(addresses(ask)),
            Box::pin(eks_clusters(ask)),
            Box::pin(vcpus(ask))
        )?;
        let counts = [
            (VPCS, vpcs),
            (ADDRESSES, addresses),
            (CLUSTERS, clusters),
            (ON_DEMAND, vcpus.0),
            (SPOT, vcpus.1),
        ];
        let needed = counts.into_iter().filter(|(_, count)| count.need > count.own);
        let judged = needed.map(|(quota, count)| async move {
            Ok::<_, ResourceError>(
                quota_of(ask, quota)
                    .await?
                    .and_then(|have| judge(quota, count, have)),
            )
        });
        let found = futures::future::try_join_all(judged.map(Box::pin)).await?;
        Ok(found.into_iter().flatten().collect())
    })
}

fn judge(quota: Quota, count: Count, have: f64) -> Option<Problem> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of things in an account are small"
    )]
    let (missing, used) = (
        count.need.saturating_sub(count.own) as f64,
        (count.used + count.own) as f64,
    );
    let free = (have - used).max(0.0);
    (missing > free).then(|| {
        Problem::new(
            format!("the quota of {} is too small", quota.name),
            format!("{missing} more needed, {free} free: {used} of {have} are used"),
            format!(
                "delete what is not used, or ask for more: aws service-quotas request-service-quota-increase \
                 --service-code {} --quota-code {} --desired-value {}",
                quota.service,
                quota.code,
                used + missing
            ),
        )
    })
}

/// Whether Service Quotas has no value of that quota.
fn is_unknown(error: &SdkError<GetServiceQuotaError, HttpResponse>) -> bool {
    error
        .as_service_error()
        .is_some_and(GetServiceQuotaError::is_no_such_resource_exception)
}

/// The value that holds in this account; nothing if Service Quotas does not know it.
async fn quota_of(ask: &Ask<'_>, quota: Quota) -> Result<Option<f64>, ResourceError> {
    let call = ask.clients.quotas().await?.get_service_quota();
    match call
        .service_code(quota.service)
        .quota_code(quota.code)
        .send()
        .await
    {
        Ok(told) => Ok(told.quota.and_then(|quota| quota.value)),
        Err(error) if is_unknown(&error) => Ok(None),
        Err(error) => Err(failed("servicequotas:GetServiceQuota", Purpose::Read, &error)),
    }
}

fn count<'a>(need: u64, all: impl Iterator<Item = &'a Tags>, uid: &str) -> Count {
    let mut count = Count {
        need,
        used: 0,
        own: 0,
    };
    for tags in all {
        if tags.get(UID).is_some_and(|of| of == uid) {
            count.own += 1;
        } else {
            count.used += 1;
        }
    }
    count
}

async fn vpcs(ask: &Ask<'_>) -> Result<Count, ResourceError> {
    let call = ask.clients.ec2().await?.describe_vpcs();
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("ec2:DescribeVpcs", listed)?;
    let tags: Vec<Tags> = listed.into_iter().map(|vpc| tags::read(vpc.tags)).collect();
    let need = u64::from(matches!(ask.model.network, NetworkModel::Own { .. }));
    Ok(count(need, tags.iter(), &ask.stack.uid))
}

async fn addresses(ask: &Ask<'_>) -> Result<Count, ResourceError> {
    let told = ask.clients.ec2().await?.describe_addresses().send().await;
    let told = read("ec2:DescribeAddresses", told)?;
    let tags: Vec<Tags> = told
        .addresses
        .into_iter()
        .flatten()
        .map(|one| tags::read(one.tags))
        .collect();
    Ok(count(addresses_of(ask.model), tags.iter(), &ask.stack.uid))
}

/// One a NAT gateway.
fn addresses_of(model: &EksModel) -> u64 {
    let NetworkModel::Own { zones, nat, .. } = &model.network else {
        return 0;
    };
    match nat {
        NatModel::None => 0,
        NatModel::Single => 1,
        NatModel::PerZone => match zones {
            ZonesModel::Count(count) => u64::from(*count),
            ZonesModel::Names(names) => names.len() as u64,
        },
    }
}

async fn eks_clusters(ask: &Ask<'_>) -> Result<Count, ResourceError> {
    let names = clusters(ask.clients).await?;
    // One of this name that is not ours is a finding of its own.
    let own = names.iter().filter(|name| **name == ask.stack.name).count() as u64;
    Ok(Count {
        need: 1,
        used: names.len() as u64 - own,
        own,
    })
}

/// On demand, and spot.
async fn vcpus(ask: &Ask<'_>) -> Result<(Count, Count), ResourceError> {
    let ec2 = ask.clients.ec2().await?;
    let states = tags::filter(
        "instance-state-name",
        vec!["pending".to_owned(), "running".to_owned()],
    );
    let call = ec2.describe_instances().filters(states);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("ec2:DescribeInstances", listed)?;
    let running: Vec<Instance> = listed
        .into_iter()
        .flat_map(|one| one.instances.into_iter().flatten())
        .collect();
    let mut types: Vec<String> = running
        .iter()
        .filter_map(|one| Some(one.instance_type()?.as_str().to_owned()))
        .collect();
    types.extend(
        ask.model
            .node_groups
            .iter()
            .filter_map(|group| group.instance_types.first().cloned()),
    );
    types.sort();
    types.dedup();
    let mut sizes = BTreeMap::new();
    for some in types.chunks(100) {
        let call = ec2
            .describe_instance_types()
            .filters(tags::filter("instance-type", some.to_vec()));
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let listed = read("ec2:DescribeInstanceTypes", listed)?;
        sizes.extend(listed.into_iter().filter_map(|one| {
            let vcpus = one.v_cpu_info()?.default_v_cpus()?;
            Some((one.instance_type?.as_str().to_owned(), u64::try_from(vcpus).ok()?))
        }));
    }
    let of = |spot| vcpus_of(&ask.model.node_groups, &running, &sizes, spot, &ask.stack.uid);
    Ok((of(false), of(true)))
}

fn vcpus_of(
    groups: &[NodeGroupModel],
    running: &[Instance],
    sizes: &BTreeMap<String, u64>,
    spot: bool,
    uid: &str,
) -> Count {
    let size = |name: &str| {
        sizes
            .get(name)
            .copied()
            .filter(|_| is_standard(name))
            .unwrap_or_default()
    };
    let wanted = groups
        .iter()
        .filter(|group| (group.capacity == CapacityModel::Spot) == spot);
    let need = wanted
        .map(|group| group.instance_types.first().map_or(0, |name| size(name)) * u64::from(group.desired));
    let mut count = Count {
        need: need.sum(),
        used: 0,
        own: 0,
    };
    for one in running
        .iter()
        .filter(|one| (one.instance_lifecycle() == Some(&InstanceLifecycleType::Spot)) == spot)
    {
        let vcpus = one.instance_type().map_or(0, |name| size(name.as_str()));
        if tags::read(one.tags.clone()).get(UID).is_some_and(|of| of == uid) {
            count.own += vcpus;
        } else {
            count.used += vcpus;
        }
    }
    count
}

/// Whether a type counts towards the quota of standard instances: those of the families A, C, D, H, I, M, R, T and Z.
fn is_standard(name: &str) -> bool {
    let family: String = name.chars().take_while(char::is_ascii_alphabetic).collect();
    !["inf", "mac", "trn", "dl", "hpc"].contains(&family.as_str())
        && family.starts_with(['a', 'c', 'd', 'h', 'i', 'm', 'r', 't', 'z'])
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{InstanceType, Tag};

    use super::*;

    #[test]
    fn what_others_use_counts_against_the_quota_and_what_is_ours_is_not_needed_again() {
        let count = |need, used, own| Count { need, used, own };
        assert_eq!(judge(VPCS, count(1, 4, 0), 5.0), None);
        assert_eq!(judge(VPCS, count(1, 4, 1), 5.0), None);
        let problem = judge(VPCS, count(1, 5, 0), 5.0).unwrap();
        assert_eq!(problem.found, "1 more needed, 0 free: 5 of 5 are used");
        assert!(
            problem.hint.contains("L-F678F1CE --desired-value 6"),
            "{}",
            problem.hint
        );
    }

    #[test]
    fn vcpus_are_counted_by_purchase_and_family() {
        let group = |types: &[&str], capacity, desired| NodeGroupModel {
            name: "n".into(),
            instance_types: types.iter().map(|name| (*name).to_owned()).collect(),
            capacity,
            min: 1,
            desired,
            max: 9,
            disk: 20,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        };
        let groups = [
            group(&["m7i.large", "m6i.large"], CapacityModel::OnDemand, 3),
            group(&["m7i.large"], CapacityModel::Spot, 2),
            group(&["g5.xlarge"], CapacityModel::OnDemand, 1),
        ];
        let sizes = [("m7i.large".to_owned(), 2), ("g5.xlarge".to_owned(), 4)].into();
        let ours = Tag::builder().key(UID).value("u").build();
        let running = [
            Instance::builder()
                .instance_type(InstanceType::from("m7i.large"))
                .build(),
            Instance::builder()
                .instance_type(InstanceType::from("m7i.large"))
                .tags(ours)
                .build(),
        ];
        let on_demand = vcpus_of(&groups, &running, &sizes, false, "u");
        assert_eq!(
            on_demand,
            Count {
                need: 6,
                used: 2,
                own: 2
            }
        );
        let spot = vcpus_of(&groups, &running, &sizes, true, "u");
        assert_eq!(
            spot,
            Count {
                need: 4,
                used: 0,
                own: 0
            }
        );
    }

    #[test]
    fn types_of_other_families_have_quotas_of_their_own() {
        for (name, standard) in [
            ("m7g.large", true),
            ("t3.medium", true),
            ("im4gn.large", true),
            ("g5.xlarge", false),
            ("inf2.xlarge", false),
            ("trn1.2xlarge", false),
            ("p5.48xlarge", false),
        ] {
            assert_eq!(is_standard(name), standard, "{name}");
        }
    }
}
