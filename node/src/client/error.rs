//! Why a request failed, sorted by what the caller can do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::core::Status;

use super::resource::{RequestName, Verb};
use crate::text::printable;

/// Where the credentials come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// The kubeconfig file at this path.
    Kubeconfig(PathBuf),
    /// The service account of the pod that this process runs in.
    InCluster,
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kubeconfig(path) => write!(f, "the user in kubeconfig {}", path.display()),
            Self::InCluster => f.write_str("this pod's service account"),
        }
    }
}

/// Why there is no response about the object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The server responded with this HTTP status.
    #[error("the API server responded with {code}{}", suffix(.message))]
    Status {
        /// HTTP status code.
        code: u16,
        /// The server's message; may be empty.
        message: String,
    },
    /// There is no connection: nothing was sent.
    #[error("cannot connect to the API server: {0}")]
    Connect(String),
    /// The connection broke before the whole response was read.
    #[error("the connection to the API server broke: {0}")]
    Lost(String),
    /// There was no response within this time.
    #[error("no response from the API server within {:.1} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The caller's deadline passed before the request was sent.
    #[error("the deadline of the operation passed before the request was sent")]
    DeadlinePassed,
}

/// Why the server denied access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// 401: it does not accept the credentials.
    Unauthenticated,
    /// 403: it knows the user, who lacks the right.
    Forbidden,
}

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The object does not exist, or its kind or namespace does not.
    #[error("{request}: not found{}", suffix(.message))]
    NotFound {
        /// The request.
        request: Box<RequestName>,
        /// The server's message; may be empty.
        message: String,
    },
    /// The name of an object to create is taken. Read the object to see its owner.
    #[error("{request}: already exists")]
    AlreadyExists {
        /// The request.
        request: Box<RequestName>,
        /// The server's message; may be empty.
        message: String,
    },
    /// The object changed since it was read, or a precondition does not hold: read it and decide again.
    #[error("{request}: conflict, the object has changed since it was read{}", suffix(.message))]
    Conflict {
        /// The request.
        request: Box<RequestName>,
        /// The server's message; may be empty.
        message: String,
    },
    /// 410: the resourceVersion or the continue token is too old: list again without it.
    #[error("{request}: the requested resourceVersion is too old{}", suffix(.message))]
    Gone {
        /// The request.
        request: Box<RequestName>,
        /// The server's message; may be empty.
        message: String,
    },
    /// The server will never accept this request (400, 405, 413, 415, 422...).
    #[error("{request}: the API server rejects the request with {code}{}", suffix(.message))]
    Invalid {
        /// The request.
        request: Box<RequestName>,
        /// HTTP status code.
        code: u16,
        /// The server's message; may be empty.
        message: String,
    },
    /// The server denied access.
    #[error("{request}: {}", denied(.denial, .request, .credentials, .message))]
    Denied {
        /// The request.
        request: Box<RequestName>,
        /// Why.
        denial: Denial,
        /// The credentials that were used.
        credentials: Credentials,
        /// The server's message; may be empty.
        message: String,
    },
    /// Nothing was changed and a later attempt may succeed.
    #[error("{request}: {cause}; try again")]
    Retryable {
        /// The request.
        request: Box<RequestName>,
        /// The server's `Retry-After`.
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// The change may or may not have been made: read the object before going on.
    #[error("{request}: {cause}; the change may or may not have been made")]
    OutcomeUnknown {
        /// The request.
        request: Box<RequestName>,
        /// The server's `Retry-After`.
        after: Option<Duration>,
        /// Why.
        cause: Cause,
    },
    /// The response has an unexpected shape, or the request cannot be encoded as JSON.
    #[error("{request}: unexpected JSON: {reason}")]
    Unreadable {
        /// The request.
        request: Box<RequestName>,
        /// The parser's message.
        reason: String,
    },
}

impl ApiError {
    /// How long the server asks to wait before another attempt.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retryable { after, .. } | Self::OutcomeUnknown { after, .. } => *after,
            _ => None,
        }
    }
}

