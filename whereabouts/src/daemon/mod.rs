//! The daemon of a node: it serves the node's plugins with a connection that is warm and a view that is fresh, gives back what DELs could
//! not, and stands for leader. It holds a credential and no privilege: it makes no interface, enters no namespace and runs no program.
//!
//! | module | question it answers |
//! |---|---|
//! | [`options`] | which flags and variables are there? |
//! | [`serve`] | how is a plugin's request answered? |
//! | [`in_flight`] | what if a newer call comes before the earlier one is answered? |
//! | [`pool_cache`] | which addresses are claimed in the pools that this node uses? |
//! | [`tombstones`] | which claims are still to be released? |

pub mod in_flight;
pub mod options;
pub mod pool_cache;
pub mod serve;
pub mod tombstones;

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
use crate::node_state::namespace::namespace_of;
use crate::node_state::record::{RecordError, Records};
use options::{Candidacy, Options};
use pool_cache::PoolCaches;
use serve::Service;

/// The lease of our leader; Whereabouts' own is called `whereabouts`.
pub const LEASE: &str = "whereabouts-daemon";

/// A thousand nodes read the lease a hundred times a second between them. Nobody waits for a leader; what it does is late without one.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(20),
    renew: Duration::from_secs(13),
    retry: Duration::from_secs(2),
    look: Duration::from_secs(10),
};

/// How long orders under way are waited for at the end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The daemon cannot work.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There are no usable credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Plugins cannot reach it.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Metrics cannot be shown.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The plugins' records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The lease cannot be named.
    #[error("the leader's lease: {0}")]
    Lease(#[from] node::names::NameError),
}

/// Serves until `shutdown`.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), DaemonError> {
    let api = ApiClient::connect(options.credentials.clone(), Timeouts::default()).await?;
    let namespace = match options.namespace.clone() {
        Some(namespace) => namespace,
        None => namespace_of(&api)?,
    };
    let records = Records::open(&options.state)?;
    let (metrics, registry) = Metrics::new();
    let (cache, started) = PoolCaches::new(HintStore::open(&options.state), metrics.clone());
    let cache = Arc::new(cache);
    let service = Service::new(api.clone(), namespace.clone(), cache.clone(), metrics.clone());
    let listener = rpc::bind(&options.socket)?;
    let endpoint = match options.listen {
        Some(address) => Some(endpoint::bind(address).await?),
        None => None,
    };
    let lease = ResourceKind::LEASES.in_namespace(&namespace).object(&DnsSubdomain::new(LEASE)?);
    let election = match options.candidacy {
        Candidacy::Never => None,
        Candidacy::Stands => Some(Election::start(api.clone(), lease, identity(&options), TIMING)),
    };
    let leadership = election.as_ref().map(Election::leadership);

    // Aborted when this function returns.
    let mut tasks = JoinSet::new();
    tasks.spawn(pool_cache::follow(cache, api.clone(), namespace.clone(), started));
    tasks.spawn(tombstones::drain_always(service.clone(), records));
    if let Some(listener) = endpoint {
        tasks.spawn(endpoint::serve(listener, pages(registry, leadership.clone()), std::future::pending()));
    }
    if let Some(leadership) = leadership {
        let context = leader::context::Context::new(api, namespace.clone(), metrics, options.grace);
        tasks.spawn(lead(context, leadership));
    }
    tracing::info!(node = %options.node, %namespace, socket = %options.socket.display(), "serving");
    let answer = move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    };
    rpc::serve(listener, answer, shutdown, PATIENCE).await;
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

/// Unique among all processes: a daemon that was started anew on a node is another one.
fn identity(options: &Options) -> String {
    format!("{}_{:016x}", options.node, node::entropy::random())
}

/// Leads whenever this daemon is the leader.
async fn lead(context: leader::context::Context, mut leadership: watch::Receiver<Leadership>) {
    while leadership.wait_for(|now| *now == Leadership::Leading).await.is_ok() {
        lead_once(&context, &mut leadership).await;
    }
}

async fn lead_once(context: &leader::context::Context, leadership: &mut watch::Receiver<Leadership>) {
    tracing::info!("leading");
    context.metrics().leads();
    tokio::select! {
        () = leader::run(context) => {}
        _ = leadership.wait_for(|now| *now != Leadership::Leading) => {}
    }
    context.metrics().follows();
    tracing::info!("not leading any more");
}
