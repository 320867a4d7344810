use std::collections::BTreeMap;

use super::{
    Style,
    text::{put, width},
};
use crate::model::Address;

/// How many lines of names one group may take before the rest is only counted.
const FOLD: usize = 2;

/// Lists addresses compactly: those that differ only in the last part share a line.
///
/// ```text
///   + k8s/shop/Deployment/   adservice, cartservice, checkoutservice
/// ```
pub(super) fn listing<'a>(
    out: &mut String,
    style: &Style,
    lead: &str,
    addresses: impl IntoIterator<Item = &'a Address>,
    full: bool,
) {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for address in addresses {
        let text = address.as_str();
        let (group, name) = text.rfind('/').map_or(("", text), |at| text.split_at(at + 1));
        groups.entry(group).or_default().push(name);
    }
    let shared = groups.iter().filter(|(_, names)| names.len() > 1);
    let column = shared
        .map(|(group, _)| width(group))
        .max()
        .unwrap_or(0)
        .min(style.width / 2);
    let indent = width(lead);
    for (group, names) in &groups {
        let (Some(first), true) = (names.first(), names.len() > 1) else {
            put(out, &format!("{lead}{group}{}", names.join("")));
            continue;
        };
        let room = style.width.saturating_sub(indent + column + 2).max(20);
        let mut lines = vec![(*first).to_owned()];
        let mut hidden = 0;
        for name in names.iter().skip(1) {
            let lines_so_far = lines.len();
            let Some(line) = lines.last_mut() else { continue };
            // The last line before a fold leaves room for the count of what is hidden.
            let reserve = if !full && lines_so_far == FOLD { 12 } else { 1 };
            if hidden == 0 && width(line) + 2 + width(name) + reserve <= room {
                line.push_str(", ");
                line.push_str(name);
            } else if full || lines_so_far < FOLD {
                line.push(',');
                lines.push((*name).to_owned());
            } else {
                hidden += 1;
            }
        }
        if let (Some(line), true) = (lines.last_mut(), hidden > 0) {
            let rest = format!("{} {hidden} more", style.ellipsis());
            line.push(',');
            if width(line) + 1 + width(&rest) <= room {
                line.push(' ');
                line.push_str(&rest);
            } else {
                lines.push(rest);
            }
        }
        let mut lines = lines.iter();
        if width(group) > column {
            put(out, &format!("{lead}{group}"));
        } else if let Some(line) = lines.next() {
            let gap = " ".repeat(column - width(group) + 2);
            put(out, &format!("{lead}{group}{gap}{line}"));
        }
        for line in lines {
            put(out, &format!("{}{line}", " ".repeat(indent + column + 2)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(count: usize, full: bool) -> String {
        let addresses: Vec<Address> = (0..count)
            .map(|number| Address::new("k8s", &format!("shop/Deployment/service-{number:02}")))
            .chain([Address::new("kind.cluster", "demo")])
            .collect();
        let mut out = String::new();
        listing(&mut out, &Style::plain(60), "  + ", &addresses, full);
        out
    }

    #[test]
    fn names_that_share_a_prefix_share_lines_and_fold() {
        assert_eq!(
            list(9, false),
            "  + k8s/shop/Deployment/  service-00, service-01,\n\
             \u{20}                         service-02, service-03, ... 5 more\n\
             \u{20} + kind.cluster/demo\n"
        );
    }

    #[test]
    fn a_count_that_has_no_room_beside_a_long_name_gets_a_line_of_its_own() {
        let addresses: Vec<Address> = (0..4)
            .map(|number| {
                Address::new(
                    "k8s",
                    &format!("shop/Deployment/a-name-of-thirty-characters-{number:02}"),
                )
            })
            .collect();
        let mut out = String::new();
        listing(&mut out, &Style::plain(60), "  + ", &addresses, false);
        assert_eq!(
            out,
            "  + k8s/shop/Deployment/  a-name-of-thirty-characters-00,\n\
             \u{20}                         a-name-of-thirty-characters-01,\n\
             \u{20}                         ... 2 more\n"
        );
    }

    #[test]
    fn full_hides_nothing() {
        let text = list(30, true);
        assert!(
            (0..30).all(|number| text.contains(&format!("service-{number:02}"))),
            "{text}"
        );
        assert!(text.lines().all(|line| line.len() <= 60), "{text}");
    }
}
