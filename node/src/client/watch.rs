//! Reading many objects in pages, and being told of their changes.
//!
//! A watch is one answer that goes on for minutes: a line of JSON per change. It is read here rather than by
//! kube-runtime, whose back-off takes its chance from elsewhere, so that a simulation could not replay it.

use std::ops::Range;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::params::WatchParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::{ApiError, Cause, chain, no_verdict};
use super::exchange::{unexpected, unreadable};
use super::lines::{Lines, TooLong};
use super::resource::{Collection, RequestName, Verb};
use super::{ApiClient, ListQuery, ObjectList, list_params, urls};
use crate::deadline::Deadline;
use crate::text::printable;

/// How much of each object is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parts {
    /// All of it.
    Whole,
    /// Its metadata only, as [`MetadataOnly`](super::MetadataOnly) reads it.
    Metadata,
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// At most this many objects; the server may ignore it.
    pub limit: u32,
    /// Where the page before ended: `metadata.continue` of its answer. `None` for the first page.
    pub token: Option<String>,
    /// How much of each object.
    pub parts: Parts,
}

/// What to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchQuery {
    /// Only objects with these labels, such as `app=web`.
    pub labels: Option<String>,
    /// Only objects with these fields, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
    /// How much of each object.
    pub parts: Parts,
    /// Changes after this version, as a list or an earlier watch gave it.
    pub resource_version: String,
    /// How long the server shall go on, at most 294 s.
    pub lasts: Duration,
    /// How long nothing at all may arrive before the connection counts as dead.
    pub silence: Duration,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent<T> {
    /// The object is there, new or changed.
    Put(T),
    /// The object is gone, or has left the selection; this is its last state.
    Gone(T),
    /// Nothing changed up to this `resourceVersion`.
    Bookmark(String),
}

/// A change, and the version from which a watch would continue behind it.
pub(super) struct Versioned<T> {
    pub version: String,
    pub event: WatchEvent<T>,
}

impl ApiClient {
    /// Reads one page of a list. The next one's token is in `metadata.continue_`; it is empty or absent on the last page.
    ///
    /// # Errors
    /// [`ApiError::Gone`] if the token has become too old: begin with the first page; others.
    pub async fn list_page<T: DeserializeOwned>(
        &self,
        collection: &Collection,
        query: &ListQuery,
        page: &ListPage,
        deadline: Deadline,
    ) -> Result<ObjectList<T>, ApiError> {
        let request = RequestName::of_collection(Verb::List, collection);
        let mut params = list_params(query).limit(page.limit);
        if let Some(token) = &page.token {
            params = params.continue_token(token);
            // The token says which version; the server takes no other beside it.
            (params.resource_version, params.version_match) = (None, None);
        }
        let http = match page.parts {
            Parts::Whole => urls(collection).list(&params),
            Parts::Metadata => urls(collection).list_metadata(&params),
        };
        self.send(request, http, deadline).await
    }

    /// Opens a watch; `deadline` is for its beginning only. It ends when the server ends it, and after an error.
    ///
    /// # Errors
    /// [`ApiError::Gone`], at once or as an item, if the version has become too old: list afresh. An item
    /// [`ApiError::Retryable`] says that the connection broke or went silent: continue behind the last version seen.
    pub async fn watch<T: DeserializeOwned + Send + 'static>(
        &self,
        collection: &Collection,
        query: &WatchQuery,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<WatchEvent<T>, ApiError>> + Send + use<T>, ApiError> {
        let changes = self.watch_versions(collection, query, deadline).await?;
        Ok(changes.map(|item| item.map(|change| change.event)))
    }

