use std::{sync::Arc, time::Duration};

use serde_json::json;

use super::{
    Cancel, Canceller, Executed, Refreshed, Run, critical_path, execute, expected,
    fake::{Cloud, FakeKind, Memory, Thing, begun, reached, stack, wanted},
    lint, plan, refresh,
};
use crate::{
    model::{
        Action, Address, EventKind, Events, Need, Outcome, Plan, Reason, Report, Secret, Stop, Summary, Verb,
    },
    resource::{Cause, Kind, Reference, Registry, Stack, Wanted},
    state::{KeyedHash, Store as _},
};

fn run_of(cloud: &Arc<Cloud>, cancel: Cancel) -> Run {
    let kinds = [
        "fake.cluster",
        "fake.thing",
        "fake.near",
        "fake.part",
        "fake.object",
        "fake.api",
    ]
    .map(|name| {
        Arc::new(FakeKind {
            name,
            cloud: Arc::clone(cloud),
        }) as Arc<dyn Kind>
    });
    Run {
        stack: Arc::new(Stack {
            name: "demo".into(),
            uid: "uid-1".into(),
        }),
        registry: Registry::new(kinds),
        events: Events::ignored(),
        cancel,
        hash: KeyedHash::new(Secret::new(b"key".to_vec())),
        adopt: false,
        pace: Duration::from_millis(500),
    }
}

async fn planned(cloud: &Arc<Cloud>, wanted: &[Arc<Wanted>], store: &Memory) -> (Plan, Refreshed) {
    let run = run_of(cloud, Canceller::new().1);
    let refreshed = refresh(&run, wanted, &store.loaded().snapshot).await.unwrap();
    let plan = plan("demo", &refreshed, |_| false).unwrap();
    assert_eq!(lint(&plan, &refreshed), Vec::<String>::new());
    (plan, refreshed)
}

async fn go(cloud: &Arc<Cloud>, wanted: &[Arc<Wanted>], store: &mut Memory) -> Executed {
    let (plan, refreshed) = planned(cloud, wanted, store).await;
    let run = run_of(cloud, Canceller::new().1);
    let (verb, loaded) = (
        if wanted.is_empty() {
            Verb::Destroy
        } else {
            Verb::Apply
        },
        store.loaded(),
    );
    execute(&run, verb, &plan, refreshed, store, loaded)
        .await
        .unwrap()
}

fn position(calls: &[String], call: &str) -> usize {
    calls
        .iter()
        .position(|made| made == call)
        .unwrap_or_else(|| panic!("no '{call}' in {calls:?}"))
}

#[tokio::test(start_paused = true)]
async fn on_nothing_the_plan_is_all_creates_and_asks_nobody_about_what_lives_in_the_cluster() {
    let (cloud, store) = (Arc::new(Cloud::default()), Memory::default());
    let (plan, _) = planned(&cloud, &stack("small"), &store).await;
    assert_eq!(
        plan.summary(),
        Summary {
            create: 7,
            ..Summary::default()
        }
    );
    let asked = cloud.calls.lock().unwrap().clone();
    assert_eq!(asked, ["observe fake.thing/disk", "observe fake.thing/network"]);
    let server = plan
        .steps
        .iter()
        .find(|step| step.address.name() == "in-server")
        .unwrap();
    assert_eq!(
        server.reason,
        Some(Reason::KnownAfter(Address::new("fake.cluster", "main")))
    );
}

#[tokio::test(start_paused = true)]
async fn everything_comes_after_what_it_needs_and_a_second_run_writes_nothing() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let executed = go(&cloud, &stack("small"), &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Done);
    assert_eq!(executed.report.done.len(), 7);
    let calls = cloud.writes();
    for (first, second) in [
        ("thing/network", "cluster/main"),
        ("cluster/main", "object/in-namespace"),
        ("object/in-config", "object/in-server"),
    ] {
        assert!(
            position(&calls, &format!("create fake.{first}"))
                < position(&calls, &format!("create fake.{second}"))
        );
    }
    cloud.calls.lock().unwrap().clear();
    let saves = store.saves;
    assert_eq!(
        go(&cloud, &stack("small"), &mut store).await.report.outcome,
        Outcome::Done
    );
    assert_eq!(cloud.writes(), Vec::<String>::new());
    assert_eq!(store.saves, saves, "a run that changes nothing leaves no trace");
}

