//! Whether EKS offers the Kubernetes version, and how long it supports it.

use aws_sdk_eks::types::{ClusterVersionInformation, VersionStatus};
use aws_smithy_types::{DateTime, date_time::Format};

use super::super::error::read;
use super::{Ask, Findings, Problem};
use crate::resource::Boxed;

/// How long before its end a version's support is worth a word.
const SOON: i64 = 60 * 24 * 60 * 60;

/// Looks the version up, or the one that EKS takes by default.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    Box::pin(async move {
        let call = ask.clients.eks().await?.describe_cluster_versions();
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        let offered = read("eks:DescribeClusterVersions", listed)?;
        let now = DateTime::from(ask.now);
        Ok(judge(ask.model.kubernetes.as_deref(), &offered, now)
            .into_iter()
            .collect())
    })
}

fn judge(wanted: Option<&str>, offered: &[ClusterVersionInformation], now: DateTime) -> Option<Problem> {
    // Without a version EKS chooses one that it supports.
    let wanted = wanted?;
    let mut usable: Vec<&str> = offered
        .iter()
        .filter(|one| one.version_status() != Some(&VersionStatus::Unsupported))
        .filter_map(ClusterVersionInformation::cluster_version)
        .collect();
    usable.sort_unstable_by_key(|version| minor(version));
    let Some(found) = offered
        .iter()
        .find(|one| one.cluster_version() == Some(wanted))
        .filter(|one| one.version_status() != Some(&VersionStatus::Unsupported))
    else {
        return Some(Problem::new(
            format!("Kubernetes {wanted} is not offered"),
            format!("EKS offers: {}", usable.join(", ")),
            "set cluster.kubernetes to one of these, or leave it out",
        ));
    };
    let end = found.end_of_standard_support_date();
    let on = end.and_then(|end| end.fmt(Format::DateTime).ok());
    let on = on.map_or_else(String::new, |on| on.chars().take(10).collect());
    if found.version_status() == Some(&VersionStatus::ExtendedSupport) {
        return Some(Problem::new(
            format!("Kubernetes {wanted} is out of standard support"),
            format!(
                "standard support has ended {on}; EKS offers: {}",
                usable.join(", ")
            ),
            "set cluster.kubernetes to a newer one: stackup makes no clusters with extended support, which costs more",
        ));
    }
    let soon = end.is_some_and(|end| end.secs() - now.secs() < SOON);
    soon.then(|| {
        Problem::new(
            format!("Kubernetes {wanted} is soon out of standard support"),
            format!("standard support ends {on}; then EKS upgrades the cluster by itself"),
            "set cluster.kubernetes to a newer one",
        )
        .warning()
    })
}

/// Versions in order: 1.9 before 1.10.
fn minor(version: &str) -> Vec<u32> {
    version.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, status: VersionStatus, end: i64) -> ClusterVersionInformation {
        ClusterVersionInformation::builder()
            .cluster_version(name)
            .version_status(status)
            .end_of_standard_support_date(DateTime::from_secs(end))
            .build()
    }

    #[test]
    fn a_version_is_offered_or_the_offered_ones_are_named() {
        let day = 24 * 60 * 60;
        let offered = [
            version("1.10", VersionStatus::StandardSupport, 400 * day),
            version("1.9", VersionStatus::StandardSupport, 30 * day),
            version("1.8", VersionStatus::ExtendedSupport, -day),
            version("1.7", VersionStatus::Unsupported, -400 * day),
        ];
        let judge = |wanted| judge(wanted, &offered, DateTime::from_secs(0));
        assert_eq!(judge(None), None);
        assert_eq!(judge(Some("1.10")), None);
        let soon = judge(Some("1.9")).unwrap();
        assert!(soon.warning && soon.found.contains("ends 1970-01-31"), "{soon:?}");
        let extended = judge(Some("1.8")).unwrap();
        assert!(
            !extended.warning && extended.title.contains("out of standard support"),
            "{extended:?}"
        );
        for wanted in ["1.7", "1.99"] {
            let unknown = judge(Some(wanted)).unwrap();
            assert_eq!(unknown.found, "EKS offers: 1.8, 1.9, 1.10");
        }
    }
}
