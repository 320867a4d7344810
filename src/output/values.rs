use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::{Style, Tone, text::width};
use crate::model::Shown;

/// How many lines of one field's difference are shown before the rest is only counted.
const FOLD: usize = 10;

/// How a value reads on one line.
pub(super) fn value_text(style: &Style, shown: &Shown) -> String {
    match shown {
        Shown::Absent => "(absent)".to_owned(),
        Shown::Value(value) => style.clean(&value.to_string()),
        Shown::Secret(mark) => format!("(secret {}{mark})", style.ellipsis()),
        Shown::KnownAfter(address) => format!("(known after {address})"),
    }
}

/// How a change reads: one line `old → new` if that fits into `room` columns, else several lines.
pub(super) fn change_lines(style: &Style, old: &Shown, new: &Shown, room: usize, full: bool) -> Vec<String> {
    let (before, after) = (value_text(style, old), value_text(style, new));
    let arrow = style.arrow();
    let structured = multi_line(old) || multi_line(new);
    if !structured && width(&before) + width(&after) + width(arrow) + 2 <= room {
        let (before, after) = (side(style, old, &before), side(style, new, &after));
        return vec![format!("{before} {arrow} {after}")];
    }
    let (before, after) = (lines_of(style, old), lines_of(style, new));
    let shown = differing(style, &before, &after);
    let limit = if full { usize::MAX } else { FOLD };
    let hidden = shown.len().saturating_sub(limit);
    let mut lines: Vec<String> = shown
        .into_iter()
        .take(limit)
        .map(|(tone, line)| {
            let line = if full { line } else { style.fit(&line, room) };
            style.paint(tone, &line)
        })
        .collect();
    if hidden > 0 {
        lines.push(style.paint(Tone::Quiet, &format!("{} {hidden} more lines", style.ellipsis())));
    }
    lines
}

fn side(style: &Style, shown: &Shown, text: &str) -> String {
    match shown {
        Shown::Value(_) => text.to_owned(),
        Shown::Absent | Shown::Secret(_) | Shown::KnownAfter(_) => style.paint(Tone::Quiet, text),
    }
}

/// Whether a value is better read over several lines.
fn multi_line(shown: &Shown) -> bool {
    match shown {
        Shown::Value(Value::String(text)) => text.trim_end().contains('\n'),
        Shown::Value(
            Value::Array(_) | Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_),
        )
        | Shown::Absent
        | Shown::Secret(_)
        | Shown::KnownAfter(_) => false,
    }
}

/// A value over as many lines as it has: text as it is, objects indented.
fn lines_of(style: &Style, shown: &Shown) -> String {
    let text = match shown {
        Shown::Absent => String::new(),
        Shown::Value(Value::String(text)) if multi_line(shown) => style.clean(text),
        Shown::Value(value @ (Value::Array(_) | Value::Object(_))) => {
            style.clean(&serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string()))
        }
        Shown::Value(_) | Shown::Secret(_) | Shown::KnownAfter(_) => value_text(style, shown),
    };
    if text.is_empty() || text.ends_with('\n') {
        text
    } else {
        text + "\n"
    }
}

/// The lines that differ, with one line around them.
fn differing(style: &Style, before: &str, after: &str) -> Vec<(Tone, String)> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(1) {
        if !lines.is_empty() {
            lines.push((Tone::Quiet, format!("  {}", style.ellipsis())));
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let (tone, sign) = match change.tag() {
                ChangeTag::Delete => (Tone::Bad, '-'),
                ChangeTag::Insert => (Tone::Good, '+'),
                ChangeTag::Equal => (Tone::Quiet, ' '),
            };
            lines.push((tone, format!("{sign} {}", change.value().trim_end_matches('\n'))));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::Address;

    fn lines(old: &Shown, new: &Shown, full: bool) -> Vec<String> {
        change_lines(&Style::plain(60), old, new, 40, full)
    }

    fn value(value: Value) -> Shown {
        Shown::Value(value)
    }

    #[test]
    fn short_values_stand_on_one_line() {
        assert_eq!(lines(&value(json!(1)), &value(json!(3)), false), ["1 -> 3"]);
        assert_eq!(
            lines(&Shown::Absent, &value(json!("a b")), false),
            ["(absent) -> \"a b\""]
        );
        let after = Shown::KnownAfter(Address::new("aws.vpc", "main"));
        assert_eq!(
            lines(&value(json!(true)), &after, false),
            ["true -> (known after aws.vpc/main)"]
        );
    }

    #[test]
    fn a_secret_shows_its_mark_and_nothing_else() {
        let lines = lines(&Shown::Secret("1".into()), &Shown::Secret("2".into()), true);
        assert_eq!(lines, ["(secret ...1) -> (secret ...2)"]);
    }

    #[test]
    fn text_of_many_lines_shows_only_what_differs() {
        let old = value(json!(
            "global:\n  interval: 30s\n  timeout: 10s\nrules: []\nend\n"
        ));
        let new = value(json!(
            "global:\n  interval: 15s\n  timeout: 10s\nrules: []\nend\n"
        ));
        assert_eq!(
            lines(&old, &new, false),
            [
                "  global:",
                "-   interval: 30s",
                "+   interval: 15s",
                "    timeout: 10s"
            ]
        );
    }

    #[test]
    fn long_differences_fold_and_full_shows_them() {
        let new = value(json!(
            (0..30)
                .map(|line| format!("line {line}"))
                .collect::<Vec<_>>()
                .join(
                    "
"
                )
        ));
        let folded = lines(&Shown::Absent, &new, false);
        assert_eq!((folded.len(), folded[10].as_str()), (11, "... 20 more lines"));
        assert_eq!(lines(&Shown::Absent, &new, true).len(), 30);
    }

    #[test]
    fn long_single_values_are_cut_unless_full() {
        let old = value(json!("x".repeat(100)));
        let folded = lines(&old, &value(json!("y")), false);
        assert!(folded.iter().all(|line| line.len() <= 40), "{folded:?}");
        assert!(lines(&old, &value(json!("y")), true)[0].contains(&"x".repeat(100)));
    }

    #[test]
    fn values_from_a_cluster_cannot_carry_escape_sequences() {
        let hostile = value(json!("\u{1b}[2Ja\nb\u{7}"));
        assert!(
            lines(&hostile, &Shown::Absent, true)
                .iter()
                .all(|line| !line.contains(char::is_control))
        );
    }
}
