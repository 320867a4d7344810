//! EKS: the cluster and everything that is named inside it. Found again by name; creation tokens are derived.
