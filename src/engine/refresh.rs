use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::future::join_all;
use serde_json::Value;

use super::{Run, doomed, wait};
use crate::{
    model::{Address, EventKind},
    resource::{
        Live, Observed, Readiness, Remembered, ResourceError, Target, Wanted, reads, references, resolve,
    },
    state::{Snapshot, Status},
};

/// What is known of one resource before planning.
#[derive(Debug, Clone)]
pub struct Found {
    /// What is wanted of it; `None` if nothing is any more.
    pub wanted: Option<Arc<Wanted>>,
    /// What the state knows of it.
    pub remembered: Option<Arc<Remembered>>,
    /// How far the last run got with it.
    pub status: Option<Status>,
    /// Whose outputs it needs to be asked about.
    pub refers: Vec<Address>,
    /// Which of them must be made anew and cannot go before this one, which is therefore made anew as well.
    pub along: Option<Address>,
    /// Whose outputs, of those that it reads, will be others in this run: it is looked at once more then.
    pub follows: Option<Address>,
    /// Why it could not be asked, though it should have been: it goes unseen.
    pub unasked: Option<String>,
    /// The question that was asked, with references resolved as far as they are known.
    pub target: Target,
    /// The answer.
    pub seen: Seen,
}

/// What a look at one resource gave.
#[derive(Debug, Clone)]
pub enum Seen {
    /// It is there, or is certainly not.
    Known(Observed),
    /// It cannot be asked about before that other resource is there.
    After(Address),
    /// It was not asked about: it goes when that other resource goes.
    GoesWith(Address),
    /// It could not be read.
    Error(ResourceError),
}

/// Everything that is wanted or remembered, with what stands of it.
#[derive(Debug, Clone, Default)]
pub struct Refreshed {
    /// By address.
    pub found: BTreeMap<Address, Found>,
}

/// Looks at everything that is wanted or remembered: in rounds, each as soon as what it refers to is known, and one
/// question a kind and round. What has nothing to refer to yet (its cluster does not exist) is not asked about.
pub async fn refresh(
    run: &Run,
    wanted: &[Arc<Wanted>],
    snapshot: &Snapshot,
) -> Result<Refreshed, ResourceError> {
    let mut open = gather(run, wanted, snapshot)?;
    run.events.send(EventKind::Refreshing {
        resources: open.len(),
    });
    let mut refreshed = Refreshed {
        found: homeless(run, &mut open),
    };
    while !open.is_empty() {
        let known = |found: &Found| {
            found
                .refers
                .iter()
                .all(|address| refreshed.found.contains_key(address))
        };
        let (asking, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut open)
            .into_iter()
            .partition(|(_, found)| known(found));
        if asking.is_empty() {
            refreshed
                .found
                .extend(waiting.into_iter().map(|(address, found)| lost(address, found)));
            break;
        }
        open = waiting;
        let answers = round(run, asking, &refreshed).await;
        refreshed.found.extend(answers);
    }
    doomed::tell(run, &refreshed);
    Ok(refreshed)
}

/// What is no longer wanted and lives in something that was never begun, or is long gone: it is not there.
fn homeless(run: &Run, open: &mut BTreeMap<Address, Found>) -> BTreeMap<Address, Found> {
    let gone: Vec<Address> = open
        .iter()
        .filter(|(_, found)| {
            found.wanted.is_none() && lives_in(run, found).is_some_and(|home| !open.contains_key(&home))
        })
        .map(|(address, _)| address.clone())
        .collect();
    gone.into_iter()
        .filter_map(|address| open.remove_entry(&address))
        .collect()
}

/// A resource that refers to nothing that is part of the stack, or in a circle.
fn lost(address: Address, mut found: Found) -> (Address, Found) {
    let names: Vec<&str> = found.refers.iter().map(Address::as_str).collect();
    found.seen = Seen::Error(ResourceError::permanent(format!(
        "{address} refers to what is not part of the stack, or to itself: {}",
        names.join(", ")
    )));
    (address, found)
}

