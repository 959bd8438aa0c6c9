//! Contenders on one API server, under a paused clock.

use std::io;
use std::sync::{Arc, Mutex};

use fake_api::{ApiServer, Key};
use http::Request;
use kube::client::Body;
use serde_json::json;
use tower::Service as _;

use super::*;
use crate::client::{ResourceKind, Timeouts};
use crate::names::{DnsLabel, DnsSubdomain};

const SECOND: Duration = Duration::from_secs(1);

/// The connection between a contender and the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// No connection.
    Down,
    /// Requests do not arrive, and no response comes.
    Silent,
    /// The server carries out requests; the connection breaks before the response.
    Deaf,
    /// The server carries out a request after this time, even if the contender does not wait any more.
    Slow(Duration),
}

/// The API server with the lease.
#[derive(Clone, Default)]
struct Server(ApiServer);

impl Server {
    fn lease() -> Key {
        Key::new("leases.coordination.k8s.io", "kube-system", "whereabouts")
    }

    fn holder(&self) -> String {
        let lease = self.0.get(&Self::lease());
        lease.map_or_else(String::new, |lease| lease["spec"]["holderIdentity"].as_str().unwrap().to_owned())
    }

    /// Writes the holder as somebody with kubectl does.
    fn set_holder(&self, holder: &str) {
        self.0.edit(&Self::lease(), |lease| lease["spec"]["holderIdentity"] = json!(holder));
    }
}

struct Contender {
    election: Election,
    link: Arc<Mutex<Link>>,
}

