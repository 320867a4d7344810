//! One stack on the shared cluster, reached through a proxy of its own that records what the program sends.

use std::{
    fs,
    io::Write as _,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
};

use serde_json::Value;

use crate::support::{
    cluster::{self, Cluster},
    proxy::{Proxy, Sent},
    sandbox::{Run, Sandbox},
};

static BENCHES: AtomicU32 = AtomicU32::new(0);

/// A stack of one component. `NS` in its manifests stands for a name that only this test uses.
pub(crate) struct Bench {
    pub(crate) cluster: &'static Cluster,
    pub(crate) proxy: Proxy,
    pub(crate) sandbox: Sandbox,
    /// The name of the stack, and of the namespace that its objects are meant for.
    pub(crate) name: String,
}

/// A stack on the shared cluster, or nothing if there are no programs for one.
pub(crate) fn bench(case: &str) -> Option<Bench> {
    Some(Bench::new(cluster::shared()?, case))
}

impl Bench {
    fn new(cluster: &'static Cluster, case: &str) -> Self {
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        let bench = Self {
            cluster,
            proxy: Proxy::start(&cluster.kubeconfig()),
            sandbox: Sandbox::new(),
            name: format!("{case}-{number}"),
        };
        bench.stack("components:\n- {name: app, manifests: app}\n");
        bench
    }

    /// Another stack on the same cluster and for the same namespace.
    pub(crate) fn neighbour(&self) -> Self {
        let mut other = Self::new(self.cluster, "neighbour");
        other.name.clone_from(&self.name);
        let head = other.proxy.stack(&format!("{}-other", self.name));
        other.sandbox.write(
            "stackup.yaml",
            format!("{head}components:\n- {{name: app, manifests: app}}\n"),
        );
        other
    }

    /// Writes the stack file, given its components.
    pub(crate) fn stack(&self, components: &str) {
        self.sandbox.write(
            "stackup.yaml",
            format!("{}{components}", self.proxy.stack(&self.name)),
        );
    }

    /// Writes the manifests.
    pub(crate) fn manifests(&self, yaml: &str) {
        self.file("app/app.yaml", yaml);
    }