/// All addresses, with identity and unresolved question.
fn gather(
    run: &Run,
    wanted: &[Arc<Wanted>],
    snapshot: &Snapshot,
) -> Result<BTreeMap<Address, Found>, ResourceError> {
    let wanted: BTreeMap<&Address, &Arc<Wanted>> =
        wanted.iter().map(|wanted| (&wanted.address, wanted)).collect();
    let addresses: BTreeSet<&Address> = wanted.keys().copied().chain(snapshot.resources.keys()).collect();
    let gathered = addresses.into_iter().map(|address| {
        let wanted = wanted.get(address).copied();
        let entry = snapshot.resources.get(address);
        let remembered = entry.map(|entry| Arc::new(entry.remembered.clone()));
        let (identity, refers) = match (wanted, &remembered) {
            (Some(wanted), _) => {
                let identity =
                    run.registry
                        .get(wanted.kind)?
                        .identity(&run.stack, address, &wanted.inputs)?;
                (identity, references(&wanted.inputs))
            }
            (None, Some(remembered)) => (remembered.identity.clone(), remembered.refers.clone()),
            (None, None) => (Value::Null, Vec::new()),
        };
        let found = Found {
            target: run.target(address, identity, wanted.map(Arc::as_ref), remembered.as_ref()),
            wanted: wanted.cloned(),
            remembered,
            status: entry.map(|entry| entry.status.clone()),
            refers,
            along: None,
            follows: None,
            unasked: None,
            seen: Seen::Known(Observed::Absent),
        };
        Ok((address.clone(), found))
    });
    gathered.collect()
}

/// Asks about all of `asking` whose references are there; one question a kind.
async fn round(run: &Run, asking: BTreeMap<Address, Found>, before: &Refreshed) -> Vec<(Address, Found)> {
    let mut answers = Vec::new();
    let mut kinds: BTreeMap<String, Vec<(Address, Found)>> = BTreeMap::new();
    for (address, mut found) in asking {
        if let Some(seen) = prepare(run, &mut found, before) {
            found.seen = doomed::or_goes(run, &mut found, seen, before);
            answers.push((address, found));
        } else {
            kinds
                .entry(found.kind().to_owned())
                .or_default()
                .push((address, found));
        }
    }
    let asked = kinds.into_iter().map(|(kind, nodes)| async move {
        let targets: Vec<Target> = nodes.iter().map(|(_, found)| found.target.clone()).collect();
        let seen = match run.registry.get(&kind) {
            Ok(kind) => wait::observe(run, kind.as_ref(), &targets).await,
            Err(error) => targets.iter().map(|_| Err(error.clone())).collect(),
        };
        nodes
            .into_iter()
            .zip(seen)
            .map(|((address, mut found), seen)| {
                let seen = seen.map_or_else(Seen::Error, Seen::Known);
                found.seen = doomed::or_goes(run, &mut found, seen, before);
                (address, found)
            })
            .collect::<Vec<_>>()
    });
    answers.extend(join_all(asked).await.into_iter().flatten());
    answers
}

/// Resolves what the question refers to; an answer at once where it need not or cannot be asked.
fn prepare(run: &Run, found: &mut Found, before: &Refreshed) -> Option<Seen> {
    let Some(wanted) = found.wanted.clone() else {
        return prepare_unwanted(run, found, before);
    };
    let pins = found.remembered.is_some() && pins(run, found);
    found.follows = None;
    for address in &found.refers {
        let Some(other) = before.found.get(address) else {
            continue;
        };
        match other.holds() {
            Holds::Yes(outputs) => {
                found.target.outputs.insert(address.clone(), outputs);
                if reads(&wanted.inputs, address, other.moves()) {
                    found.follows = Some(address.clone());
                }
            }
            Holds::Replaced(outputs) if pins => {
                found.target.outputs.insert(address.clone(), outputs);
                found.along = Some(address.clone());
            }
            Holds::Gone | Holds::NotYet | Holds::Replaced(_) => return Some(Seen::After(address.clone())),
            Holds::Error(error) => return Some(Seen::Error(error)),
        }
    }
    match resolve(&wanted.inputs, &found.target.outputs) {
        Ok(inputs) => found.target.inputs = Some(inputs),
        Err(error) => return Some(Seen::Error(error)),
    }
    None
}

/// To find or delete something, only what it lives in must be there; what else it once referred to may be gone.
fn prepare_unwanted(run: &Run, found: &mut Found, before: &Refreshed) -> Option<Seen> {
    for address in &found.refers {
        if let Some(outputs) = before.found.get(address).and_then(Found::last_outputs) {
            found.target.outputs.insert(address.clone(), outputs);
        }
    }
    let container = run
        .registry
        .get(found.kind())
        .ok()
        .and_then(|kind| kind.goes_with(&found.target));
    let home = lives_in(run, found);
    if [&container, &home]
        .into_iter()
        .flatten()
        .filter_map(|other| before.found.get(other))
        .any(|other| matches!(other.seen, Seen::Known(Observed::Absent)))
    {
        return Some(Seen::Known(Observed::Absent));
    }
    if let Some(other) = container
        .as_ref()
        .and_then(|container| before.found.get(container))
        && other.wanted.is_none()
        && !other.stays(run)
    {
        return container.map(Seen::GoesWith);
    }
    if let Some(home) = home.filter(|home| doomed::half_made(run, home, before)) {
        found.unasked = Some(format!("{home} never became ready, or is no longer"));
        return Some(Seen::GoesWith(home));
    }
    for address in &found.refers {
        let Some(other) = before.found.get(address) else {
            continue;
        };
        match other.holds() {
            Holds::Error(error) => return Some(Seen::Error(error)),
            Holds::NotYet if other.wanted.is_some() => return Some(Seen::After(address.clone())),
            Holds::Replaced(_) if !pins(run, found) => return Some(Seen::After(address.clone())),
            Holds::Yes(_) | Holds::Gone | Holds::NotYet | Holds::Replaced(_) => {}
        }
    }
    None
}

