//! List and watch: all objects of a selection, and then every change to them.
//!
//! `kube_runtime::watcher` does the same, and is not used for two reasons:
//! - Memory. It takes `K: kube::Resource`, that is whole objects with their whole `ObjectMeta`. The daemon needs some 400 bytes of a claim,
//!   and the whole object takes 3.6 KB. [`reflect`] reads any type that serde can read, and such a type can skip `managedFields` unparsed.
//! - Simulation. The tests run whole clusters in one thread, from one seed, on a paused clock. Here every timer is tokio's and every random
//!   number is fastrand's, so that a run can be repeated.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::api::ApiClient;
use super::error::{ApiError, Cause, Denial};
use super::exchange::unexpected;
use super::query::{Freshness, ListPage, ListQuery, ObjectList, Parts};
use super::resource::{Collection, RequestName, Verb};
use super::retry::{OnUnknown, RetryPolicy};
use super::watch::{Versioned, WatchEvent, WatchQuery};
use crate::deadline::Deadline;
use crate::rng::between;

/// The number of objects in a page of a list, as in client-go.
const PAGE: u32 = 500;
/// The requested duration of a watch (`timeoutSeconds`), a random time in this range, so that many watches do not end together. Load
/// balancers often close a connection after 5 minutes (300 s).
const WATCH_DURATION: (Duration, Duration) = (Duration::from_secs(280), Duration::from_secs(291));
/// How long a watch may outlast its requested duration without a byte. Then the connection counts as dead.
const SILENCE_GRACE: Duration = Duration::from_secs(30);
/// The limit for a page of a list, and for the start of a watch. The client's own limit applies too.
const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// A watch that ends sooner without an event counts as a failure. Otherwise a proxy that closes every watch at once would make this a busy
/// loop.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
/// After so many failures in a row, a server error (5xx) makes us list again. A server whose etcd was restored from a backup may never reach
/// our resourceVersion, and responds with 504.
const FAILURES_BEFORE_RELIST: u32 = 5;
/// Back-off after failures.
const BACK_OFF: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(10),
    on_unknown: OnUnknown::Repeat,
};

/// Which objects of a collection to follow, and how much of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// A label selector, such as `app=web`.
    pub labels: Option<String>,
    /// A field selector, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
    /// How much of each object to transfer.
    pub parts: Parts,
}

impl Selection {
    /// Selects all objects.
    pub const fn all(parts: Parts) -> Self {
        Self { labels: None, fields: None, parts }
    }
}

/// An item of a [`reflect`] stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// A list starts: the objects from here to [`Change::Synced`] are all objects. Another `Restarted` before that starts the list again.
    Restarted,
    /// The object exists; it may be new or changed.
    Put(T),
    /// The object was deleted, or the selector no longer selects it. With its last state.
    Gone(T),
    /// The list is complete.
    Synced,
}

impl<T> Change<T> {
    /// The same change, with the object converted by `make`.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Restarted => Change::Restarted,
            Self::Put(object) => Change::Put(make(object)),
            Self::Gone(object) => Change::Gone(make(object)),
            Self::Synced => Change::Synced,
        }
    }
}

/// Lists the objects in pages, then watches them from the resourceVersion of the list. The stream never ends: it logs errors and retries after
/// 100 ms, 200 ms... 10 s, with jitter. When the server no longer has the resourceVersion, it lists again. It sends nothing before it is
/// polled, and keeps no object.
///
/// `T` must be able to read every object that the collection may hold: one that it cannot read makes the stream list again and again.
pub fn reflect<T>(
    api: ApiClient,
    collection: Collection,
    selection: Selection,
) -> impl Stream<Item = Change<T>> + Send
where
    T: DeserializeOwned + Send + 'static,
{
    changes(api, collection, selection, OnForbidden::Retry)
}

/// As [`reflect`], but the stream ends when the account lacks the right to list or to watch (403). What it sent before is no longer kept up to
/// date then.
pub fn reflect_while_allowed<T>(
    api: ApiClient,
    collection: Collection,
    selection: Selection,
) -> impl Stream<Item = Change<T>> + Send
where
    T: DeserializeOwned + Send + 'static,
{
    changes(api, collection, selection, OnForbidden::End)
}

fn changes<T>(
    api: ApiClient,
    collection: Collection,
    selection: Selection,
    on_forbidden: OnForbidden,
) -> impl Stream<Item = Change<T>> + Send
where
    T: DeserializeOwned + Send + 'static,
{
    let stage = Stage::Listing { token: None };
    let ready = VecDeque::new();
    let reflector = Reflector { api, collection, selection, on_forbidden, stage, failures: 0, ready };
    futures::stream::unfold(reflector, |mut reflector| async move {
        let change = reflector.next().await?;
        Some((change, reflector))
    })
}

/// What a stream does when the account lacks the right to list or to watch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnForbidden {
    /// It tries again: somebody will grant the right.
    Retry,
    /// It ends: the receiver can do without.
    End,
}

type Changes<T> = Pin<Box<dyn Stream<Item = Result<Versioned<T>, ApiError>> + Send>>;

struct Reflector<T> {
    api: ApiClient,
    collection: Collection,
    selection: Selection,
    on_forbidden: OnForbidden,
    stage: Stage<T>,
    /// The number of failures in a row.
    failures: u32,
    /// Changes that were read and are not yet returned.
    ready: VecDeque<Change<T>>,
}

enum Stage<T> {
    /// The next step is to read a page: the first one if there is no token.
    Listing { token: Option<String> },
    /// The next step is to open a watch from this resourceVersion.
    Opening { version: String },
    /// A watch is open.
    Watching(Watching<T>),
}

struct Watching<T> {
    changes: Changes<T>,
    version: String,
    since: Instant,
    events: Events,
}

