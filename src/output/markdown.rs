use super::{
    Style, Verified,
    plan::{by_component, component_text, counts, goes_down, totals},
    style::precise,
    text::put,
    verify::{counts as verify_counts, level_word},
};
use crate::model::{Action, CheckState, Finding, Plan, VerifySummary};

/// How wide the text inside a page may be.
const STYLE: Style = Style {
    colour: false,
    unicode: true,
    width: 110,
};

/// The plan as a comment on a pull request: totals, then each component to unfold.
pub fn plan_markdown(plan: &Plan) -> String {
    let mut out = String::new();
    put(&mut out, &format!("### stackup: `{}`", inline(&plan.stack)));
    put(&mut out, "");
    let summary = plan.summary();
    if !summary.pending() {
        put(&mut out, "No changes: everything stands as the stack file says.");
        return out;
    }
    put(&mut out, &totals(&STYLE, &summary));
    for (component, steps) in by_component(plan) {
        let name = component.map_or(plan.stack.as_str(), |component| component);
        let mut text = String::new();
        component_text(&mut text, &STYLE, &steps, false, goes_down(&summary));
        // What only makes new things can stay folded; all else should be looked at.
        let open = steps.iter().any(|step| step.action != Action::Create);
        let open = if open { " open" } else { "" };
        put(&mut out, "");
        put(
            &mut out,
            &format!(
                "<details{open}><summary>{}: {}</summary>",
                html(name),
                counts(&steps)
            ),
        );
        put(&mut out, "");
        fenced(&mut out, &text);
        put(&mut out, "");
        put(&mut out, "</details>");
    }
    out
}

/// The verification as a comment on a pull request or a summary of a CI job.
pub fn verify_markdown(verified: &Verified<'_>) -> String {
    let mut out = String::new();
    let summary = VerifySummary::of(verified.findings);
    let holds = if summary.holds() { "holds" } else { "does not hold" };
    put(
        &mut out,
        &format!("### stackup verify: `{}` {holds}", inline(verified.stack)),
    );
    put(&mut out, "");
    let counts = verify_counts(&STYLE, &summary);
    put(
        &mut out,
        &format!(
            "{counts} ({}, {})",
            level_word(verified.level),
            precise(verified.took)
        ),
    );
    let bad = |finding: &&Finding| match finding.state {
        CheckState::Fail | CheckState::Warn | CheckState::Blocked => true,
        CheckState::Pass | CheckState::Skip => false,
    };
    for finding in verified.findings.iter().filter(bad) {
        put(&mut out, "");
        put(
            &mut out,
            &format!(
                "**{} `{}`** {}",
                state_word(finding),
                inline(&finding.id),
                html(&finding.title)
            ),
        );
        if let Some(cause) = &finding.blocked_by {
            put(&mut out, &format!("- blocked by `{}`", inline(cause)));
            continue;
        }
        let rows = [
            ("observed", Some(&finding.observed)),
            ("expected", Some(&finding.expected)),
            ("read", Some(&finding.source)),
            ("hint", finding.hint.as_ref()),
            ("fix", finding.fix.as_ref()),
        ];
        for (label, value) in rows {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                put(&mut out, &format!("- {label}: `{}`", inline(value)));
            }
        }
    }
    for (area, findings) in verified.areas() {
        put(&mut out, "");
        put(
            &mut out,
            &format!("<details><summary>{}: {}</summary>", html(area), findings.len()),
        );
        put(&mut out, "");
        put(&mut out, "| state | check | fact | observed |");
        put(&mut out, "|---|---|---|---|");
        for finding in findings {
            let cells = [&finding.id, &finding.title, &finding.observed].map(|text| cell(text));
            put(
                &mut out,
                &format!("| {} | {} |", state_word(finding), cells.join(" | ")),
            );
        }
        put(&mut out, "");
        put(&mut out, "</details>");
    }
    out
}

fn state_word(finding: &Finding) -> &'static str {
    match finding.state {
        CheckState::Pass => "pass",
        CheckState::Warn => "warn",
        CheckState::Fail => "fail",
        CheckState::Skip => "skip",
        CheckState::Blocked => "blocked",
    }
}

/// Text in a fence that it cannot close.
fn fenced(out: &mut String, text: &str) {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    put(out, &format!("{fence}diff"));
    for line in text.lines() {
        // A diff is coloured by the first character of its lines.
        let sign = line.trim_start();
        let lead = match sign.chars().next() {
            Some('+') => "+",
            Some('-') => "-",
            Some('~' | '±' | '!') => "!",
            Some(_) | None => " ",
        };
        put(out, &format!("{lead}{line}"));
    }
    put(out, &fence);
}

/// Text for a code span: one line, without the sign that would end it.
fn inline(text: &str) -> String {
    STYLE.one_line(text).replace('`', "'")
}

/// Text between tags.
fn html(text: &str) -> String {
    STYLE
        .one_line(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    html(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::verify::tests::{findings, verified};

    #[test]
    fn a_verification_reads_as_a_comment() {
        let findings = findings();
        insta::assert_snapshot!(verify_markdown(&verified(&findings)), @"");
    }

    #[test]
    fn content_cannot_leave_its_fence_or_cell() {
        let mut out = String::new();
        fenced(&mut out, "  + a ```` b\n");
        assert_eq!(out, "`````diff\n+  + a ```` b\n`````\n");
        assert_eq!(cell("a|b\n<c>"), "a\\|b &lt;c&gt;");
        assert_eq!(inline("a`b"), "a'b");
    }
}
