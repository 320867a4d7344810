use aws_sdk_ec2::types::SecurityGroup;
use futures::future::join_all;

use super::{
    super::Clients, Family, Fate, Piece, Scope, groups, interfaces, load_balancers, logs, templates, volumes,
};
use crate::resource::{Cause, ResourceError};

/// What one look found.
#[derive(Debug, Clone, Default)]
pub(in crate::aws) struct Found {
    pub(in crate::aws) pieces: Vec<Piece>,
    /// The security groups of the VPC, whose rules may have to be revoked.
    groups: Vec<SecurityGroup>,
}

/// Everything that the cluster left, and what of others is in its way; all families at once.
pub(in crate::aws) async fn look(clients: &Clients, scope: &Scope) -> Result<Found, ResourceError> {
    let network = async {
        let Some(vpc) = &scope.vpc else {
            return Ok((Vec::new(), Vec::new()));
        };
        futures::try_join!(
            Box::pin(interfaces::list(clients, vpc)),
            Box::pin(groups::list(clients, vpc))
        )
    };
    let (balancers, (cards, groups), volumes, templates, logs) = futures::try_join!(
        Box::pin(load_balancers::list(clients, scope)),
        network,
        Box::pin(volumes::list(clients, scope)),
        Box::pin(templates::list(clients, scope)),
        Box::pin(logs::list(clients, scope))
    )?;
    let ours = groups::ours(scope, &groups);
    let judged = groups
        .iter()
        .filter_map(|group| groups::judge(scope, group, &groups, &cards, &ours));
    let judged: Vec<Piece> = judged.collect();
    let cards = cards
        .iter()
        .filter_map(|card| interfaces::judge(scope, &ours, card))
        .collect();
    Ok(Found {
        pieces: [balancers, cards, judged, volumes, templates, logs].concat(),
        groups,
    })
}

/// Removes, in one pass, what is ours and nothing keeps. What is still kept is for a later pass.
pub(super) async fn sweep(clients: &Clients, scope: &Scope, found: &Found) -> Result<(), ResourceError> {
    let ours = groups::ours(scope, &found.groups);
    let groups = found
        .groups
        .iter()
        .filter(|group| group.group_id().is_some_and(|id| ours.contains(id)));
    let loosened = join_all(groups.map(|group| groups::disentangle(clients, group, &ours))).await;
    let free = found.pieces.iter().filter(|piece| piece.fate == Fate::Remove);
    let removed = join_all(free.map(|piece| remove(clients, piece))).await;
    // One that may not be removed does not keep the others: what waits for those that went is for a later pass.
    if removed.iter().any(Result::is_ok) {
        return Ok(());
    }
    let failed = loosened.into_iter().chain(removed).filter_map(Result::err);
    // What a later pass can do is not worth an error.
    let mut failed = failed.filter(|error| error.cause != Cause::Transient);
    failed.next().map_or(Ok(()), Err)
}

async fn remove(clients: &Clients, piece: &Piece) -> Result<(), ResourceError> {
    match piece.family {
        Family::ClassicLoadBalancer => load_balancers::remove_classic(clients, &piece.id).await,
        Family::LoadBalancer => load_balancers::remove(clients, &piece.id).await,
        Family::TargetGroup => load_balancers::remove_targets(clients, &piece.id).await,
        Family::Interface => interfaces::remove(clients, &piece.id).await,
        Family::SecurityGroup => groups::remove(clients, &piece.id).await,
        Family::Volume => volumes::remove(clients, &piece.id).await,
        Family::LaunchTemplate => templates::remove(clients, &piece.id).await,
        Family::LogGroup => logs::remove(clients, &piece.id).await,
    }
}
