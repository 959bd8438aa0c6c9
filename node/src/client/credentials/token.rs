//! The token of a client, and its renewal from a file. kube reads a `tokenFile` too, but sends it with the line end that most files have, so that
//! each request fails before it is sent.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use super::error::{ConnectError, Place};
use super::value;

/// A file is read again after this time. The kubelet renews a token long before it expires.
const REREAD: Duration = Duration::from_secs(50);

/// Where the `Authorization` header of each request comes from.
#[derive(Debug)]
pub(in crate::client) enum Token {
    /// The same for each request.
    Fixed(HeaderValue),
    /// From a file, which somebody renews.
    File(TokenFile),
}

/// A token in a file.
#[derive(Debug)]
pub(in crate::client) struct TokenFile {
    path: PathBuf,
    place: Place,
    last: Mutex<Last>,
}

#[derive(Debug, Clone)]
struct Last {
    header: HeaderValue,
    read: Instant,
}

impl Token {
    /// Checks a token.
    pub(super) fn fixed(place: Place, token: &[u8]) -> Result<Self, ConnectError> {
        value::bearer(token).map(Self::Fixed).map_err(|reason| place.malformed(reason))
    }

    /// Reads a token from a file, now and again later.
    pub(super) fn file(place: Place, path: PathBuf) -> Result<Self, ConnectError> {
        let header = read(&place, &path)?;
        let last = Mutex::new(Last { header, read: Instant::now() });
        Ok(Self::File(TokenFile { path, place, last }))
    }

    /// The header to send at `now`.
    pub(in crate::client) fn header(&self, now: Instant) -> HeaderValue {
        match self {
            Self::Fixed(header) => header.clone(),
            Self::File(file) => file.header(now, REREAD),
        }
    }

    /// After a 401: the header to send instead of `refused`, if the file has another token by now.
    pub(in crate::client) fn instead_of(&self, refused: &HeaderValue, now: Instant) -> Option<HeaderValue> {
        match self {
            Self::Fixed(_) => None,
            Self::File(file) => Some(file.header(now, Duration::ZERO)).filter(|header| header != refused),
        }
    }
}

impl TokenFile {
    /// The header, from the file if the last read is older than `age`. If the file is missing or malformed now, the last token that was good
    /// stays in use, as in client-go: some programs remove the file after the start.
    fn header(&self, now: Instant, age: Duration) -> HeaderValue {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(last.read) >= age {
            last.read = now;
            match read(&self.place, &self.path) {
                Ok(header) => last.header = header,
                Err(error) => tracing::warn!(%error, "the token was not renewed; the last one stays in use"),
            }
        }
        last.header.clone()
    }
}

fn read(place: &Place, path: &std::path::Path) -> Result<HeaderValue, ConnectError> {
    let bytes = value::file(place, path)?;
    value::bearer(&bytes).map_err(|reason| place.clone().malformed(reason))
}
