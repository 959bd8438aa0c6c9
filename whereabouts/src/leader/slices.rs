//! The NodeSlicePool objects of the networks with `node_slice_size`: created, and written with the slices that [`super::slice_plan`] assigns.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use nad::NetworkAttachmentDefinition;
use node::client::{ApiError, OnUnknown, Preconditions, RetryPolicy, retry};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde::de::IgnoredAny;

use super::cluster_cache::{ClusterCache, SharedCache};
use super::context::{AT_ONCE, Context};
use super::networks::{self, WhereaboutsNetwork};
use super::notices::{DEFINITION_KIND, DEFINITION_VERSION, Notice, report};
use super::slice_plan::{AssignedSlice, Plan, plan};
use super::sliced_networks::{DesiredSlicePool, SlicedNetwork, desired_slice_pools};
use crate::addr::slices::SliceSize;
use crate::crd::node_slice_pool::{NODE_SLICE_POOLS, NodeSlice, NodeSlicePool};
use crate::pool::naming::{self, pool_prefix};

/// The component name of Whereabouts' node-slice controller.
const COMPONENT: &str = "node-controller";
const REASON: &str = "NodeSlicePool";

/// Annotation of a NodeSlicePool: the networks that it was written for, as `namespace/name`, separated by commas. It is deleted with the last
/// of them. Owner references do not suffice: they name owners of the object's own namespace only.
const NETWORKS: &str = "whereabouts.multus-rs/networks";

/// The node of a slice that is free.
const FREE: &str = "";

/// What one pass decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SliceDecision {
    /// Objects to write. One without a resourceVersion is created, the others are replaced at their resourceVersion.
    pub writes: Vec<NodeSlicePool>,
    /// Objects that no network has any more.
    pub deletions: Vec<NodeSlicePool>,
    /// Problems that the networks' owners must solve.
    pub notices: BTreeSet<Notice>,
}

/// Decides from networks, nodes, slices and claims.
pub(super) fn decide(
    cache: &ClusterCache,
    networks: &BTreeMap<String, WhereaboutsNetwork>,
    namespace: &DnsLabel,
) -> SliceDecision {
    let sliced: Vec<SlicedNetwork> = networks
        .iter()
        .filter_map(|(name, network)| SlicedNetwork::of(name, &network.conf, network.typed_size.as_deref()))
        .collect();
    let existing = |name: &str| range_and_size(cache.slice_pools.content().get(name)?);
    let (desired, problems) = desired_slice_pools(&sliced, existing);
    let mut decision = SliceDecision::default();
    decision
        .notices
        .extend(problems.iter().map(|problem| notice(cache, problem.definition(), problem.to_string())));
    decision.deletions = orphans(cache, &sliced);
    let nodes: BTreeSet<String> = cache.nodes.iter().map(|(node, ())| node.clone()).collect();
    let unsliced = unsliced_pools(networks);
    for desired in desired {
        let present = cache.slice_pools.content().get(desired.pool.as_str());
        let current =
            present.map(|pool| AssignedSlice::from_list(&pool.status.allocations)).unwrap_or_default();
        let in_use = slices_in_use(cache, &desired, &unsliced);
        let plan = match plan(&desired.layout, &current, &in_use, &nodes) {
            Ok(plan) => plan,
            Err(error) => {
                decision.notices.extend(notices(cache, &desired, &format!("{}: {error}", desired.pool)));
                continue;
            }
        };
        if !plan.nodes_without_slice.is_empty() {
            let text = too_few_slices(&desired, &plan.nodes_without_slice);
            decision.notices.extend(notices(cache, &desired, &text));
        }
        let new = slice_pool(present, &desired, &plan, owners(cache, &desired, namespace));
        decision.writes.extend(Some(new).filter(|new| present != Some(new)));
    }
    decision
}

fn notice(cache: &ClusterCache, network: &str, text: String) -> Notice {
    Notice::new(cache, network, COMPONENT, REASON, text)
}

/// A notice with this text for each network of an object.
fn notices(cache: &ClusterCache, desired: &DesiredSlicePool, text: &str) -> Vec<Notice> {
    desired.definitions.iter().map(|network| notice(cache, network, text.to_owned())).collect()
}

/// The objects whose networks are all deleted. One that names no networks stays: somebody else made it.
fn orphans(cache: &ClusterCache, sliced: &[SlicedNetwork]) -> Vec<NodeSlicePool> {
    let is_orphan = |name: &str, pool: &NodeSlicePool| {
        let annotation = pool.metadata.annotations.as_ref().and_then(|all| all.get(NETWORKS));
        let exists = |network: &str| cache.networks.content().contains_key(network);
        // A definition that exists may have an error that its author corrects: its nodes keep their slices.
        annotation.is_some_and(|networks| !networks.split(',').any(exists))
            && !sliced.iter().any(|network| network.pool == name)
    };
    let orphans = cache.slice_pools.iter().filter(|(name, pool)| is_orphan(name, pool));
    orphans.map(|(_, pool)| pool.clone()).collect()
}

