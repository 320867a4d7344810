use std::collections::BTreeMap;

use futures::future::BoxFuture;

use super::{
    super::Clients,
    lease::{self, Lease, Taken},
    objects::{If, Objects},
};
#[cfg(feature = "faults")]
use crate::state::fault;
use crate::{
    model::S3Model,
    state::{Holder, Loaded, Record, SharedStore, Snapshot, StateError, Store, resume, write_line},
};

const SNAPSHOT: &str = "state.json";
const JOURNAL: &str = "journal/";
const BACKUPS: &str = "backups/";
const KEY: &str = "key";
/// What a segment begins with that no former holder may write over.
const FENCE: &[u8] = b"fence ";
/// How often a state that changes while it is read is read again.
const ROUNDS: usize = 10;

/// The state of one stack in a bucket.
#[derive(Debug)]
pub struct S3Store {
    objects: Objects,
    stack: String,
    /// Unique to this run.
    token: String,
    lease: Option<Lease>,
    /// The snapshot that is there, with its `ETag`.
    present: Option<(Snapshot, Vec<u8>, String)>,
    /// The number of the next segment.
    next: u64,
    /// Segments of a run that ended: they go before another run writes its own.
    stale: Vec<u64>,
    /// Segments that go once the snapshot holds what they tell.
    segments: Vec<u64>,
    #[cfg(feature = "faults")]
    written: u64,
}

/// The journal as it lies in the bucket.
struct Journal {
    /// Every segment but the fences.
    segments: Vec<u64>,
    lines: Vec<u8>,
    /// The first number that is free for good.
    next: u64,
}

impl S3Store {
    /// The store of `stack` in the bucket that `model` names. `token` is unique to this run. Calls nobody.
    pub async fn new(model: &S3Model, stack: &str, token: String) -> Result<Self, StateError> {
        let clients = Clients::new(model.region.clone());
        let client = clients.s3().await.map_err(|error| StateError::Remote {
            what: "open",
            path: format!("s3://{}/{}", model.bucket, model.key).into(),
            source: Box::new(error),
        })?;
        Ok(Self {
            objects: Objects::new(client.clone(), model),
            stack: stack.to_owned(),
            token,
            lease: None,
            present: None,
            next: 1,
            stale: Vec::new(),
            segments: Vec::new(),
            #[cfg(feature = "faults")]
            written: 0,
        })
    }

    async fn take(&mut self, holder: &Holder) -> Result<Option<Holder>, StateError> {
        let Taken { lease, from } = Lease::take(&self.objects, holder, &self.token).await?;
        if from.is_some() {
            // Should this fail, the lock stays and lapses: a lock that is free again must have shut the former holder out.
            self.fence().await?;
        }
        self.lease = Some(lease);
        Ok(from)
    }

    /// Shuts a former holder out: neither its next snapshot nor its next segment can be written any more.
    async fn fence(&self) -> Result<(), StateError> {
        // What cannot be read is left for `load` to tell.
        while let Some(there) = self.objects.get(SNAPSHOT).await?
            && let Ok(mut snapshot) = Snapshot::read(&there.bytes, &self.objects.path(SNAPSHOT))
        {
            snapshot.epoch += 1;
            let bytes = self.bytes(&snapshot)?;
            if self
                .objects
                .put(SNAPSHOT, &bytes, If::Same(&there.etag))
                .await?
                .is_some()
            {
                break;
            }
        }
        let fence = [FENCE, self.token.as_bytes(), b"\n"].concat();
        loop {
            let next = self.numbers().await?.last().map_or(1, |last| last + 1);
            if self
                .objects
                .put(&segment(next), &fence, If::Absent)
                .await?
                .is_some()
            {
                return Ok(());
            }
        }
    }

    fn bytes(&self, snapshot: &Snapshot) -> Result<Vec<u8>, StateError> {
        let written = snapshot.write();
        written.map_err(|error| StateError::unwritable(&self.objects.path(SNAPSHOT), error))
    }

    /// The numbers of all segments, fences too, in order.
    async fn numbers(&self) -> Result<Vec<u64>, StateError> {
        let names = self.objects.list(JOURNAL).await?;
        names
            .iter()
            .map(|name| {
                name.parse()
                    .ok()
                    .filter(|number| segment(*number).ends_with(name.as_str()))
                    .ok_or_else(|| StateError::Damaged {
                        path: self.objects.path(&format!("{JOURNAL}{name}")),
                        offset: 0,
                        what: "it is no segment of a journal".into(),
                        backup: None,
                    })
            })
            .collect()
    }

