//! What shapes a stack of EKS may have: made exactly so, changed in place, gone again; and the clear word for what it
//! cannot have yet. The real program against the AWS double: what holds here is not proven for AWS itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use aws_sdk_ec2::types::{AttributeBooleanValue, NatGatewayState, Tag, TagSpecification};
use serde_json::{Value, json};

use super::{
    double::{Double, REGION},
    kubectl::kubectl,
    road::{SCALE, sandbox},
};
use crate::support::sandbox::Sandbox;

/// Ids of what is in the account, by kind.
async fn things(double: &Double) -> BTreeMap<String, Vec<String>> {
    let mut things: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in double.account().await {
        let (kind, id) = one.split_once(' ').unwrap();
        things.entry(kind.to_owned()).or_default().push(id.to_owned());
    }
    for ids in things.values_mut() {
        ids.sort();
    }
    things
}

/// What the plan does, as `create aws.vpc/main`.
#[track_caller]
fn planned(sandbox: &Sandbox) -> BTreeSet<String> {
    let diff = sandbox.stackup(&["diff", "--output", "json"]).ends(0);
    let plan: Value = serde_json::from_str(&diff.stdout).unwrap();
    let steps = plan["changes"].as_array().unwrap().iter();
    let told = |step: &Value| {
        format!(
            "{} {}",
            step["action"].as_str().unwrap(),
            step["address"].as_str().unwrap()
        )
    };
    steps.map(told).collect()
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(|one| (*one).to_owned()).collect()
}

/// Applies, and again: the second time finds nothing to do and writes nothing.
async fn settles(double: &Double, sandbox: &Sandbox) {
    sandbox.stackup(&["apply", "--yes"]).ends(0);
    let made = double.calls(true).await.len();
    sandbox.stackup(&["apply", "--yes"]).ends(0).says("No changes");
    assert_eq!(double.calls(true).await.len(), made);
}

/// What was sent with each call of this operation.
async fn sent(double: &Double, operation: &str) -> Vec<Value> {
    let calls = double.ask("GET", "calls", &Value::Null).await;
    let calls = calls.as_array().unwrap().iter();
    calls
        .filter(|call| call["operation"] == operation)
        .map(|call| call["parameters"].clone())
        .collect()
}

/// A VPC of someone else with a subnet in two zones each.
async fn network_of_others(double: &Double) -> (String, [String; 2]) {
    let ec2 = &double.ec2;
    let tag = Tag::builder().key("owner").value("network-team").build();
    let tags = TagSpecification::builder()
        .resource_type(aws_sdk_ec2::types::ResourceType::Vpc)
        .tags(tag)
        .build();
    let call = ec2
        .create_vpc()
        .cidr_block("10.9.0.0/16")
        .tag_specifications(tags);
    let vpc = call.send().await.unwrap();
    let vpc = vpc.vpc().unwrap().vpc_id().unwrap().to_owned();
    let on = || AttributeBooleanValue::builder().value(true).build();
    let change = || ec2.modify_vpc_attribute().vpc_id(&vpc);
    change().enable_dns_support(on()).send().await.unwrap();
    change().enable_dns_hostnames(on()).send().await.unwrap();
    let subnet = async |at: u8, zone: &str| {
        let call = ec2
            .create_subnet()
            .vpc_id(&vpc)
            .cidr_block(format!("10.9.{at}.0/24"));
        let made = call
            .availability_zone(format!("{REGION}{zone}"))
            .send()
            .await
            .unwrap();
        made.subnet().unwrap().subnet_id().unwrap().to_owned()
    };
    let subnets = [subnet(1, "a").await, subnet(2, "b").await];
    (vpc, subnets)
}

