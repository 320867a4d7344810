use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};

use super::objects::{If, Object, Objects};
use crate::state::{Holder, StateError};

/// The lock object's name.
const LOCK: &str = "lock";
/// A holder that gave no sign of life for so long has lost its lock.
const LEASE: Duration = Duration::from_mins(1);
/// How often a holder gives one.
const BEAT: Duration = Duration::from_secs(15);
/// How often a lock that changes hands under our eyes is tried.
const ROUNDS: usize = 5;

/// What the lock object holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lock {
    holder: Holder,
    /// Tells two holders of the same process id and host apart.
    token: String,
    /// Grows with each sign of life, so that each has another `ETag`.
    beat: u64,
    lease_seconds: u64,
}

/// A held lock. A task of its own renews it, and ends with it.
#[derive(Debug)]
pub(super) struct Lease {
    objects: Objects,
    lost: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    /// Gives the lock's last `ETag`, unless it was lost.
    beating: JoinHandle<Option<String>>,
}

/// How a lock was got.
pub(super) struct Taken {
    pub(super) lease: Lease,
    /// Whose lapsed lock it was.
    pub(super) from: Option<Holder>,
}

/// Whose lock an object is, and whether it has lapsed.
fn whose(object: &Object) -> (Holder, bool) {
    let lock = serde_json::from_slice::<Lock>(&object.bytes).ok();
    let lease = lock
        .as_ref()
        .map_or(LEASE, |lock| Duration::from_secs(lock.lease_seconds));
    let holder = lock.map_or_else(unknown, |lock| lock.holder);
    // Without a clock to judge by nobody is declared dead.
    (holder, object.age.is_some_and(|age| age > lease))
}

fn unknown() -> Holder {
    Holder {
        pid: 0,
        host: "a machine that is not known".into(),
        verb: "?".into(),
        since: "a time that is not known".into(),
    }
}

/// Who holds the lock, and whether it has lapsed.
pub(super) async fn held(objects: &Objects) -> Result<Option<(Holder, bool)>, StateError> {
    Ok(objects.get(LOCK).await?.as_ref().map(whose))
}

impl Lease {
    /// Takes the lock where nobody has it or its holder has lapsed; `token` is unique to this try.
    pub(super) async fn take(objects: &Objects, holder: &Holder, token: &str) -> Result<Taken, StateError> {
        let lock = Lock {
            holder: holder.clone(),
            token: token.to_owned(),
            beat: 0,
            lease_seconds: LEASE.as_secs(),
        };
        let bytes = written(objects, &lock)?;
        let mut last = unknown();
        for _ in 0..ROUNDS {
            if let Some(etag) = objects.put(LOCK, &bytes, If::Absent).await? {
                return Ok(Taken {
                    lease: Self::start(objects, lock, etag),
                    from: None,
                });
            }
            let Some(there) = objects.get(LOCK).await? else {
                continue;
            };
            let (holder, lapsed) = whose(&there);
            if !lapsed {
                return Err(StateError::Locked(Box::new(holder)));
            }
            if let Some(etag) = objects.put(LOCK, &bytes, If::Same(&there.etag)).await? {
                return Ok(Taken {
                    lease: Self::start(objects, lock, etag),
                    from: Some(holder),
                });
            }
            last = holder;
        }
        Err(StateError::Locked(Box::new(last)))
    }

    fn start(objects: &Objects, lock: Lock, etag: String) -> Self {
        let (stop, stopped) = oneshot::channel();
        let lost = Arc::new(AtomicBool::new(false));
        let beating = beat(objects.clone(), lock, etag, stopped, Arc::clone(&lost));
        Self {
            objects: objects.clone(),
            lost,
            stop,
            beating: tokio::spawn(beating),
        }
    }

    /// Whether someone else is known to have taken the lock over.
    pub(super) fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Gives the lock back, if it is still ours.
    pub(super) async fn release(self) -> Result<(), StateError> {
        drop(self.stop);
        // A task that panicked leaves a lock that lapses.
        if let Ok(Some(etag)) = self.beating.await {
            self.objects.delete(LOCK, Some(&etag)).await?;
        }
        Ok(())
    }
}

/// Renews the lock until it is told to stop or the lock is someone else's.
async fn beat(
    objects: Objects,
    mut lock: Lock,
    mut etag: String,
    mut stopped: oneshot::Receiver<()>,
    lost: Arc<AtomicBool>,
) -> Option<String> {
    loop {
        tokio::select! {
            _ = &mut stopped => return Some(etag),
            () = sleep(BEAT) => {}
        }
        lock.beat += 1;
        match renew(&objects, &lock, &etag).await {
            Ok(Some(next)) => etag = next,
            Ok(None) => {
                lost.store(true, Ordering::Relaxed);
                return None;
            }
            // The lease runs on; a store that answers again before it ends hears the next beat, and every write is
            // conditional in any case.
            Err(error) => tracing::warn!(%error, "the lock could not be renewed"),
        }
    }
}

async fn renew(objects: &Objects, lock: &Lock, etag: &str) -> Result<Option<String>, StateError> {
    let bytes = written(objects, lock)?;
    if let Some(next) = objects.put(LOCK, &bytes, If::Same(etag)).await? {
        return Ok(Some(next));
    }
    // An earlier beat may have arrived without its answer.
    let there = objects.get(LOCK).await?;
    let ours = |there: &Object| {
        serde_json::from_slice::<Lock>(&there.bytes).is_ok_and(|found| found.token == lock.token)
    };
    Ok(there.filter(ours).map(|there| there.etag))
}

fn written(objects: &Objects, lock: &Lock) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(lock).map_err(|error| StateError::unwritable(&objects.path(LOCK), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(bytes: &[u8], age: Option<u64>) -> Object {
        Object {
            bytes: bytes.to_vec(),
            etag: "e".into(),
            age: age.map(Duration::from_secs),
        }
    }

    #[test]
    fn a_lock_lapses_after_its_own_lease_and_never_without_a_clock() {
        let lock = Lock {
            holder: unknown(),
            token: "t".into(),
            beat: 3,
            lease_seconds: 90,
        };
        let bytes = serde_json::to_vec(&lock).unwrap();
        assert!(!whose(&object(&bytes, Some(90))).1);
        assert!(whose(&object(&bytes, Some(91))).1);
        assert!(!whose(&object(&bytes, None)).1);
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_someones_all_the_same() {
        let (holder, lapsed) = whose(&object(b"\0", Some(60)));
        assert!(!lapsed && holder == unknown());
        assert!(whose(&object(b"", Some(61))).1);
    }
}
