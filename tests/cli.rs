//! What a person meets at the command line, without any server.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::support::sandbox::Sandbox;

const STACK: &str = "name: demo\ncluster: {provider: kwok}\nverify: off\n";

#[test]
fn the_help_of_every_verb_is_as_agreed() {
    let sandbox = Sandbox::new();
    let mut reference = sandbox.stackup(&["--help"]).ends(0).stdout;
    for verb in stackup::cli::command().get_subcommands() {
        let help = sandbox.stackup(&[verb.get_name(), "--help"]).ends(0);
        assert!(
            verb.get_name() == "validate" || help.stdout.len() > 200,
            "{}",
            help.stdout
        );
        reference.extend(["\n=== stackup ", verb.get_name(), "\n\n", &help.stdout]);
    }
    insta::assert_snapshot!("help", reference);
}

#[test]
fn what_cannot_be_understood_ends_with_2() {
    let sandbox = Sandbox::new();
    sandbox.stackup(&[]).ends(2).says("Usage:");
    sandbox.stackup(&["aply"]).ends(2).says("apply");
    sandbox.stackup(&["apply", "--no-such"]).ends(2).says("--no-such");
    sandbox.stackup(&["validate"]).ends(2).says("stackup init");
    sandbox
        .stackup(&["validate", "-f", "none.yaml"])
        .ends(2)
        .says("none.yaml");
    sandbox
        .stackup(&["init", "--provider", "knid"])
        .ends(2)
        .says("kind");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "stackup.yaml",
        "name: Demo!\ncluster:\n  provider: kwok\n  wrokers: 2\ncomponents:\n  - name: shop\n    manifests: ./none\n",
    );
    let run = sandbox.stackup(&["validate"]).ends(2);
    let places: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains("stackup.yaml:"))
        .collect();
    assert!(places.len() >= 2, "{}", run.stderr);
    run.says("stackup.yaml:1:7: ")
        .says("stackup.yaml:4:3: ")
        .says("workers");
}

#[cfg(feature = "kubernetes")]
#[test]
fn a_mistake_in_a_manifest_has_its_place_too() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "stackup.yaml",
        format!("{STACK}components:\n  - {{name: a, manifests: ./a}}\n"),
    );
    sandbox.write(
        "a/one.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  nmae: a\n",
    );
    sandbox.write("a/two.yaml", "apiVersion: v1\nkind: [\n");
    let run = sandbox.stackup(&["validate"]).ends(2);
    run.says("a/one.yaml:").says("a/two.yaml:");
}

#[test]
fn a_stack_file_that_init_writes_is_valid() {
    for provider in ["kind", "kwok", "existing"] {
        let sandbox = Sandbox::new();
        sandbox.stackup(&["init", "--provider", provider, "mine"]).ends(0);
        let text = sandbox.read("stackup.yaml");
        assert!(text.contains("name: mine") && text.contains(provider), "{text}");
        #[cfg(feature = "kubernetes")]
        sandbox
            .stackup(&["validate"])
            .ends(0)
            .says("mine is valid: 2 components");
        sandbox
            .stackup(&["init", "--provider", provider])
            .ends(6)
            .says("--force");
        sandbox
            .stackup(&["init", "--provider", provider, "--force", "other"])
            .ends(0);
        assert!(sandbox.read("stackup.yaml").contains("name: other"));
    }
}

#[test]
fn a_name_that_no_stack_may_have_is_refused_before_anything_is_written() {
    let sandbox = Sandbox::new();
    for name in ["Demo", "my stack", "", "-a", &"a".repeat(41)] {
        let run = sandbox.stackup(&["init", "--", name]).ends(2);
        run.says("lower-case letters, digits and dashes");
        assert!(!sandbox.path("stackup.yaml").exists(), "{name}");
    }
    sandbox.stackup(&["init", "shop-${env:USER}"]).ends(0);
}

#[test]
fn a_level_that_the_log_does_not_have_is_refused_with_those_it_has() {
    let sandbox = Sandbox::new();
    let run = sandbox.stackup(&["--log", "loud", "version"]).ends(2);
    run.says("[possible values: error, warn, info, debug, trace]");
    sandbox.stackup(&["--log", "debug", "version"]).ends(0);
}

#[test]
fn a_pace_that_is_none_is_refused_by_its_name() {
    let sandbox = Sandbox::new();
    sandbox.write("stackup.yaml", STACK);
    for wrong in ["often", "0s"] {
        sandbox
            .stackup_with(&[("STACKUP_POLL_INTERVAL", wrong)], &["apply", "--yes"])
            .ends(2)
            .says("STACKUP_POLL_INTERVAL: ");
    }
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let sandbox = Sandbox::new();
    sandbox.write("stackup.yaml", STACK);
    sandbox.stackup(&["apply"]).ends(6).says("--yes");
    sandbox
        .stackup(&["apply", "--non-interactive"])
        .ends(6)
        .says("--yes");
    sandbox.stackup(&["destroy"]).ends(0).says("Nothing to destroy");
}

