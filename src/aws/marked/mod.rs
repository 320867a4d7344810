//! Everything in an account and region that carries a mark of ours, whatever made it: found by tags alone.

mod ec2;
mod eks;
mod named;
mod thing;

pub(super) use eks::clusters;
pub(super) use thing::{Thing, Whose, marked};
