//! Whether there are enough availability zones that EKS and the instance types are offered in.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::LocationType;

use super::super::{error::read, network::WITHOUT_EKS, tags::filter};
use super::{Ask, Findings, Problem};
use crate::{
    model::{NetworkModel, NodeGroupModel, ZonesModel},
    resource::Boxed,
};

/// Asks for zones and for what is offered in them.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let ec2 = ask.clients.ec2().await?;
        let zones = async {
            let call = ec2.describe_availability_zones();
            let call = call.filters(filter("state", vec!["available".to_owned()]));
            let told = call
                .filters(filter("zone-type", vec!["availability-zone".to_owned()]))
                .send()
                .await;
            read("ec2:DescribeAvailabilityZones", told)
        };
        let types: BTreeSet<String> = ask
            .model
            .node_groups
            .iter()
            .flat_map(|group| group.instance_types.iter().cloned())
            .collect();
        let offers = async {
            let call = ec2
                .describe_instance_type_offerings()
                .location_type(LocationType::AvailabilityZone);
            let call = call.filters(filter("instance-type", types.into_iter().collect()));
            let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
            read("ec2:DescribeInstanceTypeOfferings", listed)
        };
        let (zones, offers) = futures::try_join!(Box::pin(zones), Box::pin(offers))?;
        let zones = zones.availability_zones.into_iter().flatten();
        let zones = zones.filter_map(|zone| Some((zone.zone_name?, zone.zone_id.unwrap_or_default())));
        let mut offered: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for offer in offers {
            if let (Some(name), Some(zone)) = (offer.instance_type, offer.location) {
                offered.entry(name.as_str().to_owned()).or_default().insert(zone);
            }
        }
        let wanted = match &ask.model.network {
            NetworkModel::Own { zones, .. } => Some(zones),
            NetworkModel::Existing { .. } => None,
        };
        Ok(judge(
            &ask.region,
            wanted,
            &ask.model.node_groups,
            &zones.collect(),
            &offered,
        ))
    })
}

/// `zones` are the ids of all available zones by name, `offered` the zones that have a type.
fn judge(
    region: &str,
    wanted: Option<&ZonesModel>,
    groups: &[NodeGroupModel],
    zones: &BTreeMap<String, String>,
    offered: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<Problem> {
    let nowhere = groups
        .iter()
        .filter(|group| !group.instance_types.iter().any(|name| offered.contains_key(name)));
    let nowhere: Vec<Problem> = nowhere
        .map(|group| {
            Problem::new(
                "an instance type is not offered",
                format!(
                    "{region} has none of the types of node group {}: {}",
                    group.name,
                    group.instance_types.join(", ")
                ),
                format!("aws ec2 describe-instance-type-offerings --region {region} lists what there is"),
            )
        })
        .collect();
    if !nowhere.is_empty() {
        return nowhere;
    }
    let unfit = |zone: &str| unfit(zone, groups, zones, offered);
    match wanted {
        Some(ZonesModel::Names(names)) => {
            let wrong = names.iter().filter_map(|name| Some((name, unfit(name)?)));
            wrong
                .map(|(name, why)| {
                    let usable: Vec<&str> = zones
                        .keys()
                        .map(String::as_str)
                        .filter(|zone| unfit(zone).is_none())
                        .collect();
                    Problem::new(
                        format!("the zone {name} cannot be used"),
                        why,
                        format!(
                            "set cluster.network.zones to zones of these: {}",
                            usable.join(", ")
                        ),
                    )
                })
                .collect()
        }
        Some(ZonesModel::Count(count)) => {
            let usable = zones.keys().filter(|zone| unfit(zone).is_none()).count();
            let enough = usable >= usize::try_from(*count).unwrap_or(usize::MAX);
            let why: Vec<String> = zones
                .keys()
                .filter_map(|zone| Some(format!("{zone}: {}", unfit(zone)?)))
                .collect();
            let problem = || {
                Problem::new(
                    "too few zones can be used",
                    format!(
                        "{count} zones are wanted and {usable} can be used; {}",
                        why.join("; ")
                    ),
                    "give the node groups more instance types, or use fewer zones (cluster.network.zones)",
                )
            };
            (!enough).then(problem).into_iter().collect()
        }
        None => Vec::new(),
    }
}

fn unfit(
    zone: &str,
    groups: &[NodeGroupModel],
    zones: &BTreeMap<String, String>,
    offered: &BTreeMap<String, BTreeSet<String>>,
) -> Option<String> {
    let Some(id) = zones.get(zone) else {
        return Some("there is no such zone, or it is not available".to_owned());
    };
    if WITHOUT_EKS.contains(&id.as_str()) {
        return Some(format!("EKS makes no clusters in {id}"));
    }
    let has = |name: &String| offered.get(name).is_some_and(|zones| zones.contains(zone));
    let without = groups
        .iter()
        .find(|group| !group.instance_types.iter().any(has))?;
    Some(format!(
        "none of {} is offered there",
        without.instance_types.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CapacityModel;

    fn group(types: &[&str]) -> NodeGroupModel {
        NodeGroupModel {
            name: "workers".into(),
            instance_types: types.iter().map(|name| (*name).to_owned()).collect(),
            capacity: CapacityModel::OnDemand,
            min: 1,
            desired: 1,
            max: 1,
            disk: 20,
            labels: BTreeMap::new(),
            taints: Vec::new(),
        }
    }

    fn found(wanted: &ZonesModel, types: &[&str]) -> Vec<String> {
        let zones = [("a", "use1-az1"), ("b", "use1-az2"), ("c", "use1-az3")];
        let zones = zones.map(|(name, id)| (name.to_owned(), id.to_owned())).into();
        let everywhere: BTreeSet<String> = ["a", "b", "c"].map(str::to_owned).into();
        let offered = BTreeMap::from([
            ("t3.medium".to_owned(), everywhere),
            ("m7i.large".to_owned(), BTreeSet::from(["a".to_owned()])),
        ]);
        let problems = judge("us-east-1", Some(wanted), &[group(types)], &zones, &offered);
        problems
            .into_iter()
            .map(|one| format!("{}: {}", one.title, one.found))
            .collect()
    }

    #[test]
    fn zones_without_eks_or_without_any_type_of_a_group_do_not_count() {
        assert_eq!(found(&ZonesModel::Count(2), &["t3.medium"]), Vec::<String>::new());
        assert_eq!(
            found(&ZonesModel::Count(2), &["m7i.large", "t3.medium"]),
            Vec::<String>::new()
        );
        let few = found(&ZonesModel::Count(2), &["m7i.large"]);
        assert!(
            few[0].contains("2 zones are wanted and 1 can be used; b: none of m7i.large"),
            "{few:?}"
        );
        assert_eq!(found(&ZonesModel::Count(3), &["t3.medium"]).len(), 1);
    }

    #[test]
    fn named_zones_are_judged_one_by_one() {
        let names = |names: &[&str]| ZonesModel::Names(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(found(&names(&["a", "b"]), &["t3.medium"]), Vec::<String>::new());
        let wrong = found(&names(&["c", "x"]), &["t3.medium"]);
        assert!(
            wrong[0].contains("no clusters in use1-az3") && wrong[1].contains("no such zone"),
            "{wrong:?}"
        );
    }

    #[test]
    fn a_group_whose_types_are_offered_nowhere_is_named_once() {
        let nowhere = found(&ZonesModel::Count(2), &["x9.huge"]);
        assert_eq!(nowhere.len(), 1);
        assert!(nowhere[0].contains("node group workers: x9.huge"), "{nowhere:?}");
    }
}
