use std::{collections::BTreeSet, time::Duration};

use aws_sdk_eks::{
    config::http::HttpResponse,
    error::SdkError,
    operation::create_cluster::{CreateClusterError, builders::CreateClusterInputBuilder},
    types::{
        AuthenticationMode, Cluster as Description, ClusterHealth, CreateAccessConfigRequest, LogSetup,
        Logging, SupportType, UpgradePolicyRequest,
    },
};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    call::{deleted, tag, taken, written},
    cluster_change::{Step, access, logging, plan},
    name::names,
    update::{self, Changing},
};
use crate::{
    aws::{
        Clients,
        difference::{field, force, vanished},
        error::{Purpose, failed, is_gone, is_taken, read},
        tags::{self, Mark, Tags},
    },
    model::Address,
    resource::{Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// The control plane of a cluster.
pub(in crate::aws) struct Cluster;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    name: String,
    #[serde(default)]
    pub(super) kubernetes: Option<String>,
    role_arn: String,
    subnets: Vec<Place>,
    pub(super) public_access: bool,
    #[serde(default)]
    pub(super) public_cidrs: BTreeSet<String>,
    #[serde(default)]
    pub(super) logs: BTreeSet<String>,
    #[serde(default)]
    pub(super) deletion_protection: bool,
    #[serde(default)]
    pub(super) tags: Tags,
}

/// A subnet and where it is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Place {
    id: String,
    #[serde(default)]
    zone: Option<String>,
}

/// What every kind of cluster tells, and what EKS tells of its own.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a field of its own in the outputs of a cluster"
)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    pub(super) name: String,
    pub(super) arn: String,
    region: String,
    /// The API server's URL, once there is one.
    server: Option<String>,
    /// PEM in base64, as kubeconfigs have it.
    certificate_authority: Option<String>,
    context: String,
    pub(super) kubernetes: Option<String>,
    vpc_id: Option<String>,
    security_group_id: Option<String>,
    role_arn: Option<String>,
    subnets: BTreeSet<String>,
    pub(super) status: String,
    pub(super) public_access: bool,
    pub(super) private_access: bool,
    pub(super) public_cidrs: BTreeSet<String>,
    pub(super) logs: BTreeSet<String>,
    pub(super) deletion_protection: bool,
    profile: String,
    ephemeral: bool,
    simulated: bool,
    workers: Option<u32>,
    pub(super) tags: Tags,
}

