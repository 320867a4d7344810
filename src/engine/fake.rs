//! A cloud in memory that fails where it is told to, and a store that crashes where it is told to.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};

use crate::{
    model::{Action, Address, FieldChange, Need, Shown},
    resource::{
        Boxed, Cause, Intent, Kind, Live, Made, Observed, Readiness, Reference, ResourceError, Stack, Target,
        Traits, Wanted,
    },
    state::{Loaded, Record, Snapshot, StateError, Status, Store},
};

/// One thing in the cloud.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Thing {
    pub(super) owner: String,
    pub(super) size: Value,
    /// How often it was looked at: it is ready after a few looks.
    looks: u32,
}

impl Thing {
    /// Something that stands and belongs to a stack with this uid.
    pub(super) fn owned(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            size: json!("small"),
            looks: 9,
        }
    }

    /// Something that stands and gets ready in a moment.
    pub(super) fn starting(owner: &str) -> Self {
        Self {
            size: Value::Null,
            looks: 0,
            ..Self::owned(owner)
        }
    }

    /// Something that stands and does not get ready.
    pub(super) fn half_made(owner: &str) -> Self {
        Self {
            size: json!("half"),
            ..Self::owned(owner)
        }
    }
}

/// The cloud.
#[derive(Debug, Default)]
pub(super) struct Cloud {
    pub(super) things: Mutex<BTreeMap<Address, Thing>>,
    pub(super) calls: Mutex<Vec<String>>,
    /// Verb and address of the call that fails, and how.
    pub(super) fail: Mutex<Option<(String, ResourceError)>>,
    /// How many times the failing call fails before it succeeds.
    pub(super) times: Mutex<usize>,
    /// Whether a failing call has its effect all the same.
    pub(super) effect: Mutex<bool>,
    /// How many looks do not show what is there.
    pub(super) hidden: Mutex<usize>,
}

impl Cloud {
    fn call(&self, verb: &str, address: &Address, effect: impl FnOnce()) -> Result<(), ResourceError> {
        let call = format!("{verb} {address}");
        self.calls.lock().unwrap().push(call.clone());
        let mut times = self.times.lock().unwrap();
        match &*self.fail.lock().unwrap() {
            Some((failing, error)) if *failing == call && *times > 0 => {
                *times -= 1;
                if *self.effect.lock().unwrap() {
                    effect();
                }
                Err(error.clone())
            }
            Some(_) | None => {
                effect();
                Ok(())
            }
        }
    }

    pub(super) fn fails(&self, call: &str, cause: Cause, times: usize, effect: bool) {
        *self.fail.lock().unwrap() =
            Some((call.to_owned(), ResourceError::new(cause, "refused by the test")));
        *self.times.lock().unwrap() = times;
        *self.effect.lock().unwrap() = effect;
    }

    pub(super) fn writes(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|call| !call.starts_with("observe"))
            .cloned()
            .collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.things
            .lock()
            .unwrap()
            .keys()
            .map(ToString::to_string)
            .collect()
    }
}

/// `fake.cluster`, `fake.thing` and `fake.near` are found by id (the last is asked on this machine), `fake.object` by name, inside a cluster; `fake.api` is the way into
/// one, and objects whose name ends in `-api` live in that.
#[derive(Debug)]
pub(super) struct FakeKind {
    pub(super) name: &'static str,
    pub(super) cloud: Arc<Cloud>,
}

impl FakeKind {
    fn object(&self) -> bool {
        self.name == "fake.object"
    }

    fn live(target: &Target, thing: &mut Thing) -> Live {
        thing.looks += 1;
        let readiness = if thing.size == json!("never") {
            Readiness::Failed("it will never work".into())
        } else if thing.looks > 1 && thing.size != json!("half") {
            Readiness::Ready
        } else {
            Readiness::NotYet("it starts".into())
        };
        let wanted = target
            .inputs
            .as_ref()
            .and_then(|inputs| inputs.get("size"))
            .cloned();
        let differs = wanted.filter(|wanted| *wanted != thing.size);
        let change = |new: &Value| FieldChange {
            path: "size".into(),
            old: Shown::Value(thing.size.clone()),
            new: Shown::Value(new.clone()),
            owner: None,
        };
        let fixed = target
            .inputs
            .as_ref()
            .is_some_and(|inputs| inputs.get("fixed") == Some(&json!(true)));
        Live {
            id: Some(format!("id-{}", target.address)),
            readiness,
            forces: differs
                .iter()
                .filter(|_| fixed)
                .map(|_| "size".to_owned())
                .collect(),
            changes: differs.iter().map(change).collect(),
            moves: differs.as_ref().map_or(&[], |_| &["size"]),
            foreign: (thing.owner != target.stack.uid).then(|| format!("stack {}", thing.owner)),
            ..Live::ready(json!({"url": format!("http://{}", target.address), "size": thing.size}))
        }
    }

