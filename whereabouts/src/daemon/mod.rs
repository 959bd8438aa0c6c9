//! The daemon of a node: it serves the node's plugins over one warm connection to the API server and with a cache of the pools in use, drains
//! tombstones, and takes part in the leader election. It holds credentials for the API server and no other privilege: it creates no
//! interface, enters no namespace and runs no program.
//!
//! | module | question it answers |
//! |---|---|
//! | `options` | which flags and variables are there? |
//! | `serve` | how is a plugin's request served? |
//! | `in_flight` | what if a newer call comes before the earlier one has ended? |
//! | `pool_cache` | which addresses are claimed in the pools that this node uses? |
//! | `tombstones` | which addresses are still to be released? |

mod in_flight;
pub mod options;
pub mod pool_cache;
pub mod serve;
mod tombstones;

use std::sync::Arc;
use std::time::Duration;

use node::client::{ApiClient, ConnectError, ResourceKind, Timeouts};
use node::endpoint::{self, EndpointError, Health, Pages};
use node::lease::{Election, Leadership, Timing};
use node::names::DnsSubdomain;
use node::rpc::{self, BindError};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::leader;
use crate::metrics::{self, Metrics};
use crate::node_state::hints::HintStore;
use crate::node_state::namespace;
use crate::node_state::record::{RecordError, Records};
use options::{Candidacy, Options};
use pool_cache::PoolCaches;
use serve::Service;
use tombstones::TombstoneDrain;

/// The name of our leader's lease. Whereabouts' own lease is called `whereabouts`.
pub const LEASE: &str = "whereabouts-daemon";

/// Slower than the default. Every node reads the lease, so 1,000 nodes send 100 GETs per second at `look` = 10 s. No pod waits for a
/// leader: without one, views and reclaims are only late.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(20),
    renew: Duration::from_secs(13),
    retry: Duration::from_secs(2),
    look: Duration::from_secs(10),
};

/// How long a shutdown waits for requests in flight.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

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
    Endpoint(#[from] EndpointError),
    /// The folders of the node's records cannot be opened.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The lease has no valid name.
    #[error("the leader's lease: {0}")]
    Lease(#[from] node::names::NameError),
}

/// Serves until `shutdown`.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), DaemonError> {
    let api = ApiClient::connect(options.credentials.clone(), Timeouts::default()).await?;
    let namespace = match options.namespace.clone() {
        Some(namespace) => namespace,
        None => namespace::of_client(&api)?,
    };
    let (records, hints) = (Records::open(&options.state)?, HintStore::open(&options.state));
    let (metrics, registry) = Metrics::new();
    let (caches, started) = PoolCaches::new(hints.clone(), metrics.clone());
    let caches = Arc::new(caches);
    let service = Service::new(api.clone(), namespace.clone(), caches.clone(), metrics.clone());
    let listener = rpc::bind(&options.socket)?;
    let endpoint = match options.listen {
        Some(address) => Some(endpoint::bind(address).await?),
        None => None,
    };
    let lease = ResourceKind::LEASES.in_namespace(&namespace).object(&DnsSubdomain::new(LEASE)?);
    let election = match options.candidacy {
        Candidacy::NeverLead => None,
        Candidacy::MayLead => Some(Election::start(api.clone(), lease, identity(&options), TIMING)),
    };
    let leadership = election.as_ref().map(Election::leadership);

    // The set aborts its tasks when this function returns.
    let mut tasks = JoinSet::new();
    tasks.spawn(pool_cache::follow(caches, api.clone(), namespace.clone(), started));
    tasks.spawn(TombstoneDrain { service: service.clone(), records, hints }.run());
    if let Some(listener) = endpoint {
        tasks.spawn(endpoint::serve(listener, pages(registry, leadership.clone()), std::future::pending()));
    }
    if let Some(leadership) = leadership {
        let context = leader::context::Context::new(api, namespace.clone(), metrics, options.grace);
        tasks.spawn(lead_when_elected(context, leadership));
    }
    tracing::info!(node = %options.node, %namespace, socket = %options.socket.display(), "serving");
    let respond = move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    };
    rpc::serve(listener, respond, shutdown, SHUTDOWN_LIMIT).await;
    // The leader's tasks end before the lease is released: the next leader may begin at once.
    tasks.shutdown().await;
    if let Some(election) = election {
        election.release().await;
    }
    Ok(())
}

fn pages(registry: Registry, leadership: Option<watch::Receiver<Leadership>>) -> Pages {
    let ready = move || match &leadership {
        Some(leadership) if *leadership.borrow() == Leadership::Unknown => {
            Health::Bad("the API server has not answered about the leader's lease".to_owned())
        }
        Some(_) | None => Health::Good,
    };
    Pages {
        metrics: Box::new(move || metrics::text(&registry)),
        healthy: Box::new(|| Health::Good),
        ready: Box::new(ready),
    }
}

/// The lease holder's name. A random suffix makes it unique: a daemon that restarts on the same node must not take itself for the holder.
fn identity(options: &Options) -> String {
    format!("{}_{:016x}", options.node, node::entropy::random())
}

async fn lead_when_elected(context: leader::context::Context, mut leadership: watch::Receiver<Leadership>) {
    while leadership.wait_for(|now| *now == Leadership::Leading).await.is_ok() {
        lead_once(&context, &mut leadership).await;
    }
}

async fn lead_once(context: &leader::context::Context, leadership: &mut watch::Receiver<Leadership>) {
    tracing::info!("this daemon is the leader now");
    context.metrics().set_leading();
    tokio::select! {
        () = leader::run(context) => {}
        _ = leadership.wait_for(|now| *now != Leadership::Leading) => {}
    }
    context.metrics().clear_leading();
    tracing::info!("this daemon is not the leader any more");
}
