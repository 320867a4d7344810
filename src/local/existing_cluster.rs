use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    Kubeconfig, Local, LocalError,
    cluster::{self, Cluster},
};
use crate::{
    model::{Address, ExistingModel},
    resource::{
        Cause, Change, Intent, Readiness, Resource, ResourceError, Seen, Stack, Target, Traits, Typed,
    },
};

/// A cluster that is there already: found, never made, never deleted.
pub(crate) struct ExistingCluster;

impl Resource for ExistingCluster {
    const KIND: &'static str = "existing.cluster";
    const DOCUMENTATION: &'static str = "A cluster that is there already, found by a context of a kubeconfig file. \
        stackup never makes or deletes it.\n\
        kubeconfig: the file; without it, the one of KUBECONFIG or ~/.kube/config.\n\
        context: the context in it; always named, so that no cluster is used by accident.";
    const TRAITS: Traits = Traits {
        intent: Intent::Each,
        records_inputs: true,
        at_once: 1,
        expected: Some(Duration::from_secs(1)),
        removal: None,
        deadline: Duration::from_mins(1),
        settles: Duration::ZERO,
        paced: false,
        pins: false,
    };

    type Cloud = Local;
    type Inputs = ExistingModel;
    type Outputs = Cluster;

    fn identity(stack: &Stack, address: &Address) -> Value {
        cluster::identity(stack, address, &stack.name)
    }

    fn diff(_: &ExistingModel, _: &Cluster) -> Change {
        // Another context may well lead to the same cluster; whether it does is asked of the cluster.
        Change::default()
    }

    async fn observe(
        local: &Local,
        targets: &[Typed<'_, ExistingModel>],
    ) -> Vec<Result<Option<Seen<Cluster>>, ResourceError>> {
        targets.iter().map(|typed| look(local, typed)).collect()
    }

    async fn create(
        local: &Local,
        _: &Target,
        inputs: &ExistingModel,
    ) -> Result<Option<String>, ResourceError> {
        let path = path(local, inputs)?;
        Kubeconfig::read(&path)?.select(&inputs.context)?;
        Ok(None)
    }

    async fn update(_: &Local, _: &Target, _: &ExistingModel) -> Result<(), ResourceError> {
        Ok(())
    }

    async fn delete(_: &Local, target: &Target) -> Result<(), ResourceError> {
        Err(ResourceError::new(
            Cause::Refused,
            format!("{} is not ours to delete", target.address),
        ))
    }

    fn stays(_: &Target) -> bool {
        true
    }
}

fn look(local: &Local, typed: &Typed<'_, ExistingModel>) -> Result<Option<Seen<Cluster>>, ResourceError> {
    let (path, context) = match (&typed.inputs, &typed.target.remembered) {
        (Some(inputs), _) => (path(local, inputs)?, inputs.context.clone()),
        (None, Some(remembered)) => {
            let known: Cluster = serde_json::from_value(remembered.outputs.clone()).map_err(|error| {
                ResourceError::permanent(format!(
                    "the state of {} is not valid: {error}",
                    typed.target.address
                ))
            })?;
            (known.kubeconfig.into(), known.context)
        }
        (None, None) => return Ok(None),
    };
    let file = Kubeconfig::read(&path)?.select(&context)?;
    Ok(Some(Seen {
        id: None,
        readiness: Readiness::Ready,
        foreign: None,
        outputs: Cluster {
            kubeconfig: path.to_string_lossy().into_owned(),
            context,
            server: file.server().map(str::to_owned),
            profile: "existing".to_owned(),
            ..Cluster::default()
        },
    }))
}

/// The file that the stack file names, else the usual one of kubectl.
fn path(local: &Local, inputs: &ExistingModel) -> Result<PathBuf, LocalError> {
    if let Some(path) = &inputs.kubeconfig {
        return Ok(path.clone());
    }
    let programs = local.programs();
    let usual = match programs.variable("KUBECONFIG").filter(|list| !list.is_empty()) {
        Some(list) => std::env::split_paths(list).collect(),
        None => programs
            .variable("HOME")
            .map(|home| Path::new(home).join(".kube/config"))
            .into_iter()
            .collect::<Vec<_>>(),
    };
    let has = |path: &&PathBuf| {
        Kubeconfig::read(path).is_ok_and(|file| file.contexts().contains(&inputs.context.as_str()))
    };
    let found = usual.iter().find(has).or(usual.first()).cloned();
    found.ok_or_else(|| LocalError::Kubeconfig {
        path: "~/.kube/config".into(),
        why: "neither cluster.kubeconfig nor KUBECONFIG nor HOME says where it is".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use serde_json::json;

    use super::{super::room::kinds, super::test, *};
    use crate::resource::Kind;

    fn kind(local: Local) -> Arc<dyn Kind> {
        let kinds = kinds(&Arc::new(local));
        Arc::clone(
            kinds
                .iter()
                .find(|kind| kind.name() == "existing.cluster")
                .unwrap(),
        )
    }

    #[tokio::test]
    async fn an_existing_cluster_is_found_by_its_context_and_never_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(
            &file,
            "{clusters: [{name: c, cluster: {server: 'https://c'}}], contexts: [{name: x, context: {cluster: c}}]}",
        )
        .unwrap();
        let kind = kind(test::local(folder.path()));
        let target = test::target(&*kind, "demo", json!({"kubeconfig": file, "context": "x"}));
        let seen = kind
            .observe(std::slice::from_ref(&target))
            .await
            .remove(0)
            .unwrap();
        let outputs = &seen.live().unwrap().outputs;
        assert_eq!(outputs["server"], "https://c");
        assert_eq!(outputs["ephemeral"], false);
        assert!(kind.stays(&target));
        assert!(kind.delete(&target).await.is_err());
    }

    #[tokio::test]
    async fn a_missing_context_is_an_error_and_not_an_absent_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        fs::write(&file, "{contexts: [{name: x, context: {}}]}").unwrap();
        let kind = kind(test::local(folder.path()));
        let target = test::target(&*kind, "demo", json!({"kubeconfig": file, "context": "y"}));
        let error = kind.observe(&[target]).await.remove(0).unwrap_err();
        assert!(error.message.ends_with("it has x"), "{error}");
    }
}
