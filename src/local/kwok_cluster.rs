use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Local, LocalError,
    cluster::{self, Cluster, Differences, HALF_MADE, KUBECONFIG, is_version},
    files,
    kind_health::node_ready,
    kwokctl::{PROGRAMS, Place, WORKER, context, options, version, write_kubeconfig},
    process::Process,
    room::owner,
};
use crate::{
    model::{Address, KwokModel},
    resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed},
};

/// A control plane of real processes, with nodes and pods that kwok simulates.
pub(crate) struct KwokCluster;

/// Says whose the files and processes are; written before anything is made.
#[derive(Serialize, Deserialize)]
struct Mark {
    uid: String,
    kubernetes: String,
}

impl Resource for KwokCluster {
    const KIND: &'static str = "kwok.cluster";
    const DOCUMENTATION: &'static str = "A real etcd, API server, controller manager and scheduler as processes, made \
        by kwokctl; nodes and pods are simulated, no container runs. Everything lies in the stack's data folder.\n\
        workers: how many simulated worker nodes.\n\
        kubernetes: the version; it must be that of the programs that are found.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 1,
        expected: Some(Duration::from_secs(6)),
        removal: Some(Duration::from_secs(1)),
        deadline: Duration::from_mins(2),
        settles: Duration::ZERO,
        paced: false,
        pins: false,
    };

    type Cloud = Local;
    type Inputs = KwokModel;
    type Outputs = Cluster;

    fn identity(stack: &Stack, address: &Address) -> Value {
        cluster::identity(stack, address, &stack.name)
    }

    fn diff(inputs: &KwokModel, outputs: &Cluster) -> Change {
        let mut change = outputs.repairs();
        if let Some(workers) = outputs.workers.filter(|&workers| workers != inputs.workers) {
            change.differs("workers", json!(workers), json!(inputs.workers));
        }
        if let (Some(found), Some(wanted)) = (&outputs.kubernetes, &inputs.kubernetes)
            && !is_version(found, wanted)
        {
            change.force("kubernetes", json!(found), json!(wanted));
        }
        change
    }

    async fn observe(
        local: &Local,
        targets: &[Typed<'_, KwokModel>],
    ) -> Vec<Result<Option<Seen<Cluster>>, ResourceError>> {
        futures::future::join_all(targets.iter().map(|typed| look(local, typed.target))).await
    }

    async fn create(
        local: &Local,
        target: &Target,
        inputs: &KwokModel,
    ) -> Result<Option<String>, ResourceError> {
        let place = Place::of(local, target)?;
        local.programs().require(&PROGRAMS)?;
        let kubernetes = version(local).await?;
        if let Some(wanted) = inputs
            .kubernetes
            .as_deref()
            .filter(|wanted| !is_version(&kubernetes, wanted))
        {
            return Err(LocalError::OtherVersion {
                wanted: wanted.to_owned(),
                found: kubernetes,
            }
            .into());
        }
        let uid = target.stack.uid.clone();
        let options = options(local, &kubernetes)?;
        files::write_json(&place.mark(), &Mark { uid, kubernetes })?;
        files::write_json(&place.options(), &options)?;
        let call = place
            .kwokctl(local)?
            .owner(&owner(target))
            .args(["create", "cluster", "--config"]);
        let call = call
            .arg(place.options())
            .args(["--kubeconfig"])
            .arg(place.their_kubeconfig());
        call.run_logged(&local.log("kwokctl")?).await?;
        finish(local, target, &place, inputs.workers).await?;
        Ok(None)
    }

    async fn update(local: &Local, target: &Target, inputs: &KwokModel) -> Result<(), ResourceError> {
        let place = Place::of(local, target)?;
        cluster::not_yet_whole(!at_work(target)?.is_empty(), !place.whole())?;
        start_stopped(local, target, &place).await?;
        Ok(finish(local, target, &place, inputs.workers).await?)
    }

    async fn delete(local: &Local, target: &Target) -> Result<(), ResourceError> {
        let place = Place::of(local, target)?;
        // A create of an interrupted run may still be at work, and would start what is stopped here.
        for process in at_work(target)? {
            process.signal(Signal::KILL)?;
        }
        if place.whole() && local.programs().find("kwokctl").is_ok() {
            place.forget_dead()?;
            let call = place.kwokctl(local)?.args(["delete", "cluster", "--kubeconfig"]);
            call.arg(place.their_kubeconfig()).run().await?;
        }
        for process in place.processes()? {
            process.signal(Signal::KILL)?;
        }
        cluster::forget_kubeconfig(local, &context(&place.name))?;
        // The mark goes last: as long as it is there, the cluster counts as there.
        files::remove(&place.folder.join("clusters"))?;
        files::remove(&place.folder)?;
        Ok(())
    }

    async fn diagnose(local: &Local, target: &Target) -> Vec<String> {
        let Ok(place) = Place::of(local, target) else {
            return Vec::new();
        };
        let stopped = place.stopped().unwrap_or_default();
        let logs = stopped.iter().flat_map(|component| {
            let log = place.cluster.join("logs").join(format!("{component}.log"));
            let lines = files::last_lines(&log, 3);
            lines.into_iter().map(move |line| format!("{component}: {line}"))
        });
        let own = local.path("logs/kwokctl.log");
        logs.chain(
            files::last_lines(&own, 5)
                .into_iter()
                .map(|line| format!("kwokctl: {line}")),
        )
        .collect()
    }
}

