//! The objects of a [`reflect`](super::reflect), as a map.

use std::collections::BTreeMap;

use super::reflect::Change;

/// What is known of the objects, by key. While they are listed afresh the old content stays in place; it is replaced in one
/// step when all have been told.
#[derive(Debug, Clone)]
pub struct Mirror<K: Ord, V> {
    live: BTreeMap<K, V>,
    /// What was told since the last `Restarted`, until `Synced`.
    /// `None` for what is as it was, which is kept once.
    next: Option<BTreeMap<K, Option<V>>>,
    synced: Synced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Never,
    Once,
}

/// What a change did to the visible content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied<K, V> {
    /// Nothing.
    Nothing,
    /// This key is new or has another value; what it had before.
    Put(K, Option<V>),
    /// This key is no more; what it had.
    Gone(K, V),
    /// The content was replaced. Keys in order.
    Replaced {
        /// New, or with another value; what they had before.
        put: Vec<(K, Option<V>)>,
        /// No more; what they had.
        gone: Vec<(K, V)>,
    },
}

impl<K: Ord + Clone, V: PartialEq> Mirror<K, V> {
    /// Empty, never synced.
    pub const fn new() -> Self {
        Self { live: BTreeMap::new(), next: None, synced: Synced::Never }
    }

    /// Takes a change over. Of a `Gone` only the key matters.
    pub fn apply(&mut self, change: Change<(K, V)>) -> Applied<K, V> {
        match (change, &mut self.next) {
            (Change::Restarted, next) => {
                *next = Some(BTreeMap::new());
                Applied::Nothing
            }
            (Change::Synced, _) => self.replace(),
            (Change::Put((key, value)), Some(next)) => {
                let is_new = self.live.get(&key) != Some(&value);
                next.insert(key, is_new.then_some(value));
                Applied::Nothing
            }
            (Change::Gone((key, _)), Some(next)) => {
                next.remove(&key);
                Applied::Nothing
            }
            (Change::Put((key, value)), None) => {
                if self.live.get(&key) == Some(&value) {
                    return Applied::Nothing;
                }
                let was = self.live.insert(key.clone(), value);
                Applied::Put(key, was)
            }
            (Change::Gone((key, _)), None) => match self.live.remove(&key) {
                Some(was) => Applied::Gone(key, was),
                None => Applied::Nothing,
            },
        }
    }

    fn replace(&mut self) -> Applied<K, V> {
        self.synced = Synced::Once;
        let Some(next) = self.next.take() else { return Applied::Nothing };
        let mut old = std::mem::take(&mut self.live);
        let mut put = Vec::new();
        for (key, fresh) in next {
            match (fresh, old.remove(&key)) {
                (Some(value), was) => {
                    put.push((key.clone(), was));
                    self.live.insert(key, value);
                }
                (None, Some(was)) => drop(self.live.insert(key, was)),
                (None, None) => {}
            }
        }
        Applied::Replaced { put, gone: old.into_iter().collect() }
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.live.get(key)
    }

    /// All of it, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.live.iter()
    }

    /// The content itself.
    pub const fn content(&self) -> &BTreeMap<K, V> {
        &self.live
    }

    /// True once all objects have been told. Before that, absence means nothing.
    pub fn is_synced(&self) -> bool {
        self.synced == Synced::Once
    }
}

impl<K: Ord + Clone, V: PartialEq> Default for Mirror<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Applied, Change, Mirror};

    fn applied(
        mirror: &mut Mirror<&'static str, u8>,
        changes: &[Change<(&'static str, u8)>],
    ) -> Vec<Applied<&'static str, u8>> {
        changes.iter().cloned().map(|change| mirror.apply(change)).collect()
    }

    fn synced(content: &[(&'static str, u8)]) -> Mirror<&'static str, u8> {
        let mut mirror = Mirror::new();
        mirror.apply(Change::Restarted);
        content.iter().for_each(|entry| drop(mirror.apply(Change::Put(*entry))));
        mirror.apply(Change::Synced);
        mirror
    }

    fn content(mirror: &Mirror<&'static str, u8>) -> Vec<(&'static str, u8)> {
        mirror.iter().map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn nothing_shows_before_the_first_sync() {
        let mut mirror = Mirror::default();
        let done = applied(&mut mirror, &[Change::Restarted, Change::Put(("b", 1)), Change::Put(("a", 1))]);
        assert_eq!(done, [Applied::Nothing, Applied::Nothing, Applied::Nothing]);
        assert!(!mirror.is_synced() && content(&mirror).is_empty());
        assert_eq!(
            mirror.apply(Change::Synced),
            Applied::Replaced { put: vec![("a", None), ("b", None)], gone: vec![] }
        );
        assert!(mirror.is_synced());
        assert_eq!(content(&mirror), [("a", 1), ("b", 1)]);
    }

    #[test]
    fn changes_show_at_once_and_only_if_they_are_changes() {
        let mut mirror = synced(&[("a", 1)]);
        let changes = [
            Change::Put(("a", 1)),
            Change::Put(("a", 2)),
            Change::Put(("b", 1)),
            Change::Gone(("a", 9)),
            Change::Gone(("a", 9)),
        ];
        let done = applied(&mut mirror, &changes);
        assert_eq!(
            done,
            [
                Applied::Nothing,
                Applied::Put("a", Some(1)),
                Applied::Put("b", None),
                Applied::Gone("a", 2),
                Applied::Nothing
            ]
        );
        assert_eq!((mirror.get(&"a"), mirror.get(&"b")), (None, Some(&1)));
    }

    #[test]
    fn the_old_content_stays_until_the_new_one_is_whole() {
        let mut mirror = synced(&[("a", 1), ("b", 1), ("c", 1)]);
        applied(
            &mut mirror,
            &[Change::Restarted, Change::Put(("c", 2)), Change::Put(("d", 1)), Change::Put(("x", 1))],
        );
        applied(&mut mirror, &[Change::Put(("b", 1)), Change::Gone(("x", 1))]);
        assert_eq!(content(&mirror), [("a", 1), ("b", 1), ("c", 1)]);
        assert!(mirror.is_synced());
        assert_eq!(
            mirror.apply(Change::Synced),
            Applied::Replaced { put: vec![("c", Some(1)), ("d", None)], gone: vec![("a", 1)] }
        );
        assert_eq!(mirror.content().len(), 3);
    }

    #[test]
    fn a_second_restart_forgets_what_the_first_told() {
        let mut mirror = synced(&[("a", 1)]);
        applied(
            &mut mirror,
            &[Change::Restarted, Change::Put(("b", 1)), Change::Restarted, Change::Put(("a", 1))],
        );
        assert_eq!(mirror.apply(Change::Synced), Applied::Replaced { put: vec![], gone: vec![] });
        assert_eq!(content(&mirror), [("a", 1)]);
    }
}
