use std::{collections::BTreeMap, time::Duration};

use super::{
    Style, Symbol, Tone,
    lines::{resumed_words, stopping_words},
    report::{FailureText, failure_text, tried},
    style::{about, coarse, past, plural},
    text::{pad, put, width},
};
use crate::model::{Action, Address, CheckState, Component, Event, EventKind};

/// What has been in flight for less than this is not shown: a line that is gone again at once only flickers.
const SETTLED_MS: u64 = 400;
/// Columns of `1m05s/~2m00s`.
const TIME: usize = 12;

/// What a person watches while a run goes on: a pure function of the events so far and the time.
#[derive(Debug)]
pub(super) struct Live {
    style: Style,
    /// What the run is doing as a whole, until it has a plan.
    phase: String,
    /// How many resources will be worked on, and on how many work has ended.
    total: usize,
    ended: usize,
    skipped: usize,
    planned: bool,
    finished: bool,
    /// In the order in which they first came up.
    components: Vec<(Option<Component>, Counts)>,
    flights: BTreeMap<Address, Flight>,
    checks: BTreeMap<String, CheckState>,
}

#[derive(Debug, Default)]
struct Counts {
    done: BTreeMap<Action, usize>,
    failed: usize,
}

#[derive(Debug)]
struct Flight {
    component: Option<Component>,
    action: Action,
    started_ms: u64,
    expected_ms: Option<u64>,
    words: String,
}

