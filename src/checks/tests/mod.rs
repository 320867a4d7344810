//! Each check is tried on a dump of a real kind cluster on which all hold, and on one in which its fact is not so.
//! `fixtures/good.json` is written by `scripts/reduce-dump` from what `stackup verify --dump` kept.

mod mutations;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use serde_json::{Value, json};

use super::{
    check::{Check, How},
    evidence::{Answer, Evidence},
    list,
    object::name,
    runner::{Answered, Ask, overdue, reads, run},
};
use crate::model::{CheckLevel, CheckState, VerifySummary};

pub(super) fn good() -> Evidence {
    static GOOD: LazyLock<Evidence> =
        LazyLock::new(|| serde_json::from_str(include_str!("../fixtures/good.json")).unwrap());
    GOOD.clone()
}

fn standard() -> Ask {
    Ask {
        level: Some(CheckLevel::Standard),
        ..Ask::default()
    }
}

/// The live objects of a kind, to be changed.
pub(super) fn all<'a>(e: &'a mut Evidence, kind: &str) -> &'a mut Vec<Value> {
    let objects = e.objects.get_mut(kind);
    Arc::make_mut(objects.unwrap_or_else(|| panic!("no {kind} in the fixture")))
}

/// A live object, to be changed.
pub(super) fn live<'a>(e: &'a mut Evidence, kind: &str, named: &str) -> &'a mut Value {
    let found = all(e, kind).iter_mut().find(|object| name(object) == named);
    found.unwrap_or_else(|| panic!("no {kind} {named} in the fixture"))
}

