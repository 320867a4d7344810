use std::time::SystemTime;

use super::super::{Clients, Identity};
use crate::{
    model::EksModel,
    resource::{Boxed, ResourceError, Stack},
};

/// Something that would go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, in a few words.
    pub title: String,
    /// What was found, with names and numbers.
    pub found: String,
    /// What to do about it.
    pub hint: String,
    /// Whether it goes all the same, for now.
    pub warning: bool,
}

impl Problem {
    pub(super) fn new(title: impl Into<String>, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            found: found.into(),
            hint: hint.into(),
            warning: false,
        }
    }

    pub(super) fn warning(self) -> Self {
        Self {
            warning: true,
            ..self
        }
    }
}

/// What all checks know.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) clients: &'a Clients,
    pub(super) model: &'a EksModel,
    pub(super) stack: &'a Stack,
    pub(super) caller: Identity,
    /// Who made the cluster, or will: the ARN that has the operator's access entry.
    pub(super) operator: String,
    pub(super) region: String,
    pub(super) now: SystemTime,
}

/// What a check found; an error if it could not look.
pub(super) type Findings = Result<Vec<Problem>, ResourceError>;

/// A check.
pub(super) type Check = for<'a> fn(&'a Ask<'a>) -> Boxed<'a, Findings>;
