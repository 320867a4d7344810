//! By which names a thing of EKS may be found: those it should have, and those that the state remembers.

use std::sync::Arc;

use serde_json::Value;

use crate::resource::{Target, resolve};

/// Each set of names under which a target may stand, the wanted one first. None at all means that nothing was ever sent
/// for it: what it would have been part of is not known any more either.
pub(super) fn names<const N: usize>(target: &Target, fields: [&str; N]) -> Vec<[String; N]> {
    let read = |from: &dyn Fn(&str) -> Option<String>| {
        let found: Vec<String> = fields.iter().filter_map(|field| from(field)).collect();
        <[String; N]>::try_from(found).ok()
    };
    let wanted = read(&|field| text(target.inputs.as_deref()?.get(field)?));
    let stood = read(&|field| text(target.remembered.as_ref()?.outputs.get(field)?));
    // A run that was cut off remembers what it was about to send, and not yet what came of it.
    let sent = read(&|field| sent(target, field));
    let mut names: Vec<_> = wanted.into_iter().chain(stood.or(sent)).collect();
    names.dedup();
    names
}

/// A field of the inputs that the state remembers, with what it refers to.
pub(super) fn sent(target: &Target, field: &str) -> Option<String> {
    let input = target.remembered.as_ref()?.inputs.as_ref()?.get(field)?;
    text(resolve(&Arc::new(input.clone()), &target.outputs).ok()?.as_ref())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::{
        model::Address,
        resource::{Reference, Stack},
    };

    /// A target of stack `demo` with these inputs, and with what the state remembers.
    pub(in crate::aws::eks) fn target(
        address: &str,
        inputs: Option<Value>,
        remembered: Option<Value>,
    ) -> Target {
        let address = Address::parse(address).unwrap();
        Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "0123456789abcdef".into(),
            }),
            identity: json!({"stack": "demo", "uid": "0123456789abcdef", "address": address}),
            address,
            inputs: inputs.map(Arc::new),
            input_hash: String::new(),
            remembered: remembered.map(|remembered| Arc::new(serde_json::from_value(remembered).unwrap())),
            outputs: BTreeMap::new(),
            generation: 0,
            adopt: false,
        }
    }

    fn remembered(inputs: &Value, outputs: &Value) -> Value {
        json!({"kind": "aws.eks_addon", "identity": {}, "inputs": inputs, "outputs": outputs})
    }

    #[test]
    fn what_is_renamed_is_looked_for_under_both_names_and_what_is_not_under_one() {
        let wanted = json!({"cluster": "c", "name": "new"});
        let stood = remembered(&Value::Null, &json!({"cluster": "c", "name": "old"}));
        let target_of = |inputs, remembered| target("aws.eks_addon/a", inputs, remembered);
        let both = names(
            &target_of(Some(wanted.clone()), Some(stood.clone())),
            ["cluster", "name"],
        );
        assert_eq!(both, [["c", "new"], ["c", "old"]]);
        let gone = names(&target_of(None, Some(stood)), ["cluster", "name"]);
        assert_eq!(gone, [["c", "old"]]);
        let same = remembered(&Value::Null, &wanted);
        assert_eq!(
            names(&target_of(Some(wanted), Some(same)), ["cluster", "name"]).len(),
            1
        );
    }

    #[test]
    fn what_a_killed_run_was_about_to_make_is_found_by_what_it_would_have_been() {
        let cluster = Address::new("aws.eks_cluster", "main");
        let inputs = json!({"cluster": Reference::field(&cluster, "name"), "name": "workers"});
        let mut target = target(
            "aws.eks_node_group/a",
            None,
            Some(remembered(&inputs, &Value::Null)),
        );
        assert_eq!(names(&target, ["cluster", "name"]), Vec::<[String; 2]>::new());
        target.outputs.insert(cluster, Arc::new(json!({"name": "demo"})));
        assert_eq!(names(&target, ["cluster", "name"]), [["demo", "workers"]]);
    }
}
