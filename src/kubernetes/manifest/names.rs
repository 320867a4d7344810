/// What is wrong with a name, if anything is.
pub(super) fn fault(group: &str, kind: &str, name: &str) -> Option<&'static str> {
    let valid = match (group, kind) {
        // They allow `system:node` and the like.
        ("rbac.authorization.k8s.io" | "certificates.k8s.io", _) => {
            return (matches!(name, "." | "..") || name.contains(['/', '%']))
                .then_some("may not be '.' or '..' and may not hold '/' or '%'");
        }
        ("", "Namespace") => return label_fault(name),
        ("", "Service") => {
            name.len() <= 63 && is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
        }
        _ => name.len() <= 253 && name.split('.').all(is_label),
    };
    match (valid, kind) {
        (true, _) => None,
        (false, "Service") => {
            Some("may hold lower-case letters, digits and dashes, begins with a letter, at most 63")
        }
        (false, _) => Some(
            "may hold lower-case letters, digits, dashes and dots, begins and ends with a letter or digit, at most 253",
        ),
    }
}

/// What is wrong with the name of a namespace, if anything is.
pub(super) fn label_fault(name: &str) -> Option<&'static str> {
    (name.len() > 63 || !is_label(name)).then_some(
        "may hold lower-case letters, digits and dashes, begins and ends with a letter or digit, at most 63",
    )
}

fn is_label(part: &str) -> bool {
    !part.is_empty()
        && !part.starts_with('-')
        && !part.ends_with('-')
        && part
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// The known name that was most likely meant.
pub(super) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_their_kind() {
        for (group, kind, name, valid) in [
            ("", "ConfigMap", "a.b-c", true),
            ("", "ConfigMap", "A", false),
            ("", "ConfigMap", "a_b", false),
            ("", "ConfigMap", "a..b", false),
            ("", "ConfigMap", &*"a".repeat(254), false),
            ("", "Service", "a.b", false),
            ("", "Service", "1a", false),
            ("", "Service", "a1", true),
            ("", "Namespace", "a.b", false),
            ("rbac.authorization.k8s.io", "ClusterRole", "system:Node", true),
            ("rbac.authorization.k8s.io", "ClusterRole", "a/b", false),
            ("example.com", "Widget", "-a", false),
        ] {
            assert_eq!(fault(group, kind, name).is_none(), valid, "{kind} {name}");
        }
    }

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_stranger_is_not() {
        assert_eq!(
            closest(
                "prometheus.retentoin",
                ["grafana.enabled", "prometheus.retention"]
            ),
            Some("prometheus.retention")
        );
        assert_eq!(closest("zzz", ["grafana.enabled"]), None);
    }
}
