use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{files::Text, object::Source, patch::Patch, yaml};
use crate::model::Mistake;

/// What a component says of itself, in the `component.yaml` of its folder.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Definition {
    /// One line for a person who chooses.
    pub(super) description: Option<String>,
    /// The namespace for objects that name none.
    pub(super) namespace: Option<String>,
    /// What this program makes, since nobody should write it down.
    pub(super) generate: Vec<Generated>,
    /// What a stack file may set.
    pub(super) options: Vec<Opt>,
    /// What differs by the provider of the cluster.
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// A Secret whose content this program makes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Generated {
    pub(super) secret: String,
    pub(super) certificate: Option<Certificate>,
    pub(super) password: Option<Password>,
    /// The objects whose webhooks trust the certificate's authority: `Kind/name`.
    #[serde(default)]
    pub(super) ca_bundle_of: Vec<String>,
}

/// What the live half puts into a Secret that does not hold it yet (input `generate`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Generate {
    /// A key, its certificate, and the authority that signed it. Output `ca` is the authority as base64 of PEM.
    Certificate(Certificate),
    /// A random password.
    Password(Password),
}

/// A server certificate for some names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Certificate {
    /// The names that it is valid for.
    pub dns_names: Vec<String>,
    /// Under which keys of the Secret its parts go.
    pub keys: CertificateKeys,
}

/// Keys of a Secret for the parts of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateKeys {
    /// The authority's certificate.
    pub ca: String,
    /// The server's certificate.
    pub certificate: String,
    /// The server's private key.
    pub private_key: String,
}

/// A random password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Password {
    /// The key of the Secret that holds it.
    pub key: String,
    /// How many letters and digits it has.
    pub length: usize,
}

impl Generated {
    /// What to make, if exactly one thing is named.
    pub(super) fn what(&self) -> Option<Generate> {
        match (&self.certificate, &self.password) {
            (Some(certificate), None) => Some(Generate::Certificate(certificate.clone())),
            (None, Some(password)) => Some(Generate::Password(password.clone())),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

/// One thing that a stack file may set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Opt {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) of: OptType,
    #[serde(default)]
    pub(super) default: Value,
    #[expect(dead_code, reason = "read by people, and checked to be there by its type")]
    pub(super) description: String,
    pub(super) patches: Vec<Patch>,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OptType {
    String,
    Integer,
    Boolean,
}

/// What differs on one provider.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct Profile {
    pub(super) patches: Vec<Patch>,
    /// Deployments that run as a process beside a simulated cluster.
    pub(super) companions: Vec<Companion>,
}

/// A Deployment whose first container runs as a process.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Companion {
    pub(super) deployment: String,
    pub(super) program: String,
}

/// Reads a `component.yaml`; a folder without one says nothing of itself.
pub(super) fn definition(text: Option<&Text>, mistakes: &mut Vec<Mistake>) -> Definition {
    let Some(text) = text else {
        return Definition::default();
    };
    let definition: Definition = match yaml::typed(&text.text) {
        Ok(definition) => definition,
        Err(faults) => {
            mistakes.extend(faults.into_iter().map(|fault| {
                let file = text.file.clone();
                Source {
                    file,
                    place: fault.place,
                }
                .mistake(fault.message, None)
            }));
            return Definition::default();
        }
    };
    check(&definition, text, mistakes);
    definition
}

fn check(definition: &Definition, text: &Text, mistakes: &mut Vec<Mistake>) {
    let source = Source {
        file: text.file.clone(),
        place: yaml::Place::default(),
    };
    let mut tell = |message: String| mistakes.push(source.mistake(message, None));
    for generated in &definition.generate {
        if generated.what().is_none() {
            tell(format!(
                "generate: secret '{}' needs either certificate or password",
                generated.secret
            ));
        }
        if generated.certificate.is_none() && !generated.ca_bundle_of.is_empty() {
            tell(format!(
                "generate: caBundleOf of secret '{}' needs a certificate",
                generated.secret
            ));
        }
    }
    for option in &definition.options {
        if !option.default.is_null() && !option.of.takes(&option.default) {
            tell(format!(
                "options: the default of '{}' is not a {}",
                option.name, option.of
            ));
        }
        for patch in &option.patches {
            if let Some(fault) = patch.fault() {
                tell(format!("options: a patch of '{}' {fault}", option.name));
            }
        }
    }
    for (name, profile) in &definition.profiles {
        for patch in &profile.patches {
            if let Some(fault) = patch.fault() {
                tell(format!("profiles: a patch of '{name}' {fault}"));
            }
        }
    }
}

impl OptType {
    /// Whether a value is of this type.
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

impl std::fmt::Display for OptType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        let text = Text {
            file: "component.yaml".into(),
            text: text.to_owned().into(),
        };
        let mut mistakes = Vec::new();
        drop(definition(Some(&text), &mut mistakes));
        mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_fit_is_told_with_its_place() {
        for (text, expected) in [
            ("namespace: a\nnamspace: b\n", "component.yaml:2:1: unknown field"),
            (
                "generate:\n- {secret: a}\n",
                "generate: secret 'a' needs either certificate or password",
            ),
            (
                "generate:\n- {secret: a, password: {key: k, length: 8}, caBundleOf: [X/y]}\n",
                "needs a certificate",
            ),
            (
                "options:\n- {name: a, type: float, description: d, patches: []}\n",
                "component.yaml:2:19",
            ),
            (
                "options:\n- {name: a, type: integer, default: x, description: d, patches: []}\n",
                "the default of 'a' is not a integer",
            ),
            (
                "options:\n- {name: a, type: string, description: d, patches: [{target: {}, delete: true}]}\n",
                "a patch of 'a' ",
            ),
            (
                "profiles: {kwok: {patches: [{target: {kind: A}}]}}\n",
                "a patch of 'kwok' ",
            ),
            (
                "namespace: a\nnamespace: b\n",
                "component.yaml:2:1: key 'namespace' is given twice",
            ),
        ] {
            let told = mistakes(text);
            assert_eq!(told.len(), 1, "{text}: {told:?}");
            assert!(told[0].contains(expected), "{text}: {told:?}");
        }
    }

    #[test]
    fn what_is_to_be_made_is_told_in_plain_data() {
        let password = Generate::Password(Password {
            key: "k".into(),
            length: 8,
        });
        assert_eq!(
            serde_json::to_value(password).unwrap(),
            serde_json::json!({"password": {"key": "k", "length": 8}})
        );
    }
}
