use crate::{
    model::Verb,
    state::{Record, Snapshot, StateError, Store},
};

/// The one writer of a run's state: records go to the journal, and into the snapshot in memory.
pub(super) struct Ledger<'a> {
    store: &'a mut dyn Store,
    pub(super) snapshot: Snapshot,
    verb: Verb,
    opened: bool,
}

impl<'a> Ledger<'a> {
    /// `unfinished`: an earlier run's journal is there and is continued, not begun anew.
    pub(super) fn new(store: &'a mut dyn Store, snapshot: Snapshot, verb: Verb, unfinished: bool) -> Self {
        Self {
            store,
            snapshot,
            verb,
            opened: unfinished,
        }
    }

    /// Writes records; they are on disk when this returns. A run that writes none leaves no trace.
    pub(super) async fn write(&mut self, mut records: Vec<Record>) -> Result<(), StateError> {
        if records.is_empty() {
            return Ok(());
        }
        if self.snapshot.serial == 0 {
            // A first run: from here on, "no state" is never true again.
            self.store.save(&mut self.snapshot).await?;
        }
        if !self.opened {
            records.insert(0, Record::open(&self.snapshot, self.verb));
        }
        self.store.append(&records).await?;
        self.opened = true;
        for record in &records {
            let folded = self.snapshot.fold(record);
            debug_assert_eq!(folded, Ok(()), "{record:?}");
        }
        Ok(())
    }

    /// Closes the run: the snapshot takes the place of the old one, the journal is emptied.
    pub(super) async fn close(mut self) -> Result<Snapshot, StateError> {
        if self.opened {
            self.store.save(&mut self.snapshot).await?;
        }
        Ok(self.snapshot)
    }
}
