//! Plain data that every room speaks: addresses, plans, events, reports, findings, secrets.
//!
//! Nothing here does I/O, knows a cloud or is async. What is shown to a person and what is written
//! as JSON are made from these types, so a field added here is a field added to both.

mod address;
mod check;
mod eks;
mod event;
mod plan;
mod report;
mod secret;
mod shown;
mod stack;
mod timing;

pub use address::{Address, AddressError, Component};
pub use check::{CheckLevel, CheckState, Finding, Severity, VerifySummary};
pub use eks::{
    AccessModel, CapacityModel, EksModel, EndpointModel, NatModel, NetworkModel, NodeGroupModel, TaintModel,
    ZonesModel,
};
pub use event::{Event, EventKind, Events, Verb};
pub use plan::{Action, Conflict, FieldChange, Need, Plan, Reason, Step, Summary, Until};
pub use report::{Failure, Outcome, Report, Stop};
pub use secret::Secret;
pub use shown::Shown;
pub use stack::{
    ClusterModel, CompanionSpec, ComponentModel, ExistingModel, KindModel, KwokModel, ManifestSource,
    Mistake, S3Model, StackModel,
};
pub use timing::{Link, Timing};
