use super::super::{
    Clients,
    error::{is_gone, read},
    tags::{self, Tags, UID},
};
use crate::resource::ResourceError;

/// Whose leftovers are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::aws) struct Scope {
    /// The stack's uid.
    pub(in crate::aws) uid: String,
    /// The cluster's name.
    pub(in crate::aws) cluster: String,
    /// The VPC that it was in; without one, only what is found by tags alone is looked for.
    pub(in crate::aws) vpc: Option<String>,
    /// Whether that VPC is the stack's own: then everything in it is worth a word.
    pub(in crate::aws) own: bool,
    /// Whether it wrote logs: into a group of ours, and if it went after that group, into one that it made anew.
    pub(in crate::aws) logs: bool,
    /// Since when there was a cluster, in seconds of Unix time, if that is known.
    pub(in crate::aws) since: Option<i64>,
    /// Whether there is such a cluster now.
    pub(in crate::aws) cluster_now: ClusterNow,
}

/// What stands under the cluster's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::aws) enum ClusterNow {
    Gone,
    /// It stands, so what its controllers made is in use.
    Stands,
    /// It is on its way out.
    Leaving,
    /// Someone else's, elsewhere in this region: the name alone proves nothing outside of our VPC.
    Another,
}

impl Scope {
    /// Asks what must be known before anything can be judged.
    pub(in crate::aws) async fn of(
        clients: &Clients,
        uid: &str,
        cluster: &str,
        vpc: Option<&str>,
        logs: bool,
        since: Option<i64>,
    ) -> Result<Self, ResourceError> {
        let (own, cluster_now) = futures::try_join!(
            Box::pin(is_own(clients, uid, vpc)),
            Box::pin(cluster_now(clients, uid, cluster, vpc))
        )?;
        Ok(Self {
            uid: uid.to_owned(),
            cluster: cluster.to_owned(),
            vpc: vpc.map(str::to_owned),
            own,
            logs,
            since,
            cluster_now,
        })
    }

    /// The tag that AWS controllers and drivers put on what they make for a cluster.
    pub(super) fn cluster_tag(&self) -> String {
        format!("kubernetes.io/cluster/{}", self.cluster)
    }

    /// Whether a thing with these tags is the stack's or its cluster's. `inside` says that it is in our own VPC, where
    /// no other cluster of the same name can be meant.
    pub(in crate::aws) fn is_ours(&self, tags: &Tags, inside: bool) -> bool {
        let name_proves = self.cluster_now != ClusterNow::Another || (inside && self.own);
        tags.get(UID) == Some(&self.uid) || (name_proves && self.names_cluster(tags))
    }

    /// Whether these tags name the cluster, whoever's it is.
    pub(super) fn names_cluster(&self, tags: &Tags) -> bool {
        let named = [
            "elbv2.k8s.aws/cluster",
            "cluster.k8s.amazonaws.com/name",
            "aws:eks:cluster-name",
            "eks:cluster-name",
            "eks:eks-cluster-name",
            "KubernetesCluster",
        ];
        tags.get(&self.cluster_tag())
            .is_some_and(|value| value == "owned")
            || named.iter().any(|key| tags.get(*key) == Some(&self.cluster))
    }
}

async fn is_own(clients: &Clients, uid: &str, vpc: Option<&str>) -> Result<bool, ResourceError> {
    let Some(vpc) = vpc else { return Ok(false) };
    let call = clients.ec2().await?.describe_vpcs();
    let vpcs = read(
        "ec2:DescribeVpcs",
        call.filters(tags::filter("vpc-id", vec![vpc.to_owned()]))
            .send()
            .await,
    )?;
    let mut of = vpcs.vpcs.into_iter().flatten().map(|vpc| tags::read(vpc.tags));
    Ok(of.any(|tags| tags.get(UID).is_some_and(|owner| owner == uid)))
}

async fn cluster_now(
    clients: &Clients,
    uid: &str,
    name: &str,
    vpc: Option<&str>,
) -> Result<ClusterNow, ResourceError> {
    let described = match clients.eks().await?.describe_cluster().name(name).send().await {
        Err(error) if is_gone(&error) => None,
        sent => read("eks:DescribeCluster", sent)?.cluster,
    };
    Ok(described.map_or(ClusterNow::Gone, |cluster| judge(&cluster, uid, vpc)))
}

