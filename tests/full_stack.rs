//! Whole stacks on a cloud in memory: the resources, identities and traits are the real ones, only the calls are not.
//! A run is cut off after every single record of the journal, and the same command must end in the same place.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};
use stackup::{
    engine::{Canceller, Executed, Refreshed, Run, execute, lint, plan, refresh},
    model::{Address, Events, Outcome, Plan, Secret, Verb},
    resource::{Boxed, Kind, Live, Made, Observed, Registry, ResourceError, Stack, Target, Traits},
    state::{KeyedHash, Loaded, Record, Snapshot, StateError, Store},
};

use crate::support::whole::Whole;

/// A kind whose calls only note what stands.
struct InMemory {
    real: Arc<dyn Kind>,
    cloud: Arc<Cloud>,
}

/// What stands, and what whoever refers to a resource wants to know of it.
#[derive(Default)]
struct Cloud {
    things: Mutex<BTreeSet<Address>>,
    creates: Mutex<BTreeMap<Address, usize>>,
    outputs: BTreeMap<Address, Value>,
}

impl Cloud {
    fn left(&self) -> Vec<Address> {
        self.things.lock().unwrap().iter().cloned().collect()
    }
}

impl Kind for InMemory {
    fn name(&self) -> &'static str {
        self.real.name()
    }
    fn documentation(&self) -> &'static str {
        self.real.documentation()
    }
    fn traits(&self) -> Traits {
        self.real.traits()
    }
    fn identity(&self, stack: &Stack, address: &Address, inputs: &Value) -> Result<Value, ResourceError> {
        self.real.identity(stack, address, inputs)
    }
    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        let things = self.cloud.things.lock().unwrap();
        let look = |target: &Target| {
            let outputs = || {
                let known = self.cloud.outputs.get(&target.address);
                known.cloned().unwrap_or_else(|| json!({}))
            };
            let live = || Live {
                id: Some(format!("id-{}", target.address)),
                ..Live::ready(outputs())
            };
            // What is only looked up is always there, and nobody makes or removes it.
            Ok(if things.contains(&target.address) || self.real.stays(target) {
                Observed::Live(Box::new(live()))
            } else {
                Observed::Absent
            })
        };
        Box::pin(ready(targets.iter().map(look).collect()))
    }
    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        let new = self.cloud.things.lock().unwrap().insert(target.address.clone());
        assert!(new, "{} was created twice", target.address);
        *self
            .cloud
            .creates
            .lock()
            .unwrap()
            .entry(target.address.clone())
            .or_default() += 1;
        Box::pin(ready(Ok(Made {
            id: Some(format!("id-{}", target.address)),
            live: None,
        })))
    }
    fn update<'a>(&'a self, _: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(ready(Ok(Made::default())))
    }
    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        let mut things = self.cloud.things.lock().unwrap();
        things.remove(&target.address);
        if target.address.as_str().contains(".cluster/") || target.address.as_str().contains("eks_cluster/") {
            // Everything that lives in a cluster goes with it.
            let inside = ["k8s", "aws.eks_addon/", "aws.eks_access_entry/"];
            things.retain(|address| !inside.iter().any(|kind| address.as_str().starts_with(kind)));
        }
        Box::pin(ready(Ok(())))
    }
    fn goes_with(&self, target: &Target) -> Option<Address> {
        self.real.goes_with(target)
    }
    fn stays(&self, target: &Target) -> bool {
        self.real.stays(target)
    }
}

/// A state in memory whose run is cut off after so many records.
#[derive(Default, Clone)]
struct Memory {
    snapshot: Option<Snapshot>,
    journal: Vec<Record>,
    cut_after: Option<usize>,
    written: usize,
}

impl Memory {
    fn loaded(&self, name: &str) -> Loaded {
        let mut snapshot = self
            .snapshot
            .clone()
            .unwrap_or_else(|| Snapshot::new(name, "0123456789abcdef".into(), "line-1".into()));
        for record in &self.journal {
            assert_eq!(snapshot.fold(record), Ok(()), "{record:?}");
        }
        Loaded {
            snapshot,
            unfinished: !self.journal.is_empty(),
            notes: Vec::new(),
        }
    }

