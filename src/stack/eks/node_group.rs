use std::collections::BTreeMap;

use crate::{
    model::{CapacityModel, NodeGroupModel, TaintModel},
    stack::{reader::Reader, tree::Node},
};

const CAPACITY: [&str; 2] = ["on-demand", "spot"];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
/// The longest name of a node group.
const LONGEST_NAME: usize = 63;
/// Root volume in GiB: what the AMI takes, with room for images.
const DISK: u32 = 30;
/// EKS takes no more nodes in one group.
const MOST_NODES: u32 = 450;

pub(super) fn default_group() -> NodeGroupModel {
    NodeGroupModel {
        name: "workers".to_owned(),
        instance_types: default_types(),
        capacity: CapacityModel::OnDemand,
        min: 2,
        desired: 2,
        max: 2,
        disk: DISK,
        labels: BTreeMap::new(),
        taints: Vec::new(),
    }
}

/// Two makers of the same size, so that a lack of one does not end the attempt.
fn default_types() -> Vec<String> {
    ["t3.large", "t3a.large"].map(str::to_owned).to_vec()
}

pub(super) fn group(reader: &mut Reader, item: &Node, at: usize) -> Option<NodeGroupModel> {
    let path = format!("cluster.nodeGroups.{at}");
    let mut own = reader.fields(item, &path, &item.place)?;
    let name = reader
        .required(&mut own, "name", "as in name: workers")
        .and_then(|node| reader.label(node, &format!("{path}.name"), LONGEST_NAME));
    let mut instance_types: Vec<String> = reader
        .list(&mut own, "instanceTypes")
        .iter()
        .enumerate()
        .filter_map(|(at, item)| instance_type(reader, item, &format!("{path}.instanceTypes.{at}")))
        .collect();
    if instance_types.is_empty() {
        instance_types = default_types();
    }
    let capacity = match own.get("capacity").map(|node| (node, node.literal())) {
        None | Some((_, Some("on-demand"))) => CapacityModel::OnDemand,
        Some((_, Some("spot"))) => CapacityModel::Spot,
        Some((node, _)) => {
            reader.unknown_word(node, &format!("{path}.capacity"), &CAPACITY);
            CapacityModel::OnDemand
        }
    };
    let mut number = |key: &'static str, least: u32, most: u32| {
        let node = own.get(key)?;
        reader.number(node, &format!("{path}.{key}"), least, most)
    };
    let (min, desired, max) = (
        number("min", 0, MOST_NODES),
        number("desired", 0, MOST_NODES),
        number("max", 1, MOST_NODES),
    );
    let disk = number("disk", 10, 16_384).unwrap_or(DISK);
    let desired = desired.or(min).unwrap_or(2);
    let (min, max) = (min.unwrap_or(desired), max.unwrap_or(desired.max(1)));
    if !(min <= desired && desired <= max) {
        reader.wrong(
            &item.place,
            format!("{path}: min {min}, desired {desired} and max {max} do not rise"),
            "min ≤ desired ≤ max",
        );
    }
    let labels = reader.texts(&mut own, "labels");
    let taints = reader.list(&mut own, "taints");
    let taints = taints
        .iter()
        .enumerate()
        .filter_map(|(at, item)| taint(reader, item, &format!("{path}.taints.{at}")))
        .collect();
    reader.finish(&own, &[]);
    Some(NodeGroupModel {
        name: name?,
        instance_types,
        capacity,
        min,
        desired,
        max,
        disk,
        labels,
        taints,
    })
}

fn instance_type(reader: &mut Reader, node: &Node, path: &str) -> Option<String> {
    let text = reader.text(node, path)?;
    let valid = text
        .split_once('.')
        .is_some_and(|(family, size)| !family.is_empty() && !size.is_empty())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-');
    if !valid {
        reader.wrong(
            &node.place,
            format!("{path} {} is not an instance type", node.shown()),
            "as in t3.large",
        );
    }
    valid.then_some(text)
}

fn taint(reader: &mut Reader, item: &Node, path: &str) -> Option<TaintModel> {
    let mut own = reader.fields(item, path, &item.place)?;
    let key = reader
        .required(&mut own, "key", "as in key: dedicated")
        .and_then(|node| reader.text(node, &format!("{path}.key")));
    let value = reader.optional(&mut own, "value");
    let effect = reader.required(
        &mut own,
        "effect",
        "one of NoSchedule, PreferNoSchedule, NoExecute",
    );
    let effect = effect.and_then(|node| {
        let known = node
            .literal()
            .filter(|text| EFFECTS.contains(text))
            .map(str::to_owned);
        if known.is_none() {
            reader.unknown_word(node, &format!("{path}.effect"), &EFFECTS);
        }
        known
    });
    reader.finish(&own, &[]);
    Some(TaintModel {
        key: key?,
        value,
        effect: effect?,
    })
}
