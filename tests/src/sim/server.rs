//! The API server of a run: the store of [`fake_api`], behind the [`faults`](super::faults) and caches of the run, and with one rule
//! broken on purpose where a test must see that the rule is needed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use fake_api::request::{Operation, Request, WatchRequest};
use fake_api::response::{Body, Response};
use fake_api::store::{Commit, Object, Store};
use fake_api::watch::{Next, Watch};
use fastrand::Rng;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame};
use node::client::{ApiClient, Timeouts};
use tokio::sync::{Notify, oneshot};

use super::faults::{Act, Climate, Fate, Reply, Service};
use super::history::{Event, History, Owner};
use super::sabotage::Sabotage;

/// The API server of a run. Clones share it.
#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    climate: Arc<Climate>,
    history: History,
    sabotage: Sabotage,
    /// Notified of each commit. It wakes its waiters in order, which tokio's watch channel does not promise.
    changed: Arc<Notify>,
}

struct State {
    store: Store,
    rng: Rng,
    /// The time of each revision, in order.
    times: Arc<Mutex<Vec<(Duration, u64)>>>,
    traffic: Traffic,
}

/// Counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests.
    pub requests: usize,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, usize>,
}

/// The plural of claims.
const CLAIMS: &str = "overlappingrangeipreservations.whereabouts.cni.cncf.io";

impl Server {
    /// A server with an empty store.
    pub fn new(climate: Climate, rng: Rng, history: History, sabotage: Sabotage) -> Self {
        let times = Arc::new(Mutex::new(Vec::new()));
        let changed = Arc::new(Notify::new());
        let (made, notified, log) = (times.clone(), changed.clone(), history.clone());
        let observer = move |commit: &Commit| {
            made.lock().unwrap().push((log.now(), commit.revision));
            notified.notify_waiters();
            witness(&log, commit);
        };
        let store = Store::new(Box::new(observer));
        let state = State { store, rng, times, traffic: Traffic::default() };
        let (state, climate) = (Arc::new(Mutex::new(state)), Arc::new(climate));
        Server { state, climate, history, sabotage, changed }
    }

    /// The client with this number; blackouts hit clients by number.
    pub async fn client(&self, number: usize) -> ApiClient {
        let gate = Gate { server: self.clone(), client: number };
        ApiClient::from_service(gate, Timeouts::default()).await
    }

