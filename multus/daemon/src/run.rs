//! The daemon from its start to its end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use node::client::{ApiClient, ConnectError, Timeouts};
use node::daemon::{self, Background, Pages, Readiness};
use node::deadline::Deadline;
use node::rpc::{self, BindError};

use crate::cache::{Cache, Contact, follow_definitions, follow_pods};
use crate::events::Events;
use crate::install::{InPlace, Plan, Upkeep, Watch};
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
    let mut background = Background::default();
    let conf = keep_conf(options.upkeep.clone(), &mut background);
    background.spawn(follow_definitions(cache.clone(), api.clone()));
    let pods = match options.node.clone() {
        Some(node) => {
            let observer = statuses.clone();
            let observe = move |observation: crate::cache::Observation<'_>| observer.observe(observation);
            background.spawn(follow_pods(cache.clone(), api.clone(), node, observe));
            Pods::Followed
        }
        None => Pods::of_unknown_node(),
    };
    let (merger, sender) = (statuses.clone(), events.clone());
    background.spawn(async move { merger.run_merges().await });
    background.spawn(async move { sender.run().await });
    if let Some(address) = options.listen {
        let started = Started { cache: cache.clone(), pods, conf };
        let ready = Box::new(move || started.readiness());
        background.spawn(daemon::serve_http_at(address, Pages { metrics: registry, ready }));
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

/// Keeps the plugin's configuration and kubeconfig up to date, if the daemon's file asks for it.
fn keep_conf(plan: Option<Plan>, background: &mut Background) -> Conf {
    let Some(plan) = plan else { return Conf::OfAnother };
    let upkeep = Upkeep::new(plan.credentials, plan.settings, Watch::Follow);
    let in_place = upkeep.in_place();
    background.spawn(upkeep.run());
    Conf::Kept(in_place)
}

/// Who writes the plugin's configuration.
enum Conf {
    /// This daemon. The value says whether it is in place.
    Kept(InPlace),
    /// Another program.
    OfAnother,
}

/// How the daemon learns of pods.
#[derive(PartialEq)]
enum Pods {
    /// It follows those of its node.
    Followed,
    /// It does not know its node.
    ReadWhenAskedFor,
}

impl Pods {
    /// Says so in the log: it costs a request for each pod.
    fn of_unknown_node() -> Self {
        tracing::warn!(
            "the name of this node is unknown, so each pod is read when a plugin asks for it: set MULTUS_NODE_NAME, or give --node"
        );
        Self::ReadWhenAskedFor
    }
}

/// What must be there before the daemon is ready.
struct Started {
    cache: Arc<Cache>,
    pods: Pods,
    conf: Conf,
}

impl Started {
    /// The daemon is ready once the API server has said something about each kind of object that it caches: until then every request waits for
    /// it. If it writes the plugin's configuration, that must be in place: before, pods start without multus.
    fn readiness(&self) -> Readiness {
        if let Conf::Kept(in_place) = &self.conf
            && !in_place.is_true()
        {
            return Readiness::NotReady(
                "00-multus.conf is not in place yet: the log says what is waited for".to_owned(),
            );
        }
        let expected = |(kind, _): &(&str, Contact)| self.pods == Pods::Followed || *kind != "pods";
        match self.cache.contact().into_iter().filter(expected).find(|(_, contact)| *contact == Contact::None)
        {
            Some((kind, _)) => Readiness::NotReady(format!("the API server has not listed the {kind} yet")),
            None => Readiness::Ready,
        }
    }
}
