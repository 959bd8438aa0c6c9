//! Candidates on one API server, under a paused clock.

use std::io;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::client::{ResourceKind, Timeouts};
use crate::names::{DnsLabel, DnsSubdomain};

const SECOND: Duration = Duration::from_secs(1);

/// How a candidate reaches the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// No connection.
    Down,
    /// The server accepts requests and never responds.
    Silent,
    /// The server executes requests, and the responses are lost.
    LosesResponses,
    /// The server executes requests after so long, even if nobody waits for the response.
    Slow(Duration),
}

/// The API server with its lease, and the last resourceVersion.
#[derive(Debug, Clone, Default)]
struct Server(Arc<Mutex<(Option<Value>, u64)>>);

impl Server {
    fn answer(&self, method: &Method, sent: Value) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let (lease, version) = &mut *state;
        let current = lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let refused = |code: u16, reason: &str| (code, json!({"kind": "Status", "reason": reason}));
        match (method, current) {
            (&Method::GET, Some(_)) => (200, lease.clone().unwrap()),
            (&Method::POST, Some(_)) => refused(409, "AlreadyExists"),
            (&Method::PUT, Some(current)) if current != sent["metadata"]["resourceVersion"] => {
                refused(409, "Conflict")
            }
            (&Method::POST, None) | (&Method::PUT, Some(_)) => {
                *version += 1;
                let mut sent = sent;
                sent["metadata"]["resourceVersion"] = json!(version.to_string());
                *lease = Some(sent.clone());
                (200, sent)
            }
            _ => refused(404, "NotFound"),
        }
    }

    fn holder(&self) -> String {
        let state = self.0.lock().unwrap();
        state
            .0
            .as_ref()
            .map_or_else(String::new, |lease| lease["spec"]["holderIdentity"].as_str().unwrap().to_owned())
    }
}

fn response((code, body): (u16, Value)) -> Response<Body> {
    Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
}

struct Member {
    election: Election,
    link: Arc<Mutex<Link>>,
}

impl Member {
    async fn start(server: &Server, me: &str) -> Self {
        let link = Arc::new(Mutex::new(Link::Up));
        let (server, state) = (server.clone(), link.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (server, link) = (server.clone(), *state.lock().unwrap());
            async move {
                let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
                let (head, body) = request.into_parts();
                let sent = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap_or_default();
                tokio::time::sleep(SECOND / 100).await;
                match link {
                    Link::Up => {}
                    Link::Down => return broken(),
                    Link::Silent => return std::future::pending().await,
                    Link::LosesResponses => {
                        server.answer(&head.method, sent);
                        return broken();
                    }
                    Link::Slow(time) => {
                        let late = tokio::spawn(async move {
                            tokio::time::sleep(time).await;
                            server.answer(&head.method, sent)
                        });
                        return Ok(response(late.await.unwrap()));
                    }
                }
                Ok(response(server.answer(&head.method, sent)))
            }
        });
        let api = ApiClient::from_service(service, Timeouts::default()).await;
        let path = ResourceKind::LEASES
            .in_namespace(&DnsLabel::new("kube-system").unwrap())
            .object(&DnsSubdomain::new("whereabouts").unwrap());
        Self { election: Election::start(api, path, me.to_owned(), Timing::default()), link }
    }

    fn set(&self, link: Link) {
        *self.link.lock().unwrap() = link;
    }

    fn leadership(&self) -> Leadership {
        self.election.leadership().borrow().clone()
    }

    /// The time until its leadership is `wanted`.
    async fn becomes(&self, wanted: &Leadership) -> Duration {
        let started = Instant::now();
        let mut leadership = self.election.leadership();
        let reached = leadership.wait_for(|now| now == wanted);
        let reached = tokio::time::timeout(120 * SECOND, reached).await;
        assert!(matches!(reached, Ok(Ok(_))), "the leadership does not become {wanted:?}");
        started.elapsed()
    }
}

