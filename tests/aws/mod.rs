//! The kinds of AWS against stock moto, an emulator on loopback: what holds here is not proven for AWS itself.
//!
//! Each run is a process of its own that talks to moto through a hop, which counts its calls and has it killed.

mod child;
mod ci;
mod double;
mod eks;
mod errand;
mod hop;
mod kubectl;
mod leaving;
mod network;
mod policy;
mod preflight;
mod regions;
mod road;
mod shapes;
mod state;
mod sweep;
mod weather;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use aws_sdk_ec2::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{Filter, Tag},
};
use futures::StreamExt as _;
use serde_json::json;
use stackup::{
    model::{Action, Address},
    resource::Reference,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use self::{
    child::{Order, Told, Want},
    double::REGION,
    errand::Errand,
    hop::{Fault, Hop},
};
use crate::support::tier;

/// How long the start of moto may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(3);

/// A moto of one test; it ends with its value.
struct Moto {
    _server: Child,
    address: SocketAddr,
    ec2: Client,
    folder: tempfile::TempDir,
}

impl Moto {
    /// Starts one, or says that the test is to be skipped.
    async fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("STACKUP_MOTO_SERVER").map(PathBuf::from) else {
            tier::skip(
                "moto",
                "STACKUP_MOTO_SERVER does not name a moto_server program: see scripts/test",
            );
            return None;
        };
        // Nobody else takes the port: the system gives each free one out in turn.
        let address = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let server = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .env("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let answers = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        assert!(timeout(PATIENCE, answers).await.is_ok(), "moto does not start");
        let config = aws_sdk_ec2::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .endpoint_url(format!("http://{address}"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .build();
        Some(Self {
            _server: server,
            address,
            ec2: Client::from_conf(config),
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// The orders of a stack of its own, of a VPC and two subnets.
    fn order(&self, uid: &str) -> Order {
        self.order_of(uid, pair("10.7", true))
    }

    fn order_of(&self, uid: &str, wanted: Vec<Want>) -> Order {
        let folder = self.folder.path().join(uid);
        std::fs::create_dir(&folder).unwrap();
        Order {
            stack: "probe".to_owned(),
            uid: uid.to_owned(),
            folder,
            remembered: BTreeMap::new(),
            wanted,
        }
    }

    /// Carries an order out; nothing if the hop had it killed.
    async fn run(&self, order: &Order, hop: &Hop) -> Option<Told> {
        carry_out(order, hop, Some("test")).await
    }

    /// Carries an order out in peace; what it told, and the calls that changed something.
    async fn plain(&self, order: &Order) -> (Told, Vec<String>) {
        let hop = Hop::plain(self.address).await;
        let told = self.run(order, &hop).await.unwrap();
        (told, hop.writes())
    }

    /// Takes the stack down, and looks that nothing with its mark is left.
    async fn destroy(&self, order: &Order) {
        let (told, _) = self.plain(&destroying(order)).await;
        assert!(told.done && told.remembered.is_empty(), "{told:?}");
        assert_eq!(self.standing(&order.uid).await, (0, 0), "{}", order.uid);
    }

    /// How many VPCs and subnets carry the mark of this uid.
    async fn standing(&self, uid: &str) -> (usize, usize) {
        let filter = Filter::builder().name("tag:stackup:uid").values(uid).build();
        let vpcs = self
            .ec2
            .describe_vpcs()
            .filters(filter.clone())
            .send()
            .await
            .unwrap();
        let subnets = self.ec2.describe_subnets().filters(filter).send().await.unwrap();
        (vpcs.vpcs().len(), subnets.subnets().len())
    }

    /// How many there are of anybody.
    async fn all(&self) -> (usize, usize) {
        let vpcs = self.ec2.describe_vpcs().send().await.unwrap();
        let subnets = self.ec2.describe_subnets().send().await.unwrap();
        (vpcs.vpcs().len(), subnets.subnets().len())
    }
}

/// Carries an order out through a hop; nothing if the hop had it killed.
async fn carry_out(order: &Order, hop: &Hop, key: Option<&str>) -> Option<Told> {
    let mut running = errand::start(&hop.url(), &Errand::Run(order.clone()), key, None);
    tokio::select! {
        told = running.told() => Some(serde_json::from_value(told.unwrap()).unwrap()),
        () = hop.kill() => {
            running.kill().await;
            None
        }
    }
}

/// A VPC whose addresses begin so, and two subnets of it in two zones.
fn pair(begin: &str, public: bool) -> Vec<Want> {
    let vpc = Reference::field(&Address::new("aws.vpc", "main"), "id");
    let subnet = |zone: &str, third: u8, public: bool| {
        let inputs = json!({"vpcId": vpc, "cidr": format!("{begin}.{third}.0/24"),
            "zone": format!("{REGION}{zone}"), "publicAddresses": public});
        Want("aws.subnet".to_owned(), zone.to_owned(), inputs, Vec::new())
    };
    let inputs = json!({"cidr": format!("{begin}.0.0/16")});
    let vpc = Want("aws.vpc".to_owned(), "main".to_owned(), inputs, Vec::new());
    vec![vpc, subnet("a", 1, public), subnet("b", 2, false)]
}

fn destroying(order: &Order) -> Order {
    Order {
        wanted: Vec::new(),
        ..order.clone()
    }
}

fn count(calls: &[String], name: &str) -> usize {
    calls.iter().filter(|call| *call == name).count()
}

/// After a run that was cut off: the next one ends it, with one create a resource, and all of it can be taken down.
async fn resumes(moto: &Moto, order: &Order, before: &[String]) {
    let (told, after) = moto.plain(order).await;
    let uid = &order.uid;
    assert!(told.done, "{uid}: {told:?}");
    let calls = [before, &after].concat();
    assert_eq!(count(&calls, "CreateVpc"), 1, "{uid}: {calls:?}");
    assert_eq!(count(&calls, "CreateSubnet"), 2, "{uid}: {calls:?}");
    assert_eq!(moto.standing(uid).await, (1, 2), "{uid}");
    let (told, writes) = moto.plain(order).await;
    assert_eq!(writes, Vec::<String>::new(), "{uid}");
    assert_eq!(told.actions(), [Action::Unchanged; 3], "{uid}");
    moto.destroy(order).await;
}

#[tokio::test]
async fn a_network_is_planned_made_left_alone_changed_in_place_and_taken_down() {
    let Some(moto) = Moto::start().await else { return };
    let before = moto.all().await;
    let order = moto.order("whole");
    let (told, writes) = moto.plain(&order).await;
    assert_eq!(told.actions(), [Action::Create; 3]);
    assert!(told.done, "{told:?}");
    assert_eq!(writes[0], "CreateVpc");
    assert_eq!(writes.len(), 6, "{writes:?}");
    assert_eq!(moto.standing("whole").await, (1, 2));

    let (told, writes) = moto.plain(&order).await;
    assert_eq!(told.actions(), [Action::Unchanged; 3]);
    assert_eq!(writes, Vec::<String>::new());

    let private = Order {
        wanted: pair("10.7", false),
        ..order.clone()
    };
    let (told, writes) = moto.plain(&private).await;
    assert_eq!(
        told.actions(),
        [Action::Update, Action::Unchanged, Action::Unchanged]
    );
    assert_eq!(writes, ["ModifySubnetAttribute"]);

    let moved = Order {
        wanted: pair("10.8", false),
        ..private
    };
    let (told, writes) = moto.plain(&moved).await;
    assert_eq!(told.actions(), [Action::Replace; 3]);
    assert!(told.done, "{told:?}");
    let deletes = ["DeleteSubnet", "DeleteSubnet", "DeleteVpc"];
    let dns = ["ModifyVpcAttribute", "ModifyVpcAttribute"];
    let creates = [&["CreateVpc"], &dns[..], &["CreateSubnet", "CreateSubnet"]].concat();
    assert_eq!(writes, [&deletes[..], &creates].concat());
    assert_eq!(moto.standing("whole").await, (1, 2));

    moto.destroy(&order).await;
    assert_eq!(moto.all().await, before);
}

#[tokio::test]
async fn a_run_killed_at_any_call_is_resumed_by_tag_without_a_double_or_an_orphan() {
    let Some(moto) = Moto::start().await else { return };
    let before = moto.all().await;
    let order = moto.order("measured");
    let hop = Hop::plain(moto.address).await;
    moto.run(&order, &hop).await.unwrap();
    let applies = hop.calls().len();
    let hop = Hop::plain(moto.address).await;
    moto.run(&destroying(&order), &hop).await.unwrap();
    let destroys = hop.calls().len();
    assert!(applies >= 8 && destroys >= 8, "{applies} and {destroys}");

    let kinds = [(Fault::KillBefore, "before"), (Fault::KillAfter, "after")];
    let cases = kinds.into_iter().flat_map(|kind| {
        let apply = (0..applies).map(move |n| (kind, n, true));
        apply.chain((0..destroys).map(move |n| (kind, n, false)))
    });
    let moto = &moto;
    let killed = futures::stream::iter(cases).map(|((fault, when), n, apply)| async move {
        let verb = if apply { "apply" } else { "destroy" };
        let order = moto.order(&format!("{verb}-{when}-{n}"));
        if !apply {
            moto.plain(&order).await;
        }
        let cut = if apply { order.clone() } else { destroying(&order) };
        let hop = Hop::start(moto.address, fault, move |number, _| number == n).await;
        let killed = moto.run(&cut, &hop).await.is_none();
        if apply {
            resumes(moto, &order, &hop.calls()).await;
        } else {
            moto.destroy(&order).await;
        }
        usize::from(killed)
    });
    let killed: usize = killed
        .buffer_unordered(4)
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .sum();
    // Looks at two subnets may be one call or two, so the last call may be missing.
    assert!(
        killed + 4 >= 2 * (applies + destroys),
        "{killed} of twice {applies} and {destroys}"
    );
    assert_eq!(moto.all().await, before);
}

#[cfg(feature = "faults")]
#[tokio::test]
async fn a_run_killed_after_any_record_is_resumed_by_tag_without_a_double_or_an_orphan() {
    let Some(moto) = Moto::start().await else { return };
    let before = moto.all().await;
    for record in 1.. {
        let order = moto.order(&format!("record-{record}"));
        let hop = Hop::plain(moto.address).await;
        let run = Errand::Run(order.clone());
        let mut running = errand::start(&hop.url(), &run, Some("test"), Some(&format!("record:{record}")));
        let told = running.told().await;
        resumes(&moto, &order, &hop.calls()).await;
        if told.is_some() {
            assert!(record > 9, "only {record} records were written");
            break;
        }
    }
    assert_eq!(moto.all().await, before);
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_looked_for_and_one_that_is_throttled_is_sent_again() {
    let Some(moto) = Moto::start().await else { return };
    for (fault, call, writes) in [
        (Fault::LoseAnswer, "CreateVpc", 6),
        (Fault::LoseAnswer, "CreateSubnet", 6),
        (Fault::LoseAnswer, "ModifySubnetAttribute", 7),
        (Fault::Throttle, "CreateVpc", 6),
    ] {
        let order = moto.order(&format!("{fault:?}-{call}"));
        let times = AtomicUsize::new(0);
        let first = move |_, name: &str| name == call && times.fetch_add(1, Ordering::SeqCst) == 0;
        let hop = Hop::start(moto.address, fault, first).await;
        let told = moto.run(&order, &hop).await.unwrap();
        assert!(told.done, "{fault:?} {call}: {told:?}");
        assert!(
            hop.writes().len() <= writes,
            "{fault:?} {call}: {:?}",
            hop.writes()
        );
        resumes(&moto, &order, &hop.calls()).await;
    }
}

#[tokio::test]
async fn a_run_that_nobody_is_signed_in_for_says_so_at_once() {
    let Some(moto) = Moto::start().await else { return };
    let hop = Hop::plain(moto.address).await;
    let told = carry_out(&moto.order("unsigned"), &hop, None).await.unwrap();
    let unsigned = "ec2:DescribeVpcs could not be signed";
    assert!(told.words().contains(unsigned), "{told:?}");
    assert_eq!(hop.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_run_made_and_no_list_shows_yet_is_waited_for() {
    let Some(moto) = Moto::start().await else { return };
    let order = moto.order("lagging");
    let made = Hop::start(moto.address, Fault::KillAfter, |_, call| call == "CreateVpc").await;
    assert!(moto.run(&order, &made).await.is_none());
    let looks = AtomicUsize::new(0);
    let early = move |_, call: &str| call == "DescribeVpcs" && looks.fetch_add(1, Ordering::SeqCst) < 4;
    let hop = Hop::start(moto.address, Fault::Hide, early).await;
    let told = moto.run(&order, &hop).await.unwrap();
    assert!(told.done, "{told:?}");
    resumes(&moto, &order, &[made.calls(), hop.calls()].concat()).await;
}

#[tokio::test]
async fn two_with_our_mark_are_named_and_one_that_lost_its_mark_is_left_alone() {
    let Some(moto) = Moto::start().await else { return };
    let order = moto.order("marks");
    moto.plain(&order).await;
    let vpcs = moto.ec2.describe_vpcs().send().await.unwrap();
    let ours = vpcs
        .vpcs()
        .iter()
        .find(|vpc| vpc.cidr_block() == Some("10.7.0.0/16"))
        .unwrap();
    let twin = moto
        .ec2
        .create_vpc()
        .cidr_block("10.7.0.0/16")
        .send()
        .await
        .unwrap();
    let twin = twin.vpc().unwrap().vpc_id().unwrap().to_owned();
    let tags = ours.tags().to_vec();
    moto.ec2
        .create_tags()
        .resources(&twin)
        .set_tags(Some(tags))
        .send()
        .await
        .unwrap();
    let (told, writes) = moto.plain(&order).await;
    let id = ours.vpc_id().unwrap();
    let words = told.words();
    assert!(words.contains(id) && words.contains(&twin), "{told:?}");
    assert_eq!(writes, Vec::<String>::new());

    moto.ec2.delete_vpc().vpc_id(&twin).send().await.unwrap();
    let mark = Tag::builder().key("stackup:uid").build();
    moto.ec2
        .delete_tags()
        .resources(id)
        .tags(mark)
        .send()
        .await
        .unwrap();
    let (told, writes) = moto.plain(&order).await;
    let vpc = (Address::new("aws.vpc", "main"), Action::Conflict);
    assert!(told.planned.contains(&vpc) && !told.done, "{told:?}");
    assert_eq!(writes, Vec::<String>::new());
}
