use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Clients,
        difference::{field, force},
    },
    Scope,
    look::{look, sweep},
    piece::list,
    scope::ClusterNow,
};
use crate::{
    model::Address,
    resource::{
        Boxed, Cause, Change, Intent, Kind, Live, Made, Observed, Readiness, ResourceError, Stack, Target,
        Traits,
    },
};

pub(in crate::aws) const KIND: &str = "aws.leftovers";

/// What is to be swept, as inputs and as outputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Of {
    cluster: String,
    vpc_id: String,
    #[serde(default)]
    subnet_ids: Vec<String>,
    #[serde(default)]
    logs: bool,
    /// When this place was taken, right before the cluster was made; a state of an earlier version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    #[serde(default, skip_serializing)]
    tags: Value,
}

/// Nothing that is made: a place in the order of removal, after a cluster and before its network.
struct Leftovers {
    clients: Arc<Clients>,
    /// What this run has swept: where it is wanted again, only this tells that the old one is gone.
    swept: Mutex<BTreeSet<Address>>,
}

/// The kind `aws.leftovers`.
pub(in crate::aws) fn leftovers(clients: &Arc<Clients>) -> Arc<dyn Kind> {
    Arc::new(Leftovers::new(clients))
}

impl Kind for Leftovers {
    fn name(&self) -> &'static str {
        KIND
    }

    fn documentation(&self) -> &'static str {
        "What the controllers of an EKS cluster leave in AWS when the cluster goes: load balancers, network interfaces, \
         security groups, volumes, launch templates and the log group. Nothing is made; when it is removed, what carries \
         the mark of the cluster or of the stack is deleted, and the rest is named.\n\
         cluster: the cluster's name.\n\
         vpcId: the VPC that it was in.\n\
         subnetIds: its subnets, which are kept as long as something is left in them.\n\
         logs: whether it writes logs; then a log group that it makes anew while it goes is deleted, too.\n\
         tags: not used, since nothing is made."
    }

    fn traits(&self) -> Traits {
        Traits {
            intent: Intent::Each,
            records_inputs: true,
            at_once: 1,
            expected: None,
            removal: None,
            // Interfaces of load balancers take minutes to go after them.
            deadline: Duration::from_mins(15),
            settles: Duration::ZERO,
            paced: true,
            pins: true,
        }
    }

    fn identity(&self, stack: &Stack, address: &Address, _: &Value) -> Result<Value, ResourceError> {
        Ok(json!({"stack": stack.name, "uid": stack.uid, "address": address}))
    }

    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        Box::pin(join_all(targets.iter().map(|target| self.observed(target))))
    }

    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        self.swept().remove(&target.address);
        Box::pin(std::future::ready(made(target, Some(now()))))
    }

    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        let since = remembered(target).and_then(|before| before.since);
        Box::pin(std::future::ready(made(target, since)))
    }

    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        Box::pin(async {
            self.pass(target).await?;
            self.swept().insert(target.address.clone());
            Ok(())
        })
    }

    fn diagnose<'a>(&'a self, target: &'a Target) -> Boxed<'a, Vec<String>> {
        Box::pin(async move {
            let Some(of) = remembered(target) else {
                return Vec::new();
            };
            let found = async { look(&self.clients, &self.scope(target, &of).await?).await }.await;
            match found {
                Ok(found) => found.pieces.iter().map(ToString::to_string).collect(),
                Err(error) => vec![error.to_string()],
            }
        })
    }
}

impl Leftovers {
    fn new(clients: &Arc<Clients>) -> Self {
        Self {
            clients: Arc::clone(clients),
            swept: Mutex::default(),
        }
    }

