//! kubectl of a person, on a cluster of the AWS double that a stack made.

use std::process::Command as Program;

use super::double::Double;
use crate::support::{sandbox::Sandbox, tier};

/// What kubectl prints on the cluster of the sandbox's stack.
#[track_caller]
pub(super) fn kubectl(double: &Double, sandbox: &Sandbox, arguments: &[&str]) -> String {
    sandbox.stackup(&["kubeconfig", "--write", "kubeconfig"]).ends(0);
    let run = Program::new(tier::control_plane().unwrap().path("kubectl"))
        .args(["--kubeconfig", "kubeconfig"])
        .args(arguments)
        .current_dir(sandbox.path("."))
        .envs(double.environment())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "kubectl {arguments:?}: {error}");
    String::from_utf8(run.stdout).unwrap()
}

/// What people put into a cluster without telling anyone: a Service with a load balancer, a database whose claim has a
/// disk, and a budget that lets no pod of it go.
const THEIRS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: theirs}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: theirs}
spec: {type: LoadBalancer, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db, namespace: theirs}
spec: {minAvailable: 1, selector: {matchLabels: {app: db}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: theirs}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers:
        - name: db
          image: example.invalid/db
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";

/// Puts it there, and waits until AWS has a load balancer and a volume for it.
#[track_caller]
pub(super) fn theirs(double: &Double, sandbox: &Sandbox) {
    sandbox.write("theirs.yaml", THEIRS);
    let of = |arguments: &[&str]| kubectl(double, sandbox, arguments);
    of(&["apply", "-f", "theirs.yaml"]);
    of(&[
        "-n",
        "theirs",
        "rollout",
        "status",
        "statefulset/db",
        "--timeout=90s",
    ]);
    for (what, of_it) in [
        ("service/front", "{.status.loadBalancer.ingress}"),
        ("pdb/db", "{.status.currentHealthy}=1"),
    ] {
        let condition = format!("--for=jsonpath={of_it}");
        of(&["-n", "theirs", "wait", what, &condition, "--timeout=90s"]);
    }
}
