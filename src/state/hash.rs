use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::model::Secret;

/// Hashes values under a key of the stack, so that equal values are recognisable and nothing else is told.
#[derive(Debug, Clone)]
pub struct KeyedHash(Secret<Vec<u8>>);

impl KeyedHash {
    /// Takes the stack's key.
    pub fn new(key: Secret<Vec<u8>>) -> Self {
        Self(key)
    }

    /// The stack's key, for rooms that hash parts of values.
    pub fn key(&self) -> &Secret<Vec<u8>> {
        &self.0
    }

    /// HMAC-SHA256 over the canonical form of a value, in hexadecimal digits.
    pub fn of(&self, value: &Value) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.expose()) else {
            // HMAC takes keys of any length.
            return String::new();
        };
        let mut text = String::new();
        canonical(value, &mut text);
        mac.update(text.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

/// Writes a value as JSON with sorted keys and no spaces: equal values give equal texts.
pub fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(&Value::String(key.clone()), out);
                out.push(':');
                map.get(key).into_iter().for_each(|value| canonical(value, out));
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

/// SHA-256 of bytes, in hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let digit = |value: u8| DIGITS.get(usize::from(value & 0xf)).copied().unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}
