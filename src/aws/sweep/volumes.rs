//! Volumes of persistent volume claims that nobody deleted while the driver that made them was there.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{Filter, Volume, VolumeState};

use super::{
    super::{
        Clients,
        error::{deleted, read},
        tags::{self, KEPT, Tags, UID},
    },
    Family, Fate, Piece, Scope,
};
use crate::resource::ResourceError;

/// How many values a filter takes.
const ASKED: usize = 200;

/// All volumes that carry the cluster's tag or the stack's; they are in no VPC.
pub(super) async fn list(clients: &Clients, scope: &Scope) -> Result<Vec<Piece>, ResourceError> {
    let (cluster, stack) = (format!("tag:{}", scope.cluster_tag()), format!("tag:{UID}"));
    let (cluster, stack) = futures::try_join!(
        found(clients, vec![tags::filter(&cluster, vec!["owned".to_owned()])]),
        found(clients, vec![tags::filter(&stack, vec![scope.uid.clone()])])
    )?;
    let all = cluster.into_iter().chain(stack);
    let all: BTreeMap<_, _> = all.map(|volume| (volume.volume_id.clone(), volume)).collect();
    Ok(all.values().filter_map(|volume| judge(scope, volume)).collect())
}

async fn found(clients: &Clients, filters: Vec<Filter>) -> Result<Vec<Volume>, ResourceError> {
    let call = clients.ec2().await?.describe_volumes().set_filters(Some(filters));
    let listed: Result<_, _> = call.into_paginator().items().send().collect().await;
    read("ec2:DescribeVolumes", listed)
}

fn judge(scope: &Scope, volume: &Volume) -> Option<Piece> {
    let tags = tags::read(volume.tags.clone());
    let user = volume.attachments().iter().find_map(|one| one.instance_id());
    let fate = match (volume.state(), user) {
        (Some(VolumeState::Deleted), _) => return None,
        // The destroy of the stack that was told so has named it.
        _ if tags.get(KEPT).is_some_and(|uid| *uid != scope.uid) => return None,
        _ if tags.contains_key(KEPT) => Fate::Kept(format!(
            "its PersistentVolume had the reclaimPolicy Retain; delete it when its data is not needed, or take away \
             its tag {}",
            scope.cluster_tag()
        )),
        _ if is_older(scope, volume) => Fate::Foreign(format!(
            "it is older than the cluster, so it is of an earlier one that was named {} as well",
            scope.cluster
        )),
        _ if !scope.is_ours(&tags, false) => Fate::Foreign(format!(
            "another cluster is named {} as well, and it may be of that one",
            scope.cluster
        )),
        (_, Some(instance)) => Fate::Waits(format!("instance {instance} still has it")),
        (Some(VolumeState::Available | VolumeState::Error), None) => Fate::Remove,
        (state, None) => {
            let state = state.map_or("in a state that is not told", |state| state.as_str());
            Fate::Waits(format!("it is {state}"))
        }
    };
    let claim = |part: &str| tags.get(&format!("kubernetes.io/created-for/pvc/{part}"));
    let of = claim("namespace")
        .zip(claim("name"))
        .map(|(space, name)| format!("of claim {space}/{name}"));
    let size = volume.size().map(|size| format!("{size} GiB"));
    let zone = volume.availability_zone().map(|zone| format!("in {zone}"));
    let about: Vec<String> = [size, zone, of].into_iter().flatten().collect();
    Some(Piece {
        family: Family::Volume,
        id: volume.volume_id()?.to_owned(),
        about: about.join(" "),
        fate,
    })
}

/// Whether it was there before the cluster.
fn is_older(scope: &Scope, volume: &Volume) -> bool {
    let made = volume.create_time().map(aws_smithy_types::DateTime::secs);
    made.zip(scope.since).is_some_and(|(made, since)| made < since)
}

