//! HTTP requests, as far as the server understands them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::select::Selector;
use super::store::{Endpoint, Key, Preconditions, StatusError};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub operation: Operation,
    /// Which parts of the objects the response contains.
    pub parts: Parts,
}

/// Whole objects, or their metadata only (`PartialObjectMetadata`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Parts {
    Whole,
    Metadata,
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Operation {
    Get { key: Key, freshness: Freshness },
    List(List),
    Watch(WatchRequest),
    Create { collection: Collection, object: Value },
    Replace { key: Key, endpoint: Endpoint, object: Value },
    MergePatch { key: Key, endpoint: Endpoint, patch: Value },
    JsonPatch { key: Key, endpoint: Endpoint, patch: Value },
    Delete { key: Key, preconditions: Preconditions },
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Of which objects.
    pub from: Collection,
    /// Only those that match.
    pub selector: Selector,
    /// How current.
    pub freshness: Freshness,
    /// How many objects at most.
    pub limit: Option<usize>,
    /// The continue token of the page before.
    pub token: Option<String>,
}

/// A watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchRequest {
    /// Of which objects.
    pub from: Collection,
    /// Only those that match.
    pub selector: Selector,
    /// The revision after which it begins.
    pub after: u64,
    /// After how long the server ends it.
    pub timeout: Option<Duration>,
    /// Whether the client understands bookmarks.
    pub bookmarks: Bookmarks,
}

/// Whether a watch may contain bookmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bookmarks {
    Allowed,
    Unwanted,
}

/// The objects of a kind, in one namespace or in all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Plural and group, as in [`Key::kind`].
    pub kind: String,
    /// `None` is the whole cluster.
    pub namespace: Option<String>,
}

/// How current a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It contains every earlier write.
    Latest,
    /// It may come from a cache that is not older than this revision.
    Cached(u64),
}

/// The query parameters that the server supports. It refuses others, so that no test relies on one that has no effect.
const PARAMETERS: [&str; 10] = [
    "allowWatchBookmarks",
    "continue",
    "fieldManager",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "watch",
];

type Query = BTreeMap<String, String>;

impl Request {
    /// Reads a request.
    pub fn read(head: &http::request::Parts, body: &[u8]) -> Result<Self, StatusError> {
        let header = |name: http::HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok());
        let Path { collection, object } = Path::read(head.uri.path())?;
        let query = query(head.uri.query().unwrap_or_default())?;
        let body = match body {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|e| StatusError::BadRequest(e.to_string()))?,
        };
        let namespace = collection.namespace.as_deref().unwrap_or_default();
        let object = object.map(|(name, endpoint)| (Key::new(&collection.kind, namespace, &name), endpoint));
        let content_type = header(http::header::CONTENT_TYPE).unwrap_or_default();
        let operation = match (head.method.as_str(), object) {
            ("GET", None) => list_or_watch(collection, &query)?,
            ("GET", Some((key, _))) => Operation::Get { key, freshness: freshness(&query)? },
            ("POST", None) => Operation::Create { collection, object: body },
            ("PUT", Some((key, endpoint))) => Operation::Replace { key, endpoint, object: body },
            ("PATCH", Some((key, endpoint))) => match content_type {
                "application/merge-patch+json" => Operation::MergePatch { key, endpoint, patch: body },
                "application/json-patch+json" => Operation::JsonPatch { key, endpoint, patch: body },
                other => return Err(StatusError::UnsupportedMediaType(other.to_owned())),
            },
            ("DELETE", Some((key, Endpoint::Object))) => {
                Operation::Delete { key, preconditions: preconditions(&body) }
            }
            _ => return Err(StatusError::MethodNotAllowed(head.method.to_string())),
        };
        let accept = header(http::header::ACCEPT).unwrap_or_default();
        let metadata = accept.contains("as=PartialObjectMetadata");
        Ok(Request { operation, parts: if metadata { Parts::Metadata } else { Parts::Whole } })
    }
}

/// What a URL's path names.
struct Path {
    collection: Collection,
    object: Option<(String, Endpoint)>,
}

