//! Security groups that controllers, or EKS itself, made for a cluster. Rules that name one another are revoked first,
//! since a group that a rule names cannot be deleted.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{IpPermission, NetworkInterface, SecurityGroup};

use super::{
    super::{
        Clients,
        error::{deleted, read},
        tags,
    },
    Family, Fate, Piece, Scope,
    piece::NO_MARK,
};
use crate::resource::ResourceError;

/// All security groups of a VPC.
pub(super) async fn list(clients: &Clients, vpc: &str) -> Result<Vec<SecurityGroup>, ResourceError> {
    let call = clients.ec2().await?.describe_security_groups();
    let filter = tags::filter("vpc-id", vec![vpc.to_owned()]);
    let listed = call.filters(filter).into_paginator().items().send();
    let listed: Result<_, _> = listed.collect().await;
    read("ec2:DescribeSecurityGroups", listed)
}

/// The ids of those that are the cluster's.
pub(super) fn ours(scope: &Scope, groups: &[SecurityGroup]) -> BTreeSet<String> {
    let ours = groups.iter().filter(|group| is_ours(scope, group));
    ours.filter_map(|group| group.group_id.clone()).collect()
}

fn is_ours(scope: &Scope, group: &SecurityGroup) -> bool {
    // EKS names the group of a cluster after it, with a number at the end.
    let prefix = format!("eks-cluster-sg-{}-", scope.cluster);
    let number = group.group_name().and_then(|name| name.strip_prefix(&prefix));
    let named = number.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    let tags = tags::read(group.tags.clone());
    group.group_name() != Some("default") && (scope.is_ours(&tags, true) || (scope.own && named))
}

/// What becomes of a group, given all groups and interfaces of its VPC and the ids of those that are ours.
pub(super) fn judge(
    scope: &Scope,
    group: &SecurityGroup,
    all: &[SecurityGroup],
    interfaces: &[NetworkInterface],
    ours: &BTreeSet<String>,
) -> Option<Piece> {
    let id = group.group_id()?;
    let fate = if ours.contains(id) {
        kept_by(id, all, interfaces, ours).map_or(Fate::Remove, Fate::Waits)
    } else if scope.own && group.group_name() != Some("default") {
        Fate::Foreign(NO_MARK.to_owned())
    } else {
        return None;
    };
    Some(Piece {
        family: Family::SecurityGroup,
        id: id.to_owned(),
        about: group.group_name().unwrap_or_default().to_owned(),
        fate,
    })
}

fn kept_by(
    id: &str,
    all: &[SecurityGroup],
    interfaces: &[NetworkInterface],
    ours: &BTreeSet<String>,
) -> Option<String> {
    let in_it = |interface: &&NetworkInterface| {
        let mut groups = interface.groups().iter();
        groups.any(|group| group.group_id() == Some(id))
    };
    if let Some(interface) = interfaces.iter().find(in_it) {
        let user = interface.network_interface_id().unwrap_or_default();
        return Some(format!("interface {user} is in it"));
    }
    let others = all
        .iter()
        .filter(|group| group.group_id().is_some_and(|other| !ours.contains(other)));
    let mut naming = others.filter(|group| permissions(group).any(|permission| names(permission, id)));
    let other = naming.next()?.group_id()?;
    Some(format!(
        "a rule of {other}, which is not ours, names it: remove that rule"
    ))
}

fn permissions(group: &SecurityGroup) -> impl Iterator<Item = &IpPermission> {
    group.ip_permissions().iter().chain(group.ip_permissions_egress())
}

fn names(permission: &IpPermission, id: &str) -> bool {
    let mut pairs = permission.user_id_group_pairs().iter();
    pairs.any(|pair| pair.group_id() == Some(id))
}

/// The part of these rules that names other groups of ours; nothing of what else they allow.
fn naming(own: &str, rules: &[IpPermission], ours: &BTreeSet<String>) -> Vec<IpPermission> {
    let cut = |rule: &IpPermission| {
        let pairs = rule.user_id_group_pairs().iter();
        let pairs = pairs.filter(|pair| pair.group_id().is_some_and(|id| id != own && ours.contains(id)));
        let pairs: Vec<_> = pairs.cloned().collect();
        (!pairs.is_empty()).then(|| {
            IpPermission::builder()
                .set_ip_protocol(rule.ip_protocol.clone())
                .set_from_port(rule.from_port)
                .set_to_port(rule.to_port)
                .set_user_id_group_pairs(Some(pairs))
                .build()
        })
    };
    rules.iter().filter_map(cut).collect()
}

/// Deletes one group of ours, after the rules of all groups of ours that name one another.
pub(super) async fn remove(clients: &Clients, id: &str) -> Result<(), ResourceError> {
    deleted(
        "ec2:DeleteSecurityGroup",
        "InvalidGroup.NotFound",
        clients
            .ec2()
            .await?
            .delete_security_group()
            .group_id(id)
            .send()
            .await,
    )
}

