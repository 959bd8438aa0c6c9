//! The server as a unit test uses it.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::access::Access;
use super::received::Received;
use super::request::{Bookmarks, Operation, Request};
use super::response::{Body, Response};
use super::store::{Key, Preconditions, Store};
use super::watch::{Next, Watch};

/// An API server without caches, which answers at once. Clones share it.
///
/// It is a [`tower::Service`]: `ApiClient::from_service(server.clone(), ...)` makes a client.
#[derive(Clone)]
pub struct ApiServer {
    state: Arc<Mutex<State>>,
    /// Notified of each commit.
    changed: Arc<Notify>,
}

struct State {
    store: Store,
    faults: Vec<Rule>,
    received: Vec<Received>,
    /// What the client may do; `None` is everything.
    granted: Option<BTreeSet<Access>>,
    /// How long a request and its response are on the way; `None` is no time at all.
    latency: Option<Box<dyn FnMut() -> Duration + Send>>,
}

/// Which requests fail, and how, one after the other.
struct Rule {
    applies: Box<dyn Fn(&Received) -> bool + Send>,
    faults: Box<dyn Iterator<Item = Fault> + Send>,
}

/// How a request fails. The server does not carry it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The response has this status code.
    Status(u16),
    /// It has this status code and this message.
    Message(u16, &'static str),
    /// The connection breaks.
    Reset,
    /// No response ever comes.
    Silence,
}

impl Default for ApiServer {
    fn default() -> Self {
        let changed = Arc::new(Notify::new());
        let notified = changed.clone();
        let store = Store::new(Box::new(move |_| notified.notify_waiters()));
        let state = State { store, faults: Vec::new(), received: Vec::new(), granted: None, latency: None };
        ApiServer { state: Arc::new(Mutex::new(state)), changed }
    }
}

impl ApiServer {
    /// The interval of bookmarks in a watch, as on a real server.
    pub const BOOKMARKS: Duration = Duration::from_secs(60);

