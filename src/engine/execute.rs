use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::Instant,
};

use super::{
    Refreshed, Run, Seen,
    graph::{Edges, edges},
    ledger::Ledger,
    node::{Ended, Message, Node},
    plan::compare,
    refresh,
    wait::Looker,
};
use crate::{
    model::{Action, Address, EventKind, Failure, Outcome, Plan, Reason, Report, Step, Until, Verb},
    resource::{Intent, Kind, Live, Observed, Readiness, Remembered, ResourceError},
    state::{Intended, Loaded, Record, Snapshot, StateError, Status, Store},
};

/// What a run left behind.
#[derive(Debug)]
pub struct Executed {
    /// What it did.
    pub report: Report,
    /// What is remembered now.
    pub snapshot: Snapshot,
    /// Why the state could not be written any more, if it could not.
    pub lost: Option<StateError>,
}

/// Carries a plan out: each step the moment that its own needs are met, and each effect announced in the journal first.
pub async fn execute(
    run: &Run,
    verb: Verb,
    plan: &Plan,
    refreshed: Refreshed,
    store: &mut dyn Store,
    loaded: Loaded,
) -> Result<Executed, ResourceError> {
    let edges = edges(plan, &refreshed).map_err(|cycle| {
        let path: Vec<&str> = cycle.iter().chain(cycle.first()).map(Address::as_str).collect();
        ResourceError::permanent(format!("the stack's needs go in a circle: {}", path.join(" → ")))
            .hint("remove one of these needs (dependsOn, or the annotation stackup/needs)")
    })?;
    let kinds: BTreeMap<&str, Arc<dyn Kind>> = plan
        .steps
        .iter()
        .map(|step| Ok((step.kind.as_str(), Arc::clone(run.registry.get(&step.kind)?))))
        .collect::<Result<_, ResourceError>>()?;
    let (tell, told) = mpsc::channel(256);
    let coordinator = Coordinator {
        run,
        plan,
        at_once: kinds
            .iter()
            .map(|(name, kind)| (*name, Arc::new(Semaphore::new(kind.traits().at_once))))
            .collect(),
        lookers: kinds
            .iter()
            .map(|(name, kind)| (*name, Looker::start(Arc::clone(kind))))
            .collect(),
        kinds,
        index: plan
            .steps
            .iter()
            .enumerate()
            .map(|(i, step)| (step.address.clone(), i))
            .collect(),
        states: vec![State::Open; plan.steps.len()],
        applied: vec![false; plan.steps.len()],
        edges,
        refreshed,
        outputs: BTreeMap::new(),
        ledger: Ledger::new(store, loaded.snapshot, verb, loaded.unfinished),
        report: Report::default(),
        ready: Vec::new(),
        running: JoinSet::new(),
        looking: JoinSet::new(),
        started: HashMap::new(),
        tell,
        told,
        lost: None,
    };
    Ok(coordinator.walk(verb).await)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Running,
    Ended,
}

/// The one owner of journal, state and report; nodes tell it what happened and wait until that is on disk.
struct Coordinator<'a> {
    run: &'a Run,
    plan: &'a Plan,
    kinds: BTreeMap<&'a str, Arc<dyn Kind>>,
    at_once: BTreeMap<&'a str, Arc<Semaphore>>,
    lookers: BTreeMap<&'a str, Looker>,
    index: HashMap<Address, usize>,
    states: Vec<State>,
    applied: Vec<bool>,
    edges: Edges,
    refreshed: Refreshed,
    outputs: BTreeMap<Address, Arc<Value>>,
    ledger: Ledger<'a>,
    report: Report,
    /// Steps whose needs are all met and that have not been started.
    ready: Vec<usize>,
    running: JoinSet<(usize, Ended)>,
    looking: JoinSet<Refreshed>,
    started: HashMap<usize, Instant>,
    tell: mpsc::Sender<Message>,
    told: mpsc::Receiver<Message>,
    lost: Option<StateError>,
}