/// Sets one field of a live object; a missing parent is a mistake in the test.
pub(super) fn set(e: &mut Evidence, kind: &str, named: &str, pointer: &str, value: Value) {
    let object = live(e, kind, named);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = object
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{kind} {named} has no {parent}"));
    match parent {
        Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
        Value::Object(fields) => drop(fields.insert(key.replace("~1", "/"), value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            panic!("{pointer} is in no map")
        }
    }
}

/// Takes a live object away.
pub(super) fn remove(e: &mut Evidence, kind: &str, named: &str) {
    let objects = all(e, kind);
    let before = objects.len();
    objects.retain(|object| name(object) != named);
    assert!(objects.len() < before, "no {kind} {named} in the fixture");
}

/// Sets what the last pod of a component answered.
pub(super) fn answered(e: &mut Evidence, key: &str, status: u16, body: &str) {
    let answers = e
        .http
        .get_mut(key)
        .unwrap_or_else(|| panic!("no {key} in the fixture"));
    let body = body.to_owned();
    *answers.last_entry().unwrap().get_mut() = Answer::Response { status, body };
}

/// Changes the JSON that the last pod of a component answered.
pub(super) fn edited(e: &mut Evidence, key: &str, edit: impl FnOnce(&mut Value)) {
    let last = e.http[key].last_key_value().unwrap().0;
    let mut body = e.of_pod(last, &[key]).json(key).unwrap();
    let before = body.clone();
    edit(&mut body);
    assert_ne!(body, before, "nothing changed in {key}");
    answered(e, key, 200, &body.to_string());
}

#[test]
fn every_check_holds_on_the_good_dump() {
    let evidence = good();
    let wrong: Vec<_> = run(&standard(), &evidence)
        .into_iter()
        .map(|answered| answered.finding)
        .filter(|finding| finding.state != CheckState::Pass)
        .map(|finding| (finding.id, finding.state, finding.observed))
        .filter(|(id, _, _)| !mutations::NOT_IN_THE_FIXTURE.contains(&id.as_str()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_check_fails_where_its_fact_is_not_so() {
    let mut wrong = Vec::new();
    for (id, mutate) in mutations::ALL {
        let check = list::find(id).unwrap_or_else(|| panic!("no check {id}"));
        let mut evidence = good();
        mutate(&mut evidence);
        match check.decide(&evidence) {
            Ok(observed) => wrong.push(format!("{id} holds after its mutation: {observed}")),
            Err(miss) if miss.how == How::Skips => wrong.push(format!("{id} is skipped: {}", miss.observed)),
            Err(miss) if miss.observed.is_empty() || miss.expected.is_empty() => {
                wrong.push(format!("{id} says too little: {miss:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a check says of the good dump with a change in it, from what it reads alone.
fn judged(id: &'static str, change: impl FnOnce(&mut Evidence)) -> Result<(), How> {
    let mut evidence = good();
    change(&mut evidence);
    let check = list::find(id).unwrap();
    let read = |kind: &str| check.reads.contains(&kind);
    evidence.objects.retain(|kind, _| read(kind));
    check.decide(&evidence).map(drop).map_err(|miss| miss.how)
}

/// A pod of the shop as it is, and once more under another name and in another state.
fn second_pod(e: &mut Evidence, phase: &str, container: Value) {
    let pods = all(e, "Pod");
    let mut pod = pods
        .iter()
        .find(|pod| name(pod).starts_with("frontend-"))
        .unwrap()
        .clone();
    pod["metadata"]["name"] = json!("frontend-second");
    pod["status"]["phase"] = json!(phase);
    pod["status"]["containerStatuses"][0]["state"] = container;
    pods.push(pod);
}

#[test]
fn what_is_over_or_unused_is_no_fault() {
    let over = || json!({"terminated": {"exitCode": 137, "reason": "Error"}});
    let evicted = |e: &mut Evidence| second_pod(e, "Failed", over());
    assert_eq!(judged("inventory.pods", evicted), Ok(()));
    assert_eq!(judged("workloads.containers", evicted), Ok(()));
    let more = |e: &mut Evidence| second_pod(e, "Running", over());
    assert_eq!(judged("inventory.pods", more), Err(How::Fails));
    assert_eq!(judged("workloads.containers", more), Err(How::Fails));

    let claim = |e: &mut Evidence| {
        let claim = json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "monitoring"}, "status": {"phase": "Pending"}});
        let claims = e.objects.entry("PersistentVolumeClaim".into());
        Arc::make_mut(claims.or_default()).push(claim);
    };
    assert_eq!(judged("cluster.default-storageclass", claim), Ok(()));
    let mounted = |e: &mut Evidence| {
        claim(e);
        let pods = all(e, "Pod").iter_mut();
        let mut ours = pods.filter(|pod| pod["metadata"]["namespace"] == "monitoring");
        ours.next().unwrap()["spec"]["volumes"] = json!([{"persistentVolumeClaim": {"claimName": "c"}}]);
    };
    assert_eq!(judged("cluster.default-storageclass", mounted), Err(How::Fails));
}

/// Every component has a second pod that answers as the first one.
fn doubled() -> Evidence {
    let mut evidence = good();
    for (key, answers) in &mut evidence.http {
        if !key.starts_with("cluster:") {
            let (pod, answer) = answers.first_key_value().unwrap();
            let (set, _) = pod.rsplit_once('-').unwrap();
            // What a pod says of itself is its own.
            let other = serde_json::to_string(answer)
                .unwrap()
                .replace(pod.rsplit('/').next().unwrap(), &other(set));
            let answer = serde_json::from_str(&other).unwrap();
            answers.insert(format!("{set}-second"), answer);
        }
    }
    evidence
}

/// The name of the second pod.
fn other(set: &str) -> String {
    format!("{}-second", set.rsplit('/').next().unwrap())
}

#[test]
fn what_one_pod_answers_stands_for_no_other() {
    let asks = |check: &Check| {
        check
            .reads
            .iter()
            .any(|read| read.contains(':') && !read.starts_with("cluster:"))
    };
    let mut wrong = Vec::new();
    for (id, mutate) in mutations::ALL {
        let check = list::find(id).unwrap();
        if !asks(check) {
            continue;
        }
        match check.decide(&doubled()) {
            Ok(observed) if observed.ends_with("of 2 pods)") => {}
            other => wrong.push(format!("{id} of two good pods: {other:?}")),
        }
        // A mutation changes what the second one answers.
        let mut evidence = doubled();
        mutate(&mut evidence);
        match check.decide(&evidence) {
            Err(miss) if miss.observed.contains("-second: ") => {}
            other => wrong.push(format!("{id} of a good pod and another: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pods_of_one_stateful_set_have_loaded_the_same() {
    let differs = |id: &'static str, change: &dyn Fn(&mut Evidence)| {
        let mut evidence = doubled();
        change(&mut evidence);
        let miss = list::find(id).unwrap().decide(&evidence).unwrap_err();
        assert_eq!(
            (miss.how, miss.expected.as_str()),
            (How::Fails, "the same of every pod"),
            "{id}"
        );
        assert!(
            miss.observed.contains("-0: ") && miss.observed.contains("-second: "),
            "{}",
            miss.observed
        );
    };
    differs("wiring.config-loaded", &|e| {
        edited(e, "prometheus:/api/v1/status/config", |answer| {
            let config = format!(
                "{}\n  scrape_interval: 5m",
                answer["data"]["yaml"].as_str().unwrap()
            );
            answer["data"]["yaml"] = json!(config);
        });
    });
    differs("rules.loaded", &|e| {
        edited(e, "prometheus:/api/v1/rules", |answer| {
            answer["data"]["groups"][0]["rules"][0]["query"] = json!("up == 0");
        });
    });
    differs("am.receivers", &|e| {
        edited(e, "alertmanager:/api/v2/status", |answer| {
            answer["config"]["original"] = json!("route: {}");
        });
    });
}

#[test]
fn a_pod_that_is_not_there_is_missed() {
    let prometheus = "prometheus-monitoring-kube-prometheus-prometheus";
    let observed = |id: &'static str, change: &dyn Fn(&mut Evidence)| {
        let mut evidence = good();
        change(&mut evidence);
        list::find(id).unwrap().decide(&evidence).unwrap_err().observed
    };
    let said = observed("prom.pod", &|e| {
        set(e, "StatefulSet", prometheus, "/spec/replicas", json!(2));
    });
    assert!(said.contains("has 1 of 2 pods"), "{said}");
    let said = observed("prom.statefulset", &|e| {
        set(
            e,
            "Prometheus",
            "monitoring-kube-prometheus-prometheus",
            "/spec/replicas",
            json!(2),
        );
    });
    assert!(said.contains("has spec.replicas 1"), "{said}");
}

#[test]
fn a_certificate_that_the_api_server_will_not_take_is_told_with_its_date_and_name() {
    let run = |change: &dyn Fn(&mut Evidence)| {
        let mut evidence = good();
        change(&mut evidence);
        list::find("operator.webhook-ca").unwrap().decide(&evidence)
    };
    let at = |moment: &'static str| run(&move |e: &mut Evidence| e.at = moment.parse().unwrap());
    let host = "monitoring-kube-prometheus-operator.monitoring.svc";
    let seen = at("2027-11-15T23:00:00Z").unwrap();
    assert!(
        seen.contains(host) && seen.contains("until 2027-11-23T00:00:00Z"),
        "{seen}"
    );
    for (moment, how, told) in [
        (
            "2027-11-16T01:00:00Z",
            How::Warns,
            "expires at 2027-11-23T00:00:00Z",
        ),
        (
            "2027-11-23T01:00:00Z",
            How::Fails,
            "expired at 2027-11-23T00:00:00Z",
        ),
        (
            "2026-11-21T00:00:00Z",
            How::Fails,
            "not valid before 2026-11-22T00:00:00Z",
        ),
    ] {
        let miss = at(moment).unwrap_err();
        assert_eq!(miss.how, how, "{miss:?}");
        assert!(
            miss.observed.contains(told) && miss.expected.contains(host),
            "{miss:?}"
        );
    }
    let webhook = "monitoring-kube-prometheus-admission";
    let other = run(&|e| {
        set(
            e,
            "MutatingWebhookConfiguration",
            webhook,
            "/webhooks/0/clientConfig/service/name",
            json!("other"),
        );
    });
    let other = other.unwrap_err();
    assert!(
        other
            .observed
            .contains("not for other.monitoring.svc, only for: monitoring-kube"),
        "{other:?}"
    );
    let masked = run(&|e| set(e, "Secret", webhook, "/data/cert", json!("")));
    assert!(
        masked
            .unwrap_err()
            .observed
            .contains("no certificate under 'cert'")
    );

    // It still holds, so that nothing waits for it and a verification succeeds.
    let mut evidence = good();
    evidence.at = "2027-11-20T00:00:00Z".parse().unwrap();
    let ask = Ask {
        only: vec!["operator.webhook-ca".into()],
        ..standard()
    };
    let [answered] = super::run(&ask, &evidence).try_into().unwrap();
    assert_eq!(answered.finding.state, CheckState::Warn);
    assert!(answered.settled());
}

#[test]
fn a_dashboard_that_grafana_does_not_show_is_named_whatever_else_it_shows() {
    let shows = |shown: &[(&str, &str)], change: &dyn Fn(&mut Evidence)| {
        let shown = shown
            .iter()
            .map(|(uid, title)| json!({"uid": uid, "title": title}));
        let mut evidence = good();
        answered(
            &mut evidence,
            "grafana:/api/search?type=dash-db",
            200,
            &shown.collect::<Value>().to_string(),
        );
        change(&mut evidence);
        list::find("grafana.dashboards").unwrap().decide(&evidence)
    };
    let mut all = [
        ("stackup-cluster", "a"),
        ("stackup-nodes", "b"),
        ("stackup-online-boutique", "c"),
        ("stackup-workloads", "d"),
        ("someone-elses", "Nodes"),
    ];
    assert_eq!(shows(&all, &|_| {}), Ok("4 dashboards".to_owned()));
    all[1].0 = "other";
    let missing = shows(&all, &|_| {}).unwrap_err();
    assert_eq!(
        missing.observed,
        "no dashboard with uid stackup-nodes (nodes.json of ConfigMap monitoring/monitoring-dashboard-nodes)"
    );
    let file = |text: &'static str| {
        move |e: &mut Evidence| {
            mutations::wanted(e, "ConfigMap", "monitoring-dashboard-nodes")["data"]["nodes.json"] =
                json!(text);
        }
    };
    assert_eq!(
        shows(&all, &file(r#"{"title": "Nodes"}"#)),
        Ok("4 dashboards".to_owned())
    );
    let missing = shows(&all, &file(r#"{"title": "Disks"}"#)).unwrap_err();
    assert!(
        missing.observed.starts_with("no dashboard with title Disks"),
        "{missing:?}"
    );
    let missing = shows(&all, &file("{")).unwrap_err();
    assert!(missing.observed.contains("is no dashboard"), "{missing:?}");
}

#[test]
fn every_ready_pod_is_asked_and_one_that_is_not_only_where_none_is() {
    let first = "prometheus-monitoring-kube-prometheus-prometheus-0";
    let asked = |e: &Evidence| {
        let all = super::places(e).remove("prometheus-reloader").unwrap();
        all.into_iter().map(|place| place.pod).collect::<Vec<_>>()
    };
    let mut evidence = good();
    let mut second = live(&mut evidence, "Pod", first).clone();
    second["metadata"]["name"] = json!("second");
    all(&mut evidence, "Pod").push(second);
    assert_eq!(asked(&evidence), [first, "second"]);
    let unready = |e: &mut Evidence, pod: &str| mutations::condition(e, "Pod", pod, "Ready", "False");
    unready(&mut evidence, first);
    assert_eq!(asked(&evidence), ["second"]);
    unready(&mut evidence, "second");
    assert_eq!(asked(&evidence), [first]);
}

#[test]
fn what_was_not_seen_does_not_hold() {
    let nothing = |metric: &'static str| move |e: &mut Evidence| mutations::samples_of(e, metric, Vec::clear);
    assert_eq!(
        judged("operator.syncs", nothing("prometheus_operator_syncs")),
        Err(How::Waits)
    );
    assert_eq!(
        judged(
            "operator.rejected",
            nothing("prometheus_operator_managed_resources")
        ),
        Err(How::Waits)
    );
    let unseen = |e: &mut Evidence| {
        for rule in all(e, "PrometheusRule") {
            rule["metadata"]["annotations"] = json!({});
        }
    };
    assert_eq!(judged("operator.webhook-stamp", unseen), Err(How::Skips));
    // Once the time is over, what is still not known fails where it would be an error.
    let mut evidence = good();
    nothing("prometheus_operator_ready")(&mut evidence);
    let mut answered = run(&standard(), &evidence);
    let state = |answered: &[Answered]| {
        let mut all = answered.iter().map(|one| &one.finding);
        all.find(|finding| finding.id == "operator.ready").unwrap().state
    };
    assert_eq!(state(&answered), CheckState::Warn);
    overdue(&mut answered);
    assert_eq!(state(&answered), CheckState::Fail);
}

#[test]
fn every_check_has_a_mutation_in_which_it_fails() {
    let tried: BTreeSet<&str> = mutations::ALL.iter().map(|(id, _)| *id).collect();
    let known: BTreeSet<&str> = list::all().map(|check| check.id).collect();
    assert_eq!(tried, known);
}

#[test]
fn what_checks_need_is_there_earlier_and_without_a_circle() {
    let all: Vec<_> = list::all().collect();
    let ids: BTreeSet<&str> = all.iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), all.len(), "two checks of one id");
    for check in &all {
        let mut open = check.needs.to_vec();
        let mut seen = BTreeSet::new();
        while let Some(need) = open.pop() {
            let found =
                list::find(need).unwrap_or_else(|| panic!("{} needs {need}, which is no check", check.id));
            assert!(found.level <= check.level, "{} needs the deeper {need}", check.id);
            assert_ne!(found.id, check.id, "{} needs itself", check.id);
            if seen.insert(need) {
                open.extend(found.needs);
            }
        }
        let asks: BTreeSet<&str> = check
            .reads
            .iter()
            .filter_map(|read| Some(read.split_once(':')?.0))
            .collect();
        assert!(
            asks.len() < 2,
            "{} asks several components: each of their pods alone has no answer for it",
            check.id
        );
        for read in check.reads {
            assert!(
                read.contains(':') || super::kind(read).is_some(),
                "{} reads unknown {read}",
                check.id
            );
            assert!(
                !read.contains(':') || read.starts_with("cluster:") || check.level >= CheckLevel::Standard,
                "{} is quick and asks a component",
                check.id
            );
        }
    }
}

/// Else a check would fail for what nobody collected, as soon as it is asked alone or again.
#[test]
fn a_check_reads_only_what_it_says() {
    let full = good();
    let mut wrong = Vec::new();
    for check in list::all() {
        let mut alone = full.clone();
        alone
            .objects
            .retain(|kind, _| check.reads.contains(&kind.as_str()));
        alone.http.retain(|key, _| check.reads.contains(&key.as_str()));
        let (lone, full) = (check.decide(&alone), check.decide(&full));
        if lone != full {
            wrong.push(format!("{}: {lone:?} instead of {full:?}", check.id));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn one_cause_shows_as_one_failure_and_blocked_lines() {
    let mut evidence = good();
    let prometheus = "prometheus-monitoring-kube-prometheus-prometheus-0";
    set(
        &mut evidence,
        "Pod",
        prometheus,
        "/status/containerStatuses",
        json!([]),
    );
    let found = run(&standard(), &evidence);
    let failed: Vec<&str> = found
        .iter()
        .filter(|one| one.finding.state == CheckState::Fail)
        .map(|one| one.finding.id.as_str())
        .collect();
    assert_eq!(failed, ["prom.pod"]);
    let targets = found
        .iter()
        .find(|one| one.finding.id == "targets.kubelet")
        .unwrap();
    assert_eq!(
        (targets.finding.state, targets.finding.blocked_by.as_deref()),
        (CheckState::Blocked, Some("prom.pod"))
    );
    assert!(!targets.settled());
}

#[test]
fn what_held_is_not_asked_again_and_what_did_not_is() {
    let mut evidence = good();
    answered(&mut evidence, "alertmanager:/-/ready", 503, "starting");
    let ask = standard();
    let first = run(&ask, &evidence);
    assert!(first.iter().any(|one| one.finding.state == CheckState::Fail));
    let again = Ask { before: first, ..ask };
    let needed = reads(&again, false);
    assert!(needed.contains("alertmanager:/-/ready"), "{needed:?}");
    assert!(
        needed.iter().all(|read| read.starts_with("alertmanager:")),
        "{needed:?}"
    );
    // What held stays so, whatever the evidence says now: only the rest is decided anew.
    evidence.objects.remove("StatefulSet");
    answered(&mut evidence, "alertmanager:/-/ready", 200, "OK");
    let findings: Vec<_> = run(&again, &evidence)
        .into_iter()
        .map(|one| one.finding)
        .collect();
    assert!(VerifySummary::of(&findings).holds(), "{findings:#?}");
}

#[test]
fn a_simulated_cluster_is_asked_only_what_means_something_there() {
    let mut evidence = good();
    evidence.simulated = true;
    evidence.http.retain(|key, _| key.starts_with("cluster:"));
    let needed = reads(&standard(), true);
    assert!(
        needed
            .iter()
            .all(|read| !read.contains(':') || read.starts_with("cluster:")),
        "{needed:?}"
    );
    let found = run(&standard(), &evidence);
    let state = |id: &str| {
        found
            .iter()
            .find(|one| one.finding.id == id)
            .unwrap()
            .finding
            .clone()
    };
    assert_eq!(state("prom.args").state, CheckState::Pass);
    assert_eq!(state("prom.ready").state, CheckState::Skip);
    assert!(state("targets.kubelet").observed.contains("simulated"));
}

#[test]
fn a_missing_right_skips_what_needs_it_and_names_it() {
    let mut evidence = good();
    evidence.refused = ["Secret".to_owned(), "pods/portforward".to_owned()].into();
    let found = run(&standard(), &evidence);
    let of = |id: &str| {
        found
            .iter()
            .find(|one| one.finding.id == id)
            .unwrap()
            .finding
            .clone()
    };
    assert_eq!(of("inventory.secrets").state, CheckState::Skip);
    assert!(of("inventory.secrets").observed.contains("Secret"));
    assert!(of("prom.ready").observed.contains("pods/portforward"));
    assert_eq!(of("nodes.ready").state, CheckState::Pass);
    let findings: Vec<_> = found.into_iter().map(|one| one.finding).collect();
    assert!(VerifySummary::of(&findings).holds());
}

#[test]
fn rules_that_were_not_evaluated_yet_are_waited_for_and_fail_nothing() {
    let mut evidence = good();
    edited(&mut evidence, "prometheus:/api/v1/rules", |answer| {
        answer["data"]["groups"][0]["rules"][0]["health"] = json!("unknown");
    });
    let ask = Ask {
        only: vec!["rules.health".into()],
        ..standard()
    };
    let [answered] = run(&ask, &evidence).try_into().unwrap();
    assert_eq!(answered.finding.state, CheckState::Warn);
    assert!(answered.pending && !answered.settled());
}

#[test]
fn a_stack_without_monitoring_or_shop_is_asked_about_its_cluster_only() {
    let mut evidence = good();
    evidence.applied = Arc::default();
    let findings: Vec<_> = run(&standard(), &evidence)
        .into_iter()
        .map(|one| one.finding)
        .collect();
    assert!(VerifySummary::of(&findings).holds(), "{findings:#?}");
    let passed = |area: &str| {
        findings
            .iter()
            .any(|finding| finding.area == area && finding.state == CheckState::Pass)
    };
    assert!(passed("cluster") && passed("nodes") && !passed("prom") && !passed("demo") && !passed("targets"));
}

#[test]
fn the_roles_are_as_small_as_what_is_asked() {
    let namespaces = ["monitoring".to_owned()].into();
    let quick = reads(
        &Ask {
            only: vec!["nodes".into()],
            ..Ask::default()
        },
        false,
    );
    let role = super::role(&quick, &namespaces);
    assert!(
        role.contains("resources: [nodes, pods]") && !role.contains("secrets"),
        "{role}"
    );
    let standard = super::role(&reads(&standard(), false), &namespaces);
    assert!(
        standard.contains("resources: [pods/portforward], verbs: [get, create]")
            && standard.contains("namespace: monitoring"),
        "{standard}"
    );
    for document in standard.split("---\n") {
        let parsed: Value = serde_saphyr::from_str(document).unwrap();
        assert!(
            parsed["rules"].as_array().is_some_and(|rules| !rules.is_empty()),
            "{document}"
        );
    }
}

#[test]
fn a_dump_reads_back_as_it_was_written() {
    let evidence = good();
    let text = serde_json::to_string(&evidence).unwrap();
    assert_eq!(serde_json::from_str::<Evidence>(&text).unwrap(), evidence);
    assert!(!text.contains("PRIVATE KEY"));
}
