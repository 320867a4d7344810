use std::time::Duration;

use crate::model::{Action, CheckState};

/// How text is drawn: decided once by the caller from flags, environment and terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours may be used.
    pub colour: bool,
    /// Whether anything beyond ASCII may be written.
    pub unicode: bool,
    /// Columns to fit into.
    pub width: usize,
}

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Holds, was made.
    Good,
    /// Changes, deserves a look.
    Change,
    /// Failed, is lost.
    Bad,
    /// Beside the point.
    Quiet,
    /// A heading.
    Strong,
    /// No colour.
    Plain,
}

/// A sign in front of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// It is as it should be.
    Done,
    /// It is not.
    Failed,
    /// Worth knowing.
    Warning,
    /// It was not tried or not asked.
    Skipped,
    /// Something else stands in the way.
    Blocked,
    /// It is not there yet.
    Waiting,
    /// A call is made again.
    Again,
    /// Only told.
    Told,
}

impl Style {
    /// Plain ASCII, as for a dumb terminal.
    pub fn plain(width: usize) -> Self {
        Self {
            colour: false,
            unicode: false,
            width,
        }
    }

    /// Colours a text, if colours may be used.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Change => "33",
            Tone::Bad => "31",
            Tone::Quiet => "2",
            Tone::Strong => "1",
            Tone::Plain => "",
        };
        if self.colour && !code.is_empty() && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// One of two texts: the first where all characters may be written, else the second.
    pub fn either(&self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }

    /// The sign, uncoloured; within one style all signs have the same width.
    pub fn sign(&self, symbol: Symbol) -> &'static str {
        match symbol {
            Symbol::Done => self.either("✓", "ok"),
            Symbol::Failed => self.either("✗", "!!"),
            Symbol::Warning => self.either("!", "! "),
            Symbol::Skipped => self.either("-", "- "),
            Symbol::Blocked => self.either("◌", ".."),
            Symbol::Waiting => self.either("…", ".."),
            Symbol::Again => self.either("↻", "~ "),
            Symbol::Told => self.either(" ", "  "),
        }
    }

    /// The sign in its colour.
    pub fn symbol(&self, symbol: Symbol) -> String {
        let tone = match symbol {
            Symbol::Done => Tone::Good,
            Symbol::Failed => Tone::Bad,
            Symbol::Warning | Symbol::Again => Tone::Change,
            Symbol::Skipped | Symbol::Blocked | Symbol::Waiting => Tone::Quiet,
            Symbol::Told => Tone::Plain,
        };
        self.paint(tone, self.sign(symbol))
    }

    /// The sign of an action in a plan, in its colour; all are equally wide.
    pub fn action(&self, action: Action) -> String {
        let sign = match action {
            Action::Create => self.either("+", "+  "),
            Action::Update => self.either("~", "~  "),
            Action::Replace => self.either("±", "-/+"),
            Action::Delete => self.either("-", "-  "),
            Action::Forget => self.either("○", "o  "),
            Action::Conflict => self.either("!", "!  "),
            Action::Unchanged => self.either("=", "=  "),
        };
        self.paint(action_tone(action), sign)
    }

    /// How wide the signs of actions are.
    pub fn action_width(&self) -> usize {
        if self.unicode { 1 } else { 3 }
    }

    /// `→`
    pub fn arrow(&self) -> &'static str {
        self.either("→", "->")
    }

    /// `…`
    pub fn ellipsis(&self) -> &'static str {
        self.either("…", "...")
    }

    /// ` · `, between parts of a line.
    pub fn dot(&self) -> &'static str {
        self.either(" · ", ", ")
    }
}

/// The colour of an action.
pub(super) fn action_tone(action: Action) -> Tone {
    match action {
        Action::Create => Tone::Good,
        Action::Update => Tone::Change,
        Action::Replace | Action::Delete | Action::Conflict => Tone::Bad,
        Action::Forget | Action::Unchanged => Tone::Quiet,
    }
}

