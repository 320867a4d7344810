//! AWS as the verbs use it: clients, tokens, the look ahead and the audit; nothing of it in a build without AWS.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{error::CliError, exit::Exit};
use crate::{
    aws::{self, Audited, Clients, Left, Problem, Token},
    kubernetes::{Keep, Tokens},
    model::{Action, Address, ClusterModel, Plan, Shown, StackModel},
    resource::{Kind, ResourceError, Stack},
    state::{Place, Snapshot},
};

/// The clients of a run.
pub(super) type Cloud = Arc<Clients>;

/// Clients of the stack's region, if it has one. Calls nobody.
pub(super) fn cloud(model: &StackModel) -> Cloud {
    let region = match &model.cluster {
        ClusterModel::Eks(eks) => Some(eks.region.clone()),
        ClusterModel::Kind(_) | ClusterModel::Kwok(_) | ClusterModel::Existing(_) => None,
    };
    Arc::new(Clients::new(region))
}

pub(super) fn kinds(cloud: &Cloud) -> Vec<Arc<dyn Kind>> {
    aws::kinds(cloud)
}

/// Tokens for the API servers of EKS: made when one is needed, kept until it should be renewed.
#[expect(clippy::unnecessary_wraps, reason = "a build without AWS has none")]
pub(super) fn tokens(cloud: &Cloud) -> Option<Tokens> {
    let cloud = Arc::clone(cloud);
    let made: Arc<Mutex<BTreeMap<String, Token>>> = Arc::default();
    Some(Arc::new(move |outputs: &Value| {
        let name = outputs.get("name").and_then(Value::as_str).map(str::to_owned);
        let (cloud, made) = (Arc::clone(&cloud), Arc::clone(&made));
        Box::pin(async move {
            let name = name.ok_or_else(|| {
                ResourceError::permanent("the cluster's outputs do not say which cluster of EKS it is")
            })?;
            let mut made = made.lock().await;
            if let Some(token) = made.get(&name).filter(|token| now() < token.renew) {
                return Ok(token.text.clone());
            }
            let token = aws::token(&cloud, &name).await?;
            let text = token.text.clone();
            made.insert(name, token);
            Ok(text)
        })
    }))
}

/// Marks the volumes that Kubernetes was told to keep, before the cluster that knows of them goes.
#[expect(clippy::unnecessary_wraps, reason = "a build without AWS has none")]
pub(super) fn keep(cloud: &Cloud) -> Option<Keep> {
    let cloud = Arc::clone(cloud);
    Some(Arc::new(move |stack: &Stack, outputs: &Value, volumes| {
        let (cloud, uid) = (Arc::clone(&cloud), stack.uid.clone());
        let name = outputs.get("name").and_then(Value::as_str).map(str::to_owned);
        Box::pin(async move {
            match name {
                Some(name) => aws::keep(&cloud, &uid, &name, &volumes).await,
                None => Ok(()),
            }
        })
    }))
}

/// Refuses credentials of another account than the state's: there everything would seem to be gone.
pub(super) async fn at_its_place(
    cloud: &Cloud,
    model: &StackModel,
    snapshot: &mut Snapshot,
) -> Result<(), CliError> {
    let ClusterModel::Eks(eks) = &model.cluster else {
        return not_from_aws(model, snapshot);
    };
    let here = Place {
        account: aws::account(cloud).await?,
        region: eks.region.clone(),
    };
    let there = snapshot.place.as_ref().filter(|_| !snapshot.resources.is_empty());
    if let Some(problem) = there.and_then(|there| aws::misplaced(&here, there)) {
        return Err(
            CliError::new(Exit::Refused, format!("{}: {}", problem.title, problem.found)).hint(problem.hint),
        );
    }
    snapshot.place = Some(here);
    Ok(())
}

/// Refuses to leave AWS with a cluster standing there: without its account and region nothing of it would be found, and
/// all of it forgotten.
fn not_from_aws(model: &StackModel, snapshot: &Snapshot) -> Result<(), CliError> {
    let mut kinds = snapshot.resources.values().map(|entry| &entry.remembered.kind);
    if !kinds.any(|kind| kind.starts_with("aws.")) {
        return Ok(());
    }
    let (name, place) = (&model.name, snapshot.place.as_ref());
    let there = place.map_or_else(
        || "on AWS".to_owned(),
        |place| format!("in region {} of account {}", place.region, place.account),
    );
    Err(CliError::new(
        Exit::Refused,
        format!("{name} stands on EKS {there}, and the stack file now names another provider"),
    )
    .hint("name the provider eks with that region in the stack file again and run 'stackup destroy'; then change it"))
}

