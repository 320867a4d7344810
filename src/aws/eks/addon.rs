use std::{collections::BTreeMap, time::Duration};

use aws_sdk_eks::{
    operation::{
        create_addon::builders::CreateAddonInputBuilder, update_addon::builders::UpdateAddonInputBuilder,
    },
    types::{Addon as Description, AddonHealth, AddonPodIdentityAssociations, ResolveConflicts},
};
use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    call::{deleted, tag, taken, written},
    cluster::cluster_of,
    name::names,
};
use crate::{
    aws::{
        Clients,
        difference::{field, force, vanished},
        error::{is_gone, is_taken, read},
        tags::{self, Mark, Tags},
    },
    model::Address,
    resource::{Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed},
};

/// Health issues of a degraded add-on that nobody but a person ends.
const HOPELESS: [&str; 5] = [
    "AddonPermissionFailure",
    "AddonSubscriptionNeeded",
    "AdmissionRequestDenied",
    "ConfigurationConflict",
    "UnsupportedAddonModification",
];

/// Software of the cluster itself that EKS installs and keeps.
pub(in crate::aws) struct Addon;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::aws) struct Inputs {
    cluster: String,
    name: String,
    #[serde(default)]
    version: Option<String>,
    /// JSON text, as the add-on's own schema has it.
    #[serde(default)]
    configuration: Option<String>,
    /// Which role each of its `ServiceAccounts` has.
    #[serde(default)]
    roles: BTreeMap<String, String>,
    #[serde(default)]
    needs_nodes: bool,
    #[serde(default)]
    tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::aws) struct Outputs {
    cluster: String,
    name: String,
    version: Option<String>,
    status: String,
    configuration: Option<String>,
    roles: BTreeMap<String, String>,
    arn: String,
    tags: Tags,
}

