use std::io::{BufRead as _, Write as _};

use super::{error::CliError, exit::Exit, screen::Screen};

/// Asks a person to say yes; without a person, refuses and says how to do without one.
pub(super) fn confirm(screen: &Screen, question: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let refused = |message: &str| CliError::new(Exit::Refused, message);
    if !screen.asks {
        return Err(refused("there is nobody to say yes here").hint("add --yes to do it without asking"));
    }
    let mut err = std::io::stderr().lock();
    let asked = write!(err, "{question} Only 'yes' is taken as yes: ").and_then(|()| err.flush());
    let mut answer = String::new();
    let answered = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match answered {
        Ok(_) if answer.trim() == "yes" => Ok(()),
        Ok(_) => Err(refused("it was not confirmed; nothing was changed")),
        Err(error) => Err(refused("the question could not be asked").cause(&error)),
    }
}
