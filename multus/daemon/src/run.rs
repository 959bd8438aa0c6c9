//! The daemon from its start to its end.

use std::convert::Infallible;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use node::client::{ApiClient, ConnectError, Timeouts};
use node::daemon::{self, Background, Pages, Readiness};
use node::deadline::Deadline;
use node::rpc::{self, BindError, OwnSocket};

use crate::cache::{Cache, Contact, follow_definitions, follow_pods};
use crate::certificate::{CertificateError, Keeper};
use crate::changes::Changed;
use crate::events::Events;
use crate::install::{InPlace, Plan, Upkeep, Watch};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::removal::{Ending, Refused, ending};
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
    /// There is no certificate for this node.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
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
    let mut shutdown = pin!(shutdown);
    let keeper = options.certificate.clone().map(|settings| {
        let kubeconfig = settings.kubeconfig();
        Keeper::new(settings, kubeconfig)
    });
    let keeper = match keeper {
        None => None,
        Some(mut keeper) => tokio::select! {
            biased;
            () = shutdown.as_mut() => return Ok(()),
            first = keeper.first() => first.map(|()| Some(keeper))?,
        },
    };
    let api = ApiClient::connect(options.credentials.clone(), Timeouts::default()).await?;
    tokio::select! {
        served = serve(options, api, shutdown) => served,
        never = renew(keeper) => match never {},
    }
}

/// Keeps the certificate valid, if there is one.
async fn renew(keeper: Option<Keeper>) -> Infallible {
    if let Some(keeper) = keeper {
        keeper.run().await;
    }
    std::future::pending().await
}

/// Serves until `shutdown`, with this client.
pub(crate) async fn serve(
    options: Options,
    api: ApiClient,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let (metrics, registry) = Metrics::new();
    if let Some(folder) = options.socket.parent() {
        // A folder that is there already keeps its mode. If this fails, bind says why.
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    }
    let listener = rpc::bind(&options.socket)?.limit(options.connections);
    let service = service(&options, api, metrics);
    let mut background = background(&service);
    let plan = options.upkeep.clone();
    let proof = if options.certificate.is_some() { Refused::MayBeExpired } else { Refused::IsDeleted };
    let conf = keep_conf(options.upkeep, listener.socket(), &mut background);
    let socket = listener.socket();
    if let Some(address) = options.listen {
        let (cache, own) = (service.cache.clone(), socket.clone());
        let pages = Pages { metrics: registry, ready: Box::new(move || readiness(&cache, &conf)) };
        background.spawn(daemon::serve_http_at(address, pages, move || own.is_replaced()));
    }
    let node = options.node.as_ref().map_or("unknown", AsRef::as_ref);
    tracing::info!(node, socket = %options.socket.display(), connections = options.connections, "serving");
    let (events, api, cache) = (service.events.clone(), service.api.clone(), service.cache.clone());
    let answer = move |request| {
        let service = service.clone();
        async move { service.answer(request).await }
    };
    daemon::serve(listener, answer, background, shutdown).await;
    events.flush(Deadline::after(FLUSH)).await;
    if let Some(plan) = plan
        && ending(&api, &cache, proof, || socket.is_replaced()).await == Ending::Removal
    {
        remove_conf(plan);
    }
    Ok(())
}

/// Gives the node back to its default network.
fn remove_conf(plan: Plan) {
    match Upkeep::new(plan.credentials, plan.settings, Watch::Follow).remove() {
        Ok(()) => tracing::warn!(
            "multus is being removed: its rights or its custom resource are gone, so 00-multus.conf is removed too"
        ),
        Err(error) => {
            tracing::error!("multus is being removed, but 00-multus.conf stays: {error}; remove it by hand");
        }
    }
}

fn service(options: &Options, api: ApiClient, metrics: Metrics) -> Service {
    let cache = Arc::new(Cache::new(metrics.clone()));
    let statuses = Arc::new(Statuses::new(api.clone(), cache.clone(), metrics.clone()));
    let events = Arc::new(Events::new(api.clone(), metrics.clone()));
    let changed = Arc::<Changed>::default();
    Service { api, node: options.node.clone(), cache, statuses, events, changed, metrics }
}

/// Starts what keeps the answers to plugins up to date, and sends what they report.
fn background(service: &Service) -> Background {
    let Service { api, node, cache, statuses, events, changed, .. } = service.clone();
    let mut background = Background::default();
    background.spawn(follow_definitions(cache.clone(), api.clone()));
    if let Some(node) = node {
        let observer = statuses.clone();
        background.spawn(follow_pods(cache, api, node, move |seen| {
            changed.observe(&seen);
            observer.observe(seen);
        }));
    } else {
        tracing::warn!(
            "the name of this node is unknown, so each pod is read when a plugin asks for it: set MULTUS_NODE_NAME, or give --node"
        );
        cache.do_without_pods();
    }
    background.spawn(async move { statuses.run_merges().await });
    background.spawn(async move { events.run().await });
    background
}

/// Keeps the plugin's configuration and kubeconfig up to date, if the daemon's file asks for it.
fn keep_conf(plan: Option<Plan>, socket: OwnSocket, background: &mut Background) -> Conf {
    let Some(plan) = plan else { return Conf::OfAnother };
    let upkeep = Upkeep::new(plan.credentials, plan.settings, Watch::Follow);
    let in_place = upkeep.in_place();
    background.spawn(upkeep.run(move || socket.is_replaced()));
    Conf::Kept(in_place)
}

/// Who writes the plugin's configuration.
enum Conf {
    /// This daemon. The value says whether it is in place.
    Kept(InPlace),
    /// Another program.
    OfAnother,
}

/// The daemon is ready once the API server has said something about each kind of object that it caches: until then every request waits for it.
///
/// If it writes the plugin's configuration, that must be in place: before, pods start without multus.
fn readiness(cache: &Cache, conf: &Conf) -> Readiness {
    if let Conf::Kept(in_place) = conf
        && !in_place.is_true()
    {
        return Readiness::NotReady(
            "00-multus.conf is not in place yet: the log says what is waited for".to_owned(),
        );
    }
    match cache.contact().into_iter().find(|(_, contact)| *contact == Contact::None) {
        Some((kind, _)) => Readiness::NotReady(format!("the API server has not listed the {kind} yet")),
        None => Readiness::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Node, settle};

    #[tokio::test(start_paused = true)]
    async fn the_daemon_is_ready_once_the_api_server_has_answered() {
        let node = Node::new();
        let service = node.service().await;
        let reason = Readiness::NotReady("the API server has not listed the pods yet".to_owned());
        assert_eq!(readiness(&service.cache, &Conf::OfAnother), reason);
        let _running = background(&service);
        settle().await;
        assert_eq!(readiness(&service.cache, &Conf::OfAnother), Readiness::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_name_of_the_node_no_pod_is_listed() {
        let node = Node::new();
        let service = Service { node: None, ..node.service().await };
        let _running = background(&service);
        settle().await;
        assert_eq!(readiness(&service.cache, &Conf::OfAnother), Readiness::Ready);
        let listed = node.server.received();
        assert!(listed.iter().all(|request| request.path.ends_with("-definitions")), "{listed:?}");
    }
}
