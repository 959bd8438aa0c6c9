//! What went wrong with a request, by what the caller can do about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kube::core::Status;

use super::resource::{RequestName, Verb};
use crate::text::printable;

/// Whose credentials are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Those in the kubeconfig file at this path.
    Kubeconfig(PathBuf),
    /// The pod's own service account.
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

/// What became of a request that got no answer about its object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The server answered with this HTTP status.
    #[error("the API server answered {code}{}", said(.message))]
    Status {
        /// HTTP status code.
        code: u16,
        /// The server's words; may be empty.
        message: String,
    },
    /// No connection: nothing was sent.
    #[error("cannot connect to the API server: {0}")]
    Connect(String),
    /// The connection broke, or the answer could not be read to its end.
    #[error("the connection to the API server broke: {0}")]
    Lost(String),
    /// No answer within this time.
    #[error("no answer from the API server within {:.1} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The caller's time was over before the request could be sent.
    #[error("the time for the operation was over before the request was sent")]
    DeadlinePassed,
}

/// Why the server turned the caller away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// 401: it does not know who asks.
    Unauthenticated,
    /// 403: it knows, and says no.
    Forbidden,
}

/// A request failed. Sorted by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// There is no such object (or no such kind, or namespace).
    #[error("{request}: not found{}", said(.message))]
    NotFound {
        /// The request.
        request: Box<RequestName>,
        /// The server's words; may be empty.
        message: String,
    },
    /// On create: the name is taken. For a claim: somebody has it; read it to see who.
    #[error("{request}: exists already")]
    AlreadyExists {
        /// The request.
        request: Box<RequestName>,
        /// The server's words; may be empty.
        message: String,
    },
    /// The object changed since it was read, or a precondition does not hold: read it again and decide anew.
    #[error("{request}: the object has changed in the meantime{}", said(.message))]
    Conflict {
        /// The request.
        request: Box<RequestName>,
        /// The server's words; may be empty.
        message: String,
    },
    /// 410: the version asked for is too old: begin anew without it.
    #[error("{request}: the version asked for is gone{}", said(.message))]
    Gone {
        /// The request.
        request: Box<RequestName>,
        /// The server's words; may be empty.
        message: String,
    },
    /// The server will never take this request as it stands (400, 405, 413, 415, 422...).
    #[error("{request}: the API server refuses the request with {code}{}", said(.message))]
    Invalid {
        /// The request.
        request: Box<RequestName>,
        /// HTTP status code.
        code: u16,
        /// The server's words; may be empty.
        message: String,
    },
    /// No right to do so.
    #[error("{request}: {}", denied(.denial, .request, .credentials, .message))]
    Denied {
        /// The request.
        request: Box<RequestName>,
        /// Unknown, or not allowed.
        denial: Denial,
        /// Who asked.
        credentials: Credentials,
        /// The server's words; may be empty.
        message: String,
    },
    /// Nothing was changed and a later attempt may succeed.
    #[error("{request}: {cause}; try again")]
    Retryable {
        /// The request.
        request: Box<RequestName>,
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// The change may have been made, or may not: read before concluding anything.
    #[error("{request}: {cause}; it is not known whether the change was made")]
    OutcomeUnknown {
        /// The request.
        request: Box<RequestName>,
        /// How long the server asks to wait.
        after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// The answer is not what was asked for, or what was to be sent cannot be put into JSON.
    #[error("{request}: unexpected JSON: {reason}")]
    Unreadable {
        /// The request.
        request: Box<RequestName>,
        /// What the parser says.
        reason: String,
    },
}

impl ApiError {
    /// The request that failed.
    pub fn request(&self) -> &RequestName {
        match self {
            Self::NotFound { request, .. }
            | Self::AlreadyExists { request, .. }
            | Self::Conflict { request, .. }
            | Self::Gone { request, .. }
            | Self::Invalid { request, .. }
            | Self::Denied { request, .. }
            | Self::Retryable { request, .. }
            | Self::OutcomeUnknown { request, .. }
            | Self::Unreadable { request, .. } => request,
        }
    }

    /// How long the server asks to wait before another attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retryable { after, .. } | Self::OutcomeUnknown { after, .. } => *after,
            _ => None,
        }
    }
}

/// An answer that is not a success: status code, `Retry-After`, and the body, which should be a `Status`.
pub(super) struct Refusal<'a> {
    pub code: u16,
    pub after: Option<Duration>,
    pub body: &'a [u8],
}

/// Sorts a refusal.
pub(super) fn refused(request: RequestName, refusal: &Refusal<'_>, credentials: &Credentials) -> ApiError {
    let status: Status = serde_json::from_slice(refusal.body).unwrap_or_default();
    let message = printable(&status.message, 500);
    let request = Box::new(request);
    match refusal.code {
        401 => denial(Denial::Unauthenticated, request, credentials, message),
        403 => denial(Denial::Forbidden, request, credentials, message),
        404 => ApiError::NotFound { request, message },
        // On create a 409 means the name is taken; only a quota under contention answers "Conflict".
        409 if request.verb == Verb::Create && status.reason != "Conflict" => {
            ApiError::AlreadyExists { request, message }
        }
        409 => ApiError::Conflict { request, message },
        410 => ApiError::Gone { request, message },
        code @ (408 | 429 | 500..) => no_verdict(request, refusal.after, Cause::Status { code, message }),
        code => ApiError::Invalid { request, code, message },
    }
}

fn denial(denial: Denial, request: Box<RequestName>, credentials: &Credentials, message: String) -> ApiError {
    ApiError::Denied { request, denial, credentials: credentials.clone(), message }
}

/// Sorts a request without a verdict: can the change have been made?
pub(super) fn no_verdict(request: Box<RequestName>, after: Option<Duration>, cause: Cause) -> ApiError {
    let untouched = match cause {
        Cause::Connect(_) | Cause::DeadlinePassed | Cause::Status { code: 429, .. } => true,
        // A 5xx can come after the commit, as when etcd answered too late.
        Cause::Status { .. } | Cause::Lost(_) | Cause::TimedOut(_) => request.verb.is_read(),
    };
    if untouched {
        ApiError::Retryable { request, after, cause }
    } else {
        ApiError::OutcomeUnknown { request, after, cause }
    }
}

/// Sorts a failure below HTTP.
pub(super) fn transport(error: &kube::Error) -> Cause {
    if never_sent(error) { Cause::Connect(chain(error)) } else { Cause::Lost(chain(error)) }
}

fn never_sent(error: &kube::Error) -> bool {
    match error {
        // Adding the credentials failed.
        kube::Error::Auth(_) | kube::Error::BuildRequest(_) | kube::Error::TlsRequired => true,
        kube::Error::Service(source) => links(source.as_ref()).any(|error| {
            error.is::<kube::client::AuthError>()
                || error
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

/// The texts of an error and its causes, without the repetitions that libraries like to make.
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

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn denied(denial: &Denial, request: &RequestName, credentials: &Credentials, message: &str) -> String {
    let said = said(message);
    match denial {
        Denial::Unauthenticated => format!(
            "the API server does not know {credentials} (401{said}): the token has expired or its service account \
             was deleted; see that the file is renewed"
        ),
        Denial::Forbidden => {
            format!("{credentials} may not do this (403{said}): grant {} to it", request.right())
        }
    }
}
