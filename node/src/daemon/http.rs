//! Metrics and health over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet.
//!
//! Three fixed pages on hyper's server, and hyper is in the binary already, for the API client. A web framework would add a router for them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::text_format::prometheus_text;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// The most connections at the same time.
const MAX_CONNECTIONS: usize = 16;
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a client may take to send the head of its request.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// The longest life of a connection: one request and its response.
const CONNECTION_LIMIT: Duration = Duration::from_secs(15);
/// The wait after the address was taken.
const BIND_RETRY: Duration = Duration::from_secs(1);
/// The wait after accept(2) failed, as without file descriptors or memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The format that prometheus-client writes. OpenMetrics 1.0, section "Protocol Negotiation": the media type. Prometheus asks for it.
const OPEN_METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Prometheus' own text format, for clients that do not ask for the other one: curl, older collectors.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// The daemon cannot listen on this address.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and health: {source}; give another address, or stop the process that uses it"
)]
pub struct HttpBindError {
    /// The address.
    pub address: SocketAddr,
    /// Why.
    pub source: io::Error,
}

/// Whether the daemon can do its work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can: `/readyz` responds with 200.
    Ready,
    /// It cannot, with the reason in a few words: `/readyz` responds with 503.
    NotReady(String),
}

/// The content of the pages. `/healthz` needs none: a daemon that responds is alive.
pub struct Pages {
    /// The metrics.
    pub metrics: Registry,
    /// Called for every request to `/readyz`; must not block.
    pub ready: Box<dyn Fn() -> Readiness + Send + Sync>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

/// The metrics as OpenMetrics.
pub fn metrics_text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode(&mut text, registry);
    text
}

/// Listens on `address`. `[::]` stands for all addresses of the node, also where it has no IPv6.
///
/// # Errors
/// [`HttpBindError`].
pub async fn bind_http(address: SocketAddr) -> Result<TcpListener, HttpBindError> {
    let bound = match TcpListener::bind(address).await {
        Err(_) if address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port())) => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()))).await
        }
        bound => bound,
    };
    bound.map_err(|source| HttpBindError { address, source })
}

/// Serves the pages on `address` as soon as it is free, and while this daemon is not `is_replaced`. Never returns.
///
/// During an update the node's earlier daemon lets go of the port once the new one has the plugins' socket: the kubelet would else take its answers
/// for those of the new one, and go on to the next node before that one is ready. If the port never gets free, the log says so and the kubelet's
/// probes fail.
pub async fn serve_http_at(address: SocketAddr, pages: Pages, is_replaced: impl Fn() -> bool) {
    let pages = Arc::new(pages);
    let until = async |state: bool| {
        while is_replaced() != state {
            tokio::time::sleep(BIND_RETRY).await;
        }
    };
    loop {
        until(false).await;
        let listener = bind_when_free(address).await;
        tokio::select! {
            () = serve_http(listener, pages.clone()) => {}
            () = until(true) => tracing::info!(%address, "a newer daemon of this node answers there"),
        }
    }
}

async fn bind_when_free(address: SocketAddr) -> TcpListener {
    let mut was_taken = false;
    loop {
        match bind_http(address).await {
            Ok(listener) => return listener,
            Err(error) if !was_taken => tracing::warn!(%error, "trying again every second"),
            Err(_) => {}
        }
        was_taken = true;
        tokio::time::sleep(BIND_RETRY).await;
    }
}

/// Serves the pages. Never returns; dropping it closes all connections.
///
/// When all 16 connections are in use, a new one replaces the oldest idle one. Otherwise any user of the node could hold 16 idle connections, make
/// the kubelet's probes fail, and have the daemon restarted.
pub async fn serve_http(listener: TcpListener, pages: Arc<Pages>) {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.add(stream, pages.clone()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for metrics or health");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
        // The new connection reads its request before the next one is accepted. Many connections that arrive together could else close a
        // probe's connection unread.
        tokio::task::yield_now().await;
    }
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Oldest first.
    open: VecDeque<Connection>,
}

struct Connection {
    task: AbortHandle,
    /// Set once the head of its request has arrived.
    has_request: Arc<AtomicBool>,
}

impl Connections {
    fn add(&mut self, stream: TcpStream, pages: Arc<Pages>) {
        while self.tasks.try_join_next().is_some() {}
        self.open.retain(|connection| !connection.task.is_finished());
        if self.open.len() >= MAX_CONNECTIONS {
            let busy = self.open.iter().map(|connection| connection.has_request.load(Ordering::Relaxed));
            if let Some(oldest) = self.open.remove(to_close(busy)) {
                tracing::debug!("too many connections for metrics and health; closing the oldest idle one");
                oldest.task.abort();
            }
        }
        let has_request = Arc::<AtomicBool>::default();
        let task = self.tasks.spawn(respond(stream, pages, has_request.clone()));
        self.open.push_back(Connection { task, has_request });
    }
}

/// The position of the connection to close: the oldest idle one, or the oldest if all have a request. `busy` says for each, oldest first, whether
/// it has a request.
fn to_close(busy: impl IntoIterator<Item = bool>) -> usize {
    busy.into_iter().position(|busy| !busy).unwrap_or(0)
}

async fn respond(stream: TcpStream, pages: Arc<Pages>, has_request: Arc<AtomicBool>) {
    let service = service_fn(|request: Request<Incoming>| {
        has_request.store(true, Ordering::Relaxed);
        let response = page(&request, &pages);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(MAX_HEAD)
        // One request per connection: an idle one always waits for its first request.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_LIMIT, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for metrics or health failed"),
        Err(_) => tracing::debug!("a connection for metrics or health was closed after {CONNECTION_LIMIT:?}"),
    }
}

fn page<B>(request: &Request<B>, pages: &Pages) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET\n".to_owned());
    }
    match request.uri().path() {
        "/metrics" if accepts_open_metrics(request) => {
            text(StatusCode::OK, OPEN_METRICS_TYPE, metrics_text(&pages.metrics))
        }
        "/metrics" => text(StatusCode::OK, METRICS_TYPE, prometheus_text(&metrics_text(&pages.metrics))),
        "/healthz" => readiness(Readiness::Ready),
        "/readyz" => readiness((pages.ready)()),
        _ => text(StatusCode::NOT_FOUND, TEXT_TYPE, "try /metrics, /healthz or /readyz\n".to_owned()),
    }
}

/// Whether the client names the format among those that it reads.
fn accepts_open_metrics<B>(request: &Request<B>) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/openmetrics-text"))
}

fn readiness(readiness: Readiness) -> Response<Full<Bytes>> {
    match readiness {
        Readiness::Ready => text(StatusCode::OK, TEXT_TYPE, "ok\n".to_owned()),
        Readiness::NotReady(reason) => {
            text(StatusCode::SERVICE_UNAVAILABLE, TEXT_TYPE, format!("{reason}\n"))
        }
    }
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests;