impl Resource for Cluster {
    const KIND: &'static str = "aws.eks_cluster";
    const DOCUMENTATION: &'static str = "An EKS cluster: its control plane. Who may use it is told by access entries \
        alone, and none of its add-ons comes by itself.\n\
        name: its name; roleArn: its role; subnets: where its control plane has interfaces, in two zones or more. Each \
        makes the cluster anew when it changes.\n\
        kubernetes: the version; without one, the one that EKS takes by default. It can be raised by one minor version.\n\
        publicAccess, publicCidrs: whether and from where its API server has a public address; changed in place.\n\
        logs: which logs of the control plane are kept; changed in place.\n\
        deletionProtection: whether EKS refuses to delete it; changed in place.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 2,
        expected: Some(Duration::from_mins(9)),
        removal: Some(Duration::from_mins(3)),
        deadline: Duration::from_mins(40),
        settles: Duration::ZERO,
        paced: true,
        pins: true,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        if matches!(outputs.status.as_str(), "FAILED" | "DELETING") {
            force(&mut change, "status", json!(outputs.status), json!("ACTIVE"));
        }
        force(&mut change, "name", json!(outputs.name), json!(inputs.name));
        force(
            &mut change,
            "roleArn",
            json!(outputs.role_arn),
            json!(inputs.role_arn),
        );
        // EKS may have refused some of those that are wanted.
        let wanted: BTreeSet<String> = inputs.subnets.iter().map(|place| place.id.clone()).collect();
        if !outputs.subnets.is_subset(&wanted) {
            force(&mut change, "subnets", json!(outputs.subnets), json!(wanted));
        }
        for (path, old, new) in plan(inputs, outputs).iter().flat_map(Step::fields) {
            field(&mut change, path, old, new);
        }
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        let looks = targets.iter().map(async |typed| {
            let Some(mut seen) = look(clients, typed.target).await? else {
                return Ok(None);
            };
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
        let eks = clients.eks().await?;
        let mark = Mark::of(target)?;
        let all: Vec<&Place> = inputs.subnets.iter().collect();
        let mut sent = request(inputs, &all, &mark).send_with(eks).await;
        if let Err(error) = &sent
            && let Some(CreateClusterError::UnsupportedAvailabilityZoneException(refused)) =
                error.as_service_error()
        {
            let Some(some) = in_zones(&inputs.subnets, refused.valid_zones()) else {
                return Err(no_zones(error, refused.valid_zones()));
            };
            sent = request(inputs, &some, &mark).send_with(eks).await;
        }
        match sent {
            Err(error) if is_taken(&error) => {
                taken("eks:CreateCluster", &error, look(clients, target).await?)
            }
            sent => Ok(written("eks:CreateCluster", sent)?
                .cluster
                .and_then(|cluster| cluster.arn)),
        }
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Err(vanished(target));
        };
        tag(clients, &seen.outputs.arn, &inputs.tags).await?;
        let steps = plan(inputs, &seen.outputs);
        let Some(step) = steps.first() else {
            return Ok(());
        };
        if seen.outputs.status == "UPDATING" {
            return Err(ResourceError::new(
                Cause::Transient,
                "another update of it is under way",
            ));
        }
        // Of several, one that EKS took and then did not make would be sent for ever.
        if let Some(why) = update::failure(clients, &changing(&seen.outputs)).await? {
            return Err(ResourceError::permanent(why));
        }
        step.send(clients, &seen.outputs).await?;
        // EKS takes one change at a time; the engine asks again for those that are left.
        match steps.len() {
            1 => Ok(()),
            _ => Err(ResourceError::new(
                Cause::Transient,
                "more is to be changed once this is done",
            )),
        }
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target).await?.filter(|seen| seen.foreign.is_none()) else {
            return Ok(());
        };
        if seen.outputs.deletion_protection {
            let message = format!("the cluster '{}' is protected from deletion", seen.outputs.name);
            return Err(ResourceError::new(Cause::Refused, message).hint(
                "set cluster.deletionProtection: false in the stack file and run 'stackup apply' first",
            ));
        }
        if seen.outputs.status == "DELETING" {
            return Ok(());
        }
        let call = clients.eks().await?.delete_cluster().name(seen.outputs.name);
        deleted("eks:DeleteCluster", call.send().await)
    }

    async fn diagnose(clients: &Clients, target: &Target) -> Vec<String> {
        let Some([name]) = names(target, ["name"]).into_iter().next() else {
            return Vec::new();
        };
        let told = async {
            let Some(cluster) = describe(clients, &name).await? else {
                return Ok(Vec::new());
            };
            let mut lines = issues(&cluster);
            lines.extend(update::failure(clients, &changing(&outputs(cluster))).await?);
            lines.extend(update::advice(&lines).map(|advice| format!("→ {advice}")));
            Ok(lines)
        };
        told.await
            .unwrap_or_else(|error: ResourceError| vec![error.to_string()])
    }
}

fn changing(outputs: &Outputs) -> Changing<'_> {
    Changing {
        arn: &outputs.arn,
        cluster: &outputs.name,
        group: None,
    }
}

async fn look(clients: &Clients, target: &Target) -> Result<Option<Seen<Outputs>>, ResourceError> {
    for [name] in names(target, ["name"]) {
        if let Some(cluster) = describe(clients, &name).await? {
            let mark = Mark::of(target)?;
            let readiness = readiness(&cluster);
            let outputs = outputs(cluster);
            return Ok(Some(Seen {
                id: Some(outputs.arn.clone()),
                foreign: mark.foreign(&outputs.arn, &outputs.tags),
                readiness,
                outputs,
            }));
        }
    }
    Ok(None)
}

async fn describe(clients: &Clients, name: &str) -> Result<Option<Description>, ResourceError> {
    match clients.eks().await?.describe_cluster().name(name).send().await {
        Err(error) if is_gone(&error) => Ok(None),
        sent => Ok(read("eks:DescribeCluster", sent)?.cluster),
    }
}

/// Everything that is set at all is set here: a cluster that is changed takes neither node groups nor add-ons.
fn request(inputs: &Inputs, subnets: &[&Place], mark: &Mark) -> CreateClusterInputBuilder {
    let ids = subnets.iter().map(|place| place.id.clone()).collect();
    let entries_only = CreateAccessConfigRequest::builder()
        .authentication_mode(AuthenticationMode::Api)
        .bootstrap_cluster_creator_admin_permissions(false);
    // The years after a version's end cost six times as much, and EKS would slip into them.
    let support = UpgradePolicyRequest::builder().support_type(SupportType::Standard);
    CreateClusterInputBuilder::default()
        .name(&inputs.name)
        .set_version(inputs.kubernetes.clone())
        .role_arn(&inputs.role_arn)
        .resources_vpc_config(access(inputs).set_subnet_ids(Some(ids)).build())
        .set_logging((!inputs.logs.is_empty()).then(|| logging(&inputs.logs, &BTreeSet::new())))
        .access_config(entries_only.build())
        .bootstrap_self_managed_addons(false)
        .upgrade_policy(support.build())
        .deletion_protection(inputs.deletion_protection)
        .set_tags(Some(mark.map(&inputs.tags)))
}

