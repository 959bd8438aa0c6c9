//! One request and its response, within the deadline.

use std::time::Duration;

use http::StatusCode;
use http::header::{AUTHORIZATION, USER_AGENT};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Bytes};
use kube::client::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::api::ApiClient;
use super::connection::Numbered;
use super::error::{ApiError, Cause, Failure, chain, from_response, transport, without_response};
use super::resource::RequestName;
use super::transport::USER_AGENT as OUR_USER_AGENT;
use crate::deadline::Deadline;

/// The most bytes to allocate because of a `Content-Length` header alone.
const MAX_PREALLOCATION: usize = 4 << 20;

/// A response with its whole body.
struct Whole {
    code: u16,
    after: Option<Duration>,
    body: Vec<u8>,
}

/// The start of a streamed response.
enum Opened {
    /// A success, with the body still to be read.
    Stream(Body),
    /// Any other status, with its whole body.
    Failed(Whole),
}

impl ApiClient {
    /// Sends a request and reads its response.
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

    /// The part of `send` that does not depend on `T`, so that the compiler makes it once.
    async fn exchange(
        &self,
        request: &RequestName,
        http: http::Request<Vec<u8>>,
        deadline: Deadline,
    ) -> Result<Vec<u8>, ApiError> {
        let whole = async { read(self.begin(http).await?).await };
        let response = self.in_time(request, deadline, whole).await?;
        if !is_success(response.code) {
            return Err(self.failure(request.clone(), &response));
        }
        Ok(response.body)
    }

    /// Sends a request with a streamed response. Returns once the status has arrived; `deadline` ends there.
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
            read(response).await.map(Opened::Failed)
        };
        match self.in_time(request, deadline, begun).await? {
            Opened::Stream(body) => Ok(body),
            Opened::Failed(response) => Err(self.failure(request.clone(), &response)),
        }
    }

    /// Sends a request with the current token and certificate. After a 401 it sends the request again if one of them has been renewed: a request
    /// without accepted credentials changes nothing.
    async fn begin(&self, http: http::Request<Vec<u8>>) -> Result<http::Response<Body>, Cause> {
        let mut http = http.map(Bytes::from);
        http.headers_mut().insert(USER_AGENT, OUR_USER_AGENT.clone());
        let now = Instant::now();
        let (used, header) = (self.connection.at(now), self.token.as_ref().map(|token| token.header(now)));
        if let Some(header) = &header {
            http.headers_mut().insert(AUTHORIZATION, header.clone());
        }
        let response = transmit(&used, http.clone()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let now = Instant::now();
        let client = self.connection.instead_of(&used, now);
        let token = self.token.as_ref().zip(header).and_then(|(token, old)| token.instead_of(&old, now));
        if client.is_none() && token.is_none() {
            return Ok(response);
        }
        if let Some(token) = token {
            http.headers_mut().insert(AUTHORIZATION, token);
        }
        transmit(&client.unwrap_or(used), http).await
    }

    /// Runs `work` until `deadline`, and no longer than any request may take.
    async fn in_time<T>(
        &self,
        request: &RequestName,
        deadline: Deadline,
        work: impl Future<Output = Result<T, Cause>>,
    ) -> Result<T, ApiError> {
        let limit = self.request_timeout.min(deadline.remaining());
        // tokio's timeout polls the work once even with no time left, which may send the request.
        let done = if limit.is_zero() {
            Err(Cause::DeadlinePassed)
        } else {
            tokio::time::timeout(limit, work).await.unwrap_or(Err(Cause::TimedOut(limit)))
        };
        done.map_err(|cause| without_response(Box::new(request.clone()), None, cause))
    }

    fn failure(&self, request: RequestName, response: &Whole) -> ApiError {
        let failure = Failure { code: response.code, after: response.after, body: &response.body };
        from_response(request, &failure, &self.credentials)
    }
}

async fn transmit(by: &Numbered, http: http::Request<Bytes>) -> Result<http::Response<Body>, Cause> {
    by.client.send(http.map(Body::from)).await.map_err(|error| transport(&error))
}

fn is_success(code: u16) -> bool {
    (200..300).contains(&code)
}

async fn read(response: http::Response<Body>) -> Result<Whole, Cause> {
    let code = response.status().as_u16();
    // Seconds only. The API server never sends the other form, a date.
    let after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok().map(Duration::from_secs));
    let mut from = response.into_body();
    let expected = usize::try_from(from.size_hint().lower()).unwrap_or(0).min(MAX_PREALLOCATION);
    // Frame by frame into one buffer: a page of a list takes a megabyte, and `collect` would hold it twice.
    let mut body = Vec::with_capacity(expected);
    while let Some(frame) = from.frame().await {
        let frame = frame.map_err(|error| Cause::Lost(chain(&error)))?;
        // A frame without data holds trailers.
        if let Ok(bytes) = frame.into_data() {
            body.extend_from_slice(&bytes);
        }
    }
    Ok(Whole { code, after, body })
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
