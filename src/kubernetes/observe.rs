use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, join_all},
};
use serde_json::Value;

use super::{
    client::{Cluster, Clusters, encoded, text},
    compare::{Comparison, compare},
    item::{Item, Owner, STACK},
    pods,
};
use crate::{
    model::Address,
    resource::{Live, Observed, ResourceError, Target},
};

/// How often an object is read again when it is written to while we compare.
const READS: u32 = 5;

/// What a look at several targets found, each by its place among them.
type Answers = Vec<(usize, Result<Observed, ResourceError>)>;

/// The namespaces among the targets, as far as they were looked at.
struct Namespaces {
    answers: Answers,
    /// Those that are not there, by cluster and name: nothing can be in them.
    missing: BTreeSet<(Address, String)>,
}

type Looked<'a> = Shared<BoxFuture<'a, Arc<Namespaces>>>;

/// Looks at all targets: one LIST for each cluster, type and namespace, and a GET for what is not in it, unless its
/// namespace is not there either.
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
    let (namespaces, others): (Vec<_>, Vec<_>) = groups
        .into_iter()
        .partition(|((_, api_version, kind, _), _)| api_version == "v1" && kind == "Namespace");
    let looked: Looked<'_> = look_at_namespaces(clusters, namespaces.into_iter().map(|(_, group)| group))
        .boxed()
        .shared();
    let others = join_all(
        others
            .into_iter()
            .map(|(_, group)| look_at(clusters, group, Some(looked.clone()))),
    );
    let (namespaces, others) = futures::join!(looked, others);
    answers.extend(namespaces.answers.iter().cloned());
    answers.extend(others.into_iter().flatten());
    answers.into_values().collect()
}

async fn look_at_namespaces(
    clusters: &Clusters,
    groups: impl Iterator<Item = Vec<(usize, Item<'_>)>>,
) -> Arc<Namespaces> {
    let looks = groups.map(|group| async {
        let names: Vec<_> = group
            .iter()
            .map(|(_, item)| (item.identity.cluster.clone(), item.identity.name.clone()))
            .collect();
        (names, look_at(clusters, group, None).await)
    });
    let mut namespaces = Namespaces {
        answers: Vec::new(),
        missing: BTreeSet::new(),
    };
    for (names, answers) in join_all(looks).await {
        let named = names.into_iter().zip(&answers);
        let missing = named.filter(|(_, (_, answer))| matches!(answer, Ok(Observed::Absent)));
        namespaces.missing.extend(missing.map(|(name, _)| name));
        namespaces.answers.extend(answers);
    }
    Arc::new(namespaces)
}

/// Looks at objects of one type in one namespace.
async fn look_at(
    clusters: &Clusters,
    group: Vec<(usize, Item<'_>)>,
    namespaces: Option<Looked<'_>>,
) -> Answers {
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
        let (cluster, namespaces) = (Arc::clone(&cluster), namespaces.clone());
        async move { (at, look(clusters, &cluster, &item, found, namespaces).await) }
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
    namespaces: Option<Looked<'_>>,
) -> Result<Observed, ResourceError> {
    let found = match listed {
        Some(found) => Some(found),
        None if is_nowhere(item, namespaces).await => None,
        None => cluster.find(&item.path(cluster).await?).await?,
    };
    match found {
        None => Ok(Observed::Absent),
        Some(live) => judge(clusters, cluster, item, live).await,
    }
}

/// Whether the namespace that it would be in is not there.
async fn is_nowhere(item: &Item<'_>, namespaces: Option<Looked<'_>>) -> bool {
    let (Some(namespaces), Some(home)) = (namespaces, &item.identity.namespace) else {
        return false;
    };
    let home = (item.identity.cluster.clone(), home.clone());
    namespaces.await.missing.contains(&home)
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
