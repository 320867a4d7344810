use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use futures::future::{BoxFuture, ready};

#[cfg(feature = "faults")]
use super::fault;
use super::{Holder, Loaded, Record, SharedStore, Snapshot, StateError, Store, resume, write_line};

const SNAPSHOT: &str = "state.json";
const JOURNAL: &str = "journal.ndjson";
const LOCK: &str = "lock";
const BACKUPS: &str = "backups";
const KEY: &str = "key";

/// The state of one stack in a folder of its own.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    stack: String,
    journal: Option<File>,
    /// Up to where the journal that was found counts: not a torn tail, and nothing of a run that ended.
    counts: usize,
    lock: Option<File>,
    #[cfg(feature = "faults")]
    written: u64,
}

impl FileStore {
    /// The store of `stack` in `folder` (`.stackup/<name>/`). Touches nothing.
    pub fn new(folder: PathBuf, stack: &str) -> Self {
        Self {
            folder,
            stack: stack.to_owned(),
            journal: None,
            counts: 0,
            lock: None,
            #[cfg(feature = "faults")]
            written: 0,
        }
    }

    /// The folder that holds everything of the stack.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder, readable by its owner only and ignored by git.
    pub fn prepare(&self) -> Result<(), StateError> {
        make_folder(&self.folder)
    }

    /// Takes the lock for as long as this store lives, or says who has it. The system drops it when the process ends,
    /// however it ends.
    pub fn lock(&mut self, holder: &Holder) -> Result<(), StateError> {
        let path = self.folder.join(LOCK);
        let file = private()
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(StateError::io("open", &path))?;
        self.take(file, path, holder)
    }