/// The cluster that a remembered thing is part of, if it is of the stack: EKS deletes it along with it.
pub(super) fn cluster_of(target: &Target) -> Option<Address> {
    let refers = &target.remembered.as_ref()?.refers;
    refers
        .iter()
        .find(|address| address.kind() == Cluster::KIND)
        .cloned()
}

/// The subnets in zones that EKS has room in, if they are in enough of them.
fn in_zones<'a>(subnets: &'a [Place], valid: &[String]) -> Option<Vec<&'a Place>> {
    let zone = |place: &&Place| place.zone.as_ref().is_some_and(|zone| valid.contains(zone));
    let some: Vec<&Place> = subnets.iter().filter(zone).collect();
    let zones: BTreeSet<_> = some.iter().map(|place| &place.zone).collect();
    (zones.len() >= 2).then_some(some)
}

/// The refusal of the zones that the subnets are in, and which others there are.
fn no_zones(error: &SdkError<CreateClusterError, HttpResponse>, valid: &[String]) -> ResourceError {
    failed("eks:CreateCluster", Purpose::Write, error).hint(format!(
        "set cluster.network.zones in the stack file to two or three of [{}], and run 'stackup apply' again",
        valid.join(", ")
    ))
}

fn readiness(cluster: &Description) -> Readiness {
    let endpoint = cluster.endpoint().is_some() && cluster.certificate_authority().is_some();
    match cluster.status().map_or("UNKNOWN", |status| status.as_str()) {
        "ACTIVE" if endpoint => Readiness::Ready,
        "ACTIVE" => Readiness::NotYet("its API server has no address yet".to_owned()),
        "CREATING" | "PENDING" => Readiness::NotYet("EKS is making the control plane".to_owned()),
        "UPDATING" => Readiness::NotYet("an update of it is under way".to_owned()),
        "DELETING" => Readiness::NotYet("it is being deleted".to_owned()),
        "FAILED" => Readiness::Failed(format!(
            "EKS could not make it: {}",
            or_no_reason(&issues(cluster))
        )),
        other => Readiness::NotYet(format!("it is {other}")),
    }
}

fn or_no_reason(issues: &[String]) -> String {
    match issues {
        [] => "no reason is told".to_owned(),
        issues => issues.join("; "),
    }
}

fn issues(cluster: &Description) -> Vec<String> {
    let issues = cluster.health().map(ClusterHealth::issues).unwrap_or_default();
    let told = issues.iter().map(|issue| {
        let code = issue.code().map_or("no code", |code| code.as_str());
        format!("{code}: {}", issue.message().unwrap_or("no message"))
    });
    told.collect()
}

fn outputs(cluster: Description) -> Outputs {
    let arn = cluster.arn.unwrap_or_default();
    let name = cluster.name.unwrap_or_default();
    let network = cluster.resources_vpc_config;
    let network = network.as_ref();
    let set = |list: &[String]| list.iter().cloned().collect::<BTreeSet<String>>();
    let logs = cluster.logging.as_ref().map(Logging::cluster_logging);
    let enabled = logs
        .into_iter()
        .flatten()
        .filter(|setup| setup.enabled() == Some(true));
    Outputs {
        region: arn.split(':').nth(3).unwrap_or_default().to_owned(),
        arn,
        context: name.clone(),
        name,
        server: cluster.endpoint,
        certificate_authority: cluster.certificate_authority.and_then(|authority| authority.data),
        kubernetes: cluster.version,
        vpc_id: network.and_then(|network| network.vpc_id.clone()),
        security_group_id: network.and_then(|network| network.cluster_security_group_id.clone()),
        role_arn: cluster.role_arn,
        subnets: network
            .map(|network| set(network.subnet_ids()))
            .unwrap_or_default(),
        status: cluster
            .status
            .map_or_else(String::new, |status| status.as_str().to_owned()),
        public_access: network.is_some_and(|network| network.endpoint_public_access),
        private_access: network.is_some_and(|network| network.endpoint_private_access),
        public_cidrs: network
            .map(|network| set(network.public_access_cidrs()))
            .unwrap_or_default(),
        logs: enabled
            .flat_map(LogSetup::types)
            .map(|log| log.as_str().to_owned())
            .collect(),
        deletion_protection: cluster.deletion_protection.unwrap_or_default(),
        profile: "eks".to_owned(),
        ephemeral: true,
        simulated: false,
        workers: None,
        tags: cluster.tags.unwrap_or_default().into_iter().collect(),
    }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
mod tests;
