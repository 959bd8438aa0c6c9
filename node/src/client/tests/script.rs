//! An API server that answers one request after the other as it was told to.

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

/// A part of an answer's body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// These bytes, in one frame.
    Text(String),
    /// Nothing, for so long.
    Wait(Duration),
    /// The connection breaks.
    Break,
    /// Nothing more ever comes, and no end either.
    Hang,
}

/// What one request is answered with.
#[derive(Debug, Clone)]
pub struct Answer {
    pub code: u16,
    pub pieces: Vec<Piece>,
}

pub fn ok(pieces: Vec<Piece>) -> Answer {
    Answer { code: 200, pieces }
}

pub fn refuse(code: u16) -> Answer {
    let status = json!({"kind": "Status", "status": "Failure", "message": "server's words", "code": code});
    Answer { code, pieces: vec![Piece::Text(status.to_string())] }
}

/// A page of these objects, and what comes after it: `Err(token)` more, `Ok(version)` a watch.
pub fn page(names: &[&str], end: Result<&str, &str>) -> Answer {
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

/// A watch's line.
pub fn line(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

pub fn event(kind: &str, name: &str, version: &str) -> Piece {
    Piece::Text(line(kind, &object(name, version)))
}

pub fn told_error(code: u16) -> Piece {
    let status = json!({"kind": "Status", "metadata": {}, "code": code, "message": "server's words"});
    Piece::Text(line("ERROR", &status))
}

/// A request: the moment (ms since the start), its path and query, its `Accept`.
#[derive(Debug, Clone)]
pub struct Asked {
    pub at: u128,
    pub url: String,
    pub accept: String,
}

impl Asked {
    /// A query parameter's value.
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
pub struct Script(Arc<Mutex<Vec<Asked>>>);

impl Script {
    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    pub fn whats(&self) -> Vec<String> {
        self.asked().iter().map(Asked::what).collect()
    }
}

/// A client of a server that answers so; requests past the last answer get none.
pub async fn scripted(answers: Vec<Answer>) -> (ApiClient, Script) {
    let script = Script::default();
    let (log, started) = (script.0.clone(), Instant::now());
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let service = tower::service_fn(move |request: Request<Body>| {
        let accept = request.headers().get("accept").map_or("", |value| value.to_str().unwrap()).to_owned();
        let url = request.uri().to_string();
        log.lock().unwrap().push(Asked { at: started.elapsed().as_millis(), url, accept });
        let answer = answers.lock().unwrap().pop_front();
        async move {
            let Some(answer) = answer else { return std::future::pending().await };
            Ok::<_, io::Error>(Response::builder().status(answer.code).body(body(answer.pieces)).unwrap())
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
