//! The whole network of a stack, as a stack file expands to it.
//!
//! Against stock moto, but for what moto does otherwise than AWS: it knows no tokens of clients, keeps the address of a
//! NAT gateway that was deleted, and takes a subnet that uses one table for one that uses any.

use std::{collections::BTreeMap, path::PathBuf, sync::atomic::AtomicUsize};

use aws_sdk_ec2::types::{NatGatewayState, Tag};
use futures::StreamExt as _;
use serde_json::json;
use stackup::{
    aws,
    model::{ClusterModel, EksModel, NatModel, NetworkModel, StackModel},
};

use super::{
    Action, Address, Client, Errand, Fault, Hop, Moto, Order, Ordering, Told, Want, count, destroying,
    double::Double,
    errand::{self, model},
    preflight::good,
};

/// The kinds of a network, and how many of each a stack has.
const KINDS: [(&str, usize); 7] = [
    ("aws.address", 1),
    ("aws.internet_gateway", 1),
    ("aws.nat_gateway", 1),
    ("aws.route_table", 2),
    ("aws.subnet", 4),
    ("aws.vpc", 1),
    ("aws.vpc_endpoint", 1),
];
/// The calls that make them.
const CREATES: [(&str, usize); 7] = [
    ("AllocateAddress", 1),
    ("CreateInternetGateway", 1),
    ("CreateNatGateway", 1),
    ("CreateRouteTable", 2),
    ("CreateSubnet", 4),
    ("CreateVpc", 1),
    ("CreateVpcEndpoint", 1),
];
/// All calls that change something, of a first apply and of a destroy.
const APPLY: usize = 22;
const DESTROY: usize = 16;
/// How many runs go on side by side: they wait most of their time.
const SIDE_BY_SIDE: usize = 8;

/// The network of a stack in two zones.
fn network(gateways: NatModel) -> Vec<Want> {
    let mut eks = EksModel {
        node_groups: Vec::new(),
        ..model(good())
    };
    if let NetworkModel::Own { nat, .. } = &mut eks.network {
        *nat = gateways;
    }
    let wanted = aws::expand(&tagged(eks)).unwrap().wanted.into_iter();
    let network =
        wanted.filter(|one| one.kind == "aws.zones" || KINDS.iter().any(|(kind, _)| one.kind == *kind));
    network
        .map(|one| {
            let needs = one.needs.into_iter().map(|need| need.address).collect();
            let name = one.address.name().to_owned();
            Want(one.kind.to_owned(), name, (*one.inputs).clone(), needs)
        })
        .collect()
}

/// A stack with this cluster and a tag.
fn tagged(eks: EksModel) -> StackModel {
    StackModel {
        name: "probe".to_owned(),
        folder: PathBuf::new(),
        lifetime: None,
        cluster: ClusterModel::Eks(eks),
        components: Vec::new(),
        verify: None,
        tags: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        state: None,
    }
}

/// Everything of a call's first and only page.
macro_rules! all {
    ($call:expr, $list:ident) => {
        $call.send().await.unwrap().$list.unwrap_or_default().into_iter()
    };
}