    /// Writes the manifests, with the namespace itself before them.
    pub(crate) fn in_namespace(&self, yaml: &str) {
        self.manifests(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: NS}}\n---\n{yaml}"
        ));
    }

    pub(crate) fn file(&self, path: &str, yaml: &str) {
        self.sandbox.write(path, yaml.replace("NS", &self.name));
    }

    /// `apply --yes`, with no word of what was sent before.
    #[track_caller]
    pub(crate) fn apply(&self) -> Run {
        self.proxy.take();
        self.sandbox.stackup(&["apply", "--yes", "--output", "json"])
    }

    #[track_caller]
    pub(crate) fn destroy(&self) -> Run {
        self.proxy.take();
        self.sandbox.stackup(&["destroy", "--yes", "--output", "json"])
    }

    /// The plan, as scripts get it.
    #[track_caller]
    pub(crate) fn diff(&self) -> Value {
        self.diff_with(&[])
    }

    #[track_caller]
    pub(crate) fn diff_with(&self, more: &[&str]) -> Value {
        self.proxy.take();
        let run = self
            .sandbox
            .stackup(&[&["diff", "--output", "json"], more].concat())
            .ends(0);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stdout))
    }

    /// Fails unless there is nothing left to do.
    #[track_caller]
    pub(crate) fn nothing_to_do(&self) {
        let plan = self.diff();
        assert_eq!(plan["changes"], serde_json::json!([]), "no false drift");
    }

    /// The one change in the plan.
    #[track_caller]
    pub(crate) fn only_change(&self) -> Value {
        let plan = self.diff();
        let changes = plan["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 1, "{plan:#}");
        changes[0].clone()
    }

    /// What the plan says of the object of this name, on a cluster that is not yet known to the stack.
    #[track_caller]
    pub(crate) fn only_change_of(&self, name: &str) -> Value {
        let plan = self.diff();
        let of = |change: &&Value| {
            change["address"]
                .as_str()
                .is_some_and(|address| address.ends_with(&format!("/{name}")))
        };
        plan["changes"]
            .as_array()
            .unwrap()
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{name} is not in {plan:#}"))
            .clone()
    }

    /// What was written to the server since the last run began.
    pub(crate) fn writes(&self) -> Vec<Sent> {
        self.proxy.sent().into_iter().filter(Sent::writes).collect()
    }

    /// The same in short, in order: `PATCH configmaps/a`.
    pub(crate) fn written(&self) -> Vec<String> {
        let short = |sent: &Sent| {
            let mut parts = sent.path.rsplit('/');
            let (name, plural) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{} {plural}/{name}", sent.method).replace(&self.name, "NS")
        };
        self.writes().iter().map(short).collect()
    }

    /// The place of a write in the order of all.
    #[track_caller]
    pub(crate) fn place(&self, wanted: &str) -> usize {
        let written = self.written();
        written
            .iter()
            .position(|write| write == wanted)
            .unwrap_or_else(|| panic!("no {wanted} in {written:#?}"))
    }

    /// kubectl, with `NS` for the namespace.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| argument.replace("NS", &self.name))
            .collect();
        self.cluster
            .kubectl(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// kubectl that reads these manifests.
    #[track_caller]
    pub(crate) fn kubectl_with(&self, yaml: &str, arguments: &[&str]) {
        let mut child = self.cluster.kubectl_command();
        child
            .args(arguments)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(yaml.replace("NS", &self.name).as_bytes())
            .unwrap();
        let run = child.wait_with_output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }

    /// A live object, by the path of the API with `NS` for the namespace; null if it is not there.
    #[track_caller]
    pub(crate) fn live(&self, path: &str) -> Value {
        self.cluster.get(&path.replace("NS", &self.name))
    }

    /// A live object of the core group in the namespace, such as `configmaps/a`.
    #[track_caller]
    pub(crate) fn core(&self, path: &str) -> Value {
        self.live(&format!("/api/v1/namespaces/NS/{path}"))
    }

    /// The addresses that the state holds.
    #[track_caller]
    pub(crate) fn remembered(&self) -> Vec<String> {
        let listed = self.sandbox.stackup(&["state", "list"]).ends(0);
        listed
            .stdout
            .lines()
            .map(|line| line.replace(&self.name, "NS"))
            .collect()
    }

    /// Fails if this text stands in anything that the program wrote: state, journal, logs.
    #[track_caller]
    pub(crate) fn never_stored(&self, text: &str) {
        let mut folders = vec![self.sandbox.path(".stackup")];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                files += 1;
                let stored = fs::read(entry.path()).unwrap();
                let found = stored.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!found, "{text} stands in {}", entry.path().display());
            }
        }
        assert!(files > 0, "there is a state to look into");
    }
}

impl Drop for Bench {
    /// What a test leaves behind makes the others slower; nobody waits until it has gone.
    fn drop(&mut self) {
        let mut kubectl = self.cluster.kubectl_command();
        kubectl.args([
            "delete",
            "namespace",
            &self.name,
            "--ignore-not-found",
            "--wait=false",
        ]);
        drop(kubectl.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}

/// The events of a run, as scripts get them.
pub(crate) fn events(run: &Run) -> Vec<Value> {
    run.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// The events of this name.
pub(crate) fn told(run: &Run, event: &str) -> Vec<Value> {
    events(run)
        .into_iter()
        .filter(|told| told["event"] == event)
        .collect()
}

/// Why this resource failed: message, hint and details, as one text.
#[track_caller]
pub(crate) fn failure(run: &Run, address: &str) -> String {
    let failed = told(run, "stepFailed");
    let of = failed.iter().find(|failed| failed["address"] == address);
    of.unwrap_or_else(|| panic!("{address} has not failed: {}\n{}", run.stdout, run.stderr))
        .to_string()
}