#[tokio::test(start_paused = true)]
async fn one_changed_field_is_one_update_and_a_fixed_one_is_a_replace_that_names_it() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &stack("small"), &mut store).await;
    let (plan, _) = planned(&cloud, &stack("large"), &store).await;
    let disk = plan
        .steps
        .iter()
        .find(|step| step.address.name() == "disk")
        .unwrap();
    assert_eq!(
        (disk.action, disk.forces.as_slice()),
        (Action::Replace, ["size".to_owned()].as_slice())
    );
    assert_eq!(
        plan.summary(),
        Summary {
            update: 5,
            replace: 1,
            unchanged: 1,
            ..Summary::default()
        }
    );
    cloud.calls.lock().unwrap().clear();
    go(&cloud, &stack("large"), &mut store).await;
    let calls = cloud.writes();
    assert!(position(&calls, "delete fake.thing/disk") < position(&calls, "create fake.thing/disk"));
    assert_eq!(
        store.loaded().snapshot.resources[&Address::new("fake.thing", "disk")]
            .remembered
            .generation,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_back_after_the_state_forgot_it_is_of_another_generation_and_each_attempt_of_the_same() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let disk = Address::new("fake.thing", "disk");
    let whole = stack("small");
    let without: Vec<_> = whole
        .iter()
        .filter(|wanted| wanted.address != disk)
        .cloned()
        .collect();
    let generation = |store: &Memory| store.loaded().snapshot.resources[&disk].remembered.generation;
    go(&cloud, &whole, &mut store).await;
    let first = generation(&store);
    go(&cloud, &without, &mut store).await;
    assert!(!store.loaded().snapshot.resources.contains_key(&disk));
    cloud.fails("create fake.thing/disk", Cause::Permanent, 1, false);
    let failed = go(&cloud, &whole, &mut store).await;
    let second = generation(&store);
    assert!(second > first, "{first} and {second}");
    assert_eq!(failed.report.outcome, Outcome::Failed);
    let executed = go(&cloud, &whole, &mut store).await;
    assert_eq!(
        (executed.report.outcome, generation(&store)),
        (Outcome::Done, second)
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_wanted_goes_after_what_needed_it() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &stack("small"), &mut store).await;
    cloud.calls.lock().unwrap().clear();
    let kept: Vec<_> = stack("small")
        .into_iter()
        .filter(|wanted| !["in-server", "out-balancer"].contains(&wanted.address.name()))
        .collect();
    let executed = go(&cloud, &kept, &mut store).await;
    assert_eq!(
        executed
            .report
            .done
            .values()
            .filter(|action| **action == Action::Delete)
            .count(),
        2
    );
    assert_eq!(
        cloud.writes(),
        ["delete fake.object/out-balancer", "delete fake.object/in-server"]
    );
}

