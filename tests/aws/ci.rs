//! The workflow in docs/ci.md: its commands are taken from there and run in order, against the AWS double.

use std::{fs, path::PathBuf, process::Command as Program};

use serde_json::Value;

use super::double::{Double, REGION};
use crate::support::{
    sandbox::{Run, Running, Sandbox},
    tier,
};

const SCALE: f64 = 0.002;

/// One step of a job: its command, and whether it runs whatever was before it.
struct Step {
    command: String,
    always: bool,
}

/// The steps of the document's nth workflow that run a command.
fn steps(workflow: usize) -> Vec<Step> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ci.md")).unwrap();
    let block = text.split("```yaml\n").nth(workflow + 1).unwrap();
    let block: Value = serde_saphyr::from_str(block.split("```").next().unwrap()).unwrap();
    let jobs = block["jobs"].as_object().unwrap();
    let steps = jobs.values().flat_map(|job| job["steps"].as_array().unwrap());
    let step = |step: &Value| {
        Some(Step {
            command: step["run"].as_str()?.to_owned(),
            always: step["if"] == "always()",
        })
    };
    steps.filter_map(step).collect()
}

/// A runner with the repository's stack file, at a level that simulated pods can hold, and a lifetime of a minute.
fn runner(double: &Double) -> Sandbox {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/stacks/eks-ephemeral.yaml");
    let text = fs::read_to_string(file).unwrap();
    let text = text
        .replace("../manifests/", "builtin:")
        .replace("verify: standard", "verify: quick")
        .replace("lifetime: 4h", "lifetime: 1m");
    let mut sandbox = Sandbox::new()
        .env("RUN_ID", "4711-1")
        .env("STACK", "stacks/eks-ephemeral.yaml");
    for (name, value) in double.environment() {
        sandbox = sandbox.env(name, value);
    }
    sandbox.write("stacks/eks-ephemeral.yaml", text);
    sandbox
}

fn shell(sandbox: &Sandbox, command: &str) -> Running {
    let folders = [
        PathBuf::from(env!("CARGO_BIN_EXE_stackup")),
        tier::control_plane().unwrap().path("kubectl").clone(),
    ];
    let folders = folders
        .iter()
        .map(|program| program.parent().unwrap().display().to_string());
    let path = folders.collect::<Vec<_>>().join(":") + ":/usr/bin:/bin";
    let like = sandbox.command(&[]);
    let mut shell = Program::new("bash");
    shell
        .args(["-e", "-c", command])
        .current_dir(like.get_current_dir().unwrap())
        .env_clear();
    shell
        .envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", path);
    shell
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Running::start(shell)
}

/// Runs steps as a runner does: after one that failed, only those that always run. What each gave.
fn job(sandbox: &Sandbox, steps: &[Step], mut before: impl FnMut(&str)) -> Vec<Option<Run>> {
    let mut failed = false;
    let run = |step: &Step| {
        if failed && !step.always {
            return None;
        }
        before(&step.command);
        let run = shell(sandbox, &step.command).wait();
        failed |= run.code != Some(0);
        Some(run)
    };
    steps.iter().map(run).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workflow_of_the_documentation_makes_proves_and_takes_down_a_cluster() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let (sandbox, steps) = (runner(&double), steps(0));
    assert_eq!(steps.len(), 5);
    for (step, run) in steps.iter().zip(job(&sandbox, &steps, |_| ())) {
        let run = run.unwrap_or_else(|| panic!("not run: {}", step.command));
        assert_eq!(run.code, Some(0), "{}\n{}", step.command, run.all());
    }
    assert!(sandbox.read("verify.xml").contains("<testsuite"));
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verify_that_fails_does_not_keep_the_workflow_from_taking_the_cluster_down() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let (sandbox, steps) = (runner(&double), steps(0));
    let break_it = |command: &str| {
        if command.contains("stackup verify") {
            let broken = "stackup kubeconfig -f \"$STACK\" --write k && kubectl --kubeconfig k -n monitoring delete deployment monitoring-grafana";
            assert_eq!(shell(&sandbox, broken).wait().code, Some(0));
        }
    };
    let runs = job(&sandbox, &steps, break_it);
    let codes: Vec<Option<i32>> = runs
        .iter()
        .map(|run| run.as_ref().and_then(|run| run.code))
        .collect();
    assert_eq!(codes, [Some(0), Some(0), Some(5), None, Some(0)]);
    assert_eq!(double.account().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_workflow_left_is_taken_by_the_nightly_reap() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let sandbox = runner(&double);
    let mut apply = shell(&sandbox, &format!("exec {}", steps(0)[1].command));
    apply.until_it_says("aws.eks_node_group/workers");
    drop(apply);
    assert!(!double.account().await.is_empty());
    // The runner is gone, and its folder with it.
    drop(sandbox);
    let sandbox = runner(&double);
    let steps = steps(1);
    let listed = sandbox.stackup(&["reap", "--region", REGION]).ends(0);
    assert!(listed.stdout.contains("may live until"), "{}", listed.all());
    // A minute is the shortest lifetime there is.
    let over = std::time::Instant::now() + std::time::Duration::from_mins(2);
    while !sandbox
        .stackup(&["reap", "--region", REGION])
        .ends(0)
        .stdout
        .contains("its time was over")
    {
        assert!(std::time::Instant::now() < over, "its time is never over");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    assert!(
        !double.account().await.is_empty(),
        "without --yes nothing is taken"
    );
    for (step, run) in steps.iter().zip(job(&sandbox, &steps, |_| ())) {
        let run = run.unwrap_or_else(|| panic!("not run: {}", step.command));
        assert_eq!(run.code, Some(0), "{}\n{}", step.command, run.all());
    }
    assert_eq!(double.account().await, Vec::<String>::new());
}
