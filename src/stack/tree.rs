use std::{fmt, path::PathBuf, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use serde_saphyr::{Location, MessageFormatter, Spanned, UserMessageFormatter, options::DuplicateKeyPolicy};

use crate::model::Mistake;

/// One input: a stack file or a `--set`.
#[derive(Debug)]
pub(super) struct Source {
    /// What a message calls it.
    pub(super) shown: PathBuf,
    /// What relative paths in it are relative to, absolute.
    pub(super) folder: PathBuf,
    /// Whether it has lines that a person can look at.
    pub(super) lines: bool,
}

/// Where something was written.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) source: Arc<Source>,
    line: usize,
    column: usize,
}

impl Place {
    /// The whole of a source.
    pub(super) fn whole(source: &Arc<Source>) -> Self {
        Self {
            source: Arc::clone(source),
            line: 0,
            column: 0,
        }
    }

    fn at(source: &Arc<Source>, location: Location) -> Self {
        let number = |n: u64| {
            if source.lines {
                usize::try_from(n).unwrap_or(0)
            } else {
                0
            }
        };
        Self {
            source: Arc::clone(source),
            line: number(location.line()),
            column: number(location.column()),
        }
    }

    /// A mistake here.
    pub(super) fn mistake(&self, message: impl Into<String>, hint: Option<String>) -> Mistake {
        Mistake {
            file: self.source.shown.clone(),
            line: self.line,
            column: self.column,
            message: message.into(),
            hint,
        }
    }
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Null, a boolean or a number, and the characters that stand for it: `1.30` is more than the number 1.3.
    Plain(Value, String),
    /// Text, and what was written where the text came from the environment and must not be shown.
    Text(String, Option<String>),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
}

/// One key of a map, where the key was written, and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Node {
    /// A map without keys.
    pub(super) fn empty(place: Place) -> Self {
        Self {
            place,
            content: Content::Map(Vec::new()),
        }
    }

    /// Whether nothing is written: the same as leaving the key out.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.content, Content::Plain(Value::Null, _))
    }

    /// A text that a message may show.
    pub(super) fn literal(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text, None) => Some(text),
            Content::Text(..) | Content::Plain(..) | Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The bare value, without places.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Plain(value, _) => value.clone(),
            Content::Text(text, _) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::value).collect(),
            Content::Map(entries) => entries.iter().map(|e| (e.key.clone(), e.node.value())).collect(),
        }
    }

    /// The value as a message may show it: never what came from the environment.
    pub(super) fn shown(&self) -> String {
        match &self.content {
            Content::Plain(Value::Null, _) => "nothing".to_owned(),
            Content::Plain(_, written) => written.clone(),
            Content::Text(text, written) => format!("'{}'", written.as_ref().unwrap_or(text)),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "a map".to_owned(),
        }
    }
}

/// Parses one YAML document. Pure: whatever the bytes are, it answers with a tree or one mistake.
pub(super) fn parse(text: &str, source: &Arc<Source>) -> Result<Node, Mistake> {
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        // As kubectl reads it, so that a value means the same here as in a manifest.
        legacy_octal_numbers: true,
        reject_unsupported_tags: true,
        // A snippet would show the lines around a mistake, and with them what may be secret.
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Option<Spanned<Raw>>>(text, options) {
        Ok(Some(raw)) => Ok(place(raw, text, source)),
        Ok(None) => Ok(Node {
            place: Place::whole(source),
            content: Content::Plain(Value::Null, String::new()),
        }),
        Err(error) => {
            let place = error
                .location()
                .map_or_else(|| Place::whole(source), |location| Place::at(source, location));
            let message = format!("not valid YAML: {}", UserMessageFormatter.format_message(&error));
            Err(place.mistake(message, Some(advice(&error).to_owned())))
        }
    }
}

/// What to do about a text that is not one YAML document.
fn advice(error: &serde_saphyr::Error) -> &'static str {
    use serde_saphyr::Error as E;
    if matches!(error, E::DuplicateMappingKey { .. }) {
        "write each key once"
    } else if matches!(error, E::MultipleDocuments { .. }) {
        "a stack is one document: give -f several times to merge files"
    } else if matches!(error, E::UnsupportedTag { .. }) {
        "leave the tag out, or write the text in quotes"
    } else {
        "indent with spaces, and write text with special characters such as ': ', '{' or '*' in quotes"
    }
}

/// What serde hands over; [`place`] gives it its places.
enum Raw {
    Plain(Value),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn place(raw: Spanned<Raw>, text: &str, source: &Arc<Source>) -> Node {
    let content = match raw.value {
        Raw::Plain(value) => {
            let written = written(raw.defined, text).map_or_else(|| value.to_string(), str::to_owned);
            Content::Plain(value, written)
        }
        Raw::Text(value) => Content::Text(value, None),
        Raw::List(items) => Content::List(items.into_iter().map(|item| place(item, text, source)).collect()),
        Raw::Map(entries) => Content::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    place: Place::at(source, key.referenced),
                    key: key.value,
                    node: place(value, text, source),
                })
                .collect(),
        ),
    };
    Node {
        place: Place::at(source, raw.referenced),
        content,
    }
}

/// The characters of a scalar in its file.
fn written(location: Location, text: &str) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let length = usize::try_from(span.byte_len()?).ok()?;
    text.get(start..start.checked_add(length)?)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a number, a boolean, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value)
            .map(|number| Raw::Plain(Value::Number(number)))
            .ok_or_else(|| E::custom("a number that is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}
