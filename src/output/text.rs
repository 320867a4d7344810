use super::Style;

/// How many columns a text takes; colours take none.
pub(super) fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

/// Fills up with spaces to `columns`.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

impl Style {
    /// Text from outside made harmless: no escape sequences, no control characters but newlines; ASCII if asked for.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut cleaned = String::with_capacity(text.len());
        for character in console::strip_ansi_codes(text).chars() {
            match character {
                '\n' => cleaned.push('\n'),
                '\t' => cleaned.push_str("  "),
                '\r' => {}
                c if c.is_control() || is_reordering(c) => {
                    cleaned.extend(c.escape_unicode());
                }
                c if self.unicode || c.is_ascii() => cleaned.push(c),
                '→' => cleaned.push_str("->"),
                '…' => cleaned.push_str("..."),
                '–' | '—' | '‑' => cleaned.push('-'),
                '·' | '•' => cleaned.push('*'),
                '“' | '”' | '„' => cleaned.push('"'),
                '‘' | '’' => cleaned.push('\''),
                '×' => cleaned.push('x'),
                '≥' => cleaned.push_str(">="),
                '≤' => cleaned.push_str("<="),
                c => cleaned.extend(c.escape_unicode()),
            }
        }
        cleaned
    }

    /// Cleaned, and on one line: newlines and the spaces around them become one space.
    pub(super) fn one_line(&self, text: &str) -> String {
        let cleaned = self.clean(text);
        let lines: Vec<&str> = cleaned
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        lines.join(" ")
    }

    /// Cut at the end to at most `columns`.
    pub(super) fn fit(&self, text: &str, columns: usize) -> String {
        console::truncate_str(text, columns, self.ellipsis()).into_owned()
    }

    /// Cut in the middle to at most `columns`: both ends of an address tell something. The domain of a name goes first,
    /// as many names have the same.
    pub(super) fn fit_middle(&self, text: &str, columns: usize) -> String {
        let cut = self.ellipsis();
        if width(text) <= columns || columns <= cut.len() + 2 {
            return self.fit(text, columns);
        }
        let name = text.rfind('/').map_or(0, |slash| slash + 1);
        let label = text.split_at(name).1.find('.').unwrap_or(text.len() - name);
        let (text, domain) = text.split_at(name + label);
        let text = format!("{text}{}", if domain.is_empty() { "" } else { cut });
        if width(&text) <= columns {
            return text;
        }
        let characters: Vec<char> = text.chars().collect();
        let room = columns - width(cut);
        let tail = room * 2 / 3;
        let head: String = characters.iter().take(room - tail).collect();
        let tail: String = characters
            .iter()
            .skip(characters.len().saturating_sub(tail))
            .collect();
        format!("{head}{cut}{tail}")
    }

    /// Broken at spaces into lines of at most `columns`; a word that is longer than a line stays whole.
    pub fn wrap(&self, text: &str, columns: usize) -> Vec<String> {
        let columns = columns.max(20);
        let mut lines = Vec::new();
        for paragraph in self.clean(text).lines() {
            let mut line = String::new();
            for word in paragraph.split_whitespace() {
                if !line.is_empty() && width(&line) + 1 + width(word) > columns {
                    lines.push(std::mem::take(&mut line));
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            lines.push(line);
        }
        lines
    }
}

/// Writes `label  text` with the text wrapped and hanging under its first line.
pub(super) fn hanging(
    out: &mut String,
    style: &Style,
    indent: usize,
    label: &str,
    label_width: usize,
    text: &str,
) {
    let start = indent + label_width;
    let wrapped = style.wrap(text, style.width.saturating_sub(start));
    for (number, line) in wrapped.iter().enumerate() {
        let lead = if number == 0 { label } else { "" };
        put(
            out,
            &format!("{}{}{line}", " ".repeat(indent), pad(lead, label_width)),
        );
    }
}

/// Appends a line, without spaces at its end.
pub(super) fn put(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Whether a character changes the order in which others are drawn, which could make one value look like another.
fn is_reordering(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const RICH: Style = Style {
        colour: false,
        unicode: true,
        width: 80,
    };

    #[test]
    fn text_from_outside_cannot_move_the_cursor_or_change_colours() {
        let hostile = "a\u{1b}[2Jb\u{1b}]0;title\u{7}c\rd\u{8}e\u{9b}f\u{202e}g";
        for style in [RICH, Style::plain(80)] {
            let shown = style.clean(hostile);
            assert!(
                !shown.chars().any(|c| c.is_control() || is_reordering(c)),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn without_unicode_everything_is_ascii_and_nothing_is_lost() {
        assert_eq!(Style::plain(80).clean("é → “x”…"), "\\u{e9} -> \"x\"...");
        assert_eq!(RICH.clean("é → “x”…"), "é → “x”…");
    }

    #[test]
    fn an_address_is_cut_in_the_middle() {
        let cut = RICH.fit_middle("k8s/monitoring/Deployment/monitoring-grafana", 30);
        assert_eq!(
            (cut.as_str(), width(&cut)),
            ("k8s/monito…/monitoring-grafana", 30)
        );
        assert_eq!(RICH.fit_middle("short", 30), "short");
        let definition = "k8s/CustomResourceDefinition/probes.monitoring.coreos.com";
        assert_eq!(RICH.fit_middle(definition, 60), definition);
        assert_eq!(
            RICH.fit_middle(definition, 40),
            "k8s/CustomResourceDefinition/probes…"
        );
        assert_eq!(RICH.fit_middle(definition, 30), "k8s/Custom…eDefinition/probes…");
    }

    #[test]
    fn long_text_is_broken_at_spaces_and_words_stay_whole() {
        let lines = RICH.wrap(
            "one two three four five six https://example.com/a/very/long/path seven",
            20,
        );
        assert_eq!(
            lines,
            [
                "one two three four",
                "five six",
                "https://example.com/a/very/long/path",
                "seven"
            ]
        );
    }
}