/// Two groups of nodes, one of them spot, in a network that is there; two more people; logs.
fn guest(vpc: &str, subnets: &[String; 2]) -> String {
    let [one, two] = subnets;
    format!(
        r#"name: guest
cluster:
  provider: eks
  region: {REGION}
  kubernetes: "1.34"
  network: {{vpc: {vpc}, subnets: [{one}, {two}]}}
  nodeGroups:
    - {{name: steady, min: 1, desired: 1, max: 3}}
    - {{name: cheap, capacity: spot, instanceTypes: [t3.medium, t3a.medium], desired: 1, labels: {{pool: cheap}}, taints: [{{key: spot, value: "true", effect: NoSchedule}}]}}
  access:
    - {{principal: "arn:aws:iam::123456789012:role/admins"}}
    - {{principal: "arn:aws:iam::123456789012:role/auditors", policy: AmazonEKSViewPolicy, namespaces: [default]}}
  logs: {{types: [api, audit], retentionDays: 3}}
verify: off
"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_network_that_is_there_groups_people_and_logs_come_and_change_and_the_network_stays_as_it_was() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    for name in ["admins", "auditors"] {
        double.plant(json!({"what": "role", "name": name})).await;
    }
    let (vpc, subnets) = network_of_others(&double).await;
    let before = double.ask("GET", "account", &Value::Null).await;
    let stack = guest(&vpc, &subnets);
    let sandbox = sandbox(&double, &stack);
    let network = [
        "vpc",
        "subnet",
        "internet_gateway",
        "route_table",
        "nat_gateway",
        "address",
        "vpc_endpoint",
    ];
    let plan = planned(&sandbox);
    for kind in network {
        let kind = format!("create aws.{kind}/");
        assert!(!plan.iter().any(|step| step.starts_with(&kind)), "{plan:?}");
    }
    settles(&double, &sandbox).await;

    let made = things(&double).await;
    assert_eq!(made["eks:nodegroup"], ["guest/cheap", "guest/steady"]);
    assert_eq!(
        (&made["ec2:vpc"], made["ec2:subnet"].len()),
        (&vec![vpc.clone()], 2)
    );
    for kind in ["internet-gateway", "natgateway", "elastic-ip", "vpc-endpoint"] {
        assert!(!made.contains_key(&format!("ec2:{kind}")), "{made:?}");
    }
    assert_eq!(made["logs:log-group"], ["/aws/eks/guest/cluster"]);
    let people: Vec<_> = made["eks:access-entry"]
        .iter()
        .filter_map(|id| id.rsplit('/').next())
        .collect();
    assert!(
        people.contains(&"admins") && people.contains(&"auditors"),
        "{people:?}"
    );
    let cluster = &sent(&double, "CreateCluster").await[0];
    assert_eq!(
        cluster["logging"]["clusterLogging"],
        json!([{"types": ["api", "audit"], "enabled": true}])
    );
    assert_eq!(cluster["resourcesVpcConfig"]["subnetIds"], json!(subnets));
    let groups = sent(&double, "CreateNodegroup").await;
    let cheap = groups
        .iter()
        .find(|group| group["nodegroupName"] == "cheap")
        .unwrap();
    assert_eq!(cheap["capacityType"], "SPOT");
    assert_eq!(cheap["instanceTypes"], json!(["t3.medium", "t3a.medium"]));
    let policies = sent(&double, "AssociateAccessPolicy").await;
    let of_auditors = policies
        .iter()
        .find(|of| of["principalArn"].as_str().unwrap().ends_with("role/auditors"));
    let of_auditors = of_auditors.unwrap();
    assert!(
        of_auditors["policyArn"]
            .as_str()
            .unwrap()
            .ends_with("/AmazonEKSViewPolicy")
    );
    assert_eq!(
        of_auditors["accessScope"],
        json!({"type": "namespace", "namespaces": ["default"]})
    );

    changes_in_place(&double, &sandbox, &stack).await;

    // A cluster that is deleted makes its log group anew where there is none.
    double
        .plant(json!({"what": "log-group-deleted", "name": "/aws/eks/guest/cluster"}))
        .await;
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.ask("GET", "account", &Value::Null).await, before);
}

