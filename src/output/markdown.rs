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
    use crate::output::{
        plan::tests::mixed,
        verify::tests::{findings, verified},
    };

    #[test]
    fn a_plan_reads_as_a_comment() {
        insta::assert_snapshot!(plan_markdown(&mixed()), @r#"
        ### stackup: `demo`

        Plan: 3 to create, 2 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget; 1 stays as it is.

        <details open><summary>monitoring: 1 to update</summary>

        ```diff
        !  ~ k8s/monitoring/ConfigMap/config
               data[prometheus.yaml]
                   global:
        -        -   interval: 30s
        +        +   interval: 15s
                     timeout: 10s
        ```

        </details>

        <details open><summary>shop: 3 to create, 1 to update, 1 to replace, 2 to delete, 2 conflicts, 1 to forget</summary>

        ```diff
        +  + k8s/shop/Service/  cart, email
        +  + k8s/shop/Deployment/ads
               (it was there after the last run and is gone)
        !  ~ k8s/shop/Deployment/frontend
               spec.replicas  5 → 1  (set by kubectl-edit)
               spec.template.spec.containers[name=server].image
                 "registry.example/shop/frontend:v0.10.5" → "registry.example/shop/frontend:v0.10.6"
               data.token     (secret …1) → (secret …2)
               spec.paused    (absent) → true
           ○ k8s/Namespace/kept
               (no longer in the stack)
        -  - k8s/shop/ConfigMap/  old, older
               (no longer in the stack)
        !  ± k8s/shop/Deployment/cart  (spec.selector.matchLabels cannot be changed in place)
               spec.selector.matchLabels  {"app":"cart"} → {"app":"cartservice"}  (forces the replace)
        !  ! k8s/shop/Secret/theirs
               (not ours: made by helm)
        !  ! k8s/shop/Deployment/checkout
               spec.replicas  4 is owned by horizontal-pod-autoscaler; the stack says 2
        ```

        </details>
        "#);
    }

    #[test]
    fn a_verification_reads_as_a_comment() {
        let findings = findings();
        insta::assert_snapshot!(verify_markdown(&verified(&findings)), @r#"
        ### stackup verify: `demo` does not hold

        1 passed · 1 failed · 1 blocked · 1 warning · 1 skipped (standard, 18.2s)

        **fail `prometheus.targets`** every selected ServiceMonitor has a live target
        - observed: `serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics <"connection refused">`
        - expected: `every target up`
        - read: `GET /api/v1/targets?state=active`
        - hint: `The pod answers on no port 9121; its container listens on 9122.`
        - fix: `kubectl -n shop edit service redis-exporter`

        **warn `prometheus.gaps`** no series has gaps
        - observed: `2 gaps of 30s`
        - expected: `no gap in the last hour`
        - read: `GET /api/v1/targets?state=active`

        **blocked `prometheus.rules`** all rules are healthy
        - blocked by `prometheus.targets`

        <details><summary>operator: 1</summary>

        | state | check | fact | observed |
        |---|---|---|---|
        | pass | operator.ready | Deployment prometheus-operator is available | 1/1 v0.93.1 |

        </details>

        <details><summary>prometheus: 3</summary>

        | state | check | fact | observed |
        |---|---|---|---|
        | fail | prometheus.targets | every selected ServiceMonitor has a live target | serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics &lt;"connection refused"&gt; |
        | warn | prometheus.gaps | no series has gaps | 2 gaps of 30s |
        | blocked | prometheus.rules | all rules are healthy |  |

        </details>

        <details><summary>grafana: 1</summary>

        | state | check | fact | observed |
        |---|---|---|---|
        | skip | grafana.dashboards | all dashboards are loaded | no right to list ConfigMaps |

        </details>
        "#);
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
