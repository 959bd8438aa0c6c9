//! NodeSlicePools, kept for the networks with `node_slice_size`: made, cut as the networks say, and given to the nodes.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use node::client::{ApiError, OnUnknown, ResourceKind, RetryPolicy, retry};
use node::deadline::Deadline;
use node::event::{Reporter, Severity, Subject, about_pod};
use node::names::{DnsLabel, DnsSubdomain};

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, WhereaboutsNetwork};
use super::slice_plan::{AssignedSlice, SlicedNetwork, Wanted, plan, wanted};
use crate::addr::slices::SliceSize;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlice, NodeSlicePool};
use crate::pool::naming;
use crate::pool::naming::front;

/// Who says it, as Whereabouts' controller does.
const COMPONENT: &str = "node-controller";
const REASON: &str = "NodeSlicePool";
const DEFINITION_KIND: &str = "NetworkAttachmentDefinition";
const DEFINITION_VERSION: &str = "k8s.cni.cncf.io/v1";

/// What is to be written, and what networks' owners must know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PendingWrites {
    /// New as they carry no version, others as they are to be.
    pub writes: Vec<NodeSlicePool>,
    /// `namespace/name` of a network's definition, and the text.
    pub notices: BTreeSet<(String, String)>,
}

/// Looks at networks, nodes, slices and claims.
pub fn look(
    cache: &ClusterCache,
    networks: &std::collections::BTreeMap<String, WhereaboutsNetwork>,
    namespace: &DnsLabel,
) -> PendingWrites {
    let sliced: Vec<SlicedNetwork> = networks
        .iter()
        .filter_map(|(name, network)| SlicedNetwork::of(name, &network.conf, network.typed_size.as_deref()))
        .collect();
    let present = |name: &str| cut(cache.slice_pools.content().get(name)?);
    let (wanted, problems) = wanted(&sliced, present);
    let mut pending = PendingWrites::default();
    pending
        .notices
        .extend(problems.iter().map(|problem| (problem.definition().to_owned(), problem.to_string())));
    let nodes: BTreeSet<String> = cache.nodes.iter().map(|(node, ())| node.clone()).collect();
    let whole = whole_pools(networks);
    for wanted in wanted {
        let present = cache.slice_pools.content().get(wanted.pool.as_str());
        let current = present.map(|pool| AssignedSlice::listed(&pool.status.allocations)).unwrap_or_default();
        let live = live(cache, &wanted, &whole);
        let plan = match plan(&wanted.layout, &current, &live, &nodes) {
            Ok(plan) => plan,
            Err(error) => {
                let text = format!("{}: {error}", wanted.pool);
                pending.notices.extend(wanted.definitions.iter().map(|name| (name.clone(), text.clone())));
                continue;
            }
        };
        if !plan.without.is_empty() {
            let text = too_few(&wanted, &plan.without);
            pending.notices.extend(wanted.definitions.iter().map(|name| (name.clone(), text.clone())));
        }
        let new = pool(present, &wanted, &plan.given, owners(cache, &wanted, namespace));
        pending.writes.extend(Some(new).filter(|new| present != Some(new)));
    }
    pending
}

/// How an object is cut, where it can be read.
fn cut(pool: &NodeSlicePool) -> Option<(IpNet, SliceSize)> {
    let range: IpNet = pool.spec.range.parse().ok()?;
    Some((range.trunc(), SliceSize::parse(&pool.spec.slice_size).ok()?))
}

fn too_few(wanted: &Wanted, without: &[String]) -> String {
    const NAMED: usize = 10;
    let named: Vec<&str> = without.iter().take(NAMED).map(String::as_str).collect();
    let more = without.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "no slice of {} is left for node {}{more}: pods there get no address on this network; enlarge the range or make the slices \
         smaller (node_slice_size is {})",
        wanted.layout.range,
        named.join(", "),
        wanted.typed_size
    )
}

/// The pools that are of whole ranges.
fn whole_pools(networks: &std::collections::BTreeMap<String, WhereaboutsNetwork>) -> BTreeSet<String> {
    let unsliced = networks.values().filter(|network| network.conf.slice_size.is_none());
    let names = unsliced.flat_map(|network| {
        let name = network.conf.network_name.as_deref();
        network.conf.ranges.iter().filter_map(move |range| naming::pool(&range.net, name).ok())
    });
    names.map(|name| name.to_string()).collect()
}

/// The slices of a network in which addresses are claimed, or in use as Whereabouts says, of whatever size they are.
fn live(cache: &ClusterCache, wanted: &Wanted, whole: &BTreeSet<String>) -> Vec<AssignedSlice> {
    let claimed = cache.claimed_pools().filter_map(|name| {
        let range = cache.claims_of(name).find_map(|claim| claim.range)?;
        Some((name, range))
    });
    let used = cache.pools().iter().filter(|(_, pool)| !pool.entries().is_empty());
    let used = used.filter_map(|(name, pool)| Some((&**name, pool.range?)));
    let mut live = Vec::new();
    for (name, range) in claimed.chain(used).filter(|(name, _)| !whole.contains(*name)) {
        let apart = !range.contains(&wanted.layout.range) && !wanted.layout.range.contains(&range);
        let Some(front) = front(name, &range).filter(|_| !apart) else { continue };
        for network in &wanted.networks {
            let node = match network {
                Some(network) => front.strip_prefix(network).and_then(|rest| rest.strip_prefix('-')),
                None => Some(front),
            };
            if let Some(node) = node.filter(|node| !node.is_empty()) {
                live.push(AssignedSlice { node: node.to_owned(), slice: range.trunc() });
            }
        }
    }
    live.sort();
    live.dedup();
    live
}

