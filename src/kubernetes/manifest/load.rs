use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;

use super::{
    files::Text,
    names,
    object::{Object, Source},
    yaml::{self, Content, Node, Place},
};
use crate::model::Mistake;

/// What only the server writes.
const SERVER_FIELDS: [&str; 7] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
];

/// What helps against a `y` or a `5` where a text belongs.
const QUOTES: Option<&str> = Some("write it in quotes");

/// Every object of several files, in their order; what is wrong goes to `mistakes`, and all of it.
///
/// The files are read side by side: the definitions of the monitoring stack alone are 1.5 MB.
pub(super) fn load_all(texts: &[Text], mistakes: &mut Vec<Mistake>) -> Vec<Object> {
    let readers = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let read_some = || -> Vec<_> {
        std::iter::from_fn(|| {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let mut mistakes = Vec::new();
            let objects = load(texts.get(index)?, &mut mistakes);
            Some((index, objects, mistakes))
        })
        .collect()
    };
    let mut read = std::thread::scope(|scope| {
        let others: Vec<_> = (1..readers.min(texts.len()))
            .map(|_| scope.spawn(read_some))
            .collect();
        let mut read = read_some();
        for other in others {
            read.extend(
                other
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
        read
    });
    read.sort_by_key(|(index, ..)| *index);
    read.into_iter()
        .flat_map(|(_, objects, told)| {
            mistakes.extend(told);
            objects
        })
        .collect()
}

/// Every object of a file; what is wrong goes to `mistakes`, and all of it.
fn load(text: &Text, mistakes: &mut Vec<Mistake>) -> Vec<Object> {
    let (nodes, faults) = yaml::documents(&text.text);
    let mut loader = Loader {
        text,
        mistakes,
        objects: Vec::new(),
    };
    for fault in faults {
        loader.tell(fault.place, fault.message, None);
    }
    for node in &nodes {
        loader.document(node, None);
    }
    loader.objects
}

struct Loader<'a> {
    text: &'a Text,
    mistakes: &'a mut Vec<Mistake>,
    objects: Vec<Object>,
}

impl Loader<'_> {
    fn tell(&mut self, place: Place, message: impl Into<String>, hint: Option<&str>) {
        let source = self.source(place);
        self.mistakes
            .push(source.mistake(message, hint.map(str::to_owned)));
    }

    fn source(&self, place: Place) -> Source {
        Source {
            file: self.text.file.clone(),
            place,
        }
    }

    /// One document or one item of a list, whose apiVersion and kind such a list may give.
    fn document(&mut self, node: &Node, of_list: Option<(&str, &str)>) {
        if !matches!(node.content, Content::Map(_)) {
            return self.tell(node.place, "is not an object: it has no fields", None);
        }
        let told = self.mistakes.len();
        let api_version = self.required(node, "apiVersion", of_list.map(|(api_version, _)| api_version));
        let kind = self.required(node, "kind", of_list.map(|(_, kind)| kind));
        let (Some(api_version), Some(kind)) = (api_version, kind) else {
            return;
        };
        if api_version.is_empty() || api_version.matches('/').count() > 1 {
            let place = node.get("apiVersion").map_or(node.place, |node| node.place);
            self.tell(
                place,
                format!("'{api_version}' is not an apiVersion"),
                Some("as in v1 or apps/v1"),
            );
        }
        if api_version.starts_with("kustomize.config.k8s.io/") {
            let hint =
                "name a folder of plain manifests; patches: and images: in the stack file change fields";
            return self.tell(node.place, "kustomizations are not supported", Some(hint));
        }
        if let (Some(item), Some(items)) = (kind.strip_suffix("List"), node.get("items")) {
            return self.list(items, (api_version, item));
        }
        self.metadata(node, api_version, kind);
        self.strings(node, kind);
        let status = node.get("status");
        if let Some(status) = status.filter(|status| !status.is_blank()) {
            self.tell(status.place, "status is written by the server", Some("remove it"));
        }
        if self.mistakes.len() == told {
            self.keep(node, api_version, kind);
        }
    }

    fn required<'n>(&mut self, node: &'n Node, key: &str, default: Option<&'n str>) -> Option<&'n str> {
        match node.get(key) {
            Some(found) => {
                let text = found.text();
                if text.is_none() {
                    self.tell(found.place, format!("{key} is not a text"), QUOTES);
                }
                text
            }
            None if default.is_some_and(|default| !default.is_empty()) => default,
            None => {
                self.tell(node.place, format!("object has no {key}"), None);
                None
            }
        }
    }

    fn list(&mut self, items: &Node, of: (&str, &str)) {
        match &items.content {
            // A plain `List` holds objects of any kind.
            Content::List(items) if of.1.is_empty() => {
                for item in items {
                    self.document(item, None);
                }
            }
            Content::List(items) => {
                for item in items {
                    self.document(item, Some(of));
                }
            }
            Content::Scalar(value) if value.is_null() => {}
            Content::Scalar(_) | Content::Map(_) => self.tell(items.place, "items is not a list", None),
        }
    }

    fn metadata(&mut self, node: &Node, api_version: &str, kind: &str) {
        let Some(metadata) = node.get("metadata") else {
            return self.tell(node.place, format!("{kind} has no metadata.name"), None);
        };
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match metadata.get("name").map(|name| (name, name.text())) {
            Some((name, Some(text))) if !text.is_empty() => {
                if let Some(fault) = names::fault(group, kind, text) {
                    self.tell(
                        name.place,
                        format!("'{text}' is not a name for a {kind}: it {fault}"),
                        None,
                    );
                }
            }
            Some((name, _)) => self.tell(
                name.place,
                format!("metadata.name of this {kind} is not a text"),
                QUOTES,
            ),
            None => {
                if metadata.get("generateName").is_none() {
                    self.tell(metadata.place, format!("{kind} has no metadata.name"), None);
                }
            }
        }
        if let Some(generate) = metadata.get("generateName") {
            let hint = "give it a name: what has none cannot be found again";
            self.tell(generate.place, "metadata.generateName cannot be used", Some(hint));
        }
        if let Some(namespace) = metadata
            .get("namespace")
            .filter(|namespace| !namespace.is_blank())
        {
            match namespace.text().map(|text| (text, names::label_fault(text))) {
                Some((text, Some(fault))) => {
                    self.tell(
                        namespace.place,
                        format!("'{text}' is not a namespace: it {fault}"),
                        None,
                    );
                }
                Some((_, None)) => {}
                None => self.tell(namespace.place, "metadata.namespace is not a text", QUOTES),
            }
        }
        for field in SERVER_FIELDS {
            if let Some(found) = metadata.get(field).filter(|found| !found.is_blank()) {
                let message = format!("metadata.{field} is written by the server");
                self.tell(found.place, message, Some("remove it"));
            }
        }
        for field in ["labels", "annotations"] {
            self.texts(node, &["metadata", field]);
        }
    }

    /// Fields whose values are texts, and where a number or true is easily written instead.
    fn strings(&mut self, node: &Node, kind: &str) {
        match kind {
            "ConfigMap" => self.texts(node, &["data"]),
            "Secret" => {
                self.texts(node, &["stringData"]);
                self.texts(node, &["data"]);
                for (key, value) in node.get("data").map_or(&[][..], Node::entries) {
                    let valid = value.text().is_none_or(|text| {
                        let packed: String = text.split_ascii_whitespace().collect();
                        base64::engine::general_purpose::STANDARD.decode(packed).is_ok()
                    });
                    if !valid {
                        let hint = "write the plain text under stringData instead";
                        self.tell(
                            value.place,
                            format!("data.{} is not base64", key.value),
                            Some(hint),
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn texts(&mut self, node: &Node, path: &[&str]) {
        let Some(found) = node.at(path) else { return };
        if !matches!(found.content, Content::Map(_)) && !found.is_blank() {
            return self.tell(found.place, format!("{} is not a mapping", path.join(".")), None);
        }
        for (key, value) in found.entries() {
            let null = matches!(&value.content, Content::Scalar(value) if value.is_null());
            if value.text().is_none() && !null {
                let message = format!("{}.{} is not a text", path.join("."), key.value);
                self.tell(value.place, message, QUOTES);
            }
        }
    }

    fn keep(&mut self, node: &Node, api_version: &str, kind: &str) {
        let mut value = node.value();
        if let Some(object) = value.as_object_mut() {
            object.insert("apiVersion".into(), api_version.into());
            object.insert("kind".into(), kind.into());
            // What is left of these says nothing, and the server would own it.
            object.remove("status");
            if let Some(metadata) = object.get_mut("metadata").and_then(|value| value.as_object_mut()) {
                for field in SERVER_FIELDS {
                    metadata.remove(field);
                }
            }
        }
        let name = node.at(&["metadata", "name"]);
        let source = self.source(name.map_or(node.place, |name| name.place));
        self.objects.push(Object { value, source });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Object>, Vec<String>) {
        let text = Text {
            file: "a.yaml".into(),
            text: text.to_owned().into(),
        };
        let mut mistakes = Vec::new();
        let objects = load(&text, &mut mistakes);
        (objects, mistakes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn lists_are_flattened_and_give_their_items_what_those_do_not_say() {
        let (objects, mistakes) = read(
            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: a}}\n- apiVersion: v1\n  kind: List\n  items: [{apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleList\nitems: [{metadata: {name: c}}]\n---\n{apiVersion: v1, kind: ConfigMapList, items: null}\n",
        );
        assert_eq!(mistakes, [""; 0]);
        let told: Vec<_> = objects
            .iter()
            .map(|object| (object.api_version(), object.kind(), object.name()))
            .collect();
        assert_eq!(
            told,
            [
                ("v1", "Secret", "a"),
                ("apps/v1", "Deployment", "b"),
                ("rbac.authorization.k8s.io/v1", "Role", "c")
            ]
        );
    }

    #[test]
    fn what_a_server_wrote_and_is_empty_is_dropped() {
        let (objects, mistakes) = read(
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a.b, creationTimestamp: null}\nstatus: {acceptedNames: {kind: '', plural: ''}, conditions: [], storedVersions: []}\n",
        );
        assert_eq!(mistakes, [""; 0]);
        assert!(objects[0].value.get("status").is_none());
        assert!(objects[0].value["metadata"].get("creationTimestamp").is_none());
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        for (text, expected) in [
            ("- a\n", "a.yaml:1:1: is not an object: it has no fields"),
            (
                "kind: A\nmetadata: {name: a}\n",
                "a.yaml:1:1: object has no apiVersion",
            ),
            ("apiVersion: v1\n", "a.yaml:1:1: object has no kind"),
            (
                "apiVersion: 1\nkind: A\n",
                "a.yaml:1:13: apiVersion is not a text (write it in quotes)",
            ),
            (
                "apiVersion: a/b/c\nkind: A\nmetadata: {name: a}\n",
                "a.yaml:1:13: 'a/b/c' is not an apiVersion (as in v1 or apps/v1)",
            ),
            (
                "apiVersion: v1\nkind: Pod\n",
                "a.yaml:1:1: Pod has no metadata.name",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {labels: {}}\n",
                "a.yaml:3:11: Pod has no metadata.name",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: 5}\n",
                "a.yaml:3:18: metadata.name of this Pod is not a text (write it in quotes)",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: a-\n",
                "a.yaml:4:17: metadata.generateName cannot be used (give it a name: what has none cannot be found again)",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, managedFields: [{manager: x}]}\n",
                "a.yaml:3:36: metadata.managedFields is written by the server (remove it)",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {phase: Running}\n",
                "a.yaml:4:9: status is written by the server (remove it)",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: A}\n",
                "a.yaml:3:32: 'A' is not a namespace: it may hold lower-case letters, digits and dashes, begins and ends with a letter or digit, at most 63",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {on: 1}}\n",
                "a.yaml:3:34: metadata.labels.on is not a text (write it in quotes)",
            ),
            (
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [a]}\n",
                "a.yaml:3:29: metadata.labels is not a mapping",
            ),
            (
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {port: 80}\n",
                "a.yaml:4:14: data.port is not a text (write it in quotes)",
            ),
            (
                "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {key: hunter2!}\n",
                "a.yaml:4:13: data.key is not base64 (write the plain text under stringData instead)",
            ),
            (
                "apiVersion: v1\nkind: List\nitems: 5\n",
                "a.yaml:3:8: items is not a list",
            ),
            (
                "apiVersion: kustomize.config.k8s.io/v1\nkind: Kustomization\n",
                "a.yaml:1:1: kustomizations are not supported (name a folder of plain manifests; patches: and images: in the stack file change fields)",
            ),
        ] {
            let (objects, mistakes) = read(text);
            assert_eq!(mistakes, [expected], "{text}");
            assert!(objects.is_empty());
        }
    }

    #[test]
    fn files_read_side_by_side_come_in_their_order_with_their_mistakes() {
        let texts: Vec<Text> = (0..64)
            .map(|number| Text {
                file: format!("{number:02}.yaml").into(),
                text: format!(
                    "apiVersion: v1\nkind: Namespace\nmetadata: {{name: n{number}}}\n---\n{number}\n"
                )
                .into(),
            })
            .collect();
        let mut mistakes = Vec::new();
        let objects = load_all(&texts, &mut mistakes);
        let names: Vec<&str> = objects.iter().map(Object::name).collect();
        assert_eq!(
            names,
            (0..64).map(|number| format!("n{number}")).collect::<Vec<_>>()
        );
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 64);
        assert!(told.is_sorted(), "{told:?}");
    }

    #[test]
    fn mistakes_of_several_documents_are_told_at_once_and_the_good_ones_are_kept() {
        let (objects, mistakes) = read(
            "kind: A\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, uid: x, namespace: _}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: good}\n",
        );
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert_eq!(objects[0].source.to_string(), "a.yaml:9:18");
    }
}
