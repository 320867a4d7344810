//! What the checks are told of the stack before any server is asked.

use std::collections::BTreeSet;

use serde_json::Value;

#[cfg(feature = "kubernetes")]
pub(super) use super::collect::collect;
use super::context::Session;
#[cfg(not(feature = "kubernetes"))]
use super::{error::CliError, exit::Exit};
use crate::checks::{self, Evidence};

/// What is known before any server is asked.
pub(super) fn begin(session: &Session) -> Evidence {
    let outputs = session.cluster_outputs().unwrap_or_default();
    let applied = session
        .opened
        .wanted
        .iter()
        .filter(|wanted| wanted.kind == "k8s.object");
    Evidence {
        stack: session.opened.model.name.clone(),
        profile: session.opened.model.cluster.provider().to_owned(),
        simulated: outputs.get("simulated") == Some(&Value::Bool(true)),
        cluster: outputs,
        applied: applied
            .filter_map(|wanted| wanted.inputs.get("object").cloned())
            .map(checks::reduce)
            .collect::<Vec<_>>()
            .into(),
        ..Evidence::default()
    }
}

/// The namespaces in which the stack runs something or keeps its settings: only there are Secrets read.
pub(super) fn namespaces(evidence: &Evidence) -> BTreeSet<String> {
    const OWN: [&str; 7] = [
        "Deployment",
        "StatefulSet",
        "DaemonSet",
        "Prometheus",
        "Alertmanager",
        "Secret",
        "ConfigMap",
    ];
    let text =
        |object: &Value, pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let own = evidence
        .applied
        .iter()
        .filter(|object| text(object, "/kind").is_some_and(|kind| OWN.contains(&kind.as_str())));
    own.filter_map(|object| text(object, "/metadata/namespace"))
        .collect()
}

/// A build without Kubernetes can check a dump, and nothing that lives.
#[cfg(not(feature = "kubernetes"))]
#[expect(
    clippy::unused_async,
    reason = "the same signature as where there is something to wait for"
)]
pub(super) async fn collect(
    _: &Session,
    _: &BTreeSet<&'static str>,
    _: &mut Evidence,
) -> Result<(), CliError> {
    Err(
        CliError::new(Exit::Usage, "this build of stackup has no Kubernetes in it").hint(
            "build it with --features kubernetes, or check what an earlier --dump wrote with --from-dump",
        ),
    )
}
