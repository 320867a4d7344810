//! The log group of a cluster's control plane. A cluster that is being deleted may make it once more.

use super::{
    super::{
        Clients,
        error::{deleted, is_gone, read},
        tags::{Tags, UID},
    },
    Family, Fate, Piece, Scope,
};
use crate::resource::ResourceError;

/// The log group of this cluster, if it carries our mark; without it, it is named.
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
    Ok(vec![judge(scope, name, &tags)])
}

fn judge(scope: &Scope, name: String, tags: &Tags) -> Piece {
    let fate = if tags.get(UID) == Some(&scope.uid) {
        Fate::Remove
    } else {
        Fate::Foreign("it does not carry the mark of this stack; the cluster may have made it anew while it was deleted".to_owned())
    };
    Piece {
        family: Family::LogGroup,
        about: name.clone(),
        id: name,
        fate,
    }
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
    fn a_log_group_goes_only_with_our_mark() {
        let fate =
            |pairs: &[(&str, &str)]| judge(&scope(), "/aws/eks/demo/cluster".into(), &tags(pairs)).fate;
        assert_eq!(fate(&[("stackup:uid", "u")]), Fate::Remove);
        assert!(matches!(fate(&[]), Fate::Foreign(_)));
        assert!(matches!(
            fate(&[("kubernetes.io/cluster/demo", "owned")]),
            Fate::Foreign(_)
        ));
    }
}
