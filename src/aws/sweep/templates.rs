//! Launch templates that EKS made from ours for a node group, and takes away with it unless that was cut short.

use super::{
    super::{
        Clients,
        error::{deleted, read},
        tags,
    },
    Family, Fate, Piece, Scope,
};
use crate::resource::ResourceError;

/// All that EKS tagged with the cluster's name.
pub(super) async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Piece>, ResourceError> {
    let call = clients.ec2().await?.describe_launch_templates();
    let call = call.filters(tags::filter("tag:eks:cluster-name", vec![scope.cluster.clone()]));
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("ec2:DescribeLaunchTemplates", listed)?;
    // Another cluster of the same name has its own; which is whose cannot be told.
    let ours = listed
        .into_iter()
        .filter(|one| scope.is_ours(&tags::read(one.tags.clone()), false));
    let piece = |one: aws_sdk_ec2::types::LaunchTemplate| {
        Some(Piece {
            family: Family::LaunchTemplate,
            id: one.launch_template_id?,
            about: one.launch_template_name.unwrap_or_default(),
            fate: Fate::Remove,
        })
    };
    Ok(ours.filter_map(piece).collect())
}

/// Deletes one launch template with all its versions.
pub(super) async fn remove(clients: &Clients, id: &str) -> Result<(), ResourceError> {
    let call = clients.ec2().await?.delete_launch_template();
    deleted(
        "ec2:DeleteLaunchTemplate",
        "InvalidLaunchTemplateId.NotFound",
        call.launch_template_id(id).send().await,
    )
}
