use std::{collections::HashMap, fmt, io::Cursor};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};
use serde_saphyr::{
    Error, MessageFormatter as _, Options, Spanned, UserMessageFormatter, options::DuplicateKeyPolicy,
};

/// A line and a column, both from 1; 0 where they are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value of a YAML document that knows where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// What a node holds; mappings keep their order and their doubles.
#[derive(Debug)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

/// Something wrong in a YAML text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) message: String,
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entries()
            .iter()
            .find_map(|(found, node)| (found.value == key).then_some(node))
    }

    /// The value at the end of a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[(Spanned<String>, Self)] {
        match &self.content {
            Content::Map(entries) => entries,
            Content::Scalar(_) | Content::List(_) => &[],
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(value) => value.as_str(),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Whether nothing is said here: null, or only empty things.
    pub(super) fn is_blank(&self) -> bool {
        match &self.content {
            Content::Scalar(value) => value.is_null() || value.as_str() == Some(""),
            Content::List(items) => items.iter().all(Self::is_blank),
            Content::Map(entries) => entries.iter().all(|(_, node)| node.is_blank()),
        }
    }

    /// The same as plain JSON.
    pub(super) fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::value).collect()),
            Content::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.value.clone(), node.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }

    fn doubles(&self, faults: &mut Vec<Fault>) {
        match &self.content {
            Content::Scalar(_) => {}
            Content::List(items) => items.iter().for_each(|node| node.doubles(faults)),
            Content::Map(entries) => {
                let mut seen: HashMap<&str, Place> = HashMap::with_capacity(entries.len());
                for (key, node) in entries {
                    let place = place(&key.referenced);
                    if let Some(first) = seen.get(key.value.as_str()) {
                        faults.push(Fault {
                            place,
                            message: format!(
                                "key '{}' is given twice: first on line {}, column {}",
                                key.value, first.line, first.column
                            ),
                        });
                    } else {
                        seen.insert(&key.value, place);
                    }
                    node.doubles(faults);
                }
            }
        }
    }
}

/// Reads every document of a text and everything that is wrong with it. Empty documents are skipped.
pub(super) fn documents(text: &str) -> (Vec<Node>, Vec<Fault>) {
    let mut faults = Vec::new();
    // A reader goes on after a broken document, and takes twice the time: only for texts that have one.
    let nodes: Vec<Node> = serde_saphyr::from_multiple_with_options(text, options()).unwrap_or_else(|_| {
        let mut reader = Cursor::new(text.as_bytes());
        serde_saphyr::read_with_options(&mut reader, options())
            .filter_map(|document| document.map_err(|error| faults.push(fault(&error))).ok())
            .collect()
    });
    for node in &nodes {
        node.doubles(&mut faults);
    }
    (nodes, faults)
}

/// Reads a text of one document into a type; tells the place of the first thing that does not fit.
pub(super) fn typed<T: DeserializeOwned>(text: &str) -> Result<T, Vec<Fault>> {
    let (_, faults) = documents(text);
    if faults.is_empty() {
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| vec![fault(&error)])
    } else {
        Err(faults)
    }
}

/// As Kubernetes reads YAML: `0644` is 420, `yes` is true. A snippet in an error could show a Secret.
fn options() -> Options {
    serde_saphyr::options! {
        // Doubles are found here, all of them, and with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        legacy_octal_numbers: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_documents: 100_000,
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_depth: 256,
        },
    }
}

fn fault(error: &Error) -> Fault {
    Fault {
        place: error.location().as_ref().map(place).unwrap_or_default(),
        message: UserMessageFormatter
            .format_message(error)
            .escape_debug()
            .to_string(),
    }
}

