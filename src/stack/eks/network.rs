use std::{collections::BTreeSet, net::Ipv4Addr};

use crate::{
    model::{NatModel, NetworkModel, ZonesModel},
    stack::{
        reader::{Fields, Reader},
        tree::{Content, Node},
    },
};

const NAT: [&str; 3] = ["none", "single", "per-zone"];
/// Zones that one network spans here: EKS asks for two, and subnets are cut for three.
const ZONES: (u32, u32) = (2, 3);
/// A VPC's range may have these prefix lengths; below /23 there is no room for subnets of pods in three zones.
const PREFIXES: (u32, u32) = (16, 23);

pub(super) fn own_network() -> NetworkModel {
    NetworkModel::Own {
        cidr: "10.0.0.0/16".to_owned(),
        zones: ZonesModel::Count(2),
        nat: NatModel::Single,
    }
}

pub(super) fn network(reader: &mut Reader, node: &Node) -> Option<NetworkModel> {
    let mut own = reader.fields(node, "cluster.network", &node.place)?;
    if own.entry("vpc").is_some() || own.entry("subnets").is_some() {
        let model = existing(reader, &mut own);
        for key in ["cidr", "zones", "nat"] {
            if let Some(place) = own.entry(key).map(|entry| entry.place.clone()) {
                own.get(key);
                reader.wrong(
                    &place,
                    format!(
                        "cluster.network.{key} is for a network of our own, and vpc names one that is there"
                    ),
                    "leave out one or the other",
                );
            }
        }
        reader.finish(&own, &[]);
        return model;
    }
    let cidr = own.get("cidr").map_or(Some("10.0.0.0/16".to_owned()), |node| {
        cidr(reader, node, "cluster.network.cidr", Some(PREFIXES))
    });
    let zones = own
        .get("zones")
        .map_or(Some(ZonesModel::Count(2)), |node| zones(reader, node));
    let nat = own
        .get("nat")
        .map_or(Some(NatModel::Single), |node| nat(reader, node));
    reader.finish(&own, &[]);
    Some(NetworkModel::Own {
        cidr: cidr?,
        zones: zones?,
        nat: nat?,
    })
}

fn existing(reader: &mut Reader, own: &mut Fields<'_>) -> Option<NetworkModel> {
    let vpc = reader
        .required(
            own,
            "vpc",
            "the VPC that the subnets are in, as in vpc: vpc-0123456789abcdef0",
        )
        .and_then(|node| id(reader, node, "cluster.network.vpc", "vpc-"));
    let place = own.place_of("subnets").clone();
    let items = reader.list(own, "subnets");
    let subnets: Vec<String> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| id(reader, item, &format!("cluster.network.subnets.{at}"), "subnet-"))
        .collect();
    if items.len() < 2 {
        reader.wrong(
            &place,
            "cluster.network.subnets must name at least two subnets: EKS wants two zones",
            "list the subnets' ids, in two zones or more",
        );
        return None;
    }
    Some(NetworkModel::Existing { vpc: vpc?, subnets })
}

fn id(reader: &mut Reader, node: &Node, path: &str, prefix: &str) -> Option<String> {
    let text = reader.text(node, path)?;
    let valid = text
        .strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_hexdigit()));
    if !valid {
        reader.wrong(
            &node.place,
            format!("{path} {} is not an id of AWS", node.shown()),
            format!("it begins with {prefix}"),
        );
    }
    valid.then_some(text)
}

fn zones(reader: &mut Reader, node: &Node) -> Option<ZonesModel> {
    let Content::List(items) = &node.content else {
        let count = reader.number(node, "cluster.network.zones", ZONES.0, ZONES.1)?;
        return Some(ZonesModel::Count(count));
    };
    let names: Vec<String> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| reader.text(item, &format!("cluster.network.zones.{at}")))
        .collect();
    let different: BTreeSet<&String> = names.iter().collect();
    if different.len() != items.len() || !(ZONES.0 as usize..=ZONES.1 as usize).contains(&items.len()) {
        reader.wrong(
            &node.place,
            "cluster.network.zones must name two or three different zones, or say how many",
            "as in zones: 2, or zones: [eu-central-1a, eu-central-1b]",
        );
        return None;
    }
    Some(ZonesModel::Names(names))
}

fn nat(reader: &mut Reader, node: &Node) -> Option<NatModel> {
    match node.literal() {
        Some("none") => Some(NatModel::None),
        Some("single") => Some(NatModel::Single),
        Some("per-zone") => Some(NatModel::PerZone),
        Some("regional") => {
            reader.wrong(
                &node.place,
                "cluster.network.nat regional is not supported yet",
                "per-zone has a gateway in each zone",
            );
            None
        }
        Some(_) | None => {
            reader.unknown_word(node, "cluster.network.nat", &NAT);
            None
        }
    }
}

/// A range of IPv4 addresses that begins at its first address; within bounds of its length, if some are given.
pub(super) fn cidr(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    bounds: Option<(u32, u32)>,
) -> Option<String> {
    let text = reader.text(node, path)?;
    let parsed = text.split_once('/').and_then(|(address, length)| {
        let address: Ipv4Addr = address.parse().ok()?;
        let length: u32 = length.parse().ok().filter(|length| *length <= 32)?;
        Some((address, length))
    });
    let Some((address, length)) = parsed else {
        reader.wrong(
            &node.place,
            format!("{path} {} is not a range of IPv4 addresses", node.shown()),
            "as in 10.0.0.0/16",
        );
        return None;
    };
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    if u32::from(address) & !mask != 0 {
        let first = Ipv4Addr::from(u32::from(address) & mask);
        reader.wrong(
            &node.place,
            format!("{path} {} does not begin with its first address", node.shown()),
            format!("write {first}/{length}"),
        );
        return None;
    }
    if let Some((least, most)) = bounds.filter(|(least, most)| !(*least..=*most).contains(&length)) {
        reader.wrong(
            &node.place,
            format!(
                "{path} {} has the wrong size: a VPC has /{least} to /{most} here",
                node.shown()
            ),
            "each pod takes an address; /16 is usual",
        );
        return None;
    }
    Some(text)
}
