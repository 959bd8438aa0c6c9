//! The daemon of a node: it serves the node's plugins with a connection that is warm and a view that is fresh, gives back what DELs could
//! not, and stands for leader. It holds a credential and no privilege: it makes no interface, enters no namespace and runs no program.
//!
//! | module | answers |
//! |---|---|
//! | [`options`] | what was it told? |
//! | [`serve`] | how is a plugin answered? |
//! | [`turns`] | what if a newer call comes before it is answered? |
//! | [`known`] | what is claimed in the pools this node uses? |
//! | [`tombstones`] | what is still to be given back? |
//! | [`leader`] | what does one daemon do for all nodes? |
//! | [`metrics`] | what happened? |

pub mod known;
pub mod leader;
pub mod metrics;
pub mod options;
pub mod serve;
pub mod tombstones;
pub mod turns;

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

use crate::hint::HintStore;
use crate::record::{RecordError, Records};
use crate::source::namespace_of;
use known::Known;
use metrics::Metrics;
use options::{Candidacy, Options};
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
    let (known, started) = Known::new(HintStore::open(&options.state), metrics.clone());
    let known = Arc::new(known);
    let service = Service::new(api.clone(), namespace.clone(), known.clone(), metrics.clone());
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
    tasks.spawn(known::follow(known, api.clone(), namespace.clone(), started));
    tasks.spawn(tombstones::drain_always(service.clone(), records));
    if let Some(listener) = endpoint {
        tasks.spawn(endpoint::serve(listener, pages(registry, leadership.clone()), std::future::pending()));
    }
    if let Some(leadership) = leadership {
        let context = leader::Context::new(api, namespace.clone(), metrics, options.grace);
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
async fn lead(context: leader::Context, mut leadership: watch::Receiver<Leadership>) {
    while leadership.wait_for(|now| *now == Leadership::Leading).await.is_ok() {
        lead_once(&context, &mut leadership).await;
    }
}

async fn lead_once(context: &leader::Context, leadership: &mut watch::Receiver<Leadership>) {
    tracing::info!("leading");
    context.metrics().leads();
    tokio::select! {
        () = leader::run(context) => {}
        _ = leadership.wait_for(|now| *now != Leadership::Leading) => {}
    }
    context.metrics().follows();
    tracing::info!("not leading any more");
}