/// What is left to do once everything was started.
async fn finish(local: &Local, target: &Target, place: &Place, workers: u32) -> Result<(), LocalError> {
    write_kubeconfig(local, place)?;
    place.scale(local, workers).await?;
    // The controller manager waits 10 s for the API server and then ends; on a busy machine that is not long enough.
    // Now that the API server has answered, a second start is all that it needs.
    start_stopped(local, target, place).await
}

async fn start_stopped(local: &Local, target: &Target, place: &Place) -> Result<(), LocalError> {
    if place.stopped()?.is_empty() {
        return Ok(());
    }
    place.forget_dead()?;
    let call = place
        .kwokctl(local)?
        .owner(&owner(target))
        .args(["start", "cluster"]);
    call.run_logged(&local.log("kwokctl")?).await
}

async fn look(local: &Local, target: &Target) -> Result<Option<Seen<Cluster>>, ResourceError> {
    let place = Place::of(local, target)?;
    let mark: Option<Mark> = files::read_json(&place.mark())?;
    if mark.is_none() && !place.cluster.exists() && place.processes()?.is_empty() {
        return Ok(None);
    }
    let mut outputs = Cluster {
        kubeconfig: KUBECONFIG.to_owned(),
        context: context(&place.name),
        profile: "kwok".to_owned(),
        ephemeral: true,
        simulated: true,
        kubernetes: mark.as_ref().map(|mark| mark.kubernetes.clone()),
        ..Cluster::default()
    };
    let foreign = mark
        .is_none_or(|mark| mark.uid != target.stack.uid)
        .then(|| {
            format!(
                "another stack, or this one before its state was lost ({}); to give it up: stop its processes and remove that folder",
                place.folder.display()
            )
        });
    let readiness = if foreign.is_some() {
        Readiness::Failed("it is not ours".to_owned())
    } else if at_work(target)?.is_empty() {
        readiness(local, &place, &mut outputs).await?
    } else {
        outputs.in_the_making = true;
        Readiness::NotYet("kwokctl of an interrupted run is still at work".to_owned())
    };
    Ok(Some(Seen {
        id: None,
        outputs,
        readiness,
        foreign,
    }))
}