    /// [`ApiClient::watch`], with the version behind each change.
    pub(super) async fn watch_versions<T: DeserializeOwned + Send + 'static>(
        &self,
        collection: &Collection,
        query: &WatchQuery,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Versioned<T>, ApiError>> + Send + use<T>, ApiError> {
        let request = RequestName::of_collection(Verb::Watch, collection);
        let params = WatchParams {
            label_selector: query.labels.clone(),
            field_selector: query.fields.clone(),
            timeout: Some(u32::try_from(query.lasts.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            send_initial_events: false,
        };
        let http = match query.parts {
            Parts::Whole => urls(collection).watch(&params, &query.resource_version),
            Parts::Metadata => urls(collection).watch_metadata(&params, &query.resource_version),
        };
        let body = self.open(&request, http, deadline).await?;
        let reader = Reader { body, lines: Lines::default(), silence: query.silence, request };
        Ok(futures::stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(change)) => Some((Ok(change), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// The rest of a watch.
struct Reader {
    body: Body,
    lines: Lines,
    silence: Duration,
    request: RequestName,
}

impl Reader {
    /// The next change, or `None` if the server ended the watch in order.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Versioned<T>>, ApiError> {
        let Some(line) = self.line().await? else { return Ok(None) };
        read_event(self.lines.get(line), &self.request).map(Some)
    }

    async fn line(&mut self) -> Result<Option<Range<usize>>, ApiError> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Ok(Some(line)),
                Ok(None) => {}
                Err(TooLong(max)) => {
                    let reason = format!("a line of more than {max} bytes");
                    return Err(unexpected(&self.request, &reason));
                }
            }
            let Some(bytes) = self.frame().await.map_err(|cause| self.lost(cause))? else {
                return if self.lines.is_between() { Ok(None) } else { Err(self.lost(cut())) };
            };
            self.lines.push(&bytes);
        }
    }

    async fn frame(&mut self) -> Result<Option<hyper::body::Bytes>, Cause> {
        loop {
            let frame = tokio::time::timeout(self.silence, self.body.frame()).await;
            let Some(frame) = frame.map_err(|_| Cause::TimedOut(self.silence))? else { return Ok(None) };
            let frame = frame.map_err(|error| Cause::Lost(chain(&error)))?;
            // Anything else is trailers.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    fn lost(&self, cause: Cause) -> ApiError {
        no_verdict(Box::new(self.request.clone()), None, cause)
    }
}

fn cut() -> Cause {
    Cause::Lost("it ended in the middle of a line".to_owned())
}

/// A line without the object itself.
#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    object: Head,
}

/// What is read of an object of unknown type, or of the `Status` of an error.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    metadata: Version,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    #[serde(default)]
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct Carrier<T> {
    object: T,
}

/// Reads a line in two passes: first what every event has, then the object as the caller wants it.
fn read_event<T: DeserializeOwned>(line: &[u8], request: &RequestName) -> Result<Versioned<T>, ApiError> {
    let bad = |error: serde_json::Error| unreadable(request, &error);
    let Envelope { r#type, object: head } = serde_json::from_slice(line).map_err(bad)?;
    if r#type == "ERROR" {
        return Err(told(&head, request));
    }
    let no_version =
        || unexpected(request, &format!("an event {:?} without resourceVersion", printable(&r#type, 20)));
    let version =
        head.metadata.resource_version.filter(|version| !version.is_empty()).ok_or_else(no_version)?;
    let event = match r#type.as_str() {
        "BOOKMARK" => WatchEvent::Bookmark(version.clone()),
        "ADDED" | "MODIFIED" => {
            WatchEvent::Put(serde_json::from_slice::<Carrier<T>>(line).map_err(bad)?.object)
        }
        "DELETED" => WatchEvent::Gone(serde_json::from_slice::<Carrier<T>>(line).map_err(bad)?.object),
        other => {
            let reason = format!("an event of unknown type {:?}", printable(other, 20));
            return Err(unexpected(request, &reason));
        }
    };
    Ok(Versioned { version, event })
}

/// An error that the server tells within the watch.
fn told(head: &Head, request: &RequestName) -> ApiError {
    let message = printable(head.message.as_deref().unwrap_or_default(), 500);
    match head.code {
        Some(410) => ApiError::Gone { request: Box::new(request.clone()), message },
        code => {
            no_verdict(Box::new(request.clone()), None, Cause::Status { code: code.unwrap_or(500), message })
        }
    }
}