fn place(location: &serde_saphyr::Location) -> Place {
    Place {
        line: usize::try_from(location.line()).unwrap_or_default(),
        column: usize::try_from(location.column()).unwrap_or_default(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self {
            place: place(&spanned.referenced),
            content: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value)
            .map(|number| Content::Scalar(number.into()))
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element()? {
            list.push(node);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Content::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(text: &str) -> Value {
        let (nodes, faults) = documents(text);
        assert_eq!(faults, [], "{text}");
        assert_eq!(nodes.len(), 1, "{text}");
        nodes[0].value()
    }

    #[test]
    fn scalars_are_read_as_kubernetes_reads_them() {
        for (text, expected) in [
            ("a: 0644", json!({"a": 420})),
            ("a: 0o644", json!({"a": 420})),
            ("a: '0644'", json!({"a": "0644"})),
            ("a: yes", json!({"a": true})),
            ("a: 1e3", json!({"a": 1000.0})),
            ("a: ~", json!({"a": null})),
            ("a:", json!({"a": null})),
            (
                "a: 18446744073709551615",
                json!({"a": 18_446_744_073_709_551_615_u64}),
            ),
            ("a: 10d", json!({"a": "10d"})),
            ("a: =", json!({"a": "="})),
            ("8080: a", json!({"8080": "a"})),
            ("a: 2026-01-02", json!({"a": "2026-01-02"})),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn block_scalars_keep_every_byte() {
        let text = "a: |\n  one\n\n   two \t\n  three\nb: |+\n  x\n\nc: |-\n  y\nd: >\n  f\n  g\n";
        assert_eq!(
            one(text),
            json!({"a": "one\n\n two \t\nthree\n", "b": "x\n\n", "c": "y", "d": "f g\n"})
        );
    }

    #[test]
    fn anchors_and_merge_keys_are_followed() {
        let text = "base: &b {x: 1, y: [1]}\nother:\n  <<: *b\n  x: 2\nlist: [*b]\n";
        assert_eq!(
            one(text),
            json!({"base": {"x": 1, "y": [1]}, "other": {"x": 2, "y": [1]}, "list": [{"x": 1, "y": [1]}]})
        );
    }

    #[test]
    fn empty_documents_are_no_documents() {
        let (nodes, faults) = documents("---\n# nothing\n---\n---\na: 1\n---\n~\n---\nb: 2\n---\n");
        assert_eq!(faults, []);
        assert_eq!(
            nodes.iter().map(Node::value).collect::<Vec<_>>(),
            [json!({"a": 1}), json!({"b": 2})]
        );
        assert_eq!(nodes[1].place, Place { line: 9, column: 1 });
    }

    #[test]
    fn byte_order_marks_and_windows_line_ends_do_no_harm() {
        assert_eq!(
            one("\u{feff}a: 1\r\nb: |\r\n  x\r\n"),
            json!({"a": 1, "b": "x\n"})
        );
    }

    #[test]
    fn json_may_be_indented_with_tabs() {
        assert_eq!(one("{\n\t\"a\": [\n\t\t1\n\t]\n}\n"), json!({"a": [1]}));
    }

    #[test]
    fn a_key_given_twice_is_told_with_both_places_and_all_at_once() {
        let (_, faults) = documents("a: 1\nb:\n  c: 1\n  c: 2\na: 2\n---\nd: [{e: 1, e: 2}]\n");
        let told: Vec<_> = faults
            .iter()
            .map(|fault| (fault.place.line, fault.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (4, "key 'c' is given twice: first on line 3, column 3"),
                (5, "key 'a' is given twice: first on line 1, column 1"),
                (7, "key 'e' is given twice: first on line 7, column 6"),
            ]
        );
    }

    #[test]
    fn a_broken_document_is_told_with_its_place_and_without_its_text() {
        let (_, faults) = documents("stringData:\n  password: \"hunter2\n  b: [\n");
        assert_eq!(faults.len(), 1);
        assert!(faults[0].place.line > 0);
        assert!(!faults[0].message.contains("hunter2"), "{faults:?}");
    }

    #[test]
    fn documents_after_a_broken_one_are_read_as_well() {
        let (nodes, faults) = documents("a: 1\n---\nb: .inf\n---\nc: {x: 1, x: 2}\n");
        assert_eq!(nodes.len(), 2);
        let lines: Vec<_> = faults.iter().map(|fault| fault.place.line).collect();
        assert_eq!(lines, [3, 5], "{faults:?}");
    }

    #[test]
    fn a_thousand_documents_are_no_limit() {
        let (nodes, faults) = documents(&"a: 1\n---\n".repeat(3000));
        assert_eq!((nodes.len(), faults.len()), (3000, 0));
    }
}
