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
    /// The one of two whose cause is higher: what a command that did several things ends with.
    #[cfg(any(feature = "aws", test))]
    pub(crate) fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::Pending => 1,
            Self::Check => 2,
            Self::Deadline => 3,
            Self::Failed => 4,
            Self::Refused => 5,
            Self::Usage => 6,
            Self::Unreachable => 7,
            Self::Locked => 8,
            Self::Damaged => 9,
            Self::Signal(_) => 10,
        };
        if rank(other) > rank(self) { other } else { self }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_cause_wins_in_whatever_order() {
        let worst = |exits: &[Exit]| exits.iter().fold(Exit::Done, |worst, exit| worst.worse(*exit));
        assert_eq!(worst(&[]), Exit::Done);
        assert_eq!(
            worst(&[Exit::Unreachable, Exit::Failed, Exit::Done]),
            Exit::Unreachable
        );
        assert_eq!(worst(&[Exit::Failed, Exit::Unreachable]), Exit::Unreachable);
        assert_eq!(
            worst(&[Exit::Signal(Stop::Int), Exit::Damaged]),
            Exit::Signal(Stop::Int)
        );
    }
}
