//! Keeping the cache up to date by list and watch.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use nad::{NadRef, NetworkAttachmentDefinition};
use node::client::{ApiClient, Change, Effect, Parts, ResourceKind, Selection, reflect_while_allowed};
use node::names::{DnsLabel, DnsSubdomain, NameError};

use super::content::Cache;
use super::pod::{CachedPod, PodName, PodObject, Seen, Size};

/// The wait before list and watch are tried again after the account was refused. Rights change when somebody applies other manifests.
pub(super) const FORBIDDEN_RETRY: Duration = Duration::from_secs(600);

/// The most bytes of a definition's configuration that are cached. Usual ones have some 300.
pub(super) const MAX_CONFIG: usize = 64 << 10;

/// What a watch of pods shows.
#[derive(Debug)]
pub(crate) enum Observation<'a> {
    /// The pod as it is now, with its network-status.
    Pod(&'a PodName, &'a CachedPod, Option<&'a str>),
    /// The pod is gone.
    Gone(&'a PodName),
    /// The watch ended: no pod is observed any more.
    Ended,
}

/// Follows the pods of this node. Never returns. Calls `observe` after each change.
pub(crate) async fn follow_pods(
    cache: Arc<Cache>,
    api: ApiClient,
    node: DnsSubdomain,
    observe: impl Fn(Observation<'_>),
) {
    loop {
        let selection =
            Selection { labels: None, fields: Some(format!("spec.nodeName={node}")), parts: Parts::Metadata };
        let pods = ResourceKind::PODS.in_cluster();
        let mut changes = pin!(reflect_while_allowed::<PodObject>(api.clone(), pods, selection));
        while let Some(change) = changes.next().await {
            match converted(change, Seen::try_from) {
                Ok(change) => apply_pod(&cache, change, &observe),
                Err(error) => tracing::warn!(%error, "the API server sent a pod whose name is none"),
            }
        }
        cache.do_without_pods();
        observe(Observation::Ended);
        report_forbidden(ResourceKind::PODS).await;
    }
}

fn apply_pod(cache: &Cache, change: Change<Seen>, observe: &impl Fn(Observation<'_>)) {
    match change {
        Change::Put(Seen { name, pod, size: Size::Fits, status }) => {
            cache.change_pod(Change::Put((name.clone(), pod.clone())));
            observe(Observation::Pod(&name, &pod, status.as_deref()));
        }
        // An older state may be cached.
        Change::Put(Seen { name, pod, .. }) | Change::Gone(Seen { name, pod, .. }) => {
            cache.change_pod(Change::Gone((name.clone(), pod)));
            observe(Observation::Gone(&name));
        }
        Change::Restarted => drop(cache.change_pod(Change::Restarted)),
        Change::Synced => {
            if let Effect::Replaced { gone, .. } = cache.change_pod(Change::Synced) {
                gone.iter().for_each(|(name, _)| observe(Observation::Gone(name)));
            }
        }
    }
}

/// Follows the definitions of the cluster. Never returns.
pub(crate) async fn follow_definitions(cache: Arc<Cache>, api: ApiClient) {
    loop {
        let definitions = NetworkAttachmentDefinition::KIND.in_cluster();
        let selection = Selection::all(Parts::Whole);
        let mut changes =
            pin!(reflect_while_allowed::<NetworkAttachmentDefinition>(api.clone(), definitions, selection));
        while let Some(change) = changes.next().await {
            match converted(change, named) {
                Ok(Change::Put(large)) if large.1.spec.config.len() > MAX_CONFIG => {
                    cache.change_definition(Change::Gone(large));
                }
                Ok(change) => cache.change_definition(change),
                Err(error) => tracing::warn!(%error, "the API server sent a definition whose name is none"),
            }
        }
        cache.do_without_definitions();
        report_forbidden(NetworkAttachmentDefinition::KIND).await;
    }
}

fn named(
    definition: NetworkAttachmentDefinition,
) -> Result<(NadRef, NetworkAttachmentDefinition), NameError> {
    let namespace = DnsLabel::new(definition.metadata.namespace.as_str())?;
    let name = DnsSubdomain::new(definition.metadata.name.as_str())?;
    Ok((NadRef { namespace, name }, definition))
}

/// The change with its object converted.
fn converted<T, U>(
    change: Change<T>,
    make: impl FnOnce(T) -> Result<U, NameError>,
) -> Result<Change<U>, NameError> {
    Ok(match change {
        Change::Restarted => Change::Restarted,
        Change::Synced => Change::Synced,
        Change::Put(object) => Change::Put(make(object)?),
        Change::Gone(object) => Change::Gone(make(object)?),
    })
}

async fn report_forbidden(kind: ResourceKind) {
    tracing::warn!(
        %kind,
        "the account may not list and watch them in the whole cluster: each is read when a plugin asks for it, which takes longer; \
         grant \"list\" and \"watch\" to avoid that"
    );
    tokio::time::sleep(FORBIDDEN_RETRY).await;
}
