//! The log group of a cluster's control plane. A cluster that is being deleted may make it once more.

use super::{
    super::{
        Clients,
        error::{deleted, is_gone, read},
        tags::{Tags, UID},
    },
    Family, Fate, Piece, Scope,
    scope::ClusterNow,
};
use crate::resource::ResourceError;

/// The log group of this cluster, if it is ours or what the cluster made in its place; that of another stack is named.
pub(super) async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Piece>, ResourceError> {
    let name = format!("/aws/eks/{}/cluster", scope.cluster);
    let logs = clients.logs().await?;
    let call = logs.describe_log_groups().log_group_name_prefix(&name);
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("logs:DescribeLogGroups", listed)?;
    let group = listed
        .into_iter()
        .find(|group| group.log_group_name() == Some(&name));
    let Some(arn) = group.and_then(|group| group.arn) else {
        return Ok(Vec::new());
    };
    let arn = arn.strip_suffix(":*").unwrap_or(&arn);
    let told = match logs.list_tags_for_resource().resource_arn(arn).send().await {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        sent => read("logs:ListTagsForResource", sent)?,
    };
    let tags: Tags = told.tags.into_iter().flatten().collect();
    Ok(judge(scope, name, &tags).into_iter().collect())
}

fn judge(scope: &Scope, name: String, tags: &Tags) -> Option<Piece> {
    // One of an earlier cluster of this name would have been refused as not ours, had this one written logs.
    let ours_to_know = scope.logs && scope.cluster_now != ClusterNow::Another;
    let fate = match tags.get(UID) {
        Some(uid) if *uid == scope.uid => Fate::Remove,
        None if ours_to_know && tags.is_empty() => Fate::Remove,
        Some(_) | None if ours_to_know => {
            Fate::Foreign("it does not carry the mark of this stack".to_owned())
        }
        Some(_) | None => return None,
    };
    Some(Piece {
        family: Family::LogGroup,
        about: name.clone(),
        id: name,
        fate,
    })
}

/// Deletes one log group with what is in it.
pub(super) async fn remove(clients: &Clients, name: &str) -> Result<(), ResourceError> {
    let call = clients.logs().await?.delete_log_group();
    let sent = call.log_group_name(name).send().await;
    deleted("logs:DeleteLogGroup", "ResourceNotFoundException", sent)
}

#[cfg(test)]
mod tests {
    use super::{
        super::scope::tests::{scope, tags},
        *,
    };

    #[test]
    fn a_log_group_goes_with_our_mark_or_where_our_cluster_made_it_anew() {
        let fate = |scope: &Scope, pairs: &[(&str, &str)]| {
            judge(scope, "/aws/eks/demo/cluster".into(), &tags(pairs)).map(|piece| piece.fate)
        };
        let mark = [("stackup:uid", "u")];
        let silent = Scope {
            logs: false,
            ..scope()
        };
        let elsewhere = Scope {
            cluster_now: ClusterNow::Another,
            ..scope()
        };
        for scope in [&scope(), &silent, &elsewhere] {
            assert_eq!(fate(scope, &mark), Some(Fate::Remove));
        }
        assert_eq!(
            fate(&scope(), &[]),
            Some(Fate::Remove),
            "made anew by the cluster"
        );
        assert!(matches!(
            fate(&scope(), &[("team", "audit")]),
            Some(Fate::Foreign(_))
        ));
        assert_eq!(fate(&silent, &[]), None, "of an earlier cluster");
        assert_eq!(fate(&elsewhere, &[]), None, "of the one that stands");
    }
}
