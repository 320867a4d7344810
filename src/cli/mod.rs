//! The command line: one verb, one file, and the only place where the rooms meet.
//!
//! [`run()`] parses, dispatches and turns what went wrong into a sentence, at most two hints and an exit code.

mod access;
mod apply;
mod arguments;
#[cfg_attr(not(feature = "aws"), path = "cloudless.rs")]
mod cloud;
mod cluster;
#[cfg(feature = "kubernetes")]
mod collect;
mod completion;
mod confirm;
mod context;
mod destroy;
mod diff;
mod doctor;
mod environment;
mod error;
mod evidence;
mod existing;
mod exit;
mod flags;
mod init;
mod kubeconfig;
mod lifetime;
mod output;
mod print;
#[cfg(feature = "aws")]
mod reap;
mod run;
mod schema;
mod screen;
mod signals;
mod state;
mod status;
mod store;
mod tell;
#[cfg(feature = "aws")]
mod token;
mod validate;
mod verify;
mod version;

pub use arguments::{Arguments, command};
pub use run::run;
