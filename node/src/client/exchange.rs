//! One request and its answer, in time.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use kube::client::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ApiClient;
use super::error::{ApiError, Cause, Refusal, chain, no_verdict, refused, transport};
use super::resource::RequestName;
use crate::deadline::Deadline;

/// So much room is made for an answer on its sender's word alone.
const MAX_EXPECTED: usize = 4 << 20;

/// The answer to a request, read to its end.
struct Answer {
    code: u16,
    after: Option<Duration>,
    body: Vec<u8>,
}

/// What came back at once: a body that is still to be read, or a refusal.
enum Opened {
    Stream(Body),
    Refused(Answer),
}

impl ApiClient {
    /// Sends a request and reads what it answers.
    pub(super) async fn send<T, E>(
        &self,
        request: RequestName,
        http: Result<http::Request<Vec<u8>>, E>,
        deadline: Deadline,
    ) -> Result<T, ApiError>
    where
        T: DeserializeOwned,
        E: std::error::Error,
    {
        let http = http.map_err(|error| unreadable(&request, &error))?;
        let body = self.exchange(&request, http, deadline).await?;
        serde_json::from_slice(&body).map_err(|error| unreadable(&request, &error))
    }

    /// What is the same whatever the answer is read as: it is compiled once.
    async fn exchange(
        &self,
        request: &RequestName,
        http: http::Request<Vec<u8>>,
        deadline: Deadline,
    ) -> Result<Vec<u8>, ApiError> {
        let whole = async { read(self.begin(http).await?).await };
        let answer = self.in_time(request, deadline, whole).await?;
        if !is_success(answer.code) {
            return Err(self.refusal(request.clone(), &answer));
        }
        Ok(answer.body)
    }

    /// Sends a request whose answer goes on and on; returns once it has begun.
    pub(super) async fn open<E: std::error::Error>(
        &self,
        request: &RequestName,
        http: Result<http::Request<Vec<u8>>, E>,
        deadline: Deadline,
    ) -> Result<Body, ApiError> {
        let http = http.map_err(|error| unreadable(request, &error))?;
        let begun = async {
            let response = self.begin(http).await?;
            if is_success(response.status().as_u16()) {
                return Ok(Opened::Stream(response.into_body()));
            }
            read(response).await.map(Opened::Refused)
        };
        match self.in_time(request, deadline, begun).await? {
            Opened::Stream(body) => Ok(body),
            Opened::Refused(answer) => Err(self.refusal(request.clone(), &answer)),
        }
    }

    async fn begin(&self, http: http::Request<Vec<u8>>) -> Result<http::Response<Body>, Cause> {
        self.client.send(http.map(Body::from)).await.map_err(|error| transport(&error))
    }

    /// Runs `work` for as long as a request may take.
    async fn in_time<T>(
        &self,
        request: &RequestName,
        deadline: Deadline,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, ApiError> {
        let limit = self.request_timeout.min(deadline.remaining());
        let done = if limit.is_zero() {
            Err(Cause::DeadlinePassed)
        } else {
            tokio::time::timeout(limit, work).await.unwrap_or(Err(Cause::TimedOut(limit)))
        };
        done.map_err(|cause| no_verdict(Box::new(request.clone()), None, cause))
    }

    fn refusal(&self, request: RequestName, answer: &Answer) -> ApiError {
        let refusal = Refusal { code: answer.code, after: answer.after, body: &answer.body };
        refused(request, &refusal, &self.credentials)
    }
}

fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}

async fn read(response: http::Response<Body>) -> Result<Answer, Cause> {
    let code = response.status().as_u16();
    let after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
    let mut from = response.into_body();
    let expected = usize::try_from(from.size_hint().lower()).unwrap_or(0).min(MAX_EXPECTED);
    // Piece by piece: a page of a list is a megabyte, and is held once.
    let mut body = Vec::with_capacity(expected);
    while let Some(frame) = from.frame().await {
        let frame = frame.map_err(|error| Cause::Lost(chain(&error)))?;
        // Anything else is trailers.
        if let Ok(bytes) = frame.into_data() {
            body.extend_from_slice(&bytes);
        }
    }
    Ok(Answer { code, after, body })
}

pub(super) fn encode(request: &RequestName, object: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(object).map_err(|error| unreadable(request, &error))
}

pub(super) fn unreadable(request: &RequestName, error: &dyn std::error::Error) -> ApiError {
    unexpected(request, &error.to_string())
}

pub(super) fn unexpected(request: &RequestName, reason: &str) -> ApiError {
    let reason = crate::text::printable(reason, 300);
    ApiError::Unreadable { request: Box::new(request.clone()), reason }
}