    /// Reads the journal; `None` if a part of it went meanwhile.
    async fn journal(&self) -> Result<Option<Journal>, StateError> {
        let numbers = self.numbers().await?;
        let mut segments = BTreeMap::new();
        let mut fences = Vec::new();
        for number in &numbers {
            let Some(there) = self.objects.get(&segment(*number)).await? else {
                return Ok(None);
            };
            if there.bytes.is_empty() {
                return Err(StateError::Damaged {
                    path: self.objects.path(&segment(*number)),
                    offset: 0,
                    what: "it is empty".into(),
                    backup: None,
                });
            }
            if there.bytes.starts_with(FENCE) {
                fences.push(*number);
            } else {
                segments.insert(*number, there.bytes);
            }
        }
        let known = |number: &u64| segments.contains_key(number) || fences.contains(number);
        if let (Some((first, _)), Some((last, _))) = (segments.first_key_value(), segments.last_key_value())
            && let Some(missing) = (*first..*last).find(|number| !known(number))
        {
            return Err(StateError::Damaged {
                path: self.objects.path(&segment(missing)),
                offset: 0,
                what: "it is missing, and later parts of the journal are there".into(),
                backup: None,
            });
        }
        Ok(Some(Journal {
            next: numbers.last().map_or(1, |last| last + 1),
            lines: segments.values().flatten().copied().collect(),
            segments: segments.into_keys().collect(),
        }))
    }

    async fn read(&mut self) -> Result<Option<Loaded>, StateError> {
        for _ in 0..ROUNDS {
            // The journal first: a snapshot that is written meanwhile holds all that it tells, and is known by its serial.
            let Some(journal) = self.journal().await? else {
                continue;
            };
            let path = self.objects.path(SNAPSHOT);
            let Some(there) = self.objects.get(SNAPSHOT).await? else {
                self.next = journal.next;
                let backup = self.newest_backup().await?;
                return if journal.segments.is_empty() && backup.is_none() {
                    Ok(None)
                } else {
                    Err(StateError::Damaged {
                        path,
                        offset: 0,
                        what: "it is missing, and a journal or backups of it are there".into(),
                        backup: backup.map(|name| self.objects.path(&name)),
                    })
                };
            };
            return match self.resume(&journal, &there.bytes) {
                Ok((loaded, snapshot)) => {
                    self.present = Some((snapshot, there.bytes, there.etag));
                    self.next = journal.next;
                    (self.segments, self.stale) = if loaded.unfinished {
                        (journal.segments, Vec::new())
                    } else {
                        (Vec::new(), journal.segments)
                    };
                    Ok(Some(loaded))
                }
                Err(error) => {
                    let backup = self.newest_backup().await?;
                    Err(error.with_backup(backup.map(|name| self.objects.path(&name))))
                }
            };
        }
        Err(StateError::Damaged {
            path: self.objects.path(JOURNAL),
            offset: 0,
            what: "it changes faster than it can be read".into(),
            backup: None,
        })
    }

    /// What the objects come to, and the snapshot as it lies there.
    fn resume(&self, journal: &Journal, bytes: &[u8]) -> Result<(Loaded, Snapshot), StateError> {
        let (path, lines) = (self.objects.path(SNAPSHOT), self.objects.path(JOURNAL));
        let (loaded, torn) = resume(&self.stack, (bytes, &path), (&journal.lines, &lines))?;
        if let Some(offset) = torn {
            return Err(StateError::Damaged {
                path: lines,
                offset,
                what: "its last line is cut off, and segments are written whole".into(),
                backup: None,
            });
        }
        Ok((loaded, Snapshot::read(bytes, &path)?))
    }

