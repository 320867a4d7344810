//! The architecture of `stackup` (this page is completed with the rooms).

pub mod graph;
pub mod model;
pub mod output;
pub mod resource;