fn judge(cluster: &aws_sdk_eks::types::Cluster, uid: &str, vpc: Option<&str>) -> ClusterNow {
    let marked = cluster
        .tags()
        .and_then(|tags| tags.get(UID))
        .is_some_and(|owner| owner == uid);
    let here = cluster.resources_vpc_config().and_then(|config| config.vpc_id());
    if !marked && (here.is_none() || here != vpc) {
        ClusterNow::Another
    } else if cluster.status() == Some(&aws_sdk_eks::types::ClusterStatus::Deleting) {
        ClusterNow::Leaving
    } else {
        ClusterNow::Stands
    }
}

#[cfg(test)]
pub(super) mod tests {
    use aws_sdk_eks::types::{Cluster, ClusterStatus, VpcConfigResponse};

    use super::*;

    /// A stack `u` whose cluster `demo` is gone, in a VPC of its own.
    pub(in crate::aws::sweep) fn scope() -> Scope {
        Scope {
            uid: "u".into(),
            cluster: "demo".into(),
            vpc: Some("vpc-1".into()),
            own: true,
            logs: true,
            since: Some(1_000),
            cluster_now: ClusterNow::Gone,
        }
    }

    pub(in crate::aws::sweep) fn tags(pairs: &[(&str, &str)]) -> Tags {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_stacks_mark_or_the_clusters_makes_something_ours() {
        let scope = scope();
        for (pair, ours) in [
            (("stackup:uid", "u"), true),
            (("stackup:uid", "other"), false),
            (("kubernetes.io/cluster/demo", "owned"), true),
            (("kubernetes.io/cluster/demo", "shared"), false),
            (("kubernetes.io/cluster/demo-2", "owned"), false),
            (("elbv2.k8s.aws/cluster", "demo"), true),
            (("elbv2.k8s.aws/cluster", "another"), false),
            (("eks:cluster-name", "demo"), true),
            (("cluster.k8s.amazonaws.com/name", "demo"), true),
            (("Name", "demo"), false),
        ] {
            assert_eq!(scope.is_ours(&tags(&[pair]), false), ours, "{pair:?}");
        }
        assert!(!scope.is_ours(&Tags::new(), true));
    }

    #[test]
    fn where_someone_else_has_a_cluster_of_this_name_the_name_proves_nothing_outside_our_vpc() {
        let scope = Scope {
            cluster_now: ClusterNow::Another,
            ..scope()
        };
        let named = tags(&[("kubernetes.io/cluster/demo", "owned")]);
        assert!(!scope.is_ours(&named, false));
        assert!(scope.is_ours(&named, true));
        let existing = Scope { own: false, ..scope };
        assert!(!existing.is_ours(&named, true));
        assert!(existing.is_ours(&tags(&[("stackup:uid", "u")]), false));
    }

    #[test]
    fn a_cluster_in_our_vpc_or_with_our_mark_keeps_the_sweep_away() {
        let cluster = |vpc: &str, uid: &str, status| {
            let config = VpcConfigResponse::builder().vpc_id(vpc).build();
            Cluster::builder()
                .status(status)
                .resources_vpc_config(config)
                .tags(UID, uid)
                .build()
        };
        for (vpc, uid, status, now) in [
            ("vpc-1", "u", ClusterStatus::Active, ClusterNow::Stands),
            ("vpc-1", "other", ClusterStatus::Active, ClusterNow::Stands),
            ("vpc-2", "u", ClusterStatus::Failed, ClusterNow::Stands),
            ("vpc-1", "u", ClusterStatus::Deleting, ClusterNow::Leaving),
            ("vpc-2", "other", ClusterStatus::Active, ClusterNow::Another),
        ] {
            assert_eq!(
                judge(&cluster(vpc, uid, status), "u", Some("vpc-1")),
                now,
                "{vpc} {uid}"
            );
        }
    }
}
