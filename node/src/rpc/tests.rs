//! Real sockets in temp directories.

mod hang_up;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::wire::MAX_MESSAGE;
use super::*;
use crate::deadline::Deadline;

const SECOND: Duration = Duration::from_secs(1);

fn soon() -> Deadline {
    Deadline::after(20 * SECOND)
}

impl ClientRequest for Value {}

impl ClientRequest for String {}

impl ClientRequest for u32 {}

impl ClientRequest for Strict {}

/// A daemon on a thread of its own, until it is stopped or dropped.
struct Daemon {
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Daemon {
    fn start<Q, A, F, Fut>(handler: F) -> Self
    where
        Q: ClientRequest,
        A: Serialize + Send + 'static,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
    {
        Self::start_with(|listener| listener, handler)
    }

    fn start_with<Q, A, F, Fut>(change: fn(Listener) -> Listener, handler: F) -> Self
    where
        Q: ClientRequest,
        A: Serialize + Send + 'static,
        F: Fn(Q) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
    {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/daemon.sock");
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = change(bind(&path).unwrap());
                ready.send(()).unwrap();
                serve(listener, handler, async { drop(stopped.await) }, 5 * SECOND).await;
            });
        });
        is_ready.recv().unwrap();
        Self { dir, stop: Some(stop), thread: Some(thread) }
    }

    /// A daemon whose answer is the request.
    fn echo() -> Self {
        Self::start(|request: Value| async { request })
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/daemon.sock")
    }

    fn call(&self, request: &Value) -> Result<Value, RpcError> {
        call(&self.socket(), request, soon())
    }

    /// Sends raw bytes. Returns what the daemon sends until it closes the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(20 * SECOND)).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            answer.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8(answer).unwrap()
    }

    fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A server that accepts one connection, reads one line, sends these bytes and closes the connection.
fn once(answer: &'static [u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|count| count == 1) && byte != *b"\n" {}
        let _ = stream.write_all(answer);
    });
    (dir, path)
}

#[test]
fn a_request_is_answered() {
    let daemon = Daemon::echo();
    let request = json!({"text": "a\nb", "number": 7});
    assert_eq!(daemon.call(&request).unwrap(), request);
    assert_eq!(daemon.raw(b"[1]\n"), "{\"answer\":[1]}\n");
}

#[test]
fn the_socket_has_mode_0600_in_a_directory_with_mode_0755() {
    let daemon = Daemon::echo();
    let socket = std::fs::metadata(daemon.socket()).unwrap();
    assert_eq!(socket.mode() & 0o7777, 0o600);
    let dir = daemon.socket().parent().unwrap().to_owned();
    assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn without_a_socket_the_daemon_is_absent() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none"), dir.path().join("no/such/folder"), dir.path().join("x".repeat(200))]
    {
        let error = call::<_, Value>(&path, &json!(1), soon()).unwrap_err();
        assert!(matches!(error, RpcError::Absent { .. }), "{error:?}");
    }
}

#[test]
fn a_socket_without_a_listener_is_an_absent_daemon() {
    let mut daemon = Daemon::echo();
    daemon.stop();
    assert!(daemon.socket().exists());
    let error = daemon.call(&json!(1)).unwrap_err();
    assert!(matches!(error, RpcError::Absent { .. }), "{error:?}");
    assert!(error.to_string().contains("daemon.sock: Connection refused"), "{error}");
}

#[test]
fn a_connection_closed_early_leaves_the_outcome_unknown() {
    for answer in [&b""[..], b"{\"answer\":"] {
        let (_dir, path) = once(answer);
        let error = call::<_, Value>(&path, &json!(1), soon()).unwrap_err();
        assert!(matches!(error, RpcError::Broken { .. }), "{error:?}");
    }
}

#[test]
fn an_answer_of_another_shape_is_unreadable() {
    for answer in [&b"no JSON\n"[..], b"{\"answer\":\"text\"}\n", b"{}\n"] {
        let (_dir, path) = once(answer);
        let error = call::<_, u8>(&path, &json!(1), soon()).unwrap_err();
        assert!(matches!(error, RpcError::Unreadable { .. }), "{error:?}");
    }
}

#[test]
fn an_answer_without_end_is_unreadable() {
    let (_dir, path) = once(Box::leak(vec![b'x'; MAX_MESSAGE + 10_000].into_boxed_slice()));
    let error = call::<_, Value>(&path, &json!(1), soon()).unwrap_err();
    assert!(matches!(error, RpcError::Unreadable { .. }), "{error:?}");
}

