use std::collections::{BTreeMap, BTreeSet};

use super::{
    check::{Check, How, Miss},
    evidence::Evidence,
    list,
};
use crate::model::{CheckLevel, CheckState, Finding, Severity};

/// What is to be asked.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// How deep; `None` is quick.
    pub level: Option<CheckLevel>,
    /// Ids or areas; all if empty.
    pub only: Vec<String>,
    /// What was found before: what held is not asked again.
    pub before: Vec<Answered>,
}

/// The answer to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// What is told.
    pub finding: Finding,
    /// Whether time alone may change it, although it is no failure.
    pub pending: bool,
}

impl Answered {
    /// Whether it need not be asked again.
    pub fn settled(&self) -> bool {
        match self.finding.state {
            CheckState::Pass | CheckState::Skip => true,
            CheckState::Fail | CheckState::Blocked => false,
            CheckState::Warn => !self.pending,
        }
    }
}

impl Ask {
    fn wants(&self, check: &Check) -> bool {
        check.level <= self.level.unwrap_or(CheckLevel::Quick)
            && (self.only.is_empty() || self.only.iter().any(|only| check.is_meant(only)))
    }

    fn known(&self, id: &str) -> Option<&Answered> {
        self.before
            .iter()
            .find(|answered| answered.finding.id == id && answered.settled())
    }

    /// Names that are neither a check nor an area.
    pub fn unknown(&self) -> Vec<&str> {
        let is = |only: &str| list::all().any(|check| check.is_meant(only));
        self.only
            .iter()
            .map(String::as_str)
            .filter(|only| !is(only))
            .collect()
    }
}

/// What has to be read for this: kinds, and `component:/path`. Nothing else is looked at.
pub fn reads(ask: &Ask, simulated: bool) -> BTreeSet<&'static str> {
    let mut wanted = BTreeSet::new();
    for check in list::all().filter(|check| ask.wants(check)) {
        with_needs(check.id, &mut wanted);
    }
    list::all()
        .filter(|check| {
            wanted.contains(check.id) && ask.known(check.id).is_none() && (check.simulated || !simulated)
        })
        .flat_map(|check| check.reads.iter().copied())
        .collect()
}

fn with_needs(id: &'static str, found: &mut BTreeSet<&'static str>) {
    if found.insert(id)
        && let Some(check) = list::find(id)
    {
        check.needs.iter().for_each(|need| with_needs(need, found));
    }
}

/// Asks every check that is wanted, in the order in which they are told.
pub fn run(ask: &Ask, evidence: &Evidence) -> Vec<Answered> {
    let mut asked = BTreeMap::new();
    list::all()
        .filter(|check| ask.wants(check))
        .map(|check| answer(check, ask, evidence, &mut asked))
        .collect()
}

fn answer(
    check: &'static Check,
    ask: &Ask,
    evidence: &Evidence,
    asked: &mut BTreeMap<&'static str, Answered>,
) -> Answered {
    if let Some(known) = ask.known(check.id) {
        return known.clone();
    }
    if let Some(known) = asked.get(check.id) {
        return known.clone();
    }
    let answered = decide(check, ask, evidence, asked);
    asked.insert(check.id, answered.clone());
    answered
}

fn decide(
    check: &'static Check,
    ask: &Ask,
    evidence: &Evidence,
    asked: &mut BTreeMap<&'static str, Answered>,
) -> Answered {
    let mut finding = Finding {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        area: check.area().to_owned(),
        level: check.level,
        state: CheckState::Pass,
        observed: String::new(),
        expected: String::new(),
        source: source(check.reads),
        hint: None,
        fix: None,
        blocked_by: None,
    };
    let told = |finding| Answered {
        finding,
        pending: false,
    };
    if evidence.simulated && !check.simulated {
        finding.state = CheckState::Skip;
        "nodes are simulated: no container runs".clone_into(&mut finding.observed);
        return told(finding);
    }
    let refused = check.reads.iter().find_map(|read| {
        let right = if read.contains(':') && !read.starts_with("cluster:") {
            "pods/portforward"
        } else {
            read
        };
        evidence.refused.contains(right).then_some(right)
    });
    if let Some(right) = refused {
        finding.state = CheckState::Skip;
        finding.observed = format!(
            "the credentials lack the right to read {right}; 'stackup verify --print-rbac' prints a role"
        );
        return told(finding);
    }
    for need in check.needs {
        let Some(need) = list::find(need) else { continue };
        let found = answer(need, ask, evidence, asked).finding;
        if matches!(found.state, CheckState::Fail | CheckState::Blocked) {
            finding.state = CheckState::Blocked;
            finding.blocked_by = Some(found.blocked_by.unwrap_or(found.id));
            return told(finding);
        }
    }
    match check.decide(evidence) {
        Ok(observed) => {
            finding.observed = observed;
            told(finding)
        }
        Err(miss) => missed(check, finding, miss),
    }
}

/// What is still not known once the time for it is over has not been seen, and is told as that.
pub fn overdue(answered: &mut [Answered]) {
    for one in answered.iter_mut().filter(|one| one.pending) {
        let severity = list::find(&one.finding.id).map(|check| check.severity);
        if severity == Some(Severity::Error) && one.finding.state == CheckState::Warn {
            one.finding.state = CheckState::Fail;
        }
    }
}

fn missed(check: &Check, mut finding: Finding, miss: Miss) -> Answered {
    finding.state = match (miss.how, check.severity) {
        (How::Skips, _) => CheckState::Skip,
        (How::Waits | How::Warns, _) | (How::Fails, Severity::Warning) => CheckState::Warn,
        (How::Fails, Severity::Error) => CheckState::Fail,
    };
    finding.observed = miss.observed;
    finding.expected = miss.expected;
    if miss.how != How::Skips {
        finding.hint = miss.hint.or_else(|| check.hint.map(str::to_owned));
        finding.fix = check.fix.map(str::to_owned);
    }
    Answered {
        finding,
        pending: miss.how == How::Waits,
    }
}

/// Where a check reads, in words.
fn source(reads: &[&str]) -> String {
    let told = |read: &&str| match read.split_once(':') {
        Some((component, path)) => format!("GET {path} of {component}"),
        None => format!("{read} objects"),
    };
    reads.iter().map(told).collect::<Vec<_>>().join(", ")
}
