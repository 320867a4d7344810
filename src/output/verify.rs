use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Style, Symbol, Tone,
    style::{plural, precise, state_symbol},
    text::{hanging, pad, put, width},
};
use crate::model::{CheckLevel, CheckState, Finding, VerifySummary};

/// The answers of one verification.
#[derive(Debug, Clone, Copy)]
pub struct Verified<'a> {
    /// The stack's name.
    pub stack: &'a str,
    /// How deep it went.
    pub level: CheckLevel,
    /// How long it took.
    pub took: Duration,
    /// The answers, in the order in which they are told: areas stay together.
    pub findings: &'a [Finding],
}

impl<'a> Verified<'a> {
    /// The findings by area, in the order in which each area first comes up.
    pub(super) fn areas(&self) -> Vec<(&'a str, Vec<&'a Finding>)> {
        let mut areas: Vec<(&str, Vec<&Finding>)> = Vec::new();
        for finding in self.findings {
            match areas.iter_mut().find(|(area, _)| *area == finding.area) {
                Some((_, findings)) => findings.push(finding),
                None => areas.push((&finding.area, vec![finding])),
            }
        }
        areas
    }
}

/// Every check on a line, by area; those that do not hold with what was seen, what was expected, and what to do.
pub fn verify_table(verified: &Verified<'_>, style: &Style) -> String {
    let mut out = String::new();
    for (area, findings) in verified.areas() {
        put(&mut out, &area_heading(style, area, &findings));
        for finding in findings {
            finding_text(&mut out, style, finding);
        }
        put(&mut out, "");
    }
    put(&mut out, &last_line(verified, style));
    out
}

/// Only what does not hold, and the last line.
pub fn verify_short(verified: &Verified<'_>, style: &Style) -> String {
    let mut out = String::new();
    for finding in verified.findings {
        match finding.state {
            CheckState::Warn | CheckState::Fail | CheckState::Blocked => {
                finding_text(&mut out, style, finding);
            }
            CheckState::Pass | CheckState::Skip => {}
        }
    }
    put(&mut out, &last_line(verified, style));
    out
}

/// The verification for a script. Every check has every key, so that none need be tested for.
pub fn verify_json(verified: &Verified<'_>) -> Value {
    let check = |finding: &Finding| {
        let mut check = json!(finding);
        if let Value::Object(fields) = &mut check {
            for key in ["hint", "fix", "blocked_by"] {
                fields.entry(key).or_insert(Value::Null);
            }
        }
        check
    };
    json!({
        "schema": "stackup/verify/v1",
        "stack": verified.stack,
        "level": verified.level,
        "took_ms": u64::try_from(verified.took.as_millis()).unwrap_or(u64::MAX),
        "holds": VerifySummary::of(verified.findings).holds(),
        "summary": VerifySummary::of(verified.findings),
        "checks": verified.findings.iter().map(check).collect::<Vec<_>>(),
    })
}

/// `prometheus ───────── 24 passed · 1 failed`
fn area_heading(style: &Style, area: &str, findings: &[&Finding]) -> String {
    let summary = findings.iter().fold(VerifySummary::default(), |sum, finding| {
        let one = VerifySummary::of(std::slice::from_ref(*finding));
        VerifySummary {
            pass: sum.pass + one.pass,
            warn: sum.warn + one.warn,
            fail: sum.fail + one.fail,
            skip: sum.skip + one.skip,
            blocked: sum.blocked + one.blocked,
        }
    });
    let counts = counts(style, &summary);
    let area = style.clean(area);
    let line = style
        .width
        .min(100)
        .saturating_sub(width(&area) + width(&counts) + 2)
        .max(2);
    let line = style.paint(Tone::Quiet, &style.either("─", "-").repeat(line));
    format!("{} {line} {counts}", style.paint(Tone::Strong, &area))
}

/// `24 passed · 1 failed`, without what there is none of.
pub(super) fn counts(style: &Style, summary: &VerifySummary) -> String {
    let parts: Vec<String> = [
        (summary.pass, "passed".to_owned(), Tone::Good),
        (summary.fail, "failed".to_owned(), Tone::Bad),
        (summary.blocked, "blocked".to_owned(), Tone::Bad),
        (
            summary.warn,
            if summary.warn == 1 { "warning" } else { "warnings" }.to_owned(),
            Tone::Change,
        ),
        (summary.skip, "skipped".to_owned(), Tone::Quiet),
    ]
    .into_iter()
    .filter(|(count, _, _)| *count > 0)
    .map(|(count, word, tone)| style.paint(tone, &format!("{count} {word}")))
    .collect();
    parts.join(style.dot())
}

