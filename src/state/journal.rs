use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Entry, Snapshot, StateError, Status, hash};
use crate::{
    model::{Action, Address, Verb},
    resource::Remembered,
};

/// Digits of the checksum at the start of each line.
const SUM: usize = 16;

/// What a run is about to do to one resource, and what will find it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intended {
    /// Which resource.
    pub address: Address,
    /// What will be done to it.
    pub action: Action,
    /// How it will be found, and what it needs. For a delete: as it is remembered.
    #[serde(flatten)]
    pub remembered: Remembered,
}

/// One line of the journal. Only [`Phase::after`] decides which may follow which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Record {
    /// A run begins on top of the snapshot with this serial.
    Open {
        /// The stack's uid.
        uid: String,
        /// The snapshot's lineage.
        lineage: String,
        /// The snapshot's serial.
        serial: u64,
        /// What the run is for.
        verb: String,
    },
    /// All resources of a plan whose identity is known beforehand.
    Intend {
        /// The resources.
        nodes: Vec<Intended>,
    },
    /// One resource, right before the call.
    Begin {
        /// The resource.
        node: Box<Intended>,
    },
    /// The call gave it an id.
    Id {
        /// Which resource.
        address: Address,
        /// The id.
        id: String,
    },
    /// It is as wanted.
    Done {
        /// Which resource.
        address: Address,
        /// Its id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What others may refer to.
        outputs: Value,
        /// The keyed hash of the inputs that were written.
        input_hash: String,
    },
    /// The write failed.
    Failed {
        /// Which resource.
        address: Address,
        /// Why.
        message: String,
    },
    /// It is gone, or is no longer ours to remember.
    Gone {
        /// Which resources: all that went at once.
        addresses: Vec<Address>,
    },
}

/// How far a resource is, as the journal tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not in the state.
    Nothing,
    /// A write began.
    Begun,
    /// The last write succeeded.
    Done,
    /// The last write failed.
    Failed,
}

impl Phase {
    /// The phase after a record that names this resource; `None` where such a record cannot be.
    pub fn after(self, record: &Record) -> Option<Self> {
        match (record, self) {
            (Record::Open { .. }, phase) => Some(phase),
            (Record::Intend { .. } | Record::Begin { .. }, _) | (Record::Id { .. }, Self::Begun) => {
                Some(Self::Begun)
            }
            (Record::Done { .. }, Self::Begun | Self::Done) => Some(Self::Done),
            (Record::Failed { .. }, Self::Begun | Self::Done | Self::Failed) => Some(Self::Failed),
            (Record::Gone { .. }, _) => Some(Self::Nothing),
            (Record::Id { .. } | Record::Done { .. } | Record::Failed { .. }, _) => None,
        }
    }
}

impl Snapshot {
    /// How far a resource is.
    pub fn phase(&self, address: &Address) -> Phase {
        match self.resources.get(address).map(|entry| &entry.status) {
            None => Phase::Nothing,
            Some(Status::Begun { .. }) => Phase::Begun,
            Some(Status::Done) => Phase::Done,
            Some(Status::Failed { .. }) => Phase::Failed,
        }
    }

