//! The architecture of `stackup` (this page is completed with the rooms).

pub mod graph;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod model;
pub mod resource;
