//! The HTTP client under kube: connections, TLS and the headers of every request.
//!
//! kube's own stack leaves `TCP_NODELAY` off. Then the kernel holds the end of a request back until the server has acknowledged its beginning,
//! and the server delays that for 40 ms (Nagle's algorithm against the delayed ACK). So the stack is made here, of kube's layers.

use std::sync::LazyLock;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::Config;
use tower::{BoxError, Service, ServiceBuilder};

use super::credentials::Peers;
use super::tls;
use crate::text::printable;

/// The field manager of our writes, which the API server notes in `managedFields`. Without one it takes the beginning of the User-Agent,
/// which a proxy may change.
pub(super) const FIELD_MANAGER: &str = "multus-rs";

/// The longest name of a program in the User-Agent.
const MAX_PROGRAM: usize = 60;

/// The User-Agent of every request, such as `multus-rs/0.1.0 (whereabouts)`. As in client-go, the program is the one that was started.
pub(super) static USER_AGENT: LazyLock<HeaderValue> = LazyLock::new(|| {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    user_agent(&name)
});

/// The User-Agent of a program. A name may hold anything, and a comment of a header may not (RFC 9110, section 5.6.5).
fn user_agent(program: &str) -> HeaderValue {
    let program = printable(program, MAX_PROGRAM).replace(['(', ')', '\\'], "_");
    let text = format!("multus-rs/{} ({program})", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("multus-rs"))
}

/// What sends requests.
trait Http:
    Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send> + Clone + Send + 'static
{
}

impl<S> Http for S where
    S: Service<Request<Body>, Response = Response<Incoming>, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Connects to the server of `config`. `connect` limits one connection, TLS handshake included. `exchange` adds the header with the credentials.
pub(super) fn client(config: &Config, peers: Peers, connect: Duration) -> Result<kube::Client, BoxError> {
    let https = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(peers.trust, peers.identity)?)
        .https_or_http();
    let https = match peers.server_name {
        Some(name) => https.with_server_name_resolver(FixedServerNameResolver::new(name)),
        None => https,
    };
    finished(config, http(https.enable_http1().wrap_connector(tcp()), connect))
}

/// The same for a person at a terminal, with all credentials that kube knows: it may run the program that a kubeconfig names.
pub(super) fn client_of_person(config: &Config, connect: Duration) -> Result<kube::Client, BoxError> {
    let https = config.rustls_https_connector_with_connector(tcp())?;
    let authorized = ServiceBuilder::new().option_layer(config.auth_layer()?);
    finished(config, authorized.service(http(https, connect)))
}

/// A client without any header.
fn http(https: HttpsConnector<HttpConnector>, connect: Duration) -> impl Http + use<> {
    let mut connector = TimeoutConnector::new(https);
    connector.set_connect_timeout(Some(connect));
    // No limit on single reads: it would cut quiet watches. `exchange` limits each request as a whole.
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
    ServiceBuilder::new().map_err(BoxError::from).service(http)
}

/// A client that joins each request's path with the server's URL, and says for whom the user acts.
fn finished(config: &Config, http: impl Http) -> Result<kube::Client, BoxError> {
    // kube's layer for repeated requests is left out, because it would repeat writes too. `retry` repeats only what is safe to repeat.
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace.clone()).build())
}

/// Connects by TCP, and sends what is written at once.
fn tcp() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}

#[cfg(test)]
mod tests {
    use tower::Service as _;

    use super::*;

    #[tokio::test]
    async fn a_connection_sends_what_is_written_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("https://{}", listener.local_addr().unwrap());
        let stream = tcp().call(server.parse().unwrap()).await.unwrap();
        assert!(stream.inner().nodelay().unwrap(), "TCP_NODELAY");
    }

    #[test]
    fn the_user_agent_names_project_version_and_program() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent("whereabouts"), format!("multus-rs/{version} (whereabouts)").as_str());
        let hostile = user_agent("a(b)\r\nx\\ü");
        let hostile = hostile.to_str().unwrap();
        assert!(hostile.starts_with(&format!("multus-rs/{version} (a_b_")), "{hostile}");
        assert!(hostile.ends_with(')') && hostile.matches(['(', ')']).count() == 2, "{hostile}");
        assert!(user_agent(&"x".repeat(4000)).len() < 200);
    }
}