    /// Works on the store directly: no request, no fault.
    pub fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.state().store)
    }

    /// The counts so far.
    pub fn traffic(&self) -> Traffic {
        self.state().traffic.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The revision of a server's cache now.
    fn cached(&self, state: &State, server: usize) -> u64 {
        let moment = self.climate.cached(self.history.now(), server);
        let times = state.times.lock().unwrap();
        let known = times.partition_point(|(at, _)| *at <= moment);
        known.checked_sub(1).map_or(0, |last| times[last].1)
    }

    fn fate(&self, client: usize, request: &Request) -> Fate {
        let act = match request.operation {
            Operation::Get { .. } | Operation::List(_) | Operation::Watch(_) => Act::Read,
            Operation::Create { .. } => Act::Create,
            Operation::MergePatch { .. } | Operation::JsonPatch { .. } => Act::Patch,
            Operation::Replace { .. } | Operation::Delete { .. } => Act::Write,
        };
        let now = self.history.now();
        let mut state = self.state();
        let fate = self.climate.fate(&mut state.rng, now, client, act);
        state.traffic.count(&fate);
        fate
    }

    /// Carries out a request at once.
    fn serve(&self, request: &Request, server: usize) -> Response {
        let mut state = self.state();
        let cached = self.cached(&state, server);
        self.sabotage.serve(&mut state.store, request, cached)
    }

    /// Decides the fate of a request, and answers it accordingly.
    async fn process(&self, client: usize, request: Request) -> io::Result<http::Response<Body>> {
        let fate = self.fate(client, &request);
        self.history.detail(|| format!("client {client}: {request:?} {fate:?}"));
        if let Operation::Watch(watch) = &request.operation {
            tokio::time::sleep(fate.before).await;
            return self.open_watch(client, &request, watch, fate);
        }
        let (reply, received) = oneshot::channel();
        let server = self.clone();
        // A task of its own: a request that was sent arrives even if the client stops waiting.
        tokio::spawn(async move {
            tokio::time::sleep(fate.before).await;
            let response = match fate.service {
                Service::Served => Some((server.serve(&request, fate.server), None)),
                Service::Refused { code, reason, retry_after } => {
                    Some((Response::failure(code, reason, "try again"), retry_after))
                }
                Service::NeverArrives => None,
            };
            server.history.detail(|| {
                let code = response.as_ref().map_or(0, |(response, _)| response.code);
                format!("client {client}: {code} for {:?}", request.operation)
            });
            tokio::time::sleep(fate.after).await;
            let dark = server.climate.is_dark(server.history.now(), client);
            let _ = match (response, fate.reply) {
                (_, Reply::Silence) => return std::future::pending().await,
                (Some((response, after)), Reply::Arrives) if !dark => reply.send(Ok(http(response, after))),
                (Some(_), Reply::Error(code)) if !dark => reply.send(Ok(timed_out(code))),
                _ => reply.send(Err(broken())),
            };
        });
        received.await.unwrap_or_else(|_| Err(broken()))
    }

    fn open_watch(
        &self,
        client: usize,
        request: &Request,
        watch: &WatchRequest,
        fate: Fate,
    ) -> io::Result<http::Response<Body>> {
        match (fate.service, fate.reply) {
            (Service::NeverArrives, _) => return Err(broken()),
            (Service::Refused { code, reason, retry_after }, _) => {
                return Ok(http(Response::failure(code, reason, "try again"), retry_after));
            }
            (Service::Served, Reply::Error(code)) => return Ok(timed_out(code)),
            (Service::Served, Reply::Breaks) => return Err(broken()),
            (Service::Served, Reply::Arrives | Reply::Silence) => {}
        }
        let opened = self.with(|store| Watch::open(store, watch, request.parts));
        let watch = match opened {
            Ok(watch) => watch,
            Err(error) => return Ok(Response::from(&error).into_http()),
        };
        let life = self.state().rng.u64(5..=self.climate.watch_life.as_secs().max(6));
        let now = self.history.now();
        let open = OpenWatch {
            server: self.clone(),
            client,
            at: fate.server,
            watch,
            ends: now + Duration::from_secs(life),
            last: now,
        };
        let events = futures::stream::unfold(Some(open), |open| async {
            let mut open = open?;
            match open.next().await {
                Ok(Some(event)) => Some((Ok(Frame::data(event)), Some(open))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(http::Response::new(StreamBody::new(events.boxed()).boxed_unsync()))
    }
}

impl Traffic {
    fn count(&mut self, fate: &Fate) {
        self.requests += 1;
        let mut add = |what| *self.faults.entry(what).or_default() += 1;
        match (fate.service, fate.reply) {
            (Service::NeverArrives, _) => add("lost before"),
            (Service::Refused { .. }, _) => add("refused"),
            (Service::Served, Reply::Arrives) => {}
            (Service::Served, _) => add("lost after"),
        }
        if fate.before + fate.after >= Duration::from_millis(100) {
            add("slow");
        }
    }
}

/// A watch that a client reads.
struct OpenWatch {
    server: Server,
    client: usize,
    /// The server whose cache it reads.
    at: usize,
    watch: Watch,
    ends: Duration,
    /// The time of its last event.
    last: Duration,
}

impl OpenWatch {
    /// After so long without an event it sends a bookmark.
    const BOOKMARKS: Duration = Duration::from_secs(15);

    /// The next event; `None` at its end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let now = self.server.history.now();
            if self.server.climate.is_dark(now, self.client) {
                return Err(broken());
            }
            if now >= self.ends {
                return Ok(None);
            }
            // Enabled before the look at the store, so that no commit in between is missed.
            let changed = self.server.changed.clone();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let wake = match self.poll() {
                Next::Event(event) | Next::Expired(event) => {
                    self.last = now;
                    return Ok(Some(event));
                }
                Next::CacheIsBehind => Duration::from_millis(250),
                Next::UpToDate => {
                    let due = self.ends.min(self.last + Self::BOOKMARKS);
                    due.saturating_sub(now).min(Duration::from_secs(1))
                }
            };
            if now >= self.last + Self::BOOKMARKS {
                self.last = now;
                return Ok(Some(self.watch.bookmark()));
            }
            // A timeout is no failure: the cache and the blackouts change with time, without a commit.
            let _ = tokio::time::timeout(wake, changed).await;
        }
    }

    fn poll(&mut self) -> Next {
        let state = self.server.state();
        let cached = self.server.cached(&state, self.at);
        self.watch.next(&state.store, cached)
    }
}

/// The service of one client.
#[derive(Clone)]
struct Gate {
    server: Server,
    client: usize,
}

impl tower::Service<http::Request<kube::client::Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<http::Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let Gate { server, client } = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.map_err(io::Error::other)?;
            match Request::read(&head, &body) {
                Ok(request) => server.process(client, request).await,
                Err(error) => Ok(Response::from(&error).into_http()),
            }
        })
    }
}

fn http(response: Response, retry_after: Option<u64>) -> http::Response<Body> {
    let mut response = response.into_http();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The response in place of one that came too late.
fn timed_out(code: u16) -> http::Response<Body> {
    Response::failure(code, "Timeout", "request did not complete").into_http()
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

/// Records a commit in the history, as far as the judge needs it.
fn witness(history: &History, commit: &Commit) {
    if commit.key.kind == CLAIMS {
        let (before, after) = (commit.before.as_ref().map(owner), commit.after.as_ref().map(owner));
        history.note(Event::Committed { claim: commit.key.name.clone(), before, after });
    } else {
        history.detail(|| format!("revision {}: {:?}", commit.revision, commit.key));
    }
}

/// The owner of a claim. It does not use the code under test.
fn owner(claim: &Object) -> Owner {
    let annotation = |name: &str| claim["metadata"]["annotations"][name].as_str().map(str::to_owned);
    let spec = |name: &str| claim["spec"][name].as_str().map(str::to_owned);
    Owner {
        podref: spec("podref").unwrap_or_default(),
        pod_uid: annotation("whereabouts.multus-rs/pod-uid"),
        container: annotation("whereabouts.multus-rs/container-id")
            .or_else(|| spec("containerid"))
            .unwrap_or_default(),
    }
}
