//! From folders of plain YAML to wanted objects: load, patch, rewrite, mark, and find out what needs what.
//!
//! Pure but for reading the folders: no server is asked, nothing is written, and every mistake is
//! reported at once with its place. No message holds a value of a Secret.

mod component;
mod edges;
mod expand;
mod files;
#[cfg(test)]
mod fixture;
mod images;
mod json_patch;
mod load;
mod merge;
mod names;
mod object;
mod options;
mod patch;
mod pods;
mod prepare;
mod scope;
mod yaml;

pub use component::{Certificate, CertificateKeys, Generate, Password};
pub use expand::{Expanded, expand};
pub use images::images;