    fn make(&self, verb: &str, target: &Target) -> Result<Made, ResourceError> {
        let size = target
            .inputs
            .as_ref()
            .and_then(|inputs| inputs.get("size"))
            .cloned()
            .unwrap_or_default();
        assert_ne!(size, "breaks", "as the test asks");
        let thing = Thing {
            owner: target.stack.uid.clone(),
            size,
            looks: 0,
        };
        self.cloud.call(verb, &target.address, || {
            let mut things = self.cloud.things.lock().unwrap();
            let before = things.insert(target.address.clone(), thing);
            assert!(
                verb != "create" || before.is_none(),
                "{} was created twice",
                target.address
            );
        })?;
        let mut things = self.cloud.things.lock().unwrap();
        let live = things
            .get_mut(&target.address)
            .map(|thing| Self::live(target, thing))
            .filter(|_| self.object());
        Ok(Made {
            id: Some(format!("id-{}", target.address)),
            live,
        })
    }
}

impl Kind for FakeKind {
    fn name(&self) -> &'static str {
        self.name
    }
    fn documentation(&self) -> &'static str {
        "A thing of the tests."
    }
    fn traits(&self) -> Traits {
        Traits {
            intent: if self.object() {
                Intent::Together
            } else {
                Intent::Each
            },
            records_inputs: !self.object(),
            at_once: 4,
            expected: match self.name {
                "fake.cluster" => Some(Duration::from_mins(8)),
                "fake.thing" | "fake.near" => Some(Duration::from_secs(30)),
                _ => None,
            },
            removal: (self.name == "fake.cluster").then_some(Duration::from_mins(3)),
            deadline: Duration::from_secs(20),
            settles: if self.object() {
                Duration::ZERO
            } else {
                Duration::from_secs(5)
            },
            paced: self.name != "fake.near",
            pins: self.name == "fake.part",
        }
    }
    fn identity(&self, stack: &Stack, address: &Address, _: &Value) -> Result<Value, ResourceError> {
        Ok(json!({"stack": stack.name, "address": address}))
    }
    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        let answers = targets.iter().map(|target| {
            self.cloud.call("observe", &target.address, || ())?;
            let mut hidden = self.cloud.hidden.lock().unwrap();
            if *hidden > 0 {
                *hidden -= 1;
                return Ok(Observed::Absent);
            }
            let mut things = self.cloud.things.lock().unwrap();
            Ok(match things.get_mut(&target.address) {
                None => Observed::Absent,
                Some(thing) => Observed::Live(Box::new(Self::live(target, thing))),
            })
        });
        Box::pin(ready(answers.collect()))
    }
    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(ready(self.make("create", target)))
    }
    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(ready(self.make("update", target)))
    }
    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        let deleted = self.cloud.call("delete", &target.address, || {
            let mut things = self.cloud.things.lock().unwrap();
            things.remove(&target.address);
            if self.name == "fake.cluster" {
                things.retain(|address, _| {
                    let name = address.as_str();
                    !name.starts_with("fake.object/in-") && !name.starts_with("fake.api/")
                });
            }
        });
        Box::pin(ready(deleted))
    }
    fn goes_with(&self, target: &Target) -> Option<Address> {
        self.lives_in(target)
            .filter(|_| !self.object() || target.address.name().starts_with("in-"))
    }
    fn lives_in(&self, target: &Target) -> Option<Address> {
        match self.name {
            "fake.object" if target.address.name().ends_with("-api") => {
                Some(Address::new("fake.api", "main"))
            }
            "fake.object" | "fake.api" => Some(Address::new("fake.cluster", "main")),
            _ => None,
        }
    }
}

/// Keeps a state in memory past a crash of its run.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) snapshot: Option<Snapshot>,
    pub(super) journal: Vec<Record>,
    /// The run is "killed" after so many records.
    pub(super) crash_after: Option<usize>,
    /// How many records were ever written.
    pub(super) appended: usize,
    pub(super) saves: usize,
}

