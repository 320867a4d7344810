//! The real program is killed, as `kill -9` would, after every record of its journal and around its snapshots; the same
//! command then goes on and ends in the same place. The fail points are in `src/state`.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;

use crate::support::{
    cluster::{self, Cluster},
    sandbox::{Run, Sandbox, processes_of},
    shop::Shop,
    tier,
};

/// No run of these stacks writes as many records.
const MANY: usize = 60;

/// Whether each point is tried; else every fourth, so that usual runs stay short.
fn thorough() -> bool {
    tier::required("faults")
}

fn killed(run: &Run) -> bool {
    if run.signal == Some(9) {
        return true;
    }
    assert_eq!(run.code, Some(0), "neither killed nor done:\n{}", run.all());
    false
}

/// Runs a command that is to be killed at a point, then, if it was, the same command again to its end. Whether it was.
fn survives(sandbox: &Sandbox, fault: &str, arguments: &[&str]) -> bool {
    if !killed(&sandbox.stackup_with(&[("STACKUP_FAULT", fault)], arguments)) {
        return false;
    }
    let again = sandbox.stackup(arguments).ends(0);
    let begun = fault.starts_with("record:");
    assert!(
        !begun || again.all().contains("resuming"),
        "{fault} {arguments:?}: it does not say that it resumes:\n{}",
        again.all()
    );
    true
}

/// What stands after each version, when nothing interrupts.
fn reference(cluster: &'static Cluster) -> [Value; 2] {
    let shop = Shop::new(cluster, "whole");
    shop.apply().ends(0);
    let first = shop.objects();
    assert_eq!(first.as_object().unwrap().len(), 8, "{first:#}");
    shop.second_version();
    shop.apply().ends(0);
    let second = shop.objects();
    shop.destroy().ends(0);
    shop.is_gone();
    assert_eq!(second.as_object().unwrap().len(), 7, "{second:#}");
    [first, second]
}

/// Makes, changes and removes a stack, each time killed at the same point and taken up again. How often it was killed.
fn cycle(cluster: &'static Cluster, fault: &str, reference: &[Value; 2]) -> usize {
    let shop = Shop::new(cluster, "killed");
    let sandbox = &shop.sandbox;
    let apply = || {
        let killed = survives(sandbox, fault, &["apply", "--yes"]);
        shop.writes();
        shop.apply().ends(0);
        assert_eq!(shop.writes().len(), 0, "{fault}: a further apply writes");
        usize::from(killed)
    };
    let mut times = apply();
    assert_eq!(shop.objects(), reference[0], "{fault}: another end");
    shop.second_version();
    times += apply();
    assert_eq!(
        shop.objects(),
        reference[1],
        "{fault}: another end after the change"
    );
    times += usize::from(survives(sandbox, fault, &["destroy", "--yes"]));
    if sandbox.path(".stackup").exists() {
        // Killed between the last record and the end of the folder.
        shop.destroy().ends(0);
    }
    shop.is_gone();
    times
}

#[test]
fn a_run_killed_after_any_record_is_taken_up_and_ends_in_the_same_place() {
    let Some(cluster) = cluster::shared() else { return };
    let reference = reference(cluster);
    let step = if thorough() { 1 } else { 4 };
    let next = AtomicUsize::new(1);
    let killed = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let record = next.fetch_add(step, Ordering::Relaxed);
            assert!(
                record < MANY,
                "it is killed at record {record}, and still not done"
            );
            let times = cycle(cluster, &format!("record:{record}"), &reference);
            if times == 0 {
                break;
            }
            killed.lock().unwrap().push(times);
        }
    };
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(worker);
        }
    });
    let killed = killed.into_inner().unwrap();
    println!(
        "killed at {} points, {} times",
        killed.len(),
        killed.iter().sum::<usize>()
    );
    assert!(killed.len() >= 10 / step, "only {} points", killed.len());
}

#[test]
fn a_run_killed_around_a_snapshot_is_taken_up() {
    let Some(cluster) = cluster::shared() else { return };
    let reference = reference(cluster);
    for fault in ["snapshot:written", "snapshot:renamed"] {
        assert!(
            cycle(cluster, fault, &reference) >= 2,
            "{fault} kills making and changing"
        );
    }
}

#[test]
fn a_run_killed_after_one_that_was_killed_in_its_last_moment_is_taken_up_too() {
    let Some(cluster) = cluster::shared() else { return };
    let shop = Shop::new(cluster, "twice");
    shop.apply().ends(0);
    shop.second_version();
    for fault in ["snapshot:renamed", "record:2", "record:1", "record:2"] {
        let run = shop
            .sandbox
            .stackup_with(&[("STACKUP_FAULT", fault)], &["apply", "--yes"]);
        assert!(killed(&run), "{fault}");
        shop.first_version();
    }
    shop.apply().ends(0).says("resuming");
    shop.destroy().ends(0);
    shop.is_gone();
}

#[test]
fn a_run_killed_around_its_cluster_leaves_one_cluster_and_then_none() {
    if tier::control_plane().is_none() {
        return;
    }
    let points: &[usize] = if thorough() { &[1, 2, 3, 4, 5, 6] } else { &[2] };
    for point in points {
        let sandbox = Sandbox::new();
        let stack = "name: solo\ncluster: {provider: kwok}\nverify: off\ncomponents:\n  - {name: only, manifests: ./only.yaml}\n";
        sandbox.write("stackup.yaml", stack);
        sandbox.write(
            "only.yaml",
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: only, namespace: default}, data: {a: b}}",
        );
        let fault = format!("record:{point}");
        survives(&sandbox, &fault, &["apply", "--yes"]);
        assert_eq!(servers(&sandbox), 1, "{fault}: one API server");
        sandbox.stackup(&["diff", "--exit-code"]).ends(0);
        survives(&sandbox, &fault, &["destroy", "--yes"]);
        sandbox.stackup(&["destroy", "--yes"]).ends(0);
        assert_eq!(processes_of(&sandbox.path("")), [], "{fault}: processes are left");
        assert!(!sandbox.path(".stackup").exists(), "{fault}: .stackup is left");
    }
}

/// How many API servers run from this sandbox.
fn servers(sandbox: &Sandbox) -> usize {
    let pids = processes_of(&sandbox.path("")).into_iter();
    let name =
        |pid: rustix::process::Pid| std::fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    pids.filter(|pid| name(*pid).is_ok_and(|name| name.trim() == "kube-apiserver"))
        .count()
}
