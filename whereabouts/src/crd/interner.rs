//! A string interner: equal texts of many cached objects share one allocation.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The interned texts.
#[derive(Debug, Default)]
pub struct Interner(pub(super) BTreeSet<Arc<str>>);

impl Interner {
    /// The interned copy of `text`.
    pub fn intern(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some(interned) = self.0.get(&text) {
            return interned.clone();
        }
        self.0.insert(text.clone());
        text
    }

    /// Drops the texts that no cached object uses any more.
    pub fn remove_unused(&mut self) {
        // One reference is the interner's own.
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}
