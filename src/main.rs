//! `stackup`: from one stack file to a working, monitored Kubernetes cluster, and back to nothing.

fn main() {}
