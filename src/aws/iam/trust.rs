use serde_json::{Value, json};

/// Who may take a role of this service, as IAM takes it. Services other than machines say for which cluster they do.
pub(super) fn document(service: &str) -> Value {
    let actions = if service.starts_with("ec2.") {
        json!("sts:AssumeRole")
    } else {
        json!(["sts:AssumeRole", "sts:TagSession"])
    };
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": actions}],
    })
}

/// The service whose document this is, as IAM gives it; any other document as it is.
pub(super) fn service(encoded: &str) -> String {
    let text = decoded(encoded);
    let live: Value = serde_json::from_str(&text).unwrap_or_default();
    let service = live
        .pointer("/Statement/0/Principal/Service")
        .and_then(Value::as_str);
    match service {
        Some(service) if document(service) == live => service.to_owned(),
        Some(_) | None => text,
    }
}

/// A text without the percent signs of a URL.
fn decoded(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        if let Some(Ok(code)) = part.get(..2).map(|digits| u8::from_str_radix(digits, 16)) {
            bytes.push(code);
            bytes.extend(part.bytes().skip(2));
        } else {
            bytes.push(b'%');
            bytes.extend(part.bytes());
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_tells_its_service_and_a_changed_one_is_shown_whole() {
        for name in ["eks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com"] {
            let written = document(name).to_string();
            assert_eq!(service(&written), name);
            let encoded = written
                .replace('{', "%7B")
                .replace('"', "%22")
                .replace('}', "%7d");
            assert_eq!(service(&encoded), name);
        }
        let wider = document("eks.amazonaws.com")
            .to_string()
            .replace("eks.", "lambda.");
        assert_eq!(service(&wider), "lambda.amazonaws.com");
        let everyone = wider.replace(r#"{"Service":"lambda.amazonaws.com"}"#, r#""*""#);
        assert_eq!(service(&everyone), everyone);
    }

    #[test]
    fn machines_do_not_tag_their_sessions_and_services_do() {
        assert!(!document("ec2.amazonaws.com").to_string().contains("TagSession"));
        assert!(
            document("pods.eks.amazonaws.com")
                .to_string()
                .contains("TagSession")
        );
    }

    #[test]
    fn a_percent_sign_that_encodes_nothing_stays() {
        assert_eq!(decoded("100% %2 %zz %41"), "100% %2 %zz A");
    }
}