    fn cut() -> StateError {
        StateError::Io {
            what: "write",
            path: "journal".into(),
            source: std::io::Error::other("cut off"),
        }
    }
}

impl Store for Memory {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<Loaded>, StateError>> {
        Box::pin(ready(Ok(Some(self.loaded("")))))
    }
    fn append<'a>(&'a mut self, records: &'a [Record]) -> BoxFuture<'a, Result<(), StateError>> {
        for record in records {
            if self.cut_after == Some(self.written) {
                return Box::pin(ready(Err(Self::cut())));
            }
            self.journal.push(record.clone());
            self.written += 1;
        }
        Box::pin(ready(Ok(())))
    }
    fn save<'a>(&'a mut self, snapshot: &'a mut Snapshot) -> BoxFuture<'a, Result<(), StateError>> {
        // The very first save only begins the state; the journal comes after it.
        if self.cut_after == Some(self.written) && self.snapshot.is_some() {
            return Box::pin(ready(Err(Self::cut())));
        }
        snapshot.serial += 1;
        self.snapshot = Some(snapshot.clone());
        self.journal.clear();
        Box::pin(ready(Ok(())))
    }
    fn clear(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        *self = Self::default();
        Box::pin(ready(Ok(())))
    }
}

impl Whole {
    fn cloud(&self) -> Arc<Cloud> {
        Arc::new(Cloud {
            outputs: self.outputs.clone(),
            ..Cloud::default()
        })
    }

    async fn go(&self, cloud: &Arc<Cloud>, verb: Verb, store: &mut Memory) -> Executed {
        let (run, plan, refreshed, loaded) = self.planned(cloud, verb, store).await;
        execute(&run, verb, &plan, refreshed, store, loaded)
            .await
            .unwrap()
    }

    /// How long a run usually takes, to the second.
    #[cfg(feature = "aws")]
    async fn usually(&self, cloud: &Arc<Cloud>, verb: Verb, store: &Memory) -> String {
        let (run, plan, refreshed, _) = self.planned(cloud, verb, store).await;
        let seconds = stackup::engine::expected(&plan, &refreshed, &run.registry)
            .total
            .as_secs();
        format!("{}:{:02}", seconds / 60, seconds % 60)
    }

    async fn planned(
        &self,
        cloud: &Arc<Cloud>,
        verb: Verb,
        store: &Memory,
    ) -> (Run, Plan, Refreshed, Loaded) {
        let in_memory = |real: &Arc<dyn Kind>| {
            Arc::new(InMemory {
                real: Arc::clone(real),
                cloud: Arc::clone(cloud),
            }) as Arc<dyn Kind>
        };
        let loaded = store.loaded(&self.name);
        let run = Run {
            stack: Arc::new(Stack {
                name: self.name.clone(),
                uid: loaded.snapshot.uid.clone(),
            }),
            registry: Registry::new(self.kinds.iter().map(in_memory)),
            events: Events::ignored(),
            cancel: Canceller::new().1,
            hash: KeyedHash::new(Secret::new(b"key".to_vec())),
            adopt: false,
            pace: Duration::from_millis(500),
        };
        let wanted = if verb == Verb::Apply {
            self.wanted.as_slice()
        } else {
            &[]
        };
        let refreshed = refresh(&run, wanted, &loaded.snapshot).await.unwrap();
        let stays = |found: &stackup::engine::Found| {
            run.registry
                .get(found.kind())
                .is_ok_and(|kind| kind.stays(&found.target))
        };
        let plan = plan(&self.name, &refreshed, stays).unwrap();
        assert_eq!(lint(&plan, &refreshed), Vec::<String>::new());
        (run, plan, refreshed, loaded)
    }

