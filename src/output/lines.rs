use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{
    Style, Symbol, Tone,
    report::{FailureText, failure_text},
    style::{ahead, coarse, past, plural, precise, state_symbol},
    text::{pad, put},
};
use crate::model::{Action, Address, CheckState, Event, EventKind, Finding, Outcome, Summary};

/// The wait of one resource is told at most this often.
const WAIT_EVERY_MS: u64 = 10_000;
/// After this long without a line one says what is in flight: CI systems end jobs that say nothing.
const SILENCE_MS: u64 = 60_000;
/// A step that usually takes this long is told when it begins; quicker ones only when they end.
const LONG_MS: u64 = 5_000;
/// Columns of the word that says what happened.
const WORD: usize = 9;

/// One line an event, for pipes and CI logs.
#[derive(Debug)]
pub(super) struct Lines {
    style: Style,
    flights: BTreeMap<Address, Flight>,
    checks: HashMap<String, CheckState>,
    last_line_ms: u64,
}

#[derive(Debug, Default)]
struct Flight {
    started_ms: u64,
    /// What was told last, and when.
    told: Option<(String, u64)>,
    /// What is true now and was not told yet.
    words: Option<String>,
}

impl Lines {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            flights: BTreeMap::new(),
            checks: HashMap::new(),
            last_line_ms: 0,
        }
    }

    /// What to print of an event: often nothing, mostly a line.
    pub(super) fn event(&mut self, event: &Event) -> String {
        let mut out = String::new();
        self.tell(&mut out, event.elapsed_ms, &event.kind);
        if !out.is_empty() {
            self.last_line_ms = event.elapsed_ms;
        }
        out
    }

    /// What to print as time goes by: waits that were held back, and a sign of life.
    pub(super) fn tick(&mut self, now_ms: u64) -> String {
        let mut out = String::new();
        let due: Vec<Address> = self.flights.keys().cloned().collect();
        for address in due {
            self.waiting(&mut out, now_ms, &address);
        }
        if out.is_empty() && now_ms.saturating_sub(self.last_line_ms) >= SILENCE_MS {
            self.sign_of_life(&mut out, now_ms);
        }
        if !out.is_empty() {
            self.last_line_ms = now_ms;
        }
        out
    }

    #[expect(clippy::too_many_lines, reason = "one arm an event, in the order of the enum")]
    fn tell(&mut self, out: &mut String, now: u64, kind: &EventKind) {
        match kind {
            EventKind::RunStarted { verb, stack } => {
                let text = format!("{} of {} begins", verb.name(), self.style.one_line(stack));
                self.plain(out, now, Symbol::Told, &text);
            }
            EventKind::Resumed { unfinished } => {
                self.plain(out, now, Symbol::Again, &resumed_words(unfinished));
                for address in unfinished {
                    put(out, &format!("{}{address}", " ".repeat(self.indent())));
                }
            }
            EventKind::Refreshing { resources } => {
                let text = format!("looking at {}", plural(*resources, "resource"));
                self.plain(out, now, Symbol::Told, &text);
            }
            EventKind::Planned { summary } => {
                let text = format!("plan: {}", summary_words(summary));
                self.plain(out, now, Symbol::Told, &text);
            }
            EventKind::StepStarted {
                address,
                action,
                expected_ms,
                ..
            } => {
                self.started(out, now, address, *action, *expected_ms);
            }
            EventKind::StepApplied { .. } => {}
            EventKind::StepWaiting { address, why } => {
                let words = self.style.one_line(why);
                self.flights.entry(address.clone()).or_default().words = Some(words);
                self.waiting(out, now, address);
            }
            EventKind::StepRetrying {
                address,
                message,
                in_ms,
            } => {
                let delay = precise(Duration::from_millis(*in_ms));
                let rest = format!("in {delay}: {}", self.style.one_line(message));
                self.step(out, now, Symbol::Again, "retrying", address, &rest);
            }
            EventKind::StepFinished {
                address,
                action,
                took_ms,
            } => {
                self.ended(out, now, address, *action, *took_ms);
            }
            EventKind::StepFailed {
                address,
                message,
                hint,
                details,
                took_ms,
                ..
            } => {
                self.flights.remove(address);
                self.step(out, now, Symbol::Failed, "failed", address, &took(*took_ms));
                let text = FailureText {
                    message,
                    hint: hint.as_deref(),
                    details,
                };
                failure_text(out, &self.style, self.indent(), &text);
            }
            EventKind::StepSkipped { address, because } => {
                self.flights.remove(address);
                let rest = format!("because of {because}");
                self.step(out, now, Symbol::Skipped, "skipped", address, &rest);
            }
            EventKind::Warning { address, message } => {
                let message = self.style.one_line(message);
                match address {
                    Some(address) => self.step(out, now, Symbol::Warning, "warning", address, &message),
                    None => self.plain(out, now, Symbol::Warning, &message),
                }
            }
            EventKind::Stopping { signal, in_flight } => {
                let text = stopping_words(&self.style, signal, *in_flight);
                self.plain(out, now, Symbol::Warning, &text);
            }
            EventKind::Checked { finding } => self.checked(out, now, finding),
            EventKind::RunFinished {
                verb,
                outcome,
                done,
                failed,
                skipped,
                critical_path: _,
            } => {
                let verb = verb.name();
                let text = format!("{verb} ended: {done} done, {failed} failed, {skipped} skipped");
                self.plain(out, now, outcome_symbol(*outcome), &text);
            }
        }
    }

    fn started(
        &mut self,
        out: &mut String,
        now: u64,
        address: &Address,
        action: Action,
        expected: Option<u64>,
    ) {
        let flight = Flight {
            started_ms: now,
            ..Flight::default()
        };
        self.flights.insert(address.clone(), flight);
        if let Some(expected) = expected.filter(|expected| *expected >= LONG_MS) {
            let usually = format!("(usually {})", coarse(Duration::from_millis(expected)));
            self.step(out, now, Symbol::Told, present(action), address, &usually);
        }
    }

    fn ended(&mut self, out: &mut String, now: u64, address: &Address, action: Action, took_ms: u64) {
        let told = self
            .flights
            .remove(address)
            .is_some_and(|flight| flight.told.is_some());
        // Hundreds of resources may only have been looked at; only what kept someone waiting is told.
        if action != Action::Unchanged || told {
            self.step(out, now, Symbol::Done, past(action), address, &took(took_ms));
        }
    }

    /// A check is told when its answer is new: first if it does not hold, later if that changed.
    fn checked(&mut self, out: &mut String, now: u64, finding: &Finding) {
        let before = self.checks.insert(finding.id.clone(), finding.state);
        let quiet = matches!(finding.state, CheckState::Pass | CheckState::Skip);
        if before == Some(finding.state) || (before.is_none() && quiet) {
            return;
        }
        let word = match finding.state {
            CheckState::Pass => "holds",
            CheckState::Warn => "warning",
            CheckState::Fail => "failed",
            CheckState::Skip => "skipped",
            CheckState::Blocked => "blocked",
        };
        let rest = match &finding.blocked_by {
            Some(cause) => format!("by {cause}"),
            None => self.style.one_line(&finding.observed),
        };
        let id = self.style.clean(&finding.id);
        self.step(out, now, state_symbol(finding.state), word, &id, &rest);
    }

    /// Tells what a resource waits for, if that is new and its last line is old enough.
    fn waiting(&mut self, out: &mut String, now: u64, address: &Address) {
        let Some(flight) = self.flights.get_mut(address) else {
            return;
        };
        let Some(words) = flight.words.clone() else { return };
        let due = match &flight.told {
            None => true,
            Some((told, at)) => *told != words && now.saturating_sub(*at) >= WAIT_EVERY_MS,
        };
        if due {
            flight.told = Some((words.clone(), now));
            self.step(out, now, Symbol::Waiting, "waiting", address, &words);
        }
    }

    fn sign_of_life(&self, out: &mut String, now: u64) {
        let Some((address, longest)) = self.flights.iter().min_by_key(|(_, flight)| flight.started_ms) else {
            return;
        };
        let since = coarse(Duration::from_millis(now.saturating_sub(longest.started_ms)));
        let words = longest
            .words
            .as_ref()
            .map(|words| format!(", {words}"))
            .unwrap_or_default();
        let text = format!(
            "{} in flight, longest {address} ({since}{words})",
            self.flights.len()
        );
        self.plain(out, now, Symbol::Waiting, &text);
    }

    /// `   3.2s  ✓ created   k8s/monitoring/Deployment/monitoring-grafana  (12.1s)`
    fn step(
        &self,
        out: &mut String,
        now: u64,
        symbol: Symbol,
        word: &str,
        what: &(impl std::fmt::Display + ?Sized),
        rest: &str,
    ) {
        let rest = self.style.paint(Tone::Quiet, rest);
        self.plain(out, now, symbol, &format!("{} {what}  {rest}", pad(word, WORD)));
    }

    fn plain(&self, out: &mut String, now: u64, symbol: Symbol, text: &str) {
        let at = format!("{:>7}", precise(Duration::from_millis(now)));
        put(
            out,
            &format!(
                "{}  {} {text}",
                self.style.paint(Tone::Quiet, &at),
                self.style.symbol(symbol)
            ),
        );
    }

    /// Where the text of a line begins.
    fn indent(&self) -> usize {
        10 + super::text::width(self.style.sign(Symbol::Told))
    }
}