    /// Takes a record into account, or says which resource it cannot be about.
    pub fn fold(&mut self, record: &Record) -> Result<(), Address> {
        match record {
            Record::Open { .. } => {}
            Record::Intend { nodes } => nodes.iter().for_each(|node| self.begin(node)),
            Record::Begin { node } => self.begin(node),
            Record::Id { address, id } => self.entry(address, record)?.remembered.id = Some(id.clone()),
            Record::Done {
                address,
                id,
                outputs,
                input_hash,
            } => {
                let entry = self.entry(address, record)?;
                entry.status = Status::Done;
                entry.remembered.outputs = outputs.clone();
                entry.remembered.input_hash.clone_from(input_hash);
                if id.is_some() {
                    entry.remembered.id.clone_from(id);
                }
            }
            Record::Failed { address, message } => {
                self.entry(address, record)?.status = Status::Failed {
                    message: message.clone(),
                };
            }
            Record::Gone { addresses } => {
                for address in addresses {
                    self.resources.remove(address);
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, address: &Address, record: &Record) -> Result<&mut Entry, Address> {
        let allowed = self.phase(address).after(record).is_some();
        self.resources
            .get_mut(address)
            .filter(|_| allowed)
            .ok_or_else(|| address.clone())
    }

    fn begin(&mut self, node: &Intended) {
        let mut remembered = node.remembered.clone();
        if let Some(before) = self.resources.get(&node.address) {
            // What the last finished write gave back is true until this one ends.
            remembered.outputs = before.remembered.outputs.clone();
            remembered.id = remembered.id.or_else(|| before.remembered.id.clone());
            remembered.input_hash.clone_from(&before.remembered.input_hash);
        } else {
            remembered.input_hash = String::new();
        }
        let status = Status::Begun { action: node.action };
        self.resources
            .insert(node.address.clone(), Entry { remembered, status });
    }
}

/// One line of the journal: checksum, space, JSON, newline.
pub fn write_line(record: &Record, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let json = serde_json::to_string(record)?;
    out.extend_from_slice(
        hash::sha256(json.as_bytes())
            .get(..SUM)
            .unwrap_or_default()
            .as_bytes(),
    );
    out.push(b' ');
    out.extend_from_slice(json.as_bytes());
    out.push(b'\n');
    Ok(())
}

/// Reads a journal. A last line that was cut off by a crash is left out; its offset comes back as the second value.
/// Any other line that does not match its checksum is damage.
pub fn read_journal(bytes: &[u8], path: &Path) -> Result<(Vec<Record>, Option<usize>), StateError> {
    let mut records = Vec::new();
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match read_line(line) {
            Ok(record) => records.push(record),
            // Nothing follows: the crash came while this line was written, so what it announces was not begun.
            Err(_) if offset + line.len() == bytes.len() => return Ok((records, Some(offset))),
            Err(what) => {
                return Err(StateError::Damaged {
                    path: path.to_owned(),
                    offset,
                    what,
                    backup: None,
                });
            }
        }
        offset += line.len();
    }
    Ok((records, None))
}

fn read_line(line: &[u8]) -> Result<Record, String> {
    let text = std::str::from_utf8(line).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').ok_or("the line has no end")?;
    let (sum, json) = text.split_once(' ').ok_or("the line has no checksum")?;
    if sum.len() != SUM || !hash::sha256(json.as_bytes()).starts_with(sum) {
        return Err("the line does not match its checksum".into());
    }
    serde_json::from_str(json).map_err(|error| error.to_string())
}

impl Record {
    /// The first record of a run.
    pub fn open(snapshot: &Snapshot, verb: Verb) -> Self {
        Self::Open {
            uid: snapshot.uid.clone(),
            lineage: snapshot.lineage.clone(),
            serial: snapshot.serial,
            verb: format!("{verb:?}").to_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str) -> Intended {
        Intended {
            address: Address::new("fake.thing", name),
            action: Action::Create,
            remembered: Remembered {
                kind: "fake.thing".into(),
                identity: Value::Null,
                id: None,
                component: None,
                inputs: None,
                input_hash: "new".into(),
                outputs: Value::Null,
                needs: Vec::new(),
                refers: Vec::new(),
                generation: 0,
            },
        }
    }

    fn record(choice: u8) -> Record {
        let address = Address::new("fake.thing", "a");
        match choice {
            0 => Record::Begin {
                node: Box::new(node("a")),
            },
            1 => Record::Id {
                address,
                id: "i".into(),
            },
            2 => Record::Done {
                address,
                id: None,
                outputs: Value::Null,
                input_hash: "h".into(),
            },
            3 => Record::Failed {
                address,
                message: "m".into(),
            },
            4 => Record::Gone {
                addresses: vec![address],
            },
            _ => Record::Intend {
                nodes: vec![node("a")],
            },
        }
    }

    proptest! {
        #[test]
        fn the_status_is_the_fold_of_the_table(choices in proptest::collection::vec(0u8..6, 0..30)) {
            let address = Address::new("fake.thing", "a");
            let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
            let mut phase = Phase::Nothing;
            for choice in choices {
                let record = record(choice);
                if let Some(next) = phase.after(&record) {
                    prop_assert_eq!(snapshot.fold(&record), Ok(()));
                    phase = next;
                } else {
                    prop_assert_eq!(snapshot.fold(&record), Err(address.clone()));
                }
                prop_assert_eq!(snapshot.phase(&address), phase);
            }
        }

        #[test]
        fn a_journal_cut_off_anywhere_keeps_every_whole_line(len in 0usize..600) {
            let mut bytes = Vec::new();
            for choice in [0, 1, 2, 4] {
                write_line(&record(choice), &mut bytes).unwrap();
            }
            let len = len.min(bytes.len());
            let whole = bytes[..len].split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")).count();
            let (records, torn) = read_journal(&bytes[..len], Path::new("journal")).unwrap();
            prop_assert_eq!(records.len(), whole);
            prop_assert_eq!(torn.is_some(), len > 0 && bytes[len - 1] != b'\n');
        }
    }

    #[test]
    fn a_flipped_bit_in_the_middle_is_damage_with_its_offset() {
        let mut bytes = Vec::new();
        write_line(&record(0), &mut bytes).unwrap();
        let first = bytes.len();
        write_line(&record(1), &mut bytes).unwrap();
        write_line(&record(2), &mut bytes).unwrap();
        bytes[first + 30] ^= 1;
        let error = read_journal(&bytes, Path::new("journal")).unwrap_err();
        assert!(
            matches!(error, StateError::Damaged { offset, .. } if offset == first),
            "{error}"
        );
    }
}