impl Resource for Addon {
    const KIND: &'static str = "aws.eks_addon";
    const DOCUMENTATION: &'static str = "An add-on of EKS: software of the cluster itself that EKS installs and keeps.\n\
        cluster, name: where, and which one; either makes it anew when it changes.\n\
        version: its version; without one, the one that EKS takes by default when it is made. Changed in place.\n\
        configuration: JSON text of its settings; changed in place.\n\
        roles: the IAM role of each of its ServiceAccounts, by pod identity; changed in place.\n\
        needsNodes: whether its pods need nodes. EKS tells their health late, so they are judged in Kubernetes.\n\
        tags: more tags for it; changed in place.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 4,
        expected: Some(Duration::from_secs(46)),
        removal: Some(Duration::from_secs(20)),
        deadline: Duration::from_mins(20),
        settles: Duration::ZERO,
        paced: true,
        pins: false,
    };

    type Cloud = Clients;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        let status = json!(outputs.status);
        match outputs.status.as_str() {
            "CREATE_FAILED" | "DELETE_FAILED" | "DELETING" => {
                force(&mut change, "status", status, json!("ACTIVE"));
            }
            "UPDATE_FAILED" => field(&mut change, "status", status, json!("ACTIVE")),
            _ => {}
        }
        force(
            &mut change,
            "cluster",
            json!(outputs.cluster),
            json!(inputs.cluster),
        );
        force(&mut change, "name", json!(outputs.name), json!(inputs.name));
        if let Some(version) = &inputs.version {
            field(&mut change, "version", json!(outputs.version), json!(version));
        }
        let settings = [&outputs.configuration, &inputs.configuration].map(|text| settings(text.as_deref()));
        let [old, new] = settings;
        field(&mut change, "configuration", old, new);
        field(&mut change, "roles", json!(outputs.roles), json!(inputs.roles));
        tags::differ(&mut change, &inputs.tags, &outputs.tags);
        change
    }

    /// What runs on every node serves until the last of them is gone. What has pods of its own is deleted before: the
    /// budgets of such pods hold up the end of a node.
    fn goes_with(target: &Target) -> Option<Address> {
        let inputs = target.remembered.as_ref()?.inputs.as_ref()?;
        let on_every_node = inputs.get("needsNodes") == Some(&Value::Bool(false));
        cluster_of(target).filter(|_| on_every_node)
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        let looks = targets.iter().map(|typed| {
            let needs_nodes = typed.inputs.as_ref().is_some_and(|inputs| inputs.needs_nodes);
            look(clients, typed.target, needs_nodes)
        });
        join_all(looks).await
    }

    async fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        let call = request(inputs, &Mark::of(target)?)?;
        match call.send_with(clients.eks().await?).await {
            Err(error) if is_taken(&error) => {
                taken("eks:CreateAddon", &error, look(clients, target, false).await?)
            }
            sent => {
                let made = written("eks:CreateAddon", sent)?;
                Ok(made.addon.and_then(|addon| addon.addon_arn))
            }
        }
    }

    async fn update(clients: &Clients, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target, false)
            .await?
            .filter(|seen| seen.foreign.is_none())
        else {
            return Err(vanished(target));
        };
        tag(clients, &seen.outputs.arn, &inputs.tags).await?;
        let stands = Change::default()
            == Self::diff(
                &Inputs {
                    tags: Tags::new(),
                    ..inputs.clone()
                },
                &seen.outputs,
            );
        if stands {
            return Ok(());
        }
        if matches!(seen.outputs.status.as_str(), "CREATING" | "UPDATING") {
            return Err(ResourceError::new(
                Cause::Transient,
                "another change of it is under way",
            ));
        }
        let call = change(inputs)?.send_with(clients.eks().await?).await;
        written("eks:UpdateAddon", call).map(drop)
    }

    async fn delete(clients: &Clients, target: &Target) -> Result<(), ResourceError> {
        let Some(seen) = look(clients, target, false)
            .await?
            .filter(|seen| seen.foreign.is_none())
        else {
            return Ok(());
        };
        if seen.outputs.status == "DELETING" {
            return Ok(());
        }
        let call = clients.eks().await?.delete_addon();
        let call = call
            .cluster_name(seen.outputs.cluster)
            .addon_name(seen.outputs.name);
        deleted("eks:DeleteAddon", call.send().await)
    }

    async fn diagnose(clients: &Clients, target: &Target) -> Vec<String> {
        let Some([cluster, name]) = names(target, ["cluster", "name"]).into_iter().next() else {
            return Vec::new();
        };
        match describe(clients, &cluster, &name).await {
            Ok(Some(addon)) => issues(&addon)
                .into_iter()
                .map(|(code, message)| format!("{code}: {message}"))
                .collect(),
            Ok(None) => Vec::new(),
            Err(error) => vec![error.to_string()],
        }
    }
}

async fn look(
    clients: &Clients,
    target: &Target,
    needs_nodes: bool,
) -> Result<Option<Seen<Outputs>>, ResourceError> {
    for [cluster, name] in names(target, ["cluster", "name"]) {
        let Some(addon) = describe(clients, &cluster, &name).await? else {
            continue;
        };
        let readiness = readiness(&addon, needs_nodes);
        let associations = addon.pod_identity_associations().iter();
        let roles = associations.map(|association| role(clients, &cluster, association));
        let outputs = Outputs {
            roles: try_join_all(roles).await?.into_iter().flatten().collect(),
            cluster,
            name,
            version: addon.addon_version,
            status: addon
                .status
                .map_or_else(String::new, |status| status.as_str().to_owned()),
            configuration: addon.configuration_values,
            arn: addon.addon_arn.unwrap_or_default(),
            tags: addon.tags.unwrap_or_default().into_iter().collect(),
        };
        return Ok(Some(Seen {
            id: Some(outputs.arn.clone()),
            foreign: Mark::of(target)?.foreign(&outputs.arn, &outputs.tags),
            readiness,
            outputs,
        }));
    }
    Ok(None)
}

