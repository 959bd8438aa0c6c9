//! Watches: one response that goes on for minutes, with one line of JSON per event.

use std::ops::Range;
use std::time::Duration;

use futures::Stream;
use http_body_util::BodyExt as _;
use kube::client::Body;
use kube::core::Request as Urls;
use kube::core::params::WatchParams;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::api::ApiClient;
use super::error::{ApiError, Cause, chain, without_response};
use super::exchange::{unexpected, unreadable};
use super::lines::{Lines, TooLong};
use super::query::Parts;
use super::resource::{Collection, RequestName, Verb};
use crate::deadline::Deadline;
use crate::text::printable;

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WatchQuery {
    /// A label selector, such as `app=web`.
    pub labels: Option<String>,
    /// A field selector, such as `spec.nodeName=n1`.
    pub fields: Option<String>,
    /// How much of each object to transfer.
    pub parts: Parts,
    /// The watch starts after this version, which a list or an earlier watch returned.
    pub resource_version: String,
    /// After how long the server ends the watch, in whole seconds.
    pub duration: Duration,
    /// After how long without a byte the connection counts as dead. A peer that loses power closes no connection.
    pub silence: Duration,
}

/// An event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WatchEvent<T> {
    /// `ADDED` or `MODIFIED`.
    Put(T),
    /// `DELETED`: the object was deleted, or the selector no longer selects it. With its last state.
    Gone(T),
    /// `BOOKMARK`: there was no other event up to this resourceVersion.
    Bookmark,
}

/// An event, and the resourceVersion from which a new watch continues after it.
#[derive(Debug)]
pub(super) struct Versioned<T> {
    pub version: String,
    pub event: WatchEvent<T>,
}

impl ApiClient {
    /// Opens a watch. `deadline` limits only the time until it is open. The stream ends when the server ends the watch, or after an error.
    ///
    /// # Errors
    /// [`ApiError::Gone`], here or as an item, if the resourceVersion is too old: list again. An item [`ApiError::Retryable`] means that the
    /// connection broke or went silent: continue after the last version.
    pub(super) async fn watch<T: DeserializeOwned + Send + 'static>(
        &self,
        collection: &Collection,
        query: &WatchQuery,
        deadline: Deadline,
    ) -> Result<impl Stream<Item = Result<Versioned<T>, ApiError>> + Send + use<T>, ApiError> {
        let request = RequestName::of_collection(Verb::Watch, collection);
        let params = WatchParams {
            label_selector: query.labels.clone(),
            field_selector: query.fields.clone(),
            timeout: Some(u32::try_from(query.duration.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            // The list that came before has them.
            send_initial_events: false,
        };
        let urls = Urls::new(collection.url_path());
        let http = match query.parts {
            Parts::Whole => urls.watch(&params, &query.resource_version),
            Parts::Metadata => urls.watch_metadata(&params, &query.resource_version),
        };
        let body = self.open(&request, http, deadline).await?;
        let reader = Reader { body, lines: Lines::default(), silence: query.silence, request };
        Ok(futures::stream::unfold(Some(reader), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(change)) => Some((Ok(change), Some(reader))),
                Ok(None) => None,
                // An event may be lost, so the stream must end here.
                Err(error) => Some((Err(error), None)),
            }
        }))
    }
}

/// An open watch.
struct Reader {
    body: Body,
    lines: Lines,
    silence: Duration,
    request: RequestName,
}

impl Reader {
    /// The next event, or `None` if the server ended the watch after a complete line.
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
                    let reason = format!("the watch has a line of more than {max} bytes");
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
            // A frame without data holds trailers.
            if let Ok(bytes) = frame.into_data() {
                return Ok(Some(bytes));
            }
        }
    }

    fn lost(&self, cause: Cause) -> ApiError {
        without_response(Box::new(self.request.clone()), None, cause)
    }
}

fn cut() -> Cause {
    Cause::Lost("the watch ended in the middle of a line".to_owned())
}

/// The parts of a line that every event has.
#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    object: Head,
}

/// The common parts of an object of any type, and of the `Status` of an `ERROR` event.
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

/// Reads a line in two passes: first the type and the resourceVersion, then the object as `T`, which a bookmark or an error does not have.
fn read_event<T: DeserializeOwned>(line: &[u8], request: &RequestName) -> Result<Versioned<T>, ApiError> {
    let bad = |error: serde_json::Error| unreadable(request, &error);
    let Envelope { r#type, object: head } = serde_json::from_slice(line).map_err(bad)?;
    if r#type == "ERROR" {
        return Err(error_event(&head, request));
    }
    let no_version =
        || unexpected(request, &format!("the event {:?} has no resourceVersion", printable(&r#type, 20)));
    let version =
        head.metadata.resource_version.filter(|version| !version.is_empty()).ok_or_else(no_version)?;
    let event = match r#type.as_str() {
        "BOOKMARK" => WatchEvent::Bookmark,
        "ADDED" | "MODIFIED" => {
            WatchEvent::Put(serde_json::from_slice::<Carrier<T>>(line).map_err(bad)?.object)
        }
        "DELETED" => WatchEvent::Gone(serde_json::from_slice::<Carrier<T>>(line).map_err(bad)?.object),
        other => {
            let reason = format!("the watch has an event of unknown type {:?}", printable(other, 20));
            return Err(unexpected(request, &reason));
        }
    };
    Ok(Versioned { version, event })
}

/// The error of an `ERROR` event.
fn error_event(head: &Head, request: &RequestName) -> ApiError {
    let message = printable(head.message.as_deref().unwrap_or_default(), 500);
    match head.code {
        // The usual form of 410: the response has started with 200 before the server knows.
        Some(410) => ApiError::Gone { request: Box::new(request.clone()), message },
        code => without_response(
            Box::new(request.clone()),
            None,
            Cause::Status { code: code.unwrap_or(500), message },
        ),
    }
}
