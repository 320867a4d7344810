use std::{collections::BTreeMap, time::Duration};

use super::{
    Style, Symbol, Tone,
    names::listing,
    style::{past, plural, precise},
    text::{hanging, put, width},
};
use crate::model::{Action, Address, Outcome, Report, Stop, Verb};

/// How a run ended, and what its reader should know next.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// What the run was for.
    pub verb: Verb,
    /// The stack's name.
    pub stack: &'a str,
    /// What it did.
    pub report: &'a Report,
    /// How long it took.
    pub took: Duration,
    /// What stands now and where it is found: label and value.
    pub stands: &'a [(String, String)],
    /// The commands that make sense next.
    pub next: &'a [String],
}

/// What the text of a failure is made of; events and reports both have it.
pub(super) struct FailureText<'a> {
    pub(super) message: &'a str,
    pub(super) hint: Option<&'a str>,
    pub(super) details: &'a [String],
}

/// What a run of apply or destroy did, for a person: the failures in full, all else counted.
pub fn report_text(ending: &Ending<'_>, style: &Style) -> String {
    let mut out = String::new();
    let report = ending.report;
    skipped_text(&mut out, style, report);
    for (title, addresses) in [
        (
            "Begun and not seen to their end, since the run was stopped",
            &report.begun,
        ),
        ("Left as they were", &report.left),
    ] {
        if addresses.is_empty() {
            continue;
        }
        put(&mut out, &style.paint(Tone::Strong, title));
        let symbol = format!("  {} ", style.symbol(Symbol::Skipped));
        listing(&mut out, style, &symbol, addresses, false);
        put(&mut out, "");
    }
    if !ending.stands.is_empty() {
        put(&mut out, &style.paint(Tone::Strong, "What stands"));
        let column = ending
            .stands
            .iter()
            .map(|(label, _)| width(label))
            .max()
            .unwrap_or(0)
            + 2;
        for (label, value) in ending.stands {
            hanging(&mut out, style, 2, label, column, value);
        }
        put(&mut out, "");
    }
    failed_text(&mut out, style, report);
    put(&mut out, &headline(ending, style));
    out.push_str(&next_text(ending.next, style));
    out
}

/// What to type next.
pub fn next_text(next: &[String], style: &Style) -> String {
    let mut out = String::new();
    for (number, command) in next.iter().enumerate() {
        let label = if number == 0 { "Next: " } else { "      " };
        put(&mut out, &format!("{label}{}", style.clean(command)));
    }
    out
}

/// Message, hint and details of a failure, indented.
pub(super) fn failure_text(out: &mut String, style: &Style, indent: usize, failure: &FailureText<'_>) {
    hanging(out, style, indent, "", 0, failure.message);
    if !failure.details.is_empty() {
        let bar = style.paint(Tone::Quiet, style.either("│", "|"));
        // Details are evidence (log lines): they are not rewrapped.
        for line in failure.details.iter().flat_map(|detail| detail.lines()) {
            put(out, &format!("{}{bar} {}", " ".repeat(indent), style.clean(line)));
        }
    }
    if let Some(hint) = failure.hint {
        hanging(out, style, indent, "hint: ", 6, hint);
    }
}

/// What failed: last of what went wrong, so that a long list does not push it off the screen.
fn failed_text(out: &mut String, style: &Style, report: &Report) {
    if report.failed.is_empty() {
        return;
    }
    put(out, &style.paint(Tone::Strong, "Failed"));
    for (address, failure) in &report.failed {
        let sign = style.symbol(Symbol::Failed);
        let tried = tried(failure.action);
        put(
            out,
            &format!(
                "  {sign} {}  ({tried})",
                style.paint(Tone::Strong, address.as_str())
            ),
        );
        let text = FailureText {
            message: &failure.message,
            hint: failure.hint.as_deref(),
            details: &failure.details,
        };
        failure_text(out, style, 6, &text);
    }
    put(out, "");
}

fn skipped_text(out: &mut String, style: &Style, report: &Report) {
    let mut causes: BTreeMap<&Address, Vec<&Address>> = BTreeMap::new();
    for (address, cause) in &report.skipped {
        causes.entry(cause).or_default().push(address);
    }
    for (cause, addresses) in causes {
        let count = plural(addresses.len(), "resource");
        put(
            out,
            &format!(
                "{}, because of {cause}",
                style.paint(Tone::Strong, &format!("Not tried: {count}"))
            ),
        );
        listing(
            out,
            style,
            &format!("  {} ", style.symbol(Symbol::Skipped)),
            addresses,
            false,
        );
        put(out, "");
    }
}

/// One sentence: what the run was for, how it ended, how long it took, how many of what.
fn headline(ending: &Ending<'_>, style: &Style) -> String {
    let verb = ending.verb.name();
    let (symbol, ended) = match ending.report.outcome {
        Outcome::Done => (Symbol::Done, "done"),
        Outcome::Failed => (Symbol::Failed, "only partly done"),
        Outcome::Refused => (Symbol::Failed, "refused, nothing was written"),
        Outcome::Deadline => (Symbol::Failed, "ran out of time"),
        Outcome::StateLost => (Symbol::Failed, "stopped, since the state could not be written"),
        Outcome::Stopped(Stop::Int) => (Symbol::Warning, "stopped by Ctrl-C"),
        Outcome::Stopped(Stop::Term) => (Symbol::Warning, "stopped by SIGTERM"),
        Outcome::Stopped(Stop::Hup) => (Symbol::Warning, "stopped, since the terminal went away"),
    };
    let counts = report_counts(ending.report);
    let counts = if counts.is_empty() {
        "nothing to do".to_owned()
    } else {
        counts.join(", ")
    };
    let what = format!("{verb} of {}: {ended}", style.clean(ending.stack));
    let sentence = format!(
        "{} after {}",
        style.paint(Tone::Strong, &what),
        precise(ending.took)
    );
    let sentence = format!("{} {sentence}", style.symbol(symbol));
    if width(&sentence) + width(&counts) + 3 <= style.width {
        format!("{sentence} ({counts})")
    } else {
        format!(
            "{sentence}\n{}{counts}",
            " ".repeat(width(style.sign(symbol)) + 1)
        )
    }
}

