use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::{Secret, Shown};

/// Makes hashes of values that may be secret; without the key they cannot be guessed back.
pub(super) struct Marks {
    key: Secret<[u8; 64]>,
}

impl Marks {
    pub(super) fn new(key: &Secret<Vec<u8>>) -> Self {
        // A key of exactly one block makes an HMAC that cannot fail.
        let mut block = [0; 64];
        let digest = Sha256::digest(key.expose());
        block.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self {
            key: Secret::new(block),
        }
    }

    /// The hash of a value; the order of its fields does not matter.
    pub(super) fn hash(&self, value: &Value) -> String {
        self.hash_all(&[value])
    }

    /// The hash of several values.
    pub(super) fn hash_all(&self, values: &[&Value]) -> String {
        let mut mac = <Hmac<Sha256> as Mac>::new(self.key.expose().into());
        for value in values {
            // JSON of sorted keys, in which no line ends: no two lists of values come to the same text.
            mac.update(value.to_string().as_bytes());
            mac.update(b"\n");
        }
        hex(&mac.finalize().into_bytes())
    }

    /// A secret value as it may be shown: equal values look equal, and nothing else is told.
    pub(super) fn hidden(&self, value: Option<&Value>) -> Shown {
        value.map_or(Shown::Absent, |value| {
            Shown::Secret(self.hash(value).chars().take(8).collect())
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_hash_depends_on_key_and_value_and_not_on_the_order_of_fields() {
        let (one, other) = (
            Marks::new(&Secret::new(vec![1])),
            Marks::new(&Secret::new(vec![2])),
        );
        let value: Value = serde_json::from_str(r#"{"a": 1, "b": [2, "3"]}"#).unwrap();
        let turned: Value = serde_json::from_str(r#"{"b": [2, "3"], "a": 1}"#).unwrap();
        assert_eq!(one.hash(&value), one.hash(&turned));
        assert_ne!(one.hash(&value), other.hash(&value));
        assert_ne!(one.hash(&json!(["ab", "c"])), one.hash(&json!(["a", "bc"])));
        assert_ne!(one.hash(&json!(1)), one.hash(&json!("1")));
        let (ab, a, b) = (json!(["a", "b"]), json!("a"), json!("b"));
        assert_ne!(one.hash_all(&[&a, &b]), one.hash_all(&[&ab]));
        assert_ne!(one.hash_all(&[&a, &b]), one.hash_all(&[&b, &a]));
    }
}