/// The call fails at its deadline.
fn times_out(path: &Path, request: &Value) {
    let started = Instant::now();
    let error = call::<_, Value>(path, request, Deadline::after(SECOND / 5)).unwrap_err();
    assert!(matches!(error, RpcError::TimedOut { .. }), "{error:?}");
    assert!(started.elapsed() >= SECOND / 5 && started.elapsed() < 5 * SECOND, "{:?}", started.elapsed());
}

#[test]
fn a_silent_daemon_times_out_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    times_out(&path, &json!(1));
    // The server does not read either: the socket's buffer fills up.
    times_out(&path, &json!("x".repeat(900_000)));
    drop(listener);
}

#[test]
fn a_full_accept_queue_times_out_at_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    times_out(&path, &json!(1));
}

#[test]
fn a_passed_deadline_sends_nothing() {
    let handled = Arc::new(AtomicUsize::new(0));
    let count = handled.clone();
    let mut daemon = Daemon::start(move |request: Value| {
        count.fetch_add(1, Ordering::SeqCst);
        async { request }
    });
    let error = call::<_, Value>(&daemon.socket(), &json!(1), Deadline::after(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, RpcError::TimedOut { .. }), "{error:?}");
    daemon.stop();
    assert_eq!(handled.load(Ordering::SeqCst), 0);
}

#[test]
fn an_oversize_request_is_refused_on_both_sides() {
    let daemon = Daemon::echo();
    let largest = json!("x".repeat(MAX_MESSAGE - "{\"answer\":}".len() - 2));
    assert_eq!(daemon.call(&largest).unwrap(), largest);
    let error = daemon.call(&json!("x".repeat(MAX_MESSAGE))).unwrap_err();
    assert!(matches!(error, RpcError::Refused { .. }), "{error:?}");
    let mut line = vec![b' '; MAX_MESSAGE + 1];
    assert!(daemon.raw(&line).starts_with("{\"refused\":\"it has more than"));
    line.push(b'\n');
    assert!(daemon.raw(&line).starts_with("{\"refused\":\"it has more than"));
}

#[test]
fn an_oversize_answer_leaves_the_outcome_unknown() {
    let daemon = Daemon::start(|_: Value| async { json!("x".repeat(MAX_MESSAGE)) });
    let error = daemon.call(&json!(1)).unwrap_err();
    assert!(matches!(error, RpcError::Broken { .. }), "{error:?}");
}

#[derive(Debug, Serialize, Deserialize)]
struct Strict {
    number: u8,
}

#[test]
fn a_request_that_is_not_understood_is_refused_with_a_reason() {
    let daemon = Daemon::start(|request: Strict| async move { request.number });
    let path = daemon.socket();
    assert_eq!(call::<_, u8>(&path, &Strict { number: 7 }, soon()).unwrap(), 7);
    let error = call::<_, u8>(&path, &json!({"count": 7}), soon()).unwrap_err();
    assert!(matches!(error, RpcError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("missing field `number`"), "{error}");
}

#[test]
fn an_incomplete_request_is_not_handled() {
    let (handled, was_handled) = mpsc::channel();
    let daemon = Daemon::start(move |request: Value| {
        handled.send(request.clone()).unwrap();
        async { request }
    });
    for bytes in [&b""[..], b"1"] {
        UnixStream::connect(daemon.socket()).unwrap().write_all(bytes).unwrap();
    }
    daemon.call(&json!(2)).unwrap();
    assert_eq!(was_handled.recv().unwrap(), json!(2));
}

#[test]
fn a_shutdown_waits_for_requests_in_flight_and_accepts_no_more() {
    let (begun, has_begun) = mpsc::channel();
    let mut daemon = Daemon::start(move |request: Value| {
        begun.send(()).unwrap();
        async {
            tokio::time::sleep(SECOND / 2).await;
            request
        }
    });
    let path = daemon.socket();
    let client = std::thread::spawn(move || call::<_, Value>(&path, &json!(7), soon()));
    has_begun.recv_timeout(10 * SECOND).unwrap();
    daemon.stop();
    assert_eq!(client.join().unwrap().unwrap(), json!(7));
    assert!(matches!(daemon.call(&json!(1)).unwrap_err(), RpcError::Absent { .. }));
}

#[test]
fn three_hundred_clients_are_all_served_and_256_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let daemon = Daemon::start(move |request: Value| {
        let (now, most) = (now.clone(), peak.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SECOND).await;
            now.fetch_sub(1, Ordering::SeqCst);
            request
        }
    });
    let answers: BTreeMap<usize, Value> = std::thread::scope(|scope| {
        let request = |number: usize| (number, daemon.call(&json!(number)).unwrap());
        let clients: Vec<_> = (0..300).map(|number| scope.spawn(move || request(number))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|(number, answer)| *answer == json!(number)), "{answers:?}");
    assert_eq!((answers.len(), most.load(Ordering::SeqCst)), (300, 256));
}

