use std::{collections::BTreeSet, time::Duration};

use aws_sdk_iam::types::{InstanceProfile, Tag};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Clients,
        difference::{field, vanished},
        error::{after_made, deleted, is_gone, is_in_use, is_taken, read, written},
        tags::{self, Mark, Tags},
    },
    addon::recommended,
    trust,
};
use crate::{
    model::Address,
    resource::{
        Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed,
    },
};

/// What a service of AWS may do for a stack.
pub(in crate::aws) struct Role;

/// The longest name that IAM takes.
const LONGEST: usize = 64;
/// The tag that says, from the first call on, which policies EKS recommended when the role was made: a run that is cut
/// off leaves it, and the next one attaches what is missing.
const RECOMMENDED: &str = "stackup:policies";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    service: String,
    #[serde(default)]
    policies: Vec<String>,
    #[serde(default)]
    addon: Option<String>,
    #[serde(default)]
    kubernetes: Option<String>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    arn: String,
    name: String,
    /// The service that it trusts; a document that is not of ours is here as it is.
    service: String,
    policies: BTreeSet<String>,
    tags: Tags,
}

impl Resource for Role {
    const KIND: &'static str = "aws.iam_role";
    const DOCUMENTATION: &'static str = "A role of AWS (IAM) for a service that works for the cluster.\n\
        service: who may take it: eks.amazonaws.com, ec2.amazonaws.com, pods.eks.amazonaws.com; changed in place.\n\
        policies: its managed policies, those of AWS by name or any by ARN; changed in place.\n\
        addon: an add-on of EKS whose recommended policies are attached as well; further ones are then left alone.\n\
        kubernetes: the version of the cluster, to find the add-on's.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 4,
        expected: Some(Duration::from_secs(2)),
        removal: Some(Duration::from_secs(2)),
        deadline: Duration::from_mins(2),
        settles: Duration::ZERO,
        paced: true,
        pins: false,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn identity(stack: &Stack, address: &Address) -> Value {
        json!({"stack": stack.name, "uid": stack.uid, "address": address, "name": name(stack, address)})
    }

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        field(
            &mut change,
            "service",
            json!(outputs.service),
            json!(inputs.service),
        );
        let (old, new) = (&outputs.policies, policies(inputs, outputs));
        field(&mut change, "policies", json!(old), json!(new));
        if inputs.addon.is_some() && !outputs.tags.contains_key(RECOMMENDED) {
            field(&mut change, "addon", Value::Null, json!(inputs.addon));
        }
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        join_all(targets.iter().map(|typed| async {
            let mark = Mark::of(typed.target)?;
            let found = look(clients, named(typed.target)?).await?;
            Ok(found.map(|outputs| Seen {
                id: Some(outputs.arn.clone()),
                readiness: Readiness::Ready,
                foreign: mark.foreign(&outputs.arn, &outputs.tags),
                outputs,
            }))
        }))
        .await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let (name, mark) = (named(target)?, Mark::of(target)?);
        let mut further = inputs.tags.clone();
        further.extend(recommendation(clients, inputs).await?);
        let tags = mark.tags(&further);
        let call = clients.iam().await?.create_role().role_name(name);
        let call = call.assume_role_policy_document(trust::document(&inputs.service).to_string());
        let sent = call.set_tags(Some(iam(&tags)?)).send().await;
        let live = if sent.as_ref().is_err_and(is_taken) {
            standing(clients, name, &mark).await?
        } else {
            let role = written("iam:CreateRole", sent)?
                .role
                .ok_or_else(|| unseen(name))?;
            Outputs {
                arn: role.arn,
                name: role.role_name,
                service: inputs.service.clone(),
                policies: BTreeSet::new(),
                tags,
            }
        };
        after_made(bring(clients, inputs, &live).await)?;
        Ok(Some(live.arn))
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let live = own(clients, target).await?.ok_or_else(|| vanished(target))?;
        bring(clients, inputs, &live).await
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(live) = own(clients, target).await? else {
            return Ok(());
        };
        for policy in &live.policies {
            detach(clients, &live.name, policy).await?;
        }
        let sent = clients
            .iam()
            .await?
            .delete_role()
            .role_name(&live.name)
            .send()
            .await;
        let in_use = sent.as_ref().is_err_and(is_in_use);
        match deleted("iam:DeleteRole", "NoSuchEntity", sent) {
            Err(error) if in_use => Err(name_rest(clients, &live.name, error).await),
            other => other,
        }
    }
}