/// What these resources cost, as far as that is known; nothing if none of them is paid for.
pub(super) fn cost(resources: &[&Address]) -> Option<String> {
    /// What AWS asks money for by the hour or the month.
    const PAID: [(&str, &str); 4] = [
        ("aws.eks_node_group", "the nodes of"),
        ("aws.nat_gateway", "the gateway"),
        ("aws.address", "the address"),
        ("aws.log_group", "the logs in"),
    ];
    let (mut known, mut unknown, mut sources) = (0.0, Vec::new(), Vec::new());
    for address in resources {
        let kind = address.as_str().split('/').next().unwrap_or_default();
        if let Some(price) = aws::price(kind) {
            known += price.dollars_per_hour;
            sources.push(format!("as of {}", price.date));
        } else if let Some((_, what)) = PAID.iter().find(|(paid, _)| *paid == kind) {
            unknown.push(format!("{what} {}", address.name()));
        }
    }
    sources.dedup();
    let unknown = (!unknown.is_empty()).then(|| format!("at prices not known here: {}", unknown.join(", ")));
    let known = (!sources.is_empty()).then(|| {
        format!(
            "${known:.2} an hour, ${:.0} a month ({})",
            known * HOURS,
            sources.join(", ")
        )
    });
    let parts: Vec<String> = known.into_iter().chain(unknown).collect();
    (!parts.is_empty()).then(|| parts.join("; and, "))
}

/// Hours of a month, as AWS reckons.
const HOURS: f64 = 730.0;

/// What a plan's new resources cost.
pub(super) fn cost_of(plan: &Plan) -> Option<String> {
    let stays = |action: Action| !matches!(action, Action::Delete | Action::Forget);
    let steps = plan.steps.iter().filter(|step| stays(step.action));
    cost(&steps.map(|step| &step.address).collect::<Vec<_>>())
}

/// Looks ahead before the first write: everything that would go wrong, at once.
pub(super) async fn look_ahead(
    model: &StackModel,
    stack: &Stack,
    snapshot: &Snapshot,
    plan: &Plan,
) -> Result<Vec<String>, CliError> {
    let ClusterModel::Eks(eks) = &model.cluster else {
        return Ok(Vec::new());
    };
    let mut told: Vec<String> = plan.steps.iter().filter_map(stays_behind).collect();
    let creates = |step: &crate::model::Step| step.kind.starts_with("aws.") && step.action == Action::Create;
    if !plan.steps.iter().any(creates) {
        return Ok(told);
    }
    let patient = Clients::patient(Some(eks.region.clone()));
    let operator = snapshot
        .resources
        .get(&Address::new("aws.eks_access_entry", "operator"));
    let problems = aws::preflight(
        &patient,
        eks,
        stack,
        snapshot.place.as_ref(),
        operator.and_then(|entry| entry.remembered.outputs.get("principal")?.as_str()),
        now().into(),
    )
    .await;
    let (warnings, problems): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.warning);
    if problems.is_empty() {
        let text = |problem: Problem| format!("{}: {} ({})", problem.title, problem.found, problem.hint);
        told.extend(warnings.into_iter().map(text));
        return Ok(told);
    }
    let mut error = CliError::new(
        Exit::Refused,
        format!("{} would not come to stand; nothing was changed", model.name),
    );
    for problem in problems.into_iter().chain(warnings) {
        error.causes.push(format!(
            "{}: {}\n    → {}",
            problem.title, problem.found, problem.hint
        ));
    }
    Err(error)
}

/// What an audit looks for, by the stack file and what the state remembers before everything goes.
pub(super) fn audited(model: &StackModel, snapshot: &Snapshot) -> Option<Audited> {
    let ClusterModel::Eks(eks) = &model.cluster else {
        return None;
    };
    let told = |field: &str| {
        let mut outputs = snapshot.resources.values().map(|entry| &entry.remembered.outputs);
        outputs.find_map(|outputs| outputs.get(field).filter(|value| !value.is_null()))
    };
    Some(Audited {
        uid: snapshot.uid.clone(),
        cluster: Some(model.name.clone()),
        vpc: told("vpcId").and_then(Value::as_str).map(str::to_owned),
        logs: !eks.logs.is_empty(),
        since: told("since").and_then(Value::as_i64),
    })
}

