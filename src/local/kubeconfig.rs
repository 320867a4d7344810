use std::{
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::{LocalError, files};

/// Fields of a kubeconfig that name files, each with the field that holds such a file's content instead.
const FILES: [(&str, &str); 3] = [
    ("certificate-authority", "certificate-authority-data"),
    ("client-certificate", "client-certificate-data"),
    ("client-key", "client-key-data"),
];

/// A kubeconfig file. Not shown by `Debug`, as it holds keys.
#[derive(Clone, PartialEq)]
pub struct Kubeconfig {
    path: PathBuf,
    root: Value,
}

impl Kubeconfig {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, LocalError> {
        let text = fs::read_to_string(path).map_err(LocalError::file("read", path))?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file; `path` is what its relative paths are relative to.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LocalError> {
        let wrong = |why: &str| LocalError::Kubeconfig {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        // The parser's own message may repeat a part of the file, which may be a key.
        let root: Value = serde_saphyr::from_str(text).map_err(|error| match error.location() {
            Some(place) => wrong(&format!("line {} is not YAML", place.line())),
            None => wrong("it is not YAML"),
        })?;
        if !root.is_object() {
            return Err(wrong("it has no fields"));
        }
        Ok(Self {
            path: path.to_owned(),
            root,
        })
    }

    /// The names of its contexts.
    pub fn contexts(&self) -> Vec<&str> {
        self.entries("contexts").filter_map(name).collect()
    }

    /// The API server's URL in its current context.
    pub fn server(&self) -> Option<&str> {
        self.cluster()?.get("server")?.as_str()
    }

    /// Only this context with its cluster and user, as the current one.
    pub fn select(&self, context: &str) -> Result<Self, LocalError> {
        let found = self
            .entry("contexts", context)
            .ok_or_else(|| LocalError::Context {
                path: self.path.clone(),
                context: context.to_owned(),
                known: self.contexts().into_iter().map(str::to_owned).collect(),
            })?;
        let part = |list: &str, field: &str| -> Vec<Value> {
            found
                .pointer(&format!("/context/{field}"))
                .and_then(Value::as_str)
                .and_then(|name| self.entry(list, name))
                .cloned()
                .into_iter()
                .collect()
        };
        Ok(Self {
            path: self.path.clone(),
            root: json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": part("clusters", "cluster"),
                "users": part("users", "user"),
                "contexts": [found],
                "current-context": context,
            }),
        })
    }

    /// The same with the content of the files that it names, so that it stands alone.
    pub fn embed(mut self) -> Result<Self, LocalError> {
        let folder = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        for (list, field) in [("clusters", "cluster"), ("users", "user")] {
            let entries = self.root.get_mut(list).and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten() {
                let Some(entry) = entry.get_mut(field).and_then(Value::as_object_mut) else {
                    continue;
                };
                for (file, data) in FILES {
                    let Some(Value::String(path)) = entry.remove(file) else {
                        continue;
                    };
                    let path = folder.join(path);
                    let content = fs::read(&path).map_err(LocalError::file("read", path))?;
                    entry.insert(data.to_owned(), BASE64_STANDARD.encode(content).into());
                }
            }
        }
        Ok(self)
    }

    /// The current context's cluster with another user: one whose token is read from a file, again and again.
    #[must_use]
    pub fn with_token_file(&self, user: &str, token: &Path) -> Self {
        let cluster = self.cluster().cloned().unwrap_or_default();
        Self {
            path: self.path.clone(),
            root: json!({
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "cluster", "cluster": cluster}],
                "users": [{"name": user, "user": {"tokenFile": token}}],
                "contexts": [{"name": user, "context": {"cluster": "cluster", "user": user}}],
                "current-context": user,
            }),
        }
    }

    /// The same with the entries of another; those of the same name are replaced. `other`'s context becomes current.
    #[must_use]
    pub fn merge(mut self, other: &Self) -> Self {
        let Some(root) = self.root.as_object_mut() else {
            return other.clone();
        };
        for list in ["clusters", "users", "contexts"] {
            let mut entries: Vec<Value> = match root.get(list) {
                Some(Value::Array(entries)) => entries.clone(),
                _ => Vec::new(),
            };
            for entry in other.entries(list) {
                entries.retain(|old| name(old) != name(entry));
                entries.push(entry.clone());
            }
            root.insert(list.to_owned(), entries.into());
        }
        if let Some(current) = other.root.get("current-context") {
            root.insert("current-context".to_owned(), current.clone());
        }
        self
    }

    /// Its text. Holds keys.
    pub fn text(&self) -> Result<String, LocalError> {
        serde_saphyr::to_string(&self.root).map_err(|error| LocalError::Kubeconfig {
            path: self.path.clone(),
            why: error.to_string(),
        })
    }

    /// Writes it, readable by its owner only.
    pub fn write(&self, path: &Path) -> Result<(), LocalError> {
        files::write_private(path, self.text()?.as_bytes())
    }

    fn cluster(&self) -> Option<&Value> {
        let context = self.entry("contexts", self.root.get("current-context")?.as_str()?)?;
        let cluster = context.pointer("/context/cluster")?.as_str()?;
        self.entry("clusters", cluster)?.get("cluster")
    }

    fn entry(&self, list: &str, wanted: &str) -> Option<&Value> {
        self.entries(list).find(|entry| name(entry) == Some(wanted))
    }

    fn entries(&self, list: &str) -> impl Iterator<Item = &Value> {
        self.root
            .get(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    }
}

