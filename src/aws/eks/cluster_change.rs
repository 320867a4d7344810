//! How a cluster is changed in place: step by step, as EKS takes one change at a time.

use std::collections::BTreeSet;

use aws_sdk_eks::{
    operation::update_cluster_config::builders::UpdateClusterConfigInputBuilder,
    types::{LogSetup, LogType, Logging, VpcConfigRequest, builders::VpcConfigRequestBuilder},
};
use serde_json::{Value, json};

use super::{
    super::Clients,
    call::written,
    cluster::{Inputs, Outputs},
};
use crate::resource::ResourceError;

/// A changed field: its path, the old value and the new one.
type Field = (&'static str, Value, Value);

/// One change as EKS takes it.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// A change of settings, with the fields that it changes.
    Configure(Box<UpdateClusterConfigInputBuilder>, Vec<Field>),
    /// Another version of Kubernetes: the present one, and the wanted one.
    Version(String, String),
}

/// What is to be done to a cluster, in order.
pub(super) fn plan(inputs: &Inputs, live: &Outputs) -> Vec<Step> {
    let call = UpdateClusterConfigInputBuilder::default;
    let mut steps = Vec::new();
    let mut fields: Vec<Field> = vec![
        (
            "publicAccess",
            json!(live.public_access),
            json!(inputs.public_access),
        ),
        ("privateAccess", json!(live.private_access), json!(true)),
    ];
    // Nobody asks from where an address may be used that is not there.
    if inputs.public_access && !inputs.public_cidrs.is_empty() {
        fields.push((
            "publicCidrs",
            json!(live.public_cidrs),
            json!(inputs.public_cidrs),
        ));
    }
    fields.retain(|(_, old, new)| old != new);
    if !fields.is_empty() {
        let call = call().resources_vpc_config(access(inputs).build());
        steps.push(Step::Configure(Box::new(call), fields));
    }
    if live.logs != inputs.logs {
        let call = call().logging(logging(&inputs.logs, &live.logs));
        let fields = vec![("logs", json!(live.logs), json!(inputs.logs))];
        steps.push(Step::Configure(Box::new(call), fields));
    }
    if live.deletion_protection != inputs.deletion_protection {
        let (old, new) = (live.deletion_protection, inputs.deletion_protection);
        let call = call().deletion_protection(new);
        let fields = vec![("deletionProtection", json!(old), json!(new))];
        steps.push(Step::Configure(Box::new(call), fields));
    }
    if let (Some(old), Some(new)) = (&live.kubernetes, &inputs.kubernetes)
        && old != new
    {
        steps.push(Step::Version(old.clone(), new.clone()));
    }
    steps
}

impl Step {
    pub(super) fn fields(&self) -> Vec<Field> {
        match self {
            Self::Configure(_, fields) => fields.clone(),
            Self::Version(old, new) => vec![("kubernetes", json!(old), json!(new))],
        }
    }

    /// Begins the change.
    pub(super) async fn send(&self, clients: &Clients, live: &Outputs) -> Result<(), ResourceError> {
        let eks = clients.eks().await?;
        let name = &live.name;
        let begun = match self {
            Self::Configure(call, _) => {
                let sent = call.as_ref().clone().name(name).send_with(eks).await;
                written("eks:UpdateClusterConfig", sent)?.update
            }
            Self::Version(old, new) => {
                follows(old, new)?;
                let sent = eks.update_cluster_version().name(name).version(new).send().await;
                written("eks:UpdateClusterVersion", sent)?.update
            }
        };
        clients.updates.begun(&live.arn, begun);
        Ok(())
    }
}

/// How the API server is reached; nodes always have the private way.
pub(super) fn access(inputs: &Inputs) -> VpcConfigRequestBuilder {
    let cidrs = (inputs.public_access && !inputs.public_cidrs.is_empty())
        .then(|| inputs.public_cidrs.iter().cloned().collect());
    VpcConfigRequest::builder()
        .endpoint_public_access(inputs.public_access)
        .endpoint_private_access(true)
        .set_public_access_cidrs(cidrs)
}

/// The wanted logs on, and off what is on though it is not wanted.
pub(super) fn logging(wanted: &BTreeSet<String>, live: &BTreeSet<String>) -> Logging {
    let unwanted: BTreeSet<String> = live.difference(wanted).cloned().collect();
    let setups = [(wanted, true), (&unwanted, false)]
        .into_iter()
        .filter(|(logs, _)| !logs.is_empty());
    let setups = setups.map(|(logs, enabled)| {
        let types = logs.iter().map(|log| LogType::from(log.as_str())).collect();
        LogSetup::builder()
            .set_types(Some(types))
            .enabled(enabled)
            .build()
    });
    Logging::builder()
        .set_cluster_logging(Some(setups.collect()))
        .build()
}

/// Whether EKS would go from one version to the other; the reason, if not.
fn follows(old: &str, new: &str) -> Result<(), ResourceError> {
    let numbers = |version: &str| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let why = match (numbers(old), numbers(new)) {
        (Some((from, old)), Some((to, new))) if from == to && old + 1 == new => return Ok(()),
        (Some(from), Some(to)) if from < to => "EKS raises a cluster by one minor version at a time",
        (Some(_), Some(_)) => "EKS does not lower the version of a cluster",
        (None, _) | (_, None) => "it is not of the form 1.34",
    };
    Err(
        ResourceError::permanent(format!("Kubernetes {old} cannot become {new}: {why}"))
            .hint("set cluster.kubernetes in the stack file to the next minor version, or leave it as it is"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_follows_the_one_before_it_only() {
        assert!(follows("1.33", "1.34").is_ok());
        for (old, new, why) in [
            ("1.33", "1.35", "one minor version at a time"),
            ("1.34", "1.33", "does not lower"),
            ("1.34", "newest", "not of the form"),
        ] {
            let error = follows(old, new).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
    }
}
