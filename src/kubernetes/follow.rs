use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    client::{Cluster, Clusters, text},
    error::CallError,
    item::{Item, Outputs, STACK},
    observe::is_terminating,
    pods::{self, labels},
    readiness::number,
    watches::Watch,
};
use crate::resource::{Live, Observed, Readiness, ResourceError, Target};

/// The API server tells nobody when it begins to serve a new type.
const ASK_WHETHER_SERVED: Duration = Duration::from_millis(250);
/// A pod's trouble may become a failure by lasting; nothing is asked for that.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(5);

/// What stands of one object, each time that its readiness, or the words for it, change.
pub(super) fn observed(
    clusters: Arc<Clusters>,
    target: Target,
) -> BoxStream<'static, Result<Observed, ResourceError>> {
    let start = Follower {
        clusters,
        target,
        place: None,
        told: None,
        ended: false,
    };
    futures::stream::unfold(start, |mut follower| async move {
        if follower.ended {
            return None;
        }
        let next = follower.next().await;
        // The engine asks for another stream if it still wants to know.
        follower.ended = next.is_err();
        Some((next, follower))
    })
    .boxed()
}

struct Follower {
    clusters: Arc<Clusters>,
    target: Target,
    place: Option<Place>,
    told: Option<Told>,
    ended: bool,
}

/// What an apply of this run left.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub(super) outputs: Outputs,
    /// Counts the changes of an object, where its type has that.
    pub(super) generation: Option<i64>,
}

/// Where a follower looks.
struct Place {
    cluster: Arc<Cluster>,
    objects: Arc<Watch>,
    changes: watch::Receiver<()>,
    pods: Option<(Arc<Watch>, watch::Receiver<()>)>,
    /// The object as it was looked at last.
    seen: Option<Arc<Value>>,
}

/// What was told last.
#[derive(PartialEq)]
enum Told {
    Absent,
    Live {
        id: Option<String>,
        readiness: Readiness,
        foreign: Option<String>,
        terminating: bool,
    },
}

impl Follower {
    async fn next(&mut self) -> Result<Observed, ResourceError> {
        let target = self.target.clone();
        let item = Item::read(&target)?;
        loop {
            if let Some(place) = &mut self.place {
                if place.is_whole()? {
                    place.seen = place.objects.get(&item.identity.name);
                    let observed = look(&self.clusters, place, &item).await?;
                    let told = Told::of(&observed);
                    if self.told.as_ref() != Some(&told) {
                        self.told = Some(told);
                        return Ok(observed);
                    }
                }
                place.change(&item).await;
            } else {
                self.place = Place::find(&self.clusters, &item).await?;
                if self.place.is_none() {
                    // The type is not served, so there is nothing to watch.
                    self.ended = true;
                    return Ok(Observed::Absent);
                }
            }
        }
    }
}

impl Told {
    fn of(observed: &Observed) -> Self {
        observed.live().map_or(Self::Absent, |live| Self::Live {
            id: live.id.clone(),
            readiness: live.readiness.clone(),
            foreign: live.foreign.clone(),
            terminating: live.terminating,
        })
    }
}

impl Place {
    async fn find(clusters: &Clusters, item: &Item<'_>) -> Result<Option<Self>, ResourceError> {
        let cluster = item.connect(clusters).await?;
        let identity = &item.identity;
        let discovery = &cluster.discovery;
        let Some(of) = discovery
            .find(&cluster, &identity.api_version, &identity.kind)
            .await?
        else {
            return Ok(None);
        };
        let mine = format!("{STACK}={}", item.target.stack.name);
        let objects = cluster.watches.open(&cluster, &of, Some(item.namespace()), &mine);
        let has_pods = matches!(
            identity.kind.as_str(),
            "Deployment"
                | "StatefulSet"
                | "DaemonSet"
                | "ReplicaSet"
                | "Job"
                | "Prometheus"
                | "Alertmanager"
                | "ThanosRuler"
        );
        let pods = if has_pods {
            let pod = discovery.need(&cluster, "v1", "Pod").await?;
            let pods = cluster.watches.open(&cluster, &pod, Some(item.namespace()), "");
            let changes = pods.changes();
            Some((pods, changes))
        } else {
            None
        };
        let changes = objects.changes();
        Ok(Some(Self {
            cluster,
            objects,
            changes,
            pods,
            seen: None,
        }))
    }

