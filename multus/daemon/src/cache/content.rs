//! What is cached, and what the API server said about it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nad::{NadRef, NetworkAttachmentDefinition, PodRef};
use node::client::{Change, Effect, Store};

use super::pod::{CachedPod, PodName};
use crate::metrics::{Kind, Metrics};

/// The cache. Reads and changes take a lock for some microseconds.
#[derive(Debug)]
pub(crate) struct Cache {
    content: Mutex<Content>,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Content {
    pods: Store<PodName, CachedPod>,
    definitions: Store<NadRef, NetworkAttachmentDefinition>,
    pods_contact: Contact,
    definitions_contact: Contact,
    /// Whether the API server has ever listed the definitions.
    definitions_listed: bool,
}

/// Whether the API server has said anything about a kind of object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Not yet.
    #[default]
    None,
    /// It has listed the objects, which are followed since.
    Following,
    /// It refuses to list or watch them, or it was not asked: each is read when it is needed.
    OneByOne,
}

impl Cache {
    /// An empty cache.
    pub(crate) fn new(metrics: Metrics) -> Self {
        Cache { content: Mutex::default(), metrics }
    }

    /// This pod, if it is cached and has the UID of `pod`. Without a UID any pod of the name could be meant, so none is.
    pub(crate) fn pod(&self, pod: &PodRef) -> Option<CachedPod> {
        let uid = pod.uid.as_ref()?;
        let content = self.content();
        content
            .pods
            .content()
            .get(&PodName::of(pod))
            .filter(|cached| cached.identity.is(uid.as_str()))
            .cloned()
    }

    /// This definition, if it is cached.
    pub(crate) fn definition(&self, nad_ref: &NadRef) -> Option<NetworkAttachmentDefinition> {
        self.content().definitions.content().get(nad_ref).cloned()
    }

    /// What the API server has said about pods and definitions.
    pub(crate) fn contact(&self) -> [(&'static str, Contact); 2] {
        let content = self.content();
        [("pods", content.pods_contact), ("definitions", content.definitions_contact)]
    }

    /// Whether the account could ever list the definitions.
    pub(crate) fn has_listed_definitions(&self) -> bool {
        self.content().definitions_listed
    }

    pub(super) fn change_pod(&self, change: Change<(PodName, CachedPod)>) -> Effect<PodName, CachedPod> {
        let mut content = self.content();
        let effect = content.pods.apply(change);
        if content.pods.is_synced() {
            content.pods_contact = Contact::Following;
        }
        self.metrics.set_cached(Kind::Pod, content.pods.content().len());
        effect
    }

    pub(super) fn change_definition(&self, change: Change<(NadRef, NetworkAttachmentDefinition)>) {
        let mut content = self.content();
        content.definitions.apply(change);
        if content.definitions.is_synced() {
            content.definitions_contact = Contact::Following;
            content.definitions_listed = true;
        }
        self.metrics.set_cached(Kind::Definition, content.definitions.content().len());
    }

    /// Forgets all pods: nothing keeps them up to date any more.
    pub(crate) fn do_without_pods(&self) {
        let mut content = self.content();
        (content.pods, content.pods_contact) = (Store::new(), Contact::OneByOne);
        self.metrics.set_cached(Kind::Pod, 0);
    }

    /// Forgets all definitions: nothing keeps them up to date any more.
    pub(super) fn do_without_definitions(&self) {
        let mut content = self.content();
        (content.definitions, content.definitions_contact) = (Store::new(), Contact::OneByOne);
        self.metrics.set_cached(Kind::Definition, 0);
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        // A panic elsewhere while it was locked leaves whole objects behind.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
