//! All objects of a selection, and every change to them, for ever.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::error::{ApiError, Cause};
use super::exchange::unexpected;
use super::resource::{Collection, RequestName, Verb};
use super::retry::{OnUnknown, RetryPolicy};
use super::watch::{ListPage, Parts, Versioned, WatchEvent, WatchQuery};
use super::{ApiClient, Freshness, ListQuery, ObjectList};
use crate::deadline::Deadline;
use crate::entropy::{between, random};

/// Objects per page of a list.
const PAGE: u32 = 500;
/// How long a watch is asked to last: not all end at once.
const LASTS: (Duration, Duration) = (Duration::from_secs(280), Duration::from_secs(291));
/// How much longer than it was to last a watch may be silent.
const GRACE: Duration = Duration::from_secs(30);
/// How long one request may take to be answered, if the client's own limit is not shorter.
const REQUEST: Duration = Duration::from_secs(60);
/// A watch that ends sooner and said nothing is a failure: the next one waits.
const BRIEF: Duration = Duration::from_secs(1);
/// After so many failures in a row the server's refusal is taken to mean the version asked for, which it may never reach: so it is when
/// its database was restored from a backup.
const STUBBORN: u32 = 5;
/// Between attempts after failures.
const BACK_OFF: RetryPolicy = RetryPolicy {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(10),
    on_unknown: OnUnknown::Repeat,
};

/// Which objects of a collection, and how much of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Only those with these labels, such as `app=web`.
    pub labels: Option<String>,
    /// Only those with these fields, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
    /// How much of each.
    pub parts: Parts,
}

impl Selection {
    /// All objects.
    pub const fn all(parts: Parts) -> Self {
        Self { labels: None, fields: None, parts }
    }
}

/// What [`reflect`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// What follows up to [`Change::Synced`] is everything there is; if another `Restarted` comes first, it begins anew.
    Restarted,
    /// This object is there, new or changed.
    Put(T),
    /// This object is gone, or has left the selection; this is its last state.
    Gone(T),
    /// All objects have been told.
    Synced,
}

impl<T> Change<T> {
    /// The same change of something made from the object.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Self::Restarted => Change::Restarted,
            Self::Put(object) => Change::Put(make(object)),
            Self::Gone(object) => Change::Gone(make(object)),
            Self::Synced => Change::Synced,
        }
    }
}

/// Lists the objects as of now, in pages, then watches them from there. It never ends: errors are logged, and tried again
/// after 100 ms, 200 ms... 10 s, in part by chance. If the server no longer knows the version reached, all is listed
/// afresh. Nothing is sent before it is polled, and nothing is kept but the version reached.
///
/// `T` must be able to read whatever the server may hold in the collection: an object it cannot read holds up all.
pub fn reflect<T>(
    api: ApiClient,
    collection: Collection,
    selection: Selection,
) -> impl Stream<Item = Change<T>> + Send
where
    T: DeserializeOwned + Send + 'static,
{
    let at = Stage::Listing { token: None };
    let reflector = Reflector { api, collection, selection, at, failures: 0, told: VecDeque::new() };
    futures::stream::unfold(reflector, |mut reflector| async move {
        let change = reflector.next().await;
        Some((change, reflector))
    })
}

type Changes<T> = Pin<Box<dyn Stream<Item = Result<Versioned<T>, ApiError>> + Send>>;

struct Reflector<T> {
    api: ApiClient,
    collection: Collection,
    selection: Selection,
    at: Stage<T>,
    /// In a row.
    failures: u32,
    /// Read, but not handed out yet.
    told: VecDeque<Change<T>>,
}

enum Stage<T> {
    /// A page is to be read: the first one, without a token, or a later one.
    Listing { token: Option<String> },
    /// A watch is to be opened behind this version.
    Behind { version: String },
    /// A watch is open.
    Watching(Watching<T>),
}

struct Watching<T> {
    changes: Changes<T>,
    version: String,
    since: Instant,
    was_silent: Silent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Silent {
    Yes,
    No,
}

/// What to do after a failure.
enum Then<T> {
    Again(Stage<T>),
    Afresh,
}

impl<T: DeserializeOwned + Send + 'static> Reflector<T> {
    async fn next(&mut self) -> Change<T> {
        loop {
            if let Some(change) = self.told.pop_front() {
                return change;
            }
            let at = std::mem::replace(&mut self.at, Stage::Listing { token: None });
            let outcome = match at {
                Stage::Listing { token } => self.list(token).await,
                Stage::Behind { version } => self.open(version).await,
                Stage::Watching(watching) => self.follow(watching).await,
            };
            match outcome {
                Ok(at) => self.at = at,
                Err((error, then)) => self.recover(&error, then).await,
            }
        }
    }

