use std::{collections::BTreeSet, time::Duration};

use aws_sdk_eks::{
    operation::{
        associate_access_policy::builders::AssociateAccessPolicyInputBuilder,
        create_access_entry::builders::CreateAccessEntryInputBuilder,
    },
    types::{AccessScope, AccessScopeType, AssociatedAccessPolicy},
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    call::{deleted, tag, taken, written},
    cluster::cluster_of,
    name::{names, sent},
};
use crate::{
    aws::{
        Clients,
        difference::{field, force, vanished},
        error::{after_made, is_gone, is_taken, read},
        tags::{self, Mark, Tags},
        token::{ALLOW, identity},
    },
    model::Address,
    resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// Who may use a cluster, and how far.
pub(in crate::aws) struct AccessEntry;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    cluster: String,
    /// Without one, whoever runs the first apply.
    #[serde(default)]
    principal: Option<String>,
    policies: BTreeSet<Policy>,
    #[serde(default)]
    tags: Tags,
}

/// An access policy of EKS by name, and the namespaces it holds for; none of them means the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    name: String,
    #[serde(default)]
    namespaces: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    cluster: String,
    principal: String,
    policies: BTreeSet<Policy>,
    arn: String,
    tags: Tags,
}

impl Resource for AccessEntry {
    const KIND: &'static str = "aws.eks_access_entry";
    const DOCUMENTATION: &'static str = "Lets an IAM role or user use an EKS cluster.\n\
        cluster: the cluster; another one makes the entry anew.\n\
        principal: the ARN of the role or user; without one, the identity that runs the first apply, and that one from \
        then on. Another one makes the entry anew.\n\
        policies: which access policies of EKS hold, each with the namespaces that it holds for; none means all of \
        them. Changed in place.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 2,
        expected: Some(Duration::from_secs(2)),
        removal: Some(Duration::from_secs(2)),
        deadline: Duration::from_mins(5),
        settles: Duration::ZERO,
        paced: true,
        pins: false,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        force(
            &mut change,
            "cluster",
            json!(outputs.cluster),
            json!(inputs.cluster),
        );
        if let Some(principal) = &inputs.principal {
            force(
                &mut change,
                "principal",
                json!(outputs.principal),
                json!(principal),
            );
        }
        field(
            &mut change,
            "policies",
            json!(outputs.policies),
            json!(inputs.policies),
        );
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    fn goes_with(target: &Target) -> Option<Address> {
        cluster_of(target)
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        join_all(targets.iter().map(|typed| look(clients, typed.target))).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let (principal, guessed) = if let Some(principal) = principals(target).into_iter().next() {
            (principal, false)
        } else {
            let caller = identity(clients).await?;
            (caller.principal, caller.guessed)
        };
        let call = request(inputs, &principal, &Mark::of(target)?);
        let arn = match call.send_with(clients.eks().await?).await {
            Err(error) if is_taken(&error) => {
                taken("eks:CreateAccessEntry", &error, look(clients, target).await?)?
            }
            sent => {
                let made = written("eks:CreateAccessEntry", sent);
                let made = made.map_err(|error| if guessed { error.hint(ALLOW) } else { error })?;
                made.access_entry.and_then(|entry| entry.access_entry_arn)
            }
        };
        let steps = steps(&inputs.policies, &BTreeSet::new());
        after_made(associate(clients, &inputs.cluster, &principal, steps).await)?;
        Ok(arn)
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Err(vanished(target));
        };
        let live = seen.outputs;
        associate(
            clients,
            &live.cluster,
            &live.principal,
            steps(&inputs.policies, &live.policies),
        )
        .await?;
        tag(clients, &live.arn, &inputs.tags).await
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Ok(());
        };
        let call = clients.eks().await?.delete_access_entry();
        let call = call
            .cluster_name(seen.outputs.cluster)
            .principal_arn(seen.outputs.principal);
        deleted("eks:DeleteAccessEntry", call.send().await)
    }
}

/// Whose entry this may be, as far as inputs and state tell: the wanted one first.
fn principals(target: &Target) -> Vec<String> {
    let wanted = target.inputs.as_ref().and_then(|inputs| inputs.get("principal"));
    let stood = target
        .remembered
        .as_ref()
        .and_then(|before| before.outputs.get("principal"));
    let told = [wanted, stood].into_iter().flatten();
    let told = told.filter_map(|principal| principal.as_str().map(str::to_owned));
    let mut principals: Vec<String> = told.chain(sent(target, "principal")).collect();
    principals.dedup();
    principals
}

