use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_sdk_ec2::types::LocationType;
use serde::{Deserialize, Serialize};

use super::super::{Clients, error::read, tags::filter};
use super::NETWORK;
use crate::resource::{Change, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed};

/// Ids of zones in which EKS makes no clusters, as eksctl knows them (pkg/az/az.go, August 2026). For the rest,
/// `CreateCluster` itself says which it takes.
pub(in crate::aws) const WITHOUT_EKS: [&str; 3] = ["use1-az3", "usw1-az2", "cac1-az3"];

/// The availability zones that a stack lies in.
pub(in crate::aws) struct Zones;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    #[serde(default)]
    count: Option<usize>,
    #[serde(default)]
    names: Option<Vec<String>>,
    /// The types of each node group, any of which will do.
    #[serde(default)]
    instance_types: Vec<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    zone1: String,
    zone2: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    zone3: Option<String>,
}

/// What an account is offered in a region.
#[derive(Debug, Default)]
struct Offer {
    region: String,
    /// The ids of the zones by their names.
    zones: BTreeMap<String, String>,
    /// The zones that have an instance type.
    types: BTreeMap<String, BTreeSet<String>>,
}

impl Resource for Zones {
    const KIND: &'static str = "aws.zones";
    const DOCUMENTATION: &'static str = "The availability zones of a stack: chosen once, never moved; nothing is made.\n\
        count: how many, 2 or 3.\n\
        names: which, instead of a choice.\n\
        instanceTypes: the types of each node group; each zone must have one of them.";
    const TRAITS: Traits = Traits {
        settles: Duration::ZERO,
        paced: true,
        pins: false,
        ..NETWORK
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    /// What stands was chosen by the inputs.
    fn diff(_: &Inputs, _: &Outputs) -> Change {
        Change::default()
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        futures::future::join_all(targets.iter().map(|typed| async move {
            let before = remembered(typed.target);
            let Some(inputs) = &typed.inputs else {
                return Ok(outputs(&before).map(seen));
            };
            if let Some(kept) = kept(inputs, &before) {
                return Ok(Some(seen(kept)));
            }
            let offer = Box::pin(ask(clients, inputs)).await?;
            Ok(outputs(&choose(inputs, &offer, &before)?).map(seen))
        }))
        .await
    }

    /// The choice is made where it is looked at.
    async fn create(_: &Clients, _: &Target, _: &Inputs) -> Result<Option<String>, ResourceError> {
        Ok(None)
    }

    async fn update(_: &Clients, _: &Target, _: &Inputs) -> Result<(), ResourceError> {
        Ok(())
    }

    async fn delete(_: &Clients, _: &Target) -> Result<(), ResourceError> {
        Ok(())
    }

    fn stays(_: &Target) -> bool {
        true
    }
}

fn seen(outputs: Outputs) -> Seen<Outputs> {
    Seen {
        id: None,
        outputs,
        readiness: Readiness::Ready,
        foreign: None,
    }
}

fn remembered(target: &Target) -> Vec<String> {
    let before = target.remembered.as_ref().map(|before| before.outputs.clone());
    let before = before.and_then(|outputs| serde_json::from_value::<Outputs>(outputs).ok());
    before.map_or_else(Vec::new, |zones| {
        [zones.zone1, zones.zone2]
            .into_iter()
            .chain(zones.zone3)
            .collect()
    })
}

fn outputs(names: &[String]) -> Option<Outputs> {
    let mut names = names.iter().cloned();
    Some(Outputs {
        zone1: names.next()?,
        zone2: names.next()?,
        zone3: names.next(),
    })
}

/// What was chosen before, if it is enough: a zone is never asked about again.
fn kept(inputs: &Inputs, before: &[String]) -> Option<Outputs> {
    match &inputs.names {
        Some(names) => outputs(before).filter(|_| before == names),
        None => outputs(before.get(..inputs.count.unwrap_or(2))?),
    }
}

/// The zones in which everything is to be had: those of before, those that are named, or the first by name.
fn choose(inputs: &Inputs, offer: &Offer, before: &[String]) -> Result<Vec<String>, ResourceError> {
    if let Some(names) = &inputs.names {
        let wrong: Vec<String> = names
            .iter()
            .filter_map(|zone| unfit(inputs, offer, zone))
            .collect();
        let distinct: BTreeSet<&String> = names.iter().collect();
        return if !wrong.is_empty() {
            Err(refuse(offer, &wrong.join("; ")))
        } else if distinct.len() != names.len() || !matches!(names.len(), 2 | 3) {
            let names = names.join(", ");
            Err(refuse(
                offer,
                &format!("two or three different zones are needed, not {names}"),
            ))
        } else {
            Ok(names.clone())
        };
    }
    let count = inputs.count.unwrap_or(2);
    if !matches!(count, 2 | 3) {
        return Err(refuse(
            offer,
            &format!("two or three zones are needed, not {count}"),
        ));
    }
    let fit = |zone: &&String| !before.contains(*zone) && unfit(inputs, offer, zone).is_none();
    let further = offer.zones.keys().filter(fit).cloned();
    let chosen: Vec<String> = before.iter().cloned().chain(further).take(count).collect();
    if chosen.len() == count {
        return Ok(chosen);
    }
    let why: Vec<String> = offer
        .zones
        .keys()
        .filter_map(|zone| unfit(inputs, offer, zone))
        .collect();
    let why = format!(
        "only {} of {count} zones will do: {}",
        chosen.len(),
        why.join("; ")
    );
    Err(refuse(offer, &why))
}

/// Why a zone will not do.
fn unfit(inputs: &Inputs, offer: &Offer, zone: &str) -> Option<String> {
    let Some(id) = offer.zones.get(zone) else {
        let names: Vec<&str> = offer.zones.keys().map(String::as_str).collect();
        return Some(format!("{zone} is not available; there are {}", names.join(", ")));
    };
    if WITHOUT_EKS.contains(&id.as_str()) {
        return Some(format!("EKS makes no clusters in {zone} ({id})"));
    }
    let offered = |name: &String| offer.types.get(name).is_some_and(|zones| zones.contains(zone));
    let lacking = inputs
        .instance_types
        .iter()
        .find(|types| !types.iter().any(offered))?;
    Some(format!("{zone} has no {}", lacking.join(" and no ")))
}

fn refuse(offer: &Offer, why: &str) -> ResourceError {
    ResourceError::permanent(format!("no zones could be chosen in {}: {why}", offer.region)).hint(
        "choose other instance types, another region, or zones by name (network.zones) in the stack file",
    )
}

async fn ask(clients: &Clients, inputs: &Inputs) -> Result<Offer, ResourceError> {
    let (region, zones, types) =
        futures::try_join!(clients.region(), zones(clients), types(clients, inputs))?;
    Ok(Offer { region, zones, types })
}

/// The zones of the region that this account may use: neither local zones nor those of carriers.
async fn zones(clients: &Clients) -> Result<BTreeMap<String, String>, ResourceError> {
    let call = clients.ec2().await?.describe_availability_zones();
    let call = call.filters(filter("state", vec!["available".to_owned()]));
    let call = call.filters(filter("zone-type", vec!["availability-zone".to_owned()]));
    let found = read("ec2:DescribeAvailabilityZones", call.send().await)?;
    let zones = found.availability_zones.into_iter().flatten();
    Ok(zones
        .filter_map(|zone| Some((zone.zone_name?, zone.zone_id?)))
        .collect())
}

async fn types(
    clients: &Clients,
    inputs: &Inputs,
) -> Result<BTreeMap<String, BTreeSet<String>>, ResourceError> {
    let asked: BTreeSet<String> = inputs.instance_types.iter().flatten().cloned().collect();
    let mut types = BTreeMap::<String, BTreeSet<String>>::new();
    if asked.is_empty() {
        return Ok(types);
    }
    let call = clients.ec2().await?.describe_instance_type_offerings();
    let call = call.location_type(LocationType::AvailabilityZone);
    let call = call.filters(filter("instance-type", asked.into_iter().collect()));
    let found = call
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await;
    for offering in read("ec2:DescribeInstanceTypeOfferings", found)? {
        if let (Some(name), Some(zone)) = (offering.instance_type, offering.location) {
            types.entry(name.as_str().to_owned()).or_default().insert(zone);
        }
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    /// A region of four zones, the third without EKS, of which the first and the last two have `m7g.large`.
    fn offer() -> Offer {
        let zone = |letter: &str, id: &str| (format!("us-east-1{letter}"), id.to_owned());
        let zones = [
            zone("a", "use1-az1"),
            zone("b", "use1-az2"),
            zone("c", "use1-az3"),
            zone("d", "use1-az4"),
        ];
        let everywhere = zones.iter().map(|(name, _)| name.clone()).collect();
        let some = names(&["us-east-1a", "us-east-1c", "us-east-1d"])
            .into_iter()
            .collect();
        Offer {
            region: "us-east-1".into(),
            zones: zones.into_iter().collect(),
            types: [
                ("m7i.large".to_owned(), everywhere),
                ("m7g.large".to_owned(), some),
            ]
            .into(),
        }
    }

    fn groups(count: usize, groups: &[&[&str]]) -> Inputs {
        Inputs {
            count: Some(count),
            names: None,
            instance_types: groups.iter().map(|types| names(types)).collect(),
        }
    }

    #[test]
    fn the_first_zones_are_chosen_that_have_eks_and_a_type_of_each_group() {
        let choose = |inputs| choose(&inputs, &offer(), &[]).unwrap();
        assert_eq!(choose(groups(2, &[])), names(&["us-east-1a", "us-east-1b"]));
        assert_eq!(
            choose(groups(3, &[])),
            names(&["us-east-1a", "us-east-1b", "us-east-1d"])
        );
        let both: &[&[&str]] = &[&["m7i.large"], &["m7g.large"]];
        assert_eq!(choose(groups(2, both)), names(&["us-east-1a", "us-east-1d"]));
        let either: &[&[&str]] = &[&["m7g.large", "m7i.large"]];
        assert_eq!(choose(groups(2, either)), names(&["us-east-1a", "us-east-1b"]));
    }

    #[test]
    fn too_few_zones_name_what_each_lacks() {
        let error = choose(&groups(3, &[&["m7g.large", "x9.large"]]), &offer(), &[]).unwrap_err();
        assert_eq!(
            error.message,
            "no zones could be chosen in us-east-1: only 2 of 3 zones will do: \
             us-east-1b has no m7g.large and no x9.large; EKS makes no clusters in us-east-1c (use1-az3)"
        );
        assert!(error.hint.unwrap().contains("network.zones"));
    }

    #[test]
    fn zones_by_name_are_taken_as_they_are_if_they_will_do() {
        let by_name = |zones: &[&str]| Inputs {
            names: Some(names(zones)),
            ..Inputs::default()
        };
        let good = ["us-east-1d", "us-east-1a"];
        assert_eq!(choose(&by_name(&good), &offer(), &[]).unwrap(), names(&good));
        for (wrong, why) in [
            (&["us-east-1a", "us-east-1z"][..], "us-east-1z is not available"),
            (
                &["us-east-1a", "us-east-1c"][..],
                "EKS makes no clusters in us-east-1c",
            ),
            (&["us-east-1a", "us-east-1a"][..], "different zones"),
            (&["us-east-1a"][..], "two or three"),
        ] {
            let error = choose(&by_name(wrong), &offer(), &[]).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[test]
    fn a_zone_that_was_chosen_once_stays_and_a_third_is_added() {
        let before = names(&["us-east-1d", "us-east-1b"]);
        assert_eq!(kept(&groups(2, &[&["gone.large"]]), &before), outputs(&before));
        assert_eq!(kept(&groups(3, &[]), &before), None);
        let three = choose(&groups(3, &[]), &offer(), &before).unwrap();
        assert_eq!(three, names(&["us-east-1d", "us-east-1b", "us-east-1a"]));
        assert_eq!(kept(&groups(2, &[]), &three), outputs(&before));
    }
}
