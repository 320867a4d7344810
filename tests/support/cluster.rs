//! One control plane for all tests of this process: a real API server with simulated nodes.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use super::tier::{self, Programs};

const NAME: &str = "stackup-tests";

/// The shared cluster. Each test uses namespaces, and names of cluster-wide objects, of its own.
pub(crate) struct Cluster {
    programs: Programs,
    folder: PathBuf,
}

/// The shared cluster, made by the first test that asks; nothing if the test is to be skipped.
pub(crate) fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    let programs = tier::control_plane()?;
    Some(SHARED.get_or_init(|| Cluster::start(programs)))
}

impl Cluster {
    fn start(programs: Programs) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stackup-tests-")
            .tempdir()
            .unwrap()
            .keep();
        let cluster = Self { programs, folder };
        cluster.guard();
        let options = cluster.folder.join("options.json");
        fs::write(&options, cluster.options().to_string()).unwrap();
        cluster.kwokctl(&[
            "create",
            "cluster",
            "--wait",
            "60s",
            "--config",
            options.to_str().unwrap(),
        ]);
        cluster.kwokctl(&["scale", "node", "worker", "--replicas", "2"]);
        cluster
    }

    /// Removes the cluster once this process has ended, however it ended: its end of the pipe closes with it.
    fn guard(&self) {
        let script = "cat >/dev/null; \"$1\" --name \"$2\" delete cluster; rm -rf \"$3\"";
        let mut guard = Command::new("sh");
        guard
            .args(["-c", script, "sh"])
            .arg(self.programs.path("kwokctl"))
            .arg(NAME)
            .arg(&self.folder);
        self.surround(&mut guard);
        // Not in our process group, or Ctrl-C would end it with us.
        guard
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        #[expect(clippy::zombie_processes, reason = "it outlives this process")]
        let mut guard = guard.spawn().unwrap();
        std::mem::forget(guard.stdin.take());
    }

    /// Keeps kwokctl inside our folder.
    fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)));
        command
            .env("HOME", &self.folder)
            .env("KWOK_WORKDIR", &self.folder)
            .current_dir("/");
    }

    /// kwokctl's configuration: loopback only, and free ports.
    fn options(&self) -> Value {
        let path = |name| self.programs.path(name);
        let version = output(Command::new(path("kube-apiserver")).arg("--version"));
        let mut options = json!({
            "runtime": "binary",
            "kubeVersion": version.split_whitespace().last().unwrap(),
            "bindAddress": "127.0.0.1",
            "disableQPSLimits": true,
            "etcdBinary": path("etcd"),
            "kubeApiserverBinary": path("kube-apiserver"),
            "kubeControllerManagerBinary": path("kube-controller-manager"),
            "kubeSchedulerBinary": path("kube-scheduler"),
            "kwokControllerBinary": path("kwok"),
            "kubectlBinary": path("kubectl"),
        });
        let ports = [
            "kubeApiserver",
            "etcd",
            "etcdPeer",
            "kubeControllerManager",
            "kubeScheduler",
            "kwokController",
        ];
        let listeners = stackup::local::free_ports(ports.len()).unwrap();
        for (name, listener) in ports.iter().zip(&listeners) {
            options[format!("{name}Port")] = listener.local_addr().unwrap().port().into();
        }
        json!({"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration", "options": options})
    }

    fn kwokctl(&self, arguments: &[&str]) {
        let mut command = Command::new(self.programs.path("kwokctl"));
        self.surround(&mut command);
        output(command.args(["--name", NAME]).args(arguments));
    }

    /// The kubeconfig file of its administrator.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("clusters").join(NAME).join("kubeconfig.yaml")
    }

    /// Runs kubectl and returns what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        output(self.kubectl_command().args(arguments))
    }

    /// kubectl for this cluster, for a test that gives it input or expects it to fail.
    pub(crate) fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.programs.path("kubectl"));
        self.surround(&mut command);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--request-timeout=30s");
        command
    }

    /// What the API server answers to a GET of this path; null where there is no such thing.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let run = self
            .kubectl_command()
            .args(["get", "--raw", path])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&run.stderr);
        if !run.status.success() && error.contains("NotFound") {
            return Value::Null;
        }
        assert!(run.status.success(), "GET {path}: {error}");
        serde_json::from_slice(&run.stdout).unwrap()
    }

    /// Waits until what the path answers is as it should be.
    #[track_caller]
    pub(crate) fn until(&self, path: &str, enough: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..120 {
            last = self.get(path);
            if enough(&last) {
                return last;
            }
            thread::sleep(Duration::from_millis(250));
        }
        panic!("{path} stays {last}");
    }
}

/// The head of a stack file for an existing cluster.
pub(crate) fn stack(name: &str, kubeconfig: &Path, context: &str) -> String {
    let existing = json!({"kubeconfig": kubeconfig, "context": context});
    format!("name: {name}\ncluster:\n  provider: existing\n  existing: {existing}\nverify: off\n")
}

/// Runs a command that must succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let run = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(
        run.status.success(),
        "{command:?}: {}\n{text}{}",
        run.status,
        String::from_utf8_lossy(&run.stderr)
    );
    text
}
