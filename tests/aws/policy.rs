//! The policy in the documentation: what the identity that runs stackup must be allowed, and no more.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use stackup::aws::ACTIONS;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/iam-policy.json");

/// The policy that the list of actions comes to. A role may be handed on to EKS, its nodes and its pods only.
fn policy() -> Value {
    let others: Vec<&str> = ACTIONS
        .into_iter()
        .filter(|action| *action != "iam:PassRole")
        .collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Stackup", "Effect": "Allow", "Action": others, "Resource": "*"},
            {"Sid": "HandRolesOn", "Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:*:iam::*:role/*", "Condition": {
                "StringEquals": {"iam:PassedToService": ["eks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com"]},
            }},
        ],
    })
}

#[test]
fn the_policy_in_the_documentation_is_what_the_program_needs() {
    let written: Value = serde_json::from_str(&fs::read_to_string(FILE).unwrap()).unwrap();
    assert_eq!(
        written,
        policy(),
        "docs/iam-policy.json should be:\n{:#}",
        policy()
    );
}

/// Calls whose action has another name in IAM, or needs none.
fn action(call: &str) -> String {
    let (service, operation) = call.split_once(':').unwrap();
    let service = match service {
        "elb" | "elbv2" => "elasticloadbalancing",
        "service-quotas" => "servicequotas",
        other => other,
    };
    format!("{service}:{operation}")
}

/// Fails if a run made a call that the policy does not allow.
pub(super) fn allows(calls: &[String]) {
    let known: BTreeSet<&str> = ACTIONS.into_iter().collect();
    let refused: BTreeSet<String> = calls
        .iter()
        .map(|call| action(call))
        .filter(|action| !known.contains(action.as_str()))
        .collect();
    assert!(refused.is_empty(), "made, and not in the policy: {refused:?}");
}