impl Live {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            phase: String::new(),
            total: 0,
            ended: 0,
            skipped: 0,
            planned: false,
            finished: false,
            components: Vec::new(),
            flights: BTreeMap::new(),
            checks: BTreeMap::new(),
        }
    }

    /// Takes an event in; returns what is to stay on the screen for good, which is mostly nothing.
    #[expect(clippy::too_many_lines, reason = "one arm an event, in the order of the enum")]
    pub(super) fn event(&mut self, event: &Event) -> String {
        let mut out = String::new();
        match &event.kind {
            EventKind::RunStarted { verb, stack } => {
                self.phase = format!("{} of {}", verb.name(), self.style.one_line(stack));
                self.finished = false;
            }
            EventKind::Resumed { unfinished } => {
                self.stay(&mut out, Symbol::Again, &resumed_words(unfinished));
                for address in unfinished {
                    put(&mut out, &format!("    {address}"));
                }
            }
            EventKind::Refreshing { resources } => {
                self.phase = format!("looking at {}", plural(*resources, "resource"));
            }
            EventKind::Planned { summary } => {
                self.planned = true;
                let changes = summary.create + summary.update + summary.replace + summary.delete;
                self.total += changes + summary.forget + summary.conflict;
            }
            EventKind::StepStarted {
                address,
                component,
                action,
                expected_ms,
            } => {
                let flight = Flight {
                    component: component.clone(),
                    action: *action,
                    started_ms: event.elapsed_ms,
                    expected_ms: *expected_ms,
                    words: String::new(),
                };
                self.counts(component.as_ref());
                self.flights.insert(address.clone(), flight);
            }
            EventKind::StepApplied { address, .. } => self.words(address, String::new()),
            EventKind::StepWaiting { address, why } => self.words(address, self.style.one_line(why)),
            EventKind::StepRetrying { address, message, .. } => {
                self.words(address, format!("again soon: {}", self.style.one_line(message)));
            }
            EventKind::StepFinished { address, action, .. } => {
                *self.ended(address, *action).done.entry(*action).or_default() += 1;
            }
            EventKind::StepFailed {
                address,
                action,
                message,
                hint,
                details,
                took_ms,
            } => {
                self.ended(address, *action).failed += 1;
                let took = coarse(Duration::from_millis(*took_ms));
                let name = self.style.paint(Tone::Strong, address.as_str());
                self.stay(
                    &mut out,
                    Symbol::Failed,
                    &format!("{name}  ({}, {took})", tried(*action)),
                );
                let text = FailureText {
                    message,
                    hint: hint.as_deref(),
                    details,
                };
                failure_text(&mut out, &self.style, 4, &text);
            }
            EventKind::StepSkipped { address, .. } => {
                self.flights.remove(address);
                self.skipped += 1;
            }
            EventKind::Warning { address, message } => {
                let about = address
                    .as_ref()
                    .map(|address| format!("{address}: "))
                    .unwrap_or_default();
                self.stay(
                    &mut out,
                    Symbol::Warning,
                    &format!("{about}{}", self.style.one_line(message)),
                );
            }
            EventKind::Stopping { signal, in_flight } => {
                self.stay(
                    &mut out,
                    Symbol::Warning,
                    &stopping_words(&self.style, signal, *in_flight),
                );
            }
            EventKind::Checked { finding } => {
                self.checks.insert(finding.id.clone(), finding.state);
            }
            EventKind::RunFinished { .. } => self.run_finished(&mut out),
        }
        out
    }

    /// Work on a resource has ended; returns where to count it.
    fn ended(&mut self, address: &Address, action: Action) -> &mut Counts {
        if action == Action::Unchanged {
            // The plan did not count what is only awaited.
            self.total += 1;
        }
        self.ended += 1;
        let component = self.flights.remove(address).and_then(|flight| flight.component);
        self.counts(component.as_ref())
    }

    /// What was folded stays as the last lines of the view; the report follows.
    fn run_finished(&mut self, out: &mut String) {
        self.finished = true;
        for (component, counts) in &self.components {
            put(out, &self.component_line(component.as_ref(), counts, 0));
        }
        self.components.clear();
        self.flights.clear();
    }

    /// The picture as of now: at most `rows` lines of at most `columns`.
    pub(super) fn frame(&self, now_ms: u64, columns: usize, rows: usize) -> Vec<String> {
        if self.finished {
            return Vec::new();
        }
        let mut settled: Vec<(&Address, &Flight)> = self
            .flights
            .iter()
            .filter(|(_, flight)| now_ms.saturating_sub(flight.started_ms) >= SETTLED_MS)
            .collect();
        settled.sort_by_key(|(address, flight)| (flight.started_ms, *address));
        let room = rows.saturating_sub(self.components.len() + 2).max(1);
        let hidden = settled.len().saturating_sub(room);
        settled.truncate(room);
        let name_column = settled
            .iter()
            .map(|(address, _)| width(address.as_str()))
            .max()
            .unwrap_or(0);
        let name_column = name_column.min(columns.saturating_sub(TIME + 8) * 3 / 5);

        let mut lines = Vec::new();
        for (component, counts) in &self.components {
            let flights = self
                .flights
                .values()
                .filter(|flight| flight.component == *component)
                .count();
            lines.push(self.component_line(component.as_ref(), counts, flights));
            let of_component = settled
                .iter()
                .filter(|(_, flight)| flight.component == *component);
            lines.extend(
                of_component.map(|(address, flight)| self.flight(address, flight, name_column, now_ms)),
            );
        }
        if hidden > 0 {
            lines.push(
                self.style
                    .paint(Tone::Quiet, &format!("    and {hidden} more in flight")),
            );
        }
        lines.extend(self.checks_line());
        lines.push(self.bar(now_ms, columns));
        let surplus = lines.len().saturating_sub(rows.max(1));
        lines.drain(..surplus);
        lines.iter().map(|line| self.style.fit(line, columns)).collect()
    }

    fn counts(&mut self, component: Option<&Component>) -> &mut Counts {
        let found = self
            .components
            .iter()
            .position(|(name, _)| name.as_ref() == component);
        let at = found.unwrap_or_else(|| {
            self.components.push((component.cloned(), Counts::default()));
            self.components.len() - 1
        });
        #[expect(
            clippy::indexing_slicing,
            reason = "the position was found, or pushed, right above"
        )]
        &mut self.components[at].1
    }

    fn words(&mut self, address: &Address, words: String) {
        if let Some(flight) = self.flights.get_mut(address) {
            flight.words = words;
        }
    }

    fn stay(&self, out: &mut String, symbol: Symbol, text: &str) {
        put(out, &format!("{} {text}", self.style.symbol(symbol)));
    }

    /// `monitoring       41 created · 3 in flight · 1 failed`
    fn component_line(&self, component: Option<&Component>, counts: &Counts, flights: usize) -> String {
        let symbol = match (counts.failed, self.finished) {
            (0, true) => Symbol::Done,
            // How much is still to come is not known before the end.
            (0, false) => Symbol::Told,
            (_, _) => Symbol::Failed,
        };
        let mut parts: Vec<String> = counts
            .done
            .iter()
            .map(|(action, count)| format!("{count} {}", past(*action)))
            .collect();
        if flights > 0 {
            parts.push(format!("{flights} in flight"));
        }
        if counts.failed > 0 {
            parts.push(self.style.paint(Tone::Bad, &format!("{} failed", counts.failed)));
        }
        let names = self
            .components
            .iter()
            .map(|(name, _)| name.as_ref().map_or(5, |name| width(name)));
        let column = names.max().unwrap_or(0).min(24) + 2;
        let name = component.map_or("stack", |name| name);
        let name = self
            .style
            .paint(Tone::Strong, &pad(&self.style.one_line(name), column));
        format!(
            "{} {name}{}",
            self.style.symbol(symbol),
            parts.join(self.style.dot())
        )
    }

    /// `  + k8s/monitoring/Deployment/grafana      12s/~30s      0 of 1 pods ready`
    fn flight(&self, address: &Address, flight: &Flight, name_column: usize, now_ms: u64) -> String {
        let elapsed = now_ms.saturating_sub(flight.started_ms);
        let mut time = coarse(Duration::from_millis(elapsed));
        let mut tone = Tone::Quiet;
        if let Some(expected) = flight.expected_ms.filter(|expected| *expected >= 1_000) {
            time = format!("{time}/~{}", coarse(Duration::from_millis(expected)));
            if elapsed > expected.saturating_mul(2) {
                tone = Tone::Change;
            }
        }
        let name = pad(&self.style.fit_middle(address.as_str(), name_column), name_column);
        let time = self.style.paint(tone, &pad(&time, TIME));
        format!(
            "    {} {name}  {time}  {}",
            self.style.action(flight.action),
            flight.words
        )
    }

    fn checks_line(&self) -> Option<String> {
        let count = |state| self.checks.values().filter(|seen| **seen == state).count();
        let parts = [
            (CheckState::Pass, "hold"),
            (CheckState::Fail, "do not"),
            (CheckState::Warn, "warn"),
            (CheckState::Blocked, "blocked"),
            (CheckState::Skip, "skipped"),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .map(|(state, word)| (count(state), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        (!parts.is_empty()).then(|| format!("  checks: {}", parts.join(self.style.dot())))
    }

    /// `━━━━━━━━╸──────  54/108 · 1m12s · at least 18 s more`
    fn bar(&self, now_ms: u64, columns: usize) -> String {
        let elapsed = coarse(Duration::from_millis(now_ms));
        if !self.planned {
            return format!(
                "{} {}{}{elapsed}",
                self.style.symbol(Symbol::Waiting),
                self.phase,
                self.style.dot()
            );
        }
        let flights = self
            .flights
            .values()
            .filter(|flight| flight.action == Action::Unchanged)
            .count();
        let total = (self.total + flights).max(self.ended + self.skipped);
        let ended = self.ended + self.skipped;
        let mut parts = vec![format!("{ended}/{total}"), elapsed];
        if self.skipped > 0 {
            parts.push(format!("{} not tried", self.skipped));
        }
        // What is in flight bounds the rest from below; anything more exact would be a guess.
        let left = self.flights.values().filter_map(|flight| {
            flight
                .expected_ms?
                .checked_sub(now_ms.saturating_sub(flight.started_ms))
        });
        if let Some(left) = left.max().filter(|left| *left >= 2_000) {
            parts.push(format!("at least {} more", about(Duration::from_millis(left))));
        }
        let text = parts.join(self.style.dot());
        let room = columns.saturating_sub(width(&text) + 2).min(60);
        let filled = (room * ended).checked_div(total).unwrap_or(0);
        let done = self.style.either("━", "#").repeat(filled);
        let open = self.style.either("─", "-").repeat(room - filled);
        format!(
            "{}{}  {text}",
            self.style.paint(Tone::Good, &done),
            self.style.paint(Tone::Quiet, &open)
        )
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Outcome, Summary, Verb};

    /// The first half of an apply.
    pub(in super::super) fn events() -> Vec<Event> {
        let address = |text: &str| Address::parse(text).unwrap();
        let started = |name: &str, component: &str, expected_ms| EventKind::StepStarted {
            address: address(name),
            component: Some(component.into()),
            action: Action::Create,
            expected_ms,
        };
        let finished = |name: &str| EventKind::StepFinished {
            address: address(name),
            action: Action::Create,
            took_ms: 10,
        };
        let waiting = |name: &str, why: &str| EventKind::StepWaiting {
            address: address(name),
            why: why.into(),
        };
        let grafana = "k8s/monitoring/Deployment/monitoring-grafana";
        let prometheus = "k8s/monitoring/StatefulSet/prometheus-monitoring-kube-prometheus-prometheus";
        let cart = "k8s/shop/Deployment/cartservice";
        [
            (
                0,
                EventKind::RunStarted {
                    verb: Verb::Apply,
                    stack: "demo".into(),
                },
            ),
            (
                50,
                EventKind::Planned {
                    summary: Summary {
                        create: 8,
                        ..Summary::default()
                    },
                },
            ),
            (100, started("kind.cluster/demo", "cluster", Some(45_000))),
            (40_100, finished("kind.cluster/demo")),
            (40_200, started("k8s/Namespace/shop", "shop", None)),
            (40_300, finished("k8s/Namespace/shop")),
            (40_300, started(grafana, "monitoring", Some(30_000))),
            (40_300, started(prometheus, "monitoring", Some(60_000))),
            (40_400, started(cart, "shop", None)),
            (41_000, waiting(grafana, "0 of 1 pods ready: ContainerCreating")),
            (
                41_000,
                waiting(
                    prometheus,
                    "waits for the operator to make its pods, which needs its Secret first",
                ),
            ),
            (51_000, started("k8s/shop/Deployment/adservice", "shop", None)),
            (
                51_100,
                EventKind::StepFailed {
                    address: address(cart),
                    action: Action::Create,
                    message: "pod cartservice-1 ended again and again".into(),
                    hint: Some("stackup logs cartservice".into()),
                    details: vec!["panic: no route to redis".into()],
                    took_ms: 11_000,
                },
            ),
        ]
        .into_iter()
        .map(|(elapsed_ms, kind)| Event { elapsed_ms, kind })
        .collect()
    }

    fn live(style: Style) -> (Live, String) {
        let mut live = Live::new(style);
        let stays = events().iter().map(|event| live.event(event)).collect();
        (live, stays)
    }

    #[test]
    fn the_picture_fits_into_eighty_columns_of_ascii() {
        let (live, stays) = live(Style::plain(80));
        insta::assert_snapshot!(live.frame(51_200, 79, 20).join("\n"), @r"
           cluster     1 created
        !! shop        1 created, 1 in flight, 1 failed
           monitoring  2 in flight
            +   k8s/monitor...nt/monitoring-grafana  10s/~30s      0 of 1 pods ready...
            +   k8s/monitor...prometheus-prometheus  10s/~1m00s    waits for the ope...
        ##################-------------------------------  3/8, 51s, at least 50 s more
        ");
        assert!(
            live.frame(51_200, 79, 20)
                .iter()
                .all(|line| line.is_ascii() && line.len() <= 79)
        );
        insta::assert_snapshot!(stays, @r"
        !! k8s/shop/Deployment/cartservice  (create, 11s)
            pod cartservice-1 ended again and again
            | panic: no route to redis
            hint: stackup logs cartservice
        ");
    }

    #[test]
    fn the_picture_uses_a_hundred_and_twenty_columns() {
        let (live, _) = live(Style {
            colour: false,
            unicode: true,
            width: 120,
        });
        insta::assert_snapshot!(live.frame(51_200, 119, 20).join("\n"), @r"
          cluster     1 created
        ✗ shop        1 created · 1 in flight · 1 failed
          monitoring  2 in flight
            + k8s/monitoring/Deployment/monitoring-grafana                 10s/~30s      0 of 1 pods ready: ContainerCreating
            + k8s/monitoring/State…-monitoring-kube-prometheus-prometheus  10s/~1m00s    waits for the operator to make its po…
        ━━━━━━━━━━━━━━━━━━━━━━──────────────────────────────────────  3/8 · 51s · at least 50 s more
        ");
    }

    #[test]
    fn on_a_low_terminal_the_oldest_work_and_the_bar_remain() {
        let (live, _) = live(Style {
            colour: false,
            unicode: true,
            width: 80,
        });
        let frame = live.frame(59_000, 79, 6);
        assert!(frame.len() <= 6, "{frame:#?}");
        assert!(
            frame.iter().any(|line| line.contains("and 2 more in flight")),
            "{frame:#?}"
        );
        assert!(frame.last().unwrap().contains("3/8"), "{frame:#?}");
        assert_eq!(live.frame(59_000, 79, 1).len(), 1);
    }

    #[test]
    fn when_the_run_is_over_only_the_counts_stay() {
        let (mut live, _) = live(Style::plain(80));
        let stays = live.event(&Event {
            elapsed_ms: 60_000,
            kind: EventKind::RunFinished {
                verb: Verb::Apply,
                outcome: Outcome::Failed,
                done: 2,
                failed: 1,
                skipped: 0,
                critical_path: Vec::new(),
            },
        });
        assert!(stays.contains("!! shop        1 created, 1 failed\n"), "{stays}");
        assert!(live.frame(60_000, 79, 20).is_empty());
    }
}