fn following(name: &str) -> Leadership {
    Leadership::Following(name.to_owned())
}

/// One leader, `a`, and one follower, `b`.
async fn two() -> (Server, Member, Member) {
    fastrand::seed(3);
    let server = Server::default();
    let a = Member::start(&server, "a").await;
    assert_eq!(a.leadership(), Leadership::Unknown);
    a.becomes(&Leadership::Leading).await;
    let b = Member::start(&server, "b").await;
    b.becomes(&following("a")).await;
    (server, a, b)
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_as_long_as_it_lives() {
    let (server, a, b) = two().await;
    let mut changes = (a.election.leadership(), b.election.leadership());
    changes.0.mark_unchanged();
    changes.1.mark_unchanged();
    tokio::time::sleep(600 * SECOND).await;
    assert!(!changes.0.has_changed().unwrap() && !changes.1.has_changed().unwrap());
    assert_eq!(
        (a.leadership(), b.leadership(), server.holder().as_str()),
        (Leadership::Leading, following("a"), "a")
    );
}

#[tokio::test(start_paused = true)]
async fn of_ten_candidates_one_leads() {
    fastrand::seed(5);
    let server = Server::default();
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(Member::start(&server, &format!("c{number}")).await);
    }
    for _ in 0..600 {
        tokio::time::sleep(SECOND / 10).await;
        let leaders = all.iter().filter(|member| member.leadership() == Leadership::Leading).count();
        assert!(leaders <= 1, "{leaders} leaders");
    }
    let leader = server.holder();
    let follow = all.iter().filter(|member| member.leadership() == following(&leader)).count();
    assert_eq!(follow, 9);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_read() {
    let (server, a, b) = two().await;
    let leadership = a.election.leadership();
    a.election.release().await;
    assert_eq!((leadership.borrow().clone(), server.holder().as_str()), (Leadership::Unknown, ""));
    // The period of reads, and jitter of up to a fifth.
    assert!(b.becomes(&Leadership::Leading).await <= 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_ends_does_not_release_the_lease() {
    let (server, a, b) = two().await;
    b.election.release().await;
    assert_eq!((server.holder().as_str(), a.leadership()), ("a", Leadership::Leading));
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_the_lease_must_expire_first() {
    let (server, a, b) = two().await;
    let leadership = a.election.leadership();
    drop(a);
    tokio::task::yield_now().await;
    assert_eq!(*leadership.borrow(), Leadership::Unknown);
    let time = b.becomes(&Leadership::Leading).await;
    assert!(time > 12 * SECOND && time < 18 * SECOND, "{time:?}");
    assert_eq!(server.holder(), "b");
}

/// A leader without a working connection stops leading before another candidate leads, and follows once it is connected again.
async fn disconnected(link: Link) {
    let (_server, a, b) = two().await;
    a.set(link);
    let time = a.becomes(&Leadership::Unknown).await;
    assert!(time > 7 * SECOND && time <= 10 * SECOND, "{link:?}: {time:?}");
    assert_eq!(b.leadership(), following("a"));
    let time = b.becomes(&Leadership::Leading).await;
    assert!(time > 3 * SECOND, "{link:?}: {time:?}");
    a.set(Link::Up);
    a.becomes(&following("b")).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_connection_stops_before_another_leads() {
    disconnected(Link::Down).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_responses_stops_before_another_leads() {
    disconnected(Link::Silent).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_responses_are_lost_stops_and_leads_again_afterwards() {
    let (server, a, b) = two().await;
    a.set(Link::LosesResponses);
    a.becomes(&Leadership::Unknown).await;
    assert_eq!((b.leadership(), server.holder().as_str()), (following("a"), "a"));
    a.set(Link::Up);
    assert!(a.becomes(&Leadership::Leading).await < 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_changes_nothing() {
    for link in [Link::Down, Link::Silent, Link::LosesResponses] {
        let (_server, a, b) = two().await;
        let mut leadership = a.election.leadership();
        leadership.mark_unchanged();
        a.set(link);
        tokio::time::sleep(4 * SECOND).await;
        a.set(Link::Up);
        tokio::time::sleep(60 * SECOND).await;
        assert!(!leadership.has_changed().unwrap(), "{link:?}");
        assert_eq!(b.leadership(), following("a"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_without_connection_does_not_know_the_leader() {
    let (_server, _a, b) = two().await;
    b.set(Link::Down);
    let time = b.becomes(&Leadership::Unknown).await;
    assert!(time > 9 * SECOND && time < 13 * SECOND, "{time:?}");
    b.set(Link::Up);
    b.becomes(&following("a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_follows_a_holder_that_was_written_by_hand() {
    let (server, a, b) = two().await;
    {
        let mut state = server.0.lock().unwrap();
        let lease = state.0.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("c");
        lease["metadata"]["resourceVersion"] = json!("by-hand");
    }
    assert!(a.becomes(&following("c")).await < 3 * SECOND);
    // The period of reads, and jitter of up to a fifth.
    assert!(b.becomes(&following("c")).await <= 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_created_again() {
    let (server, a, _b) = two().await;
    server.0.lock().unwrap().0 = None;
    tokio::time::sleep(10 * SECOND).await;
    let leader = server.holder();
    assert!(leader == "a" || leader == "b", "{leader}");
    assert_eq!(a.leadership() == Leadership::Leading, leader == "a");
}

#[tokio::test(start_paused = true)]
async fn a_release_without_connection_ends_in_time() {
    let (_server, a, _b) = two().await;
    a.set(Link::Silent);
    let started = Instant::now();
    a.election.release().await;
    assert!(started.elapsed() <= 2 * SECOND, "{:?}", started.elapsed());
}

/// Four candidates whose links change at random for some minutes. There are never two leaders, and one leader soon after all links are up.
async fn random_links(seed: u64) -> Vec<String> {
    fastrand::seed(seed);
    let server = Server::default();
    let mut all = Vec::new();
    for number in 0..4 {
        all.push(Member::start(&server, &format!("c{number}")).await);
    }
    let leaders = |all: &[Member]| all.iter().filter(|one| one.leadership() == Leadership::Leading).count();
    let mut history = Vec::new();
    for step in 0..2000 {
        if step % 50 == 0 {
            let (who, kind) = (fastrand::usize(..all.len()), fastrand::u32(..9));
            match kind {
                0 => all[who].set(Link::Down),
                1 => all[who].set(Link::Silent),
                2 => all[who].set(Link::LosesResponses),
                3..6 => all[who].set(Link::Slow(SECOND / 1000 * fastrand::u32(..12_000))),
                _ => all[who].set(Link::Up),
            }
        }
        tokio::time::sleep(SECOND / 5).await;
        assert!(leaders(&all) <= 1, "seed {seed}, step {step}");
        let leadership: Vec<Leadership> = all.iter().map(Member::leadership).collect();
        history.push(format!("{leadership:?}"));
    }
    all.iter().for_each(|one| one.set(Link::Up));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(leaders(&all), 1, "seed {seed}");
    history.dedup();
    history
}

#[tokio::test(start_paused = true)]
async fn under_any_network_fault_there_are_never_two_leaders() {
    for seed in 0..4 {
        assert!(random_links(seed).await.len() > 10, "seed {seed}: nothing happened");
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_the_run() {
    assert_eq!(random_links(4).await, random_links(4).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_stops_when_the_holder_is_cleared() {
    let (server, a, b) = two().await;
    b.set(Link::Down);
    {
        let mut state = server.0.lock().unwrap();
        let lease = state.0.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("");
        lease["metadata"]["resourceVersion"] = json!("by-hand");
    }
    assert!(a.becomes(&Leadership::Unknown).await < 3 * SECOND);
    assert!(a.becomes(&Leadership::Leading).await < 3 * SECOND);
}