/// `(12.1s)`
fn took(ms: u64) -> String {
    format!("({})", precise(Duration::from_millis(ms)))
}

/// The sign of how a run ended.
fn outcome_symbol(outcome: Outcome) -> Symbol {
    match outcome {
        Outcome::Done => Symbol::Done,
        Outcome::Stopped(_) => Symbol::Warning,
        Outcome::StateLost | Outcome::Failed | Outcome::Refused | Outcome::Deadline => Symbol::Failed,
    }
}

/// What is said of an earlier run that did not end.
pub(super) fn resumed_words(unfinished: &[Address]) -> String {
    let count = plural(unfinished.len(), "resource");
    format!("taking up an earlier run: {count} had begun and not ended")
}

/// What is said when a signal came.
pub(super) fn stopping_words(style: &Style, signal: &str, in_flight: usize) -> String {
    let (signal, calls) = (style.one_line(signal), plural(in_flight, "call"));
    format!("stopping on {signal}: nothing new starts, {calls} still in flight")
}

/// What is being done while an action happens.
pub(super) fn present(action: Action) -> &'static str {
    match action {
        Action::Create => "creating",
        Action::Update => "updating",
        Action::Replace => "replacing",
        Action::Delete => "deleting",
        Action::Forget => "forgetting",
        Action::Conflict => "refusing",
        Action::Unchanged => "checking",
    }
}

