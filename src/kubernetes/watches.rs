use std::{
    collections::{BTreeMap, HashMap},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::StreamExt;
use kube::{
    Api,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    client::{Cluster, chain},
    discovery::ApiType,
    error::CallError,
    pods::matches,
};

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
        let task = tokio::spawn(keep_up(api, config, of.clone(), Arc::clone(&shared)));
        Self { shared, task }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// Tells that something changed.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Whether the list is whole, or why it cannot be had.
    pub(super) fn whole(&self) -> Result<bool, CallError> {
        let seen = self.seen();
        match &seen.failed {
            Some(why) if !seen.whole => Err(CallError::Broken(why.clone())),
            _ => Ok(seen.whole),
        }
    }

    /// The object of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Value>> {
        self.seen().objects.get(name).cloned()
    }

    /// The objects with these labels.
    pub(super) fn with_labels(&self, labels: &[(String, String)]) -> Vec<Arc<Value>> {
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
async fn keep_up(api: Api<DynamicObject>, config: watcher::Config, of: ApiType, shared: Arc<Shared>) {
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
