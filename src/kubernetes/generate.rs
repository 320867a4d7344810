use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

use super::clock::now;
use crate::resource::ResourceError;

const DAY: i64 = 24 * 3600;
/// The authority signs once and its key is thrown away, so it only has to outlive what it signed.
const AUTHORITY_DAYS: i64 = 3650;
const CERTIFICATE_DAYS: i64 = 365;
/// With fewer days left a certificate is made anew.
const RENEW_DAYS: i64 = 30;
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// What stackup makes for a Secret when it makes the Secret; afterwards the live values stay.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Generate {
    /// A server certificate and the authority that signed it.
    #[serde(rename_all = "camelCase")]
    Certificate { dns_names: Vec<String>, keys: Keys },
    /// Random letters and digits.
    Password { key: String, length: usize },
}

/// Under which keys of the Secret the parts go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Keys {
    ca: String,
    certificate: String,
    private_key: String,
}

impl Generate {
    fn keys(&self) -> Vec<&str> {
        match self {
            Self::Certificate { keys, .. } => vec![&keys.ca, &keys.certificate, &keys.private_key],
            Self::Password { key, .. } => vec![key],
        }
    }

    /// Puts the live values into what is sent, or new ones where there are none or they are used up.
    pub(super) fn fill(&self, object: &mut Value, live: Option<&Value>) -> Result<(), ResourceError> {
        let values = match live {
            Some(live) if !self.is_due(live) => self
                .keys()
                .into_iter()
                .filter_map(|key| Some((key.to_owned(), live.pointer("/data")?.get(key)?.clone())))
                .collect(),
            _ => self.new_values()?,
        };
        let Value::Object(fields) = object else {
            return Ok(());
        };
        let data = fields.entry("data").or_insert_with(|| json!({}));
        if data.is_null() {
            *data = json!({});
        }
        if let Value::Object(data) = data {
            data.extend(values);
        }
        Ok(())
    }

    /// Whether the live values are missing, used up, or not for the names that are wanted.
    pub(super) fn is_due(&self, live: &Value) -> bool {
        let value = |key: &str| {
            live.pointer("/data")
                .and_then(|data| data.get(key))
                .and_then(Value::as_str)
        };
        if self.keys().iter().any(|key| value(key).is_none_or(str::is_empty)) {
            return true;
        }
        match self {
            Self::Password { .. } => false,
            Self::Certificate { dns_names, keys } => value(&keys.certificate)
                .and_then(|text| STANDARD.decode(text).ok())
                .is_none_or(|pem| !serves(&pem, dns_names)),
        }
    }

    /// The authority's certificate in a live Secret, as it stands there: base64 of PEM.
    pub(super) fn ca<'a>(&self, live: &'a Value) -> Option<&'a str> {
        match self {
            Self::Certificate { keys, .. } => live.pointer("/data")?.get(&keys.ca)?.as_str(),
            Self::Password { .. } => None,
        }
    }

    fn new_values(&self) -> Result<Vec<(String, Value)>, ResourceError> {
        let base64 = |text: &str| Value::String(STANDARD.encode(text));
        Ok(match self {
            Self::Certificate { dns_names, keys } => {
                let made = certificate(dns_names).map_err(|error| {
                    ResourceError::permanent(format!(
                        "a certificate for {} cannot be made: {error}",
                        dns_names.join(", ")
                    ))
                })?;
                vec![
                    (keys.ca.clone(), base64(&made.ca)),
                    (keys.certificate.clone(), base64(&made.certificate)),
                    (keys.private_key.clone(), base64(&made.private_key)),
                ]
            }
            Self::Password { key, length } => vec![(key.clone(), base64(&password(*length)?))],
        })
    }
}

struct Made {
    ca: String,
    certificate: String,
    private_key: String,
}

fn certificate(dns_names: &[String]) -> Result<Made, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "stackup authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut authority, AUTHORITY_DAYS);
    let ca = authority.self_signed(&authority_key)?.pem();

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(dns_names)?;
    let name = dns_names.first().map_or("stackup", String::as_str);
    // A common name holds 64 characters at most; the names that count are the alternative ones.
    server
        .distinguished_name
        .push(DnType::CommonName, name.chars().take(64).collect::<String>());
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    valid_for(&mut server, CERTIFICATE_DAYS);
    let certificate = server
        .signed_by(&key, &Issuer::new(authority, authority_key))?
        .pem();
    Ok(Made {
        ca,
        certificate,
        private_key: key.serialize_pem(),
    })
}

/// Year, month and day that is so many days from now.
fn date(days: i64) -> (i32, u8, u8) {
    let seconds = now().as_second() + days * DAY;
    let date = jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::MAX)
        .to_zoned(jiff::tz::TimeZone::UTC)
        .date();
    let part = |number: i8| u8::try_from(number).unwrap_or(1);
    (i32::from(date.year()), part(date.month()), part(date.day()))
}

/// From yesterday, for clocks that are slow, until so many days from now.
fn valid_for(params: &mut CertificateParams, days: i64) {
    let (year, month, day) = date(-1);
    params.not_before = date_time_ymd(year, month, day);
    let (year, month, day) = date(days);
    params.not_after = date_time_ymd(year, month, day);
}

