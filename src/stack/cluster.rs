use serde_json::Value;

use crate::model::{ClusterModel, ExistingModel, KindModel, KwokModel};

use super::{
    eks,
    reader::{Fields, Reader},
    tree::{Content, Node, Place},
};

/// The providers of this build.
pub(super) const PROVIDERS: [&str; 4] = ["kind", "kwok", "eks", "existing"];

/// The keys of `cluster` that belong to some providers only.
const OWNERS: [(&str, &[&str]); 11] = [
    ("kubernetes", &["kind", "kwok", "eks"]),
    ("workers", &["kind", "kwok"]),
    ("kind", &["kind"]),
    ("existing", &["existing"]),
    ("region", &["eks"]),
    ("network", &["eks"]),
    ("nodeGroups", &["eks"]),
    ("access", &["eks"]),
    ("endpoint", &["eks"]),
    ("logs", &["eks"]),
    ("deletionProtection", &["eks"]),
];

const MOST_WORKERS: u32 = 100;

/// Reads `cluster`.
pub(super) fn cluster(reader: &mut Reader, node: &Node, place: &Place) -> Option<ClusterModel> {
    let mut fields = reader.fields(node, "cluster", place)?;
    // Without it nothing else here can be judged, so a slip in this one key is told as what it is.
    let hint = fields.meant("provider").map_or_else(
        || format!("one of {}", PROVIDERS.join(", ")),
        |slip| format!("'{slip}' is written there: did you mean 'provider'?"),
    );
    let provider = reader.required(&mut fields, "provider", &hint)?;
    let model = match &provider.content {
        Content::Text(text, _) if text == "kind" => kind(reader, &mut fields).map(ClusterModel::Kind),
        Content::Text(text, _) if text == "kwok" => Some(ClusterModel::Kwok(KwokModel {
            workers: workers(reader, &mut fields, 1),
            kubernetes: kubernetes(reader, &mut fields),
        })),
        Content::Text(text, _) if text == "existing" => {
            existing(reader, &mut fields).map(ClusterModel::Existing)
        }
        Content::Text(text, _) if text == "eks" => {
            let kubernetes = kubernetes(reader, &mut fields);
            eks::eks(reader, &mut fields, kubernetes).map(ClusterModel::Eks)
        }
        Content::Text(..) | Content::Plain(..) | Content::List(_) | Content::Map(_) => {
            reader.unknown_word(provider, "cluster.provider", &PROVIDERS);
            return None;
        }
    };
    if let Content::Text(provider, _) = &provider.content {
        foreign(reader, &fields, provider);
    }
    model
}

/// Reports the keys that the chosen provider has no use for: another one's, and unknown ones.
fn foreign(reader: &mut Reader, fields: &Fields<'_>, provider: &str) {
    let mut reported = Vec::new();
    for (key, owners) in OWNERS {
        let Some(entry) = fields.entry(key).filter(|_| !owners.contains(&provider)) else {
            continue;
        };
        reported.push(key);
        reader.wrong(
            &entry.place,
            format!(
                "cluster.{key} is not for provider {provider}, only for {}",
                owners.join(", ")
            ),
            "leave it out, or choose another provider",
        );
    }
    reader.finish(fields, &reported);
}

fn kind(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<KindModel> {
    let mut model = KindModel {
        workers: workers(reader, fields, 0),
        kubernetes: kubernetes(reader, fields),
        image: None,
        load_images: Vec::new(),
        config: None,
    };
    let Some(node) = fields.get("kind") else {
        return Some(model);
    };
    let mut own = reader.fields(node, "cluster.kind", fields.place_of("kind"))?;
    model.image = reader.optional(&mut own, "image");
    for (at, archive) in reader.list(&mut own, "loadImages").iter().enumerate() {
        model
            .load_images
            .extend(reader.file(archive, &format!("cluster.kind.loadImages.{at}"), false));
    }
    if let Some(config) = own.get("config")
        && reader
            .fields(config, "cluster.kind.config", &config.place)
            .is_some()
    {
        model.config = Some(config.value());
    }
    reader.finish(&own, &[]);
    Some(model)
}

fn existing(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<ExistingModel> {
    let hint = "`kubectl config get-contexts` lists the contexts; the current one is never taken by accident";
    let Some(node) = fields.get("existing") else {
        reader.wrong(&fields.place, "cluster.existing.context is missing", hint);
        return None;
    };
    let mut own = reader.fields(node, "cluster.existing", fields.place_of("existing"))?;
    let context = reader
        .required(&mut own, "context", hint)
        .and_then(|node| reader.text(node, "cluster.existing.context"));
    let kubeconfig = own
        .get("kubeconfig")
        .map(|file| reader.file(file, "cluster.existing.kubeconfig", false));
    reader.finish(&own, &[]);
    Some(ExistingModel {
        kubeconfig: kubeconfig.flatten(),
        context: context?,
    })
}

/// The number of workers, 1 unless written. A number that is a mistake is reported and does not stop the reading.
fn workers(reader: &mut Reader, fields: &mut Fields<'_>, least: u32) -> u32 {
    fields
        .get("workers")
        .and_then(|node| reader.number(node, "cluster.workers", least, MOST_WORKERS))
        .unwrap_or(1)
}

/// A version of Kubernetes: `1.34` or `1.34.4`.
fn kubernetes(reader: &mut Reader, fields: &mut Fields<'_>) -> Option<String> {
    let node = fields.get("kubernetes")?;
    if let Content::Plain(Value::Number(_), written) = &node.content
        && node.place.source.lines
    {
        reader.wrong(
            &node.place,
            "cluster.kubernetes must be text, since YAML reads 1.30 as the number 1.3",
            format!("write it in quotes: \"{written}\""),
        );
        return None;
    }
    let text = reader.text(node, "cluster.kubernetes")?;
    let number = |part: &str| !part.is_empty() && part.len() <= 4 && part.chars().all(|c| c.is_ascii_digit());
    let parts: Vec<_> = text.split('.').collect();
    if (2..=3).contains(&parts.len()) && parts.iter().all(|part| number(part)) {
        return Some(text);
    }
    reader.wrong(
        &node.place,
        format!(
            "cluster.kubernetes {} is not a version of Kubernetes",
            node.shown()
        ),
        "write minor or patch version without a 'v', as in \"1.34\" or \"1.34.4\"",
    );
    None
}