    fn is_whole(&self) -> Result<bool, CallError> {
        let pods = self.pods.as_ref().map_or(Ok(true), |(pods, _)| pods.whole())?;
        Ok(self.objects.whole()? && pods)
    }

    /// Returns when there may be something new to see.
    async fn change(&mut self, item: &Item<'_>) {
        let name = &item.identity.name;
        let pause = match (item.identity.kind.as_str(), &self.pods) {
            ("CustomResourceDefinition", _) => Some(ASK_WHETHER_SERVED),
            ("Pod", _) | (_, Some(_)) => Some(LOOK_AT_THE_CLOCK),
            _ => None,
        };
        let clock = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        let pods = async {
            match &mut self.pods {
                Some((_, changes)) => drop(changes.changed().await),
                None => std::future::pending().await,
            }
        };
        let (objects, changes) = (&self.objects, &mut self.changes);
        let before = &self.seen;
        let itself = async {
            // A sender lives as long as its watch, which is held here.
            while changes.changed().await.is_ok() {
                let same = match (before, objects.get(name)) {
                    (Some(before), Some(now)) => Arc::ptr_eq(before, &now),
                    (None, _) | (_, None) => false,
                };
                // Most news are about others.
                if !same {
                    return;
                }
            }
        };
        tokio::select! {
            () = itself => {}
            () = pods => {}
            () = clock => {}
        }
    }
}

async fn look(clusters: &Clusters, place: &Place, item: &Item<'_>) -> Result<Observed, ResourceError> {
    let cluster = &place.cluster;
    let applied = applied(clusters, item);
    let live = match &place.seen {
        Some(live) if applied.as_ref().is_none_or(|applied| applied.is_shown_by(live)) => Arc::clone(live),
        // Not among what carries our label, or not yet as our apply left it: that is asked for by name.
        _ => match cluster.find(&item.path(cluster).await?).await? {
            Some(live) => Arc::new(live),
            None => return Ok(Observed::Absent),
        },
    };
    let pods = match (&place.pods, labels(&live)) {
        (Some((pods, _)), Some(labels)) => pods.with_labels(&labels),
        _ => Vec::new(),
    };
    let readiness = pods::with_pods(cluster, &live, pods).await?;
    let id = text(&live, "/metadata/uid").to_owned();
    Ok(Observed::Live(Box::new(Live {
        id: Some(id),
        readiness,
        foreign: item.foreign(&live),
        terminating: is_terminating(&live),
        ..Live::ready(outputs(cluster, item, &live, applied).json())
    })))
}

fn applied(clusters: &Clusters, item: &Item<'_>) -> Option<Applied> {
    let applied = clusters.applied.lock().unwrap_or_else(PoisonError::into_inner);
    applied.get(&item.target.address).cloned()
}

impl Applied {
    /// Whether `live` is what was applied, or later; a shared watch may be a moment behind.
    fn is_shown_by(&self, live: &Value) -> bool {
        self.outputs.uid == text(live, "/metadata/uid")
            && self.generation <= number(live, "/metadata/generation")
    }
}

/// What this run's apply returned, else what is remembered: a watch compares nothing.
fn outputs(cluster: &Cluster, item: &Item<'_>, live: &Value, applied: Option<Applied>) -> Outputs {
    let id = text(live, "/metadata/uid");
    if let Some(applied) = applied.filter(|applied| applied.outputs.uid == id) {
        return applied.outputs;
    }
    let remembered = item.remembered();
    let settled = remembered.settled.filter(|_| remembered.uid == id);
    item.outputs(cluster, live, settled)
}