/// What it lives in, wanted or not.
pub(super) fn lives_in(run: &Run, found: &Found) -> Option<Address> {
    run.registry.get(found.kind()).ok()?.lives_in(&found.target)
}

fn pins(run: &Run, found: &Found) -> bool {
    run.registry
        .get(found.kind())
        .is_ok_and(|kind| kind.traits().pins)
}

/// Whether the outputs of a resource can be used to ask about another.
enum Holds {
    Yes(Arc<Value>),
    /// Not once it has been made anew; its present outputs.
    Replaced(Arc<Value>),
    NotYet,
    Gone,
    Error(ResourceError),
}

impl Found {
    /// The name of its kind.
    pub fn kind(&self) -> &str {
        match (&self.wanted, &self.remembered) {
            (Some(wanted), _) => wanted.kind,
            (None, Some(remembered)) => &remembered.kind,
            (None, None) => "",
        }
    }

    /// Whether its kind will only forget it.
    pub(super) fn stays(&self, run: &Run) -> bool {
        run.registry
            .get(self.kind())
            .is_ok_and(|kind| kind.stays(&self.target))
    }

    /// What it gives to others: as it stands, or as it last stood.
    fn last_outputs(&self) -> Option<Arc<Value>> {
        let seen = match &self.seen {
            Seen::Known(observed) => observed.live().map(|live| &live.outputs),
            Seen::After(_) | Seen::GoesWith(_) | Seen::Error(_) => None,
        };
        let last = seen.or(self.remembered.as_ref().map(|remembered| &remembered.outputs));
        last.map(|outputs| Arc::new(outputs.clone()))
    }

    /// Which of its outputs will be others once this run has changed it.
    fn moves(&self) -> &'static [&'static str] {
        match &self.seen {
            Seen::Known(observed) if self.wanted.is_some() => observed.live().map_or(&[], |live| live.moves),
            Seen::Known(_) | Seen::After(_) | Seen::GoesWith(_) | Seen::Error(_) => &[],
        }
    }

    fn holds(&self) -> Holds {
        match &self.seen {
            Seen::Known(Observed::Absent) => Holds::Gone,
            Seen::Known(Observed::Live(live)) => {
                // What lives in something that is about to be removed, and goes with it, need not be asked about.
                let usable = live.readiness == Readiness::Ready || self.wanted.is_none();
                let outputs = || Arc::new(live.outputs.clone());
                if live.foreign.is_some() {
                    Holds::NotYet
                } else if !live.forces.is_empty() || self.along.is_some() {
                    Holds::Replaced(outputs())
                } else if usable {
                    Holds::Yes(outputs())
                } else {
                    Holds::NotYet
                }
            }
            Seen::After(_) | Seen::GoesWith(_) => Holds::NotYet,
            Seen::Error(error) => Holds::Error(error.clone()),
        }
    }
}

/// One more look at what could not be asked about before something else was there.
pub(super) async fn again(
    run: &Run,
    open: BTreeMap<Address, Found>,
    outputs: &BTreeMap<Address, Arc<Value>>,
) -> Refreshed {
    let known = |(address, outputs): (&Address, &Arc<Value>)| {
        let target = run.target(address, Value::Null, None, None);
        let live = Live::ready(Value::clone(outputs));
        let seen = Seen::Known(Observed::Live(Box::new(live)));
        let found = Found {
            wanted: None,
            remembered: None,
            status: None,
            refers: Vec::new(),
            along: None,
            follows: None,
            unasked: None,
            target,
            seen,
        };
        (address.clone(), found)
    };
    let before = Refreshed {
        found: outputs.iter().map(known).collect(),
    };
    Refreshed {
        found: round(run, open, &before).await.into_iter().collect(),
    }
}
