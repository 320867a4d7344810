use tokio::signal::unix::{SignalKind, signal};

use super::{error::CliError, exit::Exit, print::tell_person};
use crate::{engine::Canceller, model::Stop};

/// Listens for INT, TERM and HUP. The first asks the run to stop; the second leaves at once, which is safe: whatever was
/// begun is in the journal.
pub(super) fn listen(canceller: Canceller) -> Result<(), CliError> {
    let listen = |kind| {
        signal(kind)
            .map_err(|error| CliError::new(Exit::Failed, "could not listen for signals").cause(&error))
    };
    let mut int = listen(SignalKind::interrupt())?;
    let mut term = listen(SignalKind::terminate())?;
    let mut hup = listen(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            let stop = tokio::select! {
                _ = int.recv() => Stop::Int,
                _ = term.recv() => Stop::Term,
                _ = hup.recv() => Stop::Hup,
            };
            if asked {
                tell_person("left at once; the same command goes on from here");
                #[expect(
                    clippy::exit,
                    reason = "a second signal means now; the journal is on disk before every effect"
                )]
                std::process::exit(i32::from(Exit::Signal(stop).code()));
            }
            asked = true;
            canceller.stop(stop);
        }
    });
    Ok(())
}
