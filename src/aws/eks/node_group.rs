use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    call::{deleted, tag, taken, written},
    name::names,
    node_group_request::{configuration, request, rollout},
    node_group_state::{Instances, closer_look, instances, outputs, readiness},
    update::{self, Changing},
};
use crate::{
    aws::{
        Clients,
        difference::{field, force, vanished},
        error::{is_gone, is_taken, read},
        tags::{self, Mark, Tags},
    },
    model::{CapacityModel, TaintModel},
    resource::{Cause, Change, Intent, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// A managed group of worker nodes.
pub(in crate::aws) struct NodeGroup;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) role_arn: String,
    pub(super) subnet_ids: BTreeSet<String>,
    pub(super) instance_types: Vec<String>,
    pub(super) capacity: CapacityModel,
    pub(super) min: i32,
    pub(super) desired: i32,
    pub(super) max: i32,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) taints: Vec<TaintModel>,
    pub(super) launch_template: Template,
    #[serde(default)]
    pub(super) tags: Tags,
}

/// A launch template, and which version of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Template {
    pub(super) id: String,
    pub(super) version: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) role_arn: String,
    pub(super) subnet_ids: BTreeSet<String>,
    pub(super) instance_types: Vec<String>,
    pub(super) capacity: Option<CapacityModel>,
    pub(super) min: i32,
    pub(super) desired: i32,
    pub(super) max: i32,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) taints: Vec<TaintModel>,
    pub(super) launch_template: Template,
    pub(super) arn: String,
    pub(super) status: String,
    pub(super) auto_scaling_group: Option<String>,
    pub(super) kubernetes: Option<String>,
    /// The kind of node image and its release.
    pub(super) ami: Option<String>,
    pub(super) tags: Tags,
}

impl Resource for NodeGroup {
    const KIND: &'static str = "aws.eks_node_group";
    const DOCUMENTATION: &'static str = "A managed group of worker nodes of an EKS cluster, with the node image of \
        Amazon Linux 2023.\n\
        cluster, name, roleArn, subnetIds, instanceTypes, capacity (spot or on-demand): where and of what; each makes \
        the group anew when it changes.\n\
        min, desired, max: how many nodes; changed in place. A number between min and max is left to whoever scales.\n\
        labels, taints: of its Nodes; changed in place.\n\
        launchTemplate: id and version of the launch template; another version is rolled out node by node.\n\
        tags: more tags for the group; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 4,
        expected: Some(Duration::from_secs(110)),
        removal: Some(Duration::from_secs(140)),
        deadline: Duration::from_mins(35),
        settles: Duration::ZERO,
        paced: true,
        pins: true,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        if matches!(
            outputs.status.as_str(),
            "CREATE_FAILED" | "DELETE_FAILED" | "DELETING"
        ) {
            force(&mut change, "status", json!(outputs.status), json!("ACTIVE"));
        }
        for (path, old, new) in [
            ("cluster", json!(outputs.cluster), json!(inputs.cluster)),
            ("name", json!(outputs.name), json!(inputs.name)),
            ("roleArn", json!(outputs.role_arn), json!(inputs.role_arn)),
            ("subnetIds", json!(outputs.subnet_ids), json!(inputs.subnet_ids)),
            (
                "instanceTypes",
                json!(outputs.instance_types),
                json!(inputs.instance_types),
            ),
            ("capacity", json!(outputs.capacity), json!(inputs.capacity)),
            (
                "launchTemplate.id",
                json!(outputs.launch_template.id),
                json!(inputs.launch_template.id),
            ),
        ] {
            force(&mut change, path, old, new);
        }
        let (old, new) = (outputs.launch_template.version, inputs.launch_template.version);
        field(&mut change, "launchTemplate.version", json!(old), json!(new));
        for (path, old, new) in [
            ("min", outputs.min, inputs.min),
            ("max", outputs.max, inputs.max),
            ("desired", outputs.desired, inputs.scaled(outputs)),
        ] {
            field(&mut change, path, json!(old), json!(new));
        }
        field(&mut change, "labels", json!(outputs.labels), json!(inputs.labels));
        let [old, new] = [&outputs.taints, &inputs.taints].map(|taints| in_order(taints));
        field(&mut change, "taints", json!(old), json!(new));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        let described = join_all(targets.iter().map(|typed| describe(clients, typed.target))).await;
        let instances = instances(clients, described.iter().flatten().flatten()).await;
        let looks = targets.iter().zip(described).map(async |(typed, described)| {
            let Some(group) = described? else {
                return Ok(None);
            };
            let mut seen = seen(typed.target, group, &instances)?;
            seen.readiness = update::settled(clients, &changing(&seen.outputs), seen.readiness).await?;
            Ok(Some(seen))
        });
        join_all(looks).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let call = request(inputs, &Mark::of(target)?);
        match call.send_with(clients.eks().await?).await {
            Err(error) if is_taken(&error) => {
                taken("eks:CreateNodegroup", &error, look(clients, target).await?)
            }
            sent => {
                let made = written("eks:CreateNodegroup", sent)?;
                Ok(made.nodegroup.and_then(|group| group.nodegroup_arn))
            }
        }
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(live) = ours(clients, target).await? else {
            return Err(vanished(target));
        };
        tag(clients, &live.arn, &inputs.tags).await?;
        let (configuration, rollout) = (configuration(inputs, &live), rollout(inputs, &live));
        if (configuration.is_some() || rollout.is_some()) && live.status == "UPDATING" {
            return Err(ResourceError::new(
                Cause::Transient,
                "another update of it is under way",
            ));
        }
        // Of two, one that EKS took and then did not make would be sent for ever.
        if let Some(why) = update::failure(clients, &changing(&live)).await? {
            return Err(ResourceError::permanent(why));
        }
        let eks = clients.eks().await?;
        // EKS takes one change at a time; the engine asks again for the one that is left.
        let more = configuration.is_some() && rollout.is_some();
        let begun = match (configuration, rollout) {
            (None, None) => return Ok(()),
            (Some(call), _) => written("eks:UpdateNodegroupConfig", call.send_with(eks).await)?.update,
            (None, Some(call)) => written("eks:UpdateNodegroupVersion", call.send_with(eks).await)?.update,
        };
        clients.updates.begun(&live.arn, begun);
        if more {
            return Err(ResourceError::new(
                Cause::Transient,
                "more is to be changed once this is done",
            ));
        }
        Ok(())
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(live) = ours(clients, target)
            .await?
            .filter(|live| live.status != "DELETING")
        else {
            return Ok(());
        };
        let call = clients.eks().await?.delete_nodegroup();
        let call = call.cluster_name(live.cluster).nodegroup_name(live.name);
        deleted("eks:DeleteNodegroup", call.send().await)
    }

    async fn diagnose(clients: &Clients, target: &Target) -> Vec<String> {
        let group = match describe(clients, target).await {
            Ok(Some(group)) => group,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![error.to_string()],
        };
        let failed = update::failure(clients, &changing(&outputs(group.clone()))).await;
        closer_look(clients, &group, failed).await
    }
}