#[test]
fn reading_leaves_no_trace() {
    let sandbox = Sandbox::new();
    sandbox.write("stackup.yaml", STACK);
    sandbox.stackup(&["diff"]).ends(0).says("kwok.cluster/demo");
    sandbox.stackup(&["diff", "--exit-code"]).ends(4);
    sandbox.stackup(&["state", "list"]);
    sandbox.stackup(&["status"]);
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert!(!sandbox.path(".stackup").exists());
    assert_eq!(
        fs::read_dir(sandbox.path("home")).unwrap().count(),
        0,
        "HOME was written to"
    );
}

#[test]
fn what_needs_a_cluster_says_that_there_is_none() {
    let sandbox = Sandbox::new();
    sandbox.write("stackup.yaml", "name: demo\ncluster: {provider: kwok}\n");
    for verb in [&["verify"][..], &["output"], &["kubeconfig"]] {
        let run = sandbox.stackup(verb);
        assert!(!matches!(run.code, Some(0) | None), "{verb:?}: {}", run.all());
        run.says("stackup apply");
    }
}

#[test]
fn the_schema_accepts_what_is_valid_and_refuses_what_is_not() {
    let sandbox = Sandbox::new();
    let schema: Value = serde_json::from_str(&sandbox.stackup(&["schema"]).ends(0).stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let valid = |text: &str| schema.is_valid(&serde_saphyr::from_str(text).unwrap());
    assert!(valid("name: demo\ncluster: {provider: kwok}\nverify: quick\n"));
    assert!(!valid("name: demo\ncluster: {provider: moon}\n"));
    for provider in ["kind", "kwok", "existing"] {
        sandbox
            .stackup(&["init", "--force", "--provider", provider])
            .ends(0);
        assert!(valid(&sandbox.read("stackup.yaml")), "{provider}");
    }
}

#[test]
fn the_version_names_what_is_built_in() {
    let sandbox = Sandbox::new();
    sandbox
        .stackup(&["version"])
        .ends(0)
        .says(env!("CARGO_PKG_VERSION"));
    let json: Value =
        serde_json::from_str(&sandbox.stackup(&["version", "--output", "json"]).ends(0).stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let features = json["features"].as_array().unwrap();
    assert_eq!(
        features.contains(&"kubernetes".into()),
        cfg!(feature = "kubernetes")
    );
}

#[test]
fn the_doctor_names_what_is_missing_and_what_to_do() {
    let sandbox = Sandbox::new()
        .env("PATH", "/nowhere")
        .env("STACKUP_CONTROL_PLANE", "");
    let run = sandbox.stackup(&["doctor"]);
    assert!(run.code.is_some(), "{}", run.all());
    run.says("kwokctl").says("kind").says("scripts/control-plane");
}

#[test]
fn completion_scripts_are_accepted_by_their_shell() {
    let sandbox = Sandbox::new();
    for shell in ["bash", "zsh", "fish"] {
        sandbox.stackup(&["completion", shell]).ends(0).says("destroy");
    }
    let script = sandbox.write(
        "completion",
        sandbox.stackup(&["completion", "bash"]).ends(0).stdout,
    );
    let status = std::process::Command::new("bash")
        .arg("-n")
        .arg(script)
        .stdin(Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn errors_are_documents_where_json_is_asked_for() {
    let sandbox = Sandbox::new();
    let run = sandbox.stackup(&["validate", "--output", "json"]).ends(2);
    let error: Value = serde_json::from_str(run.stderr.trim()).unwrap();
    assert_eq!(error["error"]["exitCode"], 2);
    assert!(!error["error"]["hints"].as_array().unwrap().is_empty(), "{error}");
}

#[cfg(not(feature = "aws"))]
#[test]
fn a_build_without_aws_says_so_where_the_state_is_in_a_bucket() {
    let sandbox = Sandbox::new();
    let stack = "name: demo\ncluster: {provider: kwok}\nverify: off\nstate: {s3: {bucket: abc}}\n";
    sandbox.write("stackup.yaml", stack);
    for verb in [
        &["state", "list"][..],
        &["state", "init"],
        &["state", "unlock"],
        &["destroy", "--yes"],
    ] {
        sandbox.stackup(verb).ends(2).says("has no AWS in it");
    }
}
