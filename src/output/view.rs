use std::{
    io::Write,
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{MissedTickBehavior, interval},
};

use super::{Style, json::event_json, lines::Lines, terminal::Terminal};
use crate::model::Event;

/// Ten pictures a second are smooth; more only cost.
const FRAME: Duration = Duration::from_millis(100);

/// How events are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// A live picture on a terminal.
    Terminal,
    /// One line an event, for pipes and CI.
    Lines,
    /// One JSON document a line (`docs/events.md`).
    Json,
    /// Not at all.
    Quiet,
}

/// Tells events as they come, until every sender is gone. A reader that went away is no reason to stop: the rest is
/// taken in silently, and a reader that is slow holds up only this teller, never the run.
pub async fn show(
    events: UnboundedReceiver<Event>,
    view: View,
    style: Style,
    out: impl Write + Send + 'static,
) {
    let runtime = tokio::runtime::Handle::current();
    // Writing may block for as long as a pager likes, so it has a thread of its own.
    let told = tokio::task::spawn_blocking(move || runtime.block_on(tell(events, view, style, out)));
    if let Err(error) = told.await {
        tracing::error!(%error, "what happened could not be told");
    }
}

async fn tell(mut events: UnboundedReceiver<Event>, view: View, style: Style, out: impl Write) {
    let mut out = Out(Some(out));
    let mut teller = match view {
        View::Terminal => Teller::Terminal(Box::new(Terminal::new(style))),
        View::Lines => Teller::Lines(Lines::new(style)),
        View::Json => Teller::Json,
        View::Quiet => Teller::Quiet,
    };
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut clock = Clock::default();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => {
                    clock.hear(event.elapsed_ms);
                    teller.event(&mut out, &event);
                }
                None => break,
            },
            _ = frames.tick() => teller.tick(&mut out, clock.now_ms()),
        }
    }
    teller.end(&mut out);
}

enum Teller {
    Terminal(Box<Terminal>),
    Lines(Lines),
    Json,
    Quiet,
}

impl Teller {
    fn event(&mut self, out: &mut Out<impl Write>, event: &Event) {
        match self {
            Self::Terminal(terminal) => terminal.event(event),
            Self::Lines(lines) => out.text(&lines.event(event)),
            Self::Json => out.text(&event_json(event)),
            Self::Quiet => {}
        }
    }

    fn tick(&mut self, out: &mut Out<impl Write>, now_ms: u64) {
        match self {
            Self::Terminal(terminal) => out.with(|out| terminal.draw(out, now_ms)),
            Self::Lines(lines) => out.text(&lines.tick(now_ms)),
            Self::Json | Self::Quiet => {}
        }
    }

    fn end(&mut self, out: &mut Out<impl Write>) {
        match self {
            Self::Terminal(terminal) => out.with(|out| terminal.end(out)),
            Self::Lines(_) | Self::Json | Self::Quiet => {}
        }
    }
}

/// A writer until it fails for the first time, then nothing: the reader has gone.
struct Out<W>(Option<W>);

impl<W: Write> Out<W> {
    fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.with(|out| out.write_all(text.as_bytes()).and_then(|()| out.flush()));
        }
    }

    fn with(&mut self, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
        let Some(out) = &mut self.0 else { return };
        if let Err(error) = write(out) {
            tracing::debug!(%error, "nobody reads what happens any more");
            self.0 = None;
        }
    }
}

/// The time of the run, which events carry, carried on between them.
#[derive(Default)]
struct Clock {
    heard: Option<(Instant, u64)>,
}

impl Clock {
    fn hear(&mut self, elapsed_ms: u64) {
        self.heard = Some((Instant::now(), elapsed_ms));
    }

    fn now_ms(&self) -> u64 {
        self.heard.map_or(0, |(at, elapsed_ms)| {
            elapsed_ms.saturating_add(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tokio::sync::mpsc;

    use super::*;
    use crate::output::live::tests::events;

    /// A writer that others can read, and that refuses after `limit` bytes.
    #[derive(Clone)]
    struct Pipe {
        written: Arc<Mutex<Vec<u8>>>,
        limit: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.written.lock().unwrap();
            if written.len() + bytes.len() > self.limit {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    async fn told(view: View, limit: usize) -> String {
        let pipe = Pipe {
            written: Arc::default(),
            limit,
        };
        let (to, from) = mpsc::unbounded_channel();
        for event in events() {
            to.send(event).unwrap();
        }
        drop(to);
        show(from, view, Style::plain(80), pipe.clone()).await;
        let written = pipe.written.lock().unwrap();
        String::from_utf8(written.clone()).unwrap()
    }

    #[tokio::test]
    async fn json_is_one_versioned_document_a_line() {
        let text = told(View::Json, usize::MAX).await;
        let documents: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(documents.len(), events().len());
        assert!(
            documents
                .iter()
                .all(|document| document["v"] == 1 && document["event"].is_string())
        );
        assert_eq!(documents[0]["verb"], "apply");
        assert_eq!(documents[2]["expectedMs"], 45_000);
    }

    #[tokio::test]
    async fn every_view_tells_a_failure_but_quiet() {
        for view in [View::Terminal, View::Lines, View::Json] {
            let text = told(view, usize::MAX).await;
            assert!(
                text.contains("pod cartservice-1 ended again and again"),
                "{view:?}: {text}"
            );
        }
        assert_eq!(told(View::Quiet, usize::MAX).await, "");
    }

    #[tokio::test]
    async fn a_reader_that_went_away_stops_nothing() {
        for view in [View::Terminal, View::Lines, View::Json] {
            // Returning at all shows that every event was taken in.
            assert!(told(view, 100).await.len() <= 100);
        }
    }

    #[test]
    fn time_goes_on_between_events() {
        let mut clock = Clock::default();
        assert_eq!(clock.now_ms(), 0);
        clock.hear(5_000);
        assert!((5_000..6_000).contains(&clock.now_ms()));
    }
}
