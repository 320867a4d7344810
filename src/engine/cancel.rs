use tokio::sync::watch;

use crate::model::Stop;

/// Asks a run to stop: nothing new starts, calls in flight end and are recorded, long waits are left.
#[derive(Debug)]
pub struct Canceller(watch::Sender<Option<Stop>>);

/// Tells a run whether it was asked to stop.
#[derive(Debug, Clone)]
pub struct Cancel(watch::Receiver<Option<Stop>>);

impl Canceller {
    /// A pair: who asks, and who listens.
    pub fn new() -> (Self, Cancel) {
        let (ask, listen) = watch::channel(None);
        (Self(ask), Cancel(listen))
    }

    /// Asks to stop. The first signal counts.
    pub fn stop(&self, stop: Stop) {
        self.0.send_if_modified(|asked| {
            let first = asked.is_none();
            asked.get_or_insert(stop);
            first
        });
    }
}

impl Cancel {
    /// The signal that asked to stop, if one did.
    pub fn stopped(&self) -> Option<Stop> {
        *self.0.borrow()
    }

    /// Returns once a signal asks to stop; never, if nobody can ask any more.
    pub async fn wait(&mut self) -> Stop {
        loop {
            if let Some(stop) = *self.0.borrow_and_update() {
                return stop;
            }
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
