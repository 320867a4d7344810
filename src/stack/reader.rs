use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;

use crate::model::Mistake;

use super::tree::{Content, Entry, Node, Place};

/// Collects mistakes while fields are read, and the files that must exist.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) files: Vec<Needed>,
}

/// A file or folder that a stack file names. Whether it is there is asked last, since reading is pure.
pub(super) struct Needed {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    pub(super) what: String,
    /// What was written, without environment values.
    pub(super) shown: String,
    /// A folder will do as well.
    pub(super) or_folder: bool,
}

/// A map that is being read. Each key that is asked for is a known one; the others are mistakes.
pub(super) struct Fields<'a> {
    pub(super) place: Place,
    path: String,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value of a key; null is the same as not written.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.entry(key).map(|entry| &entry.node)
    }

    /// The entry of a key, without making it a known one.
    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|e| e.key == key && !e.node.is_null())
    }

    /// Where a key is written; where its map is, if it is not.
    pub(super) fn place_of(&self, key: &str) -> &Place {
        self.entry(key).map_or(&self.place, |entry| &entry.place)
    }

    /// A key that is written, and so near to this one that it may have been meant.
    pub(super) fn meant(&self, key: &str) -> Option<&'a str> {
        let mut written = self.entries.iter().map(|entry| entry.key.as_str());
        written.find(|word| nearest(word, &[key]).is_some())
    }

    /// The path of a key, for messages and for `--set`.
    pub(super) fn path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

impl Reader {
    pub(super) fn wrong(&mut self, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(place.mistake(message, Some(hint.into())));
    }

