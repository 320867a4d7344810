//! The command line: one verb, one file, and the only place where the rooms meet.
//!
//! [`run()`] parses, dispatches and turns what went wrong into a sentence, at most two hints and an exit code.

mod access;
mod apply;
mod arguments;
mod cluster;
#[cfg(feature = "kubernetes")]
mod collect;
mod completion;
mod confirm;
mod context;
mod destroy;
mod diff;
mod doctor;
mod error;
mod evidence;
mod exit;
mod init;
mod kubeconfig;
mod output;
mod run;
mod schema;
mod signals;
mod state;
mod status;
mod store;
mod validate;
mod verify;
mod version;

pub use arguments::{Arguments, command};
pub use run::run;