/// Whether a watch had an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Events {
    None,
    Some,
}

/// What to do after a failure.
enum Recovery<T> {
    Retry(Stage<T>),
    Relist,
}

impl<T: DeserializeOwned + Send + 'static> Reflector<T> {
    async fn next(&mut self) -> Option<Change<T>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(change);
            }
            let stage = std::mem::replace(&mut self.stage, Stage::Listing { token: None });
            let outcome = match stage {
                Stage::Listing { token } => self.list(token).await,
                Stage::Opening { version } => self.open(version).await,
                Stage::Watching(watching) => self.follow(watching).await,
            };
            match outcome {
                Ok(stage) => self.stage = stage,
                Err((error, _)) if self.on_forbidden == OnForbidden::End && is_forbidden(&error) => {
                    tracing::debug!(%error, "the stream of changes ends");
                    return None;
                }
                Err((error, recovery)) => self.recover(&error, recovery).await,
            }
        }
    }

    async fn list(&mut self, token: Option<String>) -> Outcome<T> {
        let query = ListQuery {
            // A cached list may be older than the watch that just failed: an object that was deleted could come back.
            freshness: Freshness::Latest,
            labels: self.selection.labels.clone(),
            fields: self.selection.fields.clone(),
        };
        let page = ListPage { limit: PAGE, token, parts: self.selection.parts };
        let list = self.api.list_page(&self.collection, &query, &page, Deadline::after(REQUEST_LIMIT)).await;
        let list: ObjectList<T> = match list {
            Ok(list) => list,
            Err(error) => return Err((error, Recovery::Retry(Stage::Listing { token: page.token }))),
        };
        // Only once the first page is here: until then the receiver keeps the old content.
        if page.token.is_none() {
            self.ready.push_back(Change::Restarted);
        }
        self.ready.extend(list.items.into_iter().map(Change::Put));
        if let Some(token) = list.metadata.continue_.filter(|token| !token.is_empty()) {
            return Ok(Stage::Listing { token: Some(token) });
        }
        let Some(version) = list.metadata.resource_version.filter(|version| !version.is_empty()) else {
            let request = RequestName::of_collection(Verb::List, &self.collection);
            return Err((unexpected(&request, "the list has no metadata.resourceVersion"), Recovery::Relist));
        };
        self.ready.push_back(Change::Synced);
        Ok(Stage::Opening { version })
    }

    async fn open(&mut self, version: String) -> Outcome<T> {
        let duration = between(WATCH_DURATION.0, WATCH_DURATION.1);
        let query = WatchQuery {
            labels: self.selection.labels.clone(),
            fields: self.selection.fields.clone(),
            parts: self.selection.parts,
            resource_version: version,
            duration,
            silence: duration + SILENCE_GRACE,
        };
        match self.api.watch(&self.collection, &query, Deadline::after(REQUEST_LIMIT)).await {
            Ok(changes) => Ok(Stage::Watching(Watching {
                changes: Box::pin(changes),
                version: query.resource_version,
                since: Instant::now(),
                events: Events::None,
            })),
            Err(error) => Err((error, Recovery::Retry(Stage::Opening { version: query.resource_version }))),
        }
    }

    async fn follow(&mut self, mut watching: Watching<T>) -> Outcome<T> {
        let Some(item) = watching.changes.next().await else {
            if watching.events == Events::None && watching.since.elapsed() < SHORTEST_WATCH {
                self.pause(None).await;
            } else {
                self.failures = 0;
            }
            return Ok(Stage::Opening { version: watching.version });
        };
        match item {
            Ok(Versioned { version, event }) => {
                self.failures = 0;
                match event {
                    WatchEvent::Put(object) => self.ready.push_back(Change::Put(object)),
                    WatchEvent::Gone(object) => self.ready.push_back(Change::Gone(object)),
                    // It only moves the resourceVersion on, so that a watch after a quiet time does not start from one that is gone (410).
                    WatchEvent::Bookmark => {}
                }
                Ok(Stage::Watching(Watching { version, events: Events::Some, ..watching }))
            }
            Err(error) => Err((error, Recovery::Retry(Stage::Opening { version: watching.version }))),
        }
    }

    async fn recover(&mut self, error: &ApiError, recovery: Recovery<T>) {
        self.stage = match recovery {
            Recovery::Retry(stage) if !must_relist(error, self.failures) => stage,
            Recovery::Retry(_) | Recovery::Relist => Stage::Listing { token: None },
        };
        self.pause(Some(error)).await;
    }

    async fn pause(&mut self, error: Option<&ApiError>) {
        let wait = BACK_OFF.wait(self.failures, fastrand::u64(..));
        let wait = wait.saturating_add(error.and_then(ApiError::retry_after).unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        match error {
            Some(ApiError::Gone { .. }) | None => {
                tracing::debug!(kind = %self.collection.kind(), ?wait, "the watch ended; opening it again");
            }
            Some(error) => tracing::warn!(%error, ?wait, "list or watch failed; retrying"),
        }
        tokio::time::sleep(wait).await;
    }
}

fn is_forbidden(error: &ApiError) -> bool {
    matches!(error, ApiError::Denied { denial: Denial::Forbidden, .. })
}

/// Whether the same request would fail again, because of its resourceVersion or token, or of the object that follows it.
fn must_relist(error: &ApiError, failures: u32) -> bool {
    match error {
        ApiError::Gone { .. } | ApiError::Unreadable { .. } | ApiError::Invalid { .. } => true,
        ApiError::Retryable { cause: Cause::Status { .. }, .. } => failures >= FAILURES_BEFORE_RELIST,
        _ => false,
    }
}

type Outcome<T> = Result<Stage<T>, (ApiError, Recovery<T>)>;
