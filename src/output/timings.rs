use std::time::Duration;

use super::{
    Style, Tone,
    style::precise,
    text::{pad, put, width},
};
use crate::model::Link;

/// Which chain of resources made a run as long as it was: one line a link, and how much of the whole it is.
pub fn timings_text(path: &[Link], style: &Style) -> String {
    let total: u64 = path.iter().map(|link| link.took_ms).sum();
    let mut out = String::new();
    if total == 0 {
        return out;
    }
    let heading = format!("What took its time ({})", precise(Duration::from_millis(total)));
    put(&mut out, &style.paint(Tone::Strong, &heading));
    // What took less than a hundredth explains nothing.
    let told: Vec<(String, &Link)> = path
        .iter()
        .filter(|link| link.took_ms * 100 >= total)
        .map(|link| (precise(Duration::from_millis(link.took_ms)), link))
        .collect();
    let column = told.iter().map(|(took, _)| width(took)).max().unwrap_or_default();
    for (took, link) in &told {
        let percent = link.took_ms * 100 / total;
        let room = style.width.saturating_sub(column + 10);
        put(
            &mut out,
            &format!(
                "  {}  {percent:>3}%  {}",
                pad(took, column),
                style.fit_middle(link.address.as_str(), room)
            ),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Address;

    #[test]
    fn each_link_tells_its_time_and_its_share_and_trifles_are_left_out() {
        let link = |name: &str, took_ms| Link {
            address: Address::new("aws.eks", name),
            took_ms,
        };
        let path = [link("role", 900), link("cluster", 540_000), link("nodes", 59_100)];
        assert_eq!(
            timings_text(&path, &Style::plain(80)),
            "What took its time (10m00s)\n  9m00s   90%  aws.eks/cluster\n  59.1s    9%  aws.eks/nodes\n"
        );
        assert_eq!(timings_text(&[], &Style::plain(80)), "");
    }
}
