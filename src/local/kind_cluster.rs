use std::{path::PathBuf, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{
    Call, Local, LocalError,
    cluster::{self, Cluster, Differences, HALF_MADE, KUBECONFIG, is_version},
    docker::{Container, containers, docker, inside, network_exists, network_used},
    files,
    kind_config::{KindConfig, MARK},
    kind_health::{kubernetes, waiting, whole},
    process::Process,
    room::owner,
};
use crate::{
    model::{Address, KindModel},
    resource::{
        Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed,
    },
};

/// Where kubeadm puts the administrator's credentials on a control-plane node.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Why a cluster is of no use whose control plane looks for itself at an address that it had before.
const MOVED: &str = "its address changed when its containers were started again";

/// A cluster whose nodes are containers, made by the `kind` program.
pub(crate) struct KindCluster;

impl Resource for KindCluster {
    const KIND: &'static str = "kind.cluster";
    const DOCUMENTATION: &'static str = "A cluster in Docker containers, made by the kind program: one control-plane \
        node and its workers, with the metrics of all components open to the cluster.\n\
        workers: how many worker nodes; another number makes the cluster anew.\n\
        kubernetes: the version, looked up in the list of node images.\n\
        image: the node image; wins over kubernetes.\n\
        config: your own kind configuration, merged over the generated one: maps by field, nodes by position, other \
        lists are added.\n\
        loadImages: empty; archives are a resource of their own, so that others can be loaded into the same cluster.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 1,
        expected: Some(Duration::from_secs(30)),
        removal: Some(Duration::from_secs(5)),
        deadline: Duration::from_mins(10),
        settles: Duration::ZERO,
        paced: false,
        pins: false,
    };

    type Cloud = Local;
    type Inputs = KindModel;
    type Outputs = Cluster;

    fn identity(stack: &Stack, address: &Address) -> Value {
        cluster::identity(stack, address, &cluster_name(&stack.name))
    }

    fn diff(inputs: &KindModel, outputs: &Cluster) -> Change {
        let mut change = outputs.repairs();
        // That the version is listed was seen when the cluster was looked at.
        let Ok(wanted) = KindConfig::new(inputs, "", &PathBuf::new()) else {
            return change;
        };
        if let Some(workers) = outputs.workers.filter(|&workers| workers != wanted.workers) {
            change.force("workers", json!(workers), json!(wanted.workers));
        }
        if wanted.named {
            if let Some(image) = outputs.image.as_ref().filter(|&image| *image != wanted.image) {
                change.force("image", json!(image), json!(wanted.image));
            }
        } else if let (Some(found), Some(version)) = (&outputs.kubernetes, &inputs.kubernetes)
            && !is_version(found, version)
        {
            change.force("kubernetes", json!(found), json!(version));
        }
        if let Some(config) = outputs.config.as_ref().filter(|&config| *config != wanted.hash) {
            change.force(
                "config",
                json!(format!("hash {config}")),
                json!(format!("hash {}", wanted.hash)),
            );
        }
        change
    }

    async fn observe(
        local: &Local,
        targets: &[Typed<'_, KindModel>],
    ) -> Vec<Result<Option<Seen<Cluster>>, ResourceError>> {
        futures::future::join_all(targets.iter().map(|typed| look(local, typed))).await
    }

    async fn create(
        local: &Local,
        target: &Target,
        inputs: &KindModel,
    ) -> Result<Option<String>, ResourceError> {
        local.programs().require(&["docker", "kind"])?;
        let name = cluster::name(target)?;
        let mark = local.path("kind/mark");
        files::make_folder(&mark)?;
        let config = KindConfig::new(inputs, &target.stack.uid, &mark)?;
        let network = network(local);
        if !network_exists(local.programs(), &network).await? {
            files::write_json(&our_network(local), &network)?;
        }
        let call = kind(local)?.owner(&owner(target)).stdin(config.root.to_string());
        let call = call.args([
            "create", "cluster", "--name", name, "--wait", "0s", "--config", "-",
        ]);
        let call = call.arg("--kubeconfig").arg(local.kubeconfig());
        call.lengthy().run_logged(&local.log("kind")?).await?;
        Ok(None)
    }

    async fn update(local: &Local, target: &Target, _: &KindModel) -> Result<(), ResourceError> {
        let name = cluster::name(target)?;
        let programs = local.programs();
        cluster::not_yet_whole(!at_work(target)?.is_empty(), false)?;
        let containers = containers(programs, name).await?;
        let stopped: Vec<&str> = containers
            .iter()
            .filter(|node| !node.runs())
            .map(Container::name)
            .collect();
        if !stopped.is_empty() {
            let start = programs.call("docker")?.arg("start").args(stopped);
            docker(programs, start.lengthy()).await?;
        }
        let call = programs
            .call("kind")?
            .args(["export", "kubeconfig", "--name", name, "--kubeconfig"]);
        call.arg(local.kubeconfig()).run().await?;
        Ok(())
    }

    async fn delete(local: &Local, target: &Target) -> Result<(), ResourceError> {
        let name = cluster::name(target)?;
        let programs = local.programs();
        // A create of an interrupted run may still be at work, and would make what is deleted here.
        for process in at_work(target)? {
            process.signal(Signal::KILL)?;
        }
        let call = programs
            .call("kind")?
            .args(["delete", "cluster", "--name", name, "--kubeconfig"]);
        // Docker may fail to end a container on a machine that is busy, and manages it a moment later.
        call.arg(local.kubeconfig())
            .lengthy()
            .run()
            .await
            .map_err(|error| match ResourceError::from(error) {
                error if error.cause == Cause::Permanent => ResourceError {
                    cause: Cause::Transient,
                    ..error
                },
                error => error,
            })?;
        remove_network(local).await?;
        cluster::forget_kubeconfig(local, &context(name))?;
        files::remove(&local.path("kind"))?;
        Ok(())
    }

    async fn diagnose(local: &Local, target: &Target) -> Vec<String> {
        let mut lines = files::last_lines(&local.path("logs/kind.log"), 8);
        let Ok(name) = cluster::name(target) else {
            return lines;
        };
        for node in containers(local.programs(), name).await.unwrap_or_default() {
            let state = if node.runs() { "runs" } else { "is stopped" };
            lines.push(format!("container {} {state}", node.name()));
        }
        lines
    }
}

/// The cluster's name among those of kind.
pub(crate) fn cluster_name(stack: &str) -> String {
    format!("stackup-{stack}")
}

/// The context's name, as kind makes it.
fn context(cluster: &str) -> String {
    format!("kind-{cluster}")
}

/// A call of kind that uses Docker, as all of this room does.
pub(crate) fn kind(local: &Local) -> Result<Call, LocalError> {
    Ok(local
        .programs()
        .call("kind")?
        .without("KIND_EXPERIMENTAL_PROVIDER"))
}

async fn look(local: &Local, typed: &Typed<'_, KindModel>) -> Result<Option<Seen<Cluster>>, ResourceError> {
    let target = typed.target;
    let name = cluster::name(target)?;
    let wanted = match &typed.inputs {
        Some(inputs) => Some(KindConfig::new(inputs, &target.stack.uid, &PathBuf::new())?),
        None => None,
    };
    let containers = containers(local.programs(), name).await?;
    let at_work = !at_work(target)?.is_empty();
    if containers.is_empty()
        && !at_work
        && !cluster::kubeconfig_is(local, &context(name))
        && !network_left(local).await?
    {
        return Ok(None);
    }
    let nodes: Vec<&Container> = containers.iter().filter(|node| node.is_node()).collect();
    let marks = || containers.iter().filter_map(|node| node.mounted_below(MARK));
    let foreign = (!containers.is_empty()
        && !marks().any(|mark| mark.split('/').next() == Some(target.stack.uid.as_str())))
    .then(|| {
        let whose = match marks().next() {
            Some(_) => "another stack, or this one before its state was lost",
            None => "someone who made it without stackup",
        };
        format!("{whose}; to give it up: kind delete cluster --name {name}; or give this stack another name")
    });
    let workers = nodes.iter().filter(|node| node.is("worker")).count();
    let mut outputs = Cluster {
        kubeconfig: KUBECONFIG.to_owned(),
        context: context(name),
        profile: "kind".to_owned(),
        ephemeral: true,
        workers: u32::try_from(workers).ok().filter(|_| !at_work),
        in_the_making: at_work,
        image: nodes.first().map(|node| node.image().to_owned()),
        config: marks().find_map(|mark| mark.split('/').nth(1)).map(str::to_owned),
        ..Cluster::default()
    };
    let readiness = if foreign.is_some() {
        Readiness::Failed("it is not ours".to_owned())
    } else if at_work {
        Readiness::NotYet("kind of an interrupted run is still making it".to_owned())
    } else {
        readiness(local, target, wanted.as_ref(), &nodes, &mut outputs).await?
    };
    if foreign.is_none() && !at_work {
        outputs.with_kubeconfig(local);
    }
    Ok(Some(Seen {
        id: None,
        outputs,
        readiness,
        foreign,
    }))
}

async fn readiness(
    local: &Local,
    target: &Target,
    wanted: Option<&KindConfig>,
    nodes: &[&Container],
    outputs: &mut Cluster,
) -> Result<Readiness, LocalError> {
    let Some(control_plane) = nodes.iter().find(|node| node.is("control-plane")) else {
        return Ok(outputs.break_for(HALF_MADE));
    };
    outputs.stopped = nodes
        .iter()
        .filter(|node| !node.runs())
        .map(|node| node.name().to_owned())
        .collect();
    if !outputs.stopped.is_empty() {
        return Ok(Readiness::Failed(format!(
            "stopped: {}",
            outputs.stopped.join(", ")
        )));
    }
    let programs = local.programs();
    // The answer is a word, and not a status: docker too fails with 1.
    let asked = [
        "sh",
        "-c",
        "test -e /etc/kubernetes/admin.conf && echo there; true",
    ];
    let there = docker(programs, inside(programs, control_plane, &asked)?).await?;
    if there.text().is_empty() {
        return Ok(outputs.break_for(HALF_MADE));
    }
    let get = [
        "kubectl",
        "--kubeconfig",
        ADMIN,
        "--namespace=kube-system",
        "--request-timeout=10s",
        "get",
        "nodes,storageclasses,deployments,daemonsets",
        "--output=json",
    ];
    let answer = inside(programs, control_plane, &get)?.answer().await?;
    if !answer.status.success() {
        if !keeps_its_address(local, control_plane).await? {
            return Ok(outputs.break_for(MOVED));
        }
        let why = answer.stderr.lines().last().unwrap_or("no answer").trim();
        return Ok(Readiness::NotYet(format!("the API server: {why}")));
    }
    let list: Value = answer.json()?;
    let objects = list
        .get("items")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    outputs.kubernetes = kubernetes(objects);
    // A cluster that was once whole is not made anew because someone removed a node from it.
    let once_whole = target
        .remembered
        .as_ref()
        .is_some_and(|known| known.outputs.get("server").is_some_and(Value::is_string));
    if !once_whole && !whole(objects, nodes) {
        return Ok(outputs.break_for(HALF_MADE));
    }
    if wanted.is_some_and(KindConfig::without_network) {
        return Ok(Readiness::Ready);
    }
    Ok(match waiting(objects) {
        None => Readiness::Ready,
        Some(why) => Readiness::NotYet(why),
    })
}

/// Whether the API server is still told to listen where its container is. Docker gives addresses anew when containers
/// are started again; most node images follow, and where one does not, the cluster never comes back.
async fn keeps_its_address(local: &Local, control_plane: &Container) -> Result<bool, LocalError> {
    let asked = [
        "sh",
        "-c",
        "cat /etc/kubernetes/manifests/kube-apiserver.yaml; true",
    ];
    let programs = local.programs();
    let manifest = docker(programs, inside(programs, control_plane, &asked)?)
        .await?
        .text();
    Ok(manifest.is_empty()
        || control_plane
            .addresses()
            .any(|address| manifest.contains(address)))
}

/// The processes of kind that an earlier run of ours started for this cluster and that still run.
fn at_work(target: &Target) -> Result<Vec<Process>, LocalError> {
    let mut processes = Process::marked(&owner(target))?;
    processes.retain(|process| process.name() == "kind");
    Ok(processes)
}

/// The Docker network that kind puts its nodes in; all clusters of a machine share it.
fn network(local: &Local) -> String {
    local
        .programs()
        .variable("KIND_EXPERIMENTAL_DOCKER_NETWORK")
        .and_then(|name| name.to_str())
        .filter(|name| !name.is_empty())
        .unwrap_or("kind")
        .to_owned()
}

/// The note that the network was not there before us; in it, the network's name.
fn our_network(local: &Local) -> PathBuf {
    local.path("kind/network.json")
}

/// Whether the network that came with our cluster is still there and nobody else uses it.
async fn network_left(local: &Local) -> Result<bool, LocalError> {
    let Some(name) = files::read_json::<String>(&our_network(local))? else {
        return Ok(false);
    };
    let programs = local.programs();
    Ok(network_exists(programs, &name).await? && !network_used(programs, &name).await?)
}

async fn remove_network(local: &Local) -> Result<(), LocalError> {
    if network_left(local).await?
        && let Some(name) = files::read_json::<String>(&our_network(local))?
    {
        let programs = local.programs();
        docker(programs, programs.call("docker")?.args(["network", "rm", &name])).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{panic::AssertUnwindSafe, sync::Arc};

    use futures::FutureExt;

    use super::{
        super::{room::kinds, test},
        *,
    };

    fn model(workers: u32) -> KindModel {
        KindModel {
            workers,
            kubernetes: Some("1.34".into()),
            image: None,
            load_images: Vec::new(),
            config: None,
        }
    }

    #[test]
    fn a_change_of_nodes_version_or_configuration_makes_the_cluster_anew() {
        let made = KindConfig::new(&model(2), "", &PathBuf::new()).unwrap();
        let outputs = Cluster {
            workers: Some(2),
            kubernetes: Some("v1.34.4".into()),
            image: Some("kindest/node:v1.34.4".into()),
            config: Some(made.hash),
            ..Cluster::default()
        };
        // Another patch of the listed image is no reason to make a running cluster anew.
        assert_eq!(KindCluster::diff(&model(2), &outputs), Change::default());
        assert_eq!(KindCluster::diff(&model(3), &outputs).forces, ["workers"]);
        let image = KindModel {
            image: Some("kindest/node:v1.34.5".into()),
            ..model(2)
        };
        assert_eq!(KindCluster::diff(&image, &outputs).forces, ["image"]);
        let version = KindModel {
            kubernetes: Some("1.35".into()),
            ..model(2)
        };
        assert_eq!(KindCluster::diff(&version, &outputs).forces, ["kubernetes"]);
        let config = KindModel {
            config: Some(json!({"networking": {"ipFamily": "dual"}})),
            ..model(2)
        };
        assert_eq!(KindCluster::diff(&config, &outputs).forces, ["config"]);
    }

    #[tokio::test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the laboratory is named by the environment of the tests"
    )]
    async fn a_real_cluster_is_made_found_foreign_to_others_restarted_and_leaves_nothing() {
        let Some(image) = std::env::var("STACKUP_LAB_NODE_IMAGE")
            .ok()
            .filter(|_| test::control_plane().is_some())
        else {
            eprintln!("skipped: STACKUP_CONTROL_PLANE and STACKUP_LAB_NODE_IMAGE are not set");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let local = Arc::new(test::local(folder.path()));
        let name = format!("test-{}", std::process::id());
        let outcome = AssertUnwindSafe(life(&local, &name, &image)).catch_unwind().await;
        if let Err(broken) = outcome {
            // Whatever broke, no containers stay.
            let delete = kind(&local)
                .unwrap()
                .args(["delete", "cluster", "--name", &cluster_name(&name)]);
            let deleted = delete.arg("--kubeconfig").arg(local.kubeconfig()).run().await;
            drop(deleted);
            std::panic::resume_unwind(broken);
        }
    }

    #[expect(
        clippy::too_many_lines,
        reason = "one cluster lives through all of it, as making one is slow"
    )]
    async fn life(local: &Arc<Local>, name: &str, image: &str) {
        let folder = local.path("");
        let kinds = kinds(local);
        let find = |name: &str| Arc::clone(kinds.iter().find(|kind| kind.name() == name).unwrap());
        let (kind, images) = (find("kind.cluster"), find("kind.images"));
        let inputs =
            json!({"workers": 1, "kubernetes": null, "image": image, "loadImages": [], "config": null});
        let target = test::target(&*kind, name, inputs.clone());
        let network_before = network_exists(local.programs(), "kind").await.unwrap();

        assert!(test::observe(&*kind, &target).await.unwrap().is_none());
        kind.create(&target).await.unwrap();
        let live = test::until(&*kind, &target, test::ready).await.unwrap();
        assert_eq!(
            (&live.outputs["workers"], &live.outputs["profile"]),
            (&json!(1), &json!("kind"))
        );
        assert!(local.kubeconfig().exists() && !folder.join("home").exists());

        let mut stranger = target.clone();
        stranger.stack = Arc::new(Stack {
            name: name.to_owned(),
            uid: "other".into(),
        });
        let seen = test::observe(&*kind, &stranger).await.unwrap().unwrap();
        assert!(seen.foreign.unwrap().contains("kind delete cluster"));

        let archive = folder.join("image.tar");
        super::super::images::tests::archive(&archive, "stackup.test/none:1", &[]);
        let broken = test::target(
            &*images,
            name,
            json!({"cluster": live.outputs, "archives": [archive]}),
        );
        assert!(test::observe(&*images, &broken).await.unwrap().is_none());
        let error = images.create(&broken).await.unwrap_err();
        assert!(error.message.contains("kind load"), "{error}");
        if let Some(lab) = std::env::var_os("STACKUP_LAB_DIR") {
            let archive = PathBuf::from(lab).join("images/docker.io/library/busybox:latest.tar");
            let busybox = test::target(
                &*images,
                name,
                json!({"cluster": live.outputs, "archives": [archive]}),
            );
            images.create(&busybox).await.unwrap();
            test::until(&*images, &busybox, test::ready).await;
            let node = &containers(local.programs(), &cluster_name(name)).await.unwrap()[1];
            let image = "docker.io/library/busybox:latest";
            let remove = ["ctr", "--namespace=k8s.io", "images", "remove", "--sync", image];
            inside(local.programs(), node, &remove)
                .unwrap()
                .run()
                .await
                .unwrap();
            let missing = test::observe(&*images, &busybox).await.unwrap().unwrap();
            assert_eq!(missing.changes[0].path, "nodes");
            images.update(&busybox).await.unwrap();
            test::until(&*images, &busybox, test::ready).await;
            images.delete(&busybox).await.unwrap();
            assert!(test::observe(&*images, &busybox).await.unwrap().is_none());
        }

        let programs = local.programs();
        let nodes = containers(programs, &cluster_name(name)).await.unwrap();
        let stop = programs
            .call("docker")
            .unwrap()
            .arg("stop")
            .args(nodes.iter().map(Container::name));
        stop.run().await.unwrap();
        files::remove(&local.kubeconfig()).unwrap();
        let stopped = test::observe(&*kind, &target).await.unwrap().unwrap();
        assert_eq!((stopped.changes.len(), stopped.forces.len()), (3, 0));
        kind.update(&target).await.unwrap();
        // Docker may have given its nodes other addresses, and this node image does not follow.
        test::until(&*kind, &target, |live| {
            test::ready(live) || live.is_some_and(|live| live.forces == ["created"])
        })
        .await;

        let gone = ["mv", ADMIN, "/etc/kubernetes/gone"];
        inside(programs, &nodes[0], &gone).unwrap().run().await.unwrap();
        let half = test::observe(&*kind, &target).await.unwrap().unwrap();
        assert_eq!(half.forces, ["created"]);

        // As the engine does: a delete that may succeed later is made again. Docker gives a node twelve seconds to end,
        // and where the disk is busy the kernel takes longer to write back what the node's containers had mounted.
        let began = std::time::Instant::now();
        while let Err(error) = kind.delete(&target).await {
            assert!(
                error.again() && began.elapsed() < KindCluster::TRAITS.deadline,
                "{error}"
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        test::until(&*kind, &target, |live| live.is_none()).await;
        assert!(
            containers(programs, &cluster_name(name))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(!local.kubeconfig().exists() && !folder.join("kind").exists());
        assert_eq!(network_exists(programs, "kind").await.unwrap(), network_before);
    }
}
