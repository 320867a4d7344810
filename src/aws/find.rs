use std::{collections::BTreeMap, marker::PhantomData};

use aws_sdk_ec2::types::Filter;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Clients,
    difference::vanished,
    error::Answer,
    tags::{self, Mark, Tags},
};
use crate::resource::{Change, Readiness, Resource, ResourceError, Seen, Target, Traits, Typed};

/// How many values AWS takes in one filter.
const VALUES: usize = 200;

/// One thing as a list call tells of it.
#[derive(Debug, Clone)]
pub(super) struct Item<O> {
    pub(super) id: String,
    pub(super) tags: Tags,
    pub(super) readiness: Readiness,
    pub(super) outputs: O,
}

impl<O> Item<O> {
    pub(super) fn new(id: String, tags: Tags, readiness: Readiness, outputs: O) -> Self {
        Self {
            id,
            tags,
            readiness,
            outputs,
        }
    }
}

/// A kind of which AWS gives the ids, and lists all at once. How they are found again is the same for all of them, so
/// that each says only how it is made, changed and removed.
pub(super) trait Listed: Send + Sync + 'static {
    const KIND: &'static str;
    const DOCUMENTATION: &'static str;
    const TRAITS: Traits;
    /// The name of the filter for ids.
    const BY_ID: &'static str;
    type Inputs: DeserializeOwned + Serialize + Send + Sync + 'static;
    type Outputs: DeserializeOwned + Serialize + Clone + Send + Sync + 'static;

    fn diff(inputs: &Self::Inputs, outputs: &Self::Outputs) -> Change;

    /// Makes the list call, all pages of it.
    fn list(
        clients: &Clients,
        filters: Vec<Filter>,
    ) -> impl Future<Output = Answer<Vec<Item<Self::Outputs>>>> + Send;

    fn create(
        clients: &Clients,
        target: &Target,
        inputs: &Self::Inputs,
    ) -> impl Future<Output = Answer<Option<String>>> + Send;

    /// Changes the one with this id, which stands so.
    fn update(
        clients: &Clients,
        id: &str,
        live: &Self::Outputs,
        inputs: &Self::Inputs,
    ) -> impl Future<Output = Answer> + Send;

    /// Removes the one with this id, which stands so and carries this mark.
    fn delete(
        clients: &Clients,
        mark: &Mark,
        id: &str,
        live: &Self::Outputs,
    ) -> impl Future<Output = Answer> + Send;
}

/// A kind whose things are found by our mark.
pub(super) struct ByMark<K>(PhantomData<fn() -> K>);

impl<K: Listed> Resource for ByMark<K> {
    const KIND: &'static str = K::KIND;
    const DOCUMENTATION: &'static str = K::DOCUMENTATION;
    const TRAITS: Traits = K::TRAITS;

    type Cloud = Clients;
    type Inputs = K::Inputs;
    type Outputs = K::Outputs;

    fn diff(inputs: &K::Inputs, outputs: &K::Outputs) -> Change {
        K::diff(inputs, outputs)
    }

