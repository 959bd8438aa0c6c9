//! The API server of a run: the store of [`fake_api`], with the [`faults`](super::faults) and lagging watch caches of the run, and with at
//! most one [broken rule](super::broken_rule).

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

use super::broken_rule::BrokenRule;
use super::faults::{FaultPlan, Handling, Outcome, Reply, Verb};
use super::history::{Attachment, ClaimOwner, Event, History, OwnerKind, Sender};

/// The API server of a run. Clones share it.
#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    faults: Arc<FaultPlan>,
    history: History,
    broken_rule: BrokenRule,
    /// Notified of each commit. Wakes its waiters in order of arrival, so that a seed repeats. tokio's watch channel promises no order.
    changed: Arc<Notify>,
}

struct State {
    store: Store,
    rng: Rng,
    /// The time and revision of each commit, in order.
    times: Arc<Mutex<Vec<(Duration, u64)>>>,
    traffic: Traffic,
    /// Who sent the request that is being served.
    sender: Arc<Mutex<Sender>>,
}

/// Request counts of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// All requests.
    pub requests: usize,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, usize>,
}

/// The resource of claims: plural and group.
pub const CLAIMS: &str = "overlappingrangeipreservations.whereabouts.cni.cncf.io";

/// The resource of IPPools.
pub const POOLS: &str = "ippools.whereabouts.cni.cncf.io";

/// The resource of network definitions.
pub const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

impl Server {
    /// A server with an empty store.
    pub fn new(faults: FaultPlan, rng: Rng, history: History, broken_rule: BrokenRule) -> Self {
        let times = Arc::new(Mutex::new(Vec::new()));
        let changed = Arc::new(Notify::new());
        let (commits, notified, log) = (times.clone(), changed.clone(), history.clone());
        let sender = Arc::new(Mutex::new(Sender::ByHand));
        let of_commit = sender.clone();
        let observer = move |commit: &Commit| {
            commits.lock().unwrap().push((log.now(), commit.revision));
            notified.notify_waiters();
            let sender = *of_commit.lock().unwrap();
            record_commit(&log, commit, sender);
        };
        let store = Store::new(Box::new(observer));
        let state = State { store, rng, times, traffic: Traffic::default(), sender };
        let (state, faults) = (Arc::new(Mutex::new(state)), Arc::new(faults));
        Server { state, faults, history, broken_rule, changed }
    }

    /// A client. Outages select clients by `number`.
    pub async fn client(&self, number: usize) -> ApiClient {
        let connection = Connection { server: self.clone(), client: number };
        ApiClient::from_service(connection, Timeouts::default()).await
    }

    /// Accesses the store directly: no request, no fault.
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

    /// The revision that a server's watch cache shows now.
    fn cached(&self, state: &State, server: usize) -> u64 {
        let time = self.faults.cache_time(self.history.now(), server);
        let times = state.times.lock().unwrap();
        let visible = times.partition_point(|(at, _)| *at <= time);
        visible.checked_sub(1).map_or(0, |last| times[last].1)
    }

    fn outcome(&self, client: usize, request: &Request) -> Outcome {
        let verb = match request.operation {
            Operation::Get { .. } | Operation::List(_) | Operation::Watch(_) => Verb::Read,
            Operation::Create { .. } => Verb::Create,
            Operation::MergePatch { .. } | Operation::JsonPatch { .. } => Verb::Patch,
            Operation::Replace { .. } | Operation::Delete { .. } => Verb::ReplaceOrDelete,
        };
        let now = self.history.now();
        let mut state = self.state();
        let outcome = self.faults.outcome(&mut state.rng, now, client, verb);
        state.traffic.count(&outcome);
        outcome
    }

    /// Executes a request on the store, without delay.
    fn serve(&self, request: &Request, server: usize, sender: Sender) -> Response {
        let mut state = self.state();
        let cached = self.cached(&state, server);
        *state.sender.lock().unwrap() = sender;
        let response = self.broken_rule.serve(&mut state.store, request, cached);
        *state.sender.lock().unwrap() = Sender::ByHand;
        response
    }

    /// Decides the outcome of a request, and responds accordingly.
    async fn handle(&self, client: usize, request: Request) -> io::Result<http::Response<Body>> {
        let outcome = self.outcome(client, &request);
        self.history.note(|| format!("client {client}: {request:?} {outcome:?}"));
        if let Operation::Watch(watch) = &request.operation {
            tokio::time::sleep(outcome.request_delay).await;
            return self.open_watch(client, &request, watch, outcome);
        }
        let (reply, received) = oneshot::channel();
        let server = self.clone();
        // Its own task: a request that was sent reaches the server even if the client stops waiting.
        tokio::spawn(async move {
            tokio::time::sleep(outcome.request_delay).await;
            let sender = if reply.is_closed() { Sender::Gone } else { Sender::Waiting };
            let response = match outcome.handling {
                Handling::Served => Some((server.serve(&request, outcome.server, sender), None)),
                Handling::Refused { code, reason, retry_after } => {
                    Some((Response::failure(code, reason, "try again"), retry_after))
                }
                Handling::NotReceived => None,
            };
            server.history.note(|| {
                let code = response.as_ref().map_or(0, |(response, _)| response.code);
                format!("client {client}: {code} for {:?}", request.operation)
            });
            tokio::time::sleep(outcome.response_delay).await;
            // The connection can break while the response is on its way.
            let unreachable = server.faults.is_unreachable(server.history.now(), client);
            let _ = match (response, outcome.reply) {
                (_, Reply::Silence) => return std::future::pending().await,
                (Some((response, retry_after)), Reply::Delivered) if !unreachable => {
                    reply.send(Ok(to_http(response, retry_after)))
                }
                (Some(_), Reply::Error(code)) if !unreachable => reply.send(Ok(timeout_response(code))),
                _ => reply.send(Err(connection_reset())),
            };
        });
        received.await.unwrap_or_else(|_| Err(connection_reset()))
    }