/// How many of each kind stand: with the mark of this uid, or of anybody.
async fn standing(ec2: &Client, uid: Option<&str>) -> BTreeMap<&'static str, usize> {
    let ours = |tags: &Option<Vec<Tag>>| {
        let ours = |tag: &Tag| tag.key() == Some("stackup:uid") && tag.value() == uid;
        uid.is_none() || tags.iter().flatten().any(ours)
    };
    let gateways = all!(ec2.describe_nat_gateways(), nat_gateways);
    let gateways = gateways.filter(|one| one.state() != Some(&NatGatewayState::Deleted));
    let endpoints = all!(ec2.describe_vpc_endpoints(), vpc_endpoints);
    let endpoints = endpoints.filter(|one| one.state().is_none_or(|state| state.as_str() != "deleted"));
    BTreeMap::from([
        (
            "aws.address",
            all!(ec2.describe_addresses(), addresses)
                .filter(|one| ours(&one.tags))
                .count(),
        ),
        (
            "aws.internet_gateway",
            all!(ec2.describe_internet_gateways(), internet_gateways)
                .filter(|one| ours(&one.tags))
                .count(),
        ),
        ("aws.nat_gateway", gateways.filter(|one| ours(&one.tags)).count()),
        (
            "aws.route_table",
            all!(ec2.describe_route_tables(), route_tables)
                .filter(|one| ours(&one.tags))
                .count(),
        ),
        (
            "aws.subnet",
            all!(ec2.describe_subnets(), subnets)
                .filter(|one| ours(&one.tags))
                .count(),
        ),
        (
            "aws.vpc",
            all!(ec2.describe_vpcs(), vpcs)
                .filter(|one| ours(&one.tags))
                .count(),
        ),
        (
            "aws.vpc_endpoint",
            endpoints.filter(|one| ours(&one.tags)).count(),
        ),
    ])
}

/// The call that changes something and comes as the `n`th, from 0.
fn nth(n: usize) -> impl Fn(usize, &str) -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |_, call| !call.starts_with("Describe") && seen.fetch_add(1, Ordering::SeqCst) == n
}

