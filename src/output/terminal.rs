use std::io::{self, Write};

use super::{Style, live::Live, text::width};
use crate::model::Event;

/// Begins and ends a drawing that a terminal shows at once; those that do not know it ignore it.
const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";

/// The live view: what stays is written above, the picture below it is drawn anew when it changes.
///
/// No progress-bar crate does this here: the usual one fills each line with spaces to the full width and lets the
/// terminal wrap, so that every line breaks in two when the window becomes narrower.
#[derive(Debug)]
pub(super) struct Terminal {
    live: Live,
    stays: String,
    screen: Screen,
    fallback: usize,
}

impl Terminal {
    pub(super) fn new(style: Style) -> Self {
        Self {
            live: Live::new(style),
            stays: String::new(),
            screen: Screen::default(),
            fallback: style.width,
        }
    }

    /// Takes an event in; nothing is drawn before the next tick, so that a flood of events is one drawing.
    pub(super) fn event(&mut self, event: &Event) {
        self.stays.push_str(&self.live.event(event));
    }

    /// Draws, if anything has changed.
    pub(super) fn draw(&mut self, out: &mut dyn Write, now_ms: u64) -> io::Result<()> {
        let (rows, columns) = size(self.fallback);
        // One column stays free, since a full line makes terminals wrap; two rows stay free for the cursor and a prompt.
        let picture = self
            .live
            .frame(now_ms, columns.saturating_sub(1), rows.saturating_sub(2));
        let stays = std::mem::take(&mut self.stays);
        self.screen.draw(out, &stays, picture, columns)
    }

    /// Draws what is left to say and takes the picture away.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let stays = std::mem::take(&mut self.stays);
        self.screen.draw(out, &stays, Vec::new(), size(self.fallback).1)
    }
}

/// Rows and columns of the terminal as of now; it may have been resized.
fn size(fallback: usize) -> (usize, usize) {
    let size = console::Term::stderr()
        .size_checked()
        .or_else(|| console::Term::stdout().size_checked());
    size.map_or((24, fallback), |(rows, columns)| (rows.into(), columns.into()))
}

/// What is drawn at the bottom of the terminal, with the cursor on the line below.
#[derive(Debug, Default)]
struct Screen {
    drawn: Vec<String>,
    columns: usize,
}

impl Screen {
    /// Writes `stays` for good and the picture below, in one write.
    fn draw(
        &mut self,
        out: &mut dyn Write,
        stays: &str,
        picture: Vec<String>,
        columns: usize,
    ) -> io::Result<()> {
        if stays.is_empty() && picture == self.drawn && columns == self.columns {
            return Ok(());
        }
        let mut text = String::from(BEGIN);
        let up = self.rows(columns);
        let to_top = if up > 0 {
            format!("\x1b[{up}A\r")
        } else {
            "\r".to_owned()
        };
        text.push_str(&to_top);
        if !stays.is_empty() || picture.is_empty() || columns != self.columns {
            // Rows move or were wrapped, so all are cleared: one by one, since some terminals keep a copy of a
            // screen that is cleared from its top. Else each line is overwritten, and never seen empty.
            text.push_str(&"\x1b[2K\x1b[B".repeat(up));
            text.push_str(&to_top);
        }
        text.push_str(stays);
        for line in &picture {
            text.push_str(line);
            text.push_str("\x1b[K\n");
        }
        if !picture.is_empty() {
            text.push_str("\x1b[J");
        }
        text.push_str(END);
        self.drawn = picture;
        self.columns = columns;
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// How many rows the picture takes now: in a window that became narrower, terminals wrap what was drawn.
    fn rows(&self, columns: usize) -> usize {
        self.drawn
            .iter()
            .map(|line| width(line).div_ceil(columns.max(1)).max(1))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::live::tests::events;

    /// As much of a terminal as the view uses.
    fn shown(written: &[u8]) -> Vec<String> {
        let (mut rows, mut row, mut column) = (vec![Vec::new()], 0, 0);
        let mut rest = std::str::from_utf8(written).unwrap();
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '\u{1b}' => {
                    let end = rest.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                    let argument = &rest[1..end];
                    match rest.as_bytes()[end] {
                        b'A' => row -= argument.parse::<usize>().unwrap(),
                        b'B' => row += 1,
                        b'J' => {
                            rows.truncate(row + 1);
                            rows[row].truncate(column);
                        }
                        b'K' => rows[row].truncate(if argument == "2" { 0 } else { column }),
                        b'h' | b'l' => {}
                        other => panic!("unknown command {other}"),
                    }
                    rest = &rest[end + 1..];
                }
                '\n' => (row, column) = (row + 1, 0),
                '\r' => column = 0,
                c => {
                    if column < rows[row].len() {
                        rows[row][column] = c;
                    } else {
                        rows[row].push(c);
                    }
                    column += 1;
                }
            }
            if row == rows.len() {
                rows.push(Vec::new());
            }
        }
        rows.into_iter().map(|row| row.into_iter().collect()).collect()
    }

    #[test]
    fn after_any_number_of_drawings_the_screen_holds_what_stays_and_the_last_picture() {
        let mut terminal = Terminal::new(Style {
            colour: false,
            unicode: true,
            width: 100,
        });
        let mut written = Vec::new();
        for event in events() {
            terminal.event(&event);
            terminal.draw(&mut written, event.elapsed_ms).unwrap();
        }
        let rows = shown(&written);
        let failures = rows
            .iter()
            .filter(|row| row.contains("✗ k8s/shop/Deployment/cartservice"))
            .count();
        let bars = rows.iter().filter(|row| row.contains("3/8")).count();
        assert_eq!((failures, bars), (1, 1), "{rows:#?}");
        terminal.end(&mut written).unwrap();
        let rows = shown(&written);
        assert!(!rows.iter().any(|row| row.contains("3/8")), "{rows:#?}");
        assert!(
            rows.iter()
                .any(|row| row.contains("hint: stackup logs cartservice")),
            "{rows:#?}"
        );
    }

    #[test]
    fn a_picture_that_did_not_change_is_not_drawn_again() {
        let mut screen = Screen::default();
        let mut written = Vec::new();
        screen.draw(&mut written, "", vec!["a".into()], 80).unwrap();
        let once = written.len();
        screen.draw(&mut written, "", vec!["a".into()], 80).unwrap();
        assert_eq!(written.len(), once);
    }

    #[test]
    fn in_a_narrower_window_the_wrapped_rows_are_taken_away_too() {
        let mut screen = Screen::default();
        let mut written = Vec::new();
        screen
            .draw(&mut written, "", vec!["x".repeat(79), "short".into()], 80)
            .unwrap();
        written.clear();
        screen.draw(&mut written, "", vec!["y".into()], 40).unwrap();
        assert!(
            String::from_utf8(written)
                .unwrap()
                .starts_with("\u{1b}[?2026h\u{1b}[3A\r\u{1b}[2K")
        );
    }
}
