//! AWS as the verbs use it: clients, tokens, the look ahead and the audit; nothing of it in a build without AWS.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{context::Session, error::CliError, exit::Exit};
use crate::{
    aws::{self, Audited, Clients, Left, Problem, Token},
    kubernetes::Tokens,
    model::{Action, Address, ClusterModel, Plan, StackModel},
    resource::{Kind, ResourceError},
    state::Place,
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

/// Refuses credentials of another account than the state's: there everything would seem to be gone.
pub(super) async fn at_its_place(session: &mut Session) -> Result<(), CliError> {
    let ClusterModel::Eks(eks) = &session.opened.model.cluster else {
        return Ok(());
    };
    let here = Place {
        account: aws::account(&session.cloud).await?,
        region: eks.region.clone(),
    };
    let snapshot = &mut session.loaded.snapshot;
    let there = snapshot.place.as_ref().filter(|_| !snapshot.resources.is_empty());
    if let Some(problem) = there.and_then(|there| aws::misplaced(&here, there)) {
        return Err(
            CliError::new(Exit::Refused, format!("{}: {}", problem.title, problem.found)).hint(problem.hint),
        );
    }
    snapshot.place = Some(here);
    Ok(())
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
    if known == 0.0 && unknown.is_empty() {
        return None;
    }
    sources.dedup();
    let mut text = format!(
        "${known:.2} an hour, ${:.0} a month ({})",
        known * HOURS,
        sources.join(", ")
    );
    if !unknown.is_empty() {
        text.push_str("; and, at prices not known here: ");
        text.push_str(&unknown.join(", "));
    }
    Some(text)
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
pub(super) async fn look_ahead(session: &Session, plan: &Plan) -> Result<Vec<String>, CliError> {
    let ClusterModel::Eks(eks) = &session.opened.model.cluster else {
        return Ok(Vec::new());
    };
    let creates = |step: &crate::model::Step| step.kind.starts_with("aws.") && step.action == Action::Create;
    if !plan.steps.iter().any(creates) {
        return Ok(Vec::new());
    }
    let patient = Clients::patient(Some(eks.region.clone()));
    let snapshot = &session.loaded.snapshot;
    let operator = snapshot
        .resources
        .get(&Address::new("aws.eks_access_entry", "operator"));
    let problems = aws::preflight(
        &patient,
        eks,
        &session.run.stack,
        snapshot.place.as_ref(),
        operator.and_then(|entry| entry.remembered.outputs.get("principal")?.as_str()),
        now().into(),
    )
    .await;
    let (warnings, problems): (Vec<Problem>, Vec<Problem>) =
        problems.into_iter().partition(|problem| problem.warning);
    if problems.is_empty() {
        let told = |problem: Problem| format!("{}: {} ({})", problem.title, problem.found, problem.hint);
        return Ok(warnings.into_iter().map(told).collect());
    }
    let mut error = CliError::new(
        Exit::Refused,
        format!(
            "{} would not come to stand; nothing was changed",
            session.opened.model.name
        ),
    );
    for problem in problems.into_iter().chain(warnings) {
        error.causes.push(format!(
            "{}: {}\n    → {}",
            problem.title, problem.found, problem.hint
        ));
    }
    Err(error)
}

/// Proves that nothing of the stack is left, or lists what is, why, and what it costs.
pub(super) async fn audit(session: &Session, vpc: Option<String>) -> Result<(), CliError> {
    let ClusterModel::Eks(eks) = &session.opened.model.cluster else {
        return Ok(());
    };
    let patient = Clients::patient(Some(eks.region.clone()));
    let of = Audited {
        uid: session.run.stack.uid.clone(),
        cluster: Some(session.opened.model.name.clone()),
        vpc,
        logs: !eks.logs.is_empty(),
    };
    nothing_left(&patient, &session.opened.model.name, &of).await
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