impl Path {
    /// Reads `/api/v1/...` or `/apis/GROUP/VERSION/...`, then `[namespaces/NS/]PLURAL[/NAME[/SUBRESOURCE]]`. The version is not checked.
    fn read(path: &str) -> Result<Self, StatusError> {
        let unknown = || StatusError::NotFound(format!("the path {path}"));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, rest) = match parts.as_slice() {
            ["api", _version, rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => return Err(unknown()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some((*namespace).to_owned()), rest),
            _ => (None, rest),
        };
        let (plural, object) = match rest {
            [plural] => (*plural, None),
            [plural, name] => (*plural, Some(((*name).to_owned(), Endpoint::Object))),
            [plural, name, "status"] => (*plural, Some(((*name).to_owned(), Endpoint::Status))),
            [plural, name, "approval"] => (*plural, Some(((*name).to_owned(), Endpoint::Approval))),
            _ => return Err(unknown()),
        };
        let kind = if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") };
        Ok(Path { collection: Collection { kind, namespace }, object })
    }
}

/// The objects that a path is about, as RBAC names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Plural, group and subresource: `pods/status`, `leases.coordination.k8s.io`.
    pub resource: String,
    /// Whether it is one object.
    pub is_one: bool,
    /// Whether it is in one namespace.
    pub in_namespace: bool,
}

impl Target {
    /// Reads a URL's path.
    pub(crate) fn read(path: &str) -> Option<Self> {
        let Path { collection, object } = Path::read(path).ok()?;
        let (is_one, subresource) = match object {
            None => (false, ""),
            Some((_, Endpoint::Object)) => (true, ""),
            Some((_, Endpoint::Status)) => (true, "/status"),
            Some((_, Endpoint::Approval)) => (true, "/approval"),
        };
        let resource = collection.kind + subresource;
        Some(Target { resource, is_one, in_namespace: collection.namespace.is_some() })
    }
}

fn query(text: &str) -> Result<Query, StatusError> {
    let query: Query = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    match query.keys().find(|name| !PARAMETERS.contains(&name.as_str())) {
        Some(name) => Err(StatusError::BadRequest(format!("unsupported query parameter: {name}"))),
        None => Ok(query),
    }
}

fn text<'a>(query: &'a Query, name: &str) -> &'a str {
    query.get(name).map_or("", String::as_str)
}

fn number(query: &Query, name: &str) -> Result<Option<u64>, StatusError> {
    match text(query, name) {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| StatusError::BadRequest(format!("{name} must be a number, not {text:?}"))),
    }
}

fn freshness(query: &Query) -> Result<Freshness, StatusError> {
    match text(query, "resourceVersionMatch") {
        "" | "NotOlderThan" => {}
        other => return Err(StatusError::BadRequest(format!("unsupported resourceVersionMatch: {other}"))),
    }
    Ok(number(query, "resourceVersion")?.map_or(Freshness::Latest, Freshness::Cached))
}

fn list_or_watch(from: Collection, query: &Query) -> Result<Operation, StatusError> {
    let selector = Selector::parse(text(query, "labelSelector"), text(query, "fieldSelector"))?;
    if matches!(text(query, "watch"), "true" | "1") {
        let after = number(query, "resourceVersion")?.ok_or_else(|| {
            StatusError::BadRequest("a watch without resourceVersion is not supported".to_owned())
        })?;
        let timeout = number(query, "timeoutSeconds")?.map(Duration::from_secs);
        let bookmarks = match text(query, "allowWatchBookmarks") {
            "true" | "1" => Bookmarks::Allowed,
            _ => Bookmarks::Unwanted,
        };
        return Ok(Operation::Watch(WatchRequest { from, selector, after, timeout, bookmarks }));
    }
    let limit = number(query, "limit")?.filter(|limit| *limit > 0);
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let token = query.get("continue").filter(|token| !token.is_empty()).cloned();
    Ok(Operation::List(List { from, selector, freshness: freshness(query)?, limit, token }))
}

fn preconditions(body: &Value) -> Preconditions {
    let text = |key: &str| body["preconditions"][key].as_str().map(str::to_owned);
    Preconditions { uid: text("uid"), resource_version: text("resourceVersion") }
}