async fn look(clients: &Clients, target: &Target) -> Result<Option<Seen<Outputs>>, ResourceError> {
    let clusters = names(target, ["cluster"]);
    let mut principals = principals(target);
    if principals.is_empty() && !clusters.is_empty() {
        principals.push(identity(clients).await?.principal);
    }
    let mark = Mark::of(target)?;
    for [cluster] in &clusters {
        for principal in &principals {
            if let Some(outputs) = describe(clients, cluster, principal).await? {
                return Ok(Some(Seen {
                    id: Some(outputs.arn.clone()),
                    foreign: mark.foreign(&outputs.arn, &outputs.tags),
                    readiness: Readiness::Ready,
                    outputs,
                }));
            }
        }
    }
    Ok(None)
}

async fn describe(
    clients: &Clients,
    cluster: &str,
    principal: &str,
) -> Result<Option<Outputs>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks
        .describe_access_entry()
        .cluster_name(cluster)
        .principal_arn(principal);
    let entry = match call.send().await {
        Err(error) if is_gone(&error) => return Ok(None),
        sent => read("eks:DescribeAccessEntry", sent)?.access_entry,
    };
    let Some(entry) = entry else { return Ok(None) };
    let call = eks
        .list_associated_access_policies()
        .cluster_name(cluster)
        .principal_arn(principal);
    let policies: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let policies = match policies {
        Err(error) if is_gone(&error) => return Ok(None),
        sent => read("eks:ListAssociatedAccessPolicies", sent)?,
    };
    Ok(Some(Outputs {
        cluster: cluster.to_owned(),
        principal: principal.to_owned(),
        policies: policies.iter().map(policy).collect(),
        arn: entry.access_entry_arn.unwrap_or_default(),
        tags: entry.tags.unwrap_or_default().into_iter().collect(),
    }))
}

fn request(inputs: &Inputs, principal: &str, mark: &Mark) -> CreateAccessEntryInputBuilder {
    CreateAccessEntryInputBuilder::default()
        .cluster_name(&inputs.cluster)
        .principal_arn(principal)
        .r#type("STANDARD")
        .set_tags(Some(mark.map(&inputs.tags)))
}

/// Which policies to associate, and the names of those to take away. One whose namespaces change is associated anew.
fn steps(wanted: &BTreeSet<Policy>, live: &BTreeSet<Policy>) -> (Vec<Policy>, Vec<String>) {
    let names: BTreeSet<&String> = wanted.iter().map(|policy| &policy.name).collect();
    let unwanted = live.iter().filter(|policy| !names.contains(&policy.name));
    (
        wanted.difference(live).cloned().collect(),
        unwanted.map(|policy| policy.name.clone()).collect(),
    )
}

async fn associate(
    clients: &Clients,
    cluster: &str,
    principal: &str,
    (wanted, unwanted): (Vec<Policy>, Vec<String>),
) -> Result<(), ResourceError> {
    let eks = clients.eks().await?;
    for policy in wanted {
        let call = association(&policy, principal).cluster_name(cluster);
        written("eks:AssociateAccessPolicy", call.send_with(eks).await)?;
    }
    for name in unwanted {
        let call = eks
            .disassociate_access_policy()
            .cluster_name(cluster)
            .principal_arn(principal);
        let sent = call.policy_arn(policy_arn(&name, principal)).send().await;
        deleted("eks:DisassociateAccessPolicy", sent)?;
    }
    Ok(())
}

fn association(policy: &Policy, principal: &str) -> AssociateAccessPolicyInputBuilder {
    let scope = if policy.namespaces.is_empty() {
        AccessScope::builder().r#type(AccessScopeType::Cluster)
    } else {
        let namespaces = policy.namespaces.iter().cloned().collect();
        AccessScope::builder()
            .r#type(AccessScopeType::Namespace)
            .set_namespaces(Some(namespaces))
    };
    AssociateAccessPolicyInputBuilder::default()
        .principal_arn(principal)
        .policy_arn(policy_arn(&policy.name, principal))
        .access_scope(scope.build())
}

/// An access policy's ARN, in the partition of who it is for (`aws`, `aws-cn`, `aws-us-gov`).
fn policy_arn(name: &str, principal: &str) -> String {
    let partition = principal.split(':').nth(1).unwrap_or("aws");
    format!("arn:{partition}:eks::aws:cluster-access-policy/{name}")
}

