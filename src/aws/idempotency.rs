//! Tokens that make AWS answer a create that is sent twice with the same thing.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    resource::Target,
    state::{canonical, hex},
};

/// The token of one create: the same for the same thing, made from the same inputs, until one that stood has gone: that
/// counts its generation on. AWS remembers a token for a day or more, and would answer with what was deleted meanwhile.
/// 64 characters, as many as EC2 takes.
pub(super) fn token(target: &Target, inputs: &impl Serialize) -> String {
    // Inputs were read from JSON, so they can be written as such; without them the token is still one of this thing.
    let inputs = serde_json::to_value(inputs).unwrap_or(Value::Null);
    let mut text = String::new();
    canonical(&json!([target.identity, target.generation, inputs]), &mut text);
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{model::Address, resource::Stack};

    #[test]
    fn a_token_stays_until_its_thing_is_made_otherwise_or_once_more() {
        let mut target = Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "u".into(),
            }),
            remembered: None,
            identity: json!({"uid": "u"}),
            address: Address::new("aws.nat_gateway", "a"),
            inputs: None,
            input_hash: String::new(),
            outputs: BTreeMap::new(),
            generation: 0,
            adopt: false,
        };
        let first = token(&target, &json!({"subnetId": "subnet-1"}));
        assert_eq!(first.len(), 64);
        assert_eq!(first, token(&target, &json!({"subnetId": "subnet-1"})));
        assert_ne!(first, token(&target, &json!({"subnetId": "subnet-2"})));
        target.generation = 1;
        assert_ne!(first, token(&target, &json!({"subnetId": "subnet-1"})));
    }
}
