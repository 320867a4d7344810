use std::{
    collections::BTreeSet,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::{join_all, try_join_all};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Local, LocalError,
    cluster::{self, Differences},
    docker::{Container, containers, docker, inside},
    files, images,
    kind_cluster::{cluster_name, kind},
};
use crate::{
    model::Address,
    resource::{Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed},
};

/// Images from archives, on every node of a kind cluster.
pub(crate) struct KindImages;

/// What is loaded where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Inputs {
    /// The cluster's outputs; a reference until it is there.
    pub(crate) cluster: Value,
    /// The archives.
    pub(crate) archives: Vec<PathBuf>,
}

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outputs {
    /// The archives, as they were.
    archives: Vec<ArchiveFile>,
    /// Images that some node lacks.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    missing: BTreeSet<String>,
}

/// One archive, told apart from a later one under its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ArchiveFile {
    path: PathBuf,
    size: u64,
    modified: i64,
}

/// Our note of what was loaded.
#[derive(Serialize, Deserialize)]
struct Loaded {
    archives: Vec<ArchiveFile>,
    /// The ids of the nodes' containers: a cluster that was made anew has others, and no images.
    nodes: BTreeSet<String>,
}

impl Resource for KindImages {
    const KIND: &'static str = "kind.images";
    const DOCUMENTATION: &'static str = "Container images from archives of 'docker save', loaded on every node of a \
        kind cluster, so that no registry is asked for them.\n\
        archives: the files; one that changes is loaded again.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 1,
        expected: Some(Duration::from_secs(15)),
        removal: None,
        deadline: Duration::from_mins(10),
        settles: Duration::ZERO,
        paced: false,
        pins: false,
    };

    type Cloud = Local;
    type Inputs = Inputs;
    type Outputs = Outputs;

    fn identity(stack: &Stack, address: &Address) -> Value {
        cluster::identity(stack, address, &cluster_name(&stack.name))
    }

    fn diff(inputs: &Inputs, outputs: &Outputs) -> Change {
        let mut change = Change::default();
        let known = |path: &PathBuf| outputs.archives.iter().any(|archive| archive.path == *path);
        for path in inputs.archives.iter().filter(|path| !known(path)) {
            change.differs("archives", json!("not loaded"), json!(path));
        }
        for archive in outputs
            .archives
            .iter()
            .filter(|archive| inputs.archives.contains(&archive.path))
        {
            // A file that cannot be read is told when it is looked at.
            if stat(&archive.path).is_ok_and(|now| now != *archive) {
                change.differs("archives", json!("an earlier file"), json!(archive.path));
            }
        }
        for image in &outputs.missing {
            change.differs("nodes", json!("an image is missing"), json!(image));
        }
        change
    }

    async fn observe(
        local: &Local,
        targets: &[Typed<'_, Inputs>],
    ) -> Vec<Result<Option<Seen<Outputs>>, ResourceError>> {
        join_all(targets.iter().map(|typed| look(local, typed))).await
    }

    async fn create(
        local: &Local,
        target: &Target,
        inputs: &Inputs,
    ) -> Result<Option<String>, ResourceError> {
        load(local, target, inputs).await?;
        Ok(None)
    }

    async fn update(local: &Local, target: &Target, inputs: &Inputs) -> Result<(), ResourceError> {
        Ok(load(local, target, inputs).await?)
    }

    async fn delete(local: &Local, _: &Target) -> Result<(), ResourceError> {
        // The images themselves go with the nodes.
        Ok(files::remove(&note(local))?)
    }
}

fn note(local: &Local) -> PathBuf {
    local.path("kind/images.json")
}

async fn look(local: &Local, typed: &Typed<'_, Inputs>) -> Result<Option<Seen<Outputs>>, ResourceError> {
    let Some(loaded) = files::read_json::<Loaded>(&note(local))? else {
        return Ok(None);
    };
    let containers = containers(local.programs(), cluster::name(typed.target)?).await?;
    let nodes: Vec<&Container> = containers
        .iter()
        .filter(|container| container.is_node())
        .collect();
    if nodes.iter().map(|node| node.id.clone()).collect::<BTreeSet<_>>() != loaded.nodes {
        return Ok(None);
    }
    let missing = match &typed.inputs {
        Some(inputs) => missing(local, &nodes, &inputs.archives).await?,
        None => BTreeSet::new(),
    };
    let readiness = match missing.first() {
        None => Readiness::Ready,
        Some(image) => Readiness::Failed(format!("{image} is not on every node")),
    };
    Ok(Some(Seen {
        id: None,
        readiness,
        foreign: None,
        outputs: Outputs {
            archives: loaded.archives,
            missing,
        },
    }))
}

