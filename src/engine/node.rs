//! One resource's way: announce, call, announce what came back, until it is ready or gone.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::StreamExt;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::{
    Run,
    wait::{self, Looker},
};
use crate::{
    model::{Action, Address, EventKind, Failure},
    resource::{Boxed, Cause, Intent, Kind, Live, Made, Observed, Readiness, ResourceError, Target},
    state::{Intended, Record},
};

/// How many lines of a closer look are worth telling.
const DETAILS: usize = 20;
/// How often a write is tried again because the thing moved between look and write.
const MOVES: usize = 3;

/// What a node tells the coordinator.
pub(super) enum Message {
    /// Write this; answer when it is on disk. No answer means that it will never be.
    Journal(Record, oneshot::Sender<()>),
    /// The write has happened: whoever needs only that may start.
    Applied(usize),
}

/// One resource on its way.
pub(super) struct Node {
    pub(super) run: Run,
    pub(super) index: usize,
    pub(super) action: Action,
    pub(super) kind: Arc<dyn Kind>,
    pub(super) target: Target,
    /// What stood at the last look.
    pub(super) live: Option<Live>,
    pub(super) intended: Intended,
    /// Whether an earlier run may have made it and never heard of it.
    pub(super) doubt: bool,
    /// What must be gone before it can go, when it is made anew.
    pub(super) first: Vec<Node>,
    /// What goes along when it goes.
    pub(super) inside: Vec<Address>,
    /// Whether the state must be told of it: not when it stands just as the state says.
    pub(super) record: bool,
    pub(super) tell: mpsc::Sender<Message>,
    pub(super) limit: Arc<Semaphore>,
    pub(super) looker: Looker,
}

/// How a node ended.
pub(super) enum Ended {
    /// As wanted and ready, with its outputs; or gone.
    Done(Option<Arc<serde_json::Value>>),
    /// It could not be brought there.
    Failed(Failure),
    /// A stop came, or the state could not be written.
    Left,
}

/// Why a node's way ended early.
enum Halt {
    Error(ResourceError),
    NotReady(String),
    Deadline(String),
    Left,
}

impl From<ResourceError> for Halt {
    fn from(error: ResourceError) -> Self {
        Self::Error(error)
    }
}

impl Node {
    /// Goes the whole way.
    pub(super) async fn go(self) -> Ended {
        let way = match self.action {
            Action::Delete => self.remove().await.map(|()| None),
            Action::Create | Action::Update | Action::Replace | Action::Unchanged => {
                self.bring().await.map(Some)
            }
            Action::Forget | Action::Conflict => Ok(None),
        };
        match way {
            Ok(outputs) => Ended::Done(outputs),
            Err(Halt::Left) => Ended::Left,
            Err(halt) => Ended::Failed(self.failure(halt).await),
        }
    }

    async fn bring(&self) -> Result<Arc<serde_json::Value>, Halt> {
        let together = self.kind.traits().intent == Intent::Together;
        let made = match self.write(together).await {
            Ok(made) => made,
            Err(Halt::Error(error)) => {
                self.record_failure(&error.to_string()).await?;
                return Err(Halt::Error(error));
            }
            Err(other) => return Err(other),
        };
        if let (Some(id), false) = (&made.id, together) {
            self.journal(Record::Id {
                address: self.address().clone(),
                id: id.clone(),
            })
            .await?;
        }
        // What is known beforehand is done once it is written; what has an id of its own, once it works.
        let early = made.live.as_ref().filter(|_| together);
        if let Some(live) = early {
            self.done(live).await?;
        }
        let early = early.is_some();
        if self.action.writes() {
            self.run.events.send(EventKind::StepApplied {
                address: self.address().clone(),
                action: self.action,
            });
        }
        // The coordinator outlives its nodes; if it does not, the next record says so.
        drop(self.tell.send(Message::Applied(self.index)).await);
        let live = match made.live {
            Some(live) if live.readiness == Readiness::Ready => Ok(live),
            Some(_) | None => self.until_ready().await,
        };
        let live = match live {
            Ok(live) => live,
            Err(halt @ (Halt::NotReady(_) | Halt::Deadline(_) | Halt::Error(_))) if !together => {
                self.record_failure(&halt.words()).await?;
                return Err(halt);
            }
            Err(halt) => return Err(halt),
        };
        if !early {
            self.done(&live).await?;
        }
        Ok(Arc::new(live.outputs))
    }

