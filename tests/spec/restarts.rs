//! Restarts of multus' daemon while pods are attached. The daemon ends at a moment of the ADD, which moves on with each round. Every ADD ends
//! with all networks of the pod and its network-status, or with code 11 and nothing left after DEL.
//!
//! `MRS_RESTARTS` is the number of rounds for each signal, 20 by default.

use std::time::{Duration, Instant};

use fake_api::Key;
use nad::rpc::{Request, socket};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::driver::Answer;

use crate::bad_configurations::world::{Access, Daemon, Node, Plugins, Sandbox};

/// Longer than the longest wait of multus for a daemon and the API server. An ADD that takes longer hangs.
const HANGS: Duration = Duration::from_secs(60);

/// The network of the pod: an address of host-local on our macvlan.
fn network() -> String {
    let ipam = json!({"type": "host-local", "subnet": "10.1.2.0/24"});
    json!({"cniVersion": "0.3.1", "name": "lan", "type": "macvlan", "master": "mst0", "ipam": ipam})
        .to_string()
}

/// Starts the daemon, and waits until it answers.
fn start(node: &Node) -> Daemon {
    let daemon = node.start_daemon();
    let end = Instant::now() + HANGS;
    let deadline = || node::deadline::Deadline::after(HANGS);
    let events = Request::Events(Vec::new());
    while node::rpc::call::<_, nad::rpc::Response>(&socket(node.socket_folder()), &events, deadline())
        .is_err()
    {
        assert!(Instant::now() < end, "the daemon does not answer");
        std::thread::sleep(Duration::from_millis(2));
    }
    daemon
}

/// How an ADD ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Attached,
    Refused,
}

fn rounds() -> u32 {
    std::env::var("MRS_RESTARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

fn status(node: &Node) -> String {
    let pod = node.api().get(&Key::new("pods", "default", "pod0")).unwrap();
    pod["metadata"]["annotations"][nad::NETWORK_STATUS].as_str().unwrap_or_default().to_owned()
}

/// An ADD that ended well has both interfaces and a status with both; one that ended badly says "try again".
fn check(node: &Node, sandbox: &Sandbox<'_>, answer: &Answer) -> Ended {
    if answer.output.status.success() {
        assert_eq!(sandbox.links(), ["net1"]);
        let status: Value =
            serde_json::from_str(&status(node)).unwrap_or_else(|e| panic!("{e}: {:?}", status(node)));
        let names: Vec<&str> =
            status.as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
        assert_eq!(names, ["main", "default/bad"]);
        return Ended::Attached;
    }
    let error = answer.error();
    assert_eq!(error.code.number(), 11, "{error}");
    Ended::Refused
}

/// One ADD, in which the daemon ends `delay` after the start, and starts again; then DEL.
fn round(node: &Node, access: Access, signal: Signal, delay: Duration) -> Ended {
    node.define(&network(), &json!({}));
    let (before, sandbox, daemon) = (node.left(), node.sandbox(), start(node));
    let begin = Instant::now();
    let (answer, next) = std::thread::scope(|scope| {
        let add = scope.spawn(|| sandbox.call_with("ADD", access));
        std::thread::sleep(delay);
        daemon.end(signal);
        let next = start(node);
        (add.join().unwrap(), next)
    });
    assert!(begin.elapsed() < HANGS, "the ADD took {:?}", begin.elapsed());
    let ended = check(node, &sandbox, &answer);
    sandbox.call_with("DEL", access).ok();
    assert_eq!(
        (node.left(), sandbox.links()),
        (before, Vec::new()),
        "after DEL of an ADD that was {ended:?}"
    );
    drop(next);
    ended
}

/// How long an ADD takes that nothing disturbs.
fn undisturbed(node: &Node, access: Access) -> Duration {
    node.define(&network(), &json!({}));
    let (sandbox, _daemon) = (node.sandbox(), start(node));
    let begin = Instant::now();
    assert_eq!(check(node, &sandbox, &sandbox.call_with("ADD", access)), Ended::Attached);
    let took = begin.elapsed();
    sandbox.call_with("DEL", access).ok();
    took
}

fn all_rounds(access: Access) {
    let node = Node::enter(Plugins::Ours);
    // So that there are moments in which the daemon waits for an answer.
    node.api().delay(|| Duration::from_millis(2));
    // Beyond the end of an ADD too: the test's own load makes the others slower.
    let span = undisturbed(&node, access) * 2;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let ended: Vec<Ended> =
            (0..rounds()).map(|at| round(&node, access, signal, span * at / rounds().max(1))).collect();
        let attached = ended.iter().filter(|one| **one == Ended::Attached).count();
        eprintln!("{access:?}, {signal}: of {} ADDs in {span:?}, {attached} attached", ended.len());
        // Who has credentials needs no daemon.
        assert!(access == Access::Daemon || attached == ended.len(), "{ended:?}");
    }
}

#[test]
fn an_add_during_a_restart_of_the_daemon_has_all_networks_or_is_undone() {
    std::thread::scope(|scope| scope.spawn(|| all_rounds(Access::Daemon)).join().unwrap());
}

/// What the daemon does not answer, the API server does.
#[test]
fn an_add_with_credentials_of_its_own_outlives_the_daemon() {
    std::thread::scope(|scope| scope.spawn(|| all_rounds(Access::Own)).join().unwrap());
}
