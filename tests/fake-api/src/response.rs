//! HTTP responses.

use std::io;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use serde_json::json;

use super::request::Parts;
use super::store::{Object, StatusError};

/// The body of an HTTP response.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A response other than a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// HTTP status code.
    pub code: u16,
    /// JSON.
    pub body: Bytes,
}

impl Response {
    /// A `Status` object that reports a failure.
    pub fn failure(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Failure", "reason": reason, "message": message, "code": code,
        });
        Response { code, body: status.to_string().into() }
    }

    /// A page of a list as it was at `revision`. `token` continues it.
    pub fn list(revision: u64, items: &[Object], parts: Parts, token: Option<&str>) -> Self {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if let Some(token) = token {
            metadata["continue"] = json!(token);
        }
        let mut body =
            format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":["#).into_bytes();
        for (number, object) in items.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(parts.of(object));
        }
        body.extend_from_slice(b"]}");
        Response { code: 200, body: body.into() }
    }

    /// The response for an HTTP client.
    pub fn into_http(self) -> http::Response<Body> {
        let body = Full::new(self.body).map_err(|never| match never {}).boxed_unsync();
        let response = http::Response::builder().status(self.code);
        response.header(http::header::CONTENT_TYPE, "application/json").body(body).unwrap()
    }
}

impl From<&StatusError> for Response {
    fn from(error: &StatusError) -> Self {
        let (code, reason) = error.code();
        Response::failure(code, reason, &error.to_string())
    }
}

impl Parts {
    /// These parts of the object, as JSON.
    pub(crate) fn of(self, object: &Object) -> &Bytes {
        match self {
            Parts::Whole => object.whole(),
            Parts::Metadata => object.metadata(),
        }
    }
}