async fn describe(
    clients: &Clients,
    cluster: &str,
    name: &str,
) -> Result<Option<Description>, ResourceError> {
    let call = clients
        .eks()
        .await?
        .describe_addon()
        .cluster_name(cluster)
        .addon_name(name);
    match call.send().await {
        Err(error) if is_gone(&error) => Ok(None),
        sent => Ok(read("eks:DescribeAddon", sent)?.addon),
    }
}

/// The `ServiceAccount` and the role of a pod identity association, by the ARN that the add-on tells.
async fn role(
    clients: &Clients,
    cluster: &str,
    arn: &str,
) -> Result<Option<(String, String)>, ResourceError> {
    let id = arn.rsplit('/').next().unwrap_or(arn);
    let call = clients.eks().await?.describe_pod_identity_association();
    let association = match call.cluster_name(cluster).association_id(id).send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribePodIdentityAssociation", sent)?.association,
    };
    Ok(association.and_then(|association| Some((association.service_account?, association.role_arn?))))
}

fn request(inputs: &Inputs, mark: &Mark) -> Result<CreateAddonInputBuilder, ResourceError> {
    let roles = (!inputs.roles.is_empty())
        .then(|| associations(&inputs.roles))
        .transpose()?;
    Ok(CreateAddonInputBuilder::default()
        .cluster_name(&inputs.cluster)
        .addon_name(&inputs.name)
        .set_addon_version(inputs.version.clone())
        .set_configuration_values(inputs.configuration.clone())
        .set_pod_identity_associations(roles)
        .resolve_conflicts(ResolveConflicts::Overwrite)
        .set_tags(Some(mark.map(&inputs.tags))))
}

/// The whole of what is wanted: an empty list of roles takes those away that there are.
fn change(inputs: &Inputs) -> Result<UpdateAddonInputBuilder, ResourceError> {
    let nothing = || "{}".to_owned();
    Ok(UpdateAddonInputBuilder::default()
        .cluster_name(&inputs.cluster)
        .addon_name(&inputs.name)
        .set_addon_version(inputs.version.clone())
        .configuration_values(inputs.configuration.clone().unwrap_or_else(nothing))
        .set_pod_identity_associations(Some(associations(&inputs.roles)?))
        .resolve_conflicts(ResolveConflicts::Overwrite))
}

fn associations(
    roles: &BTreeMap<String, String>,
) -> Result<Vec<AddonPodIdentityAssociations>, ResourceError> {
    let association = |(account, role): (&String, &String)| {
        let association = AddonPodIdentityAssociations::builder()
            .service_account(account)
            .role_arn(role);
        association.build().map_err(|error| {
            ResourceError::permanent(format!("the role of {account} cannot be sent: {error}"))
        })
    };
    roles.iter().map(association).collect()
}

