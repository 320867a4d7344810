use std::collections::BTreeSet;

use aws_sdk_eks::types::{AddonInfo, AddonPodIdentityConfiguration, AddonVersionInfo};

use super::super::{Clients, error::read};
use crate::resource::ResourceError;

/// The managed policies that EKS recommends for the pods of an add-on, as ARNs; for its default version.
///
/// `kubernetes` is the version of the cluster, `1.34`; without it, the first version of the add-on that is a default.
pub(super) async fn recommended(
    clients: &Clients,
    addon: &str,
    kubernetes: Option<&str>,
) -> Result<BTreeSet<String>, ResourceError> {
    let eks = clients.eks().await?;
    let call = eks.describe_addon_versions().addon_name(addon);
    let call = call.set_kubernetes_version(kubernetes.map(str::to_owned));
    let found = call
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await;
    let addons = read("eks:DescribeAddonVersions", found)?;
    let mut versions = addons.iter().flat_map(AddonInfo::addon_versions);
    let default = |version: &&AddonVersionInfo| {
        version.compatibilities().iter().any(|compatibility| {
            let of = compatibility.cluster_version();
            compatibility.default_version() && kubernetes.is_none_or(|wanted| of == Some(wanted))
        })
    };
    let Some(version) = versions.find(default) else {
        let of = kubernetes
            .map(|version| format!(" for Kubernetes {version}"))
            .unwrap_or_default();
        let message = format!("EKS has no default version of the add-on {addon}{of}");
        return Err(ResourceError::permanent(message)
            .hint("see 'aws eks describe-addon-versions' for the add-ons of this region"));
    };
    let call = eks.describe_addon_configuration().addon_name(addon);
    let sent = call
        .set_addon_version(version.addon_version().map(str::to_owned))
        .send()
        .await;
    let found = read("eks:DescribeAddonConfiguration", sent)?;
    let accounts = found.pod_identity_configuration().iter();
    let policies = accounts.flat_map(AddonPodIdentityConfiguration::recommended_managed_policies);
    Ok(policies.cloned().collect())
}
