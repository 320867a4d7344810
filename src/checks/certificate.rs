use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

/// What a server's certificate promises.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Its DNS names; the first label of one may be `*`.
    pub(super) names: Vec<String>,
}

impl Certificate {
    /// Reads a value of a Secret: the base64 of PEM, in which a server's own certificate comes first.
    pub(super) fn read(encoded: &str) -> Option<Self> {
        let pem = STANDARD.decode(encoded).ok()?;
        let (_, pem) = parse_x509_pem(&pem).ok()?;
        let certificate = pem.parse_x509().ok()?;
        let validity = certificate.validity();
        let alternative = certificate.subject_alternative_name().ok().flatten();
        let names = alternative
            .into_iter()
            .flat_map(|names| &names.value.general_names);
        Some(Self {
            from: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            until: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
            names: names
                .filter_map(|name| {
                    if let GeneralName::DNSName(name) = name {
                        Some((*name).to_owned())
                    } else {
                        None
                    }
                })
                .collect(),
        })
    }

    /// Whether it is for a host, as RFC 6125 reads its names: `*` stands for one whole label.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        let is = |name: &String| match name.strip_prefix("*.") {
            Some(rest) => parent.is_some_and(|parent| parent.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(host),
        };
        self.names.iter().any(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_whole_and_a_star_is_one_label() {
        let of = |name: &str| Certificate {
            from: Timestamp::MIN,
            until: Timestamp::MAX,
            names: vec![name.to_owned()],
        };
        assert!(of("op.m.svc").is_for("op.m.svc") && of("*.m.svc").is_for("op.m.svc"));
        assert!(!of("op.m").is_for("op.m.svc") && !of("*.svc").is_for("op.m.svc"));
    }
}
