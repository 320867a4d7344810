use std::{marker::PhantomData, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Boxed, Kind, Live, Made, Observed, Readiness, ResourceError, Stack, Target, Traits};
use crate::model::{Address, FieldChange};

/// A target with its inputs read, for a typed kind.
#[derive(Debug, Clone)]
pub struct Typed<'a, I> {
    /// The target as the engine gave it.
    pub target: &'a Target,
    /// What it should be; `None` when it is only to be found or deleted.
    pub inputs: Option<I>,
}

/// How what is wanted differs from what stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// Which fields differ.
    pub fields: Vec<FieldChange>,
    /// Which of them cannot be changed in place.
    pub forces: Vec<String>,
}

/// What a typed kind sees of one resource.
#[derive(Debug, Clone)]
pub struct Seen<O> {
    /// The id that the other side gave it.
    pub id: Option<String>,
    /// What others may refer to.
    pub outputs: O,
    /// Whether it can be used.
    pub readiness: Readiness,
    /// Set if it carries no mark of ours: whose it is.
    pub foreign: Option<String>,
}

/// One kind of resource, for authors: plain types, plain `async fn`, no loops. [`kind`] makes a [`Kind`] of it.
pub trait Resource: Send + Sync + 'static {
    /// Its name: `aws.vpc`.
    const KIND: &'static str;
    /// What it is, for help and documentation.
    const DOCUMENTATION: &'static str;
    /// How the engine drives it.
    const TRAITS: Traits;
    /// The clients that it calls.
    type Cloud: Send + Sync + 'static;
    /// What the stack file says, references resolved.
    type Inputs: DeserializeOwned + Serialize + Send + Sync + 'static;
    /// What others may refer to.
    type Outputs: DeserializeOwned + Serialize + Send + Sync + 'static;

    /// What will find it again. May not look at references.
    fn identity(stack: &Stack, address: &Address) -> Value {
        serde_json::json!({"stack": stack.name, "uid": stack.uid, "address": address})
    }

    /// How `inputs` differ from what stands.
    fn diff(inputs: &Self::Inputs, outputs: &Self::Outputs) -> Change;

    /// Which outputs will have another value once this change is made in place.
    fn moves(change: &Change) -> &'static [&'static str] {
        let _ = change;
        &[]
    }

    /// Looks at all targets at once; one answer a target, in order.
    fn observe(
        cloud: &Self::Cloud,
        targets: &[Typed<'_, Self::Inputs>],
    ) -> impl Future<Output = Vec<Result<Option<Seen<Self::Outputs>>, ResourceError>>> + Send;

    /// Makes it; returns its id if the call told one.
    fn create(
        cloud: &Self::Cloud,
        target: &Target,
        inputs: &Self::Inputs,
    ) -> impl Future<Output = Result<Option<String>, ResourceError>> + Send;

    /// Changes what stands in place.
    fn update(
        cloud: &Self::Cloud,
        target: &Target,
        inputs: &Self::Inputs,
    ) -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Begins its removal; harmless if it is gone.
    fn delete(cloud: &Self::Cloud, target: &Target)
    -> impl Future<Output = Result<(), ResourceError>> + Send;

    /// Looks closer at one that failed.
    fn diagnose(cloud: &Self::Cloud, target: &Target) -> impl Future<Output = Vec<String>> + Send {
        let (_, _) = (cloud, target);
        std::future::ready(Vec::new())
    }

    /// If this one need not be deleted when another is: which one takes it along.
    fn goes_with(target: &Target) -> Option<Address> {
        let _ = target;
        None
    }

    /// Whether a delete should only be forgotten, since the thing is not ours to delete.
    fn stays(target: &Target) -> bool {
        let _ = target;
        false
    }
}

/// Joins a kind to the clients that it calls. Each room's list holds one such line for each of its kinds.
pub fn kind<R: Resource>(cloud: &Arc<R::Cloud>) -> Arc<dyn Kind> {
    Arc::new(Erased::<R> {
        cloud: Arc::clone(cloud),
        kind: PhantomData,
    })
}

struct Erased<R: Resource> {
    cloud: Arc<R::Cloud>,
    kind: PhantomData<fn() -> R>,
}

impl<R: Resource> Erased<R> {
    fn inputs(target: &Target) -> Result<Option<R::Inputs>, ResourceError> {
        let read = |value: &Arc<Value>| {
            serde_json::from_value::<R::Inputs>(Value::clone(value)).map_err(|error| {
                ResourceError::permanent(format!("the inputs of {} are not valid: {error}", target.address))
            })
        };
        target.inputs.as_ref().map(read).transpose()
    }

    fn wanted(target: &Target) -> Result<R::Inputs, ResourceError> {
        Self::inputs(target)?.ok_or_else(|| {
            ResourceError::permanent(format!("{} has no inputs to be made from", target.address))
        })
    }

    fn live(
        target: &Target,
        inputs: Option<&R::Inputs>,
        seen: Seen<R::Outputs>,
    ) -> Result<Observed, ResourceError> {
        let change = inputs
            .map(|inputs| R::diff(inputs, &seen.outputs))
            .unwrap_or_default();
        let outputs = serde_json::to_value(&seen.outputs).map_err(|error| {
            ResourceError::permanent(format!(
                "the outputs of {} are not valid: {error}",
                target.address
            ))
        })?;
        Ok(Observed::Live(Box::new(Live {
            id: seen.id,
            readiness: seen.readiness,
            moves: R::moves(&change),
            changes: change.fields,
            forces: change.forces,
            foreign: seen.foreign,
            ..Live::ready(outputs)
        })))
    }
}

impl<R: Resource> Kind for Erased<R> {
    fn name(&self) -> &'static str {
        R::KIND
    }

    fn documentation(&self) -> &'static str {
        R::DOCUMENTATION
    }

    fn traits(&self) -> Traits {
        R::TRAITS
    }

    fn identity(&self, stack: &Stack, address: &Address, _: &Value) -> Result<Value, ResourceError> {
        Ok(R::identity(stack, address))
    }

    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>> {
        Box::pin(async move {
            let mut typed = Vec::with_capacity(targets.len());
            for target in targets {
                match Self::inputs(target) {
                    Ok(inputs) => typed.push(Typed { target, inputs }),
                    Err(error) => return targets.iter().map(|_| Err(error.clone())).collect(),
                }
            }
            let seen = R::observe(&self.cloud, &typed).await;
            typed
                .iter()
                .zip(seen)
                .map(|(typed, seen)| match seen? {
                    None => Ok(Observed::Absent),
                    Some(seen) => Self::live(typed.target, typed.inputs.as_ref(), seen),
                })
                .collect()
        })
    }

    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(async move {
            let id = R::create(&self.cloud, target, &Self::wanted(target)?).await?;
            Ok(Made { id, live: None })
        })
    }

    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>> {
        Box::pin(async move {
            R::update(&self.cloud, target, &Self::wanted(target)?).await?;
            Ok(Made::default())
        })
    }

    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>> {
        Box::pin(R::delete(&self.cloud, target))
    }

    fn diagnose<'a>(&'a self, target: &'a Target) -> Boxed<'a, Vec<String>> {
        Box::pin(R::diagnose(&self.cloud, target))
    }

    fn goes_with(&self, target: &Target) -> Option<Address> {
        R::goes_with(target)
    }

    fn stays(&self, target: &Target) -> bool {
        R::stays(target)
    }
}