/// The first call of this name.
fn first(name: &'static str) -> impl Fn(usize, &str) -> bool + Send + Sync + 'static {
    let seen = AtomicUsize::new(0);
    move |_, call| call == name && seen.fetch_add(1, Ordering::SeqCst) == 0
}

impl Moto {
    fn network(&self, uid: &str) -> Order {
        self.order_of(uid, network(NatModel::Single))
    }

    /// After a run that was cut off: the next one ends it, nothing was made twice, and all is as wanted.
    async fn ends(&self, order: &Order, before: &[String]) {
        let uid = &order.uid;
        let (told, after) = self.plain(order).await;
        assert!(told.done, "{uid}: {told:?}");
        self.is_whole(order, &[before, &after].concat()).await;
    }

    /// Nothing was made twice by these calls, all is as wanted, and a further run finds nothing to do.
    async fn is_whole(&self, order: &Order, calls: &[String]) {
        let uid = &order.uid;
        for (create, times) in CREATES {
            assert_eq!(count(calls, create), times, "{uid}: {create} of {calls:?}");
        }
        assert_eq!(
            standing(&self.ec2, Some(uid)).await,
            BTreeMap::from(KINDS),
            "{uid}"
        );
        let (told, writes) = self.plain(order).await;
        assert_eq!(writes, Vec::<String>::new(), "{uid}");
        assert_eq!(told.changes(), [], "{uid}");
    }

    /// Takes the stack down; nothing of it is left.
    async fn ends_destroy(&self, order: &Order) {
        let (told, _) = self.plain(&destroying(order)).await;
        let uid = &order.uid;
        assert!(told.done && told.remembered.is_empty(), "{uid}: {told:?}");
        let left = standing(&self.ec2, Some(uid)).await;
        assert!(left.values().all(|left| *left == 0), "{uid}: {left:?}");
    }
}

#[tokio::test]
async fn a_whole_network_killed_after_each_changing_call_is_resumed_without_a_double_or_an_orphan() {
    let Some(moto) = Moto::start().await else { return };
    let before = standing(&moto.ec2, None).await;
    let moto = &moto;
    let cases = futures::stream::iter(0..=APPLY).map(|n| async move {
        let order = moto.network(&format!("apply-{n}"));
        let hop = Hop::start(moto.address, Fault::KillAfter, nth(n)).await;
        let killed = moto.run(&order, &hop).await.is_none();
        moto.ends(&order, &hop.writes()).await;
        moto.ends_destroy(&order).await;
        usize::from(killed)
    });
    let killed: Vec<usize> = cases.buffer_unordered(SIDE_BY_SIDE).collect().await;
    // The last of them had one call too few to be killed.
    assert_eq!(killed.iter().sum::<usize>(), APPLY);
    assert_eq!(standing(&moto.ec2, None).await, before);
}

#[tokio::test]
async fn a_destroy_of_a_whole_network_killed_around_each_changing_call_is_resumed_and_leaves_nothing() {
    let Some(moto) = Moto::start().await else { return };
    let before = standing(&moto.ec2, None).await;
    let moto = &moto;
    let kinds = [(Fault::KillBefore, "before"), (Fault::KillAfter, "after")];
    let cases = kinds
        .into_iter()
        .flat_map(|kind| (0..=DESTROY).map(move |n| (kind, n)));
    let cases = futures::stream::iter(cases).map(|((fault, when), n)| async move {
        let order = moto.network(&format!("destroy-{when}-{n}"));
        assert!(moto.plain(&order).await.0.done, "{n}");
        let hop = Hop::start(moto.address, fault, nth(n)).await;
        let killed = moto.run(&destroying(&order), &hop).await.is_none();
        moto.ends_destroy(&order).await;
        usize::from(killed)
    });
    let killed: Vec<usize> = cases.buffer_unordered(SIDE_BY_SIDE).collect().await;
    assert_eq!(killed.iter().sum::<usize>(), 2 * DESTROY);
    assert_eq!(standing(&moto.ec2, None).await, before);
}

#[tokio::test]
async fn a_call_of_a_create_that_is_throttled_or_whose_answer_is_lost_ends_right_and_nothing_is_doubled() {
    let Some(moto) = Moto::start().await else { return };
    let moto = &moto;
    let further = [
        "AssociateRouteTable",
        "AttachInternetGateway",
        "CreateRoute",
        "ModifySubnetAttribute",
        "ModifyVpcAttribute",
    ];
    let lost = further.into_iter().chain(CREATES.map(|(create, _)| create));
    let lost = lost.map(|call| (Fault::LoseAnswer, call));
    let throttled = further.map(|call| (Fault::Throttle, call));
    let cases = futures::stream::iter(lost.chain(throttled)).map(|(fault, call)| async move {
        let order = moto.network(&format!("{fault:?}-{call}"));
        let hop = Hop::start(moto.address, fault, first(call)).await;
        let told = moto.run(&order, &hop).await.unwrap();
        assert!(told.done, "{fault:?} {call}: {told:?}");
        moto.is_whole(&order, &hop.writes()).await;
        moto.ends_destroy(&order).await;
    });
    let cases: Vec<()> = cases.buffer_unordered(SIDE_BY_SIDE).collect().await;
    assert_eq!(cases.len(), 17);
}

#[tokio::test]
async fn a_strangers_subnet_in_our_vpc_is_named_and_left_and_the_destroy_refused() {
    let Some(moto) = Moto::start().await else { return };
    let order = moto.network("stranger");
    let (told, _) = moto.plain(&order).await;
    let vpc = id(&told, "aws.vpc/main");
    let call = moto.ec2.create_subnet().vpc_id(&vpc).cidr_block("10.0.240.0/24");
    let stranger = call.send().await.unwrap().subnet.unwrap().subnet_id.unwrap();
    let (told, _) = moto.plain(&destroying(&order)).await;
    let refused: Vec<&str> = told.failed.keys().map(Address::as_str).collect();
    assert_eq!(refused, ["aws.vpc/main"], "{told:?}");
    assert!(
        told.words().contains(&stranger) && told.words().contains(&vpc),
        "{told:?}"
    );
    assert!(!told.done && told.remembered.len() == 1, "{told:?}");
    let left = all!(moto.ec2.describe_subnets().subnet_ids(&stranger), subnets);
    assert_eq!(left.count(), 1);
    moto.ec2
        .delete_subnet()
        .subnet_id(&stranger)
        .send()
        .await
        .unwrap();
    moto.ends_destroy(&order).await;
}

#[tokio::test]
async fn what_someone_changed_in_a_network_is_shown_and_repaired() {
    let Some(moto) = Moto::start().await else { return };
    let order = moto.network("drift");
    let (made, calls) = moto.plain(&order).await;
    let (vpc, table) = (id(&made, "aws.vpc/main"), id(&made, "aws.route_table/public"));
    let (gateway, subnet) = (
        id(&made, "aws.internet_gateway/main"),
        id(&made, "aws.subnet/private-2"),
    );
    let ec2 = &moto.ec2;
    let route = ec2.delete_route().route_table_id(&table);
    route.destination_cidr_block("0.0.0.0/0").send().await.unwrap();
    let detach = ec2.detach_internet_gateway().internet_gateway_id(&gateway);
    detach.vpc_id(&vpc).send().await.unwrap();
    let tag = Tag::builder().key("team").value("red").build();
    ec2.create_tags()
        .resources(&subnet)
        .tags(tag)
        .send()
        .await
        .unwrap();

    let (told, mends) = moto.plain(&order).await;
    assert!(told.done, "{told:?}");
    let changed = [
        "aws.internet_gateway/main",
        "aws.route_table/public",
        "aws.subnet/private-2",
    ];
    let mut shown = told.changes();
    shown.sort_unstable_by_key(|(address, _)| *address);
    assert_eq!(shown, changed.map(|address| (address, Action::Update)));
    let mut sorted = mends.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["AttachInternetGateway", "CreateRoute", "CreateTags"]);
    assert_eq!(told.remembered, made.remembered);
    moto.is_whole(&order, &calls).await;
    moto.ends_destroy(&order).await;
}

