use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Address, CheckLevel, Component, EksModel};

/// A checked stack file: what should stand. The stack room makes it; every provider room expands its part of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StackModel {
    /// The stack's name: lower-case letters, digits and dashes, at most 40.
    pub name: String,
    /// The folder of the (first) stack file, absolute: `.stackup/<name>/` lies in it.
    pub folder: PathBuf,
    /// How long the stack may live before `reap` may take it.
    pub lifetime: Option<Duration>,
    /// Where it runs.
    pub cluster: ClusterModel,
    /// What runs on it, in the order of the file.
    pub components: Vec<ComponentModel>,
    /// How deep `apply` verifies at its end; `None` is `off`.
    pub verify: Option<CheckLevel>,
    /// The user's own labels for everything that carries tags.
    pub tags: BTreeMap<String, String>,
    /// The bucket that keeps the state; else `.stackup/<name>/` does.
    pub state: Option<S3Model>,
}

/// State in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Model {
    /// The bucket's name.
    pub bucket: String,
    /// What the names of all objects begin with, without a slash at its end.
    pub key: String,
    /// The bucket's region; else the one of the environment or the profile.
    pub region: Option<String>,
    /// The KMS key that encrypts the objects; else S3's own.
    pub kms_key: Option<String>,
}

/// Where a stack runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterModel {
    /// A cluster in containers, made by the `kind` program.
    Kind(KindModel),
    /// A real control plane with simulated nodes, made by the `kwokctl` program.
    Kwok(KwokModel),
    /// A cluster that is there already.
    Existing(ExistingModel),
    /// A cluster of AWS, with its network and worker nodes.
    Eks(EksModel),
}

impl ClusterModel {
    /// The provider's name, as the stack file writes it; also the name of the component profile that applies.
    pub fn provider(&self) -> &'static str {
        match self {
            Self::Kind(_) => "kind",
            Self::Kwok(_) => "kwok",
            Self::Existing(_) => "existing",
            Self::Eks(_) => "eks",
        }
    }
}

/// A kind cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KindModel {
    /// Worker nodes beside the one control-plane node.
    pub workers: u32,
    /// The Kubernetes version, `1.34`; looked up in the list of node images.
    pub kubernetes: Option<String>,
    /// The node image; wins over `kubernetes`.
    pub image: Option<String>,
    /// Image archives to load on every node, absolute paths.
    pub load_images: Vec<PathBuf>,
    /// The user's own kind configuration, to be merged over the generated one.
    pub config: Option<Value>,
}

/// A kwok cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KwokModel {
    /// Simulated worker nodes.
    pub workers: u32,
    /// The Kubernetes version; it must be that of the programs that are found.
    pub kubernetes: Option<String>,
}

/// An existing cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExistingModel {
    /// The kubeconfig file, absolute; else the usual one.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; never the current one by accident.
    pub context: String,
}

/// One component: manifests that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentModel {
    /// Its name.
    pub name: String,
    /// Where its manifests are.
    pub source: ManifestSource,
    /// The namespace for objects that name none; wins over the component's own.
    pub namespace: Option<String>,
    /// Labels for every object.
    pub labels: BTreeMap<String, String>,
    /// Components that must be ready before anything of this one.
    pub depends_on: Vec<String>,
    /// Images to rewrite: `quay.io/prometheus` → `mirror.example/prometheus`, or a whole name → name with tag or digest.
    pub images: BTreeMap<String, String>,
    /// Values for the options that the component declares.
    pub values: BTreeMap<String, Value>,
    /// Changes to objects, by target, as the stack file wrote them (the shape of `component.yaml`'s patches).
    pub patches: Vec<Value>,
}

/// Where manifests come from.
#[derive(Debug, Clone, PartialEq)]
pub enum ManifestSource {
    /// A folder or a file, absolute.
    Path(PathBuf),
    /// A folder inside the program: `builtin:monitoring`.
    Builtin(String),
}

/// A Deployment whose first container runs as a process beside a simulated cluster, since no pod runs there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanionSpec {
    /// The component that it belongs to.
    pub component: Component,
    /// The Deployment.
    pub deployment: Address,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The program to run, as it is named on the `PATH`.
    pub program: String,
    /// The arguments of the container.
    pub args: Vec<String>,
    /// The `ServiceAccount` whose rights it has.
    pub service_account: String,
}

/// A mistake in something a person wrote, with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file, as the person named it.
    pub file: PathBuf,
    /// Line, from 1; 0 if the whole file is meant.
    pub line: usize,
    /// Column, from 1; 0 if the whole line is meant.
    pub column: usize,
    /// What is wrong, without any secret value.
    pub message: String,
    /// What to write instead, or where to look.
    pub hint: Option<String>,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column.max(1))?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}