/// Settings as values, so that spaces and the order of keys are no difference; what is no JSON stays text.
fn settings(text: Option<&str>) -> Value {
    match text {
        None => json!({}),
        Some(text) if text.trim().is_empty() => json!({}),
        Some(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
    }
}

fn readiness(addon: &Description, needs_nodes: bool) -> Readiness {
    let issues = issues(addon);
    let hopeless = issues.iter().any(|(code, _)| HOPELESS.contains(&code.as_str()));
    let told: Vec<String> = issues
        .iter()
        .map(|(code, message)| format!("{code}: {message}"))
        .collect();
    let with_issues = |text: &str| match told.as_slice() {
        [] => text.to_owned(),
        told => format!("{text}: {}", told.join("; ")),
    };
    match addon.status().map_or("UNKNOWN", |status| status.as_str()) {
        "ACTIVE" => Readiness::Ready,
        "DEGRADED" if hopeless => Readiness::Failed(with_issues("it is degraded")),
        "CREATING" | "DEGRADED" if needs_nodes => Readiness::Ready,
        "CREATING" => Readiness::NotYet(with_issues("EKS is installing it")),
        "UPDATING" => Readiness::NotYet(with_issues("EKS is updating it")),
        "DEGRADED" => Readiness::NotYet(with_issues("it is degraded")),
        "DELETING" => Readiness::NotYet(with_issues("it is being deleted")),
        "CREATE_FAILED" => Readiness::Failed(with_issues("EKS could not install it")),
        "UPDATE_FAILED" => Readiness::Failed(with_issues("EKS could not update it")),
        "DELETE_FAILED" => Readiness::Stuck(with_issues("EKS could not delete it")),
        other => Readiness::NotYet(with_issues(&format!("it is {other}"))),
    }
}

fn issues(addon: &Description) -> Vec<(String, String)> {
    let issues = addon.health().map(AddonHealth::issues).unwrap_or_default();
    let issue = issues.iter().map(|issue| {
        let code = issue.code().map_or("no code", |code| code.as_str()).to_owned();
        (code, issue.message().unwrap_or("no message").to_owned())
    });
    issue.collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{AddonIssue, AddonIssueCode, AddonStatus};

    use super::{super::name::tests::target, *};

    fn inputs(more: Value) -> Inputs {
        let mut inputs = json!({"cluster": "demo", "name": "vpc-cni"});
        let Value::Object(more) = more else {
            panic!("not a map")
        };
        inputs.as_object_mut().unwrap().extend(more);
        serde_json::from_value(inputs).unwrap()
    }

    fn outputs(status: &str) -> Outputs {
        Outputs {
            cluster: "demo".to_owned(),
            name: "vpc-cni".to_owned(),
            version: Some("v1".to_owned()),
            status: status.to_owned(),
            configuration: Some("{\"a\": 1, \"b\": 2}".to_owned()),
            roles: BTreeMap::from([("aws-node".to_owned(), "arn:role".to_owned())]),
            arn: "arn".to_owned(),
            tags: Tags::new(),
        }
    }

    fn addon(status: &str, issue: Option<AddonIssueCode>) -> Description {
        let issue = issue.map(|code| AddonIssue::builder().code(code).message("words").build());
        let health = AddonHealth::builder()
            .set_issues(issue.map(|issue| vec![issue]))
            .build();
        Description::builder()
            .status(AddonStatus::from(status))
            .health(health)
            .build()
    }

    #[test]
    fn what_runs_on_every_node_goes_with_the_cluster_and_what_may_hold_a_node_goes_before() {
        for (needs_nodes, refers, with) in [
            (
                false,
                json!(["aws.eks_cluster/main"]),
                Some("aws.eks_cluster/main"),
            ),
            (true, json!(["aws.eks_cluster/main"]), None),
            // A stack that is found by its tags alone does not know what referred to what.
            (false, json!([]), None),
        ] {
            let inputs = json!({"cluster": "demo", "name": "a", "needsNodes": needs_nodes});
            let remembered = json!({"kind": Addon::KIND, "identity": {}, "inputs": inputs, "refers": refers});
            let target = target("aws.eks_addon/a", None, Some(remembered));
            let goes = Addon::goes_with(&target);
            assert_eq!(goes.as_ref().map(Address::as_str), with);
        }
    }

    #[test]
    fn an_add_on_is_asked_for_with_its_roles_and_overwrites_what_is_there() {
        let mark = Mark::of(&target("aws.eks_addon/vpc-cni", None, None)).unwrap();
        let wanted = json!({"version": "v1", "configuration": "{}", "roles": {"aws-node": "arn:role"}});
        let request = request(&inputs(wanted), &mark).unwrap().build().unwrap();
        assert_eq!(request.cluster_name(), Some("demo"));
        assert_eq!(request.addon_name(), Some("vpc-cni"));
        assert_eq!(request.addon_version(), Some("v1"));
        assert_eq!(request.configuration_values(), Some("{}"));
        assert_eq!(request.resolve_conflicts(), Some(&ResolveConflicts::Overwrite));
        let [role] = request.pod_identity_associations() else {
            panic!("not one role")
        };
        assert_eq!(
            (role.service_account(), role.role_arn()),
            ("aws-node", "arn:role")
        );
        assert_eq!(
            request.tags().unwrap()["stackup:address"],
            "aws.eks_addon/vpc-cni"
        );
    }

    #[test]
    fn without_a_version_eks_chooses_and_what_it_chose_is_no_difference() {
        let mark = Mark::of(&target("aws.eks_addon/vpc-cni", None, None)).unwrap();
        let wanted = inputs(json!({"configuration": "{\"b\":2,\"a\":1}", "roles": {"aws-node": "arn:role"}}));
        let request = request(&wanted, &mark).unwrap().build().unwrap();
        assert_eq!(request.addon_version(), None);
        assert_eq!(Addon::diff(&wanted, &outputs("ACTIVE")), Change::default());
        assert_eq!(Addon::diff(&wanted, &outputs("DEGRADED")), Change::default());
    }

    #[test]
    fn an_update_sends_all_that_is_wanted_and_takes_the_rest_away() {
        let call = change(&inputs(json!({}))).unwrap().build().unwrap();
        assert_eq!(call.configuration_values(), Some("{}"));
        assert_eq!(call.pod_identity_associations, Some(vec![]));
        assert_eq!(call.addon_version(), None);
        let differing = Addon::diff(&inputs(json!({"version": "v2"})), &outputs("ACTIVE"));
        let paths: Vec<_> = differing.fields.into_iter().map(|field| field.path).collect();
        assert_eq!(paths, ["version", "configuration", "roles"]);
        assert_eq!(differing.forces, Vec::<String>::new());
    }

    #[test]
    fn one_that_could_not_be_made_is_made_anew_and_one_that_could_not_be_updated_is_updated() {
        let wanted = json!({"configuration": "{\"a\":1,\"b\":2}", "roles": {"aws-node": "arn:role"}});
        for (status, fields, forces) in [
            ("CREATE_FAILED", 1, 1),
            ("DELETE_FAILED", 1, 1),
            ("DELETING", 1, 1),
            ("UPDATE_FAILED", 1, 0),
            ("UPDATING", 0, 0),
        ] {
            let change = Addon::diff(&inputs(wanted.clone()), &outputs(status));
            assert_eq!(
                (change.fields.len(), change.forces.len()),
                (fields, forces),
                "{status}"
            );
        }
    }

    #[test]
    fn each_status_says_what_is_awaited_and_nodes_are_left_to_kubernetes() {
        use AddonIssueCode::{ConfigurationConflict, InsufficientNumberOfReplicas as Few};
        let not_yet = |text: &str| Readiness::NotYet(text.to_owned());
        let failed = |text: &str| Readiness::Failed(text.to_owned());
        for (status, issue, needs_nodes, readiness) in [
            ("ACTIVE", None, false, Readiness::Ready),
            ("CREATING", None, false, not_yet("EKS is installing it")),
            ("CREATING", None, true, Readiness::Ready),
            ("UPDATING", None, true, not_yet("EKS is updating it")),
            ("DELETING", None, true, not_yet("it is being deleted")),
            ("DEGRADED", Some(Few), true, Readiness::Ready),
            (
                "DEGRADED",
                Some(AddonIssueCode::AccessDenied),
                false,
                not_yet("it is degraded: AccessDenied: words"),
            ),
            (
                "DEGRADED",
                Some(ConfigurationConflict),
                true,
                failed("it is degraded: ConfigurationConflict: words"),
            ),
            ("CREATE_FAILED", None, true, failed("EKS could not install it")),
            ("UPDATE_FAILED", None, true, failed("EKS could not update it")),
            (
                "DELETE_FAILED",
                None,
                true,
                Readiness::Stuck("EKS could not delete it".into()),
            ),
            ("NEW_ONE", None, true, not_yet("it is NEW_ONE")),
        ] {
            assert_eq!(
                super::readiness(&addon(status, issue), needs_nodes),
                readiness,
                "{status}"
            );
        }
    }
}