/// `["140 created", "1 failed"]`.
fn report_counts(report: &Report) -> Vec<String> {
    let done = |action| report.done.values().filter(|done| **done == action).count();
    let actions = [
        Action::Create,
        Action::Update,
        Action::Replace,
        Action::Delete,
        Action::Forget,
        Action::Unchanged,
    ];
    let counted = actions.into_iter().map(|action| (done(action), past(action)));
    let rest = [
        (report.failed.len(), "failed"),
        (report.skipped.len(), "not tried"),
        (report.begun.len(), "begun"),
        (report.left.len(), "left"),
    ];
    counted
        .chain(rest)
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect()
}

/// What was tried, when it failed.
pub(super) fn tried(action: Action) -> &'static str {
    match action {
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Forget => "forget",
        Action::Conflict => "conflict",
        Action::Unchanged => "not ready",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Failure;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn failed() -> Report {
        let grafana = address("k8s/monitoring/Deployment/grafana");
        Report {
            outcome: Outcome::Failed,
            done: (0..12)
                .map(|number| (address(&format!("k8s/shop/Service/{number}")), Action::Create))
                .chain([(address("kind.cluster/demo"), Action::Unchanged)])
                .collect(),
            failed: BTreeMap::from([(
                grafana.clone(),
                Failure {
                    action: Action::Create,
                    message: "did not become ready: pod grafana-7d4 cannot pull its image, \
                              and will not be able to until that is mended"
                        .to_owned(),
                    hint: Some("kubectl -n monitoring describe pod grafana-7d4".to_owned()),
                    details: vec![
                        "grafana-7d4  grafana  ErrImagePull\n\u{1b}[31mnot found\u{1b}[0m".to_owned(),
                    ],
                    deadline: false,
                    refused: false,
                    unreachable: false,
                },
            )]),
            skipped: BTreeMap::from([
                (address("k8s/monitoring/Ingress/grafana"), grafana.clone()),
                (address("k8s/monitoring/ServiceMonitor/grafana"), grafana),
            ]),
            timings: Vec::new(),
            begun: Vec::new(),
            left: Vec::new(),
        }
    }

    fn text(report: &Report, style: &Style) -> String {
        report_text(
            &Ending {
                verb: Verb::Apply,
                stack: "demo",
                report,
                took: Duration::from_millis(83_400),
                stands: &[
                    ("cluster".to_owned(), "kind-demo, 3 nodes".to_owned()),
                    ("kubeconfig".to_owned(), ".stackup/demo/kubeconfig".to_owned()),
                ],
                next: &["stackup status".to_owned(), "stackup open grafana".to_owned()],
            },
            style,
        )
    }

    #[test]
    fn a_failed_run_says_what_failed_why_and_what_it_held_up() {
        insta::assert_snapshot!(text(&failed(), &Style::plain(80)), @r"
        Not tried: 2 resources, because of k8s/monitoring/Deployment/grafana
          -  k8s/monitoring/Ingress/grafana
          -  k8s/monitoring/ServiceMonitor/grafana

        What stands
          cluster     kind-demo, 3 nodes
          kubeconfig  .stackup/demo/kubeconfig

        Failed
          !! k8s/monitoring/Deployment/grafana  (create)
              did not become ready: pod grafana-7d4 cannot pull its image, and will not
              be able to until that is mended
              | grafana-7d4  grafana  ErrImagePull
              | not found
              hint: kubectl -n monitoring describe pod grafana-7d4

        !! apply of demo: only partly done after 1m23s
           12 created, 1 ready, 1 failed, 2 not tried
        Next: stackup status
              stackup open grafana
        ");
    }

    #[test]
    fn a_run_that_did_all_says_what_stands_and_what_next() {
        let style = Style {
            colour: false,
            unicode: true,
            width: 120,
        };
        let report = Report {
            done: failed().done,
            ..Report::default()
        };
        insta::assert_snapshot!(text(&report, &style), @r"
        What stands
          cluster     kind-demo, 3 nodes
          kubeconfig  .stackup/demo/kubeconfig

        ✓ apply of demo: done after 1m23s (12 created, 1 ready)
        Next: stackup status
              stackup open grafana
        ");
    }

    #[test]
    fn a_stopped_run_tells_what_it_began_from_what_it_left_as_it_was() {
        let report = Report {
            outcome: Outcome::Stopped(Stop::Int),
            begun: vec![address("kind.cluster/demo")],
            left: vec![address("kind.images/demo")],
            ..Report::default()
        };
        let text = text(&report, &Style::plain(80));
        let begun = "Begun and not seen to their end, since the run was stopped\n  -  kind.cluster/demo\n";
        assert!(text.contains(begun), "{text}");
        assert!(
            text.contains("Left as they were\n  -  kind.images/demo\n"),
            "{text}"
        );
        assert!(
            text.contains("stopped by Ctrl-C after 1m23s (1 begun, 1 left)"),
            "{text}"
        );
    }
}
