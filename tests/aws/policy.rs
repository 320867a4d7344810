//! The policy in the documentation: what the identity that runs stackup must be allowed, and no more.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::{Value, json};
use stackup::aws::{ACTIONS, BUCKET_ACTIONS, STATE_ACTIONS};

/// What AWS checks of whoever makes another call, so that no call of ours has its name.
const IMPLIED: [&str; 6] = [
    "ec2:RunInstances",
    "eks:CreatePodIdentityAssociation",
    "eks:DeletePodIdentityAssociation",
    "eks:UpdatePodIdentityAssociation",
    "iam:CreateServiceLinkedRole",
    "iam:PassRole",
];

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

/// The policy for a state in the bucket `my-states` under the key `shop-ci`, as docs/ci.md has it.
fn state_policy() -> Value {
    let bucket = "arn:aws:s3:::my-states";
    let make: Vec<&str> = BUCKET_ACTIONS
        .into_iter()
        .filter(|action| *action != "s3:ListBucket")
        .collect();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "KeepTheState", "Effect": "Allow", "Action": STATE_ACTIONS, "Resource": format!("{bucket}/shop-ci/*")},
            // Without a prefix it is the question whether the bucket is there.
            {"Sid": "ListTheState", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket, "Condition": {
                "StringLikeIfExists": {"s3:prefix": "shop-ci/*"},
            }},
            {"Sid": "MakeTheBucket", "Effect": "Allow", "Action": make, "Resource": bucket},
        ],
    })
}

#[test]
fn the_policies_in_the_documentation_are_what_the_program_needs() {
    for (file, policy) in [
        ("iam-policy.json", policy()),
        ("iam-policy-state.json", state_policy()),
    ] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs").join(file);
        let written: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(written, policy, "docs/{file} should be:\n{policy:#}");
    }
}

/// Every action that the sources of `src/aws` name when they tell of a call of theirs: `"ec2:CreateVpc"`.
fn named() -> BTreeSet<String> {
    let mut folders = vec![PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/aws"))];
    let mut named = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("iam/trust.rs") {
                let text = fs::read_to_string(path).unwrap();
                // The lists themselves are no calls.
                let text = text.split("\n/// Whether everything is allowed").last().unwrap();
                named.extend(text.split('"').filter(|part| is_action(part)).map(str::to_owned));
            }
        }
    }
    named
}

fn is_action(text: &str) -> bool {
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|letter| letter.is_ascii_alphanumeric());
    text.split_once(':').is_some_and(|(service, action)| {
        // `aws:SecureTransport` is a condition.
        service != "aws"
            && letters(service)
            && letters(action)
            && action.starts_with(|first: char| first.is_ascii_uppercase())
    })
}

#[test]
fn every_action_that_the_program_names_is_in_a_policy_and_no_policy_has_more() {
    let named = named();
    let allowed: BTreeSet<String> = ACTIONS
        .into_iter()
        .chain(STATE_ACTIONS)
        .chain(BUCKET_ACTIONS)
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = named.difference(&allowed).collect();
    assert!(missing.is_empty(), "called, and in no policy: {missing:?}");
    let implied: BTreeSet<String> = IMPLIED.iter().map(|&action| action.to_owned()).collect();
    let spare: BTreeSet<String> = allowed.difference(&named).cloned().collect();
    assert_eq!(spare, implied, "in a policy, and never called");
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
