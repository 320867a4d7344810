//! A real kind cluster: real kubelets, the real operator, Prometheus and Alertmanager; killed at random, and back to nothing.

mod queries;

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    sandbox::{Run, Running, Sandbox},
    tier,
};

/// A whole apply on a slow machine takes minutes.
const LIMIT: Duration = Duration::from_mins(12);

/// The stack as it is shipped, in a folder of its own, with what this machine needs laid over it.
struct Shop {
    sandbox: Sandbox,
    name: String,
    overlay: PathBuf,
}

impl Shop {
    fn new() -> Option<Self> {
        let overlay = env::var_os("STACKUP_KIND_OVERLAY").map(PathBuf::from);
        let Some(overlay) = overlay.filter(|_| docker(&["info"]).is_some()) else {
            tier::skip(
                "kind",
                "it needs Docker, and STACKUP_KIND_OVERLAY with the images to use",
            );
            return None;
        };
        let (sandbox, root) = (Sandbox::new(), Path::new(env!("CARGO_MANIFEST_DIR")));
        sandbox.write(
            "stacks/kind.yaml",
            fs::read(root.join("stacks/kind.yaml")).unwrap(),
        );
        symlink(root.join("manifests"), sandbox.path("manifests")).unwrap();
        let name = format!("test-{}", std::process::id());
        Some(Self {
            sandbox,
            name,
            overlay,
        })
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let name = format!("name={}", self.name);
        let overlay = self.overlay.to_str().unwrap();
        let mut all = arguments.to_vec();
        all.extend(["-f", "stacks/kind.yaml", "-f", overlay, "--set", &name]);
        Running::start(self.sandbox.command(&all)).limit(LIMIT)
    }

    #[track_caller]
    fn stackup(&self, arguments: &[&str]) -> Run {
        self.start(arguments).wait()
    }

    fn containers(&self) -> String {
        let label = format!("label=io.x-k8s.kind.cluster=stackup-{}", self.name);
        docker(&["ps", "-aq", "--filter", &label]).unwrap()
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        let kubeconfig = self
            .sandbox
            .path(format!("stacks/.stackup/{}/kubeconfig", self.name));
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn verify(&self, code: i32) -> Value {
        let run = self
            .stackup(&[
                "verify", "--level", "standard", "--wait", "5m", "--format", "json",
            ])
            .ends(code);
        serde_json::from_str(&run.stdout).unwrap()
    }
}

impl Drop for Shop {
    /// Whatever became of the test, nothing of it stays on the machine.
    fn drop(&mut self) {
        if !self.containers().trim().is_empty() {
            drop(
                Command::new("kind")
                    .args(["delete", "cluster", "--name", &format!("stackup-{}", self.name)])
                    .output(),
            );
        }
    }
}

/// What a docker command writes, if it succeeds.
fn docker(arguments: &[&str]) -> Option<String> {
    let output = Command::new("docker").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Five moments within an apply, different in each run of the test.
fn moments() -> Vec<Duration> {
    let mut seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos();
    let mut random = |upto: u128| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u64::try_from((seed >> 33) % upto).unwrap()
    };
    [4_000, 12_000, 15_000, 20_000, 25_000]
        .map(|upto| Duration::from_millis(500 + random(upto)))
        .to_vec()
}

#[test]
fn a_kind_cluster_is_made_killed_five_times_proven_broken_mended_and_wholly_removed() {
    let Some(shop) = Shop::new() else { return };
    let networks = docker(&["network", "ls", "--format", "{{.Name}}"]).unwrap();
    let others = docker(&["ps", "-aq"]).unwrap();

    for moment in moments() {
        let running = shop.start(&["apply", "--yes", "--no-verify"]);
        let began = Instant::now();
        while began.elapsed() < moment {
            thread::sleep(Duration::from_millis(50));
        }
        println!("kill -9 after {moment:?}");
        running.signal(Signal::KILL);
        let run = running.wait();
        assert!(run.signal == Some(9) || run.code == Some(0), "{}", run.all());
    }
    shop.stackup(&["apply", "--yes", "--no-verify"]).ends(0);
    assert_eq!(
        shop.containers().lines().count(),
        3,
        "one control plane and two workers, once"
    );

    let found = shop.verify(0);
    assert_eq!(found["summary"]["fail"], 0, "{found:#}");
    assert_eq!(found["summary"]["blocked"], 0, "{found:#}");
    assert!(found["summary"]["pass"].as_u64().unwrap() > 30, "{found:#}");

    shop.stackup(&["diff", "--exit-code"]).ends(0).says("No changes");
    let seen = r#"--output=jsonpath={range .items[*]}{.metadata.name}: {.metadata.annotations.prometheus-operator-validated}{"\n"}{end}"#;
    let rules = shop.kubectl(&["get", "prometheusrules", "--namespace=monitoring", seen]);
    assert!(
        !rules.is_empty() && rules.lines().all(|rule| rule.ends_with(": true")),
        "unseen by the webhook: {rules}"
    );
    queries::all_are_answered(&shop);

    shop.kubectl(&[
        "-n",
        "monitoring",
        "delete",
        "servicemonitor",
        "monitoring-kube-state-metrics",
    ]);
    let found = shop.stackup(&["verify", "--level", "quick"]).ends(5);
    assert!(
        found.all().contains("monitoring-kube-state-metrics"),
        "{}",
        found.all()
    );
    shop.stackup(&["apply", "--yes", "--no-verify"])
        .ends(0)
        .says("1 created");

    shop.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(shop.containers().trim(), "");
    assert_eq!(
        docker(&["network", "ls", "--format", "{{.Name}}"]).unwrap(),
        networks
    );
    assert_eq!(docker(&["ps", "-aq"]).unwrap(), others);
    assert!(!shop.sandbox.path("stacks/.stackup").exists());
}
