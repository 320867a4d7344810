//! What a run tells to whom: a person who wants quiet, a person who is asked, a script.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    process::Command,
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{
    cluster,
    sandbox::{Run, Running, Sandbox},
    shop::Shop,
    tier,
};

const BROKEN: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: broken, namespace: NAME}
spec:
  selector: {matchLabels: {app: broken}}
  template:
    metadata: {labels: {app: other}}
    spec: {containers: [{name: web, image: example.com/web:1}]}
";

/// The program on a terminal of its own, whose person says nothing. What it writes is all on standard output.
fn on_a_terminal(sandbox: &Sandbox, arguments: &str) -> Option<Run> {
    if Command::new("script").arg("--version").output().is_err() {
        tier::skip("terminal", "there is no program 'script' here");
        return None;
    }
    let usual = sandbox.command(&[]);
    let mut command = Command::new("script");
    let line = format!("'{}' {arguments}", usual.get_program().to_str().unwrap());
    command.args(["-qec", &line, "/dev/null"]).env_clear();
    for (name, value) in usual.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .current_dir(usual.get_current_dir().unwrap())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Some(Running::start(command).wait())
}

/// The events of a run, each of which has what docs/events.md says that every line has.
#[track_caller]
fn events(run: &Run) -> Vec<Value> {
    let events: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    for event in &events {
        assert!(
            event["v"] == 1 && event["event"].is_string() && event["elapsedMs"].is_u64(),
            "{event}"
        );
    }
    events
}

/// Runs an apply that verifies until Ctrl-C, a second after it began with that.
fn stopped_while_it_verifies(shop: &Shop, arguments: &[&str]) -> Run {
    shop.proxy.take();
    let verifying = shop.sandbox.spawn(arguments);
    let looks_at_nodes = || {
        shop.proxy
            .sent()
            .iter()
            .any(|sent| sent.path.starts_with("/api/v1/nodes"))
    };
    while !looks_at_nodes() {
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(1));
    verifying.signal(Signal::INT);
    verifying.wait().ends(130)
}

/// The names of events, without those of the resources.
fn names(events: &[Value]) -> Vec<&str> {
    let names = events.iter().map(|event| event["event"].as_str().unwrap());
    names.filter(|name| !name.starts_with("step")).collect()
}

#[test]
fn who_is_asked_sees_what_about_even_if_all_else_is_quiet_or_data() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "stackup.yaml",
        "name: demo\ncluster: {provider: kwok}\nverify: off\n",
    );
    for arguments in ["apply", "apply --quiet", "apply --output json"] {
        let Some(run) = on_a_terminal(&sandbox, arguments) else {
            return;
        };
        let run = run.ends(6).says("kwok.cluster/demo").says("Apply this to demo?");
        let (plan, question) = (
            run.stdout.find("kwok.cluster/demo").unwrap(),
            run.stdout.find("Apply this").unwrap(),
        );
        assert!(plan < question, "{arguments}: {}", run.stdout);
    }
}

#[test]
fn quiet_runs_say_what_failed_and_nothing_else() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "quiet");
    shop.sandbox
        .write("shop/broken.yaml", BROKEN.replace("NAME", &shop.name));
    let run = shop.sandbox.stackup(&["apply", "--yes", "--quiet"]).ends(1);
    assert_eq!(run.stdout, "");
    assert!(
        run.stderr
            .contains(&format!("k8s/{}/Deployment/broken", shop.name))
            && run.stderr.contains("selector"),
        "{}",
        run.stderr
    );
    assert_eq!(
        run.stderr.matches("Deployment/broken").count(),
        1,
        "{}",
        run.stderr
    );
    fs::remove_file(shop.sandbox.path("shop/broken.yaml")).unwrap();
    for arguments in [["apply", "--yes", "--quiet"], ["destroy", "--yes", "--quiet"]] {
        let run = shop.sandbox.stackup(&arguments).ends(0);
        assert_eq!(run.all(), "", "{arguments:?}");
    }
    shop.is_gone();
}