/// Range and size in an object; `None` if they cannot be parsed.
fn range_and_size(pool: &NodeSlicePool) -> Option<(IpNet, SliceSize)> {
    let range: IpNet = pool.spec.range.parse().ok()?;
    Some((range.trunc(), SliceSize::parse(&pool.spec.slice_size).ok()?))
}

fn too_few_slices(desired: &DesiredSlicePool, nodes: &[String]) -> String {
    /// The most nodes that the text names.
    const NAMED: usize = 10;
    let named: Vec<&str> = nodes.iter().take(NAMED).map(String::as_str).collect();
    let more = nodes.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "no slice of {} is left for node {}{more}: pods there get no address on this network; enlarge the range or make the slices \
         smaller (node_slice_size is {})",
        desired.layout.range,
        named.join(", "),
        desired.typed_size
    )
}

/// The names of the pools of networks without slices. Such a name can look like the name of a slice's pool.
fn unsliced_pools(networks: &BTreeMap<String, WhereaboutsNetwork>) -> BTreeSet<String> {
    let unsliced = networks.values().filter(|network| network.conf.slice_size.is_none());
    let names = unsliced.flat_map(|network| {
        let name = network.conf.network_name.as_deref();
        network.conf.ranges.iter().filter_map(move |range| naming::pool(&range.net, name).ok())
    });
    names.map(|name| name.to_string()).collect()
}

/// The slices of an object, of any size, in which an address is claimed or allocated by Whereabouts.
fn slices_in_use(
    cache: &ClusterCache,
    desired: &DesiredSlicePool,
    unsliced: &BTreeSet<String>,
) -> Vec<AssignedSlice> {
    let claimed = cache.claimed_pools().filter_map(|name| {
        let range = cache.claims_of(name).find_map(|claim| claim.range)?;
        Some((name, range))
    });
    let allocated = cache.pools().iter().filter(|(_, pool)| !pool.entries().is_empty());
    let allocated = allocated.filter_map(|(name, pool)| Some((&**name, pool.range?)));
    let mut in_use = Vec::new();
    for (name, range) in claimed.chain(allocated).filter(|(name, _)| !unsliced.contains(*name)) {
        let whole = &desired.layout.range;
        if !range.contains(whole) && !whole.contains(&range) {
            continue;
        }
        // "node", or "network-node" with a network_name.
        let Some(prefix) = pool_prefix(name, &range) else { continue };
        for network in &desired.networks {
            let node = match network {
                Some(network) => prefix.strip_prefix(network).and_then(|rest| rest.strip_prefix('-')),
                None => Some(prefix),
            };
            if let Some(node) = node.filter(|node| !node.is_empty()) {
                in_use.push(AssignedSlice { node: node.to_owned(), slice: range.trunc() });
            }
        }
    }
    in_use.sort();
    in_use.dedup();
    in_use
}

/// The networks that own the object, so that it is deleted with the last of them. Only networks of the object's namespace: Kubernetes treats
/// an owner in another namespace as absent and would delete the object at once.
fn owners(cache: &ClusterCache, desired: &DesiredSlicePool, namespace: &DnsLabel) -> Vec<OwnerReference> {
    let definitions = desired.definitions.iter().filter_map(|name| cache.networks.content().get(name));
    let here = definitions.filter(|nad| nad.metadata.namespace == namespace.as_str());
    let owner = |nad: &NetworkAttachmentDefinition| OwnerReference {
        api_version: DEFINITION_VERSION.to_owned(),
        kind: DEFINITION_KIND.to_owned(),
        name: nad.metadata.name.clone(),
        uid: nad.metadata.uid.clone(),
        ..OwnerReference::default()
    };
    here.map(owner).collect()
}