    fn swept(&self) -> MutexGuard<'_, BTreeSet<Address>> {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn observed(&self, target: &Target) -> Result<Observed, ResourceError> {
        let before = remembered(target);
        match (wanted(target)?, before) {
            (Some(_) | None, None) => Ok(Observed::Absent),
            (Some(_), Some(_)) if self.swept().contains(&target.address) => Ok(Observed::Absent),
            (Some(of), Some(before)) => Ok(Observed::Live(Box::new(standing(&of, &before)))),
            (None, Some(before)) => {
                let left = self.left(target, &before).await?;
                Ok(left.map_or(Observed::Absent, |why| {
                    Observed::Live(Box::new(Live {
                        readiness: Readiness::NotYet(why),
                        ..Live::ready(json!(before))
                    }))
                }))
            }
        }
    }

    /// What is still there, in words.
    async fn left(&self, target: &Target, of: &Of) -> Result<Option<String>, ResourceError> {
        let scope = self.scope(target, of).await?;
        if let Some(why) = in_use(&scope) {
            return Ok(Some(why));
        }
        let found = look(&self.clients, &scope).await?;
        let kept = found.pieces.iter();
        let kept = list(kept.filter(|piece| piece.is_ours() || piece.keeps_network()));
        Ok(Some(kept).filter(|kept| !kept.is_empty()))
    }

    /// Removes what can be removed now; an error that says what is left as long as something is.
    async fn pass(&self, target: &Target) -> Result<(), ResourceError> {
        let Some(of) = remembered(target) else {
            return Ok(());
        };
        let scope = self.scope(target, &of).await?;
        if let Some(why) = in_use(&scope) {
            return Err(match scope.cluster_now {
                ClusterNow::Leaving => ResourceError::new(Cause::Transient, why),
                ClusterNow::Stands | ClusterNow::Gone | ClusterNow::Another => {
                    ResourceError::new(Cause::Refused, why)
                        .hint("delete the cluster first; what its controllers made is in use")
                }
            });
        }
        let found = look(&self.clients, &scope).await?;
        let ours = list(found.pieces.iter().filter(|piece| piece.is_ours()));
        let foreign = found.pieces.iter().filter(|piece| !piece.is_ours());
        let foreign = list(foreign.filter(|piece| piece.keeps_network()));
        if ours.is_empty() && foreign.is_empty() {
            return Ok(());
        }
        if ours.is_empty() {
            let message = format!("{} holds what is not of this stack: {foreign}", of.vpc_id);
            return Err(ResourceError::new(Cause::Refused, message)
                .hint("delete it, or move it elsewhere; then run 'stackup destroy' again"));
        }
        sweep(&self.clients, &scope, &found).await?;
        let message = format!("what the cluster {} left is on its way out: {ours}", of.cluster);
        Err(ResourceError::new(Cause::Transient, message)
            .hint("remove by hand what keeps it, then run 'stackup destroy' again"))
    }

    async fn scope(&self, target: &Target, of: &Of) -> Result<Scope, ResourceError> {
        Scope::of(
            &self.clients,
            &target.stack.uid,
            &of.cluster,
            Some(&of.vpc_id),
            of.logs,
            of.since,
        )
        .await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "AWS tells by the time of day when a volume was made"
)]
fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Why nothing may be swept yet.
fn in_use(scope: &Scope) -> Option<String> {
    match scope.cluster_now {
        ClusterNow::Gone | ClusterNow::Another => None,
        ClusterNow::Stands => Some(format!("the cluster {} still stands", scope.cluster)),
        ClusterNow::Leaving => Some(format!("the cluster {} is being deleted", scope.cluster)),
    }
}

fn wanted(target: &Target) -> Result<Option<Of>, ResourceError> {
    let read = |inputs: &Arc<Value>| {
        Of::deserialize(inputs.as_ref()).map_err(|error| {
            ResourceError::permanent(format!("the inputs of {} are not valid: {error}", target.address))
        })
    };
    target.inputs.as_ref().map(read).transpose()
}

/// What the state says is to be swept; nothing if that was never written, since no cluster was made then either.
fn remembered(target: &Target) -> Option<Of> {
    Of::deserialize(&target.remembered.as_ref()?.outputs).ok()
}

fn made(target: &Target, since: Option<i64>) -> Result<Made, ResourceError> {
    let mut of = wanted(target)?.ok_or_else(|| {
        ResourceError::permanent(format!("{} has no inputs to be made from", target.address))
    })?;
    of.since = since;
    Ok(Made {
        id: None,
        live: Some(Live::ready(json!(of))),
    })
}

