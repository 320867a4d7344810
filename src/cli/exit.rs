use crate::model::Stop;

/// The exit codes that scripts rely on. The README lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything was done.
    Done,
    /// It failed, or was only partly done.
    Failed,
    /// The command line or the stack file is not valid.
    Usage,
    /// Another stackup works on this stack.
    Locked,
    /// `diff --exit-code` found changes, or `status` drift.
    Pending,
    /// A check does not hold.
    Check,
    /// Refused: protected, not ours, a conflict, no one to say yes.
    Refused,
    /// The cluster or cloud cannot be reached, or does not accept our credentials.
    Unreachable,
    /// The state is damaged.
    Damaged,
    /// Only deadlines ran out.
    Deadline,
    /// A signal ended it.
    Signal(Stop),
}

impl Exit {
    /// The number.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Locked => 3,
            Self::Pending => 4,
            Self::Check => 5,
            Self::Refused => 6,
            Self::Unreachable => 7,
            Self::Damaged => 8,
            Self::Deadline => 9,
            Self::Signal(Stop::Hup) => 129,
            Self::Signal(Stop::Int) => 130,
            Self::Signal(Stop::Term) => 143,
        }
    }
}