    /// Begins to read a map. `place` is where a missing key is reported.
    pub(super) fn fields<'a>(&mut self, node: &'a Node, path: &str, place: &Place) -> Option<Fields<'a>> {
        let Content::Map(entries) = &node.content else {
            let what = if path.is_empty() { "a stack file" } else { path };
            self.wrong(
                &node.place,
                format!("{what} must be a map, not {}", node.shown()),
                "write `key: value` lines",
            );
            return None;
        };
        Some(Fields {
            place: place.clone(),
            path: path.to_owned(),
            entries,
            known: Vec::new(),
        })
    }

    /// Ends reading a map: keys that nothing asked for are unknown. `elsewhere` were reported already.
    pub(super) fn finish(&mut self, fields: &Fields<'_>, elsewhere: &[&str]) {
        for entry in fields.entries {
            let key = entry.key.as_str();
            if fields.known.contains(&key) || elsewhere.contains(&key) {
                continue;
            }
            let within = if fields.path.is_empty() {
                String::new()
            } else {
                format!(" in {}", fields.path)
            };
            self.wrong(
                &entry.place,
                format!("unknown key '{key}'{within}"),
                suggest(key, &fields.known),
            );
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<'a>(
        &mut self,
        fields: &mut Fields<'a>,
        key: &'static str,
        hint: &str,
    ) -> Option<&'a Node> {
        let node = fields.get(key);
        if node.is_none() {
            self.wrong(&fields.place, format!("{} is missing", fields.path(key)), hint);
        }
        node
    }

    /// The text of an optional key.
    pub(super) fn optional(&mut self, fields: &mut Fields<'_>, key: &'static str) -> Option<String> {
        let path = fields.path(key);
        fields.get(key).and_then(|node| self.text(node, &path))
    }

    /// A text that is not empty.
    pub(super) fn text(&mut self, node: &Node, path: &str) -> Option<String> {
        let text = self.any_text(node, path)?;
        if text.is_empty() {
            self.wrong(
                &node.place,
                match node.shown().as_str() {
                    "''" => format!("{path} is empty"),
                    shown => format!("{path} {shown} is empty"),
                },
                "write a value, or leave it out",
            );
            return None;
        }
        Some(text)
    }

    /// A text that may be empty.
    pub(super) fn any_text(&mut self, node: &Node, path: &str) -> Option<String> {
        match &node.content {
            Content::Text(text, _) => Some(text.clone()),
            Content::Plain(Value::Null, _) => {
                self.wrong(
                    &node.place,
                    format!("{path} is empty"),
                    "write a value, or leave it out",
                );
                None
            }
            // A shell has no quotes of YAML: --set cluster.kubernetes=1.34 means the text.
            Content::Plain(_, written) if !node.place.source.lines => Some(written.clone()),
            Content::Plain(_, written) => {
                self.wrong(
                    &node.place,
                    format!("{path} must be text, and YAML reads {written} as something else"),
                    format!("write it in quotes: \"{written}\""),
                );
                None
            }
            Content::List(_) | Content::Map(_) => {
                self.wrong(
                    &node.place,
                    format!("{path} must be text, not {}", node.shown()),
                    "write one value",
                );
                None
            }
        }
    }

    /// A whole number within bounds; text only where it came from the environment.
    pub(super) fn number(&mut self, node: &Node, path: &str, least: u32, most: u32) -> Option<u32> {
        let number = match &node.content {
            Content::Plain(Value::Number(number), _) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
            Content::Text(text, Some(_)) => text.parse().ok(),
            Content::Text(_, None) | Content::Plain(..) | Content::List(_) | Content::Map(_) => None,
        };
        let number = number.filter(|n| (least..=most).contains(n));
        if number.is_none() {
            let hint = match &node.content {
                Content::Text(_, None) => "a number has no quotes",
                Content::Text(..) => "look at the environment variable",
                Content::Plain(..) | Content::List(_) | Content::Map(_) => {
                    "write a number within these bounds"
                }
            };
            self.wrong(
                &node.place,
                format!(
                    "{path} must be a whole number from {least} to {most}, not {}",
                    node.shown()
                ),
                hint,
            );
        }
        number
    }

    /// The items of an optional list.
    pub(super) fn list<'a>(&mut self, fields: &mut Fields<'a>, key: &'static str) -> &'a [Node] {
        match fields.get(key) {
            None => &[],
            Some(Node {
                content: Content::List(items),
                ..
            }) => items,
            Some(node) => {
                let path = fields.path(key);
                self.wrong(
                    &node.place,
                    format!("{path} must be a list, not {}", node.shown()),
                    "begin each item with '- ', or write [a, b]",
                );
                &[]
            }
        }
    }

    /// The entries of an optional map whose keys are the user's own.
    pub(super) fn own_keys<'a>(&mut self, fields: &mut Fields<'a>, key: &'static str) -> &'a [Entry] {
        let path = fields.path(key);
        fields.get(key).map_or(&[], |node| {
            self.fields(node, &path, &node.place)
                .map_or(&[][..], |own| own.entries)
        })
    }

    /// An optional map of texts.
    pub(super) fn texts(&mut self, fields: &mut Fields<'_>, key: &'static str) -> BTreeMap<String, String> {
        let path = fields.path(key);
        self.own_keys(fields, key)
            .iter()
            .filter(|entry| !entry.node.is_null())
            .filter_map(|entry| {
                let text = self.any_text(&entry.node, &format!("{path}.{}", entry.key))?;
                Some((entry.key.clone(), text))
            })
            .collect()
    }

    /// A path to a file that must exist, relative to the folder of the file that names it.
    pub(super) fn file(&mut self, node: &Node, path: &str, or_folder: bool) -> Option<PathBuf> {
        let text = self.text(node, path)?;
        if text == "~" || text.starts_with("~/") {
            self.wrong(
                &node.place,
                format!("{path} begins with ~, which nothing expands here"),
                "write ${env:HOME} instead of ~",
            );
            return None;
        }
        let absolute = plain(&node.place.source.folder.join(&text));
        self.files.push(Needed {
            path: absolute.clone(),
            place: node.place.clone(),
            what: path.to_owned(),
            shown: node.shown(),
            or_folder,
        });
        Some(absolute)
    }

    /// A DNS label: what Kubernetes takes as the name of a namespace, and Docker as part of a container's.
    pub(super) fn label(&mut self, node: &Node, path: &str, longest: usize) -> Option<String> {
        let text = self.text(node, path)?;
        let wrong = label_mistake(&text, longest);
        if let Some(hint) = &wrong {
            self.wrong(
                &node.place,
                format!("{path} {} is not a valid name", node.shown()),
                hint.clone(),
            );
        }
        wrong.is_none().then_some(text)
    }

    /// One of a few words.
    pub(super) fn unknown_word(&mut self, node: &Node, path: &str, words: &[&'static str]) {
        let nearest = node.literal().and_then(|text| nearest(text, words));
        self.wrong(
            &node.place,
            format!("{path} must be one of {}, not {}", words.join(", "), node.shown()),
            nearest.unwrap_or_else(|| "choose one of them".to_owned()),
        );
    }
}

/// What a text would have to be to be a label; nothing if it is.
pub(super) fn label_mistake(text: &str, longest: usize) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = text.len() <= longest
        && text.chars().all(|c| allowed(c) || c == '-')
        && text.starts_with(allowed)
        && text.ends_with(allowed);
    (!fits).then(|| {
        format!("lower-case letters, digits and dashes, at most {longest}, a letter or digit first and last")
    })
}

/// The nearest word, or all of them.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return "there are none".to_owned();
    }
    nearest(word, known).unwrap_or_else(|| {
        let mut all = known.to_vec();
        all.sort_unstable();
        format!("there are: {}", all.join(", "))
    })
}

/// A word that is so near that it may have been meant.
fn nearest(word: &str, known: &[&str]) -> Option<String> {
    known
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()),
                candidate,
            )
        })
        .min()
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4 && *distance < candidate.len())
        .map(|(_, candidate)| format!("did you mean '{candidate}'?"))
}

/// A path without `.` and `..`. The folder of a stack file has no links in it any more when it comes here.
fn plain(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => result.push(part),
        }
    }
    result
}