    fn take(&mut self, mut file: File, path: PathBuf, holder: &Holder) -> Result<(), StateError> {
        match file.try_lock() {
            // Its holder may have ended with the whole folder removed: then this is the lock of nothing.
            Ok(()) if !same_file(&file, &path) => {
                self.prepare()?;
                return self.lock(holder);
            }
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StateError::Locked(Box::new(read_holder(&mut file))));
            }
            Err(TryLockError::Error(source)) => {
                return Err(StateError::Io {
                    what: "lock",
                    path,
                    source,
                });
            }
        }
        let text = serde_json::to_vec(holder).map_err(|error| StateError::unwritable(&path, error))?;
        file.set_len(0)
            .and_then(|()| file.write_all(&text))
            .map_err(StateError::io("write", &path))?;
        self.lock = Some(file);
        Ok(())
    }

    /// Who holds the lock now, if someone does.
    pub fn holder(&self) -> Result<Option<Holder>, StateError> {
        let path = self.folder.join(LOCK);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io("open", &path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
            Err(TryLockError::Error(source)) => Err(StateError::Io {
                what: "lock",
                path,
                source,
            }),
        }
    }

    fn read(&mut self) -> Result<Option<Loaded>, StateError> {
        let (path, journal) = (self.folder.join(SNAPSHOT), self.folder.join(JOURNAL));
        let lines = read_if_there(&journal)?.unwrap_or_default();
        let Some(bytes) = read_if_there(&path)? else {
            return match self.newest_backup() {
                None if lines.is_empty() => Ok(None),
                backup => Err(StateError::Damaged {
                    path,
                    offset: 0,
                    what: "it is missing, and a journal or backups of it are there".into(),
                    backup,
                }),
            };
        };
        let (loaded, torn) = resume(&self.stack, (&bytes, &path), (&lines, &journal))
            .map_err(|error| error.with_backup(self.newest_backup()))?;
        self.counts = if loaded.unfinished {
            torn.unwrap_or(lines.len())
        } else {
            0
        };
        Ok(Some(loaded))
    }

    /// The backups, oldest first.
    fn backups(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.folder.join(BACKUPS)) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        paths
    }

    fn newest_backup(&self) -> Option<PathBuf> {
        let readable =
            |path: &PathBuf| fs::read(path).is_ok_and(|bytes| Snapshot::read(&bytes, path).is_ok());
        self.backups().into_iter().rev().find(readable)
    }

    fn write_records(&mut self, records: &[Record]) -> Result<(), StateError> {
        #[cfg(feature = "faults")]
        let records = records
            .get(..fault::allowed(self.written, records.len()))
            .unwrap_or(records);
        let path = self.folder.join(JOURNAL);
        let mut bytes = Vec::new();
        for record in records {
            write_line(record, &mut bytes).map_err(|error| StateError::unwritable(&path, error))?;
        }
        let file = if let Some(file) = &mut self.journal {
            file
        } else {
            let file = private()
                .append(true)
                .open(&path)
                .map_err(StateError::io("open", &path))?;
            // What does not count would be read together with the next line.
            file.set_len(self.counts as u64)
                .map_err(StateError::io("write", &path))?;
            sync_folder(&self.folder)?;
            self.journal.insert(file)
        };
        let before = file.metadata().map_err(StateError::io("read", &path))?.len();
        let written = file.write_all(&bytes).and_then(|()| file.sync_data());
        if let Err(source) = written {
            // A full disk may have taken a part. If it stays, the next run finds a torn tail and cuts it off.
            drop(file.set_len(before));
            return Err(StateError::io("write", &path)(source));
        }
        #[cfg(feature = "faults")]
        for _ in records {
            self.written += 1;
            fault::reach(fault::Point::Record(self.written));
        }
        Ok(())
    }

    fn write_snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), StateError> {
        let path = self.folder.join(SNAPSHOT);
        let mut next = snapshot.clone();
        next.serial += 1;
        let bytes = next
            .write()
            .map_err(|error| StateError::unwritable(&path, error))?;
        self.back_up(&path)?;
        let new = self.folder.join("state.json.new");
        write_private(&new, &bytes)?;
        #[cfg(feature = "faults")]
        fault::reach(fault::Point::SnapshotWritten);
        fs::rename(&new, &path).map_err(StateError::io("replace", &path))?;
        sync_folder(&self.folder)?;
        #[cfg(feature = "faults")]
        fault::reach(fault::Point::SnapshotRenamed);
        *snapshot = next;
        let journal = self.folder.join(JOURNAL);
        self.journal = None;
        self.counts = 0;
        private()
            .write(true)
            .truncate(true)
            .open(&journal)
            .map_err(StateError::io("empty", &journal))?;
        Ok(())
    }

    /// Keeps the present snapshot under its serial, and the last ten of them.
    fn back_up(&self, path: &Path) -> Result<(), StateError> {
        let Some(bytes) = read_if_there(path)? else {
            return Ok(());
        };
        let Ok(old) = Snapshot::read(&bytes, path) else {
            return Ok(());
        };
        let folder = self.folder.join(BACKUPS);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(StateError::io("create", &folder))?;
        let to = folder.join(old.backup_name());
        if !to.exists() {
            fs::hard_link(path, &to).map_err(StateError::io("keep", &to))?;
        }
        let backups = self.backups();
        for old in backups
            .iter()
            .take(backups.len().saturating_sub(Snapshot::BACKUPS))
        {
            fs::remove_file(old).map_err(StateError::io("remove", old))?;
        }
        Ok(())
    }

    /// Removes everything, the snapshot last: what is left of a removal that is cut off can be read.
    fn remove(&mut self) -> Result<(), StateError> {
        self.journal = None;
        let gone = |path: &Path, removed: io::Result<()>| match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateError::io("remove", path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        };
        let backups = self.folder.join(BACKUPS);
        gone(&backups, fs::remove_dir_all(&backups))?;
        for name in ["state.json.new", JOURNAL, SNAPSHOT] {
            let path = self.folder.join(name);
            gone(&path, fs::remove_file(&path))?;
        }
        sync_folder(&self.folder)
    }
}

impl Store for FileStore {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<Loaded>, StateError>> {
        Box::pin(ready(self.read()))
    }

