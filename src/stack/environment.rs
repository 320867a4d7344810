use std::collections::BTreeMap;

use crate::model::Mistake;

use super::tree::{Content, Node};

const OPEN: &str = "${env:";

/// Puts environment values where `${env:NAME}` is written, and remembers what was written, since that is
/// all that a message may show. Other `${...}` stay as they are.
pub(super) fn substitute(node: &mut Node, env: &BTreeMap<String, String>, mistakes: &mut Vec<Mistake>) {
    match &mut node.content {
        Content::Text(text, written) if text.contains(OPEN) => match replace(text, env) {
            Ok(value) => *written = Some(std::mem::replace(text, value)),
            Err((message, hint)) => {
                *written = Some(text.clone());
                mistakes.push(node.place.mistake(message, Some(hint)));
            }
        },
        Content::List(items) => items.iter_mut().for_each(|item| substitute(item, env, mistakes)),
        Content::Map(entries) => entries
            .iter_mut()
            .for_each(|entry| substitute(&mut entry.node, env, mistakes)),
        Content::Plain(..) | Content::Text(..) => {}
    }
}

/// The text with its values, or what is wrong and what to do.
fn replace(text: &str, env: &BTreeMap<String, String>) -> Result<String, (String, String)> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(OPEN) {
        result.push_str(before);
        let (name, after) = after
            .split_once('}')
            .filter(|(name, _)| is_name(name))
            .ok_or_else(|| {
                (
                    "'${env:' must be followed by the name of an environment variable and '}'".to_owned(),
                    "as in ${env:RUN_ID}".to_owned(),
                )
            })?;
        let value = env.get(name).ok_or_else(|| {
            (
                format!("the environment variable {name} is not set"),
                format!("set it, as in `{name}=... stackup ...`, or write the value here"),
            )
        })?;
        result.push_str(value);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::replace;

    fn env() -> std::collections::BTreeMap<String, String> {
        [("A", "1"), ("B_2", "${env:A}")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[test]
    fn values_come_only_where_they_are_asked_for_and_only_once() {
        let replaced = |text| replace(text, &env()).unwrap();
        assert_eq!(replaced("x-${env:A}-${env:B_2}"), "x-1-${env:A}");
        assert_eq!(
            replaced("$A ${A} ${value} ${ref:k8s/x.id}"),
            "$A ${A} ${value} ${ref:k8s/x.id}"
        );
    }

    #[test]
    fn a_reference_without_end_or_name_is_a_mistake() {
        for text in ["${env:A", "${env:}", "${env:A B}", "${env:9}", "x ${env:"] {
            assert!(replace(text, &env()).is_err(), "{text}");
        }
    }
}