    async fn newest_backup(&self) -> Result<Option<String>, StateError> {
        for name in self.objects.list(BACKUPS).await?.into_iter().rev() {
            let name = format!("{BACKUPS}{name}");
            let readable = self
                .objects
                .get(&name)
                .await?
                .is_some_and(|backup| Snapshot::read(&backup.bytes, &self.objects.path(&name)).is_ok());
            if readable {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Someone else wrote where only the holder of the lock writes.
    async fn fenced(&self) -> StateError {
        let holder = lease::held(&self.objects).await.ok().flatten();
        StateError::Fenced {
            path: self.objects.path(""),
            by: holder.map(|(holder, _)| Box::new(holder)),
        }
    }

    async fn check(&self) -> Result<(), StateError> {
        match &self.lease {
            Some(lease) if !lease.lost() => Ok(()),
            Some(_) | None => Err(self.fenced().await),
        }
    }

    /// Removes segments, the last first: what is left after a crash is whole from its beginning.
    async fn remove(&self, segments: &[u64]) -> Result<(), StateError> {
        for number in segments.iter().rev() {
            self.objects.delete(&segment(*number), None).await?;
        }
        Ok(())
    }

    async fn write_records(&mut self, records: &[Record]) -> Result<(), StateError> {
        self.check().await?;
        let stale = std::mem::take(&mut self.stale);
        self.remove(&stale).await?;
        #[cfg(feature = "faults")]
        let records = records
            .get(..fault::allowed(self.written, records.len()))
            .unwrap_or(records);
        let name = segment(self.next);
        let mut bytes = Vec::new();
        for record in records {
            write_line(record, &mut bytes)
                .map_err(|error| StateError::unwritable(&self.objects.path(&name), error))?;
        }
        if self.objects.put(&name, &bytes, If::Absent).await?.is_none() {
            return Err(self.fenced().await);
        }
        self.segments.push(self.next);
        self.next += 1;
        #[cfg(feature = "faults")]
        for _ in records {
            self.written += 1;
            fault::reach(fault::Point::Record(self.written));
        }
        Ok(())
    }

    async fn write_snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), StateError> {
        self.check().await?;
        let mut next = snapshot.clone();
        next.serial += 1;
        let bytes = self.bytes(&next)?;
        if let Some((former, bytes, _)) = &self.present {
            let name = format!("{BACKUPS}{}", former.backup_name());
            // One of the same serial is as good: only the epoch may differ.
            self.objects.put(&name, bytes, If::Absent).await?;
        }
        #[cfg(feature = "faults")]
        fault::reach(fault::Point::SnapshotWritten);
        let condition = match &self.present {
            Some((_, _, etag)) => If::Same(etag),
            None => If::Absent,
        };
        let Some(etag) = self.objects.put(SNAPSHOT, &bytes, condition).await? else {
            return Err(self.fenced().await);
        };
        #[cfg(feature = "faults")]
        fault::reach(fault::Point::SnapshotRenamed);
        self.present = Some((next.clone(), bytes, etag));
        *snapshot = next;
        let mut told = std::mem::take(&mut self.stale);
        told.append(&mut self.segments);
        self.remove(&told).await?;
        let backups = self.objects.list(BACKUPS).await?;
        for name in backups
            .iter()
            .take(backups.len().saturating_sub(Snapshot::BACKUPS))
        {
            self.objects.delete(&format!("{BACKUPS}{name}"), None).await?;
        }
        Ok(())
    }

    async fn remove_all(&mut self) -> Result<(), StateError> {
        self.check().await?;
        for name in self.objects.list(BACKUPS).await? {
            self.objects.delete(&format!("{BACKUPS}{name}"), None).await?;
        }
        let mut told = std::mem::take(&mut self.stale);
        told.append(&mut self.segments);
        self.remove(&told).await?;
        if let Some((_, _, etag)) = self.present.take()
            && !self.objects.delete(SNAPSHOT, Some(&etag)).await?
        {
            return Err(self.fenced().await);
        }
        // Fences stay: whom they shut out may still wake up.
        self.objects.delete(KEY, None).await?;
        Ok(())
    }

    async fn give_back(&mut self) -> Result<(), StateError> {
        match self.lease.take() {
            Some(lease) => lease.release().await,
            None => Ok(()),
        }
    }
}

fn segment(number: u64) -> String {
    format!("{JOURNAL}{number:08}")
}

impl Store for S3Store {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<Loaded>, StateError>> {
        Box::pin(self.read())
    }

    fn append<'a>(&'a mut self, records: &'a [Record]) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write_records(records))
    }

    fn save<'a>(&'a mut self, snapshot: &'a mut Snapshot) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.write_snapshot(snapshot))
    }

    fn clear(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(self.remove_all())
    }
}

impl SharedStore for S3Store {
    fn lock<'a>(&'a mut self, holder: &'a Holder) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.take(holder).await.map(drop) })
    }

    fn unlock<'a>(&'a mut self, by: &'a Holder) -> BoxFuture<'a, Result<Option<Holder>, StateError>> {
        Box::pin(async {
            match lease::held(&self.objects).await? {
                None => Ok(None),
                Some((holder, false)) => Err(StateError::Locked(Box::new(holder))),
                Some((_, true)) => {
                    let from = self.take(by).await?;
                    self.give_back().await?;
                    Ok(from)
                }
            }
        })
    }

    fn release(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(self.give_back())
    }

    fn key(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateError>> {
        Box::pin(async { Ok(self.objects.get(KEY).await?.map(|key| key.bytes)) })
    }

    fn keep_key<'a>(&'a mut self, key: &'a [u8]) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            match self.objects.put(KEY, key, If::Absent).await? {
                Some(_) => Ok(()),
                None => Err(StateError::Damaged {
                    path: self.objects.path(KEY),
                    offset: 0,
                    what: "it is there and is not a key".into(),
                    backup: None,
                }),
            }
        })
    }
}