/// Brings a stack whose state lies in the double's folder to what is wanted.
async fn apply(double: &Double, wanted: Vec<Want>) -> Told {
    let order = Order {
        stack: "probe".to_owned(),
        uid: "0123456789abcdef".to_owned(),
        folder: double.folder.path().to_owned(),
        remembered: BTreeMap::new(),
        wanted,
    };
    let told = errand::run(double, &Errand::Run(order), Some("test")).await;
    serde_json::from_value(told).unwrap()
}

fn id(told: &Told, address: &str) -> String {
    super::sweep::id(told, address)
}

async fn ends_destroy(double: &Double) {
    let told = apply(double, Vec::new()).await;
    assert!(told.done && told.remembered.is_empty(), "{told:?}");
    assert_eq!(double.account().await, Vec::<String>::new());
}

// moto keeps the address of a gateway that was deleted, and gives it to no other.
#[tokio::test]
async fn a_nat_gateway_that_someone_deleted_is_made_anew_and_its_route_led_there() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let made = apply(&double, network(NatModel::Single)).await;
    assert!(made.done, "{made:?}");
    let old = id(&made, "aws.nat_gateway/main");
    double
        .ec2
        .delete_nat_gateway()
        .nat_gateway_id(&old)
        .send()
        .await
        .unwrap();
    let told = apply(&double, network(NatModel::Single)).await;
    assert!(told.done, "{told:?}");
    let shown = told.changes();
    assert!(
        shown.contains(&("aws.nat_gateway/main", Action::Create)),
        "{shown:?}"
    );
    let new = id(&told, "aws.nat_gateway/main");
    assert_ne!(new, old);
    assert_eq!(id(&told, "aws.address/main"), id(&made, "aws.address/main"));
    let table = id(&told, "aws.route_table/private");
    let tables = double.ec2.describe_route_tables().route_table_ids(table);
    let routes: Vec<_> = all!(tables, route_tables)
        .flat_map(|table| table.routes.unwrap())
        .collect();
    assert!(
        routes.iter().any(|route| route.nat_gateway_id() == Some(&new)),
        "{routes:?}"
    );
    assert!(
        !routes.iter().any(|route| route.nat_gateway_id() == Some(&old)),
        "{routes:?}"
    );
    assert_eq!(apply(&double, network(NatModel::Single)).await.changes(), []);
    ends_destroy(&double).await;
}

