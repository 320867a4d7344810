//! What has to hold for a stack to work, as data and pure functions over evidence that was collected before.
//!
//! Nothing here asks a server or waits: the same checks run on a live cluster, on a saved dump, and in tests. What is
//! expected is computed from the objects that the stack applied, from the nodes and from the operator's arguments,
//! never counted beforehand.

mod alertmanager;
mod certificate;
mod check;
mod cluster;
mod crds;
mod evidence;
mod grafana;
mod inventory;
mod kube_state_metrics;
mod list;
mod node_exporter;
mod nodes;
mod object;
mod operator;
mod place;
mod pool;
mod prometheus;
mod reloader;
mod rights;
mod rules;
mod runner;
mod shop;
mod targets;
#[cfg(test)]
mod tests;
mod wiring;
mod workload;

pub use check::Check;
pub use evidence::{Answer, Evidence, reduce};
pub use list::all;
pub use place::{Login, Place, grafana_login, places};
pub use rights::{Kind, kind, role};
pub use runner::{Answered, Ask, overdue, reads, run};