fn finding_text(out: &mut String, style: &Style, finding: &Finding) {
    let sign = style.symbol(state_symbol(finding.state));
    let title = style.one_line(&finding.title);
    let beside = match finding.state {
        CheckState::Pass => style.one_line(&finding.observed),
        CheckState::Warn | CheckState::Fail => style.clean(&finding.id),
        CheckState::Skip => format!("skipped: {}", style.one_line(&finding.observed)),
        CheckState::Blocked => {
            format!(
                "blocked by {}",
                style.clean(finding.blocked_by.as_deref().unwrap_or("another check"))
            )
        }
    };
    let line_width = style.width.min(120);
    let lead = 2 + width(style.sign(Symbol::Done)) + 1;
    let column = (line_width * 3 / 5).saturating_sub(lead);
    let room = line_width.saturating_sub(lead + column.max(width(&title)) + 2);
    // What was seen by a check that holds is a courtesy: it may be cut, but nothing else is.
    let fits = width(&beside) <= room;
    let optional = finding.state == CheckState::Pass;
    if beside.is_empty() || (optional && room < 12) {
        put(out, &format!("  {sign} {title}"));
    } else if fits || optional {
        let beside = style.paint(Tone::Quiet, &style.fit(&beside, room));
        put(out, &format!("  {sign} {}  {beside}", pad(&title, column)));
    } else {
        put(out, &format!("  {sign} {title}"));
        for line in style.wrap(&beside, line_width.saturating_sub(lead + 2)) {
            put(
                out,
                &format!("{}{}", " ".repeat(lead + 2), style.paint(Tone::Quiet, &line)),
            );
        }
    }
    if matches!(finding.state, CheckState::Warn | CheckState::Fail) {
        evidence(out, style, lead + 2, finding);
    }
}

/// What was seen, what would have been right, where that was read, what it means and what to do.
fn evidence(out: &mut String, style: &Style, indent: usize, finding: &Finding) {
    let rows = [
        ("observed", Some(finding.observed.as_str())),
        ("expected", Some(finding.expected.as_str())),
        ("read", Some(finding.source.as_str())),
        ("hint", finding.hint.as_deref()),
    ];
    for (label, value) in rows {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            hanging(out, style, indent, label, 10, value);
        }
    }
    if let Some(fix) = &finding.fix {
        // A command is to be copied: it is never broken.
        put(
            out,
            &format!("{}{}{}", " ".repeat(indent), pad("fix", 10), style.one_line(fix)),
        );
    }
}

/// `✗ 112 checks: 104 passed · 1 failed · 7 skipped (standard, 18.2s)`
fn last_line(verified: &Verified<'_>, style: &Style) -> String {
    let summary = VerifySummary::of(verified.findings);
    let symbol = if summary.holds() {
        Symbol::Done
    } else {
        Symbol::Failed
    };
    let level = level_word(verified.level);
    let checks = plural(verified.findings.len(), "check");
    let counts = counts(style, &summary);
    let counts = if counts.is_empty() {
        "nothing to check".to_owned()
    } else {
        counts
    };
    let took = precise(verified.took);
    format!(
        "{} {}: {counts}  ({level}, {took})",
        style.symbol(symbol),
        style.paint(Tone::Strong, &checks)
    )
}