/// The sign of a check's state.
pub(super) fn state_symbol(state: CheckState) -> Symbol {
    match state {
        CheckState::Pass => Symbol::Done,
        CheckState::Warn => Symbol::Warning,
        CheckState::Fail => Symbol::Failed,
        CheckState::Skip => Symbol::Skipped,
        CheckState::Blocked => Symbol::Blocked,
    }
}

/// What an action is called once it has happened.
pub(super) fn past(action: Action) -> &'static str {
    match action {
        Action::Create => "created",
        Action::Update => "updated",
        Action::Replace => "replaced",
        Action::Delete => "deleted",
        Action::Forget => "forgotten",
        Action::Conflict => "refused",
        Action::Unchanged => "ready",
    }
}

/// What an action is called before it has happened: `to create`, or `conflict`.
pub(super) fn ahead(action: Action, count: usize) -> String {
    match action {
        Action::Create => format!("{count} to create"),
        Action::Update => format!("{count} to update"),
        Action::Replace => format!("{count} to replace"),
        Action::Delete => format!("{count} to delete"),
        Action::Forget => format!("{count} to forget"),
        Action::Conflict => plural(count, "conflict"),
        Action::Unchanged => format!("{count} unchanged"),
    }
}

/// `1 resource`, `2 resources`.
pub fn plural(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

/// A measured time: `0.4s`, `12.1s`, `2m05s`, `1h02m`.
pub fn precise(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    if tenths < 600 {
        format!("{}.{}s", tenths / 10, tenths % 10)
    } else {
        coarse(duration)
    }
}

/// A running time, without tenths that would only flicker: `12s`, `2m05s`, `1h02m`.
pub fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
    }
}

/// An estimate, no more exact than it can be: `5 s`, `40 s`, `4 min`, `1 h 20 min`.
pub fn about(duration: Duration) -> String {
    let seconds = duration.as_secs().max(1);
    if seconds <= 10 {
        format!("{seconds} s")
    } else if seconds < 90 {
        format!("{} s", seconds.div_ceil(5) * 5)
    } else if seconds < 3600 {
        format!("{} min", (seconds + 30) / 60)
    } else {
        let minutes = seconds.div_ceil(300) * 5;
        format!("{} h {} min", minutes / 60, minutes % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well_at_every_size() {
        let measured = [40, 12_090, 59_960, 125_000, 3_725_000].map(|ms| precise(Duration::from_millis(ms)));
        assert_eq!(measured, ["0.0s", "12.1s", "59s", "2m05s", "1h02m"]);
        let estimated = [0, 7, 33, 240, 4700].map(|s| about(Duration::from_secs(s)));
        assert_eq!(estimated, ["1 s", "7 s", "35 s", "4 min", "1 h 20 min"]);
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(plural(1, "resource"), "1 resource");
        assert_eq!(plural(0, "resource"), "0 resources");
        assert_eq!(ahead(Action::Conflict, 2), "2 conflicts");
    }

    #[test]
    fn without_unicode_every_sign_is_ascii_and_equally_wide() {
        let (plain, rich) = (
            Style::plain(80),
            Style {
                colour: true,
                unicode: true,
                width: 80,
            },
        );
        for symbol in [
            Symbol::Done,
            Symbol::Failed,
            Symbol::Warning,
            Symbol::Skipped,
            Symbol::Blocked,
            Symbol::Waiting,
            Symbol::Again,
            Symbol::Told,
        ] {
            assert!(plain.symbol(symbol).is_ascii());
            assert_eq!(plain.sign(symbol).len(), 2);
            assert_eq!(rich.sign(symbol).chars().count(), 1);
        }
        assert_eq!(plain.action(Action::Replace), "-/+");
        assert_eq!(rich.action(Action::Create), "\u{1b}[32m+\u{1b}[0m");
    }
}
