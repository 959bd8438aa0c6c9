//! The daemon from its start to its end.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use node::client::{ApiClient, ConnectError, Timeouts};
use node::daemon::{self, Background, HttpBindError, Pages, Readiness};
use node::deadline::Deadline;
use node::rpc::{self, BindError};
use tokio::net::TcpListener;

use crate::cache::{Cache, Contact, follow_definitions, follow_pods};
use crate::events::Events;
use crate::metrics::Metrics;
use crate::options::Options;
use crate::serve::Service;
use crate::status::Statuses;

/// How long the end waits for events that are not sent yet.
const FLUSH: Duration = Duration::from_secs(3);

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There are no usable credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The socket for plugins cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The port for metrics and health cannot be opened.
    #[error(transparent)]
    Http(#[from] HttpBindError),
}

/// Serves until `shutdown`.
///
/// # Errors
/// [`DaemonError`].
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), DaemonError> {
    options.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let api = ApiClient::connect(options.credentials.clone(), Timeouts::default()).await?;
    serve(options, api, shutdown).await
}

/// Serves until `shutdown`, with this client.
pub(crate) async fn serve(
    options: Options,
    api: ApiClient,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let (metrics, registry) = Metrics::new();
    let cache = Arc::new(Cache::new(metrics.clone()));
    let statuses = Arc::new(Statuses::new(api.clone(), cache.clone(), metrics.clone()));
    let events = Arc::new(Events::new(api.clone(), metrics.clone()));
    if let Some(folder) = options.socket.parent() {
        // A folder that is there already keeps its mode. If this fails, bind says why.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let listener = rpc::bind(&options.socket)?.limit(options.connections);
    let http = match options.listen {
        Some(address) => Some(bind_http(address).await?),
        None => None,
    };

    let mut background = Background::default();
    background.spawn(follow_definitions(cache.clone(), api.clone()));
    match options.node.clone() {
        Some(node) => {
            let observer = statuses.clone();
            let observe = move |observation: crate::cache::Observation<'_>| observer.observe(observation);
            background.spawn(follow_pods(cache.clone(), api.clone(), node, observe));
        }
        None => tracing::warn!(
            "the name of this node is unknown, so each pod is read when a plugin asks for it: set MULTUS_NODE_NAME, or give --node"
        ),
    }
    let (merger, sender) = (statuses.clone(), events.clone());
    background.spawn(async move { merger.run_merges().await });
    background.spawn(async move { sender.run().await });
    if let Some(http) = http {
        let (cache, node) = (cache.clone(), options.node.clone());
        let ready = Box::new(move || readiness(&cache, node.is_some()));
        background.spawn(daemon::serve_http(http, Pages { metrics: registry, ready }));
    }
    let node = options.node.as_ref().map_or("unknown", AsRef::as_ref);
    tracing::info!(node, socket = %options.socket.display(), connections = options.connections, "serving");
    let service =
        Service { api, node: options.node.clone(), cache, statuses, events: events.clone(), metrics };
    let answer = move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    };
    daemon::serve(listener, answer, background, shutdown).await;
    events.flush(Deadline::after(FLUSH)).await;
    Ok(())
}

/// Listens on `address`. `[::]` stands for all addresses of the node, also where it has no IPv6.
async fn bind_http(address: SocketAddr) -> Result<TcpListener, HttpBindError> {
    match daemon::bind_http(address).await {
        Err(_) if address.ip().is_unspecified() && address.is_ipv6() => {
            daemon::bind_http((Ipv4Addr::UNSPECIFIED, address.port()).into()).await
        }
        bound => bound,
    }
}

/// The daemon is ready once the API server has said something about each kind of object that it caches: until then every request waits for it.
fn readiness(cache: &Cache, follows_pods: bool) -> Readiness {
    let expected = |(kind, _): &(&str, Contact)| follows_pods || *kind != "pods";
    match cache.contact().into_iter().filter(expected).find(|(_, contact)| *contact == Contact::None) {
        Some((kind, _)) => Readiness::NotReady(format!("the API server has not listed the {kind} yet")),
        None => Readiness::Ready,
    }
}