/// The level as a person writes it.
pub(super) fn level_word(level: CheckLevel) -> &'static str {
    match level {
        CheckLevel::Quick => "quick",
        CheckLevel::Standard => "standard",
        CheckLevel::Deep => "deep",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One finding of each state.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let finding = |id: &str, title: &str, area: &str, state, observed: &str| Finding {
            id: id.to_owned(),
            title: title.to_owned(),
            area: area.to_owned(),
            level: CheckLevel::Standard,
            state,
            observed: observed.to_owned(),
            expected: String::new(),
            source: "GET /api/v1/targets?state=active".to_owned(),
            hint: None,
            fix: None,
            blocked_by: None,
        };
        vec![
            finding(
                "operator.ready",
                "Deployment prometheus-operator is available",
                "operator",
                CheckState::Pass,
                "1/1 v0.93.1",
            ),
            Finding {
                expected: "every target up".to_owned(),
                hint: Some("The pod answers on no port 9121; its container listens on 9122.".to_owned()),
                fix: Some("kubectl -n shop edit service redis-exporter".to_owned()),
                ..finding(
                    "prometheus.targets",
                    "every selected ServiceMonitor has a live target",
                    "prometheus",
                    CheckState::Fail,
                    "serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics <\"connection refused\">",
                )
            },
            Finding {
                expected: "no gap in the last hour".to_owned(),
                ..finding(
                    "prometheus.gaps",
                    "no series has gaps",
                    "prometheus",
                    CheckState::Warn,
                    "2 gaps of 30s",
                )
            },
            Finding {
                blocked_by: Some("prometheus.targets".to_owned()),
                ..finding(
                    "prometheus.rules",
                    "all rules are healthy",
                    "prometheus",
                    CheckState::Blocked,
                    "",
                )
            },
            finding(
                "grafana.dashboards",
                "all dashboards are loaded",
                "grafana",
                CheckState::Skip,
                "no right to list ConfigMaps",
            ),
        ]
    }

    /// A verification of them.
    pub(in super::super) fn verified(findings: &[Finding]) -> Verified<'_> {
        Verified {
            stack: "demo",
            level: CheckLevel::Standard,
            took: Duration::from_millis(18_230),
            findings,
        }
    }

    #[test]
    fn the_table_groups_by_area_and_explains_what_does_not_hold() {
        let findings = findings();
        insta::assert_snapshot!(verify_table(&verified(&findings), &Style::plain(80)), @r#"
        operator -------------------------------------------------------------- 1 passed
          ok Deployment prometheus-operator is available  1/1 v0.93.1

        prometheus -------------------------------------- 1 failed, 1 blocked, 1 warning
          !! every selected ServiceMonitor has a live target  prometheus.targets
               observed  serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics
                         <"connection refused">
               expected  every target up
               read      GET /api/v1/targets?state=active
               hint      The pod answers on no port 9121; its container listens on 9122.
               fix       kubectl -n shop edit service redis-exporter
          !  no series has gaps                           prometheus.gaps
               observed  2 gaps of 30s
               expected  no gap in the last hour
               read      GET /api/v1/targets?state=active
          .. all rules are healthy                        blocked by prometheus.targets

        grafana -------------------------------------------------------------- 1 skipped
          -  all dashboards are loaded
               skipped: no right to list ConfigMaps

        !! 5 checks: 1 passed, 1 failed, 1 blocked, 1 warning, 1 skipped  (standard, 18.2s)
        "#);
    }

    #[test]
    fn the_table_uses_the_width_and_signs_that_it_may() {
        let findings = findings();
        let style = Style {
            colour: false,
            unicode: true,
            width: 120,
        };
        insta::assert_snapshot!(verify_table(&verified(&findings), &style), @r#"
        operator ────────────────────────────────────────────────────────────────────────────────── 1 passed
          ✓ Deployment prometheus-operator is available                           1/1 v0.93.1

        prometheus ──────────────────────────────────────────────────────── 1 failed · 1 blocked · 1 warning
          ✗ every selected ServiceMonitor has a live target                       prometheus.targets
              observed  serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics <"connection refused">
              expected  every target up
              read      GET /api/v1/targets?state=active
              hint      The pod answers on no port 9121; its container listens on 9122.
              fix       kubectl -n shop edit service redis-exporter
          ! no series has gaps                                                    prometheus.gaps
              observed  2 gaps of 30s
              expected  no gap in the last hour
              read      GET /api/v1/targets?state=active
          ◌ all rules are healthy                                                 blocked by prometheus.targets

        grafana ────────────────────────────────────────────────────────────────────────────────── 1 skipped
          - all dashboards are loaded                                             skipped: no right to list ConfigMaps

        ✗ 5 checks: 1 passed · 1 failed · 1 blocked · 1 warning · 1 skipped  (standard, 18.2s)
        "#);
    }

    #[test]
    fn short_shows_only_what_does_not_hold() {
        let findings = findings();
        let text = verify_short(&verified(&findings), &Style::plain(80));
        assert!(
            !text.contains("is available") && !text.contains("dashboards"),
            "{text}"
        );
        assert!(
            text.contains("connection") && text.contains("blocked by prometheus.targets"),
            "{text}"
        );
        let passed = &findings[..1];
        assert_eq!(
            verify_short(&verified(passed), &Style::plain(80)),
            "ok 1 check: 1 passed  (standard, 18.2s)\n"
        );
    }

    #[test]
    fn the_document_for_scripts_has_every_key_in_every_check() {
        let findings = findings();
        let document = verify_json(&verified(&findings));
        assert_eq!(document["schema"], "stackup/verify/v1");
        assert_eq!(
            document["summary"],
            json!({"pass": 1, "warn": 1, "fail": 1, "skip": 1, "blocked": 1})
        );
        assert_eq!(document["holds"], false);
        for check in document["checks"].as_array().unwrap() {
            for key in ["id", "state", "observed", "expected", "hint", "fix", "blocked_by"] {
                assert!(check.get(key).is_some(), "{key} in {check}");
            }
        }
        assert_eq!(document["checks"][3]["blocked_by"], "prometheus.targets");
        assert_eq!(document["checks"][3]["state"], "blocked");
    }
}
