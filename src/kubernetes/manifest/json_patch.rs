use serde::Deserialize;
use serde_json::Value;

/// One operation of RFC 6902.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Operation {
    Add { path: String, value: Value },
    Remove { path: String },
    Replace { path: String, value: Value },
    Move { from: String, path: String },
    Copy { from: String, path: String },
    Test { path: String, value: Value },
}

impl Operation {
    /// The value that the operation brings, if it brings one.
    pub(super) fn value_mut(&mut self) -> Option<&mut Value> {
        match self {
            Self::Add { value, .. } | Self::Replace { value, .. } | Self::Test { value, .. } => Some(value),
            Self::Remove { .. } | Self::Move { .. } | Self::Copy { .. } => None,
        }
    }
}

/// Carries out all operations, or none and says why (without any value).
pub(super) fn apply(value: &mut Value, operations: &[Operation]) -> Result<(), String> {
    let mut changed = value.clone();
    for operation in operations {
        one(&mut changed, operation)?;
    }
    *value = changed;
    Ok(())
}

fn one(root: &mut Value, operation: &Operation) -> Result<(), String> {
    match operation {
        Operation::Add { path, value } => add(root, path, value.clone()),
        Operation::Remove { path } => remove(root, path).map(drop),
        Operation::Replace { path, value } => {
            *root.pointer_mut(path).ok_or_else(|| missing(path))? = value.clone();
            Ok(())
        }
        Operation::Move { from, path } => {
            if path
                .strip_prefix(from.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
            {
                return Err(format!("{from} cannot be moved into itself"));
            }
            let value = remove(root, from)?;
            add(root, path, value)
        }
        Operation::Copy { from, path } => {
            let value = root.pointer(from).ok_or_else(|| missing(from))?.clone();
            add(root, path, value)
        }
        Operation::Test { path, value } => match root.pointer(path) {
            Some(found) if found == value => Ok(()),
            Some(_) => Err(format!("{path} is not what the test expects")),
            None => Err(missing(path)),
        },
    }
}

fn missing(path: &str) -> String {
    format!("there is no {path}")
}

/// The value that holds the last part of a pointer, and that part.
fn parent<'a>(root: &'a mut Value, path: &str) -> Result<(&'a mut Value, String), String> {
    let (parent, last) = path
        .rsplit_once('/')
        .ok_or_else(|| format!("'{path}' is not a pointer: it begins with /"))?;
    let found = root.pointer_mut(parent).ok_or_else(|| missing(parent))?;
    Ok((found, last.replace("~1", "/").replace("~0", "~")))
}

fn add(root: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *root = value;
        return Ok(());
    }
    match parent(root, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
            Ok(())
        }
        (Value::Array(items), key) => {
            let at = if key == "-" {
                Some(items.len())
            } else {
                index(&key)
            };
            let at = at.filter(|at| *at <= items.len()).ok_or_else(|| missing(path))?;
            items.insert(at, value);
            Ok(())
        }
        _ => Err(missing(path)),
    }
}

fn remove(root: &mut Value, path: &str) -> Result<Value, String> {
    match parent(root, path)? {
        (Value::Object(map), key) => map.remove(&key).ok_or_else(|| missing(path)),
        (Value::Array(items), key) => {
            let at = index(&key)
                .filter(|at| *at < items.len())
                .ok_or_else(|| missing(path))?;
            Ok(items.remove(at))
        }
        _ => Err(missing(path)),
    }
}

fn index(key: &str) -> Option<usize> {
    let plain = key == "0" || (!key.starts_with('0') && key.bytes().all(|byte| byte.is_ascii_digit()));
    key.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(value: &Value, operations: Value) -> Result<Value, String> {
        let operations: Vec<Operation> = serde_json::from_value(operations).unwrap();
        let mut changed = value.clone();
        let result = apply(&mut changed, &operations);
        assert!(result.is_ok() || changed == *value, "{operations:?}");
        result.map(|()| changed)
    }

    #[test]
    fn operations_do_what_the_standard_says() {
        for (value, operation, expected) in [
            (
                json!({"a": 1}),
                json!({"op": "add", "path": "/b", "value": 2}),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"a": [1, 3]}),
                json!({"op": "add", "path": "/a/1", "value": 2}),
                json!({"a": [1, 2, 3]}),
            ),
            (
                json!({"a": [1]}),
                json!({"op": "add", "path": "/a/-", "value": 2}),
                json!({"a": [1, 2]}),
            ),
            (
                json!({"a": [1]}),
                json!({"op": "add", "path": "", "value": 2}),
                json!(2),
            ),
            (
                json!({"x/y": {"~": 1}}),
                json!({"op": "remove", "path": "/x~1y/~0"}),
                json!({"x/y": {}}),
            ),
            (
                json!({"a": [1, 2]}),
                json!({"op": "remove", "path": "/a/0"}),
                json!({"a": [2]}),
            ),
            (
                json!({"a": 1}),
                json!({"op": "replace", "path": "/a", "value": null}),
                json!({"a": null}),
            ),
            (
                json!({"a": 1}),
                json!({"op": "move", "from": "/a", "path": "/b"}),
                json!({"b": 1}),
            ),
            (
                json!({"a": [1]}),
                json!({"op": "copy", "from": "/a/0", "path": "/b"}),
                json!({"a": [1], "b": 1}),
            ),
            (
                json!({"a": 1}),
                json!({"op": "test", "path": "/a", "value": 1}),
                json!({"a": 1}),
            ),
        ] {
            assert_eq!(
                patched(&value, json!([operation])),
                Ok(expected),
                "{value} {operation}"
            );
        }
    }

    #[test]
    fn what_cannot_be_done_changes_nothing_and_shows_no_value() {
        for (value, operation, expected) in [
            (
                json!({"a": [1]}),
                json!({"op": "add", "path": "/a/5", "value": 2}),
                "there is no /a/5",
            ),
            (
                json!({}),
                json!({"op": "add", "path": "/a/b", "value": 2}),
                "there is no /a",
            ),
            (
                json!({"a": 1}),
                json!({"op": "add", "path": "/a/b", "value": 2}),
                "there is no /a/b",
            ),
            (
                json!({"a": [1, 2]}),
                json!({"op": "remove", "path": "/a/00"}),
                "there is no /a/00",
            ),
            (
                json!({"a": 1}),
                json!({"op": "remove", "path": "/b"}),
                "there is no /b",
            ),
            (
                json!({}),
                json!({"op": "replace", "path": "/a", "value": 1}),
                "there is no /a",
            ),
            (
                json!({"a": {}}),
                json!({"op": "move", "from": "/a", "path": "/a/b"}),
                "/a cannot be moved into itself",
            ),
            (
                json!({"a": "hunter2"}),
                json!({"op": "test", "path": "/a", "value": "hunter3"}),
                "/a is not what the test expects",
            ),
            (
                json!({}),
                json!({"op": "add", "path": "a", "value": 1}),
                "'a' is not a pointer: it begins with /",
            ),
        ] {
            let operations = json!([{"op": "add", "path": "/first", "value": 1}, operation]);
            assert_eq!(
                patched(&value, operations),
                Err(expected.to_owned()),
                "{value} {operation}"
            );
        }
    }
}
