//! Tokens that make AWS answer a create that is sent twice with the same thing.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    resource::Target,
    state::{canonical, hex},
};

/// The token of one create: the same for the same thing, made from the same inputs, until one that stood has gone,
/// whether the state remembers that one or has forgotten it, which its generation tells.
/// AWS remembers a token for a day or more, and would answer with what was deleted meanwhile. 64 characters, as many as
/// EC2 takes.
pub(super) fn token(target: &Target, inputs: &impl Serialize) -> String {
    // Inputs were read from JSON, so they can be written as such; without them the token is still one of this thing.
    let inputs = serde_json::to_value(inputs).unwrap_or(Value::Null);
    let last = target.remembered.as_ref().and_then(|before| before.id.as_ref());
    let mut text = String::new();
    canonical(
        &json!([target.identity, target.generation, last, inputs]),
        &mut text,
    );
    hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;
    use crate::{
        model::Address,
        resource::{Remembered, Stack},
    };

    #[test]
    fn a_token_stays_until_what_it_made_has_gone_or_is_made_otherwise() {
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
        let gone = json!({"kind": "aws.nat_gateway", "identity": {}, "id": "nat-1"});
        target.remembered = Some(Arc::new(serde_json::from_value::<Remembered>(gone).unwrap()));
        let second = token(&target, &json!({"subnetId": "subnet-1"}));
        assert_ne!(first, second);
        target.generation = 1;
        assert_ne!(second, token(&target, &json!({"subnetId": "subnet-1"})));
    }
}
