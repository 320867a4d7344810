//! What became of a change that EKS took. The thing itself does not tell: after a change that failed it is as active as
//! after one that was made.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aws_sdk_eks::types::{Update, UpdateStatus};

use super::super::{
    Clients,
    error::{is_gone, read},
};
use crate::resource::{Readiness, ResourceError};

/// The last change of each thing that this run began: its id, by the thing's ARN. A run that ends before does not need
/// it: what was not changed differs still when the next one looks.
#[derive(Debug, Default)]
pub(in crate::aws) struct Updates(Mutex<BTreeMap<String, String>>);

impl Updates {
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the change of a thing that EKS has taken.
    pub(super) fn begun(&self, arn: &str, update: Option<Update>) {
        if let Some(id) = update.and_then(|update| update.id) {
            self.held().insert(arn.to_owned(), id);
        }
    }
}

/// A cluster, or a node group in one, that may be changing.
pub(super) struct Changing<'a> {
    pub(super) arn: &'a str,
    pub(super) cluster: &'a str,
    pub(super) group: Option<&'a str>,
}

/// Whether a thing that seems to be ready, or broken, is so by what became of its last change.
pub(super) async fn settled(
    clients: &Clients,
    of: &Changing<'_>,
    readiness: Readiness,
) -> Result<Readiness, ResourceError> {
    if matches!(readiness, Readiness::NotYet(_)) {
        return Ok(readiness);
    }
    let update = last(clients, of).await?;
    Ok(update.and_then(|update| judge(&update)).unwrap_or(readiness))
}

/// Why the last change of a thing was not made, if it was not.
pub(super) async fn failure(clients: &Clients, of: &Changing<'_>) -> Result<Option<String>, ResourceError> {
    let update = last(clients, of).await?;
    Ok(match update.and_then(|update| judge(&update)) {
        Some(Readiness::Failed(why)) => Some(why),
        _ => None,
    })
}

async fn last(clients: &Clients, of: &Changing<'_>) -> Result<Option<Update>, ResourceError> {
    let Some(id) = clients.updates.held().get(of.arn).cloned() else {
        return Ok(None);
    };
    let call = clients.eks().await?.describe_update().update_id(id);
    let call = call
        .name(of.cluster)
        .set_nodegroup_name(of.group.map(str::to_owned));
    let update = match call.send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribeUpdate", sent)?.update,
    };
    let made = |update: &Update| update.status() == Some(&UpdateStatus::Successful);
    if update.as_ref().is_none_or(made) {
        clients.updates.held().remove(of.arn);
    }
    Ok(update)
}

fn judge(update: &Update) -> Option<Readiness> {
    let what = update.r#type().map_or("update", |kind| kind.as_str());
    match update.status()?.as_str() {
        "Successful" => None,
        "InProgress" => Some(Readiness::NotYet("an update of it is under way".to_owned())),
        "Cancelled" => Some(Readiness::Failed(format!("its {what} was cancelled"))),
        _ => {
            let errors = update.errors().iter().map(|error| {
                let code = error.error_code().map_or("no code", |code| code.as_str());
                let message = error.error_message().unwrap_or("no message");
                match error.resource_ids() {
                    [] => format!("{code}: {message}"),
                    things => format!("{code}: {message} ({})", things.join(", ")),
                }
            });
            let errors: Vec<String> = errors.collect();
            let why = if errors.is_empty() {
                "no reason is told".to_owned()
            } else {
                errors.join("; ")
            };
            Some(Readiness::Failed(format!("EKS could not make its {what}: {why}")))
        }
    }
}

/// What may help against a change that failed so.
pub(super) fn advice(reasons: &[String]) -> Option<&'static str> {
    let says = |text: &str| reasons.iter().any(|line| line.contains(text));
    if says("PodEvictionFailure") {
        Some(
            "a PodDisruptionBudget keeps pods on the old nodes: 'kubectl get pdb -A' shows which allows no disruption; \
             give its workload more replicas or loosen it, then run 'stackup apply' again",
        )
    } else if says("IpNotAvailable") || says("InsufficientFreeAddresses") {
        Some(
            "free addresses in the cluster's subnets (EKS needs up to five for a new control plane), then run \
             'stackup apply' again",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_eks::types::{ErrorCode, ErrorDetail, UpdateType};

    use super::*;

    #[test]
    fn a_change_that_was_not_made_is_a_failure_with_its_reasons() {
        let error = ErrorDetail::builder()
            .error_code(ErrorCode::PodEvictionFailure)
            .error_message("Reached max retries")
            .resource_ids("i-1")
            .build();
        let update = |status| {
            let update = Update::builder().status(status).r#type(UpdateType::VersionUpdate);
            judge(&update.errors(error.clone()).build())
        };
        let failed = "EKS could not make its VersionUpdate: PodEvictionFailure: Reached max retries (i-1)";
        assert_eq!(
            update(UpdateStatus::Failed),
            Some(Readiness::Failed(failed.into()))
        );
        assert_eq!(update(UpdateStatus::Successful), None);
        assert!(matches!(
            update(UpdateStatus::InProgress),
            Some(Readiness::NotYet(_))
        ));
        assert!(matches!(
            update(UpdateStatus::Cancelled),
            Some(Readiness::Failed(_))
        ));
        assert!(
            advice(&[failed.to_owned()])
                .unwrap()
                .contains("PodDisruptionBudget")
        );
        assert_eq!(advice(&["AccessDenied: no".to_owned()]), None);
    }
}
