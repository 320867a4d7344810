use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Kubeconfig, Local, LocalError, files};
use crate::{
    model::{Address, FieldChange, Shown},
    resource::{Cause, Change, Readiness, ResourceError, Stack, Target},
};

/// The name of our own kubeconfig in the data folder.
pub(crate) const KUBECONFIG: &str = "kubeconfig";

/// Why a cluster is of no use of which there are only parts, and no program that makes the rest.
pub(crate) const HALF_MADE: &str = "only parts are there: a run was interrupted, or someone removed the rest";

/// What every kind of cluster tells: the same fields, so that everything above a cluster is the same code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cluster {
    /// The kubeconfig file, absolute or relative to the stack's data folder.
    pub(crate) kubeconfig: String,
    /// The context in it.
    pub(crate) context: String,
    /// The API server's URL, once it is known.
    pub(crate) server: Option<String>,
    /// The platform profile, which says what can be expected of it: `kind`, `kwok`, `existing`.
    pub(crate) profile: String,
    /// Whether it is ours and goes with the stack.
    pub(crate) ephemeral: bool,
    /// Whether its nodes and pods are simulated.
    pub(crate) simulated: bool,
    /// The version of Kubernetes, `v1.34.4`, once it is known.
    pub(crate) kubernetes: Option<String>,
    /// How many worker nodes it has, once that is known.
    pub(crate) workers: Option<u32>,
    /// The node image it was made from, where nodes are containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<String>,
    /// A hash of the user's own configuration that it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) config: Option<String>,
    /// Whether the program that an interrupted run started is still making it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) in_the_making: bool,
    /// Why it can never work and must be made anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broken: Option<String>,
    /// What does not run though it should, and can be started again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) stopped: Vec<String>,
}

impl Cluster {
    /// What an interrupted run or a restart of the machine asks for.
    pub(crate) fn repairs(&self) -> Change {
        let mut change = Change::default();
        if let Some(why) = &self.broken {
            change.force("created", json!(why), json!("whole"));
        }
        if self.in_the_making {
            change.differs(
                "created",
                json!("still being made by an interrupted run"),
                json!("whole"),
            );
        }
        for stopped in &self.stopped {
            let (old, new) = if stopped == KUBECONFIG {
                ("missing", "written")
            } else {
                ("stopped", "running")
            };
            change.differs(stopped, json!(old), json!(new));
        }
        change
    }

    /// Notes why it can never work.
    pub(crate) fn break_for(&mut self, why: &str) -> Readiness {
        self.broken = Some(why.to_owned());
        Readiness::Failed(why.to_owned())
    }

    /// Fills in what the kubeconfig in the data folder tells; that there is none means that it must be written.
    pub(crate) fn with_kubeconfig(&mut self, local: &Local) {
        let file = Kubeconfig::read(&local.kubeconfig()).and_then(|file| file.select(&self.context));
        match file {
            Ok(file) => self.server = file.server().map(str::to_owned),
            Err(_) if self.broken.is_some() => {}
            Err(_) => self.stopped.push(KUBECONFIG.to_owned()),
        }
    }
}

/// The identity of a cluster: its name among those of its program, and whose it is.
pub(crate) fn identity(stack: &Stack, address: &Address, cluster: &str) -> Value {
    json!({"stack": stack.name, "uid": stack.uid, "address": address, "cluster": cluster})
}

/// The cluster's name in an identity of [`identity`].
pub(crate) fn name(target: &Target) -> Result<&str, LocalError> {
    target
        .identity
        .get("cluster")
        .and_then(Value::as_str)
        .ok_or_else(|| LocalError::Answer {
            command: format!("identity of {}", target.address),
            why: "it names no cluster".to_owned(),
        })
}

/// Whether a version (`v1.34.4`) is the wanted one (`1.34`, `1.34.4`, with or without the v).
pub(crate) fn is_version(found: &str, wanted: &str) -> bool {
    let (found, wanted) = (found.trim_start_matches('v'), wanted.trim_start_matches('v'));
    found
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// Whether the kubeconfig in the data folder is this context's; after a change of provider it may be another cluster's.
pub(crate) fn kubeconfig_is(local: &Local, context: &str) -> bool {
    Kubeconfig::read(&local.kubeconfig()).is_ok_and(|file| file.contexts().contains(&context))
}

/// Removes the kubeconfig in the data folder, if it is this context's, or nobody's since a program took its entry out.
pub(crate) fn forget_kubeconfig(local: &Local, context: &str) -> Result<(), LocalError> {
    let path = local.kubeconfig();
    let others = Kubeconfig::read(&path)
        .is_ok_and(|file| !file.contexts().is_empty() && !file.contexts().contains(&context));
    if !others {
        files::remove(&path)?;
    }
    files::remove(&local.path("kubeconfig.lock"))
}

/// Why an update cannot take up what an interrupted run began, if it cannot.
pub(crate) fn not_yet_whole(in_the_making: bool, half_made: bool) -> Result<(), ResourceError> {
    if in_the_making {
        let message = "the program that an interrupted run started is still making the cluster";
        return Err(ResourceError::new(Cause::Transient, message));
    }
    if half_made {
        let message = "only parts of the cluster are there, left by an interrupted run or by whoever removed the rest: it \
                       must be made anew";
        return Err(ResourceError::permanent(message).hint("run stackup apply again"));
    }
    Ok(())
}

/// How differences are noted down.
pub(crate) trait Differences {
    /// A field that can be changed in place.
    fn differs(&mut self, path: &str, old: Value, new: Value);
    /// A field that cannot.
    fn force(&mut self, path: &str, old: Value, new: Value);
}

impl Differences for Change {
    fn differs(&mut self, path: &str, old: Value, new: Value) {
        self.fields.push(FieldChange {
            path: path.to_owned(),
            old: Shown::Value(old),
            new: Shown::Value(new),
            owner: None,
        });
    }

    fn force(&mut self, path: &str, old: Value, new: Value) {
        self.differs(path, old, new);
        self.forces.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_matches_by_whole_parts() {
        assert!(is_version("v1.34.4", "1.34"));
        assert!(is_version("v1.34.4", "v1.34.4"));
        assert!(!is_version("v1.34.4", "1.3"));
        assert!(!is_version("v1.34.4", "1.35"));
    }

    #[test]
    fn a_half_made_cluster_must_be_replaced_and_a_stopped_one_started() {
        let half = Cluster {
            broken: Some(HALF_MADE.to_owned()),
            ..Cluster::default()
        };
        assert_eq!(half.repairs().forces, ["created"]);
        let stopped = Cluster {
            stopped: vec!["etcd".into()],
            ..Cluster::default()
        };
        assert!(stopped.repairs().forces.is_empty());
        assert_eq!(stopped.repairs().fields[0].path, "etcd");
    }
}