    fn open_watch(
        &self,
        client: usize,
        request: &Request,
        watch: &WatchRequest,
        outcome: Outcome,
    ) -> io::Result<http::Response<Body>> {
        match (outcome.handling, outcome.reply) {
            (Handling::NotReceived, _) => return Err(connection_reset()),
            (Handling::Refused { code, reason, retry_after }, _) => {
                return Ok(to_http(Response::failure(code, reason, "try again"), retry_after));
            }
            (Handling::Served, Reply::Error(code)) => return Ok(timeout_response(code)),
            (Handling::Served, Reply::Reset) => return Err(connection_reset()),
            (Handling::Served, Reply::Delivered | Reply::Silence) => {}
        }
        let opened = self.with(|store| Watch::open(store, watch, request.parts));
        let watch = match opened {
            Ok(watch) => watch,
            Err(error) => return Ok(Response::from(&error).into_http()),
        };
        let lifetime = self.state().rng.u64(5..=self.faults.watch_lifetime.as_secs().max(6));
        let now = self.history.now();
        let open = OpenWatch {
            server: self.clone(),
            client,
            server_index: outcome.server,
            watch,
            ends: now + Duration::from_secs(lifetime),
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
    fn count(&mut self, outcome: &Outcome) {
        self.requests += 1;
        let mut add = |what| *self.faults.entry(what).or_default() += 1;
        match (outcome.handling, outcome.reply) {
            (Handling::NotReceived, _) => add("request lost"),
            (Handling::Refused { .. }, _) => add("refused"),
            (Handling::Served, Reply::Delivered) => {}
            (Handling::Served, _) => add("response lost"),
        }
        if outcome.request_delay + outcome.response_delay >= Duration::from_millis(100) {
            add("slow");
        }
    }
}

/// A watch that a client reads.
struct OpenWatch {
    server: Server,
    client: usize,
    /// The server whose watch cache it reads.
    server_index: usize,
    watch: Watch,
    ends: Duration,
    /// The time of its last event or bookmark.
    last: Duration,
}

impl OpenWatch {
    /// The time without an event after which it sends a bookmark.
    const BOOKMARK_INTERVAL: Duration = Duration::from_secs(15);

    /// The next event, or `None` at the end of the watch.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let now = self.server.history.now();
            if self.server.faults.is_unreachable(now, self.client) {
                return Err(connection_reset());
            }
            if now >= self.ends {
                return Ok(None);
            }
            // Registered before the store is read, so that no commit in between is missed.
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
                    let next_bookmark = self.ends.min(self.last + Self::BOOKMARK_INTERVAL);
                    next_bookmark.saturating_sub(now).min(Duration::from_secs(1))
                }
            };
            if now >= self.last + Self::BOOKMARK_INTERVAL {
                self.last = now;
                return Ok(Some(self.watch.bookmark()));
            }
            // Time alone can end a wait too: a cache that catches up or an outage that begins is no commit.
            let _ = tokio::time::timeout(wake, changed).await;
        }
    }

    fn poll(&mut self) -> Next {
        let state = self.server.state();
        let cached = self.server.cached(&state, self.server_index);
        self.watch.next(&state.store, cached)
    }
}

/// The connection of one client to the server.
#[derive(Clone)]
struct Connection {
    server: Server,
    client: usize,
}

impl tower::Service<http::Request<kube::client::Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<http::Response<Body>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let Connection { server, client } = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.map_err(io::Error::other)?;
            match Request::read(&head, &body) {
                Ok(request) => server.handle(client, request).await,
                Err(error) => Ok(Response::from(&error).into_http()),
            }
        })
    }
}

fn to_http(response: Response, retry_after: Option<u64>) -> http::Response<Body> {
    let mut response = response.into_http();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The response of a server or proxy that gave up on a request.
fn timeout_response(code: u16) -> http::Response<Body> {
    Response::failure(code, "Timeout", "request did not complete").into_http()
}

fn connection_reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

/// Records a commit in the history, as far as the checker needs it.
fn record_commit(history: &History, commit: &Commit, sender: Sender) {
    if commit.key.kind == CLAIMS {
        let claim = format!("{}/{}", commit.key.namespace, commit.key.name);
        history.record(Event::ClaimChanged { claim, after: commit.after.as_ref().map(owner), sender });
    } else {
        history.note(|| format!("revision {}: {:?}", commit.revision, commit.key));
    }
}

/// The owner of a claim. Reads the object itself, so that a fault of the code under test cannot hide here.
fn owner(claim: &Object) -> ClaimOwner {
    let annotation = |name: &str| claim["metadata"]["annotations"][name].as_str().map(str::to_owned);
    let spec = |name: &str| claim["spec"][name].as_str().map(str::to_owned);
    let is_container = annotation("whereabouts.multus-rs/owner").as_deref() == Some("container");
    ClaimOwner {
        kind: if is_container { OwnerKind::Container } else { OwnerKind::Pod },
        podref: spec("podref").unwrap_or_default(),
        pod_uid: annotation("whereabouts.multus-rs/pod-uid"),
        attachment: Attachment {
            container: annotation("whereabouts.multus-rs/container-id")
                .or_else(|| spec("containerid"))
                .unwrap_or_default(),
            if_name: annotation("whereabouts.multus-rs/ifname")
                .or_else(|| spec("ifname"))
                .unwrap_or_default(),
        },
    }
}
