use std::{error::Error, path::Path};

use serde_json::{Value, json};

use super::exit::Exit;
use crate::{
    engine::Found,
    model::{Address, Mistake},
    output::{Style, Tone},
    resource::{Cause, ResourceError},
    state::StateError,
};

/// What went wrong, as a person reads it: one sentence, its causes, at most two hints.
#[derive(Debug)]
pub(crate) struct CliError {
    /// How the program ends.
    pub(crate) exit: Exit,
    /// One sentence without a full stop.
    pub(crate) message: String,
    /// Why, from the nearest cause on.
    pub(crate) causes: Vec<String>,
    /// Commands to run or places to look.
    pub(crate) hints: Vec<String>,
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds an error and all that it names as its source.
    pub(crate) fn cause(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            self.causes.push(error.to_string());
            next = error.source();
        }
        self
    }

    /// Adds what an error names as its source, when its own words are in the message.
    pub(crate) fn source_of(self, error: &dyn Error) -> Self {
        match error.source() {
            Some(source) => self.cause(source),
            None => self,
        }
    }

    /// Mistakes in what a person wrote.
    pub(crate) fn mistakes(mistakes: &[Mistake]) -> Self {
        let count = mistakes.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let mut error = Self::new(Exit::Usage, format!("the stack is not valid: {count} {noun}"));
        error.causes = mistakes.iter().map(ToString::to_string).collect();
        error
    }

    /// Resources that could not be read.
    pub(crate) fn unreadable(errors: &[(Address, ResourceError)]) -> Self {
        let exit = errors
            .iter()
            .map(|(_, error)| exit_of(error))
            .find(|exit| *exit == Exit::Unreachable);
        let message = match errors {
            [(address, _)] => format!("could not read {address}"),
            _ => format!("could not read {} resources", errors.len()),
        };
        let mut error = Self::new(exit.unwrap_or(Exit::Failed), message);
        for (address, cause) in errors {
            let line = if errors.len() == 1 {
                cause.to_string()
            } else {
                format!("{address}: {cause}")
            };
            if !error
                .causes
                .iter()
                .any(|known| known.ends_with(&cause.to_string()))
            {
                error.causes.push(line);
            }
        }
        let more = error.causes.len().saturating_sub(5);
        error.causes.truncate(5);
        if more > 0 {
            error.causes.push(format!("and {more} more"));
        }
        error.hints = errors
            .iter()
            .filter_map(|(_, error)| error.hint.clone())
            .take(1)
            .collect();
        error
    }

    pub(crate) fn text(&self, style: &Style) -> String {
        let mut text = format!("{} {}", style.paint(Tone::Bad, "error:"), self.message);
        for cause in &self.causes {
            text.push_str("\n  ");
            text.push_str(&cause.replace('\n', "\n  "));
        }
        for hint in &self.hints {
            text.push('\n');
            text.push_str(&style.paint(Tone::Change, "next:"));
            text.push(' ');
            text.push_str(hint);
        }
        text
    }

    pub(crate) fn json(&self) -> Value {
        json!({"error": {"message": self.message, "causes": self.causes, "hints": self.hints, "exitCode": self.exit.code()}})
    }
}

impl From<ResourceError> for CliError {
    fn from(error: ResourceError) -> Self {
        let mut cli = Self::new(exit_of(&error), error.to_string());
        cli.hints.extend(error.hint);
        cli
    }
}

impl From<StateError> for CliError {
    fn from(error: StateError) -> Self {
        let mut cli = match &error {
            StateError::Damaged { backup, path, .. } => {
                Self::new(Exit::Damaged, error.to_string()).hint(way_back(path, backup.as_deref()))
            }
            StateError::Newer { .. } | StateError::UnknownFeature { .. } => {
                Self::new(Exit::Damaged, error.to_string()).hint("use the stackup that wrote it, or a newer one")
            }
            StateError::OtherStack { .. } => {
                Self::new(Exit::Refused, error.to_string()).hint("give the stack its former name, or move that folder away")
            }
            StateError::Locked(_) => Self::new(Exit::Locked, error.to_string()).hint(
                "wait until it has ended; the lock goes with its process, in a bucket a minute after its last sign of life",
            ),
            StateError::Fenced { .. } => Self::new(Exit::Locked, error.to_string())
                .hint("see with 'stackup state unlock' whether it has ended, then run the same command again"),
            StateError::Remote { source, .. } => {
                let mut cli = Self::new(exit_of(source), format!("could not {error}"));
                cli.hints.extend(source.hint.clone());
                cli
            }
            StateError::Io { .. } => Self::new(Exit::Failed, format!("could not {error}"))
                .hint("make room or give the right to write there, then run the same command again: nothing is lost"),
        };
        if let Some(source) = error.source() {
            cli = cli.cause(source);
        }
        cli
    }
}

