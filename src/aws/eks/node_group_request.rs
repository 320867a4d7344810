//! What is sent to make a node group and to change it.

use std::collections::BTreeSet;

use aws_sdk_eks::{
    operation::{
        create_nodegroup::builders::CreateNodegroupInputBuilder,
        update_nodegroup_config::builders::UpdateNodegroupConfigInputBuilder,
        update_nodegroup_version::builders::UpdateNodegroupVersionInputBuilder,
    },
    types::{
        AmiTypes, CapacityTypes, LaunchTemplateSpecification, NodeRepairConfig, NodegroupScalingConfig,
        NodegroupUpdateConfig, Taint, TaintEffect, UpdateLabelsPayload, UpdateTaintsPayload,
    },
};

use super::node_group::{Inputs, Outputs, Template};
use crate::{
    aws::tags::Mark,
    model::{CapacityModel, TaintModel},
};

/// A node group with all that is wanted of it. Its disk, its image and its security groups are the launch template's
/// and EKS's own.
pub(super) fn request(inputs: &Inputs, mark: &Mark) -> CreateNodegroupInputBuilder {
    let labels = inputs.labels.clone().into_iter().collect();
    let taints: Vec<Taint> = inputs.taints.iter().map(taint).collect();
    CreateNodegroupInputBuilder::default()
        .cluster_name(&inputs.cluster)
        .nodegroup_name(&inputs.name)
        .node_role(&inputs.role_arn)
        .set_subnets(Some(inputs.subnet_ids.iter().cloned().collect()))
        .set_instance_types(Some(inputs.instance_types.clone()))
        .ami_type(ami_type(&inputs.instance_types))
        .capacity_type(match inputs.capacity {
            CapacityModel::OnDemand => CapacityTypes::OnDemand,
            CapacityModel::Spot => CapacityTypes::Spot,
        })
        .scaling_config(scaling(inputs.min, inputs.desired, inputs.max))
        .set_labels(Some(labels))
        .set_taints((!taints.is_empty()).then_some(taints))
        .launch_template(specification(&inputs.launch_template))
        // One at a time, a large group would not be through within the time that it has.
        .update_config(
            NodegroupUpdateConfig::builder()
                .max_unavailable_percentage(33)
                .build(),
        )
        .node_repair_config(NodeRepairConfig::builder().enabled(true).build())
        .set_tags(Some(mark.map(&inputs.tags)))
}

/// The change of settings that brings a group to what is wanted; nothing if none differs.
pub(super) fn configuration(inputs: &Inputs, live: &Outputs) -> Option<UpdateNodegroupConfigInputBuilder> {
    let desired = inputs.scaled(live);
    let scales = (live.min, live.desired, live.max) != (inputs.min, desired, inputs.max);
    let (labels, taints) = (labels(inputs, live), taints(inputs, live));
    if !scales && labels.is_none() && taints.is_none() {
        return None;
    }
    let call = UpdateNodegroupConfigInputBuilder::default()
        .cluster_name(&live.cluster)
        .nodegroup_name(&live.name)
        .set_labels(labels)
        .set_taints(taints);
    Some(call.set_scaling_config(scales.then(|| scaling(inputs.min, desired, inputs.max))))
}

/// The roll-out of another version of the launch template; nothing if it is in force.
pub(super) fn rollout(inputs: &Inputs, live: &Outputs) -> Option<UpdateNodegroupVersionInputBuilder> {
    let call = UpdateNodegroupVersionInputBuilder::default()
        .cluster_name(&live.cluster)
        .nodegroup_name(&live.name)
        .launch_template(specification(&inputs.launch_template));
    (live.launch_template.version != inputs.launch_template.version).then_some(call)
}

/// The node image for the architecture of the first instance type. Types of Graviton have a `g` after the number of
/// their generation (`m7g`, `c7gn`, `t4g`); the first of them, `a1`, has none.
fn ami_type(instance_types: &[String]) -> AmiTypes {
    let first = instance_types.first().map_or("", String::as_str);
    let family = first.split('.').next().unwrap_or_default();
    let options = family.trim_start_matches(char::is_alphabetic);
    let options = options.trim_start_matches(|c: char| c.is_ascii_digit());
    if family == "a1" || options.contains('g') {
        AmiTypes::Al2023Arm64Standard
    } else {
        AmiTypes::Al2023X8664Standard
    }
}

fn scaling(min: i32, desired: i32, max: i32) -> NodegroupScalingConfig {
    NodegroupScalingConfig::builder()
        .min_size(min)
        .desired_size(desired)
        .max_size(max)
        .build()
}

fn specification(template: &Template) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .id(&template.id)
        .version(template.version.to_string())
        .build()
}

fn labels(inputs: &Inputs, live: &Outputs) -> Option<UpdateLabelsPayload> {
    let wanted = inputs.labels.clone().into_iter();
    let write = wanted
        .filter(|(key, value)| live.labels.get(key) != Some(value))
        .collect();
    let remove = live
        .labels
        .keys()
        .filter(|key| !inputs.labels.contains_key(*key))
        .cloned()
        .collect();
    let payload = UpdateLabelsPayload::builder()
        .set_add_or_update_labels(Some(write))
        .set_remove_labels(Some(remove));
    (inputs.labels != live.labels).then(|| payload.build())
}

fn taints(inputs: &Inputs, live: &Outputs) -> Option<UpdateTaintsPayload> {
    let wanted: BTreeSet<_> = inputs
        .taints
        .iter()
        .map(|taint| (&taint.key, &taint.effect))
        .collect();
    let write: Vec<Taint> = inputs
        .taints
        .iter()
        .filter(|wanted| !live.taints.contains(wanted))
        .map(taint)
        .collect();
    let unwanted = live
        .taints
        .iter()
        .filter(|taint| !wanted.contains(&(&taint.key, &taint.effect)));
    let remove: Vec<Taint> = unwanted.map(taint).collect();
    let differs = !write.is_empty() || !remove.is_empty();
    let payload = UpdateTaintsPayload::builder()
        .set_add_or_update_taints(Some(write))
        .set_remove_taints(Some(remove));
    differs.then(|| payload.build())
}

fn taint(taint: &TaintModel) -> Taint {
    let effect = match taint.effect.as_str() {
        "NoSchedule" => TaintEffect::NoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        other => TaintEffect::from(other),
    };
    Taint::builder()
        .key(&taint.key)
        .set_value(taint.value.clone())
        .effect(effect)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_for_the_architecture_of_the_first_instance_type() {
        for (types, arm) in [
            (&["m7g.large", "m6i.large"][..], true),
            (&["t4g.medium"], true),
            (&["c7gn.xlarge"], true),
            (&["x2gd.large"], true),
            (&["a1.large"], true),
            (&["g4dn.xlarge"], false),
            (&["m6i.large", "m7g.large"], false),
            (&["t3a.medium"], false),
            (&[], false),
        ] {
            let types: Vec<String> = types.iter().map(|&name| name.to_owned()).collect();
            let wanted = if arm {
                AmiTypes::Al2023Arm64Standard
            } else {
                AmiTypes::Al2023X8664Standard
            };
            assert_eq!(ami_type(&types), wanted, "{types:?}");
        }
    }
}
