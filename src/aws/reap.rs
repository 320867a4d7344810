//! Stacks that are found by nothing but their tags: enough of each to take it down where no state of it is left.

use std::{collections::BTreeMap, time::SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use serde_json::{Value, json};

use super::{
    Clients,
    marked::{Thing, Whose, marked},
    sweep,
    tags::{ADDRESS, EXPIRES, STACK, UID},
};
use crate::{
    model::{Address, Need},
    resource::{Remembered, ResourceError},
};

/// A stack as its tags tell of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Tagged {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// When it may be taken, RFC 3339; `None` if it has no lifetime.
    pub expires: Option<String>,
    /// Whether that time is over. Never so without a lifetime, or with one that cannot be read.
    pub expired: bool,
    /// What is there of it, as a state would remember it.
    pub resources: BTreeMap<Address, Remembered>,
    /// What carries its mark and goes with something else: instances, their volumes and interfaces; or what no kind of
    /// this build is known for.
    pub others: Vec<String>,
}

/// The add-on that frees the addresses of pods: it goes after the nodes, all others before, since their disruption
/// budgets would hold the nodes.
const CNI: &str = "vpc-cni";

/// What must be gone before each kind can go: those on the right, if they are there.
const BEFORE: [(&str, &[&str]); 15] = [
    ("aws.eks_addon", &[]),
    ("aws.eks_node_group", &["aws.eks_addon"]),
    (CNI, &["aws.eks_node_group"]),
    (
        "aws.eks_access_entry",
        &["aws.eks_addon", "aws.eks_node_group", CNI],
    ),
    (
        "aws.eks_cluster",
        &["aws.eks_addon", "aws.eks_node_group", CNI, "aws.eks_access_entry"],
    ),
    ("aws.launch_template", &["aws.eks_node_group"]),
    ("aws.log_group", &["aws.eks_cluster"]),
    (sweep::KIND, &["aws.eks_cluster"]),
    (
        "aws.iam_role",
        &["aws.eks_cluster", "aws.eks_node_group", "aws.eks_addon", CNI],
    ),
    ("aws.vpc_endpoint", &["aws.eks_node_group", sweep::KIND]),
    // Nodes need a way out as long as they are there.
    (
        "aws.route_table",
        &["aws.eks_node_group", "aws.vpc_endpoint", sweep::KIND],
    ),
    ("aws.nat_gateway", &["aws.eks_node_group", "aws.route_table"]),
    ("aws.address", &["aws.nat_gateway"]),
    (
        "aws.internet_gateway",
        &["aws.nat_gateway", "aws.address", "aws.route_table", sweep::KIND],
    ),
    (
        "aws.subnet",
        &[
            "aws.eks_cluster",
            "aws.nat_gateway",
            "aws.route_table",
            "aws.vpc_endpoint",
            sweep::KIND,
        ],
    ),
];

/// The network itself, which goes when all that was in it is gone.
const LAST: &str = "aws.vpc";

/// All stacks of the account and region, by their tags; read-only.
pub async fn stacks(clients: &Clients, now: SystemTime) -> Result<Vec<Tagged>, ResourceError> {
    Ok(gather(marked(clients, Whose::All).await?, now))
}

fn gather(things: Vec<Thing>, now: SystemTime) -> Vec<Tagged> {
    let mut stacks: BTreeMap<(String, String), Vec<Thing>> = BTreeMap::new();
    for thing in things {
        if let (Some(name), Some(uid)) = (thing.tags.get(STACK), thing.tags.get(UID)) {
            stacks.entry((name.clone(), uid.clone())).or_default().push(thing);
        }
    }
    let stack = |((name, uid), things)| tagged(name, uid, things, now);
    stacks.into_iter().map(stack).collect()
}

fn tagged(name: String, uid: String, things: Vec<Thing>, now: SystemTime) -> Tagged {
    // A later apply may have given it a longer life.
    let expires = things
        .iter()
        .filter_map(|thing| thing.tags.get(EXPIRES))
        .max()
        .cloned();
    let over = expires.as_deref().is_some_and(|at| is_over(at, now));
    let (mut resources, mut others) = (BTreeMap::new(), Vec::new());
    let leftovers = leftovers(&name, &uid, &things);
    for thing in things {
        match resource(&name, &uid, &thing) {
            Some((address, remembered)) if !resources.contains_key(&address) => {
                resources.insert(address, remembered);
            }
            Some(_) | None => others.push(format!("{} {}", thing.kind, thing.id)),
        }
    }
    resources.extend(leftovers);
    order(&mut resources);
    Tagged {
        name,
        uid,
        expires,
        expired: over,
        resources,
        others,
    }
}

fn is_over(at: &str, now: SystemTime) -> bool {
    let at = DateTime::from_str(at, Format::DateTime).ok();
    let at = at.and_then(|at| SystemTime::try_from(at).ok());
    at.is_some_and(|at| at <= now)
}

