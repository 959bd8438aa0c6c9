//! Real connections on the loopback interface.

use prometheus_client::metrics::counter::Counter;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A server; it ends with the test's runtime.
struct Server {
    address: SocketAddr,
    requests: Counter,
    task: JoinHandle<()>,
}

async fn start(ready: Readiness) -> Server {
    let listener = bind_http("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (mut metrics, requests) = (Registry::default(), Counter::default());
    metrics.register("requests", "Requests", requests.clone());
    let pages = Pages { metrics, ready: Box::new(move || ready.clone()) };
    let task = tokio::spawn(serve_http(listener, Arc::new(pages)));
    Server { address, requests, task }
}

/// Everything that the server sends after these bytes, until it closes the connection.
async fn raw(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let _ = stream.write_all(bytes).await;
    String::from_utf8(rest(&mut stream).await).unwrap()
}

/// Everything until the end of the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        received.extend_from_slice(&buffer[..count]);
    }
    received
}

/// Status and body.
async fn get(server: &Server, path: &str) -> (String, String) {
    let response = raw(server, format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), body.to_owned())
}

fn expected(status: &str, body: &str) -> (String, String) {
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn every_request_gets_the_current_values() {
    let server = start(Readiness::Ready).await;
    assert!(get(&server, "/metrics").await.1.contains("requests_total 0\n"));
    server.requests.inc();
    assert!(get(&server, "/metrics?x=y").await.1.contains("requests_total 1\n"));
    assert_eq!(get(&server, "/healthz").await, expected("200", "ok\n"));
    assert_eq!(get(&server, "/readyz").await, expected("200", "ok\n"));
    assert_eq!(get(&server, "/etc/passwd").await.0, "404");
}

#[tokio::test(start_paused = true)]
async fn a_taken_port_is_waited_for() {
    let earlier = bind_http("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = earlier.local_addr().unwrap();
    let pages = Pages { metrics: Registry::default(), ready: Box::new(|| Readiness::Ready) };
    let task = tokio::spawn(serve_http_at(address, pages, || false));
    tokio::time::sleep(3 * SECOND).await;
    assert!(!task.is_finished());
    drop(earlier);
    tokio::time::sleep(3 * SECOND).await;
    let server = Server { address, requests: Counter::default(), task };
    assert_eq!(get(&server, "/healthz").await, expected("200", "ok\n"));
}

/// The kubelet would take its answers for those of the new daemon.
#[tokio::test(start_paused = true)]
async fn a_daemon_that_is_replaced_lets_go_of_the_port_until_it_is_alone_again() {
    let free = bind_http("127.0.0.1:0".parse().unwrap()).await.unwrap().local_addr().unwrap();
    let pages = Pages { metrics: Registry::default(), ready: Box::new(|| Readiness::Ready) };
    let replaced = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_replaced = replaced.clone();
    let order = std::sync::atomic::Ordering::SeqCst;
    let _task = tokio::spawn(serve_http_at(free, pages, move || is_replaced.load(order)));
    for now in [false, true, false] {
        replaced.store(now, order);
        tokio::time::sleep(3 * SECOND).await;
        assert_eq!(bind_http(free).await.is_ok(), now);
    }
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let server = start(Readiness::Ready).await;
    // What Prometheus sends.
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1";
    let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\n\r\n");
    let response = raw(&server, request.as_bytes()).await;
    assert!(response.contains("content-type: application/openmetrics-text; version=1.0.0;"), "{response}");
    // Section "Overall Structure": the last line.
    assert!(response.ends_with("\n# EOF\n"), "{response}");
}

#[tokio::test]
async fn clients_that_do_not_ask_for_open_metrics_get_the_text_format() {
    let server = start(Readiness::Ready).await;
    for accept in ["", "accept: */*\r\n", "accept: text/plain\r\n"] {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{accept}\r\n");
        let response = raw(&server, request.as_bytes()).await;
        assert!(response.contains("content-type: text/plain; version=0.0.4;"), "{response}");
        assert!(response.contains("# TYPE requests_total counter\nrequests_total 0\n"), "{response}");
        assert!(!response.contains("# EOF"), "{response}");
    }
}

#[tokio::test]
async fn a_daemon_that_is_not_ready_says_why_and_is_healthy() {
    let server = start(Readiness::NotReady("no pods listed yet".to_owned())).await;
    assert_eq!(get(&server, "/readyz").await, expected("503", "no pods listed yet\n"));
    assert_eq!(get(&server, "/healthz").await.0, "200");
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let server = start(Readiness::Ready).await;
    let response = raw(&server, b"POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 405 "), "{response}");
    let response = raw(&server, b"HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with("\r\n\r\n"), "{response}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_rejected() {
    let server = start(Readiness::Ready).await;
    let head = format!("GET /metrics HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(2 * MAX_HEAD));
    let response = raw(&server, head.as_bytes()).await;
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 431 "), "{response}");
    assert_eq!(get(&server, "/metrics").await.0, "200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_request_is_disconnected_after_five_seconds() {
    let server = start(Readiness::Ready).await;
    for bytes in [&b""[..], b"GET /metrics HT"] {
        let started = tokio::time::Instant::now();
        raw(&server, bytes).await;
        assert!(started.elapsed() < HEAD_LIMIT + SECOND, "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn two_hundred_idle_connections_do_not_delay_a_probe() {
    let server = start(Readiness::Ready).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    for _ in 0..3 {
        // The kubelet's probe has one second, and the slow machine of a test two more.
        let probe = timeout(3 * SECOND, get(&server, "/healthz")).await;
        assert_eq!(probe.expect("the probe gets no response"), expected("200", "ok\n"));
    }
}

#[tokio::test]
async fn connections_that_arrive_behind_a_probe_do_not_close_it_unread() {
    let server = start(Readiness::Ready).await;
    let mut probe = TcpStream::connect(server.address).await.unwrap();
    probe.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // A blocking connect does not let the server run: it finds all of them in its queue.
    let idle = (0..100).map(|_| std::net::TcpStream::connect(server.address).unwrap());
    let _idle: Vec<_> = idle.collect();
    let response = timeout(3 * SECOND, rest(&mut probe)).await.expect("the probe gets no response");
    assert!(response.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&response));
}

#[tokio::test]
async fn the_seventeenth_connection_replaces_the_oldest() {
    let server = start(Readiness::Ready).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let _last = TcpStream::connect(server.address).await.unwrap();
    let closed = timeout(3 * SECOND, rest(&mut idle[0])).await;
    assert_eq!(closed.expect("the oldest connection stays open"), b"");
    idle[1].write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let response = timeout(3 * SECOND, rest(&mut idle[1])).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 200 "), "the second oldest was closed too");
}

#[test]
fn the_oldest_idle_connection_is_closed_and_the_oldest_if_none_is_idle() {
    assert_eq!(to_close([false, false]), 0);
    assert_eq!(to_close([true, true, false, true, false]), 2);
    assert_eq!(to_close([true, true]), 0);
}

#[tokio::test]
async fn the_end_of_the_server_closes_its_connections() {
    let Server { address, task, .. } = start(Readiness::Ready).await;
    let mut idle = TcpStream::connect(address).await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    let mut buffer = [0; 16];
    assert!(matches!(idle.read(&mut buffer).await, Ok(0) | Err(_)));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let server = start(Readiness::Ready).await;
    let error = bind_http(server.address).await.unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
