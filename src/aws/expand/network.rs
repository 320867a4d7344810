use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::parts::Parts;
use crate::{
    model::{Address, NatModel, NetworkModel, ZonesModel},
    resource::Reference,
};

/// What the rest of the stack must know of its network.
pub(super) struct Network {
    /// The VPC's id, or a reference to it.
    pub(super) vpc: Value,
    /// One entry a zone.
    zones: Vec<Zone>,
    /// Whether nodes stand in the public subnets.
    public_nodes: bool,
    /// What gives nodes their way to the world.
    pub(super) routes: Vec<Address>,
    /// The internet gateway, if it is one of ours.
    pub(super) gateway: Option<Address>,
}

struct Zone {
    name: Value,
    public: Option<Value>,
    private: Value,
}

impl Network {
    /// The subnets of the control plane, with their zones: private ones.
    pub(super) fn control_plane(&self) -> Vec<Value> {
        let subnet = |zone: &Zone| json!({"id": zone.private, "zone": zone.name});
        self.zones.iter().map(subnet).collect()
    }

    /// The subnets of nodes.
    pub(super) fn nodes(&self) -> Vec<Value> {
        let subnet = |zone: &Zone| match &zone.public {
            Some(public) if self.public_nodes => public.clone(),
            Some(_) | None => zone.private.clone(),
        };
        self.zones.iter().map(subnet).collect()
    }

    pub(super) fn all_subnets(&self) -> Vec<Value> {
        let of = |zone: &Zone| zone.public.clone().into_iter().chain([zone.private.clone()]);
        self.zones.iter().flat_map(of).collect()
    }
}

impl Parts<'_> {
    pub(super) fn network(&mut self) -> Network {
        match self.eks.network.clone() {
            NetworkModel::Own { cidr, zones, nat } => self.own_network(&cidr, &zones, nat),
            NetworkModel::Existing { vpc, subnets } => Network {
                vpc: json!(vpc),
                zones: subnets
                    .into_iter()
                    .map(|subnet| Zone {
                        name: Value::Null,
                        public: None,
                        private: json!(subnet),
                    })
                    .collect(),
                public_nodes: false,
                routes: Vec::new(),
                gateway: None,
            },
        }
    }

    fn own_network(&mut self, cidr: &str, zones: &ZonesModel, nat: NatModel) -> Network {
        let types: Vec<&Vec<String>> = self
            .eks
            .node_groups
            .iter()
            .map(|group| &group.instance_types)
            .collect();
        let (count, inputs) = match zones {
            ZonesModel::Count(count) => (*count, json!({"count": count, "instanceTypes": types})),
            ZonesModel::Names(names) => (
                u32::try_from(names.len()).unwrap_or(u32::MAX),
                json!({"names": names, "instanceTypes": types}),
            ),
        };
        let chosen = self.add("aws.zones", "main", inputs, Vec::new());
        let vpc = self.tagged("aws.vpc", "main", json!({"cidr": cidr}), Vec::new());
        let vpc_id = Reference::field(&vpc, "id");
        let gateway = self.tagged(
            "aws.internet_gateway",
            "main",
            json!({"vpcId": vpc_id}),
            Vec::new(),
        );
        let ranges = ranges(cidr, count);
        let mut made = Vec::new();
        for (at, (public, private)) in (1..).zip(ranges) {
            let zone = Reference::field(&chosen, &format!("zone{at}"));
            let mut subnet = |side: &str, cidr: String, role: &str, addresses: bool| {
                let inputs = json!({
                    "vpcId": vpc_id, "cidr": cidr, "zone": zone, "publicAddresses": addresses,
                    // Where load balancers of this kind go; Services of Kubernetes look for it.
                    "tags": {(role): "1"},
                });
                let subnet = self.tagged("aws.subnet", &format!("{side}-{at}"), inputs, Vec::new());
                Reference::field(&subnet, "id")
            };
            let public = subnet("public", public, "kubernetes.io/role/elb", true);
            let private = subnet("private", private, "kubernetes.io/role/internal-elb", false);
            made.push(Zone {
                name: zone,
                public: Some(public),
                private,
            });
        }
        let to_world = json!([{"destination": "0.0.0.0/0", "gatewayId": Reference::field(&gateway, "id")}]);
        let public: Vec<&Value> = made.iter().filter_map(|zone| zone.public.as_ref()).collect();
        let inputs = json!({"vpcId": vpc_id, "routes": to_world, "subnetIds": public});
        let public = self.tagged("aws.route_table", "public", inputs, Vec::new());
        let private = self.private_routes(&vpc_id, &made, &public, nat);
        let tables: Vec<Value> = std::iter::once(&public)
            .chain(&private)
            .map(|table| Reference::field(table, "id"))
            .collect();
        // Layers of images lie in S3: this way they do not pass a gateway that is paid by the byte.
        let inputs = json!({"vpcId": vpc_id, "service": "s3", "routeTableIds": tables});
        self.tagged("aws.vpc_endpoint", "s3", inputs, Vec::new());
        Network {
            vpc: vpc_id,
            zones: made,
            public_nodes: nat == NatModel::None,
            routes: if nat == NatModel::None {
                vec![public]
            } else {
                private
            },
            gateway: Some(gateway),
        }
    }

    /// The route tables of the private subnets: one, or one a zone where each has a gateway of its own.
    fn private_routes(
        &mut self,
        vpc_id: &Value,
        zones: &[Zone],
        public: &Address,
        nat: NatModel,
    ) -> Vec<Address> {
        let all: Vec<&Value> = zones.iter().map(|zone| &zone.private).collect();
        let table = |parts: &mut Self, name: &str, gateway: Option<Address>, subnets: Vec<&Value>| {
            let routes: Vec<Value> = gateway
                .iter()
                .map(|gateway| json!({"destination": "0.0.0.0/0", "natGatewayId": Reference::field(gateway, "id")}))
                .collect();
            let inputs = json!({"vpcId": vpc_id, "routes": routes, "subnetIds": subnets});
            parts.tagged("aws.route_table", name, inputs, Vec::new())
        };
        match nat {
            NatModel::None => vec![table(self, "private", None, all)],
            NatModel::Single => {
                let gateway = zones.first().and_then(|zone| self.nat("main", zone, public));
                vec![table(self, "private", gateway, all)]
            }
            NatModel::PerZone => (1..)
                .zip(zones)
                .map(|(at, zone)| {
                    let gateway = self.nat(&format!("zone-{at}"), zone, public);
                    table(self, &format!("private-{at}"), gateway, vec![&zone.private])
                })
                .collect(),
        }
    }

    fn nat(&mut self, name: &str, zone: &Zone, public_routes: &Address) -> Option<Address> {
        let subnet = zone.public.as_ref()?;
        let address = self.tagged("aws.address", name, json!({}), Vec::new());
        let inputs = json!({"subnetId": subnet, "allocationId": Reference::field(&address, "id")});
        // Without its own way to the world it would be of no use, and its address could not be mapped.
        let needs = vec![crate::model::Need::ready(public_routes.clone())];
        Some(self.tagged("aws.nat_gateway", name, inputs, needs))
    }
}