    /// Cuts a run off after each of its records, and ends it with the same command.
    async fn survives_every_cut(&self, least: usize) {
        let (cloud, mut store) = (self.cloud(), Memory::default());
        let executed = self.go(&cloud, Verb::Apply, &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "{:?}",
            executed.report.failed
        );
        let (applied, standing) = (store.written, cloud.left());
        assert!(
            applied >= least && standing.len() >= least / 2,
            "{applied} records, {} things",
            standing.len()
        );
        let whole = (store.clone(), standing.clone());
        let executed = self.go(&cloud, Verb::Destroy, &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "{:?}",
            executed.report.failed
        );
        assert_eq!(cloud.left(), Vec::<Address>::new());
        assert!(executed.snapshot.resources.is_empty());
        let destroyed = store.written - applied;

        for cut in 0..applied {
            self.survives_a_cut_of_apply(cut, &standing).await;
        }
        for cut in 0..destroyed {
            self.survives_a_cut_of_destroy(cut, &whole).await;
        }
    }

    async fn survives_a_cut_of_apply(&self, cut: usize, standing: &[Address]) {
        let (cloud, mut store) = (
            self.cloud(),
            Memory {
                cut_after: Some(cut),
                ..Memory::default()
            },
        );
        assert!(
            self.go(&cloud, Verb::Apply, &mut store).await.lost.is_some(),
            "cut after {cut}"
        );
        store.cut_after = None;
        let known: BTreeSet<Address> = store.loaded(&self.name).snapshot.resources.into_keys().collect();
        for thing in cloud.left() {
            assert!(
                known.contains(&thing),
                "cut after {cut}: {thing} stands and the journal does not say so"
            );
        }
        let executed = self.go(&cloud, Verb::Apply, &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "cut after {cut}: {:?}",
            executed.report.failed
        );
        assert_eq!(cloud.left(), standing, "cut after {cut}");
        let twice: Vec<Address> = cloud
            .creates
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(address, _)| address.clone())
            .collect();
        assert!(twice.is_empty(), "cut after {cut}: made twice: {twice:?}");
    }

    async fn survives_a_cut_of_destroy(&self, cut: usize, whole: &(Memory, Vec<Address>)) {
        let (store, standing) = whole;
        let mut store = Memory {
            cut_after: Some(store.written + cut),
            ..store.clone()
        };
        let cloud = self.cloud();
        cloud.things.lock().unwrap().extend(standing.iter().cloned());
        self.go(&cloud, Verb::Destroy, &mut store).await;
        store.cut_after = None;
        let executed = self.go(&cloud, Verb::Destroy, &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "destroy cut after {cut}: {:?}",
            executed.report.failed
        );
        assert_eq!(cloud.left(), Vec::<Address>::new(), "destroy cut after {cut}");
        assert!(executed.snapshot.resources.is_empty(), "destroy cut after {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_rehearsal_survives_a_cut_after_every_record() {
    Whole::of("rehearsal.yaml", &[], Path::new("/nowhere"))
        .survives_every_cut(110)
        .await;
}

#[cfg(feature = "aws")]
#[tokio::test(start_paused = true)]
async fn the_whole_stack_on_eks_survives_a_cut_after_every_record() {
    Whole::of("eks.yaml", &[], Path::new("/nowhere"))
        .survives_every_cut(190)
        .await;
}

#[cfg(feature = "aws")]
#[tokio::test(start_paused = true)]
async fn what_the_documents_say_of_the_times_on_aws_is_what_the_plan_says() {
    let whole = Whole::of("eks.yaml", &[], Path::new("/nowhere"));
    let (cloud, mut store) = (whole.cloud(), Memory::default());
    let up = whole.usually(&cloud, Verb::Apply, &store).await;
    whole.go(&cloud, Verb::Apply, &mut store).await;
    let down = whole.usually(&cloud, Verb::Destroy, &store).await;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/aws-assumptions.md");
    let documented = std::fs::read_to_string(file).unwrap();
    let row = format!("| stackup | {up} | {down} |");
    assert!(
        documented.contains(&row),
        "docs/aws-assumptions.md does not have the row '{row}'"
    );
}