impl Coordinator<'_> {
    async fn walk(mut self, verb: Verb) -> Executed {
        self.hold_back();
        let intent = self.intent();
        self.write(intent).await;
        self.ready = (0..self.plan.steps.len())
            .filter(|i| self.edges.open.get(*i) == Some(&0))
            .collect();
        let mut cancel = self.run.cancel.clone();
        let mut stopping = false;
        loop {
            self.start_ready().await;
            if self.running.is_empty() && self.looking.is_empty() {
                break;
            }
            tokio::select! {
                Some(message) = self.told.recv() => self.hear(message).await,
                Some(ended) = self.running.join_next() => self.end(ended).await,
                Some(looked) = self.looking.join_next() => self.looked(looked.unwrap_or_default()),
                stop = cancel.wait(), if !stopping => {
                    stopping = true;
                    self.run.events.send(EventKind::Stopping { signal: format!("{stop:?}").to_uppercase(), in_flight: self.running.len() });
                }
            }
        }
        self.finish(verb).await
    }

    /// Steps that could not be asked about wait for one more look, once what they live in is there.
    fn hold_back(&mut self) {
        for (i, step) in self.plan.steps.iter().enumerate() {
            let after = self
                .refreshed
                .found
                .get(&step.address)
                .is_some_and(|found| matches!(found.seen, Seen::After(_)));
            if after && let Some(open) = self.edges.open.get_mut(i) {
                *open += 1;
            }
        }
    }

    /// One record that announces everything whose identity is known beforehand.
    fn intent(&self) -> Vec<Record> {
        let together = |step: &&Step| {
            self.kinds
                .get(step.kind.as_str())
                .is_some_and(|kind| kind.traits().intent == Intent::Together)
        };
        let nodes: Vec<Intended> = self
            .plan
            .steps
            .iter()
            .filter(together)
            .filter(|step| {
                step.action.writes() || (step.action == Action::Unchanged && self.must_record(step))
            })
            .map(|step| self.intended(step))
            .collect();
        if nodes.is_empty() {
            Vec::new()
        } else {
            vec![Record::Intend { nodes }]
        }
    }

    fn intended(&self, step: &Step) -> Intended {
        let found = self.refreshed.found.get(&step.address);
        let before = found.and_then(|found| found.remembered.as_deref());
        let wanted = found.and_then(|found| found.wanted.as_deref());
        let remembered = match (wanted, before) {
            (Some(wanted), before) => Remembered {
                kind: step.kind.clone(),
                identity: found
                    .map(|found| found.target.identity.clone())
                    .unwrap_or_default(),
                id: before
                    .filter(|_| step.action != Action::Create)
                    .and_then(|before| before.id.clone()),
                component: wanted.component.clone(),
                inputs: self
                    .kinds
                    .get(step.kind.as_str())
                    .filter(|kind| kind.traits().records_inputs)
                    .map(|_| Value::clone(&wanted.inputs)),
                input_hash: found
                    .map(|found| found.target.input_hash.clone())
                    .unwrap_or_default(),
                outputs: Value::Null,
                needs: wanted.needs.clone(),
                refers: found.map(|found| found.refers.clone()).unwrap_or_default(),
                generation: before.map_or(0, |before| before.generation)
                    + u64::from(step.action == Action::Replace),
            },
            (None, Some(before)) => before.clone(),
            (None, None) => Remembered {
                kind: step.kind.clone(),
                identity: Value::Null,
                id: None,
                component: None,
                inputs: None,
                input_hash: String::new(),
                outputs: Value::Null,
                needs: Vec::new(),
                refers: Vec::new(),
                generation: 0,
            },
        };
        Intended {
            address: step.address.clone(),
            action: step.action,
            remembered,
        }
    }

    /// Whether the state says something else of an unchanged resource than what stands.
    fn must_record(&self, step: &Step) -> bool {
        let Some(found) = self.refreshed.found.get(&step.address) else {
            return false;
        };
        let (Some(wanted), Some(before)) = (&found.wanted, &found.remembered) else {
            return true;
        };
        let outputs = match &found.seen {
            Seen::Known(Observed::Live(live)) => live.outputs == before.outputs,
            Seen::Known(Observed::Absent) | Seen::After(_) | Seen::GoesWith(_) | Seen::Error(_) => false,
        };
        found.status != Some(Status::Done)
            || before.input_hash != found.target.input_hash
            || !outputs
            || before.needs != wanted.needs
            || before.refers != found.refers
            || before.component != wanted.component
    }

    /// Starts every step whose needs are met, until a stop comes.
    async fn start_ready(&mut self) {
        while !self.ready.is_empty() {
            if self.run.cancel.stopped().is_some() || self.lost.is_some() {
                self.ready.clear();
                return;
            }
            let batch = std::mem::take(&mut self.ready);
            self.let_go(&batch).await;
            for i in batch {
                if self.states.get(i) == Some(&State::Open) {
                    self.start(i);
                }
            }
        }
    }

    /// Everything of a batch that is only forgotten, or went with something else, in one record.
    async fn let_go(&mut self, batch: &[usize]) {
        let mut gone = Vec::new();
        for &i in batch {
            let Some(step) = self.plan.steps.get(i) else {
                continue;
            };
            let went = step.action == Action::Delete && matches!(step.reason, Some(Reason::GoesWith(_)));
            if self.states.get(i) == Some(&State::Open) && (step.action == Action::Forget || went) {
                gone.push(i);
            }
        }
        let addresses: Vec<Address> = gone
            .iter()
            .filter_map(|i| Some(self.plan.steps.get(*i)?.address.clone()))
            .collect();
        if addresses.is_empty() {
            return;
        }
        self.write(vec![Record::Gone { addresses }]).await;
        if self.lost.is_none() {
            for i in gone {
                self.succeed(i, None);
            }
        }
    }

    fn start(&mut self, i: usize) {
        let Some(step) = self.plan.steps.get(i) else {
            return;
        };
        if step.action == Action::Conflict {
            self.fail(i, conflict(step));
            return;
        }
        match self.node(i, step) {
            Ok(Start::Standing(outputs)) => self.succeed(i, Some(outputs)),
            Ok(Start::Work(node)) => {
                let expected = self
                    .kinds
                    .get(step.kind.as_str())
                    .and_then(|kind| kind.traits().expected);
                self.run.events.send(EventKind::StepStarted {
                    address: step.address.clone(),
                    component: step.component.clone(),
                    action: node.action,
                    expected_ms: expected.and_then(|expected| u64::try_from(expected.as_millis()).ok()),
                });
                self.set(i, State::Running);
                self.started.insert(i, Instant::now());
                self.running.spawn(async move { (i, node.go().await) });
            }
            Err(error) => self.fail(i, failure(step.action, &error)),
        }
    }

    /// What must be done for a step, with what is known now: references resolved, the action decided once more.
    fn node(&self, i: usize, step: &Step) -> Result<Start, ResourceError> {
        let found = self
            .refreshed
            .found
            .get(&step.address)
            .ok_or_else(|| missing(&step.address))?;
        let mut target = found.target.clone();
        for address in &found.refers {
            if let Some(outputs) = self.outputs.get(address) {
                target.outputs.insert(address.clone(), Arc::clone(outputs));
            }
        }
        if let Some(wanted) = &found.wanted {
            target.inputs = Some(crate::resource::resolve(&wanted.inputs, &target.outputs)?);
        }
        let live: Option<Live> = match &found.seen {
            Seen::Known(observed) => observed.live().cloned(),
            Seen::After(_) | Seen::GoesWith(_) => None,
            Seen::Error(error) => return Err(error.clone()),
        };
        let action = self.decide(step, found.wanted.is_some(), live.as_ref())?;
        let record = action.writes() || self.must_record(step);
        if action == Action::Unchanged
            && !record
            && let Some(live) = live.as_ref().filter(|live| live.readiness == Readiness::Ready)
        {
            return Ok(Start::Standing(Arc::new(live.outputs.clone())));
        }
        let (Some(kind), Some(limit), Some(looker)) = (
            self.kinds.get(step.kind.as_str()),
            self.at_once.get(step.kind.as_str()),
            self.lookers.get(step.kind.as_str()),
        ) else {
            return Err(missing(&step.address));
        };
        let intended = Intended {
            action,
            ..self.intended(step)
        };
        target.generation = intended.remembered.generation;
        Ok(Start::Work(Box::new(Node {
            run: self.run.clone(),
            index: i,
            action,
            kind: Arc::clone(kind),
            target,
            live,
            intended,
            record,
            tell: self.tell.clone(),
            limit: Arc::clone(limit),
            looker: looker.clone(),
        })))
    }

    /// The action, now that everything it refers to is known: never more destructive than the plan that was shown.
    fn decide(&self, step: &Step, wanted: bool, live: Option<&Live>) -> Result<Action, ResourceError> {
        let late = matches!(step.reason, Some(Reason::KnownAfter(_)));
        let mut now = step.clone();
        match (wanted, live) {
            (true, None) => now.action = Action::Create,
            (true, Some(live)) if late => compare(&mut now, live),
            (true, Some(_)) | (false, _) => {}
        }
        let worse = now.action.severity() > step.action.severity().max(Action::Update.severity());
        if now.action == Action::Conflict {
            return Err(conflict_error(&now));
        }
        if worse {
            return Err(ResourceError::new(
                crate::resource::Cause::Outdated,
                format!(
                    "it would now have to be replaced (because of {}), which the plan did not show",
                    now.forces.join(", ")
                ),
            )
            .hint("run 'stackup diff' to see the plan as it is now, then apply it"));
        }
        Ok(now.action)
    }

    async fn hear(&mut self, first: Message) {
        // Everything that was told meanwhile goes to disk in one write.
        let mut records = Vec::new();
        let mut written: Vec<oneshot::Sender<()>> = Vec::new();
        let mut applied = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Journal(record, answer) => {
                    records.push(record);
                    written.push(answer);
                }
                Message::Applied(i) => applied.push(i),
            }
            next = self.told.try_recv().ok();
        }
        self.write(records).await;
        if self.lost.is_none() {
            // A node that no longer listens has ended.
            for answer in written {
                let _ended = answer.send(());
            }
        }
        applied.into_iter().for_each(|i| self.apply(i));
    }

    async fn write(&mut self, records: Vec<Record>) {
        if self.lost.is_none()
            && let Err(error) = self.ledger.write(records).await
        {
            self.lost = Some(error);
        }
    }

    /// The write of a step has happened.
    fn apply(&mut self, i: usize) {
        if let Some(applied) = self.applied.get_mut(i)
            && !std::mem::replace(applied, true)
        {
            self.satisfy(i, Until::Applied);
        }
    }

    fn satisfy(&mut self, i: usize, until: Until) {
        let waiting: Vec<usize> = self
            .edges
            .waiting
            .get(i)
            .into_iter()
            .flatten()
            .filter_map(|(node, needed)| (*needed == until).then_some(*node))
            .collect();
        for node in waiting {
            self.one_less(node);
        }
    }

    fn one_less(&mut self, node: usize) {
        if let Some(open) = self.edges.open.get_mut(node) {
            *open = open.saturating_sub(1);
            if *open == 0 && self.states.get(node) == Some(&State::Open) {
                self.ready.push(node);
            }
        }
    }

    async fn end(&mut self, ended: Result<(usize, Ended), tokio::task::JoinError>) {
        // What the node told before it ended comes first.
        while let Ok(message) = self.told.try_recv() {
            self.hear(message).await;
        }
        match ended {
            Ok((i, Ended::Done(outputs))) => {
                let took_ms = self.took(i);
                if let Some(step) = self.plan.steps.get(i) {
                    self.run.events.send(EventKind::StepFinished {
                        address: step.address.clone(),
                        action: step.action,
                        took_ms,
                    });
                }
                self.succeed(i, outputs);
            }
            Ok((i, Ended::Failed(failure))) => self.fail(i, failure),
            Ok((i, Ended::Left)) => self.set(i, State::Ended),
            Err(panic) => self.run.events.send(EventKind::Warning {
                address: None,
                message: format!("a task of stackup itself ended unexpectedly, please report it: {panic}"),
            }),
        }
    }

    fn succeed(&mut self, i: usize, outputs: Option<Arc<Value>>) {
        self.set(i, State::Ended);
        let Some(step) = self.plan.steps.get(i) else {
            return;
        };
        self.report.done.insert(step.address.clone(), step.action);
        if let Some(outputs) = outputs {
            self.outputs.insert(step.address.clone(), outputs);
        }
        self.apply(i);
        self.satisfy(i, Until::Ready);
        self.look_again(step);
    }

    /// What lives in this resource could not be asked about before it was there: now it can.
    fn look_again(&mut self, step: &Step) {
        let waiting: Vec<(Address, bool)> = self
            .refreshed
            .found
            .iter()
            .filter(|(_, found)| matches!(&found.seen, Seen::After(other) if *other == step.address))
            .map(|(address, found)| (address.clone(), found.wanted.is_some()))
            .collect();
        if waiting.is_empty() {
            return;
        }
        if matches!(step.action, Action::Create | Action::Replace) {
            // It was made a moment ago by this run: nothing of ours is in it.
            for (address, _) in waiting {
                if let Some(found) = self.refreshed.found.get_mut(&address) {
                    found.seen = Seen::Known(Observed::Absent);
                }
                self.release(&address);
            }
            return;
        }
        let open = waiting
            .into_iter()
            .filter_map(|(address, _)| Some((address.clone(), self.refreshed.found.get(&address)?.clone())))
            .collect();
        let (run, outputs) = (self.run.clone(), self.outputs.clone());
        self.looking
            .spawn(async move { refresh::again(&run, open, &outputs).await });
    }

    fn looked(&mut self, refreshed: Refreshed) {
        for (address, found) in refreshed.found {
            self.refreshed.found.insert(address.clone(), found);
            self.release(&address);
        }
    }

    fn release(&mut self, address: &Address) {
        if let Some(&i) = self.index.get(address) {
            self.one_less(i);
        }
    }

    /// A step failed: everything that waits for it, directly or not, is skipped; the others go on.
    fn fail(&mut self, i: usize, failure: Failure) {
        self.set(i, State::Ended);
        let Some(step) = self.plan.steps.get(i) else {
            return;
        };
        self.run.events.send(EventKind::StepFailed {
            address: step.address.clone(),
            action: failure.action,
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            details: failure.details.clone(),
            took_ms: self.took(i),
        });
        self.report.failed.insert(step.address.clone(), failure);
        let applied = self.applied.get(i) == Some(&true);
        let mut skipping = vec![(i, applied)];
        while let Some((i, applied)) = skipping.pop() {
            let waiting: Vec<usize> = self
                .edges
                .waiting
                .get(i)
                .into_iter()
                .flatten()
                .filter_map(|(node, until)| (!applied || *until == Until::Ready).then_some(*node))
                .collect();
            for node in waiting {
                if self.states.get(node) == Some(&State::Open)
                    && let Some(skipped) = self.plan.steps.get(node)
                {
                    self.set(node, State::Ended);
                    self.run.events.send(EventKind::StepSkipped {
                        address: skipped.address.clone(),
                        because: step.address.clone(),
                    });
                    self.report
                        .skipped
                        .insert(skipped.address.clone(), step.address.clone());
                    skipping.push((node, false));
                }
            }
        }
    }

    fn set(&mut self, i: usize, state: State) {
        if let Some(slot) = self.states.get_mut(i) {
            *slot = state;
        }
    }

    fn took(&self, i: usize) -> u64 {
        let took = self.started.get(&i).map(Instant::elapsed).unwrap_or_default();
        u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
    }

    async fn finish(mut self, verb: Verb) -> Executed {
        let reached = |address: &Address| {
            let report = &self.report;
            report.done.contains_key(address)
                || report.failed.contains_key(address)
                || report.skipped.contains_key(address)
        };
        let left = self
            .plan
            .steps
            .iter()
            .filter(|step| !reached(&step.address))
            .map(|step| step.address.clone())
            .collect();
        self.report.left = left;
        let snapshot = self.ledger.snapshot.clone();
        let snapshot = if self.lost.is_some() {
            snapshot
        } else {
            match self.ledger.close().await {
                Ok(saved) => saved,
                Err(error) => {
                    self.lost = Some(error);
                    snapshot
                }
            }
        };
        let mut report = self.report;
        report.outcome = outcome(&report, self.run, self.lost.is_some());
        self.run.events.send(EventKind::RunFinished {
            verb,
            outcome: report.outcome,
            done: report.done.len(),
            failed: report.failed.len(),
            skipped: report.skipped.len(),
        });
        Executed {
            report,
            snapshot,
            lost: self.lost,
        }
    }
}

