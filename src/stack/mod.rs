//! The stack file: from what a person wrote to a checked [`crate::model::StackModel`], or all mistakes at once.
//!
//! Files are parsed into trees that know the place of every value, laid over one another, and read field by
//! field, so that a mistake names file, line and column of what it is about. Also here: the JSON Schema that
//! editors complete from, and the file that `init` writes. This room only reads; it knows no provider's API.
//! Values that came from the environment never appear in a message.

mod check;
mod cluster;
mod component;
mod eks;
mod environment;
mod load;
mod merge;
mod reader;
mod schema;
mod state;
mod template;
mod tree;

pub use load::{Request, find, load, parse};
pub use schema::{schema, schema_text};
pub use template::{SCHEMA_FILE, template};

#[cfg(test)]
mod tests;