fn policy(live: &AssociatedAccessPolicy) -> Policy {
    let arn = live.policy_arn().unwrap_or_default();
    let namespaces = live
        .access_scope()
        .map(AccessScope::namespaces)
        .unwrap_or_default();
    Policy {
        name: arn.rsplit('/').next().unwrap_or_default().to_owned(),
        namespaces: namespaces.iter().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::name::tests::target, *};

    const ROLE: &str = "arn:aws-cn:iam::123456789012:role/admin";

    fn policies(wanted: &[(&str, &[&str])]) -> BTreeSet<Policy> {
        let policy = |(name, namespaces): &(&str, &[&str])| Policy {
            name: (*name).to_owned(),
            namespaces: namespaces.iter().map(|&name| name.to_owned()).collect(),
        };
        wanted.iter().map(policy).collect()
    }

    fn inputs(principal: Option<&str>) -> Inputs {
        Inputs {
            cluster: "demo".to_owned(),
            principal: principal.map(str::to_owned),
            policies: policies(&[("AmazonEKSClusterAdminPolicy", &[])]),
            tags: Tags::new(),
        }
    }

    #[test]
    fn an_entry_is_asked_for_with_our_mark_and_its_policies_in_the_partition_of_the_principal() {
        let mark = Mark::of(&target("aws.eks_access_entry/me", None, None)).unwrap();
        let request = request(&inputs(None), ROLE, &mark).build().unwrap();
        assert_eq!(request.cluster_name(), Some("demo"));
        assert_eq!(request.principal_arn(), Some(ROLE));
        assert_eq!(request.r#type(), Some("STANDARD"));
        assert_eq!(
            request.tags().unwrap()["stackup:address"],
            "aws.eks_access_entry/me"
        );
        let everywhere = &policies(&[("AmazonEKSClusterAdminPolicy", &[])])
            .pop_first()
            .unwrap();
        let call = association(everywhere, ROLE).build().unwrap();
        let arn = "arn:aws-cn:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy";
        assert_eq!(call.policy_arn(), Some(arn));
        assert_eq!(
            call.access_scope().unwrap().r#type(),
            Some(&AccessScopeType::Cluster)
        );
        let some = &policies(&[("AmazonEKSViewPolicy", &["shop"])])
            .pop_first()
            .unwrap();
        let scope = association(some, ROLE).build().unwrap().access_scope.unwrap();
        assert_eq!(scope.r#type(), Some(&AccessScopeType::Namespace));
        assert_eq!(scope.namespaces(), ["shop"]);
    }

    #[test]
    fn policies_are_added_widened_and_taken_away() {
        let live = policies(&[("AmazonEKSViewPolicy", &["shop"]), ("AmazonEKSEditPolicy", &[])]);
        let wanted = policies(&[
            ("AmazonEKSViewPolicy", &["shop", "bank"]),
            ("AmazonEKSAdminPolicy", &[]),
        ]);
        let (add, remove) = steps(&wanted, &live);
        assert_eq!(add, wanted.into_iter().collect::<Vec<_>>());
        assert_eq!(remove, ["AmazonEKSEditPolicy"]);
        assert_eq!(steps(&live, &live), (vec![], vec![]));
    }

    #[test]
    fn the_identity_of_the_first_apply_stays_whoever_runs_the_next_one() {
        let stood = json!({"kind": "aws.eks_access_entry", "identity": {}, "outputs": {"principal": ROLE}});
        let unnamed = json!({"cluster": "demo", "principal": null});
        let known = target(
            "aws.eks_access_entry/me",
            Some(unnamed.clone()),
            Some(stood.clone()),
        );
        assert_eq!(principals(&known), [ROLE]);
        let new = target("aws.eks_access_entry/me", Some(unnamed), None);
        assert_eq!(principals(&new), Vec::<String>::new());
        let named = json!({"cluster": "demo", "principal": "arn:other"});
        let moved = target("aws.eks_access_entry/me", Some(named), Some(stood));
        assert_eq!(principals(&moved), ["arn:other", ROLE]);
        let outputs = Outputs {
            cluster: "demo".to_owned(),
            principal: ROLE.to_owned(),
            policies: inputs(None).policies,
            arn: String::new(),
            tags: Tags::new(),
        };
        assert_eq!(AccessEntry::diff(&inputs(None), &outputs), Change::default());
        assert_eq!(
            AccessEntry::diff(&inputs(Some("arn:other")), &outputs).forces,
            ["principal"]
        );
    }

    #[test]
    fn an_associated_policy_is_read_by_name_and_namespaces() {
        let scope = AccessScope::builder()
            .r#type(AccessScopeType::Namespace)
            .namespaces("shop")
            .build();
        let arn = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy";
        let live = AssociatedAccessPolicy::builder()
            .policy_arn(arn)
            .access_scope(scope)
            .build();
        assert_eq!(
            BTreeSet::from([policy(&live)]),
            policies(&[("AmazonEKSViewPolicy", &["shop"])])
        );
    }
}