/// The images of the archives that some running node lacks.
async fn missing(
    local: &Local,
    nodes: &[&Container],
    archives: &[PathBuf],
) -> Result<BTreeSet<String>, LocalError> {
    let programs = local.programs();
    let list = |node: &Container| {
        inside(
            programs,
            node,
            &["ctr", "--namespace=k8s.io", "images", "list", "--quiet"],
        )
    };
    let running = nodes.iter().filter(|node| node.runs());
    let asked = running.map(|node| async move { docker(programs, list(node)?).await });
    let present: Vec<BTreeSet<String>> = try_join_all(asked)
        .await?
        .iter()
        .map(|answer| answer.text().lines().map(str::to_owned).collect())
        .collect();
    let mut missing = BTreeSet::new();
    for path in archives {
        let tags = images::tags(path)?;
        missing.extend(
            tags.into_iter()
                .filter(|tag| present.iter().any(|images| !images.contains(tag))),
        );
    }
    Ok(missing)
}

async fn load(local: &Local, target: &Target, inputs: &Inputs) -> Result<(), LocalError> {
    let name = cluster::name(target)?;
    let programs = local.programs();
    programs.require(&["docker", "kind"])?;
    // As they are before they are read: one that changes meanwhile is loaded again next time.
    let archives = inputs
        .archives
        .iter()
        .map(|path| stat(path))
        .collect::<Result<Vec<_>, _>>()?;
    let nodes = containers(programs, name).await?;
    let nodes = nodes
        .iter()
        .filter(|node| node.is_node())
        .map(|node| node.id.clone())
        .collect();

    let folder = local.path("kind");
    files::make_folder(&folder)?;
    let merged = tempfile::NamedTempFile::new_in(&folder).map_err(LocalError::file("write in", &folder))?;
    let to = merged
        .reopen()
        .map_err(LocalError::file("write", merged.path()))?;
    let paths = inputs.archives.clone();
    let merge = tokio::task::spawn_blocking(move || images::merge(&paths, to)).await;
    merge
        .map_err(std::io::Error::other)
        .map_err(LocalError::file("write", merged.path()))??;

    let call = kind(local)?
        .args(["load", "image-archive", "--name", name])
        .arg(merged.path());
    call.lengthy().run().await?;
    files::write_json(&note(local), &Loaded { archives, nodes })
}

fn stat(path: &Path) -> Result<ArchiveFile, LocalError> {
    let data = path.metadata().map_err(LocalError::file("read", path))?;
    Ok(ArchiveFile {
        path: path.to_owned(),
        size: data.len(),
        modified: data.mtime_nsec() + data.mtime().saturating_mul(1_000_000_000),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_a_changed_and_a_missing_image_are_each_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.tar"), folder.path().join("b.tar"));
        images::tests::archive(&a, "a:1", &["x"]);
        images::tests::archive(&b, "b:1", &["y"]);
        let inputs = Inputs {
            cluster: Value::Null,
            archives: vec![a.clone(), b.clone()],
        };
        let mut outputs = Outputs {
            archives: vec![stat(&a).unwrap(), stat(&b).unwrap()],
            missing: BTreeSet::new(),
        };
        assert_eq!(KindImages::diff(&inputs, &outputs), Change::default());
        images::tests::archive(&b, "b:1", &["y", "more of it that makes the file larger"]);
        outputs.archives[1].modified -= 1;
        assert_eq!(KindImages::diff(&inputs, &outputs).fields.len(), 1);
        outputs.archives.pop();
        assert_eq!(KindImages::diff(&inputs, &outputs).fields.len(), 1);
        outputs.missing.insert("docker.io/library/a:1".into());
        assert_eq!(KindImages::diff(&inputs, &outputs).fields.len(), 2);
        assert!(KindImages::diff(&inputs, &outputs).forces.is_empty());
    }
}
