//! One run of the engine over the kinds of AWS, as a process carries it out that can be killed.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackup::{
    aws,
    engine::{Canceller, Found, Run, execute, lint, plan, refresh},
    model::{Action, Address, Events, Need, Outcome, Secret, Verb},
    resource::{Registry, Remembered, Stack, Wanted},
    state::{Entry, FileStore, Holder, KeyedHash, Loaded, Snapshot, Status, Store as _},
};

/// What a run is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) stack: String,
    pub(super) uid: String,
    /// Where its state lies.
    pub(super) folder: PathBuf,
    /// What it is to remember where no state lies there.
    pub(super) remembered: BTreeMap<Address, Remembered>,
    /// Nothing for a destroy.
    pub(super) wanted: Vec<Want>,
}

/// A resource that is wanted: kind, name, inputs, and the addresses that it needs beside those that it refers to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Want(
    pub(super) String,
    pub(super) String,
    pub(super) Value,
    pub(super) Vec<Address>,
);

/// What a run tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Told {
    /// What the plan showed.
    pub(super) planned: Vec<(Address, Action)>,
    pub(super) done: bool,
    /// What failed, and what could not be read, in words.
    pub(super) failed: BTreeMap<Address, String>,
    /// What a closer look at those that failed told.
    pub(super) details: BTreeMap<Address, Vec<String>>,
    pub(super) remembered: BTreeMap<Address, Remembered>,
}

impl Told {
    /// The actions that the plan showed.
    pub(super) fn actions(&self) -> Vec<Action> {
        self.planned.iter().map(|(_, action)| *action).collect()
    }

    /// Where the plan showed other than that all is as wanted.
    pub(super) fn changes(&self) -> Vec<(&str, Action)> {
        let planned = self.planned.iter();
        let planned = planned.map(|(address, action)| (address.as_str(), *action));
        planned
            .filter(|(_, action)| *action != Action::Unchanged)
            .collect()
    }

    /// All that failed, in words.
    pub(super) fn words(&self) -> String {
        self.failed.values().cloned().collect::<Vec<_>>().join("\n")
    }
}

/// A state in which all of this stands.
fn remember(order: &Order) -> Loaded {
    let mut snapshot = Snapshot::new(&order.stack, order.uid.clone(), "line".into());
    let entry = |(address, remembered): (&Address, &Remembered)| {
        let remembered = remembered.clone();
        let status = Status::Done;
        (address.clone(), Entry { remembered, status })
    };
    snapshot.resources = order.remembered.iter().map(entry).collect();
    Loaded {
        snapshot,
        unfinished: false,
        notes: Vec::new(),
    }
}

fn wanted(run: &Run, want: &Want) -> Arc<Wanted> {
    let Want(kind, name, inputs, needs) = want;
    let kind = run.registry.get(kind).unwrap().name();
    Arc::new(Wanted {
        address: Address::new(kind, name),
        kind,
        component: None,
        inputs: Arc::new(inputs.clone()),
        needs: needs.iter().cloned().map(Need::ready).collect(),
    })
}

/// Brings the stack from what is remembered to what is wanted.
pub(super) async fn run(order: &Order) -> Told {
    let name = order.stack.as_str();
    let mut store = FileStore::new(order.folder.join(".stackup").join(name), name);
    store.prepare().unwrap();
    let holder = Holder {
        pid: std::process::id(),
        host: "here".into(),
        verb: "apply".into(),
        since: "now".into(),
    };
    store.lock(&holder).unwrap();
    let loaded = store.load().await.unwrap().unwrap_or_else(|| remember(order));
    let (_canceller, cancel) = Canceller::new();
    let run = Run {
        stack: Arc::new(Stack {
            name: name.to_owned(),
            uid: order.uid.clone(),
        }),
        registry: Registry::new(aws::kinds(&Arc::new(aws::Clients::new(None)))),
        events: Events::ignored(),
        cancel,
        hash: KeyedHash::new(Secret::new(b"key".to_vec())),
        adopt: false,
        pace: Duration::from_millis(500),
    };
    let wanted: Vec<Arc<Wanted>> = order.wanted.iter().map(|want| wanted(&run, want)).collect();
    let verb = if wanted.is_empty() {
        Verb::Destroy
    } else {
        Verb::Apply
    };
    let refreshed = refresh(&run, &wanted, &loaded.snapshot).await.unwrap();
    let mut told = Told::default();
    let kind = |found: &Found| run.registry.get(found.kind()).unwrap();
    let plan = match plan(name, &refreshed, |found| kind(found).stays(&found.target)) {
        Ok(plan) => plan,
        Err(errors) => {
            let errors = errors.into_iter();
            told.failed = errors
                .map(|(address, error)| (address, error.to_string()))
                .collect();
            return told;
        }
    };
    assert_eq!(lint(&plan, &refreshed), Vec::<String>::new());
    let steps = plan.steps.iter();
    told.planned = steps.map(|step| (step.address.clone(), step.action)).collect();
    let executed = execute(&run, verb, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert!(executed.lost.is_none(), "{:?}", executed.lost);
    told.done = executed.report.outcome == Outcome::Done;
    for (address, failure) in executed.report.failed {
        told.details.insert(address.clone(), failure.details);
        told.failed.insert(address, failure.message);
    }
    let resources = executed.snapshot.resources.into_iter();
    told.remembered = resources
        .map(|(address, entry)| (address, entry.remembered))
        .collect();
    told
}
