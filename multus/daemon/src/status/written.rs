//! Which network-status the daemon wrote, and whether a pod still has it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use node::names::PodUid;
use tokio::sync::Notify;

use super::merge::merged;
use crate::cache::{CachedPod, PodName};

/// The most merges for one pod. A writer that replaces the annotation again and again would else keep us writing for ever.
pub(super) const MAX_MERGES: u8 = 5;

/// The longest status that is kept, in bytes. One of 16 networks has some 5,000.
const MAX_KEPT: usize = 64 << 10;

/// What the daemon wrote, and the pods in which it was replaced.
#[derive(Debug, Default)]
pub(super) struct Written {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    statuses: BTreeMap<PodName, Status>,
    replaced: BTreeMap<PodName, Digest>,
}

/// A hash of a text, to know it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest(u64);

impl Digest {
    fn of(text: Option<&str>) -> Self {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Digest(hasher.finish())
    }
}

/// A status that was written, some kilobytes.
#[derive(Debug)]
struct Status {
    uid: PodUid,
    text: Box<str>,
    /// What the pod requested then. Once it requests something else, whoever attaches it to the running pod writes the status.
    networks: Digest,
    merges: u8,
    /// The replacement that the last merge was for. If it comes again, its writer does not accept the merge.
    answered: Option<Digest>,
}

/// A status that is being written. It is forgotten when this is dropped: the write may have failed, or may have been broken off. Of each pod's name
/// there is one at a time, because [`Order`](super::order::Order) does one write after the other.
#[derive(Debug)]
#[must_use]
pub(super) struct Noted<'a> {
    written: &'a Written,
    name: Option<PodName>,
}

impl Noted<'_> {
    /// The status is written.
    pub(super) fn keep(mut self) {
        self.name = None;
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.written.remove(&name);
        }
    }
}

impl Written {
    /// Takes note of a status that is about to be written to a cached pod.
    pub(super) fn note(&self, name: PodName, pod: &CachedPod, text: &str) -> Noted<'_> {
        self.put(name.clone(), pod, text);
        Noted { written: self, name: Some(name) }
    }

    fn put(&self, name: PodName, pod: &CachedPod, text: &str) {
        let Some(uid) = pod.uid().filter(|_| text.len() <= MAX_KEPT) else {
            self.remove(&name);
            return;
        };
        let networks = Digest::of(pod.networks.as_deref());
        let status = Status { uid, text: text.into(), networks, merges: 0, answered: None };
        self.state().statuses.insert(name, status);
    }

    /// The UID of a pod's object and the status that was written.
    pub(super) fn get(&self, name: &PodName) -> Option<(PodUid, Box<str>)> {
        self.state().statuses.get(name).map(|status| (status.uid.clone(), status.text.clone()))
    }

    /// Forgets a pod.
    pub(super) fn remove(&self, name: &PodName) {
        let mut state = self.state();
        state.statuses.remove(name);
        state.replaced.remove(name);
    }

    /// Forgets all pods.
    pub(super) fn clear(&self) {
        *self.state() = State::default();
    }

    /// Takes note of a merge for a replacement.
    pub(super) fn merged(&self, name: &PodName, text: String, replacement: Digest) {
        if let Some(status) = self.state().statuses.get_mut(name) {
            status.text = text.into();
            status.answered = Some(replacement);
            status.merges = status.merges.saturating_add(1);
            if status.merges == MAX_MERGES {
                tracing::warn!(
                    pod = %name.with_uid(None), merges = MAX_MERGES,
                    "network-status was replaced too often; the entries of multus are not merged in again"
                );
            }
        }
    }

    /// Looks at a pod as it is now.
    pub(super) fn observe(&self, name: &PodName, pod: &CachedPod, status: Option<&str>) {
        let mut state = self.state();
        let Some(ours) = state.statuses.get(name) else { return };
        let is_same_pod = pod.identity.uid() == ours.uid.as_str();
        if !is_same_pod || ours.networks != Digest::of(pod.networks.as_deref()) {
            state.statuses.remove(name);
            return;
        }
        // Without the annotation: whoever deleted it would delete it again.
        let Some(status) = status.filter(|status| **status != *ours.text) else { return };
        let digest = Digest::of(Some(status));
        let is_fight = ours.merges >= MAX_MERGES || ours.answered == Some(digest);
        if !is_fight && merged(&ours.text, status).is_some() {
            state.replaced.insert(name.clone(), digest);
            self.wake.notify_one();
        }
    }

    /// The next pod in which the status was replaced, and the replacement.
    pub(super) async fn next_replaced(&self) -> (PodName, Digest) {
        loop {
            if let Some(next) = self.state().replaced.pop_first() {
                return next;
            }
            self.wake.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