    fn append<'a>(&'a mut self, records: &'a [Record]) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(ready(self.write_records(records)))
    }

    fn save<'a>(&'a mut self, snapshot: &'a mut Snapshot) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(ready(self.write_snapshot(snapshot)))
    }

    fn clear(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        Box::pin(ready(self.remove()))
    }
}

impl SharedStore for FileStore {
    fn lock<'a>(&'a mut self, holder: &'a Holder) -> BoxFuture<'a, Result<(), StateError>> {
        let taken = self.prepare().and_then(|()| Self::lock(self, holder));
        Box::pin(ready(taken))
    }

    fn unlock<'a>(&'a mut self, _: &'a Holder) -> BoxFuture<'a, Result<Option<Holder>, StateError>> {
        // The lock goes with its process: what is held is alive.
        Box::pin(ready(match self.holder() {
            Ok(Some(holder)) => Err(StateError::Locked(Box::new(holder))),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        }))
    }

    fn release(&mut self) -> BoxFuture<'_, Result<(), StateError>> {
        self.lock = None;
        Box::pin(ready(Ok(())))
    }

    fn key(&mut self) -> BoxFuture<'_, Result<Option<Vec<u8>>, StateError>> {
        Box::pin(ready(read_if_there(&self.folder.join(KEY))))
    }

    fn keep_key<'a>(&'a mut self, key: &'a [u8]) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(ready(write_private(&self.folder.join(KEY), key)))
    }
}

/// Makes a stack's folder, readable by its owner only, and has git ignore the folder around it.
pub fn make_folder(folder: &Path) -> Result<(), StateError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(StateError::io("create", folder))?;
    if let Some(parent) = folder.parent() {
        let ignore = parent.join(".gitignore");
        if !ignore.exists() {
            write_private(&ignore, b"*\n")?;
        }
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(0o600);
    options
}

/// Writes a whole file, readable by its owner only, and waits until it is on disk.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let write = || -> io::Result<()> {
        let mut file = private().write(true).truncate(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StateError::io("write", path))
}

fn sync_folder(path: &Path) -> Result<(), StateError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(StateError::io("write", path))
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StateError::io("read", path)(error)),
    }
}

/// Whether this open file is still the one at that path.
fn same_file(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let (opened, there) = (file.metadata(), fs::metadata(path));
    opened.is_ok_and(|opened| there.is_ok_and(|there| id(opened) == id(there)))
}

