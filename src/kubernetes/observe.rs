use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use serde_json::Value;

use super::{
    client::{Cluster, Clusters, encoded, text},
    compare::{Comparison, compare},
    item::{Item, Owner, STACK},
    pods,
};
use crate::resource::{Live, Observed, ResourceError, Target};

/// How often an object is read again when it is written to while we compare.
const READS: u32 = 5;

/// Looks at all targets: one LIST for each cluster, type and namespace, and a GET for what is not in it.
pub(super) async fn observe(clusters: &Clusters, targets: &[Target]) -> Vec<Result<Observed, ResourceError>> {
    let mut answers: BTreeMap<usize, Result<Observed, ResourceError>> = BTreeMap::new();
    let mut groups: BTreeMap<_, Vec<(usize, Item<'_>)>> = BTreeMap::new();
    for (at, target) in targets.iter().enumerate() {
        match Item::read(target) {
            Ok(item) => {
                let identity = item.identity.clone();
                let key = (
                    identity.cluster,
                    identity.api_version,
                    identity.kind,
                    identity.namespace,
                );
                groups.entry(key).or_default().push((at, item));
            }
            Err(error) => drop(answers.insert(at, Err(error))),
        }
    }
    for group in join_all(groups.into_values().map(|group| look_at(clusters, group))).await {
        answers.extend(group);
    }
    answers.into_values().collect()
}

/// Looks at objects of one type in one namespace.
async fn look_at(
    clusters: &Clusters,
    group: Vec<(usize, Item<'_>)>,
) -> Vec<(usize, Result<Observed, ResourceError>)> {
    let Some((_, first)) = group.first() else {
        return Vec::new();
    };
    let listed = list(clusters, first).await;
    let (cluster, mut found) = match listed {
        Ok(Some(listed)) => listed,
        Ok(None) => {
            return group
                .into_iter()
                .map(|(at, _)| (at, Ok(Observed::Absent)))
                .collect();
        }
        Err(error) => {
            return group
                .into_iter()
                .map(|(at, _)| (at, Err(error.clone())))
                .collect();
        }
    };
    let looks = group.into_iter().map(|(at, item)| {
        let found = found.remove(&item.identity.name);
        let cluster = Arc::clone(&cluster);
        async move { (at, look(clusters, &cluster, &item, found).await) }
    });
    join_all(looks).await
}

/// What carries our label, by name. `None` if the cluster does not serve the type.
async fn list(
    clusters: &Clusters,
    item: &Item<'_>,
) -> Result<Option<(Arc<Cluster>, BTreeMap<String, Value>)>, ResourceError> {
    let cluster = item.connect(clusters).await?;
    let identity = &item.identity;
    let found = cluster
        .discovery
        .find(&cluster, &identity.api_version, &identity.kind)
        .await?;
    let Some(of) = found else {
        return Ok(None);
    };
    let selector = encoded(&format!("{STACK}={}", item.target.stack.name));
    let query = format!("?labelSelector={selector}");
    match cluster.list(&of.collection(Some(item.namespace())), &query).await {
        Ok(items) => {
            let named = items
                .into_iter()
                .map(|item| (text(&item, "/metadata/name").to_owned(), item));
            Ok(Some((cluster, named.collect())))
        }
        // The type was served when we asked, and is no longer.
        Err(error) if error.is_not_found() => {
            cluster.discovery.forget(&of);
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn look(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    listed: Option<Value>,
) -> Result<Observed, ResourceError> {
    let found = match listed {
        Some(found) => Some(found),
        None => cluster.find(&item.path(cluster).await?).await?,
    };
    match found {
        None => Ok(Observed::Absent),
        Some(live) => judge(clusters, cluster, item, live).await,
    }
}

/// What a live object is to its target.
async fn judge(
    clusters: &Clusters,
    cluster: &Cluster,
    item: &Item<'_>,
    mut live: Value,
) -> Result<Observed, ResourceError> {
    let mut reads = 0;
    loop {
        let wanted = item.inputs.is_some() && item.foreign(&live).is_none() && !is_terminating(&live);
        let hash = if wanted {
            item.settled(clusters, &live)
        } else {
            None
        };
        let found = if wanted && !is_settled(item, &live, hash.as_deref()) {
            compare(clusters, cluster, item, &live).await?
        } else {
            Comparison::default()
        };
        if found.moved && reads < READS {
            // A controller wrote in between: what it wrote is no difference between wanted and live.
            reads += 1;
            match cluster.find(&item.path(cluster).await?).await? {
                Some(now) => live = now,
                None => return Ok(Observed::Absent),
            }
            continue;
        }
        let settled =
            wanted && found.changes.is_empty() && found.forces.is_empty() && found.conflicts.is_empty();
        let due = wanted && item.is_due(&live);
        let mut outputs = item.outputs(cluster, &live, hash.filter(|_| settled));
        if item.inputs.is_none() {
            // Nothing was compared, so what is known stays.
            outputs.settled = item.remembered().settled;
        }
        return Ok(Observed::Live(Box::new(Live {
            id: Some(text(&live, "/metadata/uid").to_owned()),
            outputs: outputs.json(),
            readiness: pods::readiness(cluster, &live).await?,
            changes: found.changes,
            forces: found.forces,
            moves: if due { &["ca"] } else { &[] },
            conflicts: found.conflicts,
            foreign: item.foreign(&live),
            terminating: is_terminating(&live),
        })));
    }
}

pub(super) fn is_terminating(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp").is_some()
}

/// Whether nothing has changed since the last run, on either side. `hash` is that of [`Item::settled`].
pub(super) fn is_settled(item: &Item<'_>, live: &Value, hash: Option<&str>) -> bool {
    let Some(remembered) = item.target.remembered.as_deref() else {
        return false;
    };
    let outputs = item.remembered();
    remembered.input_hash == item.target.input_hash
        && outputs.uid == text(live, "/metadata/uid")
        && outputs.settled.is_some()
        && outputs.settled.as_deref() == hash
        && item.owner(live) == Owner::Us
        && !item.is_due(live)
}
