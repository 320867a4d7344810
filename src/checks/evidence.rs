use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{
    check::Miss,
    object::{name, namespace, text},
};

/// All that the checks may know: collected once, then only read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Evidence {
    /// The stack's name.
    pub stack: String,
    /// `kind`, `kwok` or `existing`.
    pub profile: String,
    /// Whether nodes and pods only say that they run.
    pub simulated: bool,
    /// When it was collected: what has a date is judged by it, so that a dump says the same whenever it is read.
    pub at: Timestamp,
    /// What the cluster's resource told of itself.
    pub cluster: Value,
    /// The manifests that the stack comes to, after patches; values of Secrets are masked.
    pub applied: Arc<Vec<Value>>,
    /// The live objects by kind; values of Secrets are masked.
    pub objects: BTreeMap<String, Arc<Vec<Value>>>,
    /// What was answered, by `component:/path` and then by the pod, `namespace/name`, that answered it; of the API
    /// server by the empty one.
    pub http: BTreeMap<String, BTreeMap<String, Answer>>,
    /// What the credentials may not read: a kind, or `pods/portforward`.
    pub refused: BTreeSet<String>,
}

/// What a component answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// It answered.
    Response {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// It did not.
    Error {
        /// Why.
        error: String,
    },
}

impl Evidence {
    /// The live objects of a kind.
    pub(super) fn all(&self, kind: &str) -> &[Value] {
        self.objects.get(kind).map_or(&[], |all| all.as_slice())
    }

    /// One live object. Objects without namespace are found under the empty one.
    pub(super) fn find(&self, kind: &str, in_namespace: &str, named: &str) -> Option<&Value> {
        self.all(kind)
            .iter()
            .find(|object| name(object) == named && namespace(object) == in_namespace)
    }

    /// What the stack wants of a kind.
    pub(super) fn applied(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.applied
            .iter()
            .filter(move |object| text(object, "/kind") == kind)
    }

    /// What the stack wants of a kind, or the word that it wants none.
    pub(super) fn some_applied(&self, kind: &str) -> Result<Vec<&Value>, Miss> {
        let found: Vec<&Value> = self.applied(kind).collect();
        if found.is_empty() {
            return Err(Miss::skip(format!("the stack has no {kind}")));
        }
        Ok(found)
    }

    /// The live object that belongs to a wanted one.
    pub(super) fn live(&self, wanted: &Value) -> Option<&Value> {
        self.find(text(wanted, "/kind"), namespace(wanted), name(wanted))
    }

    /// The pods that were asked for any of these.
    pub(super) fn asked(&self, reads: &[&str]) -> BTreeSet<&str> {
        let answers = reads.iter().filter_map(|read| self.http.get(*read));
        answers.flat_map(|by| by.keys().map(String::as_str)).collect()
    }

    /// The same, of what was answered only what one pod answered to these.
    pub(super) fn of_pod(&self, pod: &str, reads: &[&str]) -> Self {
        let answer = |read: &&str| {
            let answer = self.http.get(*read)?.get(pod)?.clone();
            Some(((*read).to_owned(), [(pod.to_owned(), answer)].into()))
        };
        let http = reads.iter().filter_map(answer).collect();
        Self {
            stack: self.stack.clone(),
            profile: self.profile.clone(),
            simulated: self.simulated,
            at: self.at,
            cluster: self.cluster.clone(),
            applied: Arc::clone(&self.applied),
            objects: self.objects.clone(),
            http,
            refused: self.refused.clone(),
        }
    }

    /// What the one pod that was asked answered, with the pod. A check is given one at a time.
    pub(super) fn answer(&self, key: &str) -> Option<(&str, &Answer)> {
        let (pod, answer) = self.http.get(key)?.first_key_value()?;
        Some((pod, answer))
    }

    /// The body of a successful answer.
    pub(super) fn body(&self, key: &str) -> Result<&str, Miss> {
        match self.answer(key).map(|(_, answer)| answer) {
            Some(Answer::Response { status, body }) if (200..300).contains(status) => Ok(body),
            Some(Answer::Response { status, body }) => Err(Miss::fail(
                format!("status {status}: {}", excerpt(body)),
                "status 200",
            )),
            Some(Answer::Error { error }) => Err(Miss::fail(error, "an answer")),
            None => Err(Miss::fail("no pod that could be asked is ready", "an answer")),
        }
    }

