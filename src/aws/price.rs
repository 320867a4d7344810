//! What things cost an hour, where that is known: only prices with a source and a date stand here.

/// A price, with where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// US dollars an hour.
    pub dollars_per_hour: f64,
    /// Where it stands.
    pub source: &'static str,
    /// From when on it holds there, as a date.
    pub date: &'static str,
}

/// The control plane of a cluster with a version in standard support.
const CLUSTER: Price = Price {
    dollars_per_hour: 0.10,
    source: "https://aws.amazon.com/blogs/containers/amazon-eks-extended-support-for-kubernetes-versions-pricing/",
    date: "2024-04-01",
};

/// The price of one thing, by service and type (`eks:cluster`) or by kind (`aws.eks_cluster`). `None` is unknown, never
/// free.
pub fn price(kind: &str) -> Option<Price> {
    matches!(kind, "eks:cluster" | "aws.eks_cluster").then_some(CLUSTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_source_is_unknown() {
        assert_eq!(price("ec2:volume"), None);
        assert_eq!(price("aws.eks_cluster"), price("eks:cluster"));
        assert!(price("eks:cluster").is_some_and(|price| price.dollars_per_hour > 0.0));
    }
}