/// Whether a path of the state is in a bucket.
fn is_remote(path: &Path) -> bool {
    path.starts_with("s3:")
}

/// What leads out of a state that cannot be read, by which part of it is damaged.
fn way_back(path: &Path, backup: Option<&Path>) -> String {
    let remote = is_remote(path);
    let journal = if remote {
        path.ancestors().find(|part| part.ends_with("journal"))
    } else {
        Some(path).filter(|path| path.ends_with("journal.ndjson"))
    };
    if let Some(journal) = journal {
        let away = if remote {
            format!("aws s3 mv --recursive {0}/ {0}-damaged/", journal.display())
        } else {
            format!("mv {0} {0}.damaged", journal.display())
        };
        return format!(
            "run '{away}', then 'stackup apply': it finds by its marks what the run that wrote the journal had made; 'stackup destroy' alone would not look for it"
        );
    }
    let state = path.display();
    match backup {
        Some(backup) if remote => format!(
            "the newest backup that can be read is {0}: run 'aws s3 cp {0} {state}', then 'stackup diff'",
            backup.display()
        ),
        Some(backup) => format!(
            "the newest backup that can be read is {}: copy it to {state} and run 'stackup diff'",
            backup.display()
        ),
        None if remote => "nothing was changed, and no backup of it can be read: fetch a former version of the object, which a versioned bucket keeps".into(),
        None => "nothing was changed, and no backup of it can be read: restore that folder from a copy of your own".into(),
    }
}

/// The exit code of a failed call.
pub(crate) fn exit_of(error: &ResourceError) -> Exit {
    match error.cause {
        Cause::Unreachable | Cause::Transient | Cause::Throttled | Cause::Lost => Exit::Unreachable,
        Cause::Refused | Cause::Outdated => Exit::Refused,
        Cause::Permanent => Exit::Failed,
    }
}

/// Whether a resource is only to be forgotten when it is no longer wanted.
pub(crate) fn stays(run: &crate::engine::Run) -> impl Fn(&Found) -> bool + '_ {
    |found| {
        run.registry
            .get(found.kind())
            .is_ok_and(|kind| kind.stays(&found.target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_state_names_what_leads_out_of_it() {
        let told = |path: &str, backup: Option<&str>| {
            let error = CliError::from(StateError::Damaged {
                path: path.into(),
                offset: 0,
                what: "it is empty".into(),
                backup: backup.map(Into::into),
            });
            error.hints[0].clone()
        };
        for (path, backup, way_out) in [
            (
                "s3://b/k/demo/state.json",
                Some("s3://b/k/demo/backups/1"),
                "aws s3 cp s3://b/k/demo/backups/1 s3://b/k/demo/state.json",
            ),
            ("s3://b/k/demo/state.json", None, "former version"),
            (
                ".stackup/demo/state.json",
                Some(".stackup/demo/backups/1"),
                "copy it to .stackup/demo/state.json",
            ),
            (".stackup/demo/state.json", None, "a copy of your own"),
            // An older snapshot would not make a journal readable.
            (
                "s3://b/k/demo/journal/00000002",
                Some("s3://b/k/demo/backups/1"),
                "aws s3 mv --recursive s3://b/k/demo/journal/ s3://b/k/demo/journal-damaged/",
            ),
            (
                ".stackup/demo/journal.ndjson",
                Some(".stackup/demo/backups/1"),
                "mv .stackup/demo/journal.ndjson .stackup/demo/journal.ndjson.damaged",
            ),
        ] {
            let hint = told(path, backup);
            assert!(hint.contains(way_out), "{path}: {hint}");
        }
    }
}
