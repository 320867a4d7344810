//! What needs what, read from the objects themselves.
//!
//! Every rule looks things up by name, so the cost stays linear in the number of objects. No
//! server is asked, and nothing here changes an object.

mod backends;
mod components;
mod index;
mod infer;
mod operators;

pub(super) use index::{Edges, Item};
pub(super) use infer::{infer, pulls_images};
