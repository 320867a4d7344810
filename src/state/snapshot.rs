use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{StateError, hash};
use crate::{
    model::{Action, Address},
    resource::Remembered,
};

/// The newest format that this program reads and the only one it writes.
const FORMAT: u64 = 1;
const SUM: &str = ",\n  \"sha256\": \"";

/// How far a remembered resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "is")]
pub enum Status {
    /// The last write to it succeeded.
    Done,
    /// A write to it began and its end was not recorded: it is perhaps there.
    Begun {
        /// Which write.
        action: Action,
    },
    /// The last write to it failed.
    Failed {
        /// Why.
        message: String,
    },
}

/// One resource in the state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// What finds it again.
    #[serde(flatten)]
    pub remembered: Remembered,
    /// How far it is.
    pub status: Status,
}

/// Where at a cloud a stack stands: elsewhere, nothing of it would be found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The account, twelve digits at AWS.
    pub account: String,
    /// The region.
    pub region: String,
}

/// How long a stack may live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Seconds, as the stack file asked for them.
    pub seconds: u64,
    /// When they end, RFC 3339.
    pub expires: String,
}

/// All that a stack remembers between runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The format's number.
    pub format: u64,
    /// What a reader must understand beyond the format.
    #[serde(default)]
    pub features: Vec<String>,
    /// The stack's name.
    pub stack: String,
    /// The stack's uid: part of every mark on what it makes.
    pub uid: String,
    /// The uid of this line of states: two that began apart never mix.
    pub lineage: String,
    /// Grows by one with each save.
    pub serial: u64,
    /// Grows by one with each takeover of the lock of a remote store.
    #[serde(default)]
    pub epoch: u64,
    /// Where at a cloud the stack stands, if it stands at one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The uid of the existing cluster that the stack was put on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The lifetime that the stack file asked for, and when it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<Life>,
    /// Every resource that may be there.
    pub resources: BTreeMap<Address, Entry>,
    /// Things that were replaced and whose removal is not recorded yet.
    #[serde(default)]
    pub deposed: Vec<Value>,
    /// Fields of a newer writer of the same format, kept as they are.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Snapshot {
    /// How many former snapshots a store keeps.
    pub const BACKUPS: usize = 10;

    /// The name under which a store keeps it once it is no longer the present one: sorted by serial.
    pub fn backup_name(&self) -> String {
        format!("state-{:08}.json", self.serial)
    }

    /// The state of a stack that has nothing yet.
    pub fn new(stack: &str, uid: String, lineage: String) -> Self {
        Self {
            format: FORMAT,
            features: Vec::new(),
            stack: stack.to_owned(),
            uid,
            lineage,
            serial: 0,
            epoch: 0,
            place: None,
            cluster: None,
            life: None,
            resources: BTreeMap::new(),
            deposed: Vec::new(),
            more: Map::new(),
        }
    }

    /// The file's bytes: readable, in stable order, closed by the checksum of all bytes before it.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.truncate(text.trim_end_matches(['\n', '}']).len());
        let sum = hash::sha256(text.as_bytes());
        text.push_str(SUM);
        text.push_str(&sum);
        text.push_str("\"\n}\n");
        Ok(text.into_bytes())
    }

    /// Reads a file's bytes. `path` is for messages.
    pub fn read(bytes: &[u8], path: &Path) -> Result<Self, StateError> {
        let damaged = |offset: usize, what: String| StateError::Damaged {
            path: path.to_owned(),
            offset,
            what,
            backup: None,
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(damaged(0, "it is empty".into()));
        }
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| damaged(offset(bytes, error.line(), error.column()), error.to_string()))?;
        let text =
            std::str::from_utf8(bytes).map_err(|error| damaged(error.valid_up_to(), error.to_string()))?;
        let found = value.get("format").and_then(Value::as_u64);
        if let Some(found) = found.filter(|found| *found > FORMAT) {
            return Err(StateError::Newer {
                path: path.to_owned(),
                found,
                known: FORMAT,
            });
        }
        let Some(at) = text.rfind(SUM) else {
            return Err(damaged(bytes.len(), "its checksum is missing".into()));
        };
        let (body, rest) = text.split_at(at);
        let sum = rest.get(SUM.len()..SUM.len() + 64).unwrap_or_default();
        if rest.get(SUM.len() + 64..) != Some("\"\n}\n") || sum != hash::sha256(body.as_bytes()) {
            return Err(damaged(at, "its checksum does not match what it holds".into()));
        }
        let mut snapshot: Self = serde_json::from_value(value)
            .map_err(|error| damaged(0, format!("it is not a state of format {FORMAT}: {error}")))?;
        snapshot.more.remove("sha256");
        if let Some(feature) = snapshot.features.first() {
            return Err(StateError::UnknownFeature {
                path: path.to_owned(),
                feature: feature.clone(),
            });
        }
        Ok(snapshot)
    }
}

/// The byte at a line and column (both from 1) that a parser told.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    (before + column.saturating_sub(1)).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example() -> Snapshot {
        let mut snapshot = Snapshot::new("demo", "u-1".into(), "l-1".into());
        let remembered = Remembered {
            kind: "fake.thing".into(),
            identity: serde_json::json!({"name": "a"}),
            id: Some("id-1".into()),
            component: None,
            inputs: None,
            input_hash: "00".into(),
            outputs: serde_json::json!({"url": "http://x"}),
            needs: Vec::new(),
            refers: Vec::new(),
            generation: 0,
        };
        snapshot.resources.insert(
            Address::new("fake.thing", "a"),
            Entry {
                remembered,
                status: Status::Done,
            },
        );
        snapshot
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let snapshot = example();
        let bytes = snapshot.write().unwrap();
        assert_eq!(Snapshot::read(&bytes, Path::new("state.json")).unwrap(), snapshot);
    }

    #[test]
    fn fields_of_a_later_writer_are_kept() {
        let mut snapshot = example();
        snapshot.more.insert("later".into(), serde_json::json!([1]));
        let bytes = snapshot.write().unwrap();
        assert_eq!(
            Snapshot::read(&bytes, Path::new("state.json")).unwrap().more,
            snapshot.more
        );
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let mut snapshot = example();
        snapshot.format = 2;
        let bytes = snapshot.write().unwrap();
        let error = Snapshot::read(&bytes, Path::new("state.json")).unwrap_err();
        assert!(
            matches!(
                error,
                StateError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn a_state_cut_off_anywhere_is_damaged_and_never_empty() {
        let bytes = example().write().unwrap();
        for len in 0..bytes.len() {
            let error = Snapshot::read(&bytes[..len], Path::new("state.json")).unwrap_err();
            assert!(
                matches!(error, StateError::Damaged { .. }),
                "cut at {len}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_noticed(at in 0usize..400, bit in 0u8..8) {
            let mut bytes = example().write().unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert!(Snapshot::read(&bytes, Path::new("state.json")).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Snapshot::read(&bytes, Path::new("state.json")).is_err());
        }
    }
}
