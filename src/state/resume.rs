//! From what lies in a store to what is remembered: checked, and with a run that did not end folded in. Pure.

use std::path::Path;

use super::{Loaded, Record, Snapshot, StateError, read_journal};

/// Reads the snapshot and the journal of `stack`. With it comes the byte at which the journal's last line was cut off.
///
/// `unfinished` is false for the journal of a run that ended: its snapshot is in place, only the journal is still there.
/// The paths are for messages.
pub fn resume(
    stack: &str,
    (bytes, path): (&[u8], &Path),
    (lines, journal): (&[u8], &Path),
) -> Result<(Loaded, Option<usize>), StateError> {
    let mut snapshot = Snapshot::read(bytes, path)?;
    if snapshot.stack != stack {
        return Err(StateError::OtherStack {
            path: path.to_owned(),
            found: snapshot.stack,
            wanted: stack.to_owned(),
        });
    }
    let (records, torn) = read_journal(lines, journal)?;
    let notes = torn.map(|offset| {
        format!("the last line of {} was cut off at byte {offset} when its writer ended; what it would have announced was not begun", journal.display())
    });
    let unfinished = replay(&mut snapshot, &records, journal)?;
    let loaded = Loaded {
        snapshot,
        unfinished,
        notes: notes.into_iter().collect(),
    };
    Ok((loaded, torn))
}

/// Folds an unfinished run into the snapshot; whether there was one.
fn replay(snapshot: &mut Snapshot, records: &[Record], journal: &Path) -> Result<bool, StateError> {
    let damaged = |what: String| StateError::Damaged {
        path: journal.to_owned(),
        offset: 0,
        what,
        backup: None,
    };
    let Some(first) = records.first() else {
        return Ok(false);
    };
    let Record::Open {
        uid, lineage, serial, ..
    } = first
    else {
        return Err(damaged("it does not begin with the run that wrote it".into()));
    };
    if *uid != snapshot.uid || *lineage != snapshot.lineage || *serial > snapshot.serial {
        return Err(damaged(format!(
            "it was written on top of serial {serial} of another or a later state"
        )));
    }
    if *serial < snapshot.serial {
        // The run ended: its snapshot is in place, only the journal was not emptied any more.
        return Ok(false);
    }
    for record in records {
        snapshot
            .fold(record)
            .map_err(|address| damaged(format!("it tells of {address} what cannot have happened")))?;
    }
    Ok(true)
}