/// The name of a role: the stack's is cut where both are long, so that two roles of a stack stay two.
fn name(stack: &Stack, address: &Address) -> String {
    let uid: String = stack.uid.chars().take(8).collect();
    let end = clean(&format!("-{uid}-{}", address.name()));
    let begin = clean(&stack.name);
    let begin = begin.chars().take(LONGEST.saturating_sub(end.len()));
    begin.chain(end.chars()).take(LONGEST).collect()
}

/// IAM takes letters, digits and a few signs.
fn clean(text: &str) -> String {
    let clean = |letter: char| {
        if letter.is_ascii_alphanumeric() || "_.-".contains(letter) {
            letter
        } else {
            '-'
        }
    };
    text.chars().map(clean).collect()
}

/// The name that the state has on disk since before the first call.
fn named(target: &Target) -> Result<&str, ResourceError> {
    target
        .identity
        .get("name")
        .and_then(Value::as_str)
        .ok_or_else(|| {
            ResourceError::permanent(format!("the name of the role of {} is not known", target.address))
        })
}

/// The policies that should be attached to what stands, as ARNs.
fn policies(inputs: &Inputs, live: &Outputs) -> BTreeSet<String> {
    let partition = live.arn.split(':').nth(1).unwrap_or("aws");
    let arn = |name: &str| match name {
        name if name.starts_with("arn:") => name.to_owned(),
        name => format!("arn:{partition}:iam::aws:policy/{name}"),
    };
    let mut wanted: BTreeSet<String> = inputs.policies.iter().map(|name| arn(name)).collect();
    if inputs.addon.is_some() {
        let recommended = live.tags.get(RECOMMENDED);
        wanted.extend(
            recommended
                .iter()
                .flat_map(|names| names.split_whitespace())
                .map(arn),
        );
        wanted.extend(live.policies.iter().cloned());
    }
    wanted
}

/// The tag that keeps what EKS recommends, if that is wanted.
async fn recommendation(
    clients: &Clients,
    inputs: &Inputs,
) -> Result<Option<(String, String)>, ResourceError> {
    let Some(addon) = &inputs.addon else {
        return Ok(None);
    };
    let arns = recommended(clients, addon, inputs.kubernetes.as_deref()).await?;
    let names = arns.iter().map(|arn| match arn.split_once(":iam::aws:policy/") {
        Some((_, name)) => name,
        None => arn,
    });
    Ok(Some((
        RECOMMENDED.to_owned(),
        names.collect::<Vec<_>>().join(" "),
    )))
}

/// Brings what stands to what is wanted.
async fn bring(clients: &Clients, inputs: &Inputs, live: &Outputs) -> Result<(), ResourceError> {
    let (iam, name) = (clients.iam().await?, &live.name);
    if live.service != inputs.service {
        let call = iam.update_assume_role_policy().role_name(name);
        let sent = call
            .policy_document(trust::document(&inputs.service).to_string())
            .send()
            .await;
        written("iam:UpdateAssumeRolePolicy", sent)?;
    }
    let mut live = live.clone();
    let mut lacking = tags::missing(&inputs.tags, &live.tags);
    if !live.tags.contains_key(RECOMMENDED) {
        let tag = recommendation(clients, inputs).await?;
        live.tags.extend(tag.clone());
        lacking.extend(tag);
    }
    if !lacking.is_empty() {
        let sent = iam
            .tag_role()
            .role_name(name)
            .set_tags(Some(self::iam(&lacking)?))
            .send()
            .await;
        written("iam:TagRole", sent)?;
    }
    let wanted = policies(inputs, &live);
    for policy in wanted.difference(&live.policies) {
        let sent = iam
            .attach_role_policy()
            .role_name(name)
            .policy_arn(policy)
            .send()
            .await;
        written("iam:AttachRolePolicy", sent)?;
    }
    for policy in live.policies.difference(&wanted) {
        detach(clients, name, policy).await?;
    }
    Ok(())
}

