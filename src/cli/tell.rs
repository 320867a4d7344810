//! When a run is told, and to whom: as events from its start where they are the data; as text from when nothing is asked
//! any more, with what a person must know before that on standard error at once.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::mpsc::UnboundedReceiver, task::JoinHandle, time::timeout};

use super::{
    flags::{Format, Global},
    print::{print, tell_person},
    screen::Screen,
};
use crate::{
    model::{Event, EventKind, Events, Outcome, Summary, Verb},
    output::{self, Style, View, event_json},
};

/// Who tells a run's events, until every sender is gone.
pub(super) struct Telling(JoinHandle<()>);

impl Telling {
    /// Tells what has happened, and what happens from here on.
    pub(super) fn begin(receiver: UnboundedReceiver<Event>, screen: &Screen) -> Self {
        // Text goes beside the data, events are the data.
        let out: Box<dyn std::io::Write + Send> = match screen.view {
            View::Json => Box::new(std::io::stdout()),
            View::Terminal | View::Lines | View::Quiet => Box::new(std::io::stderr()),
        };
        Self(tokio::spawn(output::show(receiver, screen.view, screen.err, out)))
    }

    /// The run is over; a teller that is stuck on a dead terminal must not hold the exit up.
    pub(super) async fn end(self) {
        drop(timeout(Duration::from_secs(2), self.0).await);
    }
}

/// What happens in a session, until someone is told of it.
pub(super) struct Voice {
    /// What happened and nobody has told yet.
    receiver: Option<UnboundedReceiver<Event>>,
    /// Who tells it, once someone does.
    telling: Option<Telling>,
    /// Where servers' warnings are told while someone listens.
    warnings: Arc<Mutex<Option<Events>>>,
}

impl Voice {
    /// Something may happen from here on.
    pub(super) fn new() -> (Self, Events) {
        let (events, receiver) = Events::channel();
        let voice = Self {
            receiver: Some(receiver),
            telling: None,
            warnings: Arc::new(Mutex::new(Some(events.clone()))),
        };
        (voice, events)
    }

    /// Passes on what servers warn of, as long as someone listens.
    pub(super) fn warner(&self) -> Arc<dyn Fn(String) + Send + Sync> {
        let heard = Arc::clone(&self.warnings);
        Arc::new(move |message: String| {
            if let Ok(Some(events)) = heard.lock().as_deref() {
                events.warn(message);
            }
        })
    }

    /// Tells what has happened, and what happens from here on.
    pub(super) fn tell(&mut self, screen: &Screen) {
        if let Some(receiver) = self.receiver.take() {
            self.telling = Some(Telling::begin(receiver, screen));
        }
    }

    /// Tells the warnings so far, unless all is told as events; the rest waits until it is told. A person who wants quiet
    /// needs them too to answer a question.
    pub(super) fn warn(&mut self, rest: &Events, screen: &Screen, asks: bool) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let mut events = Vec::new();
        while let Ok(event) = receiver.try_recv() {
            events.push(event);
        }
        for event in events {
            let EventKind::Warning { address, message } = &event.kind else {
                rest.pass_on(event);
                continue;
            };
            if screen.view == View::Json {
                tell_person(event_json(&event).trim_end());
            } else if screen.view != View::Quiet || asks {
                let about = address.as_ref().map(|address| format!("{address}: "));
                let text = format!("warning: {}{message}", about.unwrap_or_default());
                tell_person(&screen.err.wrap(&text, screen.err.width).join("\n"));
            }
        }
    }

    /// All that has happened is told; of what happens from here on, warnings wait for [`Self::warn`].
    pub(super) async fn catch_up(&mut self, events: &mut Events) {
        let (new, receiver) = Events::channel();
        self.receiver = Some(receiver);
        self.turn(events, Some(new)).await;
    }

    /// Nothing is told any more.
    pub(super) async fn fall_silent(&mut self, events: &mut Events) {
        self.turn(events, None).await;
    }

    /// What happens goes elsewhere from here on, and what went here is told to its end.
    async fn turn(&mut self, events: &mut Events, to: Option<Events>) {
        *events = to.clone().unwrap_or_else(Events::ignored);
        if let Ok(mut warnings) = self.warnings.lock() {
            *warnings = to;
        }
        if let Some(telling) = self.telling.take() {
            telling.end().await;
        }
    }
}

/// Shows a plan as the result that it is; where results are something else, or nothing, at least to who is asked.
pub(super) fn show_plan(text: impl Fn(&Style) -> String, asks: bool, global: &Global, screen: &Screen) {
    if global.output == Format::Text && !global.quiet {
        print(&text(&screen.out));
    } else if asks {
        tell_person(text(&screen.err).trim_end());
    }
}

/// Tells that a plan had nothing to carry out: all of that many is as wanted.
pub(super) fn nothing_to_do(events: &Events, verb: Verb, done: usize) {
    events.send(EventKind::RunFinished {
        verb,
        outcome: Outcome::Done,
        done,
        failed: 0,
        skipped: 0,
        critical_path: Vec::new(),
    });
}

/// Tells that there was nothing to look at.
pub(super) fn nothing_there(events: &Events, verb: Verb) {
    let summary = Summary::default();
    events.send(EventKind::Planned { summary });
    nothing_to_do(events, verb, 0);
}

/// Tells of a whole run in which there was nothing at all.
pub(super) async fn nothing_at_all(verb: Verb, stack: &str, screen: &Screen) {
    if screen.view == View::Json {
        let (events, receiver) = Events::channel();
        let telling = Telling::begin(receiver, screen);
        let stack = stack.to_owned();
        events.send(EventKind::RunStarted { verb, stack });
        nothing_there(&events, verb);
        drop(events);
        telling.end().await;
    }
}

/// Writes a line for a person who watches a run.
pub(super) fn say(global: &Global, screen: &Screen, text: &str) {
    if global.output == Format::Text && !global.quiet {
        tell_person(&screen.err.wrap(text, screen.err.width).join("\n"));
    }
}
