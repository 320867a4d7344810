//! Network interfaces that the CNI plugin of a node that is gone left behind, and those that go with what AWS manages.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{NetworkInterface, NetworkInterfaceStatus, NetworkInterfaceType};

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

/// All interfaces of a VPC but those of NAT gateways, which go with their gateways.
pub(super) async fn list(clients: &Clients, vpc: &str) -> Result<Vec<NetworkInterface>, ResourceError> {
    let ec2 = clients.ec2().await?;
    let filter = || tags::filter("vpc-id", vec![vpc.to_owned()]);
    let all = async {
        let call = ec2.describe_network_interfaces().filters(filter());
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        read("ec2:DescribeNetworkInterfaces", listed)
    };
    let gateways = async {
        let call = ec2.describe_nat_gateways().filter(filter());
        let listed: Result<Vec<_>, _> = call.into_paginator().items().send().collect().await;
        read("ec2:DescribeNatGateways", listed)
    };
    let (mut all, gateways) = futures::try_join!(Box::pin(all), Box::pin(gateways))?;
    let theirs = gateways
        .iter()
        .flat_map(aws_sdk_ec2::types::NatGateway::nat_gateway_addresses);
    let theirs: BTreeSet<&str> = theirs
        .filter_map(|address| address.network_interface_id())
        .collect();
    all.retain(|one| one.network_interface_id().is_none_or(|id| !theirs.contains(id)));
    Ok(all)
}

/// What becomes of an interface. `groups` are the security groups of the cluster.
pub(super) fn judge(scope: &Scope, groups: &BTreeSet<String>, interface: &NetworkInterface) -> Option<Piece> {
    let about = interface.description().unwrap_or_default();
    let kept = [
        NetworkInterfaceType::NatGateway,
        NetworkInterfaceType::GatewayLoadBalancerEndpoint,
    ];
    if interface.interface_type().is_some_and(|kind| kept.contains(kind)) {
        // It goes with its gateway, which is a resource of its own.
        return None;
    }
    let grouped = interface
        .groups()
        .iter()
        .any(|group| group.group_id().is_some_and(|id| groups.contains(id)));
    let ours = scope.is_ours(&tags::read(interface.tag_set.clone()), true)
        || grouped
        || (scope.own && about == format!("Amazon EKS {}", scope.cluster));
    let fate = match (ours, interface.attachment().and_then(|one| one.instance_id())) {
        (false, _) if scope.own => Fate::Foreign(NO_MARK.to_owned()),
        (false, _) => return None,
        (true, _) if managed(interface) => {
            Fate::Waits("it goes by itself some minutes after what it belongs to".to_owned())
        }
        (true, Some(instance)) => Fate::Waits(format!("instance {instance} still has it")),
        (true, None) if interface.status() == Some(&NetworkInterfaceStatus::Available) => Fate::Remove,
        (true, None) => Fate::Waits("it is not free yet".to_owned()),
    };
    Some(Piece {
        family: Family::Interface,
        id: interface.network_interface_id()?.to_owned(),
        about: about.to_owned(),
        fate,
    })
}

/// Whether AWS made it, for a load balancer or a control plane: nobody else may delete it.
fn managed(interface: &NetworkInterface) -> bool {
    let about = interface.description().unwrap_or_default();
    interface.requester_managed() == Some(true)
        || about.starts_with("ELB ")
        || about.starts_with("Amazon EKS ")
        || interface
            .interface_type()
            .is_some_and(|kind| *kind == NetworkInterfaceType::NetworkLoadBalancer)
}

/// Deletes one interface.
pub(super) async fn remove(clients: &Clients, id: &str) -> Result<(), ResourceError> {
    let call = clients.ec2().await?.delete_network_interface();
    deleted(
        "ec2:DeleteNetworkInterface",
        "InvalidNetworkInterfaceID.NotFound",
        call.network_interface_id(id).send().await,
    )
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{GroupIdentifier, NetworkInterfaceAttachment, Tag};

    use super::{super::scope::tests::scope, *};

    fn interface(about: &str) -> aws_sdk_ec2::types::builders::NetworkInterfaceBuilder {
        NetworkInterface::builder()
            .network_interface_id("eni-1")
            .description(about)
            .status(NetworkInterfaceStatus::Available)
    }

    fn fate(scope: &Scope, interface: &NetworkInterface) -> Option<Fate> {
        let groups = BTreeSet::from(["sg-cluster".to_owned()]);
        judge(scope, &groups, interface).map(|piece| piece.fate)
    }

    #[test]
    fn a_free_interface_goes_only_with_a_tag_or_a_group_of_the_cluster() {
        let tag = Tag::builder()
            .key("cluster.k8s.amazonaws.com/name")
            .value("demo")
            .build();
        let tagged = interface("aws-K8S-i-1").tag_set(tag).build();
        assert_eq!(fate(&scope(), &tagged), Some(Fate::Remove));
        let group = GroupIdentifier::builder().group_id("sg-cluster").build();
        let grouped = interface("aws-K8S-i-1").groups(group).build();
        assert_eq!(fate(&scope(), &grouped), Some(Fate::Remove));
        let bare = interface("aws-K8S-i-1").build();
        assert_eq!(fate(&scope(), &bare), Some(Fate::Foreign(NO_MARK.into())));
        assert_eq!(
            fate(
                &Scope {
                    own: false,
                    ..scope()
                },
                &bare
            ),
            None
        );
    }

    #[test]
    fn what_aws_manages_or_an_instance_has_is_waited_for() {
        let group = || GroupIdentifier::builder().group_id("sg-cluster").build();
        let balancer = interface("ELB a1").groups(group()).build();
        assert!(matches!(fate(&scope(), &balancer), Some(Fate::Waits(why)) if why.contains("by itself")));
        let control_plane = interface("Amazon EKS demo").build();
        assert!(matches!(fate(&scope(), &control_plane), Some(Fate::Waits(_))));
        let attachment = NetworkInterfaceAttachment::builder().instance_id("i-1").build();
        let used = interface("").groups(group()).attachment(attachment).build();
        assert!(matches!(fate(&scope(), &used), Some(Fate::Waits(why)) if why.contains("i-1")));
        let nat = interface("Interface for NAT Gateway").interface_type(NetworkInterfaceType::NatGateway);
        assert_eq!(fate(&scope(), &nat.build()), None);
    }
}