impl Memory {
    fn crash() -> StateError {
        StateError::Io {
            what: "write",
            path: "journal".into(),
            source: std::io::Error::other("killed"),
        }
    }

    fn fold(&self) -> Option<Loaded> {
        let mut snapshot = self.snapshot.clone()?;
        for record in &self.journal {
            assert_eq!(snapshot.fold(record), Ok(()), "{record:?}");
        }
        Some(Loaded {
            snapshot,
            unfinished: !self.journal.is_empty(),
            notes: Vec::new(),
        })
    }

    pub(super) fn loaded(&self) -> Loaded {
        self.fold().unwrap_or_else(|| Loaded {
            snapshot: Snapshot::new("demo", "uid-1".into(), "line-1".into()),
            unfinished: false,
            notes: Vec::new(),
        })
    }
}

impl Store for Memory {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<Loaded>, StateError>> {
        Box::pin(ready(Ok(self.fold())))
    }
    fn append<'a>(&'a mut self, records: &'a [Record]) -> BoxFuture<'a, Result<(), StateError>> {
        for record in records {
            if self.crash_after == Some(self.journal.len()) {
                return Box::pin(ready(Err(Self::crash())));
            }
            self.journal.push(record.clone());
            self.appended += 1;
        }
        Box::pin(ready(Ok(())))
    }
    fn save<'a>(&'a mut self, snapshot: &'a mut Snapshot) -> BoxFuture<'a, Result<(), StateError>> {
        if self
            .crash_after
            .is_some_and(|after| after <= self.journal.len() && self.snapshot.is_some())
        {
            return Box::pin(ready(Err(Self::crash())));
        }
        snapshot.serial += 1;
        self.saves += 1;
        self.snapshot = Some(snapshot.clone());
        self.journal.clear();
        Box::pin(ready(Ok(())))
    }
    fn clear(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        *self = Self::default();
        Box::pin(ready(Ok(())))
    }
}

/// A wanted thing of a size.
pub(super) fn wanted(kind: &'static str, name: &str, inputs: Value, needs: Vec<Need>) -> Arc<Wanted> {
    Arc::new(Wanted {
        address: Address::new(kind, name),
        kind,
        component: None,
        inputs: Arc::new(inputs),
        needs,
    })
}

/// A cluster, a network beside it, four objects in it that need each other, and one that stays outside.
pub(super) fn stack(size: &str) -> Vec<Arc<Wanted>> {
    let cluster = Address::new("fake.cluster", "main");
    let object = |name: &str, needs: Vec<Need>| {
        let inputs = json!({"cluster": Reference::whole(&cluster), "size": size});
        wanted("fake.object", name, inputs, needs)
    };
    let needs = |name: &str| Need::ready(Address::new("fake.object", name));
    let network = Address::new("fake.thing", "network");
    vec![
        wanted("fake.thing", "network", json!({"size": size}), Vec::new()),
        wanted(
            "fake.cluster",
            "main",
            json!({"network": Reference::field(&network, "url")}),
            Vec::new(),
        ),
        object("in-namespace", Vec::new()),
        object("in-config", vec![needs("in-namespace")]),
        object(
            "in-server",
            vec![
                needs("in-config"),
                Need::applied(Address::new("fake.object", "in-namespace")),
            ],
        ),
        object("out-balancer", vec![needs("in-server")]),
        wanted(
            "fake.thing",
            "disk",
            json!({"size": size, "fixed": true}),
            Vec::new(),
        ),
    ]
}

/// A cluster, the way into it, an object in there that goes with it, and one that keeps something outside.
pub(super) fn reached(size: &str) -> Vec<Arc<Wanted>> {
    let cluster = Address::new("fake.cluster", "main");
    let api = Address::new("fake.api", "main");
    let object = |name: &str| {
        let inputs = json!({"cluster": Reference::whole(&api), "size": size});
        wanted("fake.object", name, inputs, Vec::new())
    };
    vec![
        wanted("fake.cluster", "main", json!({}), Vec::new()),
        wanted(
            "fake.api",
            "main",
            json!({"cluster": Reference::whole(&cluster)}),
            Vec::new(),
        ),
        object("in-config-api"),
        object("out-balancer-api"),
    ]
}

/// Whether the state says that a write to this resource began and did not end.
pub(super) fn begun(snapshot: &Snapshot, address: &Address) -> Option<Action> {
    match &snapshot.resources.get(address)?.status {
        Status::Begun { action } => Some(*action),
        Status::Done | Status::Failed { .. } => None,
    }
}