#[test]
fn no_more_clients_than_the_daemon_allows_are_served_at_a_time() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let peak = most.clone();
    let three = |listener: Listener| listener.limit(3.try_into().unwrap());
    let daemon = Daemon::start_with(three, move |request: Value| {
        let (now, most) = (now.clone(), peak.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(SECOND / 20).await;
            now.fetch_sub(1, Ordering::SeqCst);
            request
        }
    });
    std::thread::scope(|scope| {
        for number in 0..30 {
            let daemon = &daemon;
            scope.spawn(move || assert_eq!(daemon.call(&json!(number)).unwrap(), json!(number)));
        }
    });
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn two_large_requests_are_served_at_a_time_and_small_ones_beside_them() {
    let (begun, has_begun) = mpsc::channel();
    let (go, most) = (Arc::new(tokio::sync::Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, peak, now) = (go.clone(), most.clone(), Arc::new(AtomicUsize::new(0)));
    let daemon = Daemon::start(move |request: String| {
        let (begun, gate, peak, now) = (begun.clone(), gate.clone(), peak.clone(), now.clone());
        async move {
            if request.len() > 1000 {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                begun.send(()).unwrap();
                drop(gate.acquire().await);
                now.fetch_sub(1, Ordering::SeqCst);
            }
            request.len()
        }
    });
    let large = json!("x".repeat(100_000));
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| assert_eq!(daemon.call(&large).unwrap(), json!(100_000)));
        }
        (0..2).for_each(|_| has_begun.recv_timeout(10 * SECOND).unwrap());
        assert_eq!(daemon.call(&json!("small")).unwrap(), json!(5));
        go.add_permits(1);
    });
    assert_eq!(most.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_nothing_is_disconnected_after_five_seconds() {
    use tokio::io::AsyncReadExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).unwrap();
    tokio::spawn(serve(listener, |request: Value| async { request }, std::future::pending(), SECOND));
    let started = tokio::time::Instant::now();
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer.len(), started.elapsed().as_secs()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_its_drain_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind(&path).unwrap();
    let handler = |_: Value| std::future::pending::<Value>();
    let stop = tokio::time::sleep(SECOND);
    let _client = {
        use tokio::io::AsyncWriteExt as _;
        let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
        client.write_all(b"1\n").await.unwrap();
        client
    };
    let started = tokio::time::Instant::now();
    serve(listener, handler, stop, 7 * SECOND).await;
    assert_eq!(started.elapsed().as_secs(), 8);
}

#[tokio::test]
async fn a_daemon_knows_when_a_newer_one_has_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let older = bind(&path).unwrap();
    assert!(!older.socket().is_replaced());
    let newer = bind(&path).unwrap();
    assert!(older.socket().is_replaced() && !newer.socket().is_replaced());
    std::fs::remove_file(&path).unwrap();
    assert!(!older.socket().is_replaced(), "a path that is missing proves nothing");
}

/// A rolling update that is undone ends the newer daemon. The older one is the node's only one again.
#[tokio::test(start_paused = true)]
async fn an_older_daemon_serves_again_once_the_newer_one_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.sock");
    let older = bind(&path).unwrap();
    let socket = older.socket();
    let handler = |number: u32| async move { number + 1 };
    tokio::spawn(async move { serve(older, handler, std::future::pending(), SECOND).await });
    let mut newer = Some(bind(&path).unwrap());
    for is_replaced in [true, false] {
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(socket.is_replaced(), is_replaced);
        newer = None;
    }
    drop(newer);
    assert_eq!(
        tokio::task::spawn_blocking({
            let path = path.clone();
            move || call::<_, u32>(&path, &1, Deadline::after(60 * SECOND))
        })
        .await
        .unwrap()
        .unwrap(),
        2
    );
    // A client needs the file to connect, so the daemon makes it again.
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(60 * SECOND).await;
    assert!(UnixStream::connect(&path).is_ok());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_other_files_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(UnixListener::bind(&path).unwrap());
    drop(UnixListener::bind(dir.path().join("s.new")).unwrap());
    drop(bind(&path).unwrap());
    assert!(UnixStream::connect(&path).is_err());
    drop(bind(&path).unwrap());

    let file = dir.path().join("file");
    crate::files::write_atomic(&file, b"kept", 0o600).unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    for name in ["file", "link", "folder"] {
        let error = bind(&dir.path().join(name)).unwrap_err();
        assert!(matches!(error, BindError::NotASocket { .. }), "{name}: {error:?}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

#[tokio::test]
async fn a_directory_that_others_may_write_to_is_rejected() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let error = bind(&dir.path().join("s")).unwrap_err();
    assert!(matches!(error, BindError::NotPrivate { .. }), "{error:?}");
}
