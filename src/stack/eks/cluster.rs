use crate::{
    model::{AccessModel, EksModel, EndpointModel, NodeGroupModel},
    stack::{
        reader::{Fields, Reader},
        tree::{Content, Node},
    },
};

use super::{network, node_group};

const LOGS: [&str; 5] = ["api", "audit", "authenticator", "controllerManager", "scheduler"];
/// What `CloudWatch` Logs takes as a retention, in days.
const RETENTIONS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

/// Reads the keys of `cluster` that are EKS's.
pub(in crate::stack) fn eks(
    reader: &mut Reader,
    fields: &mut Fields<'_>,
    kubernetes: Option<String>,
) -> Option<EksModel> {
    let region = reader
        .required(fields, "region", "as in region: eu-central-1")
        .and_then(|node| region(reader, node));
    let network = match fields.get("network") {
        Some(node) => network::network(reader, node),
        None => Some(network::own_network()),
    };
    let endpoint = endpoint(reader, fields);
    let groups = fields.entry("nodeGroups").is_some();
    let items = reader.list(fields, "nodeGroups");
    if groups && items.is_empty() {
        reader.wrong(
            fields.place_of("nodeGroups"),
            "cluster.nodeGroups is empty: nothing could run",
            "name one group, or leave nodeGroups out for one of two nodes",
        );
    }
    let mut node_groups: Vec<NodeGroupModel> = items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| node_group::group(reader, item, at))
        .collect();
    let mut names = std::collections::BTreeSet::new();
    for (group, item) in node_groups.iter().zip(items) {
        if !names.insert(group.name.clone()) {
            reader.wrong(
                &item.place,
                format!("cluster.nodeGroups: two groups are called '{}'", group.name),
                "give each its own name",
            );
        }
    }
    if !groups {
        node_groups.push(node_group::default_group());
    }
    let access = reader.list(fields, "access");
    let access = access
        .iter()
        .enumerate()
        .filter_map(|(at, item)| grant(reader, item, at))
        .collect();
    let (logs, log_retention_days) = logs(reader, fields);
    let deletion_protection = fields
        .get("deletionProtection")
        .is_some_and(|node| truth(reader, node, "cluster.deletionProtection") == Some(true));
    not_yet(reader, fields);
    Some(EksModel {
        region: region?,
        kubernetes,
        network: network?,
        endpoint,
        node_groups,
        access,
        logs,
        log_retention_days,
        deletion_protection,
    })
}

/// What users may ask for and this program does not do yet: a word of its own instead of "unknown key".
fn not_yet(reader: &mut Reader, fields: &mut Fields<'_>) {
    for (key, what) in [
        ("autoMode", "EKS Auto Mode"),
        ("kmsKey", "a KMS key of your own (EKS encrypts with one of AWS's)"),
        ("upgrade", "an upgrade by more than one version in a run"),
    ] {
        if let Some(place) = fields.entry(key).map(|entry| entry.place.clone()) {
            fields.get(key);
            reader.wrong(
                &place,
                format!("cluster.{key}: {what} is not supported yet"),
                "leave it out",
            );
        }
    }
}

fn region(reader: &mut Reader, node: &Node) -> Option<String> {
    let text = reader.text(node, "cluster.region")?;
    let parts: Vec<&str> = text.split('-').collect();
    let valid = parts.len() >= 3
        && parts.iter().all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
        && parts
            .last()
            .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    if !valid {
        reader.wrong(
            &node.place,
            format!("cluster.region {} is not a region of AWS", node.shown()),
            "as in eu-central-1; a zone's letter does not belong to it",
        );
    }
    valid.then_some(text)
}

fn endpoint(reader: &mut Reader, fields: &mut Fields<'_>) -> EndpointModel {
    let mut model = EndpointModel {
        public: true,
        public_cidrs: Vec::new(),
    };
    let Some(node) = fields.get("endpoint") else {
        return model;
    };
    let Some(mut own) = reader.fields(node, "cluster.endpoint", &node.place) else {
        return model;
    };
    if let Some(node) = own.get("public")
        && truth(reader, node, "cluster.endpoint.public") == Some(false)
    {
        model.public = false;
        reader.wrong(
            &node.place,
            "cluster.endpoint.public: false is not supported yet: stackup must reach the API server itself",
            "name the ranges that may reach it in publicCidrs",
        );
    }
    model.public_cidrs = reader
        .list(&mut own, "publicCidrs")
        .iter()
        .enumerate()
        .filter_map(|(at, item)| {
            network::cidr(reader, item, &format!("cluster.endpoint.publicCidrs.{at}"), None)
        })
        .collect();
    reader.finish(&own, &[]);
    model
}