#[test]
fn a_warning_comes_before_the_plan_and_from_every_verb() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "warning");
    shop.apply().ends(0);
    let tear = || {
        let journal = shop
            .sandbox
            .path(format!(".stackup/{}/journal.ndjson", shop.name));
        let mut journal = OpenOptions::new()
            .create(true)
            .append(true)
            .open(journal)
            .unwrap();
        journal.write_all(b"0123456789abcdef {\"torn").unwrap();
    };
    let warned = |run: &Run| run.stderr.matches("announced").count();
    tear();
    for verb in [&["diff"][..], &["status"], &["state", "list"]] {
        let run = shop.sandbox.stackup(verb);
        assert_eq!(warned(&run), 1, "{verb:?}: {}", run.all());
        assert!(run.stderr.contains("warning: "), "{verb:?}: {}", run.all());
        let run = shop.sandbox.stackup(&[verb, &["--output", "json"]].concat());
        serde_json::from_str::<Value>(&run.stdout).unwrap();
        let event: Value = serde_json::from_str(run.stderr.trim()).unwrap();
        assert_eq!(event["event"], "warning", "{verb:?}: {}", run.stderr);
        assert_eq!(warned(&run), 1);
    }
    // Without changes, and before nobody says yes.
    let run = shop.apply().ends(0).says("No changes");
    assert_eq!(warned(&run), 1, "{}", run.all());
    tear();
    let run = shop.sandbox.stackup(&["destroy"]).ends(6);
    assert_eq!(warned(&run), 1, "{}", run.all());
    tear();
    let run = shop.destroy().ends(0);
    assert_eq!(warned(&run), 1, "{}", run.all());
    shop.is_gone();
}

#[test]
fn every_run_is_told_to_scripts_from_its_start_to_its_end() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "script");
    let json = |arguments: &[&str]| {
        shop.sandbox
            .stackup(&[arguments, &["--yes", "--output", "json"]].concat())
    };
    let run = ["runStarted", "refreshing", "planned", "runFinished"];
    for changes in [true, false] {
        let told = events(&json(&["apply"]).ends(0));
        assert_eq!(names(&told), run, "{told:#?}");
        let last = told.last().unwrap();
        assert_eq!(
            (&last["verb"], &last["outcome"]),
            (&"apply".into(), &"done".into())
        );
        assert!(last["done"].as_u64().unwrap() > 5, "{last}");
        assert_eq!(told[2]["summary"]["create"].as_u64().unwrap() > 0, changes);
    }
    // It is verified after that: a run of its own, which this cluster, where nobody resolves names, does not end well.
    shop.second_version();
    let verify = ["apply", "--yes", "--set", "verify=quick"];
    let person = stopped_while_it_verifies(&shop, &verify);
    assert_eq!(person.stdout.matches("Next:").count(), 1, "{}", person.all());
    let next = "Next: stackup verify --set verify=quick\n      stackup status --set verify=quick\n";
    assert!(person.stdout.ends_with(next), "{}", person.all());
    let told = events(&stopped_while_it_verifies(
        &shop,
        &[&verify[..], &["--output", "json"]].concat(),
    ));
    let first = told
        .iter()
        .rposition(|event| event["event"] == "runStarted")
        .unwrap();
    let (apply, verify) = told.split_at(first);
    assert_eq!(names(apply), run);
    let [first, checked @ .., last] = verify else {
        panic!("{told:#?}")
    };
    assert_eq!(first["verb"], "verify");
    assert_eq!(
        (&last["event"], &last["verb"], &last["outcome"]["stopped"]),
        (&"runFinished".into(), &"verify".into(), &"INT".into())
    );
    // The last answer of each check counts.
    let answers: BTreeMap<&str, &Value> = checked
        .iter()
        .map(|event| &event["finding"])
        .map(|finding| (finding["id"].as_str().unwrap(), &finding["state"]))
        .collect();
    let failed = answers.values().filter(|state| **state == "fail").count();
    assert_eq!(last["failed"], failed, "{last}");
    assert!(checked.len() > 20 && names(checked).iter().all(|name| *name == "checked"));
    // Nobody says yes: what was found out is told, and the error is beside it.
    shop.first_version();
    let refused = shop.sandbox.stackup(&["apply", "--output", "json"]).ends(6);
    assert_eq!(names(&events(&refused)), &run[..3]);
    for verb in ["destroy", "destroy"] {
        let told = events(&json(&[verb]).ends(0));
        assert_eq!(
            (names(&told).first(), names(&told).last()),
            (Some(&"runStarted"), Some(&"runFinished"))
        );
    }
    shop.is_gone();
}