// moto lets a subnet stay with the table that it uses, and says that it did what was asked.
#[tokio::test]
async fn a_subnet_that_someone_gave_another_table_is_led_back() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let made = apply(&double, network(NatModel::Single)).await;
    let (ours, vpc) = (id(&made, "aws.route_table/private"), id(&made, "aws.vpc/main"));
    let subnet = id(&made, "aws.subnet/private-1");
    let ec2 = &double.ec2;
    let other = ec2.create_route_table().vpc_id(vpc).send().await.unwrap();
    let other = other.route_table.unwrap().route_table_id.unwrap();
    let tables = all!(ec2.describe_route_tables().route_table_ids(&ours), route_tables);
    let association = tables.flat_map(|table| table.associations.unwrap());
    let mut association = association.filter(|one| one.subnet_id() == Some(&subnet));
    let association = association.next().unwrap().route_table_association_id.unwrap();
    let call = ec2.replace_route_table_association().association_id(association);
    call.route_table_id(&other).send().await.unwrap();

    let told = apply(&double, network(NatModel::Single)).await;
    assert!(told.done, "{told:?}");
    assert_eq!(told.changes(), [("aws.route_table/private", Action::Update)]);
    assert_eq!(apply(&double, network(NatModel::Single)).await.changes(), []);
    ec2.delete_route_table()
        .route_table_id(other)
        .send()
        .await
        .unwrap();
    ends_destroy(&double).await;
}

// moto knows no tokens of clients. AWS remembers one for a day or more, also where what it made has gone.
#[tokio::test]
async fn what_was_removed_and_is_wanted_again_is_not_taken_for_what_was_deleted() {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    let whole = network(NatModel::None);
    let without: Vec<Want> = whole
        .iter()
        .filter(|want| want.0 != "aws.vpc_endpoint")
        .cloned()
        .collect();
    let made = apply(&double, whole.clone()).await;
    assert!(made.done, "{made:?}");
    // The table of the private subnets has another name where each zone has its gateway, and comes back just as it was.
    for between in [without, network(NatModel::PerZone)] {
        assert!(apply(&double, between).await.done);
        let told = apply(&double, whole.clone()).await;
        assert!(told.done, "{told:?}");
        assert_ne!(told.changes(), []);
        assert_eq!(apply(&double, whole.clone()).await.changes(), []);
    }
    ends_destroy(&double).await;
}

#[test]
fn the_tags_of_a_stack_file_come_to_all_that_carries_tags_and_to_its_instances() {
    let wanted = aws::expand(&tagged(model(good()))).unwrap().wanted;
    let mut templates = 0;
    for one in &wanted {
        if let Some(tags) = one.inputs.get("tags") {
            assert_eq!(tags["team"], "blue", "{}", one.address);
        }
        if one.kind == "aws.launch_template" {
            templates += 1;
            assert_eq!(one.inputs["instanceTags"], json!({"team": "blue"}));
        }
    }
    assert!(
        templates > 0
            && wanted
                .iter()
                .filter(|one| one.inputs.get("tags").is_some())
                .count()
                > 20
    );
}

#[tokio::test]
async fn a_gateway_that_is_attached_already_is_what_was_asked_for_and_one_that_shows_nowhere_is_asked_for_again()
 {
    let Some(double) = Double::start(0.0).await else {
        return;
    };
    for after in [true, false] {
        let fault = json!({"operation": "ec2:AttachInternetGateway", "times": 1, "after": after,
            "code": "Resource.AlreadyAssociated", "message": "it is already attached"});
        double.set(json!({"faults": [fault]})).await;
        let told = apply(&double, network(NatModel::None)).await;
        assert!(told.done, "after: {after}: {told:?}");
        ends_destroy(&double).await;
    }
}
