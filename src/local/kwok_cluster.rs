use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Answer, Call, Kubeconfig, Local, LocalError,
    cluster::{self, Cluster, Differences, KUBECONFIG, is_version},
    files,
    process::Process,
    room::owner,
};
use crate::{
    model::{Address, KwokModel},
    resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed},
};

/// The programs of a control plane.
const PROGRAMS: [&str; 7] = [
    "kwokctl",
    "kwok",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
];

/// What runs in a cluster, as kwokctl names it.
const COMPONENTS: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok-controller",
];

/// The prefix of worker names, and what kwokctl labels them with.
const WORKER: &str = "worker";

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
        deadline: Duration::from_mins(2),
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
        write_kubeconfig(local, &place)?;
        place.scale(local, inputs.workers).await?;
        Ok(None)
    }

    async fn update(local: &Local, target: &Target, inputs: &KwokModel) -> Result<(), ResourceError> {
        let place = Place::of(local, target)?;
        if !place.stopped()?.is_empty() {
            place.forget_dead()?;
            let call = place
                .kwokctl(local)?
                .owner(&owner(target))
                .args(["start", "cluster"]);
            call.run_logged(&local.log("kwokctl")?).await?;
        }
        write_kubeconfig(local, &place)?;
        Ok(place.scale(local, inputs.workers).await?)
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

/// Where a cluster keeps everything.
struct Place {
    /// `kwok/` in the data folder: kwokctl's work folder, and its home.
    folder: PathBuf,
    /// The cluster's own folder in it.
    cluster: PathBuf,
    name: String,
}

impl Place {
    fn of(local: &Local, target: &Target) -> Result<Self, LocalError> {
        let name = cluster::name(target)?.to_owned();
        let folder = local.path("kwok");
        Ok(Self {
            cluster: folder.join("clusters").join(&name),
            folder,
            name,
        })
    }

    fn mark(&self) -> PathBuf {
        self.folder.join("stackup.json")
    }

    fn options(&self) -> PathBuf {
        self.folder.join("options.json")
    }

    /// Where kwokctl writes its entry, so that it leaves the user's file alone; ours is made from the cluster's own.
    fn their_kubeconfig(&self) -> PathBuf {
        self.folder.join(KUBECONFIG)
    }

    /// Whether kwokctl has finished writing it: without either file it could not be started again.
    fn whole(&self) -> bool {
        self.cluster.join("kwok.yaml").exists() && self.cluster.join("kubeconfig.yaml").exists()
    }

    fn processes(&self) -> Result<Vec<Process>, LocalError> {
        Process::from_folder(&self.cluster.join("bin"))
    }

    fn stopped(&self) -> Result<Vec<String>, LocalError> {
        let processes = self.processes()?;
        let runs = |name: &str| processes.iter().any(|process| process.name() == name);
        Ok(COMPONENTS
            .iter()
            .filter(|name| !runs(name))
            .map(|&name| name.to_owned())
            .collect())
    }

    /// Removes the notes of processes that are gone. After a restart of the machine their ids may be someone else's,
    /// and kwokctl would take those for its own: it would not start, and stop the wrong ones.
    fn forget_dead(&self) -> Result<(), LocalError> {
        let processes = self.processes()?;
        for component in COMPONENTS {
            if !processes.iter().any(|process| process.name() == component) {
                files::remove(&self.cluster.join("pids").join(format!("{component}.pid")))?;
            }
        }
        Ok(())
    }

    /// A call of kwokctl that touches nothing outside our folder.
    fn kwokctl(&self, local: &Local) -> Result<Call, LocalError> {
        let call = local.programs().call("kwokctl")?;
        Ok(call
            .env("KWOK_WORKDIR", &self.folder)
            .env("HOME", self.folder.join("home"))
            .args(["--name", &self.name]))
    }

    /// A call of kubectl that asks the API server for a path.
    async fn get(&self, local: &Local, path: &str) -> Result<Answer, LocalError> {
        let call = local
            .programs()
            .call("kubectl")?
            .env("HOME", self.folder.join("home"));
        let call = call.arg("--kubeconfig").arg(self.cluster.join("kubeconfig.yaml"));
        call.args(["--request-timeout=10s", "get", "--raw", path])
            .answer()
            .await
    }

    async fn scale(&self, local: &Local, workers: u32) -> Result<(), LocalError> {
        let call = self
            .kwokctl(local)?
            .args(["scale", "node", WORKER, "--serial-length", "1"]);
        call.args(["--replicas", &workers.to_string()])
            .run()
            .await
            .map(drop)
    }
}

/// The context's name, as kwokctl makes it.
fn context(cluster: &str) -> String {
    format!("kwok-{cluster}")
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
        outputs.half_made = !place.whole();
        if !outputs.half_made {
            outputs.stopped = place.stopped()?;
        }
        outputs.with_kubeconfig(local);
        readiness(local, &place, &mut outputs).await?
    } else {
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
    if outputs.half_made {
        return Ok(Readiness::Failed(
            "an interrupted run left it half made".to_owned(),
        ));
    }
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
            let waiting = nodes
                .iter()
                .filter(|node| !super::kind_cluster::node_ready(node))
                .count();
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

fn write_kubeconfig(local: &Local, place: &Place) -> Result<(), LocalError> {
    let theirs = Kubeconfig::read(&place.cluster.join("kubeconfig.yaml"))?;
    theirs
        .select(&context(&place.name))?
        .embed()?
        .write(&local.kubeconfig())
}

/// The version of the API server that is found: `v1.34.4`.
async fn version(local: &Local) -> Result<String, LocalError> {
    let answer = local
        .programs()
        .call("kube-apiserver")?
        .args(["--version"])
        .run()
        .await?;
    let text = answer.text();
    text.split_whitespace()
        .find(|word| word.starts_with('v'))
        .map(str::to_owned)
        .ok_or_else(|| LocalError::Answer {
            command: answer.command,
            why: format!("'{text}' holds no version"),
        })
}

/// kwokctl's configuration. It listens on loopback only, since its etcd asks for no credentials; and we choose the
/// ports, since kwokctl tries them in a fixed order, where two that start at once meet.
fn options(local: &Local, kubernetes: &str) -> Result<Value, LocalError> {
    let program = |name: &str| local.programs().find(name);
    let mut options = json!({
        "runtime": "binary",
        "kubeVersion": kubernetes,
        "bindAddress": "127.0.0.1",
        "disableQPSLimits": true,
        "etcdBinary": program("etcd")?,
        "kubeApiserverBinary": program("kube-apiserver")?,
        "kubeControllerManagerBinary": program("kube-controller-manager")?,
        "kubeSchedulerBinary": program("kube-scheduler")?,
        "kwokControllerBinary": program("kwok")?,
        "kubectlBinary": program("kubectl")?,
    });
    let names = [
        "kubeApiserverPort",
        "etcdPort",
        "etcdPeerPort",
        "kubeControllerManagerPort",
        "kubeSchedulerPort",
        "kwokControllerPort",
    ];
    // All are held until all are known, so that no port comes twice.
    let listeners = names.map(|_| TcpListener::bind(("127.0.0.1", 0)));
    if let Some(options) = options.as_object_mut() {
        for (name, listener) in names.into_iter().zip(listeners) {
            let port = listener
                .and_then(|listener| listener.local_addr())
                .map_err(LocalError::file("find a free port on", Path::new("127.0.0.1")))?
                .port();
            options.insert(name.to_owned(), port.into());
        }
    }
    Ok(json!({
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "options": options,
    }))
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
            live.is_some_and(|live| live.changes.len() == COMPONENTS.len())
        })
        .await
        .unwrap();
        assert!(stopped.forces.is_empty());
        kind.update(&target).await.unwrap();
        test::until(&*kind, &target, test::ready).await;

        kind.delete(&target).await.unwrap();
        test::until(&*kind, &target, |live| live.is_none()).await;
        assert!(place.processes().unwrap().is_empty());
        assert!(!folder.path().join("kwok").exists() && !local.kubeconfig().exists());
    }
}
