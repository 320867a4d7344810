use serde::{Deserialize, Serialize};

/// How deep a verification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckLevel {
    /// Reads of the Kubernetes API only.
    Quick,
    /// Quick, and HTTP to the components.
    Standard,
    /// Standard, and end to end.
    Deep,
}

/// How bad it is if a check does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Worth knowing; never fails a verification.
    Warning,
    /// Something does not work.
    Error,
}

/// What became of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckState {
    /// It holds.
    Pass,
    /// It does not, and that is not bad enough to fail.
    Warn,
    /// It does not.
    Fail,
    /// It was not asked; `observed` says why.
    Skip,
    /// It could not be asked, since another check does not hold.
    Blocked,
}

/// The answer to one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The check's id: `prometheus.targets`.
    pub id: String,
    /// The fact that it asserts.
    pub title: String,
    /// The part of the stack: `cluster`, `prometheus`.
    pub area: String,
    /// From which level on it is asked.
    pub level: CheckLevel,
    /// What became of it.
    pub state: CheckState,
    /// What was seen, or why it was not asked.
    pub observed: String,
    /// What would have been right.
    pub expected: String,
    /// Where that was read: an API path or URL.
    pub source: String,
    /// What it means and where to look, if it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// A command that shows or mends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Which check stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
}

/// How many findings are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifySummary {
    /// Checks that hold.
    pub pass: usize,
    /// Checks that do not, without failing the verification.
    pub warn: usize,
    /// Checks that do not.
    pub fail: usize,
    /// Checks that were not asked.
    pub skip: usize,
    /// Checks behind one that does not hold.
    pub blocked: usize,
}

impl VerifySummary {
    /// Counts findings.
    pub fn of(findings: &[Finding]) -> Self {
        let mut summary = Self::default();
        for finding in findings {
            let count = match finding.state {
                CheckState::Pass => &mut summary.pass,
                CheckState::Warn => &mut summary.warn,
                CheckState::Fail => &mut summary.fail,
                CheckState::Skip => &mut summary.skip,
                CheckState::Blocked => &mut summary.blocked,
            };
            *count += 1;
        }
        summary
    }

    /// Whether nothing failed and nothing is hidden behind a failure.
    pub fn holds(&self) -> bool {
        self.fail == 0 && self.blocked == 0
    }
}
