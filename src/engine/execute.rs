use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde_json::Value;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::{self, JoinError, JoinSet},
    time::Instant,
};

use super::{
    Cancel, Canceller, Refreshed, Run,
    graph::{Edges, edges},
    ledger::Ledger,
    node::{Ended, Message},
    start::{Start, conflict, failure},
    timings::{Clock, usual},
    wait::Looker,
};
use crate::{
    model::{Action, Address, EventKind, Failure, Plan, Reason, Report, Stop, Until, Verb},
    resource::{Kind, ResourceError},
    state::{Loaded, Record, Snapshot, StateError, Store},
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
    let asked = run.cancel.clone();
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
    let (halt, halted) = Canceller::new();
    let run = Run {
        cancel: halted,
        ..run.clone()
    };
    let coordinator = Coordinator {
        asked,
        halt,
        run: &run,
        plan,
        at_once: kinds
            .iter()
            .map(|(name, kind)| (*name, Arc::new(Semaphore::new(kind.traits().at_once))))
            .collect(),
        lookers: kinds
            .iter()
            .map(|(name, kind)| (*name, Looker::start(Arc::clone(kind), run.pace)))
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
        clock: Clock::start(plan.steps.len()),
        edges,
        after: HashMap::new(),
        inside: HashMap::new(),
        refreshed,
        outputs: BTreeMap::new(),
        serial: loaded.snapshot.serial,
        ledger: Ledger::new(store, loaded.snapshot, verb, loaded.unfinished),
        report: Report::default(),
        ready: Vec::new(),
        running: JoinSet::new(),
        looking: JoinSet::new(),
        tasks: HashMap::new(),
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
pub(super) struct Coordinator<'a> {
    /// Whether the run was asked to stop.
    pub(super) asked: Cancel,
    /// Has everything in flight leave: a stop was asked for, or the state is lost.
    halt: Canceller,
    /// What the nodes work with; its stop is `halt`.
    pub(super) run: &'a Run,
    pub(super) plan: &'a Plan,
    pub(super) kinds: BTreeMap<&'a str, Arc<dyn Kind>>,
    pub(super) at_once: BTreeMap<&'a str, Arc<Semaphore>>,
    pub(super) lookers: BTreeMap<&'a str, Looker>,
    pub(super) index: HashMap<Address, usize>,
    states: Vec<State>,
    applied: Vec<bool>,
    pub(super) clock: Clock,
    pub(super) edges: Edges,
    /// What could not be asked about before that resource is there.
    pub(super) after: HashMap<Address, Vec<Address>>,
    /// What goes along when that resource goes.
    pub(super) inside: HashMap<Address, Vec<Address>>,
    pub(super) refreshed: Refreshed,
    pub(super) outputs: BTreeMap<Address, Arc<Value>>,
    /// The number of the state that the run began with.
    pub(super) serial: u64,
    pub(super) ledger: Ledger<'a>,
    pub(super) report: Report,
    /// Steps whose needs are all met and that have not been started.
    ready: Vec<usize>,
    running: JoinSet<(usize, Ended)>,
    /// One more look at what waited for a step.
    pub(super) looking: JoinSet<(usize, Refreshed)>,
    /// Whose step each task works for.
    pub(super) tasks: HashMap<task::Id, usize>,
    pub(super) started: HashMap<usize, Instant>,
    pub(super) tell: mpsc::Sender<Message>,
    told: mpsc::Receiver<Message>,
    pub(super) lost: Option<StateError>,
}

impl Coordinator<'_> {
    async fn walk(mut self, verb: Verb) -> Executed {
        self.hold_back();
        let intent = self.intent();
        self.write(intent).await;
        self.ready = (0..self.plan.steps.len())
            .filter(|i| self.edges.open.get(*i) == Some(&0))
            .collect();
        let mut cancel = self.asked.clone();
        let mut stopping = false;
        loop {
            self.start_ready().await;
            if self.running.is_empty() && self.looking.is_empty() {
                break;
            }
            tokio::select! {
                // A stop is told before what it ends, and what a node told before that the node has ended.
                biased;
                stop = cancel.wait(), if !stopping => {
                    stopping = true;
                    self.halt.stop(stop);
                    self.run.events.send(EventKind::Stopping { signal: format!("{stop:?}").to_uppercase(), in_flight: self.running.len() });
                }
                Some(message) = self.told.recv() => self.hear(message).await,
                Some(ended) = self.running.join_next_with_id() => self.end(ended).await,
                Some(looked) = self.looking.join_next_with_id() => self.have_looked(looked),
            }
        }
        self.finish(verb).await
    }

    /// Starts every step whose needs are met, until a stop comes.
    async fn start_ready(&mut self) {
        while !self.ready.is_empty() {
            if self.asked.stopped().is_some() || self.lost.is_some() {
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
                let kind = self.kinds.get(step.kind.as_str());
                let expected = kind.and_then(|kind| usual(kind.traits(), step));
                self.run.events.send(EventKind::StepStarted {
                    address: step.address.clone(),
                    component: step.component.clone(),
                    action: node.action,
                    expected_ms: expected.and_then(|expected| u64::try_from(expected.as_millis()).ok()),
                });
                self.set(i, State::Running);
                self.started.insert(i, Instant::now());
                self.clock.started(i);
                let task = self.running.spawn(async move { (i, node.go().await) });
                self.tasks.insert(task.id(), i);
            }
            Err(error) => self.fail(i, failure(step.action, &error)),
        }
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
        for i in applied {
            self.apply(i);
        }
    }

    async fn write(&mut self, records: Vec<Record>) {
        if self.lost.is_none()
            && let Err(error) = self.ledger.write(records).await
        {
            self.run.events.send(EventKind::Warning {
                address: None,
                message: format!("the state cannot be written any more, so nothing new begins and what is in flight is left: {error}"),
            });
            self.lost = Some(error);
            // Which signal is all the same: the outcome is told by the loss.
            self.halt.stop(Stop::Term);
        }
    }

    /// The write of a step has happened.
    fn apply(&mut self, i: usize) {
        if let Some(applied) = self.applied.get_mut(i)
            && !std::mem::replace(applied, true)
        {
            self.clock.applied(i);
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
            self.one_less(node, i);
        }
    }

    /// One need of a step is met, by that other one.
    pub(super) fn one_less(&mut self, node: usize, by: usize) {
        if let Some(open) = self.edges.open.get_mut(node) {
            *open = open.saturating_sub(1);
            if *open == 0 && self.states.get(node) == Some(&State::Open) {
                self.ready.push(node);
                self.clock.ready(node, by);
            }
        }
    }

    async fn end(&mut self, ended: Result<(task::Id, (usize, Ended)), JoinError>) {
        // What the node told before it ended comes first.
        while let Ok(message) = self.told.try_recv() {
            self.hear(message).await;
        }
        match ended {
            Ok((_, (i, Ended::Done(outputs)))) => {
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
            Ok((_, (i, Ended::Failed(failure)))) => self.fail(i, failure),
            Ok((_, (i, Ended::Left))) => self.set(i, State::Ended),
            Err(panic) => self.broke(&panic),
        }
    }

    fn have_looked(&mut self, looked: Result<(task::Id, (usize, Refreshed)), JoinError>) {
        match looked {
            Ok((_, looked)) => self.looked(looked),
            Err(panic) => self.broke(&panic),
        }
    }

    /// A task of ours panicked: what it worked for has failed, and with it what waits for that.
    fn broke(&mut self, panic: &JoinError) {
        let Some(&i) = self.tasks.get(&panic.id()) else {
            return;
        };
        let action = self
            .plan
            .steps
            .get(i)
            .map_or(Action::Unchanged, |step| step.action);
        let error = ResourceError::permanent(format!("stackup itself broke while at work on it: {panic}"))
            .hint(
                "please report this with the lines that stand before it; the same command goes on from here",
            );
        self.fail(i, failure(action, &error));
    }

    fn succeed(&mut self, i: usize, outputs: Option<Arc<Value>>) {
        self.set(i, State::Ended);
        self.clock.ended(i);
        let Some(step) = self.plan.steps.get(i) else {
            return;
        };
        self.report.done.insert(step.address.clone(), step.action);
        if let Some(outputs) = outputs {
            self.outputs.insert(step.address.clone(), outputs);
        }
        self.apply(i);
        self.satisfy(i, Until::Ready);
        self.look_again(i, step);
    }

    /// A step failed: everything that waits for it, directly or not, is skipped; the others go on.
    fn fail(&mut self, i: usize, failure: Failure) {
        self.set(i, State::Ended);
        self.clock.ended(i);
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
}
