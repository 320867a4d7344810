//! Whether an existing cluster is still the one that the stack was put on: a context may lead elsewhere by now.

use super::{access, context::Session, error::CliError, exit::Exit};
use crate::{
    engine::{Refreshed, Seen},
    model::ClusterModel,
    resource::Observed,
};

/// Refuses another cluster than the state's: on it everything would seem to be gone, and be forgotten or made anew.
pub(super) async fn at_its_cluster(session: &mut Session, refreshed: &Refreshed) -> Result<(), CliError> {
    let ClusterModel::Existing(existing) = &session.opened.model.cluster else {
        return Ok(());
    };
    let Some(Seen::Known(Observed::Live(live))) = refreshed
        .found
        .get(&session.opened.cluster)
        .map(|found| &found.seen)
    else {
        return Ok(());
    };
    // Without an answer, or without the right to read it, nothing is claimed; what needs the server tells that itself.
    let Some(here) = access::uid_of(&session.clusters, &live.outputs).await else {
        return Ok(());
    };
    let name = &session.opened.model.name;
    let state = match &session.opened.model.state {
        None => session.opened.folder.display().to_string(),
        Some(s3) => format!("s3://{}/{}", s3.bucket, s3.key),
    };
    let snapshot = &mut session.loaded.snapshot;
    let there = snapshot
        .cluster
        .as_ref()
        .filter(|_| !snapshot.resources.is_empty());
    if there.is_some_and(|there| *there != here) {
        return Err(CliError::new(
            Exit::Refused,
            format!(
                "context {} leads to another cluster than the one that {name} was put on; nothing was changed",
                existing.context
            ),
        )
        .hint("name a context of the former cluster in cluster.existing")
        .hint(format!(
            "if that cluster is gone for good, with all that was on it, remove the state ({state}) and apply again"
        )));
    }
    snapshot.cluster = Some(here);
    Ok(())
}