/// Whether a certificate will do for these names for a while yet.
fn serves(pem: &[u8], dns_names: &[String]) -> bool {
    let Ok((_, pem)) = parse_x509_pem(pem) else {
        return false;
    };
    let Ok(certificate) = pem.parse_x509() else {
        return false;
    };
    let left = certificate.validity().not_after.timestamp() - now().as_second();
    let named: Vec<&str> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| {
            if let GeneralName::DNSName(name) = name {
                Some(*name)
            } else {
                None
            }
        })
        .collect();
    left > RENEW_DAYS * DAY && dns_names.iter().all(|name| named.contains(&name.as_str()))
}

fn password(length: usize) -> Result<String, ResourceError> {
    let random = SystemRandom::new();
    let mut letters = String::with_capacity(length);
    let mut bytes = [0; 64];
    while letters.len() < length {
        random.fill(&mut bytes).map_err(|error| {
            ResourceError::permanent(format!("the system has no random numbers: {error}"))
        })?;
        // Bytes beyond a multiple of 62 are left out, so that no letter is likelier than another.
        let even = bytes.iter().filter(|byte| **byte < 248);
        letters.extend(even.filter_map(|byte| LETTERS.get(usize::from(byte % 62)).copied().map(char::from)));
    }
    letters.truncate(length);
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(names: &[&str]) -> Generate {
        let keys = json!({"ca": "ca.crt", "certificate": "tls.crt", "privateKey": "tls.key"});
        serde_json::from_value(json!({"certificate": {"dnsNames": names, "keys": keys}})).unwrap()
    }

    #[test]
    fn a_certificate_is_for_its_names_and_signed_by_its_authority() {
        let generate = webhook(&["op.monitoring.svc", "op.monitoring.svc.cluster.local"]);
        let mut secret = json!({"kind": "Secret"});
        generate.fill(&mut secret, None).unwrap();
        assert!(!generate.is_due(&secret));
        let pem = |key: &str| STANDARD.decode(secret["data"][key].as_str().unwrap()).unwrap();
        let (ca, leaf) = (pem("ca.crt"), pem("tls.crt"));
        let (_, ca) = parse_x509_pem(&ca).unwrap();
        let (_, leaf) = parse_x509_pem(&leaf).unwrap();
        let (ca, leaf) = (ca.parse_x509().unwrap(), leaf.parse_x509().unwrap());
        assert!(ca.is_ca() && !leaf.is_ca());
        assert_eq!(leaf.issuer(), ca.subject());
        let days = |certificate: &x509_parser::certificate::X509Certificate<'_>| {
            let validity = certificate.validity();
            (validity.not_after.timestamp() - validity.not_before.timestamp()) / DAY
        };
        assert_eq!(
            (days(&ca), days(&leaf)),
            (AUTHORITY_DAYS + 1, CERTIFICATE_DAYS + 1)
        );
        assert_eq!(generate.ca(&secret), secret["data"]["ca.crt"].as_str());
    }

    #[test]
    fn live_values_stay_and_other_names_make_new_ones() {
        let generate = webhook(&["a.svc"]);
        let mut live = json!({"kind": "Secret"});
        generate.fill(&mut live, None).unwrap();
        let mut again = json!({"kind": "Secret"});
        generate.fill(&mut again, Some(&live)).unwrap();
        assert_eq!(again, live);
        assert!(webhook(&["a.svc", "b.svc"]).is_due(&live));
        live["data"]["tls.crt"] = json!("bm90IGEgY2VydGlmaWNhdGU=");
        assert!(generate.is_due(&live));
    }

    #[test]
    fn a_certificate_with_few_days_left_is_due() {
        let key = KeyPair::generate().unwrap();
        let pem_with = |days: i64| {
            let mut params = CertificateParams::new(vec!["a.svc".to_owned()]).unwrap();
            valid_for(&mut params, days);
            params.self_signed(&key).unwrap().pem()
        };
        let names = ["a.svc".to_owned()];
        assert!(serves(pem_with(RENEW_DAYS + 2).as_bytes(), &names));
        assert!(!serves(pem_with(RENEW_DAYS - 2).as_bytes(), &names));
    }

    #[test]
    fn a_password_has_its_length_and_is_another_each_time() {
        let generate: Generate =
            serde_json::from_value(json!({"password": {"key": "p", "length": 100}})).unwrap();
        let mut one = json!({"kind": "Secret", "data": {"user": "YWRtaW4="}});
        let mut other = json!({"kind": "Secret"});
        generate.fill(&mut one, None).unwrap();
        generate.fill(&mut other, None).unwrap();
        assert_ne!(one["data"]["p"], other["data"]["p"]);
        assert_eq!(one["data"]["user"], "YWRtaW4=");
        let text = STANDARD.decode(one["data"]["p"].as_str().unwrap()).unwrap();
        assert!(text.len() == 100 && text.iter().all(u8::is_ascii_alphanumeric));
        assert!(!generate.is_due(&one));
    }
}