impl Default for Kubeconfig {
    /// One without any cluster.
    fn default() -> Self {
        Self {
            path: PathBuf::new(),
            root: Value::Object(Map::from_iter([
                ("apiVersion".to_owned(), "v1".into()),
                ("kind".to_owned(), "Config".into()),
            ])),
        }
    }
}

impl std::fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kubeconfig({})", self.path.display())
    }
}

fn name(entry: &Value) -> Option<&str> {
    entry.get("name")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "apiVersion: v1
kind: Config
current-context: a
clusters:
- {name: ca, cluster: {server: 'https://a', certificate-authority: ca.crt}}
- {name: cb, cluster: {server: 'https://b'}}
users:
- {name: ua, user: {token: secret}}
- {name: ub, user: {}}
contexts:
- {name: a, context: {cluster: ca, user: ua, namespace: n}}
- {name: b, context: {cluster: cb, user: ub}}
";

    #[test]
    fn only_what_belongs_to_the_chosen_context_is_taken_over() {
        let chosen = Kubeconfig::parse(Path::new("/x/config"), TWO)
            .unwrap()
            .select("b")
            .unwrap();
        assert_eq!(chosen.server(), Some("https://b"));
        assert_eq!(chosen.contexts(), ["b"]);
        assert!(!chosen.text().unwrap().contains("secret"));
    }

    #[test]
    fn an_unknown_context_is_an_error_that_names_the_known_ones() {
        let file = Kubeconfig::parse(Path::new("/x/config"), TWO).unwrap();
        let error = file.select("c").unwrap_err().to_string();
        assert_eq!(error, "find the context 'c' in /x/config; it has a, b");
    }

    #[test]
    fn files_become_data_so_that_the_kubeconfig_stands_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.crt"), "certificate").unwrap();
        let file = Kubeconfig::parse(&folder.path().join("config"), TWO).unwrap();
        let path = folder.path().join("out");
        file.select("a").unwrap().embed().unwrap().write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(&BASE64_STANDARD.encode("certificate")) && !text.contains("ca.crt"));
        assert_eq!(Kubeconfig::read(&path).unwrap().server(), Some("https://a"));
    }

    #[test]
    fn merging_replaces_what_has_the_same_name_and_keeps_the_rest() {
        let file = Kubeconfig::parse(Path::new("/x/config"), TWO).unwrap();
        let newer = Kubeconfig::parse(
            Path::new("/y"),
            "{clusters: [{name: cb, cluster: {server: 'https://new'}}], contexts: [{name: b, context: {cluster: cb}}], current-context: b}",
        )
        .unwrap();
        let merged = file.merge(&newer);
        assert_eq!(merged.server(), Some("https://new"));
        assert_eq!(merged.contexts(), ["a", "b"]);
        assert_eq!(Kubeconfig::default().merge(&newer).contexts(), ["b"]);
    }

    #[test]
    fn what_is_not_a_kubeconfig_is_told_without_its_content() {
        let error = Kubeconfig::parse(Path::new("/x"), "key: 'secret")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/x") && !error.contains("secret"), "{error}");
    }
}