/// A thing as its kind finds it again.
fn resource(name: &str, uid: &str, thing: &Thing) -> Option<(Address, Remembered)> {
    let address = Address::parse(thing.tags.get(ADDRESS)?).ok()?;
    let kind = address.as_str().split('/').next()?.to_owned();
    if kind != LAST && !BEFORE.iter().any(|(known, _)| *known == kind) {
        return None;
    }
    let mut identity = json!({"stack": name, "uid": uid, "address": address});
    // What is named by us is found by its name.
    if let (Some(identity), "aws.iam_role") = (identity.as_object_mut(), kind.as_str()) {
        identity.insert("name".to_owned(), json!(thing.id));
    }
    // All others have an ARN as id, which their lists do not tell: with another one they would count as made anew by
    // someone else, and nobody would wait until they are gone.
    let id = thing.kind.starts_with("ec2:").then(|| thing.id.clone());
    Some((address, remembered(kind, identity, id, thing.outputs.clone())))
}

fn remembered(kind: String, identity: Value, id: Option<String>, outputs: Value) -> Remembered {
    Remembered {
        kind,
        identity,
        id,
        component: None,
        inputs: None,
        input_hash: String::new(),
        outputs,
        needs: Vec::new(),
        refers: Vec::new(),
        generation: 0,
    }
}

/// The place in the order of removal for what the cluster's controllers made. Where the cluster is gone already, its
/// name is taken to be that of the stack.
fn leftovers(name: &str, uid: &str, things: &[Thing]) -> Option<(Address, Remembered)> {
    let cluster = of_kind(things, "eks:cluster").next();
    let theirs = cluster.and_then(|cluster| cluster.outputs.get("vpcId")?.as_str());
    let own = of_kind(things, "ec2:vpc").next().map(|vpc| vpc.id.as_str());
    let vpc = own.or(theirs)?;
    let subnets: Vec<&str> = of_kind(things, "ec2:subnet")
        .map(|subnet| subnet.id.as_str())
        .collect();
    let address = Address::new(sweep::KIND, name);
    let identity = json!({"stack": name, "uid": uid, "address": address});
    let since = cluster.and_then(|cluster| cluster.outputs.get("since"));
    let cluster = cluster.map_or(name, |cluster| cluster.id.as_str());
    let logs = of_kind(things, "logs:log-group").next().is_some();
    let outputs =
        json!({"cluster": cluster, "vpcId": vpc, "subnetIds": subnets, "logs": logs, "since": since});
    Some((
        address,
        remembered(sweep::KIND.to_owned(), identity, None, outputs),
    ))
}

fn of_kind<'a>(things: &'a [Thing], kind: &'a str) -> impl Iterator<Item = &'a Thing> {
    things.iter().filter(move |thing| thing.kind == kind)
}

/// Writes down what needs what, so that the reverse is the order of removal.
fn order(resources: &mut BTreeMap<Address, Remembered>) {
    let places: Vec<(Address, String)> = resources
        .iter()
        .map(|(address, one)| (address.clone(), place(one).to_owned()))
        .collect();
    for (needed, at) in &places {
        let first: Vec<&str> = if at == LAST {
            BEFORE.iter().map(|(other, _)| *other).collect()
        } else {
            let row = BEFORE.iter().find(|(kind, _)| kind == at);
            row.into_iter()
                .flat_map(|(_, first)| first.iter().copied())
                .collect()
        };
        for remembered in resources.values_mut() {
            if first.contains(&place(remembered)) {
                remembered.needs.push(Need::ready(needed.clone()));
            }
        }
    }
}

