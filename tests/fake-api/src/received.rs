//! A request as a test sees it.

use serde_json::Value;

/// A request that the server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Such as `GET`.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, still encoded; empty if there is none.
    pub query: String,
    /// The `Accept` header; empty if there is none.
    pub accept: String,
    /// The `Content-Type` header; empty if there is none.
    pub content_type: String,
    /// The `User-Agent` header; empty if there is none.
    pub user_agent: String,
    /// The `Authorization` header; empty if there is none.
    pub authorization: String,
    /// The body; null if there is none, or if it is not JSON.
    pub body: Value,
}

impl Received {
    pub(crate) fn new(head: &http::request::Parts, body: &[u8]) -> Self {
        let header = |name: http::HeaderName| {
            head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        Received {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            accept: header(http::header::ACCEPT),
            content_type: header(http::header::CONTENT_TYPE),
            user_agent: header(http::header::USER_AGENT),
            authorization: header(http::header::AUTHORIZATION),
            body: serde_json::from_slice(body).unwrap_or_default(),
        }
    }

    /// `METHOD path`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A query parameter's value, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = form_urlencoded::parse(self.query.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}