/// The networks that own the object: it goes with the last of them. Only those of its own namespace: an owner in another one counts as
/// gone, and the object would go at once.
fn owners(cache: &ClusterCache, wanted: &Wanted, namespace: &DnsLabel) -> Vec<OwnerReference> {
    let definitions = wanted.definitions.iter().filter_map(|name| cache.networks.content().get(name));
    let here =
        definitions.filter(|network| network.metadata.namespace.as_deref() == Some(namespace.as_str()));
    let owner = |metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
        Some(OwnerReference {
            api_version: DEFINITION_VERSION.to_owned(),
            kind: DEFINITION_KIND.to_owned(),
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            ..OwnerReference::default()
        })
    };
    here.filter_map(|network| owner(&network.metadata)).collect()
}

/// The object as it is to be. Texts that mean the same stay, so that Whereabouts' controller sees no change.
fn pool(
    present: Option<&NodeSlicePool>,
    wanted: &Wanted,
    given: &[AssignedSlice],
    owners: Vec<OwnerReference>,
) -> NodeSlicePool {
    let mut pool = present.cloned().unwrap_or_default();
    if pool.api_version.is_empty() {
        pool.api_version = "whereabouts.cni.cncf.io/v1alpha1".to_owned();
        pool.kind = "NodeSlicePool".to_owned();
    }
    if cut(&pool) != Some((wanted.layout.range, wanted.layout.size)) {
        pool.spec.range = wanted.layout.range.to_string();
        pool.spec.slice_size.clone_from(&wanted.typed_size);
    }
    let slice = |given: &AssignedSlice| NodeSlice {
        node_name: given.node.clone(),
        slice_range: given.slice.to_string(),
    };
    pool.status.allocations = given.iter().map(slice).collect();
    pool.metadata.name = Some(wanted.pool.to_string());
    let old = pool.metadata.owner_references.take().unwrap_or_default();
    let same = |owner: &OwnerReference| old.iter().find(|old| old.uid == owner.uid).cloned();
    let foreign = old.iter().filter(|owner| owner.kind != DEFINITION_KIND).cloned();
    let owners: Vec<OwnerReference> =
        foreign.chain(owners.into_iter().map(|owner| same(&owner).unwrap_or(owner))).collect();
    pool.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
    pool
}

/// Writes what is owed; what fails is logged, and found again.
pub async fn pass(context: &Context, pending: PendingWrites, told: &BTreeSet<(String, String)>) {
    let deadline = Deadline::after(context.timing.request);
    let written = stream::iter(pending.writes).map(|pool| async move {
        let name = pool.metadata.name.clone().unwrap_or_default();
        match write(context, &pool, deadline).await {
            Ok(()) => tracing::info!(pool = %name, slices = pool.status.allocations.len(), "node slices are written"),
            Err(error) => tracing::warn!(pool = %name, %error, "node slices are not written; trying again"),
        }
    });
    written.buffer_unordered(AT_ONCE).collect::<()>().await;
    for (definition, text) in pending.notices.difference(told) {
        tracing::warn!(network = %definition, "{text}");
        tell(context, definition, text, deadline).await;
    }
}

async fn write(context: &Context, pool: &NodeSlicePool, deadline: Deadline) -> Result<(), ApiError> {
    let collection = NODE_SLICE_POOLS.in_namespace(&context.namespace);
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let name = pool.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let Some(name) = name else { return Ok(()) };
    if pool.metadata.resource_version.is_none() {
        let create = || context.api.create::<serde::de::IgnoredAny>(&collection, pool, deadline);
        return retry(deadline, policy, create).await.map(drop);
    }
    let path = collection.object(&name);
    let replace = || context.api.replace::<serde::de::IgnoredAny>(&path, pool, deadline);
    match retry(deadline, policy, replace).await {
        // It changed since: the next look decides.
        Ok(_) | Err(ApiError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// An event about a network. One that cannot be made is no reason to do anything.
async fn tell(context: &Context, definition: &str, text: &str, deadline: Deadline) {
    let Some((namespace, name)) = definition.split_once('/') else { return };
    let (Ok(namespace), Ok(name)) = (DnsLabel::new(namespace), DnsSubdomain::new(name)) else { return };
    let events = ResourceKind::EVENTS.in_namespace(&namespace);
    let subject = Subject { namespace, name, uid: None };
    let reporter = Reporter { component: COMPONENT, host: "" };
    let now = k8s_openapi::jiff::Timestamp::now();
    let mut event = about_pod(&subject, Severity::Warning, REASON, text, reporter, now);
    event.involved_object.kind = Some(DEFINITION_KIND.to_owned());
    event.involved_object.api_version = Some(DEFINITION_VERSION.to_owned());
    if let Err(error) = context.api.create::<serde::de::IgnoredAny>(&events, &event, deadline).await {
        tracing::debug!(%error, "no event");
    }
}

/// Plans whenever networks, nodes or slices change. Never returns.
pub async fn run(context: &Context, shared: &SharedCache) {
    let mut told = BTreeSet::new();
    loop {
        let pending = {
            let cache = shared.lock();
            let synced = cache.can_judge()
                && cache.nodes.is_synced()
                && cache.networks.is_synced()
                && cache.slice_pools.is_synced();
            let whereabouts_networks =
                || networks::whereabouts_networks(cache.networks.iter(), networks::flat_file);
            synced.then(|| look(&cache, &whereabouts_networks(), &context.namespace))
        };
        if let Some(pending) = pending {
            let notices = pending.notices.clone();
            pass(context, pending, &told).await;
            told = notices;
        }
        // Nodes that come together are planned together.
        tokio::time::sleep(context.timing.settle / 4).await;
        let _ = tokio::time::timeout(context.timing.pass, shared.slices.notified()).await;
    }
}
