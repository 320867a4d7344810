//! The architecture of `stackup` (this page is completed with the rooms).

pub mod graph;
pub mod local;
pub mod model;
pub mod resource;
