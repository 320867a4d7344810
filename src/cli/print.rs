//! What goes to standard output and standard error as it is.

use std::io::Write as _;

use super::{
    error::CliError,
    flags::{Format, Global},
    screen::Screen,
};

/// Tells what went wrong as the rest is told: as text or as data.
pub(super) fn tell_error(error: &CliError, global: &Global, screen: &Screen) {
    tell_person(&match global.output {
        Format::Json => error.json().to_string(),
        Format::Text => error.text(&screen.err),
    });
}

/// Writes data to standard output; a reader that went away is no reason to fail.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') {
            Ok(())
        } else {
            out.write_all(b"\n")
        }
    });
    drop(written.and_then(|()| out.flush()));
}

/// Writes a line for the person, not for a script.
pub(super) fn tell_person(text: &str) {
    let mut err = std::io::stderr().lock();
    // If nobody reads what went wrong, the exit code still says it.
    drop(err.write_all(text.as_bytes()).and_then(|()| err.write_all(b"\n")));
}
