//! A service that answers each request with the next response of a list, whatever the request is.
//!
//! It is for responses that `fake_api` never gives: bodies that are broken, late or not JSON, continue tokens and errors at a chosen
//! moment, odd headers. Where a test needs objects, it uses `fake_api`.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use http::{Request, Response};
use http_body_util::StreamBody;
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{ApiClient, Timeouts};

/// A part of a response's body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These bytes, in one frame.
    Text(String),
    /// A pause.
    Wait(Duration),
    /// The connection breaks.
    Break,
    /// Nothing comes any more, not even the end.
    Hang,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Scripted {
    pub code: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    pub pieces: Vec<Piece>,
}

pub fn ok(pieces: Vec<Piece>) -> Scripted {
    Scripted { code: 200, headers: Vec::new(), pieces }
}

/// A response with this body.
pub fn body(code: u16, body: &Value) -> Scripted {
    Scripted { code, ..ok(vec![Piece::Text(body.to_string())]) }
}

/// A `Status` that reports a failure.
pub fn status(code: u16, reason: &str, message: &str) -> Scripted {
    let status = json!({
        "kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code,
    });
    body(code, &status)
}

pub fn refuse(code: u16) -> Scripted {
    status(code, "", "the server's message")
}

/// A page of these objects. `Err(token)` is the continue token; `Ok(version)` is the resourceVersion of a complete list.
pub fn page(names: &[&str], end: Result<&str, &str>) -> Scripted {
    let metadata = match end {
        Ok(version) => json!({"resourceVersion": version}),
        Err(token) => json!({"resourceVersion": "1", "continue": token}),
    };
    let items: Vec<Value> = names.iter().map(|name| object(name, "1")).collect();
    body(200, &json!({"metadata": metadata, "items": items}))
}

pub fn object(name: &str, version: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": version}})
}

/// A line of a watch.
pub fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

pub fn event(kind: &str, name: &str, version: &str) -> Piece {
    Piece::Text(line(kind, &object(name, version)))
}

pub fn error_event(code: u16) -> Piece {
    let status = json!({"kind": "Status", "metadata": {}, "code": code, "message": "the server's message"});
    Piece::Text(line("ERROR", &status))
}

/// A request that the service received.
#[derive(Debug, Clone)]
pub struct Received {
    /// When: ms since the start.
    pub at: u128,
    /// Path and query.
    pub url: String,
    /// The `Accept` header.
    pub accept: String,
}

impl Received {
    /// A query parameter's value, still encoded.
    pub fn param(&self, name: &str) -> Option<&str> {
        let (_, query) = self.url.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// `list`, `list@token` or `watch@version`.
    pub fn what(&self) -> String {
        match (self.param("watch"), self.param("continue")) {
            (Some("true"), _) => format!("watch@{}", self.param("resourceVersion").unwrap()),
            (_, Some(token)) => format!("list@{token}"),
            _ => "list".to_owned(),
        }
    }
}

/// The requests so far.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<Vec<Received>>>);

impl Script {
    pub fn requests(&self) -> Vec<Received> {
        self.0.lock().unwrap().clone()
    }

    pub fn whats(&self) -> Vec<String> {
        self.requests().iter().map(Received::what).collect()
    }
}

/// A client of a service with these responses. After the last one the service answers no more.
pub async fn scripted(answers: Vec<Scripted>) -> (ApiClient, Script) {
    let script = Script::default();
    let (log, started) = (script.0.clone(), Instant::now());
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept = request.headers().get("accept").map_or("", |value| value.to_str().unwrap()).to_owned();
        let url = request.uri().to_string();
        log.lock().unwrap().push(Received { at: started.elapsed().as_millis(), url, accept });
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let Some(answer) = answer else { return std::future::pending().await };
            let mut response = Response::builder().status(answer.code);
            for (name, value) in answer.headers {
                response = response.header(name, value);
            }
            Ok::<_, io::Error>(response.body(stream(answer.pieces)).unwrap())
        }
    });
    (ApiClient::from_service(service, Timeouts::default()).await, script)
}

fn stream(pieces: Vec<Piece>) -> impl hyper::body::Body<Data = Bytes, Error = io::Error> + Send + 'static {
    StreamBody::new(futures::stream::iter(pieces).filter_map(|piece| async move {
        match piece {
            Piece::Text(text) => Some(Ok(Frame::data(Bytes::from(text)))),
            Piece::Wait(time) => {
                tokio::time::sleep(time).await;
                None
            }
            Piece::Break => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Piece::Hang => std::future::pending().await,
        }
    }))
}
