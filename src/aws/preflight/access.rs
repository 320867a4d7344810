//! Whether EKS would take the access entries: one for each identity, and for none that IAM does not know.

use std::collections::BTreeSet;

use aws_sdk_iam::error::ProvideErrorMetadata as _;
use futures::future::try_join_all;

use super::super::error::{is_gone, read};
use super::{Ask, Findings, Problem};
use crate::{
    model::AccessModel,
    resource::{Boxed, ResourceError},
};

/// Looks for the operator among those whom the stack file lets in, and for their roles in the account.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let access = &ask.model.access;
        let principals: BTreeSet<&str> = access.iter().map(|grant| grant.principal.as_str()).collect();
        let looks = principals.into_iter().filter_map(|principal| {
            let name = role(principal, &ask.caller.account)?;
            Some(unknown(ask, principal, name))
        });
        let unknown = try_join_all(looks).await?;
        Ok(twice(&ask.operator, access)
            .into_iter()
            .chain(unknown.into_iter().flatten())
            .collect())
    })
}

/// The name of the role, if the ARN is one of a role of this account: of others nobody here may ask.
fn role<'a>(principal: &'a str, account: &str) -> Option<&'a str> {
    let of_account = principal.strip_prefix("arn:")?.split_once(":iam::")?.1;
    let path = of_account.strip_prefix(account)?.strip_prefix(":role/")?;
    path.rsplit('/').next()
}

/// Why EKS would not know the role: as one that may have been made just now it would be named to EKS again for minutes.
async fn unknown(ask: &Ask<'_>, principal: &str, name: &str) -> Result<Option<Problem>, ResourceError> {
    const TITLE: &str = "a role under access is not there";
    let hint = "correct it in cluster.access, or make the role first";
    let sent = ask.clients.iam().await?.get_role().role_name(name).send().await;
    if sent.as_ref().is_err_and(is_gone) {
        let found = format!("cluster.access names {principal}, and the account has no role {name}");
        return Ok(Some(Problem::new(TITLE, found, hint)));
    }
    if matches!(&sent, Err(error) if error.code() == Some("AccessDenied")) {
        // What is missing is told with the permissions.
        return Ok(None);
    }
    let known = read("iam:GetRole", sent)?.role.map(|role| role.arn);
    Ok(known.filter(|arn| arn != principal).map(|arn| {
        let found = format!("cluster.access names {principal}, and the role {name} is {arn}");
        Problem::new(TITLE, found, hint)
    }))
}

fn twice(operator: &str, access: &[AccessModel]) -> Option<Problem> {
    let twice = access.iter().any(|grant| grant.principal == operator);
    twice.then(|| {
        Problem::new(
            "an identity is let in twice",
            format!(
                "{operator} makes the cluster and may do everything in it, and cluster.access names it as well: \
                 EKS takes one access entry for each"
            ),
            "take it out of cluster.access",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whoever_makes_the_cluster_is_let_in_twice() {
        let grant = |principal: &str| AccessModel {
            principal: principal.into(),
            policy: "AmazonEKSViewPolicy".into(),
            namespaces: Vec::new(),
        };
        let access = [grant("arn:a"), grant("arn:b")];
        assert!(twice("arn:b", &access).unwrap().found.starts_with("arn:b makes"));
        assert_eq!(twice("arn:c", &access), None);
    }
    #[test]
    fn a_role_is_asked_about_in_its_own_account_only() {
        let account = "123456789012";
        assert_eq!(role("arn:aws:iam::123456789012:role/ci", account), Some("ci"));
        assert_eq!(
            role("arn:aws-cn:iam::123456789012:role/a/b/ci", account),
            Some("ci")
        );
        assert_eq!(role("arn:aws:iam::210987654321:role/ci", account), None);
        assert_eq!(role("arn:aws:iam::123456789012:user/ci", account), None);
    }
}
