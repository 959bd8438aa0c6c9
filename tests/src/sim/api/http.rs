//! Requests as clients send them, and their answers.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::select::Selector;
use super::store::{Commit, DeleteIf, Key, Object, Refused, Store};

/// A request, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub ask: Ask,
    /// How the answer is to look.
    pub shape: Shape,
}

/// Whole objects, or their metadata only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shape {
    Whole,
    Metadata,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Ask {
    Get { key: Key, age: Age },
    List { from: Place, selector: Selector, age: Age, limit: Option<usize>, token: Option<String> },
    Watch { from: Place, selector: Selector, after: u64 },
    Create { at: Place, object: Value },
    Replace { key: Key, object: Value },
    MergePatch { key: Key, patch: Value },
    JsonPatch { key: Key, patch: Value },
    Delete { key: Key, only: DeleteIf },
}

/// A kind, in one namespace or all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Place {
    pub kind: String,
    pub namespace: Option<String>,
}

/// How current a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// Everything written so far.
    Latest,
    /// Whatever is in the cache, if it is not older than this revision.
    Cached(u64),
}

/// An answer: HTTP status code and body, which is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Answer {
    pub code: u16,
    pub body: Bytes,
}

impl Request {
    /// Reads a request. `target` is the URL's path and query.
    pub fn read(head: &http::request::Parts, body: &[u8]) -> Result<Self, Refused> {
        let header = |name: http::HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok());
        let (place, name) = path(head.uri.path())?;
        let query = head.uri.query().unwrap_or_default();
        let query: BTreeMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let body = match body {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|e| Refused::BadRequest(e.to_string()))?,
        };
        let key = |name: String| Key::new(&place.kind, place.namespace.as_deref().unwrap_or_default(), &name);
        let content_type = header(http::header::CONTENT_TYPE).unwrap_or_default();
        let ask = match (head.method.as_str(), name) {
            ("GET", None) => read_many(place, &query)?,
            ("GET", Some(name)) => Ask::Get { key: key(name), age: age(&query)? },
            ("POST", None) => Ask::Create { at: place, object: body },
            ("PUT", Some(name)) => Ask::Replace { key: key(name), object: body },
            ("PATCH", Some(name)) => match content_type {
                "application/merge-patch+json" => Ask::MergePatch { key: key(name), patch: body },
                "application/json-patch+json" => Ask::JsonPatch { key: key(name), patch: body },
                other => return Err(Refused::BadRequest(format!("unsupported patch type {other:?}"))),
            },
            ("DELETE", Some(name)) => Ask::Delete { key: key(name), only: preconditions(&body) },
            (method, _) => return Err(Refused::BadRequest(format!("{method} is not supported here"))),
        };
        let accept = header(http::header::ACCEPT).unwrap_or_default();
        let metadata = accept.contains("as=PartialObjectMetadata");
        Ok(Request { ask, shape: if metadata { Shape::Metadata } else { Shape::Whole } })
    }
}

/// `/api/v1/...` or `/apis/GROUP/VERSION/...`, then `[namespaces/NS/]PLURAL[/NAME]`.
fn path(path: &str) -> Result<(Place, Option<String>), Refused> {
    let unknown = || Refused::NotFound(format!("the path {path}"));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _version, rest @ ..] => ("", rest),
        ["apis", group, _version, rest @ ..] => (*group, rest),
        _ => return Err(unknown()),
    };
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural] => (Some(*namespace), *plural, None),
        ["namespaces", namespace, plural, name] => (Some(*namespace), *plural, Some(*name)),
        [plural] => (None, *plural, None),
        [plural, name] => (None, *plural, Some(*name)),
        _ => return Err(unknown()),
    };
    let kind = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
    Ok((Place { kind, namespace: namespace.map(str::to_owned) }, name.map(str::to_owned)))
}

fn revision(text: &str) -> Result<u64, Refused> {
    text.parse().map_err(|_| Refused::BadRequest(format!("invalid resource version: {text:?}")))
}

fn age(query: &BTreeMap<String, String>) -> Result<Age, Refused> {
    match query.get("resourceVersion").map(String::as_str) {
        None | Some("") => Ok(Age::Latest),
        Some(text) => Ok(Age::Cached(revision(text)?)),
    }
}

fn read_many(from: Place, query: &BTreeMap<String, String>) -> Result<Ask, Refused> {
    let text = |key: &str| query.get(key).map_or("", String::as_str);
    let selector = Selector::parse(text("labelSelector"), text("fieldSelector"))?;
    if matches!(text("watch"), "true" | "1") {
        return Ok(Ask::Watch { from, selector, after: revision(text("resourceVersion"))? });
    }
    let limit = text("limit").parse().ok().filter(|limit| *limit > 0);
    let token = query.get("continue").filter(|token| !token.is_empty()).cloned();
    Ok(Ask::List { from, selector, age: age(query)?, limit, token })
}

fn preconditions(body: &Value) -> DeleteIf {
    let text = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
    DeleteIf { uid: text("uid"), resource_version: text("resourceVersion") }
}