    async fn list(&mut self, token: Option<String>) -> Outcome<T> {
        let query = ListQuery {
            freshness: Freshness::Latest,
            labels: self.selection.labels.clone(),
            fields: self.selection.fields.clone(),
        };
        let page = ListPage { limit: PAGE, token, parts: self.selection.parts };
        let list = self.api.list_page(&self.collection, &query, &page, Deadline::after(REQUEST)).await;
        let list: ObjectList<T> = match list {
            Ok(list) => list,
            Err(error) => return Err((error, Then::Again(Stage::Listing { token: page.token }))),
        };
        if page.token.is_none() {
            self.told.push_back(Change::Restarted);
        }
        self.told.extend(list.items.into_iter().map(Change::Put));
        if let Some(token) = list.metadata.continue_.filter(|token| !token.is_empty()) {
            return Ok(Stage::Listing { token: Some(token) });
        }
        let Some(version) = list.metadata.resource_version.filter(|version| !version.is_empty()) else {
            let request = RequestName::of_collection(Verb::List, &self.collection);
            return Err((unexpected(&request, "a list without metadata.resourceVersion"), Then::Afresh));
        };
        self.told.push_back(Change::Synced);
        Ok(Stage::Behind { version })
    }

    async fn open(&mut self, version: String) -> Outcome<T> {
        let lasts = between(LASTS.0, LASTS.1);
        let query = WatchQuery {
            labels: self.selection.labels.clone(),
            fields: self.selection.fields.clone(),
            parts: self.selection.parts,
            resource_version: version,
            lasts,
            silence: lasts + GRACE,
        };
        match self.api.watch_versions(&self.collection, &query, Deadline::after(REQUEST)).await {
            Ok(changes) => Ok(Stage::Watching(Watching {
                changes: Box::pin(changes),
                version: query.resource_version,
                since: Instant::now(),
                was_silent: Silent::Yes,
            })),
            Err(error) => Err((error, Then::Again(Stage::Behind { version: query.resource_version }))),
        }
    }

    async fn follow(&mut self, mut watching: Watching<T>) -> Outcome<T> {
        let Some(item) = watching.changes.next().await else {
            if watching.was_silent == Silent::Yes && watching.since.elapsed() < BRIEF {
                self.pause(None).await;
            } else {
                self.failures = 0;
            }
            return Ok(Stage::Behind { version: watching.version });
        };
        match item {
            Ok(Versioned { version, event }) => {
                self.failures = 0;
                match event {
                    WatchEvent::Put(object) => self.told.push_back(Change::Put(object)),
                    WatchEvent::Gone(object) => self.told.push_back(Change::Gone(object)),
                    WatchEvent::Bookmark(_) => {}
                }
                Ok(Stage::Watching(Watching { version, was_silent: Silent::No, ..watching }))
            }
            Err(error) => Err((error, Then::Again(Stage::Behind { version: watching.version }))),
        }
    }

    async fn recover(&mut self, error: &ApiError, then: Then<T>) {
        self.at = match then {
            Then::Again(at) if !is_of_no_use(error, self.failures) => at,
            Then::Again(_) | Then::Afresh => Stage::Listing { token: None },
        };
        self.pause(Some(error)).await;
    }

    async fn pause(&mut self, error: Option<&ApiError>) {
        let wait = BACK_OFF.wait(self.failures, random());
        let wait = wait.saturating_add(error.and_then(ApiError::retry_after).unwrap_or_default());
        self.failures = self.failures.saturating_add(1);
        match error {
            Some(ApiError::Gone { .. }) | None => {
                tracing::debug!(kind = %self.collection.kind(), ?wait, "the watch ended and is begun again");
            }
            Some(error) => tracing::warn!(%error, ?wait, "trying again"),
        }
        tokio::time::sleep(wait).await;
    }
}

/// True if the same request will fail again: the version or token it carries, or the object behind it, is what is wrong.
fn is_of_no_use(error: &ApiError, failures: u32) -> bool {
    match error {
        ApiError::Gone { .. } | ApiError::Unreadable { .. } | ApiError::Invalid { .. } => true,
        ApiError::Retryable { cause: Cause::Status { .. }, .. } => failures >= STUBBORN,
        _ => false,
    }
}

type Outcome<T> = Result<Stage<T>, (ApiError, Then<T>)>;