fn changing(outputs: &Outputs) -> Changing<'_> {
    Changing {
        arn: &outputs.arn,
        cluster: &outputs.cluster,
        group: Some(&outputs.name),
    }
}

impl Inputs {
    /// How many nodes there should be, given how many there are: whoever scales within the limits is not disturbed.
    pub(super) fn scaled(&self, live: &Outputs) -> i32 {
        if (self.min..=self.max).contains(&live.desired) {
            live.desired
        } else {
            self.desired
        }
    }
}

/// Taints by key and effect, as their order says nothing.
fn in_order(taints: &[TaintModel]) -> Vec<TaintModel> {
    let mut taints = taints.to_vec();
    taints.sort_by(|a, b| (&a.key, &a.effect).cmp(&(&b.key, &b.effect)));
    taints
}

async fn describe(
    clients: &Clients,
    target: &Target,
) -> Result<Option<aws_sdk_eks::types::Nodegroup>, ResourceError> {
    for [cluster, name] in names(target, ["cluster", "name"]) {
        let call = clients
            .eks()
            .await?
            .describe_nodegroup()
            .cluster_name(cluster)
            .nodegroup_name(name);
        match call.send().await {
            Err(error) if is_gone(&error) => {}
            sent => return Ok(read("eks:DescribeNodegroup", sent)?.nodegroup),
        }
    }
    Ok(None)
}

fn seen(
    target: &Target,
    group: aws_sdk_eks::types::Nodegroup,
    instances: &Instances,
) -> Result<Seen<Outputs>, ResourceError> {
    let readiness = readiness(&group, instances);
    let outputs = outputs(group);
    Ok(Seen {
        id: Some(outputs.arn.clone()),
        foreign: Mark::of(target)?.foreign(&outputs.arn, &outputs.tags),
        readiness,
        outputs,
    })
}

async fn look(clients: &Clients, target: &Target) -> Result<Option<Seen<Outputs>>, ResourceError> {
    let group = describe(clients, target).await?;
    group
        .map(|group| seen(target, group, &Instances::default()))
        .transpose()
}

async fn ours(clients: &Clients, target: &Target) -> Result<Option<Outputs>, ResourceError> {
    let seen = look(clients, target).await?;
    Ok(seen
        .filter(|seen| seen.foreign.is_none())
        .map(|seen| seen.outputs))
}

#[cfg(test)]
#[path = "node_group_tests.rs"]
mod tests;
