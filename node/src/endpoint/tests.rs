//! Real connections on the loopback device.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A server; it ends with the test's runtime.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(ready: Health) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let reads = AtomicUsize::new(0);
    let pages = Pages {
        metrics: Box::new(move || format!("reads_total {}\n", reads.fetch_add(1, Ordering::SeqCst) + 1)),
        healthy: Box::new(|| Health::Good),
        ready: Box::new(move || ready.clone()),
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, pages, async { drop(stopped.await) }));
    Server { address, stop, task }
}

/// What is answered to these bytes until the server hangs up.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).unwrap()
}

/// Status and body.
async fn get(server: &Server, path: &str) -> (String, String) {
    let answer = raw(server, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn page_of(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn each_page_is_asked_anew() {
    let server = start(Health::Good).await;
    assert_eq!(get(&server, "/metrics").await, page_of("200", "reads_total 1\n"));
    assert_eq!(get(&server, "/metrics?x=y").await, page_of("200", "reads_total 2\n"));
    assert_eq!(get(&server, "/healthz").await, page_of("200", "ok\n"));
    assert_eq!(get(&server, "/readyz").await, page_of("200", "ok\n"));
    assert_eq!(get(&server, "/etc/passwd").await.0, "404");
}

#[test]
fn metrics_have_the_type_of_their_format() {
    let table = [
        ("a_total 1\n", "text/plain; version=0.0.4; charset=utf-8"),
        ("a_total 1\n# EOF\n", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ];
    for (text, expected) in table {
        assert_eq!(metrics(text.to_owned()).headers()["content-type"], expected, "{text}");
    }
}

#[tokio::test]
async fn what_is_not_ready_says_why() {
    let server = start(Health::Bad("no pods listed yet".to_owned())).await;
    assert_eq!(get(&server, "/readyz").await, page_of("503", "no pods listed yet\n"));
    assert_eq!(get(&server, "/healthz").await.0, "200");
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let server = start(Health::Good).await;
    let answer = raw(&server, b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
    let answer = raw(&server, b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_head_too_large_is_refused() {
    let server = start(Health::Good).await;
    let head = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_HEAD));
    let answer = raw(&server, head.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(get(&server, "/metrics").await.1, "reads_total 1\n");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_for_nothing_is_cut_off() {
    let server = start(Health::Good).await;
    for bytes in [&b""[..], b"GET /metrics HT"] {
        let started = tokio::time::Instant::now();
        raw(&server, bytes).await;
        assert!(started.elapsed() < HEAD_TIME + Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn the_seventeenth_connection_waits_for_one_to_end() {
    let server = start(Health::Good).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // So that it is certainly taken before the next one.
        stream.write_all(b"G").await.unwrap();
        idle.push(stream);
    }
    let started = tokio::time::Instant::now();
    assert_eq!(get(&server, "/metrics").await.1, "reads_total 1\n");
    assert!(started.elapsed() >= Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_stop_ends_it_and_its_connections() {
    let Server { address, stop, task } = start(Health::Good).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    drop(stop);
    task.await.unwrap();
    let mut buffer = [0; 16];
    assert!(matches!(idle.read(&mut buffer).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(Health::Good).await;
    let error = bind(server.address).await.unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
