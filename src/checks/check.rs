use crate::model::{CheckLevel, Severity};

use super::evidence::Evidence;

/// One fact about a stack that stands: what it asserts, and how that is decided.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Its name; what is before the dot stands for its area.
    pub id: &'static str,
    /// The fact, as a sentence without a full stop.
    pub title: &'static str,
    /// From which level on it is asked.
    pub level: CheckLevel,
    /// How bad it is if it does not hold.
    pub severity: Severity,
    /// Checks without which this one means nothing.
    pub needs: &'static [&'static str],
    /// What it reads: kinds, and `component:/path`.
    pub reads: &'static [&'static str],
    /// What it means if it does not hold, unless the answer knows better.
    pub hint: Option<&'static str>,
    /// A command that shows more, unless the answer knows a better one.
    pub fix: Option<&'static str>,
    /// Whether it means anything where pods only say that they run.
    pub simulated: bool,
    /// Whether what is seen has to be the very same of every pod of one `StatefulSet`.
    alike: bool,
    run: Run,
}

/// Decides a check. It is given its own id, so that a table of facts can share one function.
pub(super) type Run = fn(&Evidence, &'static str) -> Outcome;

/// What was seen, if the check holds.
pub(super) type Outcome = Result<String, Miss>;

/// How a check does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) how: How,
    pub(super) observed: String,
    pub(super) expected: String,
    pub(super) hint: Option<String>,
}

/// Whether a fact is not so, not known yet, not so soon, or not a question here: what weighs more is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    Fails,
    /// Time alone will tell.
    Waits,
    /// It holds, but not for long.
    Warns,
    Skips,
}

impl Miss {
    fn new(how: How, observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            how,
            observed: observed.into(),
            expected: expected.into(),
            hint: None,
        }
    }

    pub(super) fn fail(observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(How::Fails, observed, expected)
    }

    pub(super) fn wait(observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(How::Waits, observed, expected)
    }

    pub(super) fn warn(observed: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(How::Warns, observed, expected)
    }

    pub(super) fn skip(why: impl Into<String>) -> Self {
        Self::new(How::Skips, why, "")
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Holds if nothing is wrong; otherwise tells the first few wrongs.
pub(super) fn none(wrong: &[String], holds: impl Into<String>, expected: impl Into<String>) -> Outcome {
    if wrong.is_empty() {
        return Ok(holds.into());
    }
    Err(Miss::fail(few(wrong), expected))
}

/// The `StatefulSet` of a pod: its name without its number.
fn set(pod: &str) -> &str {
    pod.rsplit_once('-').map_or(pod, |(set, _)| set)
}

/// The first few of a list, and how many more there are.
pub(super) fn few(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

impl Check {
    /// An error at level quick that every cluster can be asked about.
    pub(super) const fn new(id: &'static str, title: &'static str, run: Run) -> Self {
        Self {
            id,
            title,
            level: CheckLevel::Quick,
            severity: Severity::Error,
            needs: &[],
            reads: &[],
            hint: None,
            fix: None,
            simulated: true,
            alike: false,
            run,
        }
    }

    /// Asked from level standard on, and only where containers really run.
    pub(super) const fn standard(mut self) -> Self {
        self.level = CheckLevel::Standard;
        self.simulated = false;
        self
    }

    pub(super) const fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Asked only where containers really run.
    pub(super) const fn real(mut self) -> Self {
        self.simulated = false;
        self
    }

    pub(super) const fn needs(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    pub(super) const fn reads(mut self, reads: &'static [&'static str]) -> Self {
        self.reads = reads;
        self
    }

    pub(super) const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(super) const fn fix(mut self, fix: &'static str) -> Self {
        self.fix = Some(fix);
        self
    }

    /// What is seen has to be the very same of every pod of one `StatefulSet`.
    pub(super) const fn alike(mut self) -> Self {
        self.alike = true;
        self
    }

    /// Decides it. Where several pods were asked what it reads, it has to hold for each of them alone.
    pub(super) fn decide(&self, e: &Evidence) -> Outcome {
        let pods = e.asked(self.reads);
        if pods.len() < 2 {
            return (self.run)(e, self.id);
        }
        let mut seen = Vec::new();
        let mut missed = Vec::new();
        for pod in &pods {
            match (self.run)(&e.of_pod(pod, self.reads), self.id) {
                Ok(observed) => seen.push((*pod, observed)),
                Err(miss) => missed.push((*pod, miss)),
            }
        }
        if let Some(worst) = missed.iter().map(|(_, miss)| miss).min_by_key(|miss| miss.how) {
            let as_bad = missed.iter().filter(|(_, miss)| miss.how == worst.how);
            let observed: Vec<String> = as_bad
                .map(|(pod, miss)| {
                    // Some name the pod themselves.
                    if miss.observed.contains(*pod) {
                        miss.observed.clone()
                    } else {
                        format!("{pod}: {}", miss.observed)
                    }
                })
                .collect();
            return Err(Miss {
                observed: few(&observed),
                ..worst.clone()
            });
        }
        let all: Vec<String> = seen
            .iter()
            .map(|(pod, observed)| format!("{pod}: {observed}"))
            .collect();
        let differ = |(a, b): (&(&str, String), &(&str, String))| set(a.0) == set(b.0) && a.1 != b.1;
        if self.alike && seen.iter().zip(seen.iter().skip(1)).any(differ) {
            return Err(Miss::fail(few(&all), "the same of every pod"));
        }
        match seen.first() {
            Some((_, first)) if seen.iter().all(|(_, observed)| observed == first) => {
                Ok(format!("{first} (each of {} pods)", seen.len()))
            }
            _ => {
                // Beside what holds, the pods' long names would leave no room for what was seen.
                let observed: Vec<String> = seen.into_iter().map(|(_, observed)| observed).collect();
                Ok(format!("{} (of {} pods)", few(&observed), observed.len()))
            }
        }
    }

    /// The part of the stack that it is about, as people call it.
    pub fn area(&self) -> &'static str {
        match self.prefix() {
            "demo" => "shop",
            "prom" => "prometheus",
            "am" => "alertmanager",
            "ne" => "node-exporter",
            "ksm" => "kube-state-metrics",
            prefix => prefix,
        }
    }

    /// What is before the dot of its id.
    fn prefix(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(prefix, _)| prefix)
    }

    /// Whether a person means it: by its id, the beginning of its id, or its area.
    pub(super) fn is_meant(&self, by: &str) -> bool {
        by == self.id || by == self.prefix() || by == self.area()
    }
}