/// `3 to create, 12 unchanged`
fn summary_words(summary: &Summary) -> String {
    let counts = [
        (Action::Create, summary.create),
        (Action::Update, summary.update),
        (Action::Replace, summary.replace),
        (Action::Delete, summary.delete),
        (Action::Forget, summary.forget),
        (Action::Conflict, summary.conflict),
        (Action::Unchanged, summary.unchanged),
    ];
    let words: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(action, count)| ahead(action, count))
        .collect();
    if words.is_empty() {
        "nothing to do".to_owned()
    } else {
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Verb, output::verify::tests::findings};

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn told(lines: &mut Lines, elapsed_ms: u64, kind: EventKind) -> String {
        lines.event(&Event { elapsed_ms, kind })
    }

    fn waiting(name: &str, why: &str) -> EventKind {
        EventKind::StepWaiting {
            address: address(name),
            why: why.to_owned(),
        }
    }

    fn started(name: &str, expected_ms: Option<u64>) -> EventKind {
        EventKind::StepStarted {
            address: address(name),
            component: None,
            action: Action::Create,
            expected_ms,
        }
    }

    fn finished(name: &str, action: Action, took_ms: u64) -> EventKind {
        EventKind::StepFinished {
            address: address(name),
            action,
            took_ms,
        }
    }

    /// A run in which everything happens.
    #[expect(clippy::too_many_lines, reason = "a script of events is a table")]
    fn run() -> Vec<(u64, EventKind)> {
        let grafana = "k8s/monitoring/Deployment/monitoring-grafana";
        vec![
            (
                0,
                EventKind::RunStarted {
                    verb: Verb::Apply,
                    stack: "demo".into(),
                },
            ),
            (
                10,
                EventKind::Resumed {
                    unfinished: vec![address("kind.cluster/demo")],
                },
            ),
            (20, EventKind::Refreshing { resources: 108 }),
            (
                300,
                EventKind::Planned {
                    summary: Summary {
                        create: 3,
                        unchanged: 105,
                        ..Summary::default()
                    },
                },
            ),
            (310, started("kind.cluster/demo", Some(45_000))),
            (
                320,
                EventKind::StepApplied {
                    address: address("kind.cluster/demo"),
                    action: Action::Create,
                },
            ),
            (44_310, finished("kind.cluster/demo", Action::Create, 44_000)),
            (44_320, finished("k8s/Namespace/shop", Action::Unchanged, 1)),
            (44_400, started(grafana, Some(3_000))),
            (45_000, waiting(grafana, "0 of 1 pods ready")),
            (
                46_000,
                EventKind::StepRetrying {
                    address: address("k8s/shop/Service/cart"),
                    message: "connection\nrefused".into(),
                    in_ms: 2_000,
                },
            ),
            (
                47_000,
                EventKind::Warning {
                    address: None,
                    message: "the clock of this machine is 4 s off".into(),
                },
            ),
            (
                50_000,
                EventKind::StepFailed {
                    address: address(grafana),
                    action: Action::Create,
                    message: "pod grafana-7d4 cannot pull its image".into(),
                    hint: Some("kubectl -n monitoring describe pod grafana-7d4".into()),
                    details: vec!["ErrImagePull: not found".into()],
                    took_ms: 5_600,
                },
            ),
            (
                50_010,
                EventKind::StepSkipped {
                    address: address("k8s/monitoring/Ingress/grafana"),
                    because: address(grafana),
                },
            ),
            (
                50_020,
                EventKind::Stopping {
                    signal: "INT".into(),
                    in_flight: 1,
                },
            ),
            (
                50_030,
                EventKind::Checked {
                    finding: findings()[0].clone(),
                },
            ),
            (
                50_040,
                EventKind::Checked {
                    finding: findings()[1].clone(),
                },
            ),
            (
                75_000,
                EventKind::RunFinished {
                    verb: Verb::Apply,
                    outcome: Outcome::Failed,
                    done: 1,
                    failed: 1,
                    skipped: 1,
                    critical_path: Vec::new(),
                },
            ),
        ]
    }

    #[test]
    fn a_run_reads_as_one_line_an_event() {
        let style = Style {
            colour: false,
            unicode: true,
            width: 100,
        };
        let mut lines = Lines::new(style);
        let text: String = run()
            .into_iter()
            .map(|(at, kind)| told(&mut lines, at, kind))
            .collect();
        insta::assert_snapshot!(text, @r#"
         0.0s    apply of demo begins
         0.0s  ↻ taking up an earlier run: 1 resource had begun and not ended
                 kind.cluster/demo
         0.0s    looking at 108 resources
         0.3s    plan: 3 to create, 105 unchanged
         0.3s    creating  kind.cluster/demo  (usually 45s)
        44.3s  ✓ created   kind.cluster/demo  (44.0s)
        45.0s  … waiting   k8s/monitoring/Deployment/monitoring-grafana  0 of 1 pods ready
        46.0s  ↻ retrying  k8s/shop/Service/cart  in 2.0s: connection refused
        47.0s  ! the clock of this machine is 4 s off
        50.0s  ✗ failed    k8s/monitoring/Deployment/monitoring-grafana  (5.6s)
                 pod grafana-7d4 cannot pull its image
                 │ ErrImagePull: not found
                 hint: kubectl -n monitoring describe pod grafana-7d4
        50.0s  - skipped   k8s/monitoring/Ingress/grafana  because of k8s/monitoring/Deployment/monitoring-grafana
        50.0s  ! stopping on INT: nothing new starts, 1 call still in flight
        50.0s  ✗ failed    prometheus.targets  serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics <"connection refused">
        1m15s  ✗ apply ended: 1 done, 1 failed, 1 skipped
        "#);
    }

    #[test]
    fn without_unicode_every_line_is_ascii() {
        let mut lines = Lines::new(Style::plain(80));
        let text: String = run()
            .into_iter()
            .map(|(at, kind)| told(&mut lines, at, kind))
            .collect();
        assert!(text.is_ascii(), "{text}");
    }

    #[test]
    fn a_wait_is_told_again_only_when_its_words_change_and_ten_seconds_after_the_last() {
        let mut lines = Lines::new(Style::plain(80));
        assert_eq!(told(&mut lines, 0, started("a/b", None)), "");
        assert!(told(&mut lines, 1_000, waiting("a/b", "0 of 3 ready")).contains("0 of 3 ready"));
        assert_eq!(told(&mut lines, 2_000, waiting("a/b", "1 of 3 ready")), "");
        assert_eq!(lines.tick(10_900), "");
        assert!(lines.tick(11_000).contains("1 of 3 ready"));
        assert_eq!(told(&mut lines, 30_000, waiting("a/b", "1 of 3 ready")), "");
        assert_eq!(lines.tick(40_000), "");
    }

    #[test]
    fn a_long_silence_is_broken_by_a_sign_of_life() {
        let mut lines = Lines::new(Style::plain(80));
        told(&mut lines, 0, started("a/b", None));
        told(&mut lines, 1_000, waiting("a/b", "0 of 3 ready"));
        assert_eq!(lines.tick(60_900), "");
        assert_eq!(
            lines.tick(61_000),
            "  1m01s  .. 1 in flight, longest a/b (1m01s, 0 of 3 ready)\n"
        );
        assert_eq!(lines.tick(62_000), "");
    }

    #[test]
    fn a_check_is_told_again_only_when_its_answer_changed() {
        let mut lines = Lines::new(Style::plain(80));
        let mut finding = findings()[1].clone();
        let mut check = |finding: &Finding| {
            told(
                &mut lines,
                0,
                EventKind::Checked {
                    finding: finding.clone(),
                },
            )
        };
        assert!(check(&finding).contains("failed"));
        assert_eq!(check(&finding), "");
        finding.state = CheckState::Pass;
        assert!(check(&finding).contains("holds"));
    }
}