async fn readiness(local: &Local, place: &Place, outputs: &mut Cluster) -> Result<Readiness, LocalError> {
    if !place.whole() {
        return Ok(outputs.break_for(HALF_MADE));
    }
    outputs.stopped = place.stopped()?;
    outputs.with_kubeconfig(local);
    if !outputs.stopped.is_empty() {
        return Ok(Readiness::Failed(format!(
            "stopped: {}",
            outputs.stopped.join(", ")
        )));
    }
    let nodes = format!("/api/v1/nodes?labelSelector=kwok.x-k8s.io/kwokctl-scale={WORKER}");
    let (ready, nodes) = tokio::join!(place.get(local, "/readyz"), place.get(local, &nodes));
    for answer in [ready?, nodes?] {
        if !answer.status.success() {
            let why = answer
                .stderr
                .lines()
                .last()
                .unwrap_or("no answer")
                .trim()
                .to_owned();
            return Ok(Readiness::NotYet(format!("the API server: {why}")));
        }
        if let Ok(list) = answer.json::<Value>() {
            let nodes = list
                .get("items")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            outputs.workers = u32::try_from(nodes.len()).ok();
            let waiting = nodes.iter().filter(|node| !node_ready(node)).count();
            if waiting > 0 {
                return Ok(Readiness::NotYet(format!(
                    "{waiting} of {} nodes are not Ready",
                    nodes.len()
                )));
            }
        }
    }
    Ok(Readiness::Ready)
}

