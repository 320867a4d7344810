use std::{io, path::PathBuf, time::Duration};

use crate::resource::{Cause, ResourceError};

/// What can go wrong with programs, processes and files of this machine. Messages never hold what was piped in.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// Programs that are neither in the control-plane folder nor on the `PATH`.
    #[error("{} not found, neither in STACKUP_CONTROL_PLANE nor on the PATH", named(.0))]
    Missing(Vec<String>),
    /// A program is there and cannot be started.
    #[error("start {program}: {source}")]
    Start {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program ended with an error.
    #[error("'{command}' ended with {status}{}", after(.tail))]
    Failed {
        /// Its name and arguments.
        command: String,
        /// Its exit status, or the signal that ended it.
        status: String,
        /// The last lines that it wrote about it.
        tail: String,
    },
    /// A program did not end in its time, and was ended.
    #[error("'{command}' did not end within {} s and was stopped", .limit.as_secs())]
    Silent {
        /// Its name and arguments.
        command: String,
        /// How long it had.
        limit: Duration,
    },
    /// A program answered with something else than it is known to answer.
    #[error("read the answer of '{command}': {why}")]
    Answer {
        /// Its name and arguments.
        command: String,
        /// What is wrong with it.
        why: String,
    },
    /// The containers of a cluster changed while they were looked at.
    #[error("look at the containers of {0}: they come and go at this moment")]
    Moving(String),
    /// Docker does not answer.
    #[error("reach Docker{}", after(.0))]
    Docker(String),
    /// A file could not be read, written or removed.
    #[error("{verb} {}: {source}", .path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it did not work.
        source: io::Error,
    },
    /// A kubeconfig that is not one.
    #[error("read the kubeconfig {}: {why}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A kubeconfig without the context that the stack file names.
    #[error("find the context '{context}' in {}; it has {}", .path.display(), named(.known))]
    Context {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        context: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A Kubernetes version that no node image is listed for.
    #[error("find a node image for Kubernetes {wanted}; there are images for {}", named(.known))]
    Version {
        /// What the stack file says.
        wanted: String,
        /// What is listed.
        known: Vec<String>,
    },
    /// The control plane's programs are of another version than the stack file wants.
    #[error("run Kubernetes {wanted}: kube-apiserver is of version {found}")]
    OtherVersion {
        /// What the stack file says.
        wanted: String,
        /// What the program says.
        found: String,
    },
    /// An image archive that is not one.
    #[error("read the image archive {}: {why}", .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl LocalError {
    /// For `map_err`: what was tried on which file.
    pub(crate) fn file(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { verb, path, source }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(names) => Some(install(names)),
            Self::Silent { command, .. } if command.starts_with("docker ") || command.starts_with("kind ") => {
                Some("Docker seems to hang: 'docker info' shows whether its daemon is well; if not, restart it".to_owned())
            }
            Self::Silent { .. } => Some("is this machine too busy? when it is not, run the same again".to_owned()),
            Self::Docker(_) => Some("start Docker; 'docker version' shows whether it answers".to_owned()),
            Self::Context { .. } => Some("name one of these in cluster.context".to_owned()),
            Self::Version { .. } => {
                Some("name one of these in cluster.kubernetes, or an image in cluster.kind.image".to_owned())
            }
            Self::OtherVersion { found, .. } => Some(format!(
                "set cluster.kubernetes to '{found}' or leave it out, or point STACKUP_CONTROL_PLANE to other programs"
            )),
            Self::Archive { .. } => Some("cluster.kind.loadImages takes files of 'docker save'".to_owned()),
            Self::Moving(_)
            | Self::Start { .. }
            | Self::Failed { .. }
            | Self::Answer { .. }
            | Self::File { .. }
            | Self::Kubeconfig { .. } => None,
        }
    }
}

impl From<LocalError> for ResourceError {
    fn from(error: LocalError) -> Self {
        let cause = match &error {
            LocalError::Docker(_) | LocalError::Silent { .. } => Cause::Unreachable,
            LocalError::Moving(_) => Cause::Transient,
            // A process that is being ended wrote once more into what is being removed.
            LocalError::File { source, .. } if source.kind() == io::ErrorKind::DirectoryNotEmpty => {
                Cause::Transient
            }
            LocalError::Missing(_)
            | LocalError::Start { .. }
            | LocalError::Failed { .. }
            | LocalError::Answer { .. }
            | LocalError::File { .. }
            | LocalError::Kubeconfig { .. }
            | LocalError::Context { .. }
            | LocalError::Version { .. }
            | LocalError::OtherVersion { .. }
            | LocalError::Archive { .. } => Cause::Permanent,
        };
        Self {
            hint: error.hint(),
            ..Self::new(cause, error.to_string())
        }
    }
}

/// Where to get programs from.
fn install(names: &[String]) -> String {
    let mut hints = Vec::new();
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    if has(&["docker"]) {
        hints.push("install Docker: https://docs.docker.com/engine/install");
    }
    if has(&["kind"]) {
        hints.push("install kind: go install sigs.k8s.io/kind@latest");
    }
    if names.iter().any(|name| name != "docker" && name != "kind") {
        hints.push("scripts/control-plane builds the control plane; set STACKUP_CONTROL_PLANE to its folder");
    }
    hints.join("; ")
}

fn named(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn after(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_together_with_where_to_get_them() {
        let error = ResourceError::from(LocalError::Missing(vec!["kind".into(), "etcd".into()]));
        assert!(error.message.starts_with("kind, etcd not found"));
        let hint = error.hint.unwrap();
        assert!(hint.contains("scripts/control-plane") && hint.contains("install kind"));
        assert!(!hint.contains("Docker"));
    }
}
