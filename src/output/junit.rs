use super::{Verified, verify::level_word};
use crate::model::{CheckState, Finding, VerifySummary};

/// The verification as `JUnit` XML: one suite an area, one case a check.
///
/// A warning is a passed case that says so in its output; what was not asked or is blocked is a skipped case.
pub fn verify_junit(verified: &Verified<'_>) -> String {
    let summary = VerifySummary::of(verified.findings);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    line(
        &mut out,
        &format!(
            "<testsuites name=\"stackup verify {} ({})\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{:.3}\">",
            escape(verified.stack),
            level_word(verified.level),
            verified.findings.len(),
            summary.fail,
            summary.skip + summary.blocked,
            verified.took.as_secs_f64(),
        ),
    );
    for (area, findings) in verified.areas() {
        let count = |states: &[CheckState]| findings.iter().filter(|f| states.contains(&f.state)).count();
        line(
            &mut out,
            &format!(
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\">",
                escape(area),
                findings.len(),
                count(&[CheckState::Fail]),
                count(&[CheckState::Skip, CheckState::Blocked]),
            ),
        );
        for finding in findings {
            case(&mut out, finding);
        }
        line(&mut out, "  </testsuite>");
    }
    line(&mut out, "</testsuites>");
    out
}

fn case(out: &mut String, finding: &Finding) {
    let name = escape(&format!("{}: {}", finding.id, finding.title));
    let open = format!(
        "    <testcase classname=\"stackup.verify.{}\" name=\"{name}\"",
        escape(&finding.area)
    );
    match finding.state {
        CheckState::Pass => line(out, &format!("{open}/>")),
        CheckState::Warn => {
            line(out, &format!("{open}>"));
            line(
                out,
                &format!("      <system-out>{}</system-out>", escape(&evidence(finding))),
            );
            line(out, "    </testcase>");
        }
        CheckState::Fail => {
            let (message, evidence) = (escape(&finding.observed), escape(&evidence(finding)));
            line(out, &format!("{open}>"));
            line(
                out,
                &format!("      <failure message=\"{message}\" type=\"check\">{evidence}</failure>"),
            );
            line(out, "    </testcase>");
        }
        CheckState::Skip | CheckState::Blocked => {
            let why = match &finding.blocked_by {
                Some(cause) => format!("blocked by {cause}"),
                None => finding.observed.clone(),
            };
            line(out, &format!("{open}>"));
            line(out, &format!("      <skipped message=\"{}\"/>", escape(&why)));
            line(out, "    </testcase>");
        }
    }
}

fn evidence(finding: &Finding) -> String {
    let rows = [
        ("observed", Some(finding.observed.as_str())),
        ("expected", Some(finding.expected.as_str())),
        ("read", Some(finding.source.as_str())),
        ("hint", finding.hint.as_deref()),
        ("fix", finding.fix.as_deref()),
    ];
    let told = rows
        .into_iter()
        .filter_map(|(label, value)| Some((label, value?)));
    let lines: Vec<String> = told
        .filter(|(_, value)| !value.is_empty())
        .map(|(label, value)| format!("{label}: {value}"))
        .collect();
    lines.join("\n")
}

/// Text as XML may hold it, in an attribute or an element: what XML 1.0 does not allow at all becomes `?`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::verify::tests::{findings, verified};

    #[test]
    fn a_verification_reads_as_junit() {
        let findings = findings();
        insta::assert_snapshot!(verify_junit(&verified(&findings)), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="stackup verify demo (standard)" tests="5" failures="1" skipped="2" errors="0" time="18.230">
          <testsuite name="operator" tests="1" failures="0" skipped="0" errors="0">
            <testcase classname="stackup.verify.operator" name="operator.ready: Deployment prometheus-operator is available"/>
          </testsuite>
          <testsuite name="prometheus" tests="3" failures="1" skipped="1" errors="0">
            <testcase classname="stackup.verify.prometheus" name="prometheus.targets: every selected ServiceMonitor has a live target">
              <failure message="serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics &lt;&quot;connection refused&quot;&gt;" type="check">observed: serviceMonitor/shop/redis/0 http://10.244.1.7:9121/metrics &lt;&quot;connection refused&quot;&gt;&#10;expected: every target up&#10;read: GET /api/v1/targets?state=active&#10;hint: The pod answers on no port 9121; its container listens on 9122.&#10;fix: kubectl -n shop edit service redis-exporter</failure>
            </testcase>
            <testcase classname="stackup.verify.prometheus" name="prometheus.gaps: no series has gaps">
              <system-out>observed: 2 gaps of 30s&#10;expected: no gap in the last hour&#10;read: GET /api/v1/targets?state=active</system-out>
            </testcase>
            <testcase classname="stackup.verify.prometheus" name="prometheus.rules: all rules are healthy">
              <skipped message="blocked by prometheus.targets"/>
            </testcase>
          </testsuite>
          <testsuite name="grafana" tests="1" failures="0" skipped="1" errors="0">
            <testcase classname="stackup.verify.grafana" name="grafana.dashboards: all dashboards are loaded">
              <skipped message="no right to list ConfigMaps"/>
            </testcase>
          </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn what_was_observed_cannot_break_the_document() {
        let mut findings = findings();
        findings[1].observed = "]]> </failure> \" & \u{1b}[2J \u{0} \u{ffff}\nnext".to_owned();
        findings[1].title = "<a>&\"".to_owned();
        let text = verify_junit(&verified(&findings));
        assert_eq!(well_formed(&text), Ok(()));
        assert!(!text.contains(['\u{1b}', '\u{0}', '\u{ffff}']), "{text}");
        assert!(well_formed("<a><b></a>").is_err() && well_formed("<a x=\"<\"/>").is_err());
    }

    /// Checks that tags are nested, and that no bare markup is in text or attributes.
    fn well_formed(xml: &str) -> Result<(), String> {
        let mut open: Vec<String> = Vec::new();
        let mut rest = xml;
        while let Some(start) = rest.find('<') {
            let text = &rest[..start];
            if text.contains('>') || text.split('&').skip(1).any(|entity| !entity.contains(';')) {
                return Err(format!("bare markup in {text:?}"));
            }
            let end = rest[start..].find('>').ok_or("a tag without end")? + start;
            let tag = &rest[start + 1..end];
            if tag.contains('<') || !tag.matches('"').count().is_multiple_of(2) {
                return Err(format!("bare markup in {tag:?}"));
            }
            let name = tag
                .split_whitespace()
                .next()
                .unwrap_or("")
                .trim_end_matches('/')
                .to_owned();
            if let Some(closed) = tag.strip_prefix('/') {
                if open.pop().as_deref() != Some(closed) {
                    return Err(format!("{closed} closes what is not open"));
                }
            } else if !tag.ends_with('/') && !tag.starts_with('?') {
                open.push(name);
            }
            rest = &rest[end + 1..];
        }
        if open.is_empty() {
            Ok(())
        } else {
            Err(format!("{open:?} stay open"))
        }
    }
}
