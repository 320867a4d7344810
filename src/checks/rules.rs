use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    check::{Check, Miss, Outcome, few, none},
    evidence::{Evidence, digest},
    object::{items, text, title},
    pool::chooses,
};

const RULES: &str = "prometheus:/api/v1/rules";
const READS: &[&str] = &[RULES, "PrometheusRule", "Prometheus", "Namespace"];

pub(super) const CHECKS: &[Check] = &[
    Check::new("rules.loaded", "Prometheus has loaded every group of rules", loaded)
        .standard()
        .alike()
        .needs(&["prom.ready"])
        .reads(READS)
        .hint("the operator leaves out a rule that is not valid, and one without the label that ruleSelector asks for")
        .fix("kubectl get events -A --field-selector=reason=InvalidConfiguration"),
    Check::new("rules.health", "every rule is evaluated without an error", health)
        .standard()
        .needs(&["rules.loaded"])
        .reads(&[RULES]),
    Check::new("prom.watchdog", "the alert Watchdog fires", watchdog)
        .standard()
        .needs(&["rules.loaded"])
        .reads(&[RULES])
        .hint("it fires always: while it does not, no other alert can be trusted"),
    Check::new("rules.alerts", "no alert fires but those that say that all is well", alerts)
        .standard()
        .warning()
        .needs(&["rules.loaded"])
        .reads(&[RULES])
        .hint("an alert of the stack itself says what is wrong better than this check can"),
];

/// The groups that Prometheus should have: of every rule object that it chooses.
fn wanted(e: &Evidence) -> Result<BTreeSet<String>, Miss> {
    let live: Vec<&Value> = e
        .some_applied("Prometheus")?
        .into_iter()
        .filter_map(|wanted| e.live(wanted))
        .collect();
    let chosen = e
        .all("PrometheusRule")
        .iter()
        .filter(|rule| live.iter().any(|prometheus| chooses(e, prometheus, "rule", rule)));
    // A rule of the stack that is not chosen would not be missed otherwise.
    let applied = e.applied("PrometheusRule");
    Ok(chosen
        .chain(applied)
        .flat_map(|rule| items(rule, "/spec/groups"))
        .map(|group| text(group, "/name").to_owned())
        .collect())
}

fn loaded(e: &Evidence, _: &'static str) -> Outcome {
    let wanted = wanted(e)?;
    let answer = e.json(RULES)?;
    let found: BTreeSet<String> = items(&answer, "/data/groups")
        .iter()
        .map(|group| text(group, "/name").to_owned())
        .collect();
    let missing: Vec<String> = wanted.difference(&found).cloned().collect();
    let rules: usize = items(&answer, "/data/groups")
        .iter()
        .map(|group| items(group, "/rules").len())
        .sum();
    if missing.is_empty() {
        let seen = digest(&definitions(&answer).to_string());
        return Ok(format!(
            "{} groups, {rules} rules, definitions {seen}",
            found.len()
        ));
    }
    Err(Miss::fail(
        format!("missing: {}", few(&missing)),
        format!("{} groups", wanted.len()),
    ))
}

/// Of the groups what their files say, without what became of them since.
fn definitions(answer: &Value) -> Value {
    const GROUP: [&str; 4] = ["name", "file", "interval", "limit"];
    // Of alerting and of recording rules: https://prometheus.io/docs/prometheus/latest/querying/api/#rules
    const RULE: [&str; 6] = [
        "name",
        "query",
        "duration",
        "keepFiringFor",
        "labels",
        "annotations",
    ];
    let of = |value: &Value, fields: &[&str]| {
        let fields = fields
            .iter()
            .map(|field| value.get(*field).cloned().unwrap_or_default());
        fields.collect::<Value>()
    };
    let groups = items(answer, "/data/groups").iter().map(|group| {
        let rules = items(group, "/rules").iter().map(|rule| of(rule, &RULE));
        Value::from_iter([of(group, &GROUP), rules.collect()])
    });
    groups.collect()
}

fn rules(answer: &Value) -> impl Iterator<Item = &Value> {
    items(answer, "/data/groups")
        .iter()
        .flat_map(|group| items(group, "/rules"))
}

fn health(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    let answer = e.json(RULES)?;
    let broken = rules(&answer).filter(|rule| text(rule, "/health") == "err");
    let wrong: Vec<String> = broken
        .map(|rule| format!("{}: {}", text(rule, "/name"), text(rule, "/lastError")))
        .collect();
    if !wrong.is_empty() {
        return Err(Miss::fail(few(&wrong), "health ok for every rule"));
    }
    let total = rules(&answer).count();
    let unknown = rules(&answer)
        .filter(|rule| text(rule, "/health") != "ok")
        .count();
    if unknown > 0 {
        return Err(Miss::wait(
            format!("{unknown} of {total} rules were not evaluated yet"),
            "health ok for every rule",
        )
        .hint("each group is evaluated once in its interval, for the first time shortly after the start"));
    }
    Ok(format!("{total} rules"))
}

fn watchdog(e: &Evidence, _: &'static str) -> Outcome {
    e.some_applied("Prometheus")?;
    if !e.applied("PrometheusRule").any(|rule| {
        items(rule, "/spec/groups")
            .iter()
            .flat_map(|group| items(group, "/rules"))
            .any(|rule| text(rule, "/alert") == "Watchdog")
    }) {
        return Err(Miss::skip("the stack has no rule Watchdog"));
    }
    let answer = e.json(RULES)?;
    let state = rules(&answer)
        .find(|rule| text(rule, "/name") == "Watchdog")
        .map(|rule| text(rule, "/state"));
    match state {
        Some("firing") => Ok("firing".to_owned()),
        Some(state) => Err(Miss::fail(state, "firing")),
        None => Err(Miss::fail("no such alert", "firing")),
    }
}

fn alerts(e: &Evidence, _: &'static str) -> Outcome {
    // Watchdog fires always; nodes that are containers cannot tell whether their clock, the machine's, is in step.
    let expected: &[&str] = match e.profile.as_str() {
        "kind" => &["Watchdog", "NodeClockNotSynchronising"],
        _ => &["Watchdog"],
    };
    e.some_applied("Prometheus")?;
    let answer = e.json(RULES)?;
    let mut wrong = Vec::new();
    for rule in rules(&answer)
        .filter(|rule| text(rule, "/state") == "firing" && !expected.contains(&text(rule, "/name")))
    {
        let about = items(rule, "/alerts")
            .iter()
            .find(|alert| text(alert, "/state") == "firing");
        let about = about
            .map(|alert| text(alert, "/annotations/summary"))
            .unwrap_or_default();
        wrong.push(format!("{} {about}", text(rule, "/name")).trim_end().to_owned());
    }
    none(&wrong, "none", format!("none but {}", expected.join(", ")))
}

/// The titles of rule objects that no Prometheus of the stack chooses.
pub(super) fn unchosen(e: &Evidence, kind: &str, prefix: &str) -> Vec<String> {
    let live: Vec<&Value> = e
        .applied("Prometheus")
        .filter_map(|wanted| e.live(wanted))
        .collect();
    let all = e.all(kind).iter();
    all.filter(|object| {
        !live
            .iter()
            .any(|prometheus| chooses(e, prometheus, prefix, object))
    })
    .map(|object| format!("{kind} {}", title(object)))
    .collect()
}