impl Store {
    /// Answers a request other than a watch. A read that may come from the cache sees what was there at revision `cached`.
    pub fn answer(&mut self, request: &Request, cached: u64) -> Answer {
        let shape = request.shape;
        let found = match request.ask.clone() {
            Ask::Get { key, age } => self.get_at(&key, self.seen(age, cached)),
            Ask::Create { at, object } => self.create(&at.kind, &at.namespace.unwrap_or_default(), object),
            Ask::Replace { key, object } => self.replace(&key, object),
            Ask::MergePatch { key, patch } => self.merge_patch(&key, &patch),
            Ask::JsonPatch { key, patch } => self.json_patch(&key, &patch),
            Ask::Delete { key, only } => self.delete(&key, &only),
            Ask::List { from, selector, age, limit, token } => {
                let page = self.page(&from, &selector, self.seen(age, cached), limit, token.as_deref());
                return page.map_or_else(|refused| refusal(&refused), |page| page.answer(shape));
            }
            Ask::Watch { .. } => return refusal(&Refused::BadRequest("a watch has no single answer".into())),
        };
        let code = if matches!(request.ask, Ask::Create { .. }) { 201 } else { 200 };
        match found {
            Ok(object) => Answer { code, body: shape.of(&object).clone() },
            Err(refused) => refusal(&refused),
        }
    }

    /// The revision that a read sees.
    fn seen(&self, age: Age, cached: u64) -> u64 {
        match age {
            Age::Latest => self.revision(),
            Age::Cached(at_least) => cached.max(at_least).min(self.revision()),
        }
    }

    fn page(
        &self,
        from: &Place,
        selector: &Selector,
        revision: u64,
        limit: Option<usize>,
        token: Option<&str>,
    ) -> Result<Page, Refused> {
        let token = token.map(Token::read).transpose()?;
        let revision = token.as_ref().map_or(revision, |token| token.revision);
        if token.is_some() {
            self.check_age(revision)?;
        }
        let all = self.list_at(&from.kind, from.namespace.as_deref(), revision);
        let later = |key: &Key| token.as_ref().is_none_or(|token| token.is_before(key));
        let mut meant =
            all.into_iter().filter(|(key, object)| later(key) && selector.matches(object)).peekable();
        let mut items = Vec::new();
        let mut last = None;
        while limit.is_none_or(|limit| items.len() < limit) {
            let Some((key, object)) = meant.next() else { break };
            items.push(object);
            last = Some(key);
        }
        let token = last.filter(|_| meant.peek().is_some()).map(|key| Token::after(revision, &key));
        Ok(Page { revision, items, token })
    }
}

/// Where a list goes on: the revision that it is of, and the last object that was listed.
struct Token {
    revision: u64,
    namespace: String,
    name: String,
}

impl Token {
    fn after(revision: u64, key: &Key) -> String {
        format!("{revision}/{}/{}", key.namespace, key.name)
    }

    fn read(text: &str) -> Result<Self, Refused> {
        let bad = || Refused::BadRequest("continue key is not valid".to_owned());
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or_else(bad);
        let revision = next()?.parse().map_err(|_| bad())?;
        Ok(Token { revision, namespace: next()?.to_owned(), name: next()?.to_owned() })
    }

    fn is_before(&self, key: &Key) -> bool {
        (self.namespace.as_str(), self.name.as_str()) < (key.namespace.as_str(), key.name.as_str())
    }
}

struct Page {
    revision: u64,
    items: Vec<Object>,
    token: Option<String>,
}

impl Page {
    fn answer(&self, shape: Shape) -> Answer {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(token) = &self.token {
            metadata["continue"] = json!(token);
        }
        let mut body =
            format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":["#).into_bytes();
        for (number, object) in self.items.iter().enumerate() {
            if number > 0 {
                body.push(b',');
            }
            body.extend_from_slice(shape.of(object));
        }
        body.extend_from_slice(b"]}");
        Answer { code: 200, body: body.into() }
    }
}

impl Shape {
    fn of(self, object: &Object) -> &Bytes {
        match self {
            Shape::Whole => object.whole(),
            Shape::Metadata => object.metadata(),
        }
    }
}

/// A refusal as its `Status`.
pub fn refusal(refused: &Refused) -> Answer {
    let (code, reason) = refused.code();
    status(code, reason, &refused.to_string())
}

/// A `Status` that says no.
pub fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code,
    });
    Answer { code, body: body.to_string().into() }
}

/// What a watch says of a commit, if it is about its objects. An object that the selector does not match any more is gone to it.
pub fn watched(commit: &Commit, from: &Place, selector: &Selector, shape: Shape) -> Option<Bytes> {
    let about = commit.key.kind == from.kind
        && from.namespace.as_ref().is_none_or(|namespace| *namespace == commit.key.namespace);
    if !about {
        return None;
    }
    let meant = |object: &&Object| selector.matches(object);
    match (commit.before.as_ref().filter(meant), commit.after.as_ref().filter(meant)) {
        (None, None) => None,
        (None, Some(new)) => Some(line("ADDED", shape.of(new))),
        (Some(_), Some(new)) => Some(line("MODIFIED", shape.of(new))),
        (Some(old), None) => {
            // Its last state, at the revision that took it away.
            let mut object = Value::clone(commit.after.as_ref().unwrap_or(old));
            object["metadata"]["resourceVersion"] = json!(commit.revision.to_string());
            Some(line("DELETED", shape.of(&object.into())))
        }
    }
}

/// A watch's word that it has said everything up to a revision.
pub fn bookmark(revision: u64) -> Bytes {
    let metadata = json!({ "resourceVersion": revision.to_string() });
    let object = json!({ "kind": "Bookmark", "apiVersion": "v1", "metadata": metadata });
    line("BOOKMARK", object.to_string().as_bytes())
}

/// A watch's word that it cannot go on.
pub fn expired() -> Bytes {
    line("ERROR", &refusal(&Refused::Expired).body)
}

/// A line of a watch.
fn line(kind: &str, object: &[u8]) -> Bytes {
    [br#"{"type":""#, kind.as_bytes(), br#"","object":"#, object, b"}\n"].concat().into()
}
