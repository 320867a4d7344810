use std::collections::{BTreeMap, HashMap};

use crate::{
    kubernetes::manifest::object::Object,
    model::{Address, Until},
};

/// An object with its place in the stack.
#[derive(Debug)]
pub(in super::super) struct Item {
    pub(in super::super) address: Address,
    /// The number of its component.
    pub(in super::super) component: usize,
    /// `None` if only a server can tell.
    pub(in super::super) namespaced: Option<bool>,
    pub(in super::super) object: Object,
}

impl Item {
    /// Its namespace; empty if it has none.
    pub(in super::super) fn namespace(&self) -> &str {
        self.object.namespace().unwrap_or_default()
    }
}

/// What each item needs, and how far that must be.
#[derive(Debug)]
pub(in super::super) struct Edges {
    needs: Vec<BTreeMap<usize, Until>>,
    scaled_by: BTreeMap<usize, usize>,
}

impl Edges {
    pub(super) fn new(len: usize) -> Self {
        Self {
            needs: vec![BTreeMap::new(); len],
            scaled_by: BTreeMap::new(),
        }
    }

    /// Says that `item` needs `needed`; of two edges the one that waits longer stays. Nothing needs itself.
    pub(super) fn need(&mut self, item: usize, needed: usize, until: Until) {
        if item == needed {
            return;
        }
        if let Some(needs) = self.needs.get_mut(item) {
            let kept = needs.entry(needed).or_insert(until);
            *kept = until.max(*kept);
        }
    }

    /// Says that an autoscaler sets the replicas of `item`.
    pub(super) fn scale(&mut self, item: usize, scaler: usize) {
        self.scaled_by.insert(item, scaler);
    }

    /// What an item needs.
    pub(in super::super) fn needs(&self, item: usize) -> impl Iterator<Item = (usize, Until)> {
        self.needs
            .get(item)
            .into_iter()
            .flatten()
            .map(|(needed, until)| (*needed, *until))
    }

    /// The autoscaler that sets the replicas of an item.
    pub(in super::super) fn scaled_by(&self, item: usize) -> Option<usize> {
        self.scaled_by.get(&item).copied()
    }

    /// The items themselves and all that they need, directly or not.
    pub(super) fn closure(&self, items: &[usize]) -> Vec<bool> {
        let mut found = vec![false; self.needs.len()];
        let mut open = items.to_vec();
        while let Some(item) = open.pop() {
            if let Some(seen) = found.get_mut(item)
                && !std::mem::replace(seen, true)
            {
                open.extend(self.needs(item).map(|(needed, _)| needed));
            }
        }
        found
    }
}

/// Items by what names them.
#[derive(Debug)]
pub(super) struct Index<'a> {
    pub(super) items: &'a [Item],
    by_name: HashMap<(&'a str, &'a str, &'a str, &'a str), usize>,
}

impl<'a> Index<'a> {
    pub(super) fn new(items: &'a [Item]) -> Self {
        let by_name = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let object = &item.object;
                (
                    (object.group(), object.kind(), item.namespace(), object.name()),
                    index,
                )
            })
            .collect();
        Self { items, by_name }
    }

    /// The item of this group, kind, namespace (empty for none) and name.
    pub(super) fn find(&self, group: &str, kind: &str, namespace: &str, name: &str) -> Option<usize> {
        self.by_name.get(&(group, kind, namespace, name)).copied()
    }

    /// All items with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &'a Item)> + use<'a> {
        self.items.iter().enumerate()
    }
}
