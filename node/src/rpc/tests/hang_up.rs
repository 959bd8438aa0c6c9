//! A client that disconnects before it has its answer.

use std::num::NonZeroUsize;

use super::*;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Kind {
    Completed,
    Abandoned,
}

impl ClientRequest for Kind {
    fn on_hang_up(&self) -> OnHangUp {
        match self {
            Kind::Completed => OnHangUp::Complete,
            Kind::Abandoned => OnHangUp::Abandon,
        }
    }
}

/// What a handler has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Begin,
    End,
    /// It was dropped, at its end or before.
    Drop,
}

struct OnDrop(mpsc::Sender<Did>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.send(Did::Drop).unwrap();
    }
}

/// A daemon whose handler takes a fifth of a second. It serves one client at a time.
fn daemon() -> (Daemon, mpsc::Receiver<Did>) {
    let (did, log) = mpsc::channel();
    let one = |listener: Listener| listener.limit(NonZeroUsize::MIN);
    let daemon = Daemon::start_with(one, move |_: Kind| {
        let did = did.clone();
        async move {
            let _on_drop = OnDrop(did.clone());
            did.send(Did::Begin).unwrap();
            tokio::time::sleep(SECOND / 5).await;
            did.send(Did::End).unwrap();
            "done"
        }
    });
    (daemon, log)
}

/// What the handler of a request does whose client disconnects.
fn after_hang_up(request: &str, more: &[u8]) -> Vec<Did> {
    let (mut daemon, log) = daemon();
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    writeln!(stream, "{request:?}").unwrap();
    let mut did = vec![log.recv_timeout(10 * SECOND).unwrap()];
    stream.write_all(more).unwrap();
    drop(stream);
    while did.last() != Some(&Did::Drop) {
        did.push(log.recv_timeout(10 * SECOND).unwrap());
    }
    // It serves on.
    assert_eq!(daemon.call(&json!("Completed")).unwrap(), json!("done"));
    daemon.stop();
    did
}

#[test]
fn a_request_is_completed_though_the_client_disconnects() {
    assert_eq!(after_hang_up("Completed", b""), [Did::Begin, Did::End, Did::Drop]);
}

#[test]
fn a_request_that_must_not_outlive_its_client_is_dropped() {
    assert_eq!(after_hang_up("Abandoned", b""), [Did::Begin, Did::Drop]);
    // Whatever the client sent besides.
    assert_eq!(after_hang_up("Abandoned", &[b'x'; 300]), [Did::Begin, Did::Drop]);
}

#[test]
fn a_request_whose_client_waits_is_completed() {
    let (daemon, log) = daemon();
    for request in ["Completed", "Abandoned"] {
        assert_eq!(daemon.call(&json!(request)).unwrap(), json!("done"));
        let did: Vec<Did> = log.try_iter().collect();
        assert_eq!(did, [Did::Begin, Did::End, Did::Drop], "{request}");
    }
}

#[test]
fn a_request_whose_client_disconnects_while_it_waits_does_not_begin() {
    let (daemon, log) = daemon();
    let mut first = UnixStream::connect(daemon.socket()).unwrap();
    first.write_all(b"\"Completed\"\n").unwrap();
    assert_eq!(log.recv_timeout(10 * SECOND), Ok(Did::Begin));
    let mut waiting = UnixStream::connect(daemon.socket()).unwrap();
    waiting.write_all(b"\"Abandoned\"\n").unwrap();
    drop(waiting);
    // It is served after both.
    assert_eq!(daemon.call(&json!("Completed")).unwrap(), json!("done"));
    let did: Vec<Did> = log.try_iter().collect();
    assert_eq!(did, [Did::End, Did::Drop, Did::Begin, Did::End, Did::Drop]);
}
