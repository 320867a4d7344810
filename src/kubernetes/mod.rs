//! Kubernetes objects as resources: where they come from, and how they are applied, compared, awaited and removed.
//!
//! The only room that names `kube` and `k8s_openapi`. It starts no program and writes to no terminal.

pub mod manifest;