/// Where a resource stands in the order of removal: its kind, for all but one.
fn place(one: &Remembered) -> &str {
    let is_cni = one.kind == "aws.eks_addon" && one.outputs.get("name").is_some_and(|name| name == CNI);
    if is_cni { CNI } else { &one.kind }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        time::{Duration, UNIX_EPOCH},
    };

    use super::*;

    fn thing(kind: &str, id: &str, address: &str, uid: &str) -> Thing {
        let mut tags = BTreeMap::from([
            (STACK.to_owned(), "demo".to_owned()),
            (UID.to_owned(), uid.to_owned()),
            (EXPIRES.to_owned(), "2026-11-24T12:00:00Z".to_owned()),
        ]);
        if !address.is_empty() {
            tags.insert(ADDRESS.to_owned(), address.to_owned());
        }
        Thing {
            kind: kind.into(),
            id: id.into(),
            tags,
            outputs: json!({"name": id, "vpcId": "vpc-1"}),
        }
    }

    fn noon() -> SystemTime {
        UNIX_EPOCH + Duration::from_hours(498_756)
    }

    #[test]
    fn stacks_are_told_apart_by_uid_and_expire_to_the_second() {
        let things = vec![
            thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u"),
            thing("ec2:vpc", "vpc-2", "aws.vpc/main", "v"),
        ];
        let stacks = gather(things.clone(), noon());
        assert_eq!(stacks.len(), 2);
        assert!(stacks.iter().all(|stack| stack.expired && stack.name == "demo"));
        let before = gather(things, noon() - Duration::from_secs(1));
        assert!(before.iter().all(|stack| !stack.expired));
    }

    #[test]
    fn without_a_lifetime_or_with_one_that_cannot_be_read_nothing_expires() {
        for expires in [None, Some("soon")] {
            let mut thing = thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u");
            thing.tags.remove(EXPIRES);
            thing
                .tags
                .extend(expires.map(|at| (EXPIRES.to_owned(), at.to_owned())));
            assert!(!gather(vec![thing], noon() + Duration::from_hours(1))[0].expired);
        }
    }

    #[test]
    fn the_latest_lifetime_of_its_things_holds_for_the_stack() {
        let mut longer = thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u");
        longer
            .tags
            .insert(EXPIRES.to_owned(), "2026-11-24T12:00:01Z".to_owned());
        let things = vec![thing("ec2:subnet", "subnet-1", "aws.subnet/a", "u"), longer];
        assert!(!gather(things, noon())[0].expired);
    }

    #[test]
    fn what_has_an_address_is_found_as_its_kind_finds_it_and_the_rest_is_named() {
        let stack = gather(
            vec![
                thing("iam:role", "demo-u-nodes", "aws.iam_role/nodes", "u"),
                thing("ec2:instance", "i-1", "", "u"),
                thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u"),
            ],
            noon(),
        )
        .remove(0);
        let role = &stack.resources[&Address::new("aws.iam_role", "nodes")];
        assert_eq!(role.identity["name"], "demo-u-nodes");
        assert_eq!(role.identity["address"], "aws.iam_role/nodes");
        assert_eq!(role.id, None, "its id is an ARN, and only its name is told");
        let vpc = &stack.resources[&Address::new("aws.vpc", "main")];
        assert_eq!(
            (vpc.id.as_deref(), vpc.identity.get("name")),
            (Some("vpc-1"), None)
        );
        assert_eq!(stack.others, ["ec2:instance i-1"]);
    }

    #[test]
    fn the_reverse_of_the_needs_is_an_order_in_which_everything_can_go() {
        let all: Vec<Thing> = BEFORE
            .iter()
            .filter(|(kind, _)| ![sweep::KIND, CNI].contains(kind))
            .map(|(kind, _)| {
                thing(
                    if *kind == "aws.eks_cluster" {
                        "eks:cluster"
                    } else {
                        "any"
                    },
                    "demo",
                    &format!("{kind}/a"),
                    "u",
                )
            })
            .chain([
                thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u"),
                thing("any", "vpc-cni", "aws.eks_addon/vpc-cni", "u"),
            ])
            .collect();
        let mut left = gather(all, noon()).remove(0).resources;
        assert_eq!(left.len(), BEFORE.len() + 1);
        let mut gone: Vec<String> = Vec::new();
        while !left.is_empty() {
            let needed: BTreeSet<Address> = left
                .values()
                .flat_map(|one| one.needs.iter().map(|need| need.address.clone()))
                .collect();
            let free: Vec<Address> = left
                .keys()
                .filter(|address| !needed.contains(*address))
                .cloned()
                .collect();
            assert!(!free.is_empty(), "a circle among {:?}", left.keys());
            for address in free {
                left.remove(&address);
                gone.push(address.to_string());
            }
        }
        let at = |address: &str| gone.iter().position(|one| one == address).unwrap();
        for (first, then) in [
            ("aws.eks_addon/a", "aws.eks_node_group/a"),
            ("aws.eks_node_group/a", "aws.eks_addon/vpc-cni"),
            ("aws.eks_addon/vpc-cni", "aws.eks_cluster/a"),
            ("aws.eks_cluster/a", "aws.leftovers/demo"),
            ("aws.leftovers/demo", "aws.subnet/a"),
            ("aws.nat_gateway/a", "aws.internet_gateway/a"),
            ("aws.subnet/a", "aws.vpc/main"),
        ] {
            assert!(at(first) < at(then), "{first} {then}: {gone:?}");
        }
    }

    #[test]
    fn where_the_cluster_is_gone_its_leftovers_are_looked_for_under_the_stacks_name() {
        let stack = gather(vec![thing("ec2:vpc", "vpc-1", "aws.vpc/main", "u")], noon()).remove(0);
        let swept = &stack.resources[&Address::new(sweep::KIND, "demo")];
        assert_eq!(
            swept.outputs,
            json!({"cluster": "demo", "vpcId": "vpc-1", "subnetIds": [], "logs": false, "since": null})
        );
        let alone = gather(vec![thing("iam:role", "r", "aws.iam_role/r", "u")], noon()).remove(0);
        assert_eq!(alone.resources.len(), 1);
    }
}