    async fn observe(
        clients: &Clients,
        targets: &[Typed<'_, K::Inputs>],
    ) -> Vec<Answer<Option<Seen<K::Outputs>>>> {
        let targets: Vec<&Target> = targets.iter().map(|typed| typed.target).collect();
        find(&targets, K::BY_ID, |filters| K::list(clients, filters)).await
    }

    async fn create(clients: &Clients, target: &Target, inputs: &K::Inputs) -> Answer<Option<String>> {
        K::create(clients, target, inputs).await
    }

    async fn update(clients: &Clients, target: &Target, inputs: &K::Inputs) -> Answer {
        let (id, live) = own::<K>(clients, target).await?.ok_or_else(|| vanished(target))?;
        K::update(clients, &id, &live, inputs).await
    }

    async fn delete(clients: &Clients, target: &Target) -> Answer {
        match own::<K>(clients, target).await? {
            Some((id, live)) => K::delete(clients, &Mark::of(target)?, &id, &live).await,
            None => Ok(()),
        }
    }
}

/// The id of a target and how it stands, if it is there and ours.
async fn own<K: Listed>(clients: &Clients, target: &Target) -> Answer<Option<(String, K::Outputs)>> {
    let seen = find(&[target], K::BY_ID, |filters| K::list(clients, filters)).await;
    let seen = seen.into_iter().next().transpose()?.flatten();
    Ok(seen
        .filter(|seen| seen.foreign.is_none())
        .and_then(|seen| Some((seen.id?, seen.outputs))))
}

/// Whether a thing in this state can be used, where `available` says so and all else passes.
pub(super) fn readiness(state: Option<&str>) -> Readiness {
    match state {
        Some("available") => Readiness::Ready,
        Some(state) => Readiness::NotYet(format!("it is {state}")),
        None => Readiness::NotYet("AWS does not tell its state".to_owned()),
    }
}

/// Finds all targets with one list call: by our mark, and what lost its mark by the id that the state remembers.
///
/// `by_id` is the name of the filter for ids; `list` makes the call, all pages of it.
async fn find<O, F>(
    targets: &[&Target],
    by_id: &str,
    list: impl Fn(Vec<Filter>) -> F,
) -> Vec<Result<Option<Seen<O>>, ResourceError>>
where
    O: Clone,
    F: Future<Output = Result<Vec<Item<O>>, ResourceError>>,
{
    match gather(targets, by_id, list).await {
        Ok(items) => targets.iter().map(|target| pick(target, &items)).collect(),
        Err(error) => targets.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// Everything that may be one of the targets, by id.
async fn gather<O, F>(
    targets: &[&Target],
    by_id: &str,
    list: impl Fn(Vec<Filter>) -> F,
) -> Result<BTreeMap<String, Item<O>>, ResourceError>
where
    F: Future<Output = Result<Vec<Item<O>>, ResourceError>>,
{
    let marks = targets
        .iter()
        .map(|target| Mark::of(target))
        .collect::<Result<Vec<_>, _>>()?;
    let mut items = BTreeMap::new();
    for some in marks.chunks(VALUES) {
        let found = list(tags::filters(some)).await?;
        items.extend(found.into_iter().map(|item| (item.id.clone(), item)));
    }
    let remembered = targets
        .iter()
        .filter_map(|target| target.remembered.as_ref()?.id.as_ref());
    let missing: Vec<String> = remembered
        .filter(|id| !items.contains_key(*id))
        .cloned()
        .collect();
    for some in missing.chunks(VALUES) {
        let found = list(vec![tags::filter(by_id, some.to_vec())]).await?;
        items.extend(found.into_iter().map(|item| (item.id.clone(), item)));
    }
    Ok(items)
}

fn pick<O: Clone>(
    target: &Target,
    items: &BTreeMap<String, Item<O>>,
) -> Result<Option<Seen<O>>, ResourceError> {
    let mark = Mark::of(target)?;
    let ours: Vec<&Item<O>> = items.values().filter(|item| mark.is_on(&item.tags)).collect();
    let seen = |item: &Item<O>, foreign| Seen {
        id: Some(item.id.clone()),
        outputs: item.outputs.clone(),
        readiness: item.readiness.clone(),
        foreign,
    };
    match ours.as_slice() {
        [] => {
            let id = target
                .remembered
                .as_ref()
                .and_then(|remembered| remembered.id.as_ref());
            let unmarked = id.and_then(|id| items.get(id));
            Ok(unmarked.map(|item| seen(item, mark.foreign(&item.id, &item.tags))))
        }
        [item] => Ok(Some(seen(item, None))),
        several => {
            let ids: Vec<&str> = several.iter().map(|item| item.id.as_str()).collect();
            Err(ResourceError::permanent(format!(
                "{} carry the mark of {}, which can be only one of them",
                ids.join(" and "),
                target.address
            ))
            .hint("remove the tag stackup:uid from those that nothing uses, and delete them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::{
        model::Address,
        resource::{Remembered, Stack},
    };

    fn target(name: &str, id: Option<&str>) -> Target {
        let address = Address::new("aws.vpc", name);
        let identity = json!({"stack": "demo", "uid": "u", "address": address});
        Target {
            stack: Arc::new(Stack {
                name: "demo".into(),
                uid: "u".into(),
            }),
            remembered: id.map(|id| {
                let remembered = json!({"kind": "aws.vpc", "identity": identity, "id": id});
                Arc::new(serde_json::from_value::<Remembered>(remembered).unwrap())
            }),
            identity,
            address,
            inputs: None,
            input_hash: String::new(),
            outputs: BTreeMap::new(),
            generation: 0,
            adopt: false,
        }
    }

    fn item(id: &str, tags: &[(&str, &str)]) -> Item<()> {
        let tag = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Item {
            id: id.into(),
            tags: tags.iter().map(tag).collect(),
            readiness: Readiness::Ready,
            outputs: (),
        }
    }

    fn marked(id: &str, name: &str) -> Item<()> {
        item(
            id,
            &[
                ("stackup:uid", "u"),
                ("stackup:address", &format!("aws.vpc/{name}")),
            ],
        )
    }

    /// What a look at one target gives.
    type Answer = Result<Option<Seen<()>>, ResourceError>;

    /// Looks in a cloud that answers the first call with `by_tag` and the second with `by_id`.
    fn look(targets: &[Target], by_tag: &[Item<()>], by_id: &[Item<()>]) -> (Vec<Answer>, usize) {
        let calls = Mutex::new(Vec::new());
        let list = |filters: Vec<Filter>| {
            let ids = filters.len() == 1;
            calls.lock().unwrap().push(ids);
            std::future::ready(Ok(if ids { by_id.to_vec() } else { by_tag.to_vec() }))
        };
        let targets: Vec<&Target> = targets.iter().collect();
        let seen = find(&targets, "vpc-id", list).now_or_never().unwrap();
        (seen, calls.into_inner().unwrap().len())
    }

    #[test]
    fn one_call_answers_for_all_targets_and_what_is_not_there_is_absent() {
        let targets = [
            target("a", None),
            target("b", Some("vpc-2")),
            target("gone", None),
        ];
        let (seen, calls) = look(&targets, &[marked("vpc-2", "b"), marked("vpc-1", "a")], &[]);
        let ids: Vec<_> = seen
            .into_iter()
            .map(|seen| seen.unwrap().and_then(|seen| seen.id))
            .collect();
        assert_eq!(ids, [Some("vpc-1".into()), Some("vpc-2".into()), None]);
        assert_eq!(calls, 1);
    }

    #[test]
    fn what_lost_its_tags_is_found_by_its_id_and_is_no_longer_ours() {
        let (seen, calls) = look(&[target("a", Some("vpc-1"))], &[], &[item("vpc-1", &[])]);
        let foreign = seen[0]
            .as_ref()
            .unwrap()
            .as_ref()
            .unwrap()
            .foreign
            .clone()
            .unwrap();
        assert!(foreign.starts_with("vpc-1: it carries no mark"), "{foreign}");
        assert_eq!(calls, 2);
    }

    #[test]
    fn a_list_by_tag_that_lags_does_not_make_our_own_foreign() {
        let (seen, _) = look(&[target("a", Some("vpc-1"))], &[], &[marked("vpc-1", "a")]);
        assert_eq!(seen[0].as_ref().unwrap().as_ref().unwrap().foreign, None);
    }

    #[test]
    fn two_with_the_same_mark_are_an_error_that_names_both() {
        let (seen, _) = look(
            &[target("a", None)],
            &[marked("vpc-1", "a"), marked("vpc-2", "a")],
            &[],
        );
        let error = seen[0].as_ref().unwrap_err();
        assert!(error.message.contains("vpc-1 and vpc-2"), "{error}");
    }
}
