//! The kubernetes room as the other verbs use it, or a clear word in a build without it.

use std::{path::Path, sync::Arc};

#[cfg(feature = "kubernetes")]
pub(super) use crate::kubernetes::manifest::expand;
use crate::{model::Secret, resource::Kind};

/// The API servers of this run.
#[cfg(feature = "kubernetes")]
pub(super) type Clusters = Arc<crate::kubernetes::Clusters>;

#[cfg(feature = "kubernetes")]
pub(super) fn clusters(
    folder: &Path,
    key: Secret<Vec<u8>>,
    warn: Arc<dyn Fn(String) + Send + Sync>,
    cloud: &super::cloud::Cloud,
) -> Clusters {
    crate::kubernetes::Clusters::new(folder.to_owned(), key, warn, super::cloud::tokens(cloud))
}

#[cfg(feature = "kubernetes")]
pub(super) fn kinds(clusters: &Clusters, cloud: &super::cloud::Cloud) -> Vec<Arc<dyn Kind>> {
    crate::kubernetes::kinds(clusters, super::cloud::keep(cloud))
}

/// What makes the cluster with these outputs this one and no other, if it tells.
#[cfg(feature = "kubernetes")]
pub(super) async fn uid_of(clusters: &Clusters, outputs: &serde_json::Value) -> Option<String> {
    clusters.uid(outputs).await
}

#[cfg(not(feature = "kubernetes"))]
pub(super) async fn uid_of(_: &Clusters, _: &serde_json::Value) -> Option<String> {
    std::future::ready(None).await
}

#[cfg(not(feature = "kubernetes"))]
mod without {
    use crate::model::{Address, CompanionSpec, Mistake, StackModel};
    use crate::resource::Wanted;

    /// What the components come to.
    #[derive(Debug, Default)]
    pub(in crate::cli) struct Expanded {
        pub(in crate::cli) wanted: Vec<Wanted>,
        pub(in crate::cli) companions: Vec<CompanionSpec>,
    }

    /// A build without Kubernetes can make a cluster, and put nothing on it.
    pub(in crate::cli) fn expand(
        model: &StackModel,
        _: &Address,
        _: &[Address],
    ) -> Result<Expanded, Vec<Mistake>> {
        if model.components.is_empty() {
            return Ok(Expanded::default());
        }
        Err(vec![Mistake {
            file: "components".into(),
            line: 0,
            column: 0,
            message: "this build of stackup has no Kubernetes in it".into(),
            hint: Some("build it with --features kubernetes".into()),
        }])
    }
}
#[cfg(not(feature = "kubernetes"))]
pub(super) use without::expand;

/// Nothing to reach.
#[cfg(not(feature = "kubernetes"))]
#[derive(Debug)]
pub(super) struct Clusters;

#[cfg(not(feature = "kubernetes"))]
pub(super) fn clusters(
    _: &Path,
    _: Secret<Vec<u8>>,
    _: Arc<dyn Fn(String) + Send + Sync>,
    _: &super::cloud::Cloud,
) -> Clusters {
    Clusters
}

#[cfg(not(feature = "kubernetes"))]
pub(super) fn kinds(_: &Clusters, _: &super::cloud::Cloud) -> Vec<Arc<dyn Kind>> {
    Vec::new()
}