/// The ranges of the public and the private subnet of each zone: the first half of the network is for private subnets,
/// where pods take addresses, and a part of the second one for public ones.
///
/// The network is cut into eight: private subnets take one (three zones) or two (two zones) eighths each, from the
/// beginning; public ones take the half of an eighth each, from the seventh on.
fn ranges(cidr: &str, zones: u32) -> Vec<(String, String)> {
    let Some((address, length)) = cidr.split_once('/') else {
        return Vec::new();
    };
    let (Ok(first), Ok(length)) = (address.parse::<Ipv4Addr>(), length.parse::<u32>()) else {
        return Vec::new();
    };
    let first = u32::from(first);
    let size = |length: u32| 1_u32.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
    let private = if zones <= 2 { length + 2 } else { length + 3 };
    let public = length + 4;
    let range = |base: u32, at: u32, length: u32| {
        let start = base.saturating_add(at.saturating_mul(size(length)));
        format!("{}/{length}", Ipv4Addr::from(start))
    };
    let upper = first.saturating_add(size(length + 3).saturating_mul(6));
    (0..zones)
        .map(|at| (range(upper, at, public), range(first, at, private)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_lie_in_the_network_and_do_not_overlap() {
        let two = ranges("10.0.0.0/16", 2);
        assert_eq!(two[0], ("10.0.192.0/20".into(), "10.0.0.0/18".into()));
        assert_eq!(two[1], ("10.0.208.0/20".into(), "10.0.64.0/18".into()));
        let three = ranges("10.0.0.0/16", 3);
        assert_eq!(three[2], ("10.0.224.0/20".into(), "10.0.64.0/19".into()));
        for (cidr, zones) in [("10.0.0.0/16", 2), ("10.0.0.0/16", 3), ("172.16.8.0/23", 3)] {
            let mut spans: Vec<(u32, u32)> = ranges(cidr, zones)
                .into_iter()
                .flat_map(|(public, private)| [public, private])
                .map(|range| span(&range))
                .collect();
            spans.sort_unstable();
            let (first, last) = span(cidr);
            assert!(spans[0].0 >= first && spans[spans.len() - 1].1 <= last, "{cidr}");
            assert!(
                spans.windows(2).all(|pair| pair[0].1 < pair[1].0),
                "{cidr}: {spans:?}"
            );
        }
    }

    fn span(cidr: &str) -> (u32, u32) {
        let (address, length) = cidr.split_once('/').unwrap();
        let first = u32::from(address.parse::<Ipv4Addr>().unwrap());
        (first, first + (1 << (32 - length.parse::<u32>().unwrap())) - 1)
    }
}
