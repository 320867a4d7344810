use std::time::Duration;

use futures::{future::BoxFuture, stream::BoxStream};
use serde_json::Value;

use super::{Made, Observed, ResourceError, Stack, Target};
use crate::model::Address;

/// A future that a kind returns.
pub type Boxed<'a, T> = BoxFuture<'a, T>;

/// When the intent to touch a resource is written to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// One by one, right before each call: for things whose id only the other side knows.
    Each,
    /// All of a plan in one record before the first call: for things whose whole identity is known beforehand.
    Together,
}

/// What the engine must know of a kind to drive it.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// When its intents are journaled.
    pub intent: Intent,
    /// Whether the state keeps the inputs (never for what may hold secrets).
    pub records_inputs: bool,
    /// How many calls of this kind may be in flight at once.
    pub at_once: usize,
    /// How long one usually takes until it is ready, if that is known.
    pub expected: Option<Duration>,
    /// How long one usually takes to go, if that is known.
    pub removal: Option<Duration>,
    /// How long one may take until it is ready, before that is a failure.
    pub deadline: Duration,
    /// How long one that was just made may stay unseen. A create that may have happened all the same (its answer never
    /// came, its run was killed) is looked for so long before it is called again. Zero where a second create is
    /// harmless, because the name is ours.
    pub settles: Duration,
    /// Whether each look costs a call to someone who counts them: what takes long is then not looked at before its time.
    pub paced: bool,
    /// Whether what it refers to cannot be removed while it stands (a VPC under its subnet). If that must be made anew,
    /// this one goes first and is made anew as well.
    pub pins: bool,
}

/// One kind of resource, with its types erased: all that the engine knows. Every method makes its call and returns.
pub trait Kind: Send + Sync {
    /// Its name: `kind.cluster`, `k8s.object`, `aws.vpc`.
    fn name(&self) -> &'static str;

    /// What it is and what its inputs mean, in a few lines, for help and documentation.
    fn documentation(&self) -> &'static str;

    /// How the engine drives it.
    fn traits(&self) -> Traits;

    /// What will find this resource again; known before any call, and without resolved references.
    fn identity(&self, stack: &Stack, address: &Address, inputs: &Value) -> Result<Value, ResourceError>;

    /// Looks at all `targets` at once, with as few calls as the other side allows. One answer a target, in order.
    /// What cannot be read is an error, never `Absent`.
    fn observe<'a>(&'a self, targets: &'a [Target]) -> Boxed<'a, Vec<Result<Observed, ResourceError>>>;

    /// Makes it. The engine has looked before and found nothing.
    fn create<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>>;

    /// Changes what stands to what is wanted, in place.
    fn update<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<Made, ResourceError>>;

    /// Begins its removal; harmless if it is gone. The engine looks until it is absent.
    fn delete<'a>(&'a self, target: &'a Target) -> Boxed<'a, Result<(), ResourceError>>;

    /// What stands, again and again, each time that it changes; begins with the present. `None` means that the engine
    /// observes every few seconds instead. The stream may end; the engine then asks for a new one.
    fn watch<'a>(&'a self, target: &'a Target) -> Option<BoxStream<'a, Result<Observed, ResourceError>>> {
        // No watch: the engine observes.
        let _ = target;
        None
    }

    /// Looks closer at a resource that failed or never became ready: reasons, events, last log lines.
    fn diagnose<'a>(&'a self, target: &'a Target) -> Boxed<'a, Vec<String>> {
        let _ = target;
        Box::pin(std::future::ready(Vec::new()))
    }

    /// If this resource need not be deleted when another is: which one takes it along (an object its cluster), given
    /// that nothing of it would stay elsewhere.
    fn goes_with(&self, target: &Target) -> Option<Address> {
        let _ = target;
        None
    }

    /// What must be there and reachable to ask about this resource at all (an object's cluster). When that is gone, so is
    /// this; when that goes and cannot be asked any more, this goes with it unasked.
    fn lives_in(&self, target: &Target) -> Option<Address> {
        let _ = target;
        None
    }

    /// Whether a delete should only be forgotten, since the thing is not ours to delete or was told to stay.
    fn stays(&self, target: &Target) -> bool {
        let _ = target;
        false
    }
}
