//! What a daemon shows over HTTP: `/metrics` (as Prometheus reads them), `/healthz` and `/readyz` (for the kubelet).

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::race::unless;

/// Connections at once; more wait in the socket's queue.
const MAX_CONNECTIONS: usize = 16;
/// The longest head of a request, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// How long a client may take for the head of its request.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// How long a connection lives at most: one request and its answer.
const CONNECTION_TIME: Duration = Duration::from_secs(15);
/// How long to wait when the kernel gives no connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Prometheus' own text format.
const PROMETHEUS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// OpenMetrics 1.0, section "Overall Structure": such a text, and no other, ends with this line.
const OPENMETRICS_END: &str = "# EOF\n";
const OPENMETRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and health: {source}; give another address, or end who has it"
)]
pub struct EndpointError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// As it should be: 200.
    Good,
    /// Not so, with the reason in a few words: 503.
    Bad(String),
}

/// What is shown. Each is called on the daemon's own tasks and must return at once.
pub struct Pages {
    /// The metrics, in Prometheus' text format or in OpenMetrics (which ends with `# EOF`).
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Should the daemon go on as it is? If not, the kubelet starts it anew.
    pub healthy: Box<dyn Fn() -> Health + Send + Sync>,
    /// Can it do its work now?
    pub ready: Box<dyn Fn() -> Health + Send + Sync>,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pages")
    }
}

/// Listens on `address`.
///
/// # Errors
/// [`EndpointError`].
pub async fn bind(address: SocketAddr) -> Result<TcpListener, EndpointError> {
    TcpListener::bind(address).await.map_err(|source| EndpointError { address, source })
}

/// Shows the pages until `shutdown`. Connections under way are then cut.
pub async fn serve(listener: TcpListener, pages: Pages, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let pages = Arc::new(pages);
    let mut shutdown = pin!(shutdown);
    let mut connections = tokio::task::JoinSet::new();
    while let Some((place, stream)) = unless(shutdown.as_mut(), accept(&listener, &places)).await {
        while connections.try_join_next().is_some() {}
        let pages = pages.clone();
        connections.spawn(async move {
            show(stream, &pages).await;
            drop(place);
        });
    }
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (OwnedSemaphorePermit, TcpStream) {
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return std::future::pending().await; // never closed
        };
        match listener.accept().await {
            Ok((stream, _)) => return (place, stream),
            Err(error) => {
                tracing::warn!(%error, "no connection to the metrics endpoint");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn show(stream: TcpStream, pages: &Pages) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = page(request.method(), request.uri().path(), pages);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(MAX_HEAD)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(CONNECTION_TIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for metrics or health failed"),
        Err(_) => tracing::debug!("a request for metrics or health took too long and was cut off"),
    }
}

fn page(method: &Method, path: &str, pages: &Pages) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "only GET\n".to_owned());
    }
    match path {
        "/metrics" => metrics((pages.metrics)()),
        "/healthz" => health((pages.healthy)()),
        "/readyz" => health((pages.ready)()),
        _ => text(StatusCode::NOT_FOUND, TEXT_TYPE, "try /metrics, /healthz or /readyz\n".to_owned()),
    }
}

fn metrics(metrics: String) -> Response<Full<Bytes>> {
    let content_type = if metrics.ends_with(OPENMETRICS_END) { OPENMETRICS_TYPE } else { PROMETHEUS_TYPE };
    text(StatusCode::OK, content_type, metrics)
}

fn health(health: Health) -> Response<Full<Bytes>> {
    match health {
        Health::Good => text(StatusCode::OK, TEXT_TYPE, "ok\n".to_owned()),
        Health::Bad(reason) => text(StatusCode::SERVICE_UNAVAILABLE, TEXT_TYPE, format!("{reason}\n")),
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
