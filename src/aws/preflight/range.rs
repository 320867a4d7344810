//! Whether the range of addresses of a network of our own is large enough and free.

use super::{Ask, Findings, Problem};
use crate::{
    model::{NetworkModel, ZonesModel},
    resource::Boxed,
};

/// The longest prefix that a subnet may have: 251 addresses, one a pod and node.
const SUBNET: u8 = 24;
/// The shortest and the longest prefix that a VPC may have.
const VPC: (u8, u8) = (16, 28);
/// The ranges of which EKS takes one for Services: the one that the network does not use.
pub(super) const SERVICES: [&str; 2] = ["10.100.0.0/16", "172.20.0.0/16"];

/// Looks at the range in the stack file; calls nobody.
pub(super) fn check<'a>(ask: &'a Ask<'a>) -> Boxed<'a, Findings> {
    let found = match &ask.model.network {
        NetworkModel::Own { cidr, zones, .. } => {
            let zones = match zones {
                ZonesModel::Count(count) => *count,
                ZonesModel::Names(names) => u32::try_from(names.len()).unwrap_or(u32::MAX),
            };
            judge(cidr, zones)
        }
        NetworkModel::Existing { .. } => None,
    };
    Box::pin(std::future::ready(Ok(found.into_iter().collect())))
}

/// A public and a private subnet a zone must find room.
fn judge(cidr: &str, zones: u32) -> Option<Problem> {
    let Some(range) = Range::parse(cidr) else {
        return Some(Problem::new(
            "the range of addresses is not one",
            format!("cluster.network.cidr is {cidr}"),
            "write an address and a length, such as 10.0.0.0/16",
        ));
    };
    let needed = SUBNET.saturating_sub(bits(2 * zones));
    let (shortest, longest) = VPC;
    if range.length < shortest || range.length > longest.min(needed) {
        return Some(Problem::new(
            "the range of addresses has the wrong size",
            format!(
                "{cidr} is cut into {} subnets of /{SUBNET} at least, for {zones} zones",
                2 * zones
            ),
            format!("choose a range from /{shortest} to /{needed}"),
        ));
    }
    both_used(std::slice::from_ref(&range)).then(|| {
        Problem::new(
            "no range is left for Services",
            format!(
                "{cidr} overlaps both ranges of which EKS takes one for Services: {}",
                SERVICES.join(", ")
            ),
            "choose another cluster.network.cidr, such as 10.0.0.0/16",
        )
    })
}

/// Whether a network overlaps with all ranges that EKS has for Services.
pub(super) fn both_used(network: &[Range]) -> bool {
    let services = SERVICES.iter().filter_map(|range| Range::parse(range));
    services
        .into_iter()
        .all(|service| network.iter().any(|range| range.overlaps(service)))
}

/// How many bits tell so many subnets apart.
fn bits(subnets: u32) -> u8 {
    u8::try_from(subnets.next_power_of_two().trailing_zeros()).unwrap_or(u8::MAX)
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    base: u32,
    length: u8,
}

impl Range {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (base, length) = text.split_once('/')?;
        let base = base.parse::<std::net::Ipv4Addr>().ok()?.to_bits();
        let length = length.parse::<u8>().ok().filter(|length| *length <= 32)?;
        Some(Self { base, length })
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        let kept = 32 - u32::from(self.length.min(other.length));
        let mask = u32::MAX.checked_shl(kept).unwrap_or(0);
        self.base & mask == other.base & mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_hold_a_public_and_a_private_subnet_a_zone() {
        for (cidr, zones, good) in [
            ("10.0.0.0/16", 3, true),
            ("10.0.0.0/21", 3, true),
            ("10.0.0.0/22", 3, false),
            ("10.0.0.0/22", 2, true),
            ("10.0.0.0/23", 2, false),
            ("10.0.0.0/15", 2, false),
            ("10.100.0.0/16", 2, true),
            ("10.0.0.0", 2, false),
            ("300.0.0.0/16", 2, false),
        ] {
            assert_eq!(
                judge(cidr, zones).is_none(),
                good,
                "{cidr} {zones}: {:?}",
                judge(cidr, zones)
            );
        }
        assert!(judge("10.0.0.0/22", 3).unwrap().hint.ends_with("from /16 to /21"));
    }

    #[test]
    fn ranges_overlap_where_one_is_in_the_other() {
        let overlap =
            |one: &str, other: &str| Range::parse(one).unwrap().overlaps(Range::parse(other).unwrap());
        assert!(overlap("10.0.0.0/8", "10.100.0.0/16") && overlap("10.100.3.0/24", "10.100.0.0/16"));
        assert!(!overlap("10.99.0.0/16", "10.100.0.0/16") && overlap("0.0.0.0/0", "1.2.3.4/32"));
        let network = ["10.0.0.0/8", "172.16.0.0/12"].map(|range| Range::parse(range).unwrap());
        assert!(both_used(&network) && !both_used(&network[..1]));
    }
}
