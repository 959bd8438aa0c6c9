//! The events of a watch, one JSON object per line.

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::request::{Collection, Parts, WatchRequest};
use super::response::Response;
use super::select::Selector;
use super::store::{Commit, Object, StatusError, Store};

/// An open watch.
pub struct Watch {
    from: Collection,
    selector: Selector,
    parts: Parts,
    /// It has sent all events up to this revision.
    sent: u64,
}

/// What a watch sends next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This event.
    Event(Bytes),
    /// Nothing: it has sent all events that the cache contains, and the cache is older than the store.
    CacheIsBehind,
    /// Nothing: it has sent all events.
    UpToDate,
    /// This ERROR event (410), the last: its next events are compacted.
    Expired(Bytes),
}

impl Watch {
    /// Opens a watch.
    ///
    /// # Errors
    /// [`StatusError::Expired`] if the events after its revision are compacted.
    pub fn open(store: &Store, request: &WatchRequest, parts: Parts) -> Result<Self, StatusError> {
        store.check_age(request.after)?;
        let WatchRequest { from, selector, after, .. } = request.clone();
        Ok(Watch { from, selector, parts, sent: after })
    }

    /// The next event, from a cache of revision `cached`.
    pub fn next(&mut self, store: &Store, cached: u64) -> Next {
        if let Err(expired) = store.check_age(self.sent) {
            return Next::Expired(line("ERROR", &Response::from(&expired).body));
        }
        for commit in store.commits_after(self.sent) {
            if commit.revision > cached {
                return Next::CacheIsBehind;
            }
            self.sent = commit.revision;
            if let Some(event) = self.event(commit) {
                return Next::Event(event);
            }
        }
        Next::UpToDate
    }

    /// A BOOKMARK event: all events up to its resourceVersion were sent.
    pub fn bookmark(&self) -> Bytes {
        let metadata = json!({ "resourceVersion": self.sent.to_string() });
        let object = json!({ "kind": "Bookmark", "apiVersion": "v1", "metadata": metadata });
        line("BOOKMARK", object.to_string().as_bytes())
    }

    /// The event of a commit, if it concerns this watch. An object that stops matching the selector is deleted, as far as the watch sees.
    fn event(&self, commit: &Commit) -> Option<Bytes> {
        let concerns = commit.key.kind == self.from.kind
            && self.from.namespace.as_ref().is_none_or(|namespace| *namespace == commit.key.namespace);
        if !concerns {
            return None;
        }
        let matches = |object: &&Object| self.selector.matches(object);
        match (commit.before.as_ref().filter(matches), commit.after.as_ref().filter(matches)) {
            (None, None) => None,
            (None, Some(new)) => Some(line("ADDED", self.parts.of(new))),
            (Some(_), Some(new)) => Some(line("MODIFIED", self.parts.of(new))),
            (Some(old), None) => {
                // Its last state, with the revision of the change.
                let mut object = Value::clone(commit.after.as_ref().unwrap_or(old));
                object["metadata"]["resourceVersion"] = json!(commit.revision.to_string());
                Some(line("DELETED", self.parts.of(&object.into())))
            }
        }
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    [br#"{"type":""#, kind.as_bytes(), br#"","object":"#, object, b"}\n"].concat().into()
}