/// What was written, against what is wanted: another cluster or VPC means that the old one's leftovers go first.
fn standing(wanted: &Of, before: &Of) -> Live {
    let mut change = Change::default();
    force(
        &mut change,
        "cluster",
        json!(before.cluster),
        json!(wanted.cluster),
    );
    force(&mut change, "vpcId", json!(before.vpc_id), json!(wanted.vpc_id));
    field(
        &mut change,
        "subnetIds",
        json!(before.subnet_ids),
        json!(wanted.subnet_ids),
    );
    field(&mut change, "logs", json!(before.logs), json!(wanted.logs));
    Live {
        changes: change.fields,
        forces: change.forces,
        ..Live::ready(json!(before))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::resource::Remembered;

    fn target(inputs: Option<Value>, outputs: Option<Value>) -> Target {
        let remembered = |outputs: Value| {
            let remembered = json!({"kind": KIND, "identity": {}, "outputs": outputs});
            Arc::new(serde_json::from_value::<Remembered>(remembered).unwrap())
        };
        Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "u".into(),
            }),
            address: Address::new(KIND, "main"),
            identity: Value::Null,
            inputs: inputs.map(Arc::new),
            input_hash: String::new(),
            remembered: outputs.map(remembered),
            outputs: std::collections::BTreeMap::new(),
            generation: 0,
            adopt: false,
        }
    }

    fn of(cluster: &str) -> Value {
        json!({"cluster": cluster, "vpcId": "vpc-1", "subnetIds": ["subnet-1"], "logs": false})
    }

    fn observe(target: &Target) -> Observed {
        let kind = Leftovers::new(&Arc::new(Clients::new(None)));
        // While it is wanted nobody is called, so the answer is there at once.
        kind.observed(target).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn while_it_is_wanted_it_is_absent_until_remembered_and_then_stands_without_a_call() {
        assert!(observe(&target(Some(of("demo")), None)).live().is_none());
        let made = made(&target(Some(of("demo")), None), None).unwrap().live.unwrap();
        assert_eq!((&made.readiness, &made.outputs), (&Readiness::Ready, &of("demo")));
        let live = observe(&target(Some(of("demo")), Some(made.outputs)));
        assert!(live.live().unwrap().changes.is_empty());
    }

    #[test]
    fn what_is_made_anew_counts_as_gone_between_its_sweep_and_its_next_beginning() {
        let target = target(Some(of("next")), Some(of("demo")));
        let kind = Leftovers::new(&Arc::new(Clients::new(None)));
        let observe = || kind.observed(&target).now_or_never().unwrap().unwrap();
        assert!(observe().live().is_some());
        kind.swept().insert(target.address.clone());
        assert!(observe().live().is_none());
        kind.create(&target).now_or_never().unwrap().unwrap();
        assert!(observe().live().is_some());
    }

    #[test]
    fn another_cluster_means_that_the_old_ones_leftovers_go_first() {
        let live = observe(&target(Some(of("next")), Some(of("demo"))));
        assert_eq!(live.live().unwrap().forces, ["cluster"]);
    }

    #[test]
    fn since_when_there_was_a_cluster_is_written_once() {
        let kind = Leftovers::new(&Arc::new(Clients::new(None)));
        let since = |made: Boxed<'_, Result<Made, ResourceError>>| {
            let live = made.now_or_never().unwrap().unwrap().live.unwrap();
            live.outputs.get("since").and_then(Value::as_i64)
        };
        assert!(since(kind.create(&target(Some(of("demo")), None))) > Some(1_700_000_000));
        let mut before = of("demo");
        before["since"] = json!(7);
        let changed = target(Some(of("demo")), Some(before));
        assert_eq!(since(kind.update(&changed)), Some(7));
        assert!(observe(&changed).live().unwrap().changes.is_empty());
    }

    #[test]
    fn what_was_never_written_down_leaves_nothing() {
        assert!(observe(&target(None, Some(Value::Null))).live().is_none());
    }
}