/// Marks those of these volumes that a cluster's driver made as told to stay. An id may be that of another driver, or
/// have the form that Kubernetes once had for it: `aws://eu-central-1a/vol-1`.
pub async fn keep(clients: &Clients, uid: &str, cluster: &str, ids: &[String]) -> Result<(), ResourceError> {
    let ids = ids.iter().filter_map(|id| id.rsplit('/').next());
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let mark = Tags::from([(KEPT.to_owned(), uid.to_owned())]);
    for some in ids.chunks(ASKED) {
        let owned = tags::filter(
            &format!("tag:kubernetes.io/cluster/{cluster}"),
            vec!["owned".to_owned()],
        );
        let made = found(clients, vec![tags::filter("volume-id", some.to_vec()), owned]).await?;
        for volume in made {
            let live = tags::read(volume.tags);
            tags::align(clients, &volume.volume_id.unwrap_or_default(), &mark, &live).await?;
        }
    }
    Ok(())
}

/// Deletes one volume.
pub(super) async fn remove(clients: &Clients, id: &str) -> Result<(), ResourceError> {
    deleted(
        "ec2:DeleteVolume",
        "InvalidVolume.NotFound",
        clients.ec2().await?.delete_volume().volume_id(id).send().await,
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{Tag, VolumeAttachment};

    use super::{
        super::scope::{ClusterNow, tests::scope},
        *,
    };

    fn volume(state: VolumeState) -> aws_sdk_ec2::types::builders::VolumeBuilder {
        let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
        Volume::builder()
            .volume_id("vol-1")
            .size(8)
            .state(state)
            .tags(tag("kubernetes.io/cluster/demo", "owned"))
            .tags(tag("kubernetes.io/created-for/pvc/namespace", "shop"))
            .tags(tag("kubernetes.io/created-for/pvc/name", "data-0"))
    }

    #[test]
    fn a_free_volume_goes_one_in_use_is_waited_for_and_its_claim_is_named() {
        let free = judge(&scope(), &volume(VolumeState::Available).build()).unwrap();
        assert_eq!(free.fate, Fate::Remove);
        assert_eq!(free.about, "8 GiB of claim shop/data-0");
        let attachment = VolumeAttachment::builder().instance_id("i-1").build();
        let used = volume(VolumeState::InUse).attachments(attachment).build();
        assert_eq!(
            judge(&scope(), &used).unwrap().fate,
            Fate::Waits("instance i-1 still has it".into())
        );
        let going = judge(&scope(), &volume(VolumeState::Deleting).build()).unwrap();
        assert_eq!(going.fate, Fate::Waits("it is deleting".into()));
        assert_eq!(judge(&scope(), &volume(VolumeState::Deleted).build()), None);
    }

    #[test]
    fn what_was_told_to_stay_or_is_older_than_the_cluster_is_not_touched() {
        let kept = |uid: &str| {
            let mark = Tag::builder().key("stackup:kept").value(uid).build();
            judge(&scope(), &volume(VolumeState::Available).tags(mark).build())
        };
        let ours = kept("u").unwrap();
        assert!(
            matches!(&ours.fate, Fate::Kept(why) if why.contains("Retain")),
            "{ours}"
        );
        assert!(!ours.is_ours(), "{ours}");
        assert_eq!(kept("earlier"), None);
        for (made, fate) in [(999, None), (1_000, Some(Fate::Remove))] {
            let made = aws_smithy_types::DateTime::from_secs(made);
            let piece = judge(
                &scope(),
                &volume(VolumeState::Available).create_time(made).build(),
            )
            .unwrap();
            match fate {
                Some(fate) => assert_eq!(piece.fate, fate),
                None => assert!(piece.to_string().contains("older than the cluster"), "{piece}"),
            }
        }
    }

    #[test]
    fn a_volume_that_may_be_of_another_cluster_of_the_same_name_stays() {
        let scope = Scope {
            cluster_now: ClusterNow::Another,
            ..scope()
        };
        let piece = judge(&scope, &volume(VolumeState::Available).build()).unwrap();
        assert!(!piece.is_ours(), "{piece}");
    }
}