/// Another size, another group, other labels and taints, one person less, one sort of logs more.
async fn changes_in_place(double: &Double, sandbox: &Sandbox, stack: &str) {
    let mut changed = stack.to_owned();
    for (old, new) in [
        (
            "min: 1, desired: 1, max: 3}",
            "min: 2, desired: 2, max: 3}\n    - {name: extra, desired: 1}",
        ),
        ("{pool: cheap}", "{pool: cheaper, team: a}"),
        ("value: \"true\", effect: NoSchedule", "effect: PreferNoSchedule"),
        (
            "    - {principal: \"arn:aws:iam::123456789012:role/admins\"}\n",
            "",
        ),
        ("[api, audit]", "[api, audit, scheduler]"),
    ] {
        assert!(changed.contains(old), "{old}");
        changed = changed.replace(old, new);
    }
    sandbox.write("stackup.yaml", changed);
    assert_eq!(
        planned(sandbox),
        set(&[
            "create aws.eks_node_group/extra",
            "create aws.launch_template/extra",
            "delete aws.eks_access_entry/123456789012-role-admins",
            "update aws.eks_cluster/guest",
            "update aws.eks_node_group/cheap",
            "update aws.eks_node_group/steady",
        ])
    );
    settles(double, sandbox).await;
    let made = things(double).await;
    assert_eq!(
        made["eks:nodegroup"],
        ["guest/cheap", "guest/extra", "guest/steady"]
    );
    assert!(
        !made["eks:access-entry"]
            .iter()
            .any(|id| id.ends_with("role/admins")),
        "{made:?}"
    );
    assert_eq!(sent(double, "CreateCluster").await.len(), 1);
    assert_eq!(sent(double, "DeleteNodegroup").await.len(), 0);
    for (selector, nodes) in [
        ("eks.amazonaws.com/nodegroup=steady", 2),
        ("eks.amazonaws.com/nodegroup=extra", 1),
        ("eks.amazonaws.com/capacityType=SPOT,pool=cheaper,team=a", 1),
    ] {
        let over = Instant::now() + Duration::from_mins(1);
        loop {
            let found = kubectl(double, sandbox, &["get", "nodes", "-l", selector, "-o", "name"]);
            if found.lines().count() == nodes {
                break;
            }
            assert!(Instant::now() < over, "{selector}: {found}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let path = "-o=jsonpath={.items[*].spec.taints[?(@.key==\"spot\")].effect}";
    let taints = kubectl(double, sandbox, &["get", "nodes", "-l", "pool=cheaper", path]);
    assert_eq!(taints, "PreferNoSchedule");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_gateway_a_zone_each_private_subnet_goes_out_by_that_of_its_own_zone() {
    let Some(double) = Double::with_clusters(SCALE).await else {
        return;
    };
    let stack = format!(
        "name: wide\ncluster:\n  provider: eks\n  region: {REGION}\n  kubernetes: \"1.34\"\n  network: {{zones: 3, nat: per-zone}}\n  nodeGroups:\n    - {{name: workers, min: 1, desired: 1, max: 3}}\nverify: off\n"
    );
    let sandbox = sandbox(&double, &stack);
    settles(&double, &sandbox).await;
    let made = things(&double).await;
    let count = |kind: &str| made[kind].len();
    assert_eq!(
        [
            count("ec2:natgateway"),
            count("ec2:elastic-ip"),
            count("ec2:subnet"),
            count("ec2:vpc")
        ],
        [3, 3, 6, 1]
    );
    let zones = zones_of_ways_out(&double).await;
    assert_eq!(zones.len(), 3, "{zones:?}");
    for (subnet, gateway) in &zones {
        assert_eq!(
            subnet, gateway,
            "a private subnet goes out by another zone's gateway"
        );
    }

    sandbox.write(
        "stackup.yaml",
        stack.replace("min: 1, desired: 1", "min: 2, desired: 2"),
    );
    assert_eq!(planned(&sandbox), set(&["update aws.eks_node_group/workers"]));
    settles(&double, &sandbox).await;
    assert_eq!(things(&double).await["ec2:instance"].len(), 2);
    sandbox.stackup(&["destroy", "--yes"]).ends(0);
    assert_eq!(double.account().await, Vec::<String>::new());
}

/// The zone of each private subnet, and that of the gateway to which its route leads.
async fn zones_of_ways_out(double: &Double) -> BTreeMap<String, String> {
    let subnets = double.ec2.describe_subnets().send().await.unwrap();
    let zone = |id: Option<&str>| {
        let subnet = subnets
            .subnets()
            .iter()
            .find(|subnet| subnet.subnet_id() == id)
            .unwrap();
        subnet.availability_zone().unwrap().to_owned()
    };
    let gateways = double.ec2.describe_nat_gateways().send().await.unwrap();
    let gateways: BTreeMap<_, _> = gateways
        .nat_gateways()
        .iter()
        .filter(|gateway| gateway.state() == Some(&NatGatewayState::Available))
        .map(|gateway| (gateway.nat_gateway_id().unwrap(), zone(gateway.subnet_id())))
        .collect();
    let tables = double.ec2.describe_route_tables().send().await.unwrap();
    let mut zones = BTreeMap::new();
    for table in tables.route_tables() {
        let out = table.routes().iter().find_map(|route| route.nat_gateway_id());
        for one in table.associations() {
            if let (Some(out), Some(subnet)) = (out, one.subnet_id()) {
                zones.insert(zone(Some(subnet)), gateways[out].clone());
            }
        }
    }
    zones
}

#[test]
fn what_a_stack_cannot_have_yet_is_refused_at_its_place_with_a_clear_word() {
    for (lines, place, word, hint) in [
        (
            "autoMode: true",
            "4:3",
            "cluster.autoMode: EKS Auto Mode is not supported yet",
            "leave it out",
        ),
        (
            "kmsKey: alias/mine",
            "4:3",
            "cluster.kmsKey: a KMS key of your own (EKS encrypts with one of AWS's) is not supported yet",
            "leave it out",
        ),
        (
            "upgrade: rolling",
            "4:3",
            "cluster.upgrade: an upgrade by more than one version in a run is not supported yet",
            "leave it out",
        ),
        (
            "network: {nat: regional}",
            "4:18",
            "cluster.network.nat regional is not supported yet",
            "per-zone has a gateway in each zone",
        ),
        (
            "network:\n    zones: 3\n    nat: regional",
            "6:10",
            "cluster.network.nat regional is not supported yet",
            "per-zone",
        ),
        (
            "endpoint: {public: false}",
            "4:22",
            "cluster.endpoint.public: false is not supported yet: stackup must reach the API server itself",
            "publicCidrs",
        ),
        (
            "network: {vpc: vpc-1, subnets: [subnet-1, subnet-2], nat: single}",
            "4:56",
            "cluster.network.nat is for a network of our own, and vpc names one that is there",
            "leave out one or the other",
        ),
        (
            "network: {vpc: vpc-1, subnets: [subnet-1]}",
            "4:25",
            "cluster.network.subnets must name at least two subnets: EKS wants two zones",
            "list the subnets' ids",
        ),
        ("network: {zones: 4}", "4:20", "cluster.network.zones", "2"),
        (
            "nodeGroups: [{name: a, capacity: reserved}]",
            "4:36",
            "capacity",
            "spot",
        ),
        ("logs: {types: [kubelet]}", "4:18", "cluster.logs.types", "audit"),
    ] {
        let sandbox = Sandbox::new();
        let stack = format!("name: a\ncluster:\n  provider: eks\n  {lines}\n  region: {REGION}\n");
        sandbox.write("stackup.yaml", stack);
        let run = sandbox.stackup(&["validate"]).ends(2);
        let told = run.all();
        let line = told.lines().find(|line| line.contains(word));
        assert!(
            line.is_some_and(|line| line.contains(&format!("stackup.yaml:{place}: "))),
            "{lines}: {told}"
        );
        assert!(
            told.contains("1 mistake") && told.contains(hint),
            "{lines}: {told}"
        );
    }
}