    /// Works on the store directly: no request, no fault.
    pub fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.state().store)
    }

    /// The object.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.with(|store| store.get(key).ok().map(|object| Value::clone(&object)))
    }

    /// The objects of a kind in all namespaces.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let all = self.with(|store| store.list_at(kind, None, store.revision()));
        all.iter().map(|(_, object)| Value::clone(object)).collect()
    }

    /// Writes an object, as [`Store::put`].
    pub fn put(&self, key: &Key, object: Value) {
        self.with(|store| store.put(key, object));
    }

    /// Changes an object, which must exist.
    pub fn edit(&self, key: &Key, edit: impl FnOnce(&mut Value)) {
        self.with(|store| {
            let mut object = Value::clone(&store.get(key).unwrap());
            edit(&mut object);
            store.put(key, object);
        });
    }

    /// Deletes an object, which must exist.
    pub fn remove(&self, key: &Key) {
        self.with(|store| store.delete(key, &Preconditions::default())).unwrap();
    }

    /// Makes the next requests to which `applies` is true fail, each with the next of `faults`, until there are no more. The first rule
    /// with a fault left decides.
    pub fn fail<F>(&self, applies: impl Fn(&Received) -> bool + Send + 'static, faults: F)
    where
        F: IntoIterator<Item = Fault>,
        F::IntoIter: Send + 'static,
    {
        let rule = Rule { applies: Box::new(applies), faults: Box::new(faults.into_iter()) };
        self.state().faults.push(rule);
    }

    /// From now on, each request and each response takes as long as `latency` says, so that other tasks run in between.
    pub fn delay(&self, latency: impl FnMut() -> Duration + Send + 'static) {
        self.state().latency = Some(Box::new(latency));
    }

    async fn travel(&self) {
        let latency = self.state().latency.as_mut().map(|latency| latency());
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
    }

    /// From now on, requests that need another access than these fail with 403.
    pub fn grant(&self, access: impl IntoIterator<Item = Access>) {
        self.state().granted = Some(access.into_iter().collect());
    }

    /// The requests so far, those that failed included.
    pub fn received(&self) -> Vec<Received> {
        self.state().received.clone()
    }

    /// The requests since the last call of this function.
    pub fn take_received(&self) -> Vec<Received> {
        std::mem::take(&mut self.state().received)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request, and decides whether it fails.
    fn receive(&self, request: Received) -> Option<Fault> {
        let mut state = self.state();
        if let Some(access) = Access::of(&request) {
            access.log();
            if state.granted.as_ref().is_some_and(|granted| !granted.contains(&access)) {
                state.received.push(request);
                return Some(Fault::Status(403));
            }
        }
        let mut rules = state.faults.iter_mut().filter(|rule| (rule.applies)(&request));
        let fault = rules.find_map(|rule| rule.faults.next());
        state.received.push(request);
        fault
    }

    async fn answer(&self, head: &http::request::Parts, body: &[u8]) -> io::Result<http::Response<Body>> {
        match self.receive(Received::new(head, body)) {
            None => {}
            Some(Fault::Status(code)) => {
                return Ok(Response::failure(code, reason(code), "the test wants this failure").into_http());
            }
            Some(Fault::Message(code, message)) => {
                return Ok(Response::failure(code, reason(code), message).into_http());
            }
            Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Fault::Silence) => return std::future::pending().await,
        }
        let response = match Request::read(head, body) {
            Ok(Request { operation: Operation::Watch(watch), parts }) => {
                let opened = self.with(|store| Watch::open(store, &watch, parts));
                match opened {
                    Ok(opened) => return Ok(self.stream(opened, watch.timeout, watch.bookmarks)),
                    Err(error) => Response::from(&error),
                }
            }
            Ok(request) => self.with(|store| store.serve(&request, store.revision())),
            Err(error) => Response::from(&error),
        };
        Ok(response.into_http())
    }

    fn stream(&self, watch: Watch, timeout: Option<Duration>, bookmarks: Bookmarks) -> http::Response<Body> {
        let now = Instant::now();
        let ends = timeout.map(|timeout| now + timeout);
        let bookmark = (bookmarks == Bookmarks::Allowed).then(|| now + Self::BOOKMARKS);
        let open = Open { server: self.clone(), watch, ends, bookmark };
        let events = futures::stream::unfold(Some(open), |open| async {
            let (event, open) = open?.next().await?;
            Some((Ok(Frame::data(event)), open))
        });
        http::Response::new(StreamBody::new(events.boxed()).boxed_unsync())
    }
}

/// A watch that a client reads.
struct Open {
    server: ApiServer,
    watch: Watch,
    /// When the server ends it.
    ends: Option<Instant>,
    /// When the next bookmark is due.
    bookmark: Option<Instant>,
}

impl Open {
    /// The next event, and the watch unless it ends with this event. `None` when its time is over.
    async fn next(mut self) -> Option<(Bytes, Option<Self>)> {
        loop {
            // Enabled before the look at the store, so that no commit in between is missed.
            let changed = self.server.changed.clone();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            match self.server.with(|store| self.watch.next(store, store.revision())) {
                Next::Event(event) => return Some((event, Some(self))),
                Next::Expired(event) => return Some((event, None)),
                Next::UpToDate | Next::CacheIsBehind => {}
            }
            let now = Instant::now();
            if self.ends.is_some_and(|ends| ends <= now) {
                return None;
            }
            if self.bookmark.is_some_and(|bookmark| bookmark <= now) {
                self.bookmark = Some(now + ApiServer::BOOKMARKS);
                return Some((self.watch.bookmark(), Some(self)));
            }
            match self.ends.into_iter().chain(self.bookmark).min() {
                Some(next) => drop(tokio::time::timeout_at(next, changed).await),
                None => changed.await,
            }
        }
    }
}

impl<B> tower::Service<http::Request<B>> for ApiServer
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = http::Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<http::Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let server = self.clone();
        let answer = async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            server.travel().await;
            let response = server.answer(&head, &body).await;
            server.travel().await;
            response
        };
        answer.boxed()
    }
}

/// The reason in the `Status` object that a real server sends with this code.
const fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        413 => "RequestEntityTooLarge",
        422 => "Invalid",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