async fn detach(clients: &Clients, name: &str, policy: &str) -> Result<(), ResourceError> {
    let call = clients.iam().await?.detach_role_policy().role_name(name);
    let sent = call.policy_arn(policy).send().await;
    deleted("iam:DetachRolePolicy", "NoSuchEntity", sent)
}

/// The refusal to delete a role, with what someone else has put on it. EKS removes its own profiles by itself.
async fn name_rest(clients: &Clients, name: &str, refused: ResourceError) -> ResourceError {
    match rest(clients, name).await {
        Ok(rest) if !rest.is_empty() => {
            let message = format!(
                "the role {name} has what is not of this stack: {}",
                rest.join(", ")
            );
            ResourceError::new(Cause::Refused, message)
                .hint("remove it from the role; then run 'stackup destroy' again")
        }
        // Without more to say it is still the refusal.
        Ok(_) | Err(_) => refused,
    }
}

async fn rest(clients: &Clients, name: &str) -> Result<Vec<String>, ResourceError> {
    let iam = clients.iam().await?;
    let call = iam.list_role_policies().role_name(name).into_paginator().items();
    let found = call.send().collect::<Result<Vec<String>, _>>().await;
    let inline = read("iam:ListRolePolicies", found)?;
    let call = iam
        .list_instance_profiles_for_role()
        .role_name(name)
        .into_paginator()
        .items();
    let found = call.send().collect::<Result<Vec<_>, _>>().await;
    let profiles = read("iam:ListInstanceProfilesForRole", found)?;
    let profiles = profiles.iter().map(InstanceProfile::instance_profile_name);
    let profiles = profiles.filter(|profile| !profile.starts_with("eks-"));
    let profiles = profiles.map(|profile| format!("the instance profile {profile}"));
    let inline = inline.iter().map(|policy| format!("the inline policy {policy}"));
    Ok(inline.chain(profiles).collect())
}

/// The role that has the name already: an earlier call of ours may have made it, and its answer was lost.
async fn standing(clients: &Clients, name: &str, mark: &Mark) -> Result<Outputs, ResourceError> {
    let live = look(clients, name).await?.ok_or_else(|| unseen(name))?;
    match mark.foreign(&live.arn, &live.tags) {
        None => Ok(live),
        Some(owner) => {
            let message = format!("a role of this name is there and not ours: {owner}");
            let refused = ResourceError::new(Cause::Refused, message);
            Err(refused.hint("delete that role, or give the stack another name; nothing was changed"))
        }
    }
}

fn unseen(name: &str) -> ResourceError {
    let message = format!("the role {name} is there and not known everywhere yet");
    ResourceError::new(Cause::Transient, message)
}

/// What stands, if it is ours.
async fn own(clients: &Clients, target: &Target) -> Result<Option<Outputs>, ResourceError> {
    let mark = Mark::of(target)?;
    let live = look(clients, named(target)?).await?;
    Ok(live.filter(|live| mark.is_on(&live.tags)))
}

/// No list tells tags and policies, so each role is asked about by its name.
async fn look(clients: &Clients, name: &str) -> Result<Option<Outputs>, ResourceError> {
    let iam = clients.iam().await?;
    let sent = iam.get_role().role_name(name).send().await;
    if sent.as_ref().is_err_and(is_gone) {
        return Ok(None);
    }
    let role = read("iam:GetRole", sent)?.role;
    let call = iam
        .list_attached_role_policies()
        .role_name(name)
        .into_paginator()
        .items();
    let found = call.send().collect::<Result<Vec<_>, _>>().await;
    if found.as_ref().is_err_and(is_gone) {
        return Ok(None);
    }
    let attached = read("iam:ListAttachedRolePolicies", found)?;
    Ok(role.map(|role| Outputs {
        service: trust::service(role.assume_role_policy_document().unwrap_or_default()),
        policies: attached
            .into_iter()
            .filter_map(|policy| policy.policy_arn)
            .collect(),
        tags: role
            .tags
            .into_iter()
            .flatten()
            .map(|tag| (tag.key, tag.value))
            .collect(),
        arn: role.arn,
        name: role.role_name,
    }))
}

