//! Texts that many cached objects share, kept once.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Texts that many have in common.
#[derive(Debug, Default)]
pub struct Interner(pub(super) BTreeSet<Arc<str>>);

impl Interner {
    /// The same text, kept once.
    pub fn share(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some(known) = self.0.get(&text) {
            return known.clone();
        }
        self.0.insert(text.clone());
        text
    }

    /// Forgets those that nobody has any more.
    pub fn forget_unused(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}