fn grant(reader: &mut Reader, item: &Node, at: usize) -> Option<AccessModel> {
    let path = format!("cluster.access.{at}");
    let mut own = reader.fields(item, &path, &item.place)?;
    let principal = reader
        .required(&mut own, "principal", "the ARN of an IAM role or user")
        .and_then(|node| principal(reader, node, &format!("{path}.principal")));
    let policy = own
        .get("policy")
        .map_or(Some("AmazonEKSClusterAdminPolicy".to_owned()), |node| {
            reader.text(node, &format!("{path}.policy"))
        });
    let namespaces = reader
        .list(&mut own, "namespaces")
        .iter()
        .enumerate()
        .filter_map(|(at, item)| reader.label(item, &format!("{path}.namespaces.{at}"), 63))
        .collect();
    reader.finish(&own, &[]);
    Some(AccessModel {
        principal: principal?,
        policy: policy?,
        namespaces,
    })
}

fn principal(reader: &mut Reader, node: &Node, path: &str) -> Option<String> {
    let text = reader.text(node, path)?;
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let (valid, hint) = match parts.as_slice() {
        ["arn", partition, "sts", ..] if partition.starts_with("aws") => (
            false,
            "a session is no lasting principal: name the role, arn:aws:iam::ACCOUNT:role/NAME",
        ),
        ["arn", partition, "iam", "", account, name] => (
            partition.starts_with("aws")
                && account.len() == 12
                && account.chars().all(|c| c.is_ascii_digit())
                && (name.starts_with("role/") || name.starts_with("user/")),
            "as in arn:aws:iam::111122223333:role/admins",
        ),
        _ => (false, "as in arn:aws:iam::111122223333:role/admins"),
    };
    if !valid {
        reader.wrong(
            &node.place,
            format!("{path} {} is not the ARN of an IAM role or user", node.shown()),
            hint,
        );
    }
    valid.then_some(text)
}

fn logs(reader: &mut Reader, fields: &mut Fields<'_>) -> (Vec<String>, u32) {
    const DAYS: u32 = 7;
    let Some(node) = fields.get("logs") else {
        return (Vec::new(), DAYS);
    };
    let Some(mut own) = reader.fields(node, "cluster.logs", &node.place) else {
        return (Vec::new(), DAYS);
    };
    let items = reader.list(&mut own, "types");
    let mut types: Vec<String> = items
        .iter()
        .filter_map(|item| {
            let known = item
                .literal()
                .filter(|text| LOGS.contains(text))
                .map(str::to_owned);
            if known.is_none() {
                reader.unknown_word(item, "cluster.logs.types", &LOGS);
            }
            known
        })
        .collect();
    types.sort();
    types.dedup();
    let days = own.get("retentionDays").and_then(|node| {
        let days = reader.number(node, "cluster.logs.retentionDays", 1, 3653)?;
        if !RETENTIONS.contains(&days) {
            let all: Vec<String> = RETENTIONS.iter().map(ToString::to_string).collect();
            reader.wrong(
                &node.place,
                format!("cluster.logs.retentionDays {days} is none that CloudWatch takes"),
                format!("one of {}", all.join(", ")),
            );
        }
        Some(days)
    });
    reader.finish(&own, &[]);
    (types, days.unwrap_or(DAYS))
}

fn truth(reader: &mut Reader, node: &Node, path: &str) -> Option<bool> {
    match &node.content {
        Content::Plain(serde_json::Value::Bool(truth), _) => Some(*truth),
        Content::Text(..) | Content::Plain(..) | Content::List(_) | Content::Map(_) => {
            reader.wrong(
                &node.place,
                format!("{path} must be true or false, not {}", node.shown()),
                "write true or false, without quotes",
            );
            None
        }
    }
}