/// Revokes the rules of this group that name other groups of ours.
pub(super) async fn disentangle(
    clients: &Clients,
    group: &SecurityGroup,
    ours: &BTreeSet<String>,
) -> Result<(), ResourceError> {
    let Some(id) = group.group_id() else { return Ok(()) };
    let ec2 = clients.ec2().await?;
    let (in_, out) = (group.ip_permissions(), group.ip_permissions_egress());
    let (in_, out) = (naming(id, in_, ours), naming(id, out, ours));
    if !in_.is_empty() {
        let call = ec2.revoke_security_group_ingress().group_id(id);
        deleted(
            "ec2:RevokeSecurityGroupIngress",
            "InvalidPermission.NotFound",
            call.set_ip_permissions(Some(in_)).send().await,
        )?;
    }
    if !out.is_empty() {
        let call = ec2.revoke_security_group_egress().group_id(id);
        deleted(
            "ec2:RevokeSecurityGroupEgress",
            "InvalidPermission.NotFound",
            call.set_ip_permissions(Some(out)).send().await,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{GroupIdentifier, IpRange, Tag, UserIdGroupPair};

    use super::{super::scope::tests::scope, *};

    fn rule(to: &str) -> IpPermission {
        IpPermission::builder()
            .ip_protocol("tcp")
            .from_port(80)
            .user_id_group_pairs(UserIdGroupPair::builder().group_id(to).build())
            .ip_ranges(IpRange::builder().cidr_ip("10.0.0.0/8").build())
            .build()
    }

    fn group(id: &str, name: &str, owned: bool) -> aws_sdk_ec2::types::builders::SecurityGroupBuilder {
        let tag = Tag::builder()
            .key("kubernetes.io/cluster/demo")
            .value("owned")
            .build();
        let group = SecurityGroup::builder().group_id(id).group_name(name);
        if owned { group.tags(tag) } else { group }
    }

    fn fates(groups: &[SecurityGroup], interfaces: &[NetworkInterface]) -> Vec<(String, Fate)> {
        let ours = ours(&scope(), groups);
        let pieces = groups
            .iter()
            .filter_map(|group| judge(&scope(), group, groups, interfaces, &ours));
        pieces.map(|piece| (piece.id, piece.fate)).collect()
    }

    #[test]
    fn groups_of_the_cluster_go_the_default_one_is_not_spoken_of_and_others_are_named() {
        let groups = [
            group("sg-0", "default", true).build(),
            group("sg-1", "k8s-elb-a1", true).build(),
            group("sg-2", "k8s-elb-a2", false).build(),
            group("sg-3", "eks-cluster-sg-demo-123", false).build(),
            group("sg-4", "eks-cluster-sg-demo-two-123", false).build(),
        ];
        let foreign = Fate::Foreign(NO_MARK.into());
        let expected = [
            ("sg-1", Fate::Remove),
            ("sg-2", foreign.clone()),
            ("sg-3", Fate::Remove),
            ("sg-4", foreign),
        ];
        assert_eq!(
            fates(&groups, &[]),
            expected.map(|(id, fate)| (id.to_owned(), fate))
        );
    }

    #[test]
    fn a_group_waits_for_interfaces_in_it_and_for_rules_of_others_that_name_it() {
        let used = GroupIdentifier::builder().group_id("sg-1").build();
        let interface = NetworkInterface::builder()
            .network_interface_id("eni-1")
            .groups(used)
            .build();
        let one = [group("sg-1", "k8s-elb-a1", true).build()];
        let waits = fates(&one, &[interface]).remove(0).1;
        assert_eq!(waits, Fate::Waits("interface eni-1 is in it".into()));

        let theirs = group("sg-9", "theirs", false)
            .ip_permissions(rule("sg-1"))
            .build();
        let named = [group("sg-1", "k8s-elb-a1", true).build(), theirs];
        assert!(matches!(&fates(&named, &[])[0].1, Fate::Waits(why) if why.contains("sg-9")));

        let ours = group("sg-2", "nodes", true).ip_permissions(rule("sg-1")).build();
        let named = [group("sg-1", "k8s-elb-a1", true).build(), ours];
        assert!(fates(&named, &[]).iter().all(|(_, fate)| *fate == Fate::Remove));
    }

    #[test]
    fn only_the_part_of_a_rule_that_names_another_group_of_ours_is_revoked() {
        let ours = BTreeSet::from(["sg-1".to_owned(), "sg-2".to_owned()]);
        let rules = [rule("sg-1"), rule("sg-2"), rule("sg-9")];
        let cut = naming("sg-2", &rules, &ours);
        assert_eq!(cut.len(), 1);
        assert!(names(&cut[0], "sg-1") && cut[0].ip_ranges().is_empty());
        assert_eq!(cut[0].from_port(), Some(80));
    }
}