/// What the lock file says; a holder that has not written it yet is told as unknown.
fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file
        .seek(SeekFrom::Start(0))
        .and_then(|_| file.read_to_string(&mut text));
    read.ok()
        .and_then(|_| serde_json::from_str(&text).ok())
        .unwrap_or_else(|| Holder {
            pid: 0,
            host: "this machine".into(),
            verb: "?".into(),
            since: "just now".into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> FileStore {
        let store = FileStore::new(folder.join(".stackup/demo"), "demo");
        store.prepare().unwrap();
        store
    }

    fn holder() -> Holder {
        Holder {
            pid: 7,
            host: "here".into(),
            verb: "apply".into(),
            since: "now".into(),
        }
    }

    #[tokio::test]
    async fn no_state_is_told_apart_from_a_lost_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        assert!(store.load().await.unwrap().is_none());
        let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
        store.save(&mut snapshot).await.unwrap();
        store.save(&mut snapshot).await.unwrap();
        fs::remove_file(store.folder().join(SNAPSHOT)).unwrap();
        let error = store.load().await.unwrap_err();
        assert!(
            matches!(&error, StateError::Damaged { backup: Some(path), .. } if path.ends_with("state-00000001.json")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_removal_that_is_cut_off_leaves_a_state_that_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
        store.save(&mut snapshot).await.unwrap();
        store.save(&mut snapshot).await.unwrap();
        // A folder in the journal's place cannot be removed as a file: there the removal ends.
        let journal = store.folder().join(JOURNAL);
        fs::remove_file(&journal).unwrap();
        fs::create_dir(&journal).unwrap();
        store.clear().await.unwrap_err();
        fs::remove_dir(&journal).unwrap();
        assert!(store.load().await.unwrap().is_some());
        store.clear().await.unwrap();
        assert!(store.load().await.unwrap().is_none());
    }

    #[test]
    fn a_lock_whose_file_is_gone_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let mut one = store(folder.path());
        one.lock(&holder()).unwrap();
        let path = one.folder().join(LOCK);
        // Another one opens it, and the first ends with all that there was.
        let file = private().read(true).write(true).open(&path).unwrap();
        fs::remove_dir_all(one.folder()).unwrap();
        drop(one);
        let mut two = store(folder.path());
        two.take(file, path, &holder()).unwrap();
        assert!(matches!(
            store(folder.path()).lock(&holder()),
            Err(StateError::Locked(_))
        ));
    }

    #[tokio::test]
    async fn a_damaged_state_names_the_backup_to_use() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
        for _ in 0..14 {
            store.save(&mut snapshot).await.unwrap();
        }
        assert_eq!(store.backups().len(), Snapshot::BACKUPS);
        fs::write(store.folder().join(SNAPSHOT), b"").unwrap();
        let error = store.load().await.unwrap_err();
        assert!(
            matches!(&error, StateError::Damaged { backup: Some(path), .. } if path.ends_with("state-00000013.json")),
            "{error}"
        );
    }

    #[tokio::test]
    async fn the_state_of_another_stack_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        store
            .save(&mut Snapshot::new("shop", "u".into(), "l".into()))
            .await
            .unwrap();
        assert!(matches!(
            store.load().await.unwrap_err(),
            StateError::OtherStack { .. }
        ));
    }

    #[tokio::test]
    async fn a_second_holder_is_told_who_has_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (store(folder.path()), store(folder.path()));
        FileStore::lock(&mut first, &holder()).unwrap();
        let error = FileStore::lock(&mut second, &holder()).unwrap_err();
        assert!(
            matches!(&error, StateError::Locked(who) if **who == holder()),
            "{error}"
        );
        assert_eq!(second.holder().unwrap(), Some(holder()));
        drop(first);
        FileStore::lock(&mut second, &holder()).unwrap();
    }

    #[tokio::test]
    async fn a_journal_whose_snapshot_is_in_place_is_not_replayed_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(folder.path());
        let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
        store.save(&mut snapshot).await.unwrap();
        store
            .append(&[Record::open(&snapshot, crate::model::Verb::Apply)])
            .await
            .unwrap();
        let journal = fs::read(store.folder().join(JOURNAL)).unwrap();
        assert!(store.load().await.unwrap().unwrap().unfinished);
        store.save(&mut snapshot).await.unwrap();
        fs::write(store.folder().join(JOURNAL), journal).unwrap();
        assert!(!store.load().await.unwrap().unwrap().unfinished);
    }

    #[tokio::test]
    async fn records_after_a_torn_tail_and_after_an_ended_run_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::new("demo", "u".into(), "l".into());
        store(folder.path()).save(&mut snapshot).await.unwrap();
        let open = Record::open(&snapshot, crate::model::Verb::Apply);
        store(folder.path())
            .append(std::slice::from_ref(&open))
            .await
            .unwrap();
        let journal = folder.path().join(".stackup/demo").join(JOURNAL);
        let line = fs::read(&journal).unwrap();

        fs::write(&journal, [&line[..], &line[..9]].concat()).unwrap();
        let mut next = store(folder.path());
        assert_eq!(next.load().await.unwrap().unwrap().notes.len(), 1);
        next.append(std::slice::from_ref(&open)).await.unwrap();
        assert_eq!(fs::read(&journal).unwrap(), line.repeat(2));

        next.save(&mut snapshot).await.unwrap();
        fs::write(&journal, &line).unwrap();
        let mut next = store(folder.path());
        assert!(!next.load().await.unwrap().unwrap().unfinished);
        next.append(&[Record::open(&snapshot, crate::model::Verb::Apply)])
            .await
            .unwrap();
        assert!(store(folder.path()).load().await.unwrap().unwrap().unfinished);
    }
}
