//! What a cluster leaves behind: load balancers, interfaces, security groups, volumes that its controllers made.
//!
//! Each family of leftovers has one file: how they are listed, whose they are, and how one is removed. Whose something is
//! is judged from what AWS tells of it, by functions that call nobody; nothing is touched that carries neither the mark
//! of the cluster nor ours.

mod groups;
mod interfaces;
mod kind;
mod load_balancers;
mod logs;
mod look;
mod piece;
mod scope;
mod templates;
mod volumes;

pub(super) use kind::{KIND, leftovers};
pub(super) use look::look;
pub(super) use piece::{Family, Fate, Piece};
pub(super) use scope::Scope;
pub use volumes::keep;
