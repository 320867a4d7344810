//! Waiting: retries with backoff, and the batched look every few seconds. The only sleeps of the program.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};

use super::Run;
use crate::{
    model::EventKind,
    resource::{Intent, Kind, Observed, ResourceError, Target, Traits},
};

/// How long a call that may succeed later is made again and again.
const PATIENCE: Duration = Duration::from_mins(1);
/// The pause before the second look at what is usually there at once; it grows up to the run's own pace.
const SOON: Duration = Duration::from_millis(500);

/// Pauses that double from 200 ms to 10 s, each shortened by up to a quarter by a spread that differs between resources,
/// so that many waiters do not call at once.
pub(super) struct Backoff {
    next: Duration,
    until: Instant,
    spread: u32,
}

impl Backoff {
    /// The seed names who waits, so that many do not wait alike.
    fn new(seed: &str, patience: Duration) -> Self {
        let spread = seed.bytes().fold(7u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        }) % 250;
        Self {
            next: Duration::from_millis(200),
            until: Instant::now() + patience,
            spread,
        }
    }

    /// The next pause, or `None` when patience is over.
    fn pause(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let pause = asked.unwrap_or(self.next * (1000 - self.spread) / 1000);
        self.next = (self.next * 2).min(Duration::from_secs(10));
        (Instant::now() + pause < self.until).then_some(pause)
    }
}

/// Makes a call until it succeeds, fails for good, or patience is over. A stop ends the repeats, never a call.
pub(super) async fn retry<'a, T>(
    run: &Run,
    traits: Traits,
    target: &'a Target,
    call: impl Fn(&'a Target) -> crate::resource::Boxed<'a, Result<T, ResourceError>>,
) -> Result<T, ResourceError> {
    // Where an earlier run's call may still be at work on the other side, its whole time is worth waiting.
    let patience = if traits.intent == Intent::Each {
        traits.deadline
    } else {
        PATIENCE
    };
    let mut backoff = Backoff::new(target.address.as_str(), patience);
    loop {
        let error = match call(target).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let pause = if error.again() {
            backoff.pause(error.retry_after)
        } else {
            None
        };
        let Some(pause) = pause.filter(|_| run.cancel.stopped().is_none()) else {
            return Err(error);
        };
        run.events.send(EventKind::StepRetrying {
            address: target.address.clone(),
            message: error.to_string(),
            in_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        let mut cancel = run.cancel.clone();
        tokio::select! {
            () = sleep(pause) => {}
            _ = cancel.wait() => return Err(error),
        }
    }
}

/// Looks at all targets of a kind, and again at those whose answer may be better later.
pub(super) async fn observe(
    run: &Run,
    kind: &dyn Kind,
    targets: &[Target],
) -> Vec<Result<Observed, ResourceError>> {
    let mut answers = kind.observe(targets).await;
    let mut backoff = Backoff::new(kind.name(), PATIENCE);
    loop {
        let again: Vec<usize> = answers
            .iter()
            .enumerate()
            .filter_map(|(i, answer)| answer.as_ref().is_err_and(ResourceError::again).then_some(i))
            .collect();
        let asked = again
            .iter()
            .filter_map(|i| answers.get(*i)?.as_ref().err()?.retry_after)
            .max();
        if again.is_empty() || run.cancel.stopped().is_some() {
            return answers;
        }
        let Some(pause) = backoff.pause(asked) else {
            return answers;
        };
        sleep(pause).await;
        let open: Vec<Target> = again.iter().filter_map(|i| targets.get(*i).cloned()).collect();
        for (i, answer) in again.into_iter().zip(kind.observe(&open).await) {
            if let Some(slot) = answers.get_mut(i) {
                *slot = answer;
            }
        }
    }
}

/// What stands of a target, again and again: the kind's own watch, or a look every few seconds.
pub(super) fn looks<'a>(
    kind: &'a Arc<dyn Kind>,
    looker: &Looker,
    target: &'a Target,
) -> BoxStream<'a, Result<Observed, ResourceError>> {
    if let Some(watch) = kind.watch(target) {
        return watch;
    }
    let (tell, told) = mpsc::unbounded_channel();
    // A looker that has ended leaves the stream empty, and the caller asks for a new one.
    drop(looker.0.send(Ask {
        target: target.clone(),
        tell,
    }));
    futures::stream::unfold(told, |mut told| async move {
        told.recv().await.map(|answer| (answer, told))
    })
    .boxed()
}

/// Waits before a watch that ended is asked for again.
pub(super) async fn breathe() {
    sleep(SOON).await;
}

/// Sleeps until a deadline.
pub(super) async fn deadline(at: Instant) {
    sleep_until(at).await;
}

/// Looks at all waiting resources of one kind at once, every few seconds.
#[derive(Debug, Clone)]
pub(super) struct Looker(mpsc::UnboundedSender<Ask>);

#[derive(Debug)]
struct Ask {
    target: Target,
    tell: mpsc::UnboundedSender<Result<Observed, ResourceError>>,
}

impl Looker {
    /// Starts looking on behalf of one kind, in the long run every `pace`; ends when the last clone is dropped.
    ///
    /// What is paced and usually takes longer than that is not looked at sooner. All else is looked at at once, and then at first
    /// more often.
    pub(super) fn start(kind: Arc<dyn Kind>, pace: Duration) -> Self {
        let traits = kind.traits();
        let slow = traits.paced && traits.expected.is_some_and(|expected| expected > pace);
        let (first, second) = if slow {
            (pace, pace)
        } else {
            (Duration::ZERO, SOON.min(pace))
        };
        let (ask, mut asked) = mpsc::unbounded_channel::<Ask>();
        tokio::spawn(async move {
            let mut waiting: Vec<Ask> = Vec::new();
            let (mut pause, mut due) = (second, Instant::now());
            loop {
                tokio::select! {
                    // Those that come together are looked at together.
                    biased;
                    ask = asked.recv() => match ask {
                        Some(ask) => {
                            if waiting.is_empty() || !slow {
                                (pause, due) = (second, Instant::now() + first);
                            }
                            waiting.push(ask);
                            continue;
                        }
                        None => return,
                    },
                    () = sleep_until(due), if !waiting.is_empty() => {}
                }
                let targets: Vec<Target> = waiting.iter().map(|ask| ask.target.clone()).collect();
                let answers = kind.observe(&targets).await;
                let told = waiting.into_iter().zip(answers);
                // Who no longer listens no longer waits.
                waiting = told
                    .filter_map(|(ask, answer)| ask.tell.send(answer).is_ok().then_some(ask))
                    .collect();
                due = Instant::now() + pause;
                pause = (pause * 3 / 2).min(pace);
            }
        });
        Self(ask)
    }
}
