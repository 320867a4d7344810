use serde_json::Value;

/// The text at a JSON pointer; empty if there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; zero if there is none, as the API leaves zeros out.
pub(super) fn number(value: &Value, pointer: &str) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Whether there is a true at a JSON pointer.
pub(super) fn truth(value: &Value, pointer: &str) -> bool {
    value.pointer(pointer) == Some(&Value::Bool(true))
}

/// The list at a JSON pointer.
pub(super) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The texts of the list at a JSON pointer.
pub(super) fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    items(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// The keys of the map at a JSON pointer.
pub(super) fn keys<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    let map = value.pointer(pointer).and_then(Value::as_object);
    map.into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect()
}

pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `monitoring/grafana`, or the name alone.
pub(super) fn title(object: &Value) -> String {
    match namespace(object) {
        "" => name(object).to_owned(),
        namespace => format!("{namespace}/{}", name(object)),
    }
}

/// `Deployment monitoring/grafana`.
pub(super) fn full_title(object: &Value) -> String {
    format!("{} {}", text(object, "/kind"), title(object))
}

/// One label.
pub(super) fn label<'a>(object: &'a Value, key: &str) -> &'a str {
    let labels = object
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(key));
    labels.and_then(Value::as_str).unwrap_or_default()
}

/// Whether a label selector, as `matchLabels` and `matchExpressions`, chooses these labels.
pub(super) fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let equal = selector.get("matchLabels").and_then(Value::as_object);
    let equal = equal
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    equal
        && items(selector, "/matchExpressions")
            .iter()
            .all(|rule| expression(rule, label))
}

/// Whether a rule of a selector, with `key`, `operator` and `values`, holds.
pub(super) fn expression<'a>(rule: &Value, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let found = label(text(rule, "/key"));
    let values = texts(rule, "/values");
    match text(rule, "/operator") {
        "In" => found.is_some_and(|found| values.contains(&found)),
        "NotIn" => found.is_none_or(|found| !values.contains(&found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

/// Whether the `matchLabels` of a Service's selector choose these labels. A Service without selector chooses none.
pub(super) fn service_selects(service: &Value, labels: Option<&Value>) -> bool {
    let Some(selector) = service.pointer("/spec/selector").and_then(Value::as_object) else {
        return false;
    };
    !selector.is_empty()
        && selector
            .iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// Whether an object is owned by another one.
pub(super) fn owned_by(object: &Value, owner: &Value) -> bool {
    let uid = text(owner, "/metadata/uid");
    !uid.is_empty()
        && items(object, "/metadata/ownerReferences")
            .iter()
            .any(|reference| text(reference, "/uid") == uid)
}

/// The status of a condition: `True`, `False`, `Unknown`, or empty.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type") == kind)
}

/// A container of a pod template or pod by name.
pub(super) fn container<'a>(pod_spec: &'a Value, list: &str, named: &str) -> Option<&'a Value> {
    items(pod_spec, list)
        .iter()
        .find(|container| name_of(container) == named)
}

/// The `name` of a list's element.
pub(super) fn name_of(element: &Value) -> &str {
    text(element, "/name")
}

/// The values of a flag `--name=value`.
pub(super) fn flags<'a>(container: &'a Value, flag: &str) -> Vec<&'a str> {
    let of = |argument: &'a str| argument.strip_prefix(flag)?.strip_prefix('=');
    texts(container, "/args").into_iter().filter_map(of).collect()
}

/// The value of a flag `--name=value`.
pub(super) fn flag<'a>(container: &'a Value, named: &str) -> Option<&'a str> {
    flags(container, named).first().copied()
}

/// The tag of an image, without the digest.
pub(super) fn tag(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let after = image.rsplit_once('/').map_or(image, |(_, after)| after);
    after.split_once(':').map_or("", |(_, tag)| tag)
}

/// The mount of a container under which a path lies: the longest one.
pub(super) fn mount_of<'a>(container: &'a Value, path: &str) -> Option<&'a Value> {
    let within = |mount: &&Value| {
        let at = text(mount, "/mountPath").trim_end_matches('/');
        path == at || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'))
    };
    items(container, "/volumeMounts")
        .iter()
        .filter(within)
        .max_by_key(|mount| text(mount, "/mountPath").len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_choose_as_kubernetes_does() {
        let labels = json!({"app": "shop", "tier": "web"});
        let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "app", "operator": operator, "values": values}]});
        assert!(selects(&json!({}), Some(&labels)) && selects(&json!({}), None));
        assert!(selects(&json!({"matchLabels": {"app": "shop"}}), Some(&labels)));
        assert!(!selects(
            &json!({"matchLabels": {"app": "shop", "x": "y"}}),
            Some(&labels)
        ));
        assert!(
            selects(&expression("In", &["shop"]), Some(&labels))
                && !selects(&expression("In", &["a"]), Some(&labels))
        );
        assert!(
            selects(&expression("NotIn", &["a"]), None)
                && !selects(&expression("NotIn", &["shop"]), Some(&labels))
        );
        assert!(
            selects(&expression("Exists", &[]), Some(&labels))
                && selects(&expression("DoesNotExist", &[]), None)
        );
        assert!(
            !service_selects(&json!({"spec": {}}), Some(&labels)),
            "a Service without selector"
        );
        assert!(service_selects(
            &json!({"spec": {"selector": {"app": "shop"}}}),
            Some(&labels)
        ));
    }

    #[test]
    fn tags_are_found_beside_ports_and_digests() {
        assert_eq!(tag("localhost:5000/a/b:v1.2@sha256:abc"), "v1.2");
        assert_eq!((tag("localhost:5000/a"), tag("redis")), ("", ""));
    }

    #[test]
    fn a_path_belongs_to_the_longest_mount_above_it() {
        let container = json!({"volumeMounts": [
            {"name": "etc", "mountPath": "/etc"}, {"name": "out", "mountPath": "/etc/out/"}, {"name": "no", "mountPath": "/etc/ou"}]});
        assert_eq!(name_of(mount_of(&container, "/etc/out/file").unwrap()), "out");
        assert_eq!(name_of(mount_of(&container, "/etc/other").unwrap()), "etc");
        assert!(mount_of(&container, "/var").is_none());
    }
}
