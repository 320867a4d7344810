//! The architecture of `stackup` (this page is completed with the rooms).

#[cfg(feature = "aws")]
pub mod aws;
pub mod cli;
pub mod engine;
pub mod graph;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
pub mod local;
pub mod model;
pub mod output;
pub mod resource;
pub mod stack;
pub mod state;
