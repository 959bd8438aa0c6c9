//! The API server as clients reach it: with what [`faults`](super::faults) does to their requests, and with one of its promises broken on
//! purpose where a test wants to see that it is needed.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use fastrand::Rng;
use futures::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use node::client::{ApiClient, Timeouts};
use tokio::sync::{Notify, oneshot};

use super::api::http::{self as api, Answer, Ask, Request};
use super::api::store::{Commit, Object, Store};
use super::faults::{Act, AllocationState, Climate, Reply, Service};
use super::history::{Event, History, Owner};
use super::sabotage::Sabotage;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The API server of a run. Clones share it.
#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    climate: Arc<Climate>,
    history: History,
    sabotage: Sabotage,
    /// Woken by each commit; in order, which tokio's watch channel does not promise.
    changed: Arc<Notify>,
}

struct State {
    store: Store,
    rng: Rng,
    /// When each revision was made, in order.
    times: Arc<Mutex<Vec<(Duration, u64)>>>,
    traffic: Traffic,
}

/// What was counted at the server.
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
    /// An empty one.
    pub fn new(climate: Climate, rng: Rng, history: History, sabotage: Sabotage) -> Self {
        let times = Arc::new(Mutex::new(Vec::new()));
        let changed = Arc::new(Notify::new());
        let (seen, told, log) = (times.clone(), changed.clone(), history.clone());
        let observer = move |commit: &Commit| {
            seen.lock().unwrap().push((log.now(), commit.revision));
            told.notify_waiters();
            witness(&log, commit);
        };
        let store = Store::new(Box::new(observer));
        let state = State { store, rng, times, traffic: Traffic::default() };
        let (state, climate) = (Arc::new(Mutex::new(state)), Arc::new(climate));
        Server { state, climate, history, sabotage, changed }
    }

    /// A client: number `number`, whom blackouts may hit.
    pub async fn client(&self, number: usize) -> ApiClient {
        let gate = Gate { server: self.clone(), client: number };
        ApiClient::from_service(gate, Timeouts::default()).await
    }

    /// Does something at the server itself, where nothing fails.
    pub fn with<T>(&self, work: impl FnOnce(&mut Store) -> T) -> T {
        work(&mut self.state().store)
    }

    /// What was counted so far.
    pub fn traffic(&self) -> Traffic {
        self.state().traffic.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The revision that a server's cache shows now.
    fn cached(&self, state: &State, server: usize) -> u64 {
        let moment = self.climate.cached(self.history.now(), server);
        let times = state.times.lock().unwrap();
        let known = times.partition_point(|(at, _)| *at <= moment);
        known.checked_sub(1).map_or(0, |last| times[last].1)
    }

    fn fate(&self, client: usize, request: &Request) -> AllocationState {
        let act = match request.ask {
            Ask::Get { .. } | Ask::List { .. } | Ask::Watch { .. } => Act::Read,
            Ask::Create { .. } => Act::Create,
            Ask::MergePatch { .. } | Ask::JsonPatch { .. } => Act::Patch,
            Ask::Replace { .. } | Ask::Delete { .. } => Act::Write,
        };
        let now = self.history.now();
        let mut state = self.state();
        let fate = self.climate.fate(&mut state.rng, now, client, act);
        state.traffic.count(&fate);
        fate
    }

    /// Serves a request at once.
    fn serve(&self, request: &Request, server: usize) -> Answer {
        let mut state = self.state();
        let cached = self.cached(&state, server);
        self.sabotage.answer(&mut state.store, request, cached)
    }

    /// Lets a request arrive, and answers it.
    async fn process(&self, client: usize, request: Request) -> io::Result<http::Response<Body>> {
        let fate = self.fate(client, &request);
        self.history.detail(|| format!("client {client}: {request:?} {fate:?}"));
        if let Ask::Watch { .. } = request.ask {
            tokio::time::sleep(fate.before).await;
            return self.open_watch(client, request, fate);
        }
        let (reply, answered) = oneshot::channel();
        let server = self.clone();
        // What is on its way arrives, whether or not the client still waits.
        tokio::spawn(async move {
            tokio::time::sleep(fate.before).await;
            let answer = match fate.service {
                Service::Served => Some((server.serve(&request, fate.server), None)),
                Service::Refused { code, reason, retry_after } => {
                    Some((api::status(code, reason, "try again"), retry_after))
                }
                Service::NeverArrives => None,
            };
            server.history.detail(|| {
                format!("client {client}: {} for {:?}", answer.as_ref().map_or(0, |a| a.0.code), request.ask)
            });
            tokio::time::sleep(fate.after).await;
            let dark = server.climate.is_dark(server.history.now(), client);
            let _ = match (answer, fate.reply) {
                (_, Reply::Silence) => return std::future::pending().await,
                (Some((answer, after)), Reply::Arrives) if !dark => reply.send(Ok(response(answer, after))),
                (Some(_), Reply::Error(code)) if !dark => {
                    reply.send(Ok(response(api::status(code, "Timeout", "request did not complete"), None)))
                }
                _ => reply.send(Err(broken())),
            };
        });
        answered.await.unwrap_or_else(|_| Err(broken()))
    }

    fn open_watch(
        &self,
        client: usize,
        request: Request,
        fate: AllocationState,
    ) -> io::Result<http::Response<Body>> {
        match (fate.service, fate.reply) {
            (Service::NeverArrives, _) => return Err(broken()),
            (Service::Refused { code, reason, retry_after }, _) => {
                return Ok(response(api::status(code, reason, "try again"), retry_after));
            }
            (Service::Served, Reply::Error(code)) => {
                return Ok(response(api::status(code, "Timeout", "request did not complete"), None));
            }
            (Service::Served, Reply::Breaks) => return Err(broken()),
            (Service::Served, Reply::Arrives | Reply::Silence) => {}
        }
        let Ask::Watch { after, .. } = request.ask else { return Err(broken()) };
        if let Err(refused) = self.with(|store| store.check_age(after)) {
            return Ok(response(api::refusal(&refused), None));
        }
        let life = self.state().rng.u64(5..=self.climate.watch_life.as_secs().max(6));
        let watching = Watching {
            server: self.clone(),
            client,
            at: fate.server,
            request,
            position: after,
            ends: self.history.now() + Duration::from_secs(life),
            told: self.history.now(),
        };
        let lines = futures::stream::unfold(Some(watching), |watching| async {
            let mut watching = watching?;
            match watching.next().await {
                Ok(Some(line)) => Some((Ok(Frame::data(line)), Some(watching))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(http::Response::new(StreamBody::new(lines.boxed()).boxed_unsync()))
    }
}

impl Traffic {
    fn count(&mut self, fate: &AllocationState) {
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

/// A watch that is open.
struct Watching {
    server: Server,
    client: usize,
    at: usize,
    request: Request,
    /// Everything up to this revision was said.
    position: u64,
    ends: Duration,
    told: Duration,
}

impl Watching {
    /// How long it is silent at most.
    const BOOKMARKS: Duration = Duration::from_secs(15);

    /// The next line; `None` at its end.
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let now = self.server.history.now();
            if self.server.climate.is_dark(now, self.client) {
                return Err(broken());
            }
            if now >= self.ends {
                return Ok(None);
            }
            let changed = self.server.changed.clone();
            let mut changed = std::pin::pin!(changed.notified());
            changed.as_mut().enable();
            let (line, behind) = self.look();
            if line.is_some() {
                self.told = now;
                return Ok(line);
            }
            if now >= self.told + Self::BOOKMARKS {
                self.told = now;
                return Ok(Some(api::bookmark(self.position)));
            }
            let wake = if behind {
                Duration::from_millis(250)
            } else {
                self.ends.min(self.told + Self::BOOKMARKS).saturating_sub(now).min(Duration::from_secs(1))
            };
            // Woken by a change or by the time: both are looked at.
            let _ = tokio::time::timeout(wake, changed).await;
        }
    }

    /// What is new in the server's cache, and whether the cache is behind.
    fn look(&mut self) -> (Option<Bytes>, bool) {
        let Ask::Watch { from, selector, .. } = &self.request.ask else { return (None, false) };
        let state = self.server.state();
        let cached = self.server.cached(&state, self.at);
        if let Err(_expired) = state.store.check_age(self.position) {
            return (Some(api::expired()), false);
        }
        for commit in state.store.commits_after(self.position) {
            if commit.revision > cached {
                return (None, true);
            }
            self.position = commit.revision;
            if let Some(line) = api::watched(commit, from, selector, self.request.shape) {
                return (Some(line), false);
            }
        }
        (None, false)
    }
}

/// One client's way to the server.
#[derive(Clone)]
struct Gate {
    server: Server,
    client: usize,
}

impl tower::Service<http::Request<kube::client::Body>> for Gate {
    type Response = http::Response<Body>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<http::Response<Body>>> + Send>>;

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
                Err(refused) => Ok(response(api::refusal(&refused), None)),
            }
        })
    }
}

fn response(answer: Answer, retry_after: Option<u64>) -> http::Response<Body> {
    let body = Full::new(answer.body).map_err(|never| match never {}).boxed_unsync();
    let response = http::Response::builder().status(answer.code);
    let response = match retry_after {
        Some(seconds) => response.header(http::header::RETRY_AFTER, seconds),
        None => response,
    };
    response.body(body).unwrap()
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection reset by peer")
}

/// Puts what matters of a commit into the history.
fn witness(history: &History, commit: &Commit) {
    if commit.key.kind == CLAIMS {
        let (before, after) = (commit.before.as_ref().map(owner), commit.after.as_ref().map(owner));
        history.note(Event::Committed { claim: commit.key.name.clone(), before, after });
    } else {
        history.detail(|| format!("revision {}: {:?}", commit.revision, commit.key));
    }
}

/// Whose a claim is, read without the help of the code that is tested.
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