#[tokio::test(start_paused = true)]
async fn destroy_deletes_what_stays_outside_first_and_lets_the_rest_go_with_the_cluster() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &stack("small"), &mut store).await;
    cloud.calls.lock().unwrap().clear();
    let executed = go(&cloud, &[], &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Done);
    let calls = cloud.writes();
    assert!(
        position(&calls, "delete fake.object/out-balancer") < position(&calls, "delete fake.cluster/main")
    );
    assert!(position(&calls, "delete fake.cluster/main") < position(&calls, "delete fake.thing/network"));
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert!(cloud.names().is_empty() && executed.snapshot.resources.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_record_of_apply_is_resumed_without_a_double_or_an_orphan() {
    let whole = {
        let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
        go(&cloud, &stack("small"), &mut store).await;
        store.appended
    };
    assert!(whole > 12, "{whole}");
    for crash_after in 0..=whole {
        let (cloud, mut store) = (
            Arc::new(Cloud::default()),
            Memory {
                crash_after: Some(crash_after),
                ..Memory::default()
            },
        );
        assert!(go(&cloud, &stack("small"), &mut store).await.lost.is_some());
        for name in cloud.names() {
            let known = store
                .loaded()
                .snapshot
                .resources
                .keys()
                .any(|address| address.as_str() == name);
            assert!(
                known,
                "crash after {crash_after}: {name} stands and is not in the journal"
            );
        }
        store.crash_after = None;
        let executed = go(&cloud, &stack("small"), &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "crash after {crash_after}: {:?}",
            executed.report
        );
        assert_eq!(cloud.names().len(), 7);
        assert!(
            executed
                .snapshot
                .resources
                .keys()
                .all(|address| begun(&executed.snapshot, address).is_none())
        );
        go(&cloud, &[], &mut store).await;
        assert!(
            cloud.names().is_empty(),
            "crash after {crash_after}: left {:?}",
            cloud.names()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_record_of_destroy_is_resumed_to_nothing() {
    for crash_after in 0..30 {
        let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
        go(&cloud, &stack("small"), &mut store).await;
        store.crash_after = Some(crash_after);
        go(&cloud, &[], &mut store).await;
        store.crash_after = None;
        let executed = go(&cloud, &[], &mut store).await;
        assert_eq!(
            executed.report.outcome,
            Outcome::Done,
            "crash after {crash_after}"
        );
        assert!(
            cloud.names().is_empty() && executed.snapshot.resources.is_empty(),
            "crash after {crash_after}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_skips_only_what_needs_it_and_the_next_run_does_only_the_rest() {
    for name in [
        "thing/network",
        "cluster/main",
        "object/in-config",
        "thing/disk",
        "object/out-balancer",
    ] {
        for effect in [false, true] {
            let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
            cloud.fails(&format!("create fake.{name}"), Cause::Permanent, 1, effect);
            let executed = go(&cloud, &stack("small"), &mut store).await;
            assert_eq!(executed.report.outcome, Outcome::Failed);
            let failed: Vec<_> = executed.report.failed.keys().map(ToString::to_string).collect();
            assert_eq!(failed, [format!("fake.{name}")]);
            assert!(
                name == "thing/disk"
                    || executed
                        .report
                        .done
                        .contains_key(&Address::new("fake.thing", "disk"))
            );
            let done = executed.report.done.len();
            cloud.calls.lock().unwrap().clear();
            let executed = go(&cloud, &stack("small"), &mut store).await;
            assert_eq!(executed.report.outcome, Outcome::Done, "{name}");
            assert_eq!(
                cloud.writes().len(),
                7 - done - usize::from(effect),
                "{name}: {:?}",
                cloud.writes()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_may_succeed_later_is_made_again_until_it_does() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    cloud.fails("create fake.thing/network", Cause::Transient, 5, false);
    assert_eq!(
        go(&cloud, &stack("small"), &mut store).await.report.outcome,
        Outcome::Done
    );
    assert_eq!(
        cloud
            .writes()
            .iter()
            .filter(|call| *call == "create fake.thing/network")
            .count(),
        6
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_is_lost_is_looked_for_until_it_would_show_before_it_is_made_again() {
    for (effect, creates) in [(true, 1), (false, 2)] {
        let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
        cloud.fails("create fake.thing/network", Cause::Lost, 1, effect);
        // The look of the refresh, then those after the lost answer.
        *cloud.hidden.lock().unwrap() = if effect { 5 } else { 0 };
        let network = &stack("small")[..1];
        assert_eq!(
            go(&cloud, network, &mut store).await.report.outcome,
            Outcome::Done
        );
        assert_eq!(cloud.writes(), vec!["create fake.thing/network"; creates]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_run_made_unseen_is_waited_for_by_the_next() {
    let (cloud, mut store) = (
        Arc::new(Cloud::default()),
        Memory {
            crash_after: Some(2),
            ..Memory::default()
        },
    );
    let network = &stack("small")[..1];
    assert!(go(&cloud, network, &mut store).await.lost.is_some());
    assert_eq!(cloud.writes(), ["create fake.thing/network"]);
    store.crash_after = None;
    *cloud.hidden.lock().unwrap() = 4;
    assert_eq!(
        go(&cloud, network, &mut store).await.report.outcome,
        Outcome::Done
    );
    assert_eq!(cloud.writes(), ["create fake.thing/network"]);
}

#[tokio::test(start_paused = true)]
async fn what_pins_a_thing_that_is_made_anew_goes_first_and_is_made_anew_as_well() {
    let parts = |size: &str, names: &[&str]| {
        let disk = Address::new("fake.thing", "disk");
        let fixed = json!({"size": size, "fixed": true});
        let mut all = vec![wanted("fake.thing", "disk", fixed, Vec::new())];
        all.extend(names.iter().map(|name| {
            let inputs = json!({"of": Reference::field(&disk, "url"), "size": "small"});
            wanted("fake.part", name, inputs, Vec::new())
        }));
        all
    };
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &parts("small", &["a", "b"]), &mut store).await;
    let (plan, _) = planned(&cloud, &parts("large", &["a"]), &store).await;
    let actions: Vec<_> = plan.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Replace, Action::Delete, Action::Replace]);
    assert_eq!(plan.steps[0].forces, ["fake.thing/disk"]);
    cloud.calls.lock().unwrap().clear();
    let executed = go(&cloud, &parts("large", &["a"]), &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Done, "{:?}", executed.report);
    let calls = cloud.writes();
    for (first, second) in [
        ("delete fake.part/a", "delete fake.thing/disk"),
        ("delete fake.part/b", "delete fake.thing/disk"),
        ("delete fake.thing/disk", "create fake.thing/disk"),
        ("create fake.thing/disk", "create fake.part/a"),
    ] {
        assert!(position(&calls, first) < position(&calls, second), "{calls:?}");
    }
    assert_eq!(cloud.names(), ["fake.part/a", "fake.thing/disk"]);
}

#[tokio::test(start_paused = true)]
async fn what_refers_to_several_is_looked_at_once_the_last_of_them_is_there() {
    let url = |name: &str| Reference::field(&Address::new("fake.thing", name), "url");
    let all = [
        wanted("fake.thing", "a", json!({"size": "small"}), Vec::new()),
        wanted(
            "fake.thing",
            "b",
            json!({"size": "small", "of": url("a")}),
            Vec::new(),
        ),
        wanted(
            "fake.part",
            "c",
            json!({"size": "small", "of": [url("a"), url("b")]}),
            Vec::new(),
        ),
    ];
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let executed = go(&cloud, &all, &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Done, "{:?}", executed.report);
    assert_eq!(cloud.names(), ["fake.part/c", "fake.thing/a", "fake.thing/b"]);
}

#[tokio::test(start_paused = true)]
async fn what_reads_an_output_that_a_change_moves_follows_in_the_same_run_and_the_plan_says_so() {
    let all = |size: &str| {
        let of = |field: &str| Reference::field(&Address::new("fake.thing", "a"), field);
        [
            wanted("fake.thing", "a", json!({"size": size}), Vec::new()),
            wanted("fake.thing", "reader", json!({"size": of("size")}), Vec::new()),
            wanted(
                "fake.part",
                "other",
                json!({"size": "small", "of": of("url")}),
                Vec::new(),
            ),
        ]
    };
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &all("small"), &mut store).await;
    let (plan, _) = planned(&cloud, &all("large"), &store).await;
    let a = Address::new("fake.thing", "a");
    assert_eq!(reason(&plan, "fake.thing/reader"), Some(&Reason::Follows(a)));
    let actions: Vec<Action> = plan.steps.iter().map(|step| step.action).collect();
    assert_eq!(actions, [Action::Unchanged, Action::Update, Action::Update]);
    cloud.calls.lock().unwrap().clear();
    let executed = go(&cloud, &all("large"), &mut store).await;
    assert_eq!(
        executed.report.outcome,
        Outcome::Done,
        "{:?}",
        executed.report.failed
    );
    assert_eq!(
        cloud.writes(),
        ["update fake.thing/a", "update fake.thing/reader"]
    );
    assert_eq!(
        cloud.things.lock().unwrap()[&Address::new("fake.thing", "reader")].size,
        "large"
    );
    cloud.calls.lock().unwrap().clear();
    go(&cloud, &all("large"), &mut store).await;
    assert_eq!(cloud.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_there_and_not_ours_is_refused_and_left_alone() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(
        &cloud,
        &[wanted(
            "fake.thing",
            "network",
            json!({"size": "small"}),
            Vec::new(),
        )],
        &mut Memory::default(),
    )
    .await;
    let address = Address::new("fake.thing", "network");
    cloud.things.lock().unwrap().get_mut(&address).unwrap().owner = "other".into();
    cloud.calls.lock().unwrap().clear();
    let executed = go(&cloud, &stack("large")[..2], &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Refused);
    assert_eq!(cloud.writes(), Vec::<String>::new());
    assert!(executed.report.failed[&address].message.contains("stack other"));
}

#[tokio::test(start_paused = true)]
async fn what_someone_else_made_while_an_answer_was_lost_is_not_taken_for_ours() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let disk = Address::new("fake.thing", "disk");
    cloud
        .things
        .lock()
        .unwrap()
        .insert(disk.clone(), Thing::owned("uid-2"));
    // The plan does not see it yet, and the create has no effect.
    *cloud.hidden.lock().unwrap() = 1;
    cloud.fails("create fake.thing/disk", Cause::Lost, 1, false);
    let wanted = [wanted("fake.thing", "disk", json!({"size": "small"}), Vec::new())];
    let executed = go(&cloud, &wanted, &mut store).await;
    assert!(executed.report.failed[&disk].refused, "{:?}", executed.report);
    assert!(
        executed.report.failed[&disk].message.contains("not ours"),
        "{:?}",
        executed.report
    );
    assert_eq!(cloud.things.lock().unwrap()[&disk].owner, "uid-2");
    assert_eq!(cloud.writes(), ["create fake.thing/disk"]);
}

#[tokio::test(start_paused = true)]
async fn what_never_works_fails_at_once_with_its_reason() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let broken = wanted("fake.thing", "broken", json!({"size": "never"}), Vec::new());
    let executed = go(&cloud, &[broken], &mut store).await;
    assert_eq!(
        executed.report.failed[&Address::new("fake.thing", "broken")].message,
        "it will never work"
    );
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_needs_is_told_with_its_path_before_anything_is_written() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let needs = |name: &str| vec![Need::ready(Address::new("fake.thing", name))];
    let circle = [
        wanted("fake.thing", "a", json!({}), needs("b")),
        wanted("fake.thing", "b", json!({}), needs("a")),
    ];
    let (plan, refreshed) = planned(&cloud, &circle, &store).await;
    let loaded = store.loaded();
    let run = run_of(&cloud, Canceller::new().1);
    let error = execute(&run, Verb::Apply, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .contains("fake.thing/a → fake.thing/b → fake.thing/a"),
        "{error}"
    );
    assert!(cloud.writes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_leaves_what_is_not_begun_and_the_next_run_ends_in_the_same_place() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let (plan, refreshed) = planned(&cloud, &stack("small"), &store).await;
    let (canceller, cancel) = Canceller::new();
    canceller.stop(Stop::Term);
    canceller.stop(Stop::Int);
    let loaded = store.loaded();
    let run = run_of(&cloud, cancel);
    let executed = execute(&run, Verb::Apply, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert_eq!(executed.report.outcome, Outcome::Stopped(Stop::Term));
    assert_eq!((executed.report.begun.len(), executed.report.left.len()), (0, 7));
    assert_eq!(
        go(&cloud, &stack("small"), &mut store).await.report.outcome,
        Outcome::Done
    );
}

/// An apply that Ctrl-C stops after so many seconds.
async fn stopped_after(
    seconds: u64,
    cloud: &Arc<Cloud>,
    wanted: &[Arc<Wanted>],
    store: &mut Memory,
) -> Report {
    let (plan, refreshed) = planned(cloud, wanted, store).await;
    let (canceller, cancel) = Canceller::new();
    let (run, loaded) = (run_of(cloud, cancel), store.loaded());
    let stop = async {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        canceller.stop(Stop::Int);
    };
    let (executed, ()) = tokio::join!(execute(&run, Verb::Apply, &plan, refreshed, store, loaded), stop);
    executed.unwrap().report
}

#[tokio::test(start_paused = true)]
async fn what_was_made_and_is_still_awaited_when_a_stop_comes_is_not_told_to_be_as_it_was() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let [a, b] = ["a", "b"].map(|name| Address::new("fake.thing", name));
    let all = [
        wanted("fake.thing", "a", json!({"size": "half"}), Vec::new()),
        wanted(
            "fake.thing",
            "b",
            json!({"size": "s"}),
            vec![Need::ready(a.clone())],
        ),
    ];
    let report = stopped_after(2, &cloud, &all, &mut store).await;
    assert_eq!(report.outcome, Outcome::Stopped(Stop::Int));
    assert_eq!((report.begun, report.left), (vec![a.clone()], vec![b]));
    assert!(cloud.things.lock().unwrap().contains_key(&a));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_a_stop_keeps_from_being_made_again_has_not_failed() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    cloud.fails("create fake.thing/network", Cause::Throttled, 1000, false);
    let report = stopped_after(10, &cloud, &stack("small"), &mut store).await;
    assert_eq!(report.outcome, Outcome::Stopped(Stop::Int));
    assert_eq!(report.begun, [Address::new("fake.thing", "network")]);
    assert!(report.failed.is_empty() && report.skipped.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_left_once_the_state_cannot_be_written() {
    let (cloud, mut store) = (
        Arc::new(Cloud::default()),
        Memory {
            crash_after: Some(5),
            ..Memory::default()
        },
    );
    let thing = |name: &str, size: &str| wanted("fake.thing", name, json!({"size": size}), Vec::new());
    let before = tokio::time::Instant::now();
    let executed = go(&cloud, &[thing("slow", "half"), thing("quick", "s")], &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::StateLost);
    assert!(executed.report.failed.is_empty(), "{:?}", executed.report);
    assert!(
        executed
            .report
            .begun
            .contains(&Address::new("fake.thing", "slow"))
    );
    // The slow one would be waited for until its deadline, by a clock that no test waits for.
    assert!(before.elapsed() < Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_on_this_machine_is_not_kept_waiting_for_the_pace_of_a_cloud() {
    let looked_at_after = async |kind| {
        let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
        let before = tokio::time::Instant::now();
        go(
            &cloud,
            &[wanted(kind, "a", json!({"size": "s"}), Vec::new())],
            &mut store,
        )
        .await;
        let made = before.elapsed();
        let before = tokio::time::Instant::now();
        go(&cloud, &[], &mut store).await;
        (made, before.elapsed())
    };
    let pace = run_of(&Arc::default(), Canceller::new().1).pace;
    assert_eq!(looked_at_after("fake.thing").await, (pace, pace));
    assert_eq!(
        looked_at_after("fake.near").await,
        (Duration::ZERO, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn what_breaks_in_stackup_itself_is_a_failure() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let [a, b] = ["a", "b"].map(|name| Address::new("fake.thing", name));
    let thing = |name: &str, size: &str, needs| wanted("fake.thing", name, json!({"size": size}), needs);
    let all = [
        thing("a", "breaks", Vec::new()),
        thing("b", "s", vec![Need::ready(a.clone())]),
        thing("c", "s", Vec::new()),
    ];
    let report = go(&cloud, &all, &mut store).await.report;
    assert_eq!(report.outcome, Outcome::Failed);
    assert!(report.failed[&a].message.contains("stackup itself broke"));
    assert!(report.skipped.contains_key(&b) && report.left.is_empty());
    assert_eq!(cloud.names(), ["fake.thing/c"]);
}

#[tokio::test(start_paused = true)]
async fn a_thing_deleted_by_hand_is_made_again_and_a_cluster_deleted_by_hand_takes_its_objects_along() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &stack("small"), &mut store).await;
    cloud
        .things
        .lock()
        .unwrap()
        .retain(|address, _| address.name() == "network");
    let (plan, _) = planned(&cloud, &stack("small"), &store).await;
    let disk = plan
        .steps
        .iter()
        .find(|step| step.address.name() == "disk")
        .unwrap();
    assert_eq!(
        (disk.action, &disk.reason),
        (Action::Create, &Some(Reason::Vanished))
    );
    let executed = go(&cloud, &[], &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::Done);
    assert!(executed.snapshot.resources.is_empty() && cloud.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_same_input_gives_the_same_plan_byte_for_byte() {
    let (cloud, store) = (Arc::new(Cloud::default()), Memory::default());
    let foreign = Thing::owned("other");
    cloud
        .things
        .lock()
        .unwrap()
        .insert(Address::new("fake.thing", "disk"), foreign);
    let one = planned(&cloud, &stack("small"), &store).await.0;
    let mut reversed = stack("small");
    reversed.reverse();
    let two = planned(&cloud, &reversed, &store).await.0;
    assert_eq!(
        serde_json::to_string(&one).unwrap(),
        serde_json::to_string(&two).unwrap()
    );
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_written_stops_before_the_next_effect() {
    let (cloud, mut store) = (
        Arc::new(Cloud::default()),
        Memory {
            crash_after: Some(0),
            ..Memory::default()
        },
    );
    let executed = go(&cloud, &stack("small"), &mut store).await;
    assert_eq!(executed.report.outcome, Outcome::StateLost);
    assert!(cloud.writes().is_empty());
    assert!(store.load().await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_refers_to_a_neighbour_is_taken_down_with_it_and_found_without_it() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let reference = |name: &str| Reference::field(&Address::new("fake.object", name), "url");
    let cluster = Reference::whole(&Address::new("fake.cluster", "main"));
    let hook = |name: &str, of: &str| {
        wanted(
            "fake.object",
            name,
            json!({"cluster": cluster, "ca": reference(of), "size": "small"}),
            Vec::new(),
        )
    };
    let mut wanted = stack("small");
    wanted.push(hook("in-hook", "in-config"));
    wanted.push(hook("out-hook", "out-balancer"));
    go(&cloud, &wanted, &mut store).await;
    // What they refer to is deleted by hand: they still stand, and are ours to delete.
    cloud
        .things
        .lock()
        .unwrap()
        .retain(|address, _| !["in-config", "out-balancer"].contains(&address.name()));
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
    assert!(cloud.names().is_empty(), "left: {:?}", cloud.names());
}

/// The warnings of a refresh in which nothing is wanted, and the plan.
async fn parting(cloud: &Arc<Cloud>, store: &Memory) -> (Plan, Refreshed, Vec<String>) {
    let (events, mut heard) = Events::channel();
    let run = Run {
        events,
        ..run_of(cloud, Canceller::new().1)
    };
    let refreshed = refresh(&run, &[], &store.loaded().snapshot).await.unwrap();
    drop(run);
    let mut warnings = Vec::new();
    while let Some(event) = heard.recv().await {
        if let EventKind::Warning { message, .. } = event.kind {
            warnings.push(message);
        }
    }
    let plan = plan("demo", &refreshed, |_| false).unwrap();
    assert_eq!(lint(&plan, &refreshed), Vec::<String>::new());
    (plan, refreshed, warnings)
}

fn reason<'a>(plan: &'a Plan, address: &str) -> Option<&'a Reason> {
    let step = plan.steps.iter().find(|step| step.address.as_str() == address);
    step.unwrap().reason.as_ref()
}

#[tokio::test(start_paused = true)]
async fn a_cluster_waits_for_what_keeps_something_outside_though_the_way_to_it_goes_with_the_cluster() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    assert_eq!(
        go(&cloud, &reached("small"), &mut store).await.report.outcome,
        Outcome::Done
    );
    cloud.calls.lock().unwrap().clear();
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
    assert_eq!(
        cloud.writes(),
        ["delete fake.object/out-balancer-api", "delete fake.cluster/main"]
    );
    assert!(store.snapshot.unwrap().resources.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_goes_with_a_cluster_keeps_what_it_needs_until_then_and_not_what_stands_on_the_cluster() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let [main, role, nodes] = [("cluster", "main"), ("thing", "role"), ("thing", "nodes")]
        .map(|(kind, name)| Address::new(&format!("fake.{kind}"), name));
    let stack = [
        wanted("fake.cluster", "main", json!({}), Vec::new()),
        wanted("fake.thing", "role", json!({"size": "s"}), Vec::new()),
        wanted(
            "fake.thing",
            "nodes",
            json!({"size": "s"}),
            vec![Need::ready(main.clone())],
        ),
        wanted(
            "fake.object",
            "in-agent",
            json!({"cluster": Reference::whole(&main), "size": "s"}),
            vec![Need::ready(role), Need::ready(nodes)],
        ),
    ];
    assert_eq!(go(&cloud, &stack, &mut store).await.report.outcome, Outcome::Done);
    cloud.calls.lock().unwrap().clear();
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
    let order = ["fake.thing/nodes", "fake.cluster/main", "fake.thing/role"];
    assert_eq!(cloud.writes(), order.map(|address| format!("delete {address}")));
}

#[tokio::test(start_paused = true)]
async fn what_the_way_into_a_cluster_needed_stays_until_nobody_goes_that_way() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let right = Address::new("fake.cluster", "a-right");
    let mut wanted: Vec<Arc<Wanted>> = reached("small");
    for of in &mut wanted {
        if of.kind == "fake.api" {
            Arc::make_mut(of).needs.push(Need::ready(right.clone()));
        }
    }
    wanted.push(super::fake::wanted(
        "fake.cluster",
        "a-right",
        json!({}),
        Vec::new(),
    ));
    go(&cloud, &wanted, &mut store).await;
    cloud.fails("delete fake.object/out-balancer-api", Cause::Transient, 2, false);
    cloud.calls.lock().unwrap().clear();
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
    let writes = cloud.writes();
    let at = |what: &str| writes.iter().rposition(|write| write == what).unwrap();
    assert!(
        at("delete fake.object/out-balancer-api") < at("delete fake.cluster/a-right"),
        "{writes:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_the_delete_of_a_cluster_leaves_nothing_behind_that_lived_in_it() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &reached("small"), &mut store).await;
    let (plan, refreshed, _) = parting(&cloud, &store).await;
    // Opened, begun and gone the balancer, begun and gone the cluster: then the end.
    store.crash_after = Some(5);
    let run = run_of(&cloud, Canceller::new().1);
    let loaded = store.loaded();
    let executed = execute(&run, Verb::Destroy, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert!(executed.lost.is_some(), "{:?}", store.journal);
    store.crash_after = None;
    let left = store.loaded().snapshot.resources;
    assert!(
        left.is_empty() || left.contains_key(&Address::new("fake.cluster", "main")),
        "{left:?}"
    );
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_any_more_goes_with_its_cluster_and_is_told() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &reached("small"), &mut store).await;
    cloud.fails(
        "observe fake.object/out-balancer-api",
        Cause::Unreachable,
        9,
        false,
    );
    let (plan, refreshed, warnings) = parting(&cloud, &store).await;
    let api = Address::new("fake.api", "main");
    assert_eq!(
        reason(&plan, "fake.object/out-balancer-api"),
        Some(&Reason::GoesWith(api))
    );
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("fake.object/out-balancer-api"),
        "{warnings:?}"
    );
    assert!(warnings[0].contains("refused by the test"), "{warnings:?}");
    let run = run_of(&cloud, Canceller::new().1);
    let loaded = store.loaded();
    let executed = execute(&run, Verb::Destroy, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert_eq!(executed.report.outcome, Outcome::Done);
    assert!(executed.snapshot.resources.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_in_a_cluster_that_stays_is_an_error() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let mut wanted = reached("small");
    go(&cloud, &wanted, &mut store).await;
    wanted.pop();
    cloud.fails(
        "observe fake.object/out-balancer-api",
        Cause::Unreachable,
        9,
        false,
    );
    let run = run_of(&cloud, Canceller::new().1);
    let refreshed = refresh(&run, &wanted, &store.loaded().snapshot).await.unwrap();
    let errors = plan("demo", &refreshed, |_| false).unwrap_err();
    assert_eq!(errors[0].0.as_str(), "fake.object/out-balancer-api");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_in_a_half_made_cluster_that_goes() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &reached("small"), &mut store).await;
    let cluster = Address::new("fake.cluster", "main");
    cloud
        .things
        .lock()
        .unwrap()
        .insert(cluster, Thing::half_made("uid-1"));
    cloud.calls.lock().unwrap().clear();
    let (plan, _, warnings) = parting(&cloud, &store).await;
    assert!(matches!(
        reason(&plan, "fake.object/out-balancer-api"),
        Some(Reason::GoesWith(_))
    ));
    assert_eq!(*cloud.calls.lock().unwrap(), ["observe fake.cluster/main"]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn with_a_cluster_that_is_gone_all_that_lived_in_it_is_gone_without_a_question() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &reached("small"), &mut store).await;
    cloud.things.lock().unwrap().clear();
    cloud.calls.lock().unwrap().clear();
    let (plan, _, warnings) = parting(&cloud, &store).await;
    assert!(
        plan.steps.iter().all(|step| step.action == Action::Forget),
        "{plan:?}"
    );
    assert_eq!(*cloud.calls.lock().unwrap(), ["observe fake.cluster/main"]);
    assert_eq!(warnings, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_of_a_cluster_that_was_never_begun_is_forgotten() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    // Objects are announced together before the first call; then the run is killed.
    store.crash_after = Some(2);
    let (plan, refreshed) = planned(&cloud, &reached("small"), &store).await;
    let run = run_of(&cloud, Canceller::new().1);
    let loaded = store.loaded();
    let killed = execute(&run, Verb::Apply, &plan, refreshed, &mut store, loaded)
        .await
        .unwrap();
    assert!(killed.lost.is_some());
    store.crash_after = None;
    let known: Vec<String> = store
        .loaded()
        .snapshot
        .resources
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        known,
        ["fake.object/in-config-api", "fake.object/out-balancer-api"]
    );
    assert_eq!(go(&cloud, &[], &mut store).await.report.outcome, Outcome::Done);
    assert!(store.loaded().snapshot.resources.is_empty());
}

#[tokio::test(start_paused = true)]
async fn objects_of_a_cluster_that_was_only_not_ready_are_looked_at_and_not_made_again() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    go(&cloud, &reached("small"), &mut store).await;
    let cluster = Address::new("fake.cluster", "main");
    // It restarts: not ready at the first look, ready a little later.
    cloud
        .things
        .lock()
        .unwrap()
        .insert(cluster, Thing::starting("uid-1"));
    cloud.calls.lock().unwrap().clear();
    assert_eq!(
        go(&cloud, &reached("small"), &mut store).await.report.outcome,
        Outcome::Done
    );
    assert_eq!(cloud.writes(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_run_tells_which_need_released_each_step_last_and_its_critical_path_is_as_long_as_the_run() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    // Calls take no time here; pauses between them do.
    cloud.fails("create fake.cluster/main", Cause::Transient, 2, false);
    let report = go(&cloud, &stack("small"), &mut store).await.report;
    assert_eq!(report.timings.len(), 7);
    let after = |name: &str| {
        let timing = report.timings.iter().find(|timing| timing.address.name() == name);
        timing.unwrap().after.as_ref().map(ToString::to_string)
    };
    assert_eq!(after("network"), None);
    assert_eq!(after("main").unwrap(), "fake.thing/network");
    assert_eq!(after("in-namespace").unwrap(), "fake.cluster/main");
    for timing in &report.timings {
        assert!(timing.ready_ms <= timing.started_ms, "{timing:?}");
        assert!(timing.started_ms <= timing.applied_ms.unwrap(), "{timing:?}");
        assert!(timing.applied_ms.unwrap() <= timing.ended_ms, "{timing:?}");
    }
    let path = critical_path(&report.timings);
    let last = report.timings.iter().map(|timing| timing.ended_ms).max().unwrap();
    assert!(last > 200, "{last}");
    assert_eq!(path.iter().map(|link| link.took_ms).sum::<u64>(), last);
    assert_eq!(path[0].address.as_str(), "fake.thing/network");
}

#[tokio::test(start_paused = true)]
async fn a_plan_takes_as_long_as_its_longest_chain_of_what_is_made() {
    let (cloud, mut store) = (Arc::new(Cloud::default()), Memory::default());
    let registry = run_of(&cloud, Canceller::new().1).registry;
    let (plan, refreshed) = planned(&cloud, &stack("small"), &store).await;
    let time = expected(&plan, &refreshed, &registry);
    assert_eq!(time.total.as_secs(), 30 + 8 * 60);
    let path: Vec<(&str, u64)> = time
        .path
        .iter()
        .map(|link| (link.address.as_str(), link.took_ms))
        .collect();
    assert_eq!(
        path,
        [("fake.thing/network", 30_000), ("fake.cluster/main", 480_000)]
    );
    go(&cloud, &stack("small"), &mut store).await;
    let (plan, refreshed) = planned(&cloud, &stack("small"), &store).await;
    assert!(
        expected(&plan, &refreshed, &registry).total.is_zero(),
        "nothing is made"
    );
    let (plan, refreshed) = planned(&cloud, &[], &store).await;
    let time = expected(&plan, &refreshed, &registry);
    assert_eq!(time.total.as_secs(), 3 * 60, "the cluster's removal");
}
