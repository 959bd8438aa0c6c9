//! A reflector store: the objects of a [`reflect`](super::reflect()) stream, by key.

use std::collections::BTreeMap;

use super::reflect::Change;

/// The objects of a stream, by key. While they are listed again the old content stays visible. The new content replaces it in one step
/// when the list is complete.
#[derive(Debug, Clone)]
pub struct Store<K: Ord, V> {
    live: BTreeMap<K, V>,
    /// The content received between `Restarted` and `Synced`. A value of `None` means "as in `live`", so that an unchanged object is not
    /// kept twice.
    next: Option<BTreeMap<K, Option<V>>>,
    synced: Synced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synced {
    Never,
    Once,
}

/// The effect of a change on the visible content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<K, V> {
    /// Nothing.
    Nothing,
    /// The key is new or has another value. With its old value.
    Put(K, Option<V>),
    /// The key was removed. With its old value.
    Gone(K, V),
    /// A list replaced the content. Keys in order.
    Replaced {
        /// Keys that are new or have another value. With their old values.
        put: Vec<(K, Option<V>)>,
        /// Keys that were removed. With their old values.
        gone: Vec<(K, V)>,
    },
}

impl<K: Ord + Clone, V: PartialEq> Store<K, V> {
    /// An empty store that was never synced.
    pub const fn new() -> Self {
        Self { live: BTreeMap::new(), next: None, synced: Synced::Never }
    }

    /// Applies a change. The value of a `Gone` is ignored.
    pub fn apply(&mut self, change: Change<(K, V)>) -> Effect<K, V> {
        match (change, &mut self.next) {
            (Change::Restarted, next) => {
                *next = Some(BTreeMap::new());
                Effect::Nothing
            }
            (Change::Synced, _) => self.replace(),
            (Change::Put((key, value)), Some(next)) => {
                let is_new = self.live.get(&key) != Some(&value);
                next.insert(key, is_new.then_some(value));
                Effect::Nothing
            }
            (Change::Gone((key, _)), Some(next)) => {
                next.remove(&key);
                Effect::Nothing
            }
            (Change::Put((key, value)), None) => {
                if self.live.get(&key) == Some(&value) {
                    return Effect::Nothing;
                }
                let was = self.live.insert(key.clone(), value);
                Effect::Put(key, was)
            }
            (Change::Gone((key, _)), None) => match self.live.remove(&key) {
                Some(was) => Effect::Gone(key, was),
                None => Effect::Nothing,
            },
        }
    }

    fn replace(&mut self) -> Effect<K, V> {
        self.synced = Synced::Once;
        let Some(next) = self.next.take() else { return Effect::Nothing };
        let mut old = std::mem::take(&mut self.live);
        let mut put = Vec::new();
        for (key, fresh) in next {
            match (fresh, old.remove(&key)) {
                (Some(value), was) => {
                    put.push((key.clone(), was));
                    self.live.insert(key, value);
                }
                // Unchanged: no effect to report.
                (None, Some(was)) => drop(self.live.insert(key, was)),
                (None, None) => {}
            }
        }
        Effect::Replaced { put, gone: old.into_iter().collect() }
    }

    /// The visible objects, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.live.iter()
    }

    /// The visible content.
    pub const fn content(&self) -> &BTreeMap<K, V> {
        &self.live
    }

    /// Whether a list was completed. Before that, a missing key does not mean a missing object.
    pub fn is_synced(&self) -> bool {
        self.synced == Synced::Once
    }
}

impl<K: Ord + Clone, V: PartialEq> Default for Store<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, Effect, Store};

    fn applied(
        store: &mut Store<&'static str, u8>,
        changes: &[Change<(&'static str, u8)>],
    ) -> Vec<Effect<&'static str, u8>> {
        changes.iter().cloned().map(|change| store.apply(change)).collect()
    }

    fn synced(content: &[(&'static str, u8)]) -> Store<&'static str, u8> {
        let mut store = Store::new();
        store.apply(Change::Restarted);
        content.iter().for_each(|entry| drop(store.apply(Change::Put(*entry))));
        store.apply(Change::Synced);
        store
    }

    fn content(store: &Store<&'static str, u8>) -> Vec<(&'static str, u8)> {
        store.iter().map(|(key, value)| (*key, *value)).collect()
    }

    #[test]
    fn nothing_is_visible_before_the_first_sync() {
        let mut store = Store::default();
        let done = applied(&mut store, &[Change::Restarted, Change::Put(("b", 1)), Change::Put(("a", 1))]);
        assert_eq!(done, [Effect::Nothing, Effect::Nothing, Effect::Nothing]);
        assert!(!store.is_synced() && content(&store).is_empty());
        assert_eq!(
            store.apply(Change::Synced),
            Effect::Replaced { put: vec![("a", None), ("b", None)], gone: vec![] }
        );
        assert!(store.is_synced());
        assert_eq!(content(&store), [("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_change_is_visible_at_once_and_the_same_value_again_has_no_effect() {
        let mut store = synced(&[("a", 1)]);
        let changes = [
            Change::Put(("a", 1)),
            Change::Put(("a", 2)),
            Change::Put(("b", 1)),
            Change::Gone(("a", 9)),
            Change::Gone(("a", 9)),
        ];
        let done = applied(&mut store, &changes);
        assert_eq!(
            done,
            [
                Effect::Nothing,
                Effect::Put("a", Some(1)),
                Effect::Put("b", None),
                Effect::Gone("a", 2),
                Effect::Nothing
            ]
        );
        assert_eq!(content(&store), [("b", 1)]);
    }

    #[test]
    fn the_old_content_stays_until_the_new_list_is_complete() {
        let mut store = synced(&[("a", 1), ("b", 1), ("c", 1)]);
        applied(
            &mut store,
            &[Change::Restarted, Change::Put(("c", 2)), Change::Put(("d", 1)), Change::Put(("x", 1))],
        );
        applied(&mut store, &[Change::Put(("b", 1)), Change::Gone(("x", 1))]);
        assert_eq!(content(&store), [("a", 1), ("b", 1), ("c", 1)]);
        assert!(store.is_synced());
        assert_eq!(
            store.apply(Change::Synced),
            Effect::Replaced { put: vec![("c", Some(1)), ("d", None)], gone: vec![("a", 1)] }
        );
        assert_eq!(store.content().len(), 3);
    }

    #[test]
    fn a_second_restart_discards_the_first_list() {
        let mut store = synced(&[("a", 1)]);
        applied(
            &mut store,
            &[Change::Restarted, Change::Put(("b", 1)), Change::Restarted, Change::Put(("a", 1))],
        );
        assert_eq!(store.apply(Change::Synced), Effect::Replaced { put: vec![], gone: vec![] });
        assert_eq!(content(&store), [("a", 1)]);
    }
}