    /// The JSON of a successful answer.
    pub(super) fn json(&self, key: &str) -> Result<Value, Miss> {
        let body = self.body(key)?;
        serde_json::from_str(body)
            .map_err(|error| Miss::fail(format!("no JSON ({error}): {}", excerpt(body)), "a JSON document"))
    }

    /// The samples of an instant query: labels and value.
    pub(super) fn samples(&self, key: &str) -> Result<Vec<(Value, f64)>, Miss> {
        let answer = self.json(key)?;
        let result = super::object::items(&answer, "/data/result").iter();
        Ok(result
            .map(|sample| {
                let value = text(sample, "/value/1").parse().unwrap_or(f64::NAN);
                (sample.get("metric").cloned().unwrap_or_default(), value)
            })
            .collect())
    }
}

/// Enough of a text's SHA-256, in hexadecimal digits, to tell it from another one.
pub(super) fn digest(text: &str) -> String {
    crate::state::hex(&Sha256::digest(text)).chars().take(8).collect()
}

/// The first line that says something, short enough to show.
pub(super) fn excerpt(body: &str) -> String {
    let line = body
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .unwrap_or("(empty)");
    let short: String = line.chars().take(200).collect();
    if short.len() < line.len() {
        format!("{short}…")
    } else {
        short
    }
}

/// Takes out of an object what no check reads and nobody else should: values of Secrets, who owns which field, and
/// the schemas of CRDs. The keys of a Secret stay, and certificates, which are public.
pub fn reduce(mut object: Value) -> Value {
    let kind = text(&object, "/kind").to_owned();
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    match kind.as_str() {
        "Secret" => {
            for (field, encoded) in [("data", true), ("stringData", false)] {
                if let Some(values) = object.get_mut(field).and_then(Value::as_object_mut) {
                    mask(values, encoded);
                }
            }
        }
        "CustomResourceDefinition" => {
            let versions = object.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
            for version in versions.into_iter().flatten() {
                if let Some(version) = version.as_object_mut() {
                    version.remove("schema");
                }
            }
        }
        _ => {}
    }
    object
}

fn mask(values: &mut Map<String, Value>, encoded: bool) {
    for value in values.values_mut() {
        let text = value.as_str().unwrap_or_default();
        let plain = if encoded {
            STANDARD
                .decode(text)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
        } else {
            Some(text.to_owned())
        };
        let public = plain.is_some_and(|plain| {
            plain.starts_with("-----BEGIN CERTIFICATE-----") && !plain.contains("PRIVATE KEY")
        });
        if !public {
            *value = Value::String(String::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reduced_secret_keeps_its_keys_and_certificates_only() {
        let certificate = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN CERTIFICATE-----\nMII\n-----BEGIN PRIVATE KEY-----\n";
        let secret = json!({"kind": "Secret", "metadata": {"name": "a", "managedFields": [1],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2", "kept": "yes"}},
            "data": {"ca": STANDARD.encode(certificate), "key": STANDARD.encode(key), "password": "aHVudGVyMg=="},
            "stringData": {"token": "hunter2", "ca.crt": certificate}});
        let reduced = reduce(secret);
        assert_eq!(
            reduced,
            json!({"kind": "Secret", "metadata": {"name": "a", "annotations": {"kept": "yes"}},
                "data": {"ca": STANDARD.encode(certificate), "key": "", "password": ""},
                "stringData": {"token": "", "ca.crt": certificate}})
        );
    }

    #[test]
    fn answers_that_are_no_success_say_what_came() {
        let mut evidence = Evidence::default();
        let response = |status, body: &str| Answer::Response {
            status,
            body: body.to_owned(),
        };
        let error = Answer::Error {
            error: "connection refused".into(),
        };
        for (key, answer) in [
            ("a:/", response(500, "\n  rpc error: code = Unavailable\nmore")),
            ("b:/", response(200, "not json")),
            ("c:/", error),
        ] {
            let by = [("n/pod".to_owned(), answer)].into();
            evidence.http.insert(key.to_owned(), by);
        }
        assert_eq!(
            evidence.body("a:/").unwrap_err().observed,
            "status 500: rpc error: code = Unavailable"
        );
        assert!(evidence.json("b:/").unwrap_err().observed.contains("not json"));
        assert_eq!(evidence.body("c:/").unwrap_err().observed, "connection refused");
        assert!(evidence.body("d:/").is_err());
    }
}
