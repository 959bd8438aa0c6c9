//! The daemon of a node: it serves the node's plugins over one warm connection to the API server and with a cache of the pools in use, drains
//! tombstones, and takes part in the leader election. It holds credentials for the API server and no other privilege: it creates no
//! interface, enters no namespace and runs no program.
//!
//! | module | question it answers |
//! |---|---|
//! | `options` | which flags and variables are there? |
//! | `upstream` | what if it is started by the name of one of Whereabouts' programs? |
//! | `serve` | how is a plugin's request served? |
//! | `in_flight` | what if a newer call comes before the earlier one has ended? |
//! | `pool_cache` | which addresses are claimed in the pools that this node uses? |
//! | `upkeep` | are the claims of this node's attachments still there? |
//! | `tombstones` | which addresses are still to be released? |

mod in_flight;
pub mod options;
pub mod pool_cache;
pub mod serve;
mod tombstones;
mod upkeep;
pub mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use node::client::{ApiClient, ConnectError, ResourceKind, Timeouts};
use node::daemon::{self, Background, Pages, Readiness, Role};
use node::lease::{Election, Leadership, Timing};
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc::{self, BindError};
use tokio::sync::watch;

use crate::crd::rights::LEASE;
use crate::leader;
use crate::metrics::Metrics;
use crate::node_state::hints::NodeHints;
use crate::node_state::namespace;
use crate::node_state::record::{RecordError, Records};
use options::{Candidacy, Lifetime, Options};
use pool_cache::PoolCaches;
use serve::Service;
use tombstones::TombstoneDrain;
use upkeep::ClaimUpkeep;

/// Slower than the default. Every node reads the lease, so 1,000 nodes send 100 GETs per second at `look` = 10 s. No pod waits for a
/// leader: without one, views and reclaims are only late.
const TIMING: Timing = Timing {
    lease: Duration::from_secs(20),
    renew: Duration::from_secs(13),
    retry: Duration::from_secs(2),
    look: Duration::from_secs(10),
};

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// There are no usable credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The socket for plugins cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folders of the node's records cannot be opened.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The lease has no valid name.
    #[error("the leader's lease: {0}")]
    Lease(#[from] node::names::NameError),
}

/// Serves until `shutdown`, or until the daemon's lifetime is over.
pub async fn run(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), DaemonError> {
    let api = ApiClient::connect(options.credentials.clone(), Timeouts::default()).await?;
    let namespace = match options.namespace.clone() {
        Some(namespace) => namespace,
        None => namespace::of_client(&api)?,
    };
    let (metrics, registry) = Metrics::new();
    let part = node_part(api.clone(), namespace.clone(), &options.state, &options.node, metrics.clone())?;
    let listener = rpc::bind(&options.socket)?;
    let lease = ResourceKind::LEASES.in_namespace(&namespace).object(&DnsSubdomain::new(LEASE)?);

    let mut background = Background::default();
    part.tasks.into_iter().for_each(|task| background.spawn(task));
    let leadership = match options.candidacy {
        Candidacy::NeverLead => None,
        Candidacy::MayLead => {
            let election = Election::start(api.clone(), lease, identity(&options), TIMING);
            let leadership = background.elect(election);
            let context = leader::context::Context::new(api, namespace.clone(), metrics, options.grace);
            background.spawn(lead(context, leadership.clone()));
            Some(leadership)
        }
    };
    if let Some(address) = options.listen {
        let socket = listener.socket();
        let pages = Pages { metrics: registry, ready: Box::new(move || readiness(leadership.as_ref())) };
        background.spawn(daemon::serve_http_at(address, pages, move || socket.is_replaced()));
    }
    tracing::info!(node = %options.node, %namespace, socket = %options.socket.display(), "serving");
    let answer = move |request| {
        let service = part.service.clone();
        async move { service.answer(request).await }
    };
    daemon::serve(listener, answer, background, ended(options.lifetime, shutdown)).await;
    Ok(())
}

/// What a daemon does for its node: it serves requests, and its tasks never end.
pub struct NodePart {
    /// Serves the plugins' requests.
    pub service: Service,
    /// Follows the pools in use, drains tombstones and keeps claims.
    pub tasks: Vec<BoxFuture<'static, ()>>,
}

/// Makes what a daemon does for the node of this name, whose records and hints are below `state`.
///
/// # Errors
/// [`RecordError`] if the records cannot be opened.
pub fn node_part(
    api: ApiClient,
    namespace: DnsLabel,
    state: &Path,
    node: &str,
    metrics: Metrics,
) -> Result<NodePart, RecordError> {
    let (records, hints) = (Records::open(state)?, NodeHints::open(state));
    records.remove_leftovers(SystemTime::now())?;
    let (caches, started) = PoolCaches::new(hints.of(&namespace), metrics.clone());
    let caches = Arc::new(caches);
    let deleted = caches.deleted_claims();
    let service = Service::new(api.clone(), namespace.clone(), caches.clone(), metrics);
    let upkeep = ClaimUpkeep::new(service.clone(), records.clone(), node.to_owned());
    let drain = TombstoneDrain { service: service.clone(), records, hints };
    let tasks = vec![
        upkeep.run(deleted).boxed(),
        pool_cache::follow(caches, api, namespace, started).boxed(),
        drain.run().boxed(),
    ];
    Ok(NodePart { service, tasks })
}

async fn ended(lifetime: Lifetime, shutdown: impl Future<Output = ()>) {
    match lifetime {
        Lifetime::Unlimited => shutdown.await,
        // The shutdown may come first. Which of the two it was makes no difference.
        Lifetime::Limited(time) => drop(tokio::time::timeout(time, shutdown).await),
    }
}

/// A daemon that cannot reach the API server knows no leader, and is not ready. One that never leads is always ready.
fn readiness(leadership: Option<&watch::Receiver<Leadership>>) -> Readiness {
    match leadership {
        Some(leadership) if *leadership.borrow() == Leadership::Unknown => {
            Readiness::NotReady("the API server has not responded about the leader's lease".to_owned())
        }
        Some(_) | None => Readiness::Ready,
    }
}

/// The lease holder's name. A random suffix makes it unique: a daemon that restarts on the same node must not take itself for the holder.
fn identity(options: &Options) -> String {
    format!("{}_{:016x}", options.node, fastrand::u64(..))
}

async fn lead(context: leader::context::Context, leadership: watch::Receiver<Leadership>) {
    let on_change = |role| match role {
        Role::Leader => context.metrics().set_leading(),
        Role::Follower => context.metrics().clear_leading(),
    };
    daemon::while_leading(leadership, on_change, || leader::run(&context)).await;
}