enum Start {
    /// It stands as wanted and as remembered: nothing to do but to read its outputs.
    Standing(Arc<Value>),
    Work(Box<Node>),
}

fn outcome(report: &Report, run: &Run, lost: bool) -> Outcome {
    let failed = || report.failed.values();
    if let Some(stop) = run.cancel.stopped().filter(|_| !report.left.is_empty()) {
        Outcome::Stopped(stop)
    } else if lost {
        Outcome::StateLost
    } else if report.failed.is_empty() {
        Outcome::Done
    } else if failed().all(|failure| failure.refused) && report.written() == 0 {
        Outcome::Refused
    } else if failed().all(|failure| failure.deadline) {
        Outcome::Deadline
    } else {
        Outcome::Failed
    }
}

fn failure(action: Action, error: &ResourceError) -> Failure {
    use crate::resource::Cause;
    Failure {
        action,
        message: error.to_string(),
        hint: error.hint.clone(),
        details: Vec::new(),
        deadline: false,
        refused: matches!(error.cause, Cause::Refused | Cause::Outdated),
        unreachable: error.cause == Cause::Unreachable,
    }
}

fn conflict(step: &Step) -> Failure {
    failure(Action::Conflict, &conflict_error(step))
}

/// Why a resource cannot be touched, in words.
fn conflict_error(step: &Step) -> ResourceError {
    let refused = |message: String| ResourceError::new(crate::resource::Cause::Refused, message);
    if let Some(Reason::NotOurs(owner)) = &step.reason {
        return refused(format!("it is there and not ours: {owner}"))
            .hint("run again with --adopt to take it over, or remove it from the stack");
    }
    let fields: Vec<String> = step
        .conflicts
        .iter()
        .map(|conflict| format!("{} (owned by {})", conflict.path, conflict.manager))
        .collect();
    refused(format!("another writer owns {}", fields.join(", ")))
        .hint("remove these fields from the manifest, or have the other writer give them up")
}

fn missing(address: &Address) -> ResourceError {
    ResourceError::permanent(format!(
        "{address} was planned and is unknown to the run: please report this"
    ))
}
