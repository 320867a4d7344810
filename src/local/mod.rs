//! Clusters on this machine, through their own programs: kind, kwokctl, and what is there already.
//!
//! The only room that starts other programs. It knows containers, processes and kubeconfig files,
//! never a Kubernetes client, and writes nothing outside the stack's data folder. Waiting and
//! retrying are the engine's: every call here is made once and returns.

mod cluster;
mod docker;
mod doctor;
mod error;
mod existing_cluster;
mod expand;
mod files;
mod images;
mod kind_cluster;
mod kind_config;
mod kind_health;
mod kind_images;
mod kubeconfig;
mod kwok_cluster;
mod kwok_companion;
mod kwokctl;
mod process;
mod program;
mod room;
#[cfg(test)]
mod test;

pub use doctor::Need;
pub use error::LocalError;
pub use expand::{companions, expand};
pub use kind_config::node_image;
pub use kubeconfig::Kubeconfig;
pub use kwokctl::free_ports;
pub use program::{Answer, Call, ProgramPaths, Programs};
pub use room::{Local, kinds};