/// What another version of a cluster leaves as it is, if that is what the step is about.
fn stays_behind(step: &crate::model::Step) -> Option<String> {
    let raised = step.fields.iter().find(|change| change.path == "kubernetes")?;
    let (Shown::Value(old), Shown::Value(new)) = (&raised.old, &raised.new) else {
        return None;
    };
    let (old, new) = (old.as_str()?, new.as_str()?);
    let name = step.address.name();
    (step.kind == "aws.eks_cluster" && step.action == Action::Update).then(|| {
        format!(
            "only the control plane of {name} goes from {old} to {new}: its nodes stay at {old} and its add-ons at the \
             versions that they have; raise them with 'aws eks update-nodegroup-version --cluster-name {name} \
             --nodegroup-name NAME' and 'aws eks update-addon --cluster-name {name} --addon-name NAME --addon-version \
             VERSION'"
        )
    })
}

/// Proves that nothing of the stack is left, or lists what is, why, and what it costs.
pub(super) async fn audit(model: &StackModel, of: Option<Audited>) -> Result<(), CliError> {
    let (ClusterModel::Eks(eks), Some(of)) = (&model.cluster, of) else {
        return Ok(());
    };
    let patient = Clients::patient(Some(eks.region.clone()));
    nothing_left(&patient, &model.name, &of).await
}

/// The same for a stack of this name, wherever what is known of it comes from.
pub(super) async fn nothing_left(clients: &Clients, name: &str, of: &Audited) -> Result<(), CliError> {
    let left = aws::audit(clients, of).await.map_err(|error| {
        let mut told = CliError::from(error);
        told.message = format!(
            "everything was deleted, and whether something is left could not be read: {}",
            told.message
        );
        told
    })?;
    if left.is_empty() {
        return Ok(());
    }
    let message = match left.len() {
        1 => format!("1 thing of {name} is left"),
        many => format!("{many} things of {name} are left"),
    };
    let mut error = CliError::new(Exit::Failed, message);
    error.causes = left.iter().map(line).collect();
    Err(error.hint(
        "delete them, or what keeps them, and run 'stackup destroy' again: it ends when nothing is left",
    ))
}

fn line(left: &Left) -> String {
    let cost = left.price.as_ref().map_or_else(
        || "cost unknown".to_owned(),
        |price| format!("${:.2} a day", price.dollars_per_hour * 24.0),
    );
    format!(
        "{} {} in {}: {} ({cost})",
        left.kind, left.id, left.region, left.why
    )
}

/// The kubeconfig of a cluster of EKS: it asks this program for a token whenever kubectl needs one.
pub(super) fn kubeconfig(outputs: &serde_json::Map<String, Value>, program: &str) -> Option<Value> {
    let text = |name: &str| outputs.get(name).and_then(Value::as_str);
    let (name, context, region) = (text("name")?, text("context")?, text("region")?);
    Some(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {
            "server": text("server")?, "certificate-authority-data": text("certificateAuthority")?,
        }}],
        "users": [{"name": context, "user": {"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": program,
            "args": ["token", "--cluster", name, "--region", region],
            "interactiveMode": "Never",
        }}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the age of a token is judged by the real clock"
)]
pub(super) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// A moment as Kubernetes writes it: RFC 3339, to the second.
pub(super) fn seconds(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(addresses: &[&str]) -> Option<String> {
        let addresses: Vec<Address> = addresses
            .iter()
            .map(|text| Address::parse(text).unwrap())
            .collect();
        cost(&addresses.iter().collect::<Vec<_>>())
    }

    #[test]
    fn what_has_no_known_price_is_not_told_as_free() {
        assert_eq!(told(&["aws.vpc/main"]), None);
        assert_eq!(
            told(&["aws.vpc/main", "aws.nat_gateway/a"]).unwrap(),
            "at prices not known here: the gateway a"
        );
        assert_eq!(
            told(&["aws.eks_cluster/demo", "aws.nat_gateway/a"]).unwrap(),
            "$0.10 an hour, $73 a month (as of 2024-04-01); and, at prices not known here: the gateway a"
        );
    }
}
