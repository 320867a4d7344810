use std::{
    io,
    path::{Path, PathBuf},
};

use super::Holder;
use crate::resource::ResourceError;

/// Why the state could not be used. Nothing has been changed when one of these comes before a run.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A file is empty, short, flipped or edited by hand.
    #[error("the state is damaged: {} at byte {offset}: {what}", .path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it the damage was noticed.
        offset: usize,
        /// What is wrong there.
        what: String,
        /// The newest backup that can be read.
        backup: Option<PathBuf>,
    },
    /// A newer stackup wrote it.
    #[error("{} has format {found}, and this stackup reads formats up to {known}", .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that we read.
        known: u64,
    },
    /// It needs something that this stackup does not have.
    #[error("{} uses the feature '{feature}', which this stackup does not know", .path.display())]
    UnknownFeature {
        /// Which file.
        path: PathBuf,
        /// What it uses.
        feature: String,
    },
    /// It is the state of another stack.
    #[error("{} belongs to the stack '{found}', not to '{wanted}'", .path.display())]
    OtherStack {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// Another stackup works on this stack.
    #[error("the stack is locked by {0}")]
    Locked(Box<Holder>),
    /// Another stackup took the lock over while this one could not show that it was alive.
    #[error("the lock of {} was taken over{}", .path.display(), .by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default())]
    Fenced {
        /// Whose lock.
        path: PathBuf,
        /// Who has it now, if someone still does.
        by: Option<Box<Holder>>,
    },
    /// A remote store said no, or nothing.
    #[error("{what} {}", .path.display())]
    Remote {
        /// What was tried: "write", "read".
        what: &'static str,
        /// Of which object.
        path: PathBuf,
        /// What the store said.
        #[source]
        source: Box<ResourceError>,
    },
    /// The file system said no.
    #[error("{what} {}", .path.display())]
    Io {
        /// What was tried: "write", "read".
        what: &'static str,
        /// Of which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl StateError {
    /// Adds the backup to use, where there is damage.
    #[must_use]
    pub fn with_backup(self, newest: Option<PathBuf>) -> Self {
        match self {
            Self::Damaged {
                path, offset, what, ..
            } => Self::Damaged {
                path,
                offset,
                what,
                backup: newest,
            },
            other @ (Self::Newer { .. }
            | Self::UnknownFeature { .. }
            | Self::OtherStack { .. }
            | Self::Locked(_)
            | Self::Fenced { .. }
            | Self::Remote { .. }
            | Self::Io { .. }) => other,
        }
    }

    /// What is to be written there has no JSON.
    pub fn unwritable(path: &Path, error: serde_json::Error) -> Self {
        Self::io("write", path)(error.into())
    }

    /// Wraps what the file system said.
    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
