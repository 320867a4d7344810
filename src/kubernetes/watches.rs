use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    client::{Cluster, Clusters, chain, text},
    discovery::ApiType,
    error::CallError,
    item::{Item, Outputs, STACK},
    observe::is_terminating,
    pods::{self, labels, matches},
};
use crate::resource::{Live, Observed, Readiness, ResourceError, Target};

/// The API server tells nobody when it begins to serve a new type.
const ASK_WHETHER_SERVED: Duration = Duration::from_millis(250);
/// A pod's trouble may become a failure by lasting; nothing is asked for that.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(5);

/// The open watches of a cluster: one for a type and namespace, shared by all who look there, closed with the last.
#[derive(Default)]
pub(super) struct Watches {
    open: Mutex<HashMap<Key, Weak<Watch>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    api_version: String,
    kind: String,
    namespace: Option<String>,
    labels: String,
}

/// One open watch, and what it has shown so far.
pub(super) struct Watch {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Mutex<Seen>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Seen {
    objects: BTreeMap<String, Arc<Value>>,
    /// The first list has arrived whole.
    whole: bool,
    /// Why the last attempt to list or watch failed.
    failed: Option<String>,
}

impl Watches {
    /// The watch of a type in a namespace (or everywhere), of objects with these labels (or all).
    pub(super) fn open(
        &self,
        cluster: &Cluster,
        of: &ApiType,
        namespace: Option<&str>,
        labels: &str,
    ) -> Arc<Watch> {
        let key = Key {
            api_version: of.api_version.clone(),
            kind: of.kind.clone(),
            namespace: namespace.filter(|_| of.namespaced).map(str::to_owned),
            labels: labels.to_owned(),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = open.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        open.retain(|_, watch| watch.strong_count() > 0);
        let watch = Arc::new(Watch::start(cluster, of, &key));
        open.insert(key, Arc::downgrade(&watch));
        watch
    }
}

impl Watch {
    fn start(cluster: &Cluster, of: &ApiType, key: &Key) -> Self {
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let resource = of.resource();
        let api: Api<DynamicObject> = match &key.namespace {
            Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
            None => Api::all_with(cluster.client.clone(), &resource),
        };
        let mut config = watcher::Config::default();
        if !key.labels.is_empty() {
            config = config.labels(&key.labels);
        }
        let task = tokio::spawn(follow(api, config, of.clone(), Arc::clone(&shared)));
        Self { shared, task }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Whether the list is whole, or why it cannot be had.
    fn whole(&self) -> Result<bool, CallError> {
        let seen = self.seen();
        match &seen.failed {
            Some(why) if !seen.whole => Err(CallError::Broken(why.clone())),
            _ => Ok(seen.whole),
        }
    }

    fn get(&self, name: &str) -> Option<Arc<Value>> {
        self.seen().objects.get(name).cloned()
    }

    fn with_labels(&self, labels: &[(String, String)]) -> Vec<Arc<Value>> {
        let seen = self.seen();
        seen.objects
            .values()
            .filter(|object| matches(object, labels))
            .cloned()
            .collect()
    }

    /// Returns once nothing with these labels is left.
    pub(super) async fn none_left(&self, labels: &[(String, String)]) {
        let mut changes = self.changes();
        loop {
            let whole = self.seen().whole;
            // The sender lives as long as this watch does.
            if (whole && self.with_labels(labels).is_empty()) || changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps `shared` as the server has it, for ever: a broken watch is begun again, with a list if need be.
async fn follow(api: Api<DynamicObject>, config: watcher::Config, of: ApiType, shared: Arc<Shared>) {
    let mut events = pin!(watcher(api, config));
    let mut listed = BTreeMap::new();
    let mut failures = 0;
    while let Some(event) = events.next().await {
        let pause = {
            let mut seen = shared.seen();
            match event {
                Ok(event) => {
                    failures = 0;
                    seen.failed = None;
                    take_in(event, &of, &mut seen, &mut listed);
                    None
                }
                Err(error) => {
                    seen.failed = Some(chain(&error));
                    failures = (failures + 1).min(5);
                    Some(Duration::from_millis(100 << failures))
                }
            }
        };
        shared.changed.send_replace(());
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }
}

fn take_in(
    event: Event<DynamicObject>,
    of: &ApiType,
    seen: &mut Seen,
    listed: &mut BTreeMap<String, Arc<Value>>,
) {
    let read = |object: DynamicObject| {
        let name = object.metadata.name.clone().unwrap_or_default();
        // What came as JSON goes back to JSON.
        let mut value = serde_json::to_value(object).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.insert("apiVersion".into(), of.api_version.clone().into());
            fields.insert("kind".into(), of.kind.clone().into());
        }
        (name, Arc::new(value))
    };
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => listed.extend([read(object)]),
        Event::InitDone => {
            seen.objects = std::mem::take(listed);
            seen.whole = true;
        }
        Event::Apply(object) => seen.objects.extend([read(object)]),
        Event::Delete(object) => drop(seen.objects.remove(&read(object).0)),
    }
}

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

/// Where a follower looks.
struct Place {
    cluster: Arc<Cluster>,
    objects: Arc<Watch>,
    changes: watch::Receiver<()>,
    pods: Option<(Arc<Watch>, watch::Receiver<()>)>,
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
        let objects = cluster.watches.open(&cluster, &of, item.namespace(), &mine);
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
            let pods = cluster.watches.open(&cluster, &pod, item.namespace(), "");
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
        }))
    }

    fn is_whole(&self) -> Result<bool, CallError> {
        let pods = self.pods.as_ref().map_or(Ok(true), |(pods, _)| pods.whole())?;
        Ok(self.objects.whole()? && pods)
    }

    /// Returns when there may be something new to see.
    async fn change(&mut self, item: &Item<'_>) {
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
        tokio::select! {
            // A sender lives as long as its watch, which is held here.
            changed = self.changes.changed() => drop(changed),
            () = pods => {}
            () = clock => {}
        }
    }
}

async fn look(clusters: &Clusters, place: &Place, item: &Item<'_>) -> Result<Observed, ResourceError> {
    let cluster = &place.cluster;
    let live = match place.objects.get(&item.identity.name) {
        Some(live) => live,
        // Not among what carries our label; that is not yet the same as gone.
        None => match cluster.find(&item.path(cluster).await?).await? {
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
        readiness,
        foreign: item.foreign(&live),
        terminating: is_terminating(&live),
        ..Live {
            id: Some(id.clone()),
            ..Live::ready(outputs(clusters, cluster, item, &live, &id))
        }
    })))
}

/// What this run's apply returned, else what is remembered: a watch compares nothing.
fn outputs(clusters: &Clusters, cluster: &Cluster, item: &Item<'_>, live: &Value, id: &str) -> Value {
    let applied = clusters
        .applied
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&item.target.address)
        .filter(|applied| applied.get("uid").and_then(Value::as_str) == Some(id))
        .cloned();
    applied.unwrap_or_else(|| {
        let remembered = item.remembered();
        let settled = remembered.settled.filter(|_| remembered.uid == id);
        let now = item.outputs(clusters, cluster, live, false);
        Outputs { settled, ..now }.json()
    })
}