/// The object to write. Texts whose meaning is right already stay, because Whereabouts' controller cuts the range again if a text changes.
fn slice_pool(
    present: Option<&NodeSlicePool>,
    desired: &DesiredSlicePool,
    plan: &Plan,
    owners: Vec<OwnerReference>,
) -> NodeSlicePool {
    let mut pool = present.cloned().unwrap_or_default();
    if pool.api_version.is_empty() {
        pool.api_version = "whereabouts.cni.cncf.io/v1alpha1".to_owned();
        pool.kind = "NodeSlicePool".to_owned();
    }
    if range_and_size(&pool) != Some((desired.layout.range, desired.layout.size)) {
        pool.spec.range = desired.layout.range.to_string();
        pool.spec.slice_size.clone_from(&desired.typed_size);
    }
    let assigned = plan.assigned.iter().map(|assigned| (assigned.slice, assigned.node.as_str()));
    let mut slices: Vec<(IpNet, &str)> =
        assigned.chain(plan.free.iter().map(|slice| (*slice, FREE))).collect();
    slices.sort_unstable();
    let slice = |(slice, node): (IpNet, &str)| NodeSlice {
        node_name: node.to_owned(),
        slice_range: slice.to_string(),
    };
    pool.status.allocations = slices.into_iter().map(slice).collect();
    let annotations = pool.metadata.annotations.get_or_insert_default();
    annotations.insert(NETWORKS.to_owned(), desired.definitions.join(","));
    pool.metadata.name = Some(desired.pool.to_string());
    // Owners of other kinds stay, and existing references stay as they are.
    let old = pool.metadata.owner_references.take().unwrap_or_default();
    let existing = |owner: &OwnerReference| old.iter().find(|old| old.uid == owner.uid).cloned();
    let foreign = old.iter().filter(|owner| owner.kind != DEFINITION_KIND).cloned();
    let owners: Vec<OwnerReference> =
        foreign.chain(owners.into_iter().map(|owner| existing(&owner).unwrap_or(owner))).collect();
    pool.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
    pool
}

/// Sends the writes of a decision, and reports notices that are not in `reported`. A write that fails is logged; the next pass repeats it.
pub(super) async fn pass(context: &Context, decision: SliceDecision, reported: &BTreeSet<Notice>) {
    let deadline = Deadline::after(context.timing.request);
    let written = stream::iter(decision.writes).map(|pool| async move {
        let name = pool.metadata.name.clone().unwrap_or_default();
        match write(context, &pool, deadline).await {
            Ok(()) => {
                tracing::info!(pool = %name, slices = pool.status.allocations.len(), "NodeSlicePool written");
            }
            Err(error) => tracing::warn!(pool = %name, %error, "NodeSlicePool not written; trying again"),
        }
    });
    written.buffer_unordered(AT_ONCE).collect::<()>().await;
    for orphan in &decision.deletions {
        delete(context, orphan, deadline).await;
    }
    for notice in decision.notices.difference(reported) {
        // An event that is lost is no reason to hold up the slices; the log has the text.
        let _ = report(context, notice, deadline).await;
    }
}

async fn write(context: &Context, pool: &NodeSlicePool, deadline: Deadline) -> Result<(), ApiError> {
    let collection = NODE_SLICE_POOLS.in_namespace(&context.namespace);
    // No repetition after an unknown outcome: the next pass decides from the object as it is then.
    let policy = RetryPolicy::new(OnUnknown::Stop);
    let name = pool.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let Some(name) = name else { return Ok(()) };
    if pool.metadata.resource_version.is_none() {
        let create = || context.api.create::<IgnoredAny>(&collection, pool, deadline);
        return retry(deadline, policy, create).await.map(drop);
    }
    let path = collection.object(&name);
    let replace = || context.api.replace::<IgnoredAny>(&path, pool, deadline);
    match retry(deadline, policy, replace).await {
        // Conflict: the object changed since. The watch wakes the next pass, which decides again.
        Ok(_) | Err(ApiError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Deletes an object that no network has any more, as it was when that was decided. The next pass repeats a deletion that fails.
async fn delete(context: &Context, pool: &NodeSlicePool, deadline: Deadline) {
    let name = pool.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok());
    let Some(name) = name else { return };
    let path = NODE_SLICE_POOLS.in_namespace(&context.namespace).object(&name);
    let preconditions = Preconditions { uid: None, resource_version: pool.metadata.resource_version.clone() };
    let delete = || context.api.delete(&path, &preconditions, deadline);
    match retry(deadline, RetryPolicy::new(OnUnknown::Repeat), delete).await {
        Ok(()) => tracing::info!(pool = %name, "NodeSlicePool deleted: its networks are gone"),
        Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
        Err(error) => tracing::warn!(pool = %name, %error, "NodeSlicePool not deleted; trying again"),
    }
}

/// Plans the slices whenever networks, nodes or slices change. Never returns.
pub(super) async fn run(context: &Context, shared: &SharedCache) {
    let mut reported = BTreeSet::new();
    loop {
        let decision = {
            let cache = shared.lock();
            let is_synced = cache.has_claims_pools_and_pods()
                && cache.nodes.is_synced()
                && cache.networks.is_synced()
                && cache.slice_pools.is_synced();
            let networks = || networks::parse_networks(cache.networks.iter(), networks::flat_file);
            is_synced.then(|| decide(&cache, &networks(), &context.namespace))
        };
        if let Some(decision) = decision {
            let notices = decision.notices.clone();
            pass(context, decision, &reported).await;
            reported = notices;
        }
        // Nodes that join within this time are planned together.
        tokio::time::sleep(context.timing.settle / 4).await;
        let _ = tokio::time::timeout(context.timing.pass, shared.slice_work.notified()).await;
    }
}