/// Tags as IAM takes them.
fn iam(tags: &Tags) -> Result<Vec<Tag>, ResourceError> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    let tags: Result<Vec<Tag>, _> = tags.iter().map(tag).collect();
    tags.map_err(|error| ResourceError::permanent(format!("tags of a role cannot be sent: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str) -> Stack {
        Stack {
            name: name.into(),
            uid: "0123456789abcdef".into(),
        }
    }

    fn live(policies: &[&str], tags: &[(&str, &str)]) -> Outputs {
        let owned = |&(key, value): &(&str, &str)| (key.to_owned(), value.to_owned());
        Outputs {
            arn: "arn:aws-cn:iam::123456789012:role/demo".into(),
            name: "demo".into(),
            service: "eks.amazonaws.com".into(),
            policies: policies
                .iter()
                .map(|name| format!("arn:aws-cn:iam::aws:policy/{name}"))
                .collect(),
            tags: tags.iter().map(owned).collect(),
        }
    }

    fn wanted(policies: &[&str], addon: Option<&str>) -> Inputs {
        serde_json::from_value(json!({"service": "eks.amazonaws.com", "policies": policies, "addon": addon}))
            .unwrap()
    }

    #[test]
    fn a_name_tells_stack_and_purpose_and_fits() {
        let role = Address::new("aws.iam_role", "cluster");
        assert_eq!(name(&stack("demo"), &role), "demo-01234567-cluster");
        let long = name(
            &stack(&"s".repeat(80)),
            &Address::new("aws.iam_role", "addon/vpc-cni"),
        );
        assert_eq!(long.len(), LONGEST);
        assert!(long.ends_with("s-01234567-addon-vpc-cni"), "{long}");
    }

    #[test]
    fn policies_are_those_of_aws_in_the_partition_of_the_role() {
        let same = Role::diff(
            &wanted(&["AmazonEKSClusterPolicy"], None),
            &live(&["AmazonEKSClusterPolicy"], &[]),
        );
        assert_eq!(same, Change::default());
        let own = wanted(&["arn:aws-cn:iam::123456789012:policy/own"], None);
        let change = Role::diff(&own, &live(&["AmazonEKSClusterPolicy"], &[]));
        assert_eq!(change.fields.len(), 1);
        assert_eq!(
            policies(&own, &live(&[], &[])),
            own.policies.iter().cloned().collect()
        );
    }

    #[test]
    fn another_trust_is_changed_in_place() {
        let mut outputs = live(&[], &[]);
        outputs.service = "*".into();
        let change = Role::diff(&wanted(&[], None), &outputs);
        assert!(
            change.fields[0].path == "service" && change.forces.is_empty(),
            "{change:?}"
        );
    }

    #[test]
    fn what_was_recommended_for_an_addon_is_attached_and_more_is_left_alone() {
        let tag = [(RECOMMENDED, "AmazonEKS_CNI_Policy service-role/Other")];
        let cni = wanted(&[], Some("vpc-cni"));
        let whole = ["AmazonEKS_CNI_Policy", "service-role/Other", "Extra"];
        assert_eq!(Role::diff(&cni, &live(&whole, &tag)), Change::default());
        let cut_off = Role::diff(&cni, &live(&["AmazonEKS_CNI_Policy"], &tag));
        assert_eq!(cut_off.fields[0].path, "policies");
        let never_asked = Role::diff(&cni, &live(&["AmazonEKS_CNI_Policy"], &[]));
        assert_eq!(never_asked.fields[0].path, "addon");
    }
}
