//! Whether somebody would get two access entries, of which EKS takes one.

use super::{Ask, Findings, Problem};
use crate::{model::AccessModel, resource::Boxed};

/// Looks for the operator among those whom the stack file lets in.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move { Ok(judge(&ask.operator, &ask.model.access).into_iter().collect()) })
}

fn judge(operator: &str, access: &[AccessModel]) -> Option<Problem> {
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
        assert!(judge("arn:b", &access).unwrap().found.starts_with("arn:b makes"));
        assert_eq!(judge("arn:c", &access), None);
    }
}