impl Contender {
    async fn start(server: &Server, me: &str) -> Self {
        let link = Arc::new(Mutex::new(Link::Up));
        let (server, state) = (server.0.clone(), link.clone());
        let service = tower::service_fn(move |request: Request<Body>| {
            let (mut server, link) = (server.clone(), *state.lock().unwrap());
            async move {
                let broken = || Err(io::Error::from(io::ErrorKind::ConnectionReset));
                tokio::time::sleep(SECOND / 100).await;
                match link {
                    Link::Up => server.call(request).await,
                    Link::Down => broken(),
                    Link::Silent => std::future::pending().await,
                    Link::Deaf => {
                        server.call(request).await?;
                        broken()
                    }
                    Link::Slow(time) => {
                        let late = tokio::spawn(async move {
                            tokio::time::sleep(time).await;
                            server.call(request).await
                        });
                        late.await.unwrap()
                    }
                }
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

    /// The time until the contender has this leadership.
    async fn becomes(&self, wanted: &Leadership) -> Duration {
        let started = Instant::now();
        let mut leadership = self.election.leadership();
        let reached = leadership.wait_for(|now| now == wanted);
        let reached = tokio::time::timeout(120 * SECOND, reached).await;
        assert!(matches!(reached, Ok(Ok(_))), "the contender does not become {wanted:?}");
        started.elapsed()
    }
}

fn following(name: &str) -> Leadership {
    Leadership::Following(name.to_owned())
}

/// One leader, `a`, and one follower, `b`.
async fn two() -> (Server, Contender, Contender) {
    fastrand::seed(3);
    let server = Server::default();
    let a = Contender::start(&server, "a").await;
    assert_eq!(a.leadership(), Leadership::Unknown);
    a.becomes(&Leadership::Leading).await;
    let b = Contender::start(&server, "b").await;
    b.becomes(&following("a")).await;
    (server, a, b)
}

#[tokio::test(start_paused = true)]
async fn the_first_leads_for_as_long_as_it_lives() {
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
async fn one_of_ten_contenders_leads() {
    fastrand::seed(5);
    let server = Server::default();
    let mut all = Vec::new();
    for number in 0..10 {
        all.push(Contender::start(&server, &format!("c{number}")).await);
    }
    for _ in 0..600 {
        tokio::time::sleep(SECOND / 10).await;
        let leaders = all.iter().filter(|contender| contender.leadership() == Leadership::Leading).count();
        assert!(leaders <= 1, "{leaders} leaders");
    }
    let leader = server.holder();
    let follow = all.iter().filter(|contender| contender.leadership() == following(&leader)).count();
    assert_eq!(follow, 9);
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_acquired_at_the_next_read() {
    let (server, a, b) = two().await;
    let leadership = a.election.leadership();
    a.election.release().await;
    assert_eq!((leadership.borrow().clone(), server.holder().as_str()), (Leadership::Unknown, ""));
    // One interval, and up to a fifth more at random.
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

/// A leader without connection stops leading before another leads, and follows when the connection is back.
async fn cut_off(link: Link) {
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
    cut_off(Link::Down).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_responses_stops_before_another_leads() {
    cut_off(Link::Silent).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_responses_are_lost_stops_and_leads_again() {
    let (server, a, b) = two().await;
    a.set(Link::Deaf);
    a.becomes(&Leadership::Unknown).await;
    assert_eq!((b.leadership(), server.holder().as_str()), (following("a"), "a"));
    a.set(Link::Up);
    assert!(a.becomes(&Leadership::Leading).await < 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_changes_nothing() {
    for link in [Link::Down, Link::Silent, Link::Deaf] {
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
async fn a_follower_without_connection_knows_no_leader() {
    let (_server, _a, b) = two().await;
    b.set(Link::Down);
    let time = b.becomes(&Leadership::Unknown).await;
    assert!(time > 9 * SECOND && time < 13 * SECOND, "{time:?}");
    b.set(Link::Up);
    b.becomes(&following("a")).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_follows_a_holder_written_by_hand() {
    let (server, a, b) = two().await;
    server.set_holder("c");
    assert!(a.becomes(&following("c")).await < 3 * SECOND);
    // The period of reads, and jitter of up to a fifth.
    assert!(b.becomes(&following("c")).await <= 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_created_again() {
    let (server, a, _b) = two().await;
    server.0.remove(&Server::lease());
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

/// Four contenders whose links change at random for some minutes. There are never two leaders, and there is one soon after the links are up
/// again.
async fn storm(seed: u64) -> Vec<String> {
    fastrand::seed(seed);
    let server = Server::default();
    let mut all = Vec::new();
    for number in 0..4 {
        all.push(Contender::start(&server, &format!("c{number}")).await);
    }
    let leaders =
        |all: &[Contender]| all.iter().filter(|one| one.leadership() == Leadership::Leading).count();
    let mut story = Vec::new();
    for step in 0..2000 {
        if step % 50 == 0 {
            let (who, fate) = (fastrand::usize(..all.len()), fastrand::u64(..9));
            match fate {
                0 => all[who].set(Link::Down),
                1 => all[who].set(Link::Silent),
                2 => all[who].set(Link::Deaf),
                3..6 => all[who].set(Link::Slow(SECOND / 1000 * fastrand::u32(..12_000))),
                _ => all[who].set(Link::Up),
            }
        }
        tokio::time::sleep(SECOND / 5).await;
        assert!(leaders(&all) <= 1, "seed {seed}, step {step}");
        let all_now: Vec<Leadership> = all.iter().map(Contender::leadership).collect();
        story.push(format!("{all_now:?}"));
    }
    all.iter().for_each(|one| one.set(Link::Up));
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(leaders(&all), 1, "seed {seed}");
    story.dedup();
    story
}

#[tokio::test(start_paused = true)]
async fn there_are_never_two_leaders_whatever_the_network_does() {
    for seed in 0..4 {
        assert!(storm(seed).await.len() > 10, "seed {seed}: nothing happened");
    }
}

#[tokio::test(start_paused = true)]
async fn a_seed_has_the_same_outcome_twice() {
    assert_eq!(storm(4).await, storm(4).await);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_released_by_hand_stops() {
    let (server, a, b) = two().await;
    b.set(Link::Down);
    server.set_holder("");
    assert!(a.becomes(&Leadership::Unknown).await < 3 * SECOND);
    assert!(a.becomes(&Leadership::Leading).await < 3 * SECOND);
}

/// Creates, renews and takes the lease, and nothing else.
#[tokio::test(start_paused = true)]
async fn a_candidate_uses_exactly_its_verbs() {
    let server = Server::default();
    let access = |verb: &crate::client::Verb| fake_api::Access {
        verb: verb.to_string(),
        resource: ResourceKind::LEASES.to_string(),
        reach: fake_api::Reach::Namespace,
    };
    let granted: Vec<fake_api::Access> = crate::lease::VERBS.iter().map(access).collect();
    server.0.grant(granted.clone());
    let a = Contender::start(&server, "a").await;
    a.becomes(&Leadership::Leading).await;
    tokio::time::sleep(10 * SECOND).await;
    a.election.release().await;
    let used: Vec<fake_api::Access> = server.0.received().iter().filter_map(fake_api::Access::of).collect();
    assert!(used.iter().all(|access| granted.contains(access)), "{used:?}");
    assert!(granted.iter().all(|access| used.contains(access)), "{used:?}");
}
