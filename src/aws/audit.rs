//! What is left of a stack after it was destroyed, by tags and by place: nothing, or else each thing by name.

use std::collections::BTreeMap;

use super::{
    Clients, Price,
    error::read,
    marked::{Thing, Whose, marked},
    price, sweep,
    tags::ADDRESS,
};
use crate::resource::ResourceError;

/// Which stack is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    /// The stack's uid.
    pub uid: String,
    /// The name of its cluster, if it had one.
    pub cluster: Option<String>,
    /// The id of the VPC that the cluster was in.
    pub vpc: Option<String>,
    /// Whether the cluster wrote logs.
    pub logs: bool,
    /// Since when there was a cluster, in seconds of Unix time; without it, what is older is not told apart.
    pub since: Option<i64>,
}

/// One thing that is left.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// Service and type, as AWS calls them: `ec2:volume`.
    pub kind: String,
    /// Its id, name or ARN.
    pub id: String,
    /// The region.
    pub region: String,
    /// Why it counts, and what keeps it if that is known.
    pub why: String,
    /// What it costs an hour; `None` is unknown, never free.
    pub price: Option<Price>,
}

/// Everything that is left of a stack in this account and region; read-only. Empty is the proof that nothing is.
pub async fn audit(clients: &Clients, of: &Audited) -> Result<Vec<Left>, ResourceError> {
    let whose = Whose::One {
        uid: &of.uid,
        cluster: of.cluster.as_deref(),
    };
    let swept = async {
        let Some(cluster) = &of.cluster else {
            return Ok(Vec::new());
        };
        let scope = sweep::Scope::of(clients, &of.uid, cluster, of.vpc.as_deref(), of.logs, of.since).await?;
        Ok(sweep::look(clients, &scope).await?.pieces)
    };
    let (region, things, pieces, groups) = futures::try_join!(
        clients.region(),
        Box::pin(marked(clients, whose)),
        Box::pin(swept),
        Box::pin(scaling_groups(clients, of.cluster.as_deref()))
    )?;
    Ok(left(&region, &things, &pieces, groups))
}

/// Auto Scaling groups of the cluster's node groups, which would make instances again.
async fn scaling_groups(clients: &Clients, cluster: Option<&str>) -> Result<Vec<String>, ResourceError> {
    let Some(cluster) = cluster else {
        return Ok(Vec::new());
    };
    let call = clients.autoscaling().await?.describe_auto_scaling_groups();
    let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
    let listed = read("autoscaling:DescribeAutoScalingGroups", listed)?;
    let of = |tag: &aws_sdk_autoscaling::types::TagDescription| {
        tag.key() == Some("eks:cluster-name") && tag.value() == Some(cluster)
    };
    let ours = listed.into_iter().filter(|group| group.tags().iter().any(of));
    Ok(ours.filter_map(|group| group.auto_scaling_group_name).collect())
}

/// One list of all that was found, each thing once.
fn left(region: &str, things: &[Thing], pieces: &[sweep::Piece], groups: Vec<String>) -> Vec<Left> {
    let mut by_id = BTreeMap::new();
    let mut add = |kind: &str, id: &str, why: String| {
        let left = Left {
            kind: kind.to_owned(),
            id: id.to_owned(),
            region: region.to_owned(),
            why,
            price: price(kind),
        };
        by_id.insert((kind.to_owned(), id.to_owned()), left);
    };
    for thing in things {
        let why = match thing.tags.get(ADDRESS) {
            Some(address) => format!("it carries the mark of {address}"),
            None => "it carries the mark of this stack".to_owned(),
        };
        add(&thing.kind, &thing.id, why);
    }
    for piece in pieces {
        add(piece.family.name(), &piece.id, why(piece));
    }
    for group in groups {
        add(
            "autoscaling:group",
            &group,
            "EKS made it for a node group of the cluster".to_owned(),
        );
    }
    by_id.into_values().collect()
}

fn why(piece: &sweep::Piece) -> String {
    let about = Some(&piece.about).filter(|about| !about.is_empty() && **about != piece.id);
    let about = about.map_or_else(String::new, |about| format!(" ({about})"));
    match &piece.fate {
        sweep::Fate::Remove => format!("the cluster left it{about}"),
        sweep::Fate::Waits(why) => format!("the cluster left it{about}: {why}"),
        sweep::Fate::Foreign(why) => format!("it is in the way{about}: {why}"),
        sweep::Fate::Kept(why) => format!("it was told to stay{about}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{super::tags::UID, *};

    #[test]
    fn each_thing_is_told_once_with_its_reason_and_its_price_if_one_is_known() {
        let thing = |kind: &str, id: &str| Thing {
            kind: kind.into(),
            id: id.into(),
            tags: [(UID.to_owned(), "u".to_owned())].into(),
            outputs: Value::Null,
        };
        let piece = sweep::Piece {
            family: sweep::Family::Volume,
            id: "vol-1".into(),
            about: "8 GiB".into(),
            fate: sweep::Fate::Waits("instance i-1 still has it".into()),
        };
        let things = [thing("ec2:volume", "vol-1"), thing("eks:cluster", "demo")];
        let left = left("eu-central-1", &things, &[piece], vec!["eks-1".into()]);
        let told: Vec<_> = left
            .iter()
            .map(|one| (one.kind.as_str(), one.why.as_str(), one.price.is_some()))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "autoscaling:group",
                    "EKS made it for a node group of the cluster",
                    false
                ),
                (
                    "ec2:volume",
                    "the cluster left it (8 GiB): instance i-1 still has it",
                    false
                ),
                ("eks:cluster", "it carries the mark of this stack", true),
            ]
        );
    }
}
