//! The program `multus-daemon` as the kubelet runs it: signals, rotated tokens, memory.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, clippy::print_stderr)]

mod support;

use std::time::Duration;

use nad::rpc::{Failure, Request, Response, StatusWrite};
use nix::sys::signal::Signal;
use node::rpc::RpcError;

use support::{Process, Server, pod};

fn read(n: usize) -> Request {
    Request::Pod(pod(n))
}

/// A request whose answer waits for the API server: the pod is not cached, and its first reads fail.
fn slow(server: &Server) -> Request {
    let unknown = pod(9_999);
    let path = format!("/pods/{}", unknown.name);
    let is_read = move |request: &fake_api::Received| request.path.ends_with(&path);
    server.api.fail(is_read, std::iter::repeat_n(fake_api::Fault::Status(503), 4));
    Request::Pod(unknown)
}

#[test]
fn sigterm_answers_what_is_in_flight_and_the_next_daemon_takes_the_socket() {
    let server = Server::start();
    server.put_pods(2);
    let mut daemon = Process::start(&server);
    assert!(matches!(daemon.call(&read(0)).unwrap(), Response::Pod(_)));
    let in_flight = daemon.call_later(slow(&server));
    server.wait_for("9999");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(in_flight.join().unwrap().unwrap(), Response::Failed(Failure::PodMissing));
    assert!(daemon.wait().success());
    assert!(matches!(daemon.call(&read(1)), Err(RpcError::Absent { .. })));
    let next = Process::start_in(&server, daemon.folder());
    assert!(matches!(next.call(&read(1)).unwrap(), Response::Pod(_)));
}

#[test]
fn sigkill_breaks_what_is_in_flight_and_the_next_daemon_takes_the_socket() {
    let server = Server::start();
    server.put_pods(1);
    let mut daemon = Process::start(&server);
    let in_flight = daemon.call_later(slow(&server));
    server.wait_for("9999");
    daemon.signal(Signal::SIGKILL);
    assert!(matches!(in_flight.join().unwrap(), Err(RpcError::Broken { .. })));
    assert!(!daemon.wait().success());
    assert!(matches!(daemon.call(&read(0)), Err(RpcError::Absent { .. })));
    let next = Process::start_in(&server, daemon.folder());
    assert!(matches!(next.call(&read(0)).unwrap(), Response::Pod(_)));
}

#[test]
fn a_token_that_was_replaced_is_read_again() {
    let server = Server::start();
    server.put_pods(1);
    let daemon = Process::start(&server);
    server.accept_token("second");
    let refused = daemon.call(&Request::Pod(pod(9_999))).unwrap();
    assert!(matches!(refused, Response::Failed(Failure::Denied(_))), "{refused:?}");
    daemon.write_token("second");
    assert_eq!(daemon.call(&Request::Pod(pod(9_999))).unwrap(), Response::Failed(Failure::PodMissing));
}

/// 150 pods of one node whose sandboxes are set up at once. Each has one status: of two at once, the newer stops the older.
#[test]
fn a_burst_of_pods_needs_no_more_memory_than_a_few_requests() {
    let server = Server::start();
    server.put_pods(150);
    let daemon = Process::start(&server);
    let status = |n: usize| StatusWrite { pod: pod(n), status: format!("[{}]", "x".repeat(4_000)) };
    let all = |requests: usize| {
        let calls: Vec<_> = (0..requests)
            .flat_map(|n| [read(n), Request::Status(status(n))])
            .map(|request| daemon.call_later(request))
            .collect();
        for call in calls {
            let response = call.join().unwrap().unwrap();
            assert!(!matches!(response, Response::Failed(_)), "{response:?}");
        }
    };
    all(10);
    let few = daemon.memory();
    all(150);
    let burst = daemon.memory();
    eprintln!("memory in KiB after 20 requests: {few:?}, after 300 more at once: {burst:?}");
    assert!(burst.anonymous < 10 << 10, "{burst:?}");
    assert!(burst.anonymous - few.anonymous < 4 << 10, "{few:?} {burst:?}");
    assert!(server.most_at_once() <= 40, "{}", server.most_at_once());
}

#[test]
fn a_folder_that_others_may_write_to_is_no_place_for_the_socket() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = support::output(&server, folder.path(), Duration::from_secs(20));
    assert!(output.contains("nobody else may write to"), "{output}");
}
