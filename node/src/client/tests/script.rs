//! An API server with one scripted response per request.

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
    /// Nothing, for so long.
    Wait(Duration),
    /// The connection breaks.
    Break,
    /// No more bytes, and no end.
    Hang,
}

/// The response to one request.
#[derive(Debug, Clone)]
pub struct Scripted {
    pub code: u16,
    pub pieces: Vec<Piece>,
}

pub fn ok(pieces: Vec<Piece>) -> Scripted {
    Scripted { code: 200, pieces }
}

pub fn refuse(code: u16) -> Scripted {
    let status =
        json!({"kind": "Status", "status": "Failure", "message": "the server's message", "code": code});
    Scripted { code, pieces: vec![Piece::Text(status.to_string())] }
}

/// A page of these objects. `Err(token)` means that another page follows, `Ok(version)` that it is the last one.
pub fn page(names: &[&str], end: Result<&str, &str>) -> Scripted {
    let metadata = match end {
        Ok(version) => json!({"resourceVersion": version}),
        Err(token) => json!({"resourceVersion": "1", "continue": token}),
    };
    let items: Vec<Value> = names.iter().map(|name| object(name, "1")).collect();
    ok(vec![Piece::Text(json!({"metadata": metadata, "items": items}).to_string())])
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

/// A request: its time in ms since the start, path and query, and `Accept`.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: u128,
    pub url: String,
    pub accept: String,
}

impl Received {
    /// The value of a query parameter.
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

/// A client of a server with these responses. Requests after the last one get none.
pub async fn scripted(responses: Vec<Scripted>) -> (ApiClient, Script) {
    let script = Script::default();
    let (log, started) = (script.0.clone(), Instant::now());
    let responses = Arc::new(Mutex::new(VecDeque::from(responses)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept = request.headers().get("accept").map_or("", |value| value.to_str().unwrap()).to_owned();
        let url = request.uri().to_string();
        log.lock().unwrap().push(Received { at: started.elapsed().as_millis(), url, accept });
        let response = responses.lock().unwrap().pop_front();
        async move {
            let Some(response) = response else { return std::future::pending().await };
            Ok::<_, io::Error>(Response::builder().status(response.code).body(body(response.pieces)).unwrap())
        }
    });
    (ApiClient::from_service(service, Timeouts::default()).await, script)
}

fn body(pieces: Vec<Piece>) -> impl hyper::body::Body<Data = Bytes, Error = io::Error> + Send + 'static {
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