    /// Makes the call, or calls, of the action.
    async fn write(&self, together: bool) -> Result<Made, Halt> {
        if !together && self.record {
            self.journal(Record::Begin {
                node: Box::new(self.intended.clone()),
            })
            .await?;
        }
        if self.action == Action::Unchanged {
            return Ok(Made {
                id: None,
                live: self.live.clone(),
            });
        }
        let _turn = self.limit.acquire().await.map_err(|_closed| Halt::Left)?;
        if self.run.cancel.stopped().is_some() {
            return Err(Halt::Left);
        }
        match self.action {
            Action::Update => self.change().await,
            Action::Replace => {
                self.away().await?;
                self.create().await
            }
            Action::Create => self.create().await,
            Action::Delete | Action::Forget | Action::Conflict | Action::Unchanged => Ok(Made::default()),
        }
    }

    /// Removes it to make room for its new form, after everything that pins it.
    fn away(&self) -> Boxed<'_, Result<(), Halt>> {
        Box::pin(async move {
            for node in &self.first {
                node.journal(Record::Begin {
                    node: Box::new(node.intended.clone()),
                })
                .await?;
                node.away().await?;
            }
            self.call(|target| self.kind.delete(target)).await?;
            self.until_gone().await
        })
    }

    /// Makes a call, again where it may succeed later. One that a stop kept from being made again is left, not failed.
    async fn call<'a, T>(
        &'a self,
        call: impl Fn(&'a Target) -> Boxed<'a, Result<T, ResourceError>>,
    ) -> Result<T, Halt> {
        let called = wait::retry(&self.run, self.kind.traits(), &self.target, call).await;
        called.map_err(|error| {
            if error.again() && self.run.cancel.stopped().is_some() {
                Halt::Left
            } else {
                error.into()
            }
        })
    }

    /// Makes it. Where an earlier call may have made it already, it is looked for before it is made once more.
    async fn create(&self) -> Result<Made, Halt> {
        let doubt = AtomicBool::new(self.doubt);
        let call = |target| {
            let doubt = &doubt;
            Box::pin(async move {
                if doubt.load(Ordering::Relaxed)
                    && let Some(made) = self.made_unseen().await?
                {
                    return Ok(made);
                }
                let made = self.kind.create(target).await;
                let lost = matches!(&made, Err(error) if error.cause == Cause::Lost);
                doubt.store(lost, Ordering::Relaxed);
                made
            }) as Boxed<'_, Result<Made, ResourceError>>
        };
        self.call(call).await
    }

    /// What a call made of which no answer came, if it shows as long as it may stay unseen; brought to what is wanted,
    /// as the call may have been the first of several.
    async fn made_unseen(&self) -> Result<Option<Made>, ResourceError> {
        let settles = self.kind.traits().settles;
        let end = Instant::now() + settles;
        while !settles.is_zero() {
            let seen = self.kind.observe(std::slice::from_ref(&self.target)).await;
            match seen.into_iter().next().transpose()? {
                Some(Observed::Live(live)) => {
                    if let Some(owner) = &live.foreign {
                        let message = format!("it is there and not ours: {owner}");
                        return Err(ResourceError::new(Cause::Refused, message).hint(
                            "remove it, or give the stack's own another name, and run the same command again",
                        ));
                    }
                    if !live.changes.is_empty() && live.forces.is_empty() {
                        self.kind.update(&self.target).await?;
                    }
                    return Ok(Some(Made {
                        id: live.id.clone(),
                        live: Some(*live).filter(|live| live.changes.is_empty()),
                    }));
                }
                Some(Observed::Absent) | None => {}
            }
            if Instant::now() >= end || self.run.cancel.stopped().is_some() {
                break;
            }
            wait::breathe().await;
        }
        Ok(None)
    }

    /// Updates in place; if the thing moved since it was looked at, looks again, as long as the difference is no worse.
    async fn change(&self) -> Result<Made, Halt> {
        for _ in 0..MOVES {
            match self.call(|target| self.kind.update(target)).await {
                Err(Halt::Error(error)) if error.cause == Cause::Outdated => {
                    let seen =
                        wait::observe(&self.run, self.kind.as_ref(), std::slice::from_ref(&self.target))
                            .await;
                    match seen.into_iter().next() {
                        Some(Ok(Observed::Live(live)))
                            if live.forces.is_empty() && live.conflicts.is_empty() => {}
                        Some(Err(error)) => return Err(error.into()),
                        Some(Ok(_)) | None => return Err(outdated(&self.target.address).into()),
                    }
                }
                other => return other,
            }
        }
        Err(outdated(&self.target.address).into())
    }

    async fn remove(&self) -> Result<(), Halt> {
        let deleted = async {
            if self.kind.traits().intent == Intent::Each {
                self.journal(Record::Begin {
                    node: Box::new(self.intended.clone()),
                })
                .await?;
            }
            {
                let _turn = self.limit.acquire().await.map_err(|_closed| Halt::Left)?;
                if self.run.cancel.stopped().is_some() {
                    return Err(Halt::Left);
                }
                self.call(|target| self.kind.delete(target)).await?;
            }
            self.until_gone().await
        };
        match deleted.await {
            Ok(()) => {
                // In one record: a crash in between would leave them without what they lived in.
                let addresses = std::iter::once(self.address())
                    .chain(&self.inside)
                    .cloned()
                    .collect();
                self.journal(Record::Gone { addresses }).await
            }
            Err(Halt::Left) => Err(Halt::Left),
            Err(halt) => {
                self.record_failure(&halt.words()).await?;
                Err(halt)
            }
        }
    }

    /// Looks until it works, fails, or its time is over.
    async fn until_ready(&self) -> Result<Live, Halt> {
        self.look(|observed| match observed {
            Observed::Live(live) => match &live.readiness {
                Readiness::Ready => Look::Enough(live),
                Readiness::NotYet(why) => Look::Wait(why.clone()),
                Readiness::Failed(why) | Readiness::Stuck(why) => Look::Never(why.clone()),
            },
            Observed::Absent => Look::Wait("not visible yet".into()),
        })
        .await
        .map(|live| *live)
    }

    async fn until_gone(&self) -> Result<(), Halt> {
        let ours = self
            .target
            .remembered
            .as_ref()
            .and_then(|remembered| remembered.id.clone());
        self.look(|observed| match observed {
            Observed::Absent => Look::Enough(()),
            // Ours is gone, and someone has made another one of the same name.
            Observed::Live(live) if ours.is_some() && live.id.is_some() && live.id != ours => {
                Look::Enough(())
            }
            Observed::Live(live) => match live.readiness {
                Readiness::Stuck(why) => Look::Never(why),
                Readiness::NotYet(why) | Readiness::Failed(why) => Look::Wait(why),
                Readiness::Ready => Look::Wait("being deleted".into()),
            },
        })
        .await
    }

    async fn look<T>(&self, judge: impl Fn(Observed) -> Look<T>) -> Result<T, Halt> {
        let end = Instant::now() + self.kind.traits().deadline;
        let mut cancel = self.run.cancel.clone();
        let mut told = String::from("nothing has been seen of it yet");
        loop {
            let mut looks = wait::looks(&self.kind, &self.looker, &self.target);
            loop {
                let seen = tokio::select! {
                    seen = looks.next() => seen,
                    _ = cancel.wait() => return Err(Halt::Left),
                    () = wait::deadline(end) => return Err(Halt::Deadline(told)),
                };
                match seen {
                    Some(Ok(observed)) => match judge(observed) {
                        Look::Enough(value) => return Ok(value),
                        Look::Never(why) => return Err(Halt::NotReady(why)),
                        Look::Wait(why) => self.tell_waiting(&mut told, why),
                    },
                    Some(Err(error)) if error.again() => self.tell_waiting(&mut told, error.to_string()),
                    Some(Err(error)) => return Err(error.into()),
                    None => break,
                }
            }
            wait::breathe().await;
        }
    }

    fn tell_waiting(&self, told: &mut String, why: String) {
        if *told != why {
            self.run.events.send(EventKind::StepWaiting {
                address: self.address().clone(),
                why: why.clone(),
            });
            *told = why;
        }
    }

    async fn done(&self, live: &Live) -> Result<(), Halt> {
        if !self.record {
            return Ok(());
        }
        self.journal(Record::Done {
            address: self.address().clone(),
            id: live.id.clone(),
            outputs: live.outputs.clone(),
            input_hash: self.target.input_hash.clone(),
        })
        .await
    }

    async fn record_failure(&self, message: &str) -> Result<(), Halt> {
        if !self.record {
            return Ok(());
        }
        self.journal(Record::Failed {
            address: self.address().clone(),
            message: message.to_owned(),
        })
        .await
    }

    /// Writes a record and waits until it is on disk.
    async fn journal(&self, record: Record) -> Result<(), Halt> {
        let (written, durable) = oneshot::channel();
        self.tell
            .send(Message::Journal(record, written))
            .await
            .map_err(|_closed| Halt::Left)?;
        durable.await.map_err(|_closed| Halt::Left)
    }

    fn address(&self) -> &Address {
        &self.target.address
    }

    async fn failure(&self, halt: Halt) -> Failure {
        let mut details = match &halt {
            Halt::Error(error) if error.cause != Cause::Permanent => Vec::new(),
            Halt::Error(_) | Halt::NotReady(_) | Halt::Deadline(_) => self.kind.diagnose(&self.target).await,
            Halt::Left => Vec::new(),
        };
        let message = halt.words();
        details = beyond(&message, details);
        let (hint, cause) = match &halt {
            Halt::Error(error) => (error.hint.clone(), Some(error.cause)),
            Halt::NotReady(_) | Halt::Deadline(_) | Halt::Left => (None, None),
        };
        Failure {
            action: self.action,
            message,
            hint,
            details,
            deadline: matches!(halt, Halt::Deadline(_)),
            refused: matches!(cause, Some(Cause::Refused | Cause::Outdated)),
            unreachable: matches!(cause, Some(Cause::Unreachable)),
        }
    }
}

/// What one look tells about waiting on.
enum Look<T> {
    Enough(T),
    Wait(String),
    Never(String),
}

impl Halt {
    fn words(&self) -> String {
        match self {
            Self::Error(error) => error.to_string(),
            Self::NotReady(why) => why.clone(),
            Self::Deadline(why) => format!("its time is over: {why}"),
            Self::Left => String::from("left"),
        }
    }
}

/// What a closer look tells that the message does not say already, as far as it is worth telling.
fn beyond(message: &str, mut details: Vec<String>) -> Vec<String> {
    details.retain(|line| !message.contains(line.as_str()));
    details.truncate(DETAILS);
    details
}

fn outdated(address: &Address) -> ResourceError {
    ResourceError::new(
        Cause::Outdated,
        format!("{address} keeps changing, or would now have to change more than was shown"),
    )
    .hint("run 'stackup diff' to see what it would take now")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closer_look_does_not_repeat_the_message() {
        let lines = ["NoRoom: it is full", "the last line of its log"].map(str::to_owned);
        assert_eq!(
            beyond("it failed: NoRoom: it is full", lines.to_vec()),
            ["the last line of its log"]
        );
    }
}