/// A response that is not a success: status code, `Retry-After`, and the body, which should be a `Status`.
pub(super) struct Failure<'a> {
    pub code: u16,
    pub after: Option<Duration>,
    pub body: &'a [u8],
}

/// Sorts a response that is not a success.
pub(super) fn from_response(
    request: RequestName,
    failure: &Failure<'_>,
    credentials: &Credentials,
) -> ApiError {
    // A proxy in between may send HTML. Then the code alone decides.
    let status: Status = serde_json::from_slice(failure.body).unwrap_or_default();
    let message = printable(&status.message, 500);
    let request = Box::new(request);
    match failure.code {
        401 => denial(Denial::Unauthenticated, request, credentials, message),
        403 => denial(Denial::Forbidden, request, credentials, message),
        404 => ApiError::NotFound { request, message },
        // On create, 409 means that the name is taken. The exception is a contended quota: its reason is "Conflict".
        409 if request.verb == Verb::Create && status.reason != "Conflict" => {
            ApiError::AlreadyExists { request, message }
        }
        409 => ApiError::Conflict { request, message },
        410 => ApiError::Gone { request, message },
        // 408: the server read only a part of the request. 5xx may also come from a proxy in between.
        code @ (408 | 429 | 500..) => {
            without_response(request, failure.after, Cause::Status { code, message })
        }
        code => ApiError::Invalid { request, code, message },
    }
}

fn denial(denial: Denial, request: Box<RequestName>, credentials: &Credentials, message: String) -> ApiError {
    ApiError::Denied { request, denial, credentials: credentials.clone(), message }
}

/// Sorts a request without a response about its object: can the change have been made?
pub(super) fn without_response(request: Box<RequestName>, after: Option<Duration>, cause: Cause) -> ApiError {
    let nothing_changed = match cause {
        // The API server rejects with 429 before it executes the request.
        Cause::Connect(_) | Cause::DeadlinePassed | Cause::Status { code: 429, .. } => true,
        // The API server may send a 5xx after the commit, for example if etcd confirms it too late.
        Cause::Status { .. } | Cause::Lost(_) | Cause::TimedOut(_) => request.verb.is_read(),
    };
    if nothing_changed {
        ApiError::Retryable { request, after, cause }
    } else {
        ApiError::OutcomeUnknown { request, after, cause }
    }
}

/// Sorts a failure below HTTP: before or after the request was sent.
pub(super) fn transport(error: &kube::Error) -> Cause {
    if never_sent(error) { Cause::Connect(chain(error)) } else { Cause::Lost(chain(error)) }
}

fn never_sent(error: &kube::Error) -> bool {
    match error {
        // These fail before kube writes to the connection.
        kube::Error::BuildRequest(_) | kube::Error::TlsRequired => true,
        kube::Error::Service(source) => links(source.as_ref()).any(|error| {
            error
                .downcast_ref::<hyper_util::client::legacy::Error>()
                .is_some_and(hyper_util::client::legacy::Error::is_connect)
        }),
        _ => false,
    }
}

/// An error and its causes.
fn links<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// The texts of an error and its causes. Leaves out a text that an earlier one contains: many libraries print their source too.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for link in links(error) {
        let part = link.to_string();
        if !text.contains(&part) {
            text = if text.is_empty() { part } else { format!("{text}: {part}") };
        }
    }
    printable(&text, 500)
}

/// The server's message as the end of a sentence.
fn suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn denied(denial: &Denial, request: &RequestName, credentials: &Credentials, message: &str) -> String {
    let suffix = suffix(message);
    match denial {
        Denial::Unauthenticated => format!(
            "the API server does not accept the credentials of {credentials} (401{suffix}): the token has expired or \
             its service account was deleted; check that the token is renewed"
        ),
        Denial::Forbidden => {
            format!("{credentials} lacks a right (403{suffix}): grant {}", request.right())
        }
    }
}