/// The processes of kwokctl that an earlier run of ours started for this cluster and that still run.
fn at_work(target: &Target) -> Result<Vec<Process>, LocalError> {
    let mut processes = Process::marked(&owner(target))?;
    processes.retain(|process| process.name() == "kwokctl");
    Ok(processes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{room::kinds, test},
        *,
    };
    use crate::resource::Kind;

    fn kind(local: &Arc<Local>) -> Arc<dyn Kind> {
        let kinds = kinds(local);
        Arc::clone(
            kinds
                .iter()
                .find(|kind| kind.name() == KwokCluster::KIND)
                .unwrap(),
        )
    }

    fn inputs(workers: u32) -> Value {
        json!({"workers": workers, "kubernetes": null})
    }

    #[tokio::test]
    async fn without_programs_all_of_them_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::new(folder.path().to_owned(), super::super::ProgramPaths::default());
        let kind = kind(&Arc::new(local));
        let target = test::target(&*kind, "none", inputs(1));
        assert!(test::observe(&*kind, &target).await.unwrap().is_none());
        let error = kind.create(&target).await.unwrap_err();
        assert!(
            PROGRAMS.iter().all(|name| error.message.contains(name)),
            "{error}"
        );
        assert!(error.hint.unwrap().contains("scripts/control-plane"));
        assert!(test::observe(&*kind, &target).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_another_stack_made_here_is_foreign_and_what_was_interrupted_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let kind = kind(&Arc::new(test::local(folder.path())));
        let target = test::target(&*kind, "half", inputs(1));
        std::fs::create_dir_all(folder.path().join("kwok/clusters/half")).unwrap();
        let live = test::observe(&*kind, &target).await.unwrap().unwrap();
        assert!(live.foreign.is_some());
        let mark = folder.path().join("kwok/stackup.json");
        std::fs::write(
            mark,
            json!({"uid": test::uid("half"), "kubernetes": "v1.34.4"}).to_string(),
        )
        .unwrap();
        let live = test::observe(&*kind, &target).await.unwrap().unwrap();
        assert!(live.foreign.is_none());
        assert_eq!(live.forces, ["created"]);
        kind.delete(&target).await.unwrap();
        assert!(test::observe(&*kind, &target).await.unwrap().is_none());
        assert!(!folder.path().join("kwok").exists());
    }

    #[test]
    fn more_workers_are_added_in_place_and_another_version_replaces() {
        let outputs = Cluster {
            workers: Some(1),
            kubernetes: Some("v1.34.4".into()),
            ..Cluster::default()
        };
        let model = |workers, kubernetes: &str| KwokModel {
            workers,
            kubernetes: Some(kubernetes.to_owned()),
        };
        assert_eq!(KwokCluster::diff(&model(1, "1.34"), &outputs), Change::default());
        let more = KwokCluster::diff(&model(2, "1.34"), &outputs);
        assert_eq!((more.fields[0].path.as_str(), more.forces.len()), ("workers", 0));
        assert_eq!(
            KwokCluster::diff(&model(1, "1.35"), &outputs).forces,
            ["kubernetes"]
        );
    }

    #[tokio::test]
    async fn a_create_that_was_cut_off_is_taken_up_or_made_anew() {
        if test::control_plane().is_none() {
            eprintln!("skipped: STACKUP_CONTROL_PLANE is not set");
            return;
        }
        // Left alone, kwokctl goes on without us; killed, it leaves whatever it had come to.
        for (after, killed) in [(0, false), (0, true), (200, true), (1500, true)] {
            let folder = tempfile::tempdir().unwrap();
            let local = Arc::new(test::local(folder.path()));
            let kind = kind(&local);
            let target = test::target(&*kind, "live-cut-off", inputs(1));
            let _ends = test::Ends(folder.path().to_owned(), vec![target.clone()]);
            let begun = async {
                while at_work(&target).unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                tokio::time::sleep(Duration::from_millis(after)).await;
            };
            tokio::select! {
                made = kind.create(&target) => panic!("it was made within {after} ms: {made:?}"),
                () = begun => {}
            }
            if killed {
                for process in at_work(&target).unwrap() {
                    process.signal(Signal::KILL).unwrap();
                }
            } else {
                let live = test::observe(&*kind, &target).await.unwrap().unwrap();
                assert!(matches!(live.readiness, Readiness::NotYet(_)));
                assert!(kind.update(&target).await.unwrap_err().again());
            }
            let idle = |live: Option<&crate::resource::Live>| {
                live.is_none_or(|live| !live.outputs["inTheMaking"].as_bool().unwrap_or(false))
            };
            match test::until(&*kind, &target, idle).await {
                None => drop(kind.create(&target).await.unwrap()),
                Some(live) if live.forces.is_empty() => drop(kind.update(&target).await.unwrap()),
                Some(_) => {
                    kind.delete(&target).await.unwrap();
                    test::until(&*kind, &target, |live| live.is_none()).await;
                    kind.create(&target).await.unwrap();
                }
            }
            test::until(&*kind, &target, test::ready).await;
            kind.delete(&target).await.unwrap();
            test::until(&*kind, &target, |live| live.is_none()).await;
        }
    }

    #[tokio::test]
    async fn a_real_cluster_is_made_scaled_restarted_and_leaves_nothing() {
        if test::control_plane().is_none() {
            eprintln!("skipped: STACKUP_CONTROL_PLANE is not set");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(test::local(folder.path()));
        let kind = kind(&local);
        let target = test::target(&*kind, "live-kwok", inputs(1));
        let _ends = test::Ends(folder.path().to_owned(), vec![target.clone()]);
        kind.create(&target).await.unwrap();
        let live = test::until(&*kind, &target, test::ready).await.unwrap();
        assert!(
            live.outputs["server"]
                .as_str()
                .unwrap()
                .starts_with("https://127.0.0.1:")
        );
        assert!(
            !folder.path().join("home").exists(),
            "kwokctl wrote to the user's home"
        );

        let two = test::target(&*kind, "live-kwok", inputs(2));
        let live = test::observe(&*kind, &two).await.unwrap().unwrap();
        assert_eq!(live.changes[0].path, "workers");
        kind.update(&two).await.unwrap();
        test::until(&*kind, &two, test::ready).await;
        kind.update(&target).await.unwrap();
        test::until(&*kind, &target, test::ready).await;

        let place = Place::of(&local, &target).unwrap();
        for process in place.processes().unwrap() {
            process.signal(Signal::KILL).unwrap();
        }
        let stopped = test::until(&*kind, &target, |live| {
            live.is_some_and(|live| live.changes.len() == 5)
        })
        .await
        .unwrap();
        assert!(stopped.forces.is_empty());
        kind.update(&target).await.unwrap();
        test::until(&*kind, &target, test::ready).await;

        // One that ended at its start while the API server was not yet well is started again by the same call.
        let processes = place.processes().unwrap();
        let manager = processes
            .iter()
            .find(|process| process.name() == "kube-controller-manager");
        manager.unwrap().signal(Signal::KILL).unwrap();
        while place.stopped().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        finish(&local, &target, &place, 1).await.unwrap();
        assert_eq!(place.stopped().unwrap(), [""; 0]);
        test::until(&*kind, &target, test::ready).await;

        kind.delete(&target).await.unwrap();
        test::until(&*kind, &target, |live| live.is_none()).await;
        assert!(place.processes().unwrap().is_empty());
        assert!(!folder.path().join("kwok").exists() && !local.kubeconfig().exists());
    }
}
