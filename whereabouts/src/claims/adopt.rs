//! Pools that Whereabouts filled: each entry gets a claim before the first address is given from the pool, so that none of them is ever
//! given twice; and entries whose pod is deleted go.

use crate::crd::allocation_state;
use crate::crd::ip_pool;
use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::{ApiError, OnUnknown, Patch, RetryPolicy, retry};
use node::names::DnsSubdomain;
use serde_json::json;

use crate::claims::store::Claims;
use crate::conf::OverlappingRanges;
use crate::crd::allocation_state::AllocationState;
use crate::crd::cached::CachedAllocation;
use crate::crd::ip_pool::SeparateUse;
use crate::crd::ip_pool::{ADOPTED, POOLS, PoolMetadata, SEPARATE_SINCE, is_adopted, separation};
use crate::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use crate::pool::claim_names::{ClaimNames, NamingScheme, is_of};
use crate::pool::naming;
use crate::pool::range_pool::Pool;

/// So many claims are made at once: what the API server does without queueing.
const AT_ONCE: usize = 16;

const POLICY: RetryPolicy = RetryPolicy::new(OnUnknown::Repeat);

/// Makes claims of the pool's entries, once in the pool's life, and returns what its object says of its use. A pool that does not exist has
/// no entries; for one that stands for itself the object is made, since it has something to say.
pub async fn adopt(claims: &Claims<'_>, pool: &Pool) -> Result<SeparateUse, ApiError> {
    let said = match pool.overlapping {
        OverlappingRanges::Protected => metadata(claims, &pool.name).await?,
        OverlappingRanges::Separate => Some(mark(claims, &pool.name, pool.range.net).await?),
    };
    match said {
        None => return Ok(SeparateUse::Never),
        Some(metadata) if is_adopted(&metadata) => return Ok(separation(&metadata)),
        Some(metadata) => {
            let pool = pool.clone().read(separation(&metadata), node::clock::now());
            adopt_entries(claims, &pool).await?;
        }
    }
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { ADOPTED: "true" } } }));
    let patched =
        retry(claims.deadline, POLICY, || claims.api.patch::<PoolMetadata>(&path, &patch, claims.deadline));
    // What it says by now: others may have named claims after the pool meanwhile, and this very adoption.
    Ok(separation(&patched.await?.metadata))
}

async fn metadata(claims: &Claims<'_>, pool: &DnsSubdomain) -> Result<Option<ObjectMeta>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool);
    match retry(claims.deadline, POLICY, || claims.api.get_metadata(&path, claims.deadline)).await {
        Ok(metadata) => Ok(Some(metadata)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sees to it that the pool's object says since when the pool is used separately: since now, where it does not say so yet. Returns the
/// object's metadata.
pub async fn mark(claims: &Claims<'_>, pool: &DnsSubdomain, range: IpNet) -> Result<ObjectMeta, ApiError> {
    let collection = POOLS.in_namespace(claims.namespace);
    let path = collection.object(pool);
    loop {
        let since = ip_pool::written(node::clock::now());
        let found = metadata(claims, pool).await?;
        let was_there = found.is_some();
        let written: Result<PoolMetadata, ApiError> = match found {
            Some(metadata) if matches!(separation(&metadata), SeparateUse::Since(_)) => return Ok(metadata),
            Some(metadata) => {
                // The version: a time that another has written meanwhile stands.
                let patch = Patch::Merge(json!({ "metadata": {
                    "resourceVersion": metadata.resource_version,
                    "annotations": { SEPARATE_SINCE: since },
                } }));
                retry(claims.deadline, POLICY, || claims.api.patch(&path, &patch, claims.deadline)).await
            }
            None => {
                let new = ip_pool::Pool::new(pool.as_str(), range, [(SEPARATE_SINCE, since.as_str())]);
                retry(claims.deadline, POLICY, || claims.api.create(&collection, &new, claims.deadline)).await
            }
        };
        match written {
            Ok(written) => return Ok(written.metadata),
            // It is read again.
            Err(ApiError::Conflict { .. } | ApiError::AlreadyExists { .. }) => {}
            Err(ApiError::NotFound { .. }) if was_there => {}
            // Among others, that there is no such kind.
            Err(error) => return Err(error),
        }
    }
}

async fn adopt_entries(claims: &Claims<'_>, pool: &Pool) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let object: ip_pool::Pool =
        retry(claims.deadline, POLICY, || claims.api.get(&path, claims.deadline)).await?;
    // What our leader shows of claims that are there, or were, is no reason for a claim.
    let foreign = |(_, _, entry): &(String, _, &ip_pool::Allocation)| {
        allocation_state::allocation_state(&CachedAllocation::from((*entry).clone()), None, None)
            == AllocationState::NeedsClaim
    };
    let adopted = |(_, ip, entry): (String, IpAddr, &ip_pool::Allocation)| {
        let (podref, ifname) = (entry.podref.clone(), entry.ifname.clone());
        (ip, ReservationSpec { podref, ifname, containerid: entry.id.clone() })
    };
    let adopted: Vec<_> = object.entries().into_iter().filter(foreign).map(adopted).collect();
    let made = stream::iter(adopted).map(|(ip, spec)| async move {
        make(claims, &Adopted { names: pool.names(), range: pool.range.net, ip, spec }).await
    });
    made.buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// An entry that needs a claim.
#[derive(Clone, Debug)]
pub struct Adopted<'a> {
    /// The pool, and what its claims are called.
    pub names: ClaimNames<'a>,
    /// The pool's range.
    pub range: IpNet,
    /// The entry's address.
    pub ip: IpAddr,
    /// Whose it is.
    pub spec: ReservationSpec,
}

impl Adopted<'_> {
    /// What the claim says.
    pub fn holding(&self) -> ReservationOwner<'_> {
        let pool = self.names.pool.as_str();
        ReservationOwner { pool, range: self.range, pod_uid: None, node: None, spec: self.spec.clone() }
    }
}

/// What is under a name.
enum Under {
    /// The pod has its claim.
    Own,
    /// The address is another pod's in this pool: the entry is void.
    Anothers,
    /// Nothing that says to be of this pool.
    Foreign,
    Nothing,
}

/// Makes the claim of an entry, or completes the one that Whereabouts made, which says neither its pool nor its container. Where the pod has
/// a claim of either name, that is it.
pub async fn make(claims: &Claims<'_>, entry: &Adopted<'_>) -> Result<(), ApiError> {
    let ClaimNames { pool, way, .. } = entry.names;
    // An address whose claim has no name cannot be given out either.
    let (Ok(name), Ok(alternate)) = (entry.names.claim(entry.ip), entry.names.alternate(entry.ip)) else {
        return Ok(());
    };
    if let Some(alternate) = alternate
        && let Under::Own | Under::Anothers = look(claims, entry, &alternate).await?
    {
        return Ok(());
    }
    loop {
        if create(claims, entry, &name).await? {
            return Ok(());
        }
        match look(claims, entry, &name).await? {
            Under::Own | Under::Anothers => return Ok(()),
            Under::Nothing => {}
            Under::Foreign => break,
        }
    }
    // The shared name is with another pool whose range overlaps. The pod has the address all the same.
    let Ok(apart) = naming::claim(entry.ip, entry.names.apart()) else { return Ok(()) };
    if way == NamingScheme::Shared {
        mark(claims, pool, entry.range).await?;
    }
    if apart != name {
        create(claims, entry, &apart).await?;
    }
    Ok(())
}

/// Whether the claim was made; if not, there is one of this name.
async fn create(claims: &Claims<'_>, entry: &Adopted<'_>, name: &DnsSubdomain) -> Result<bool, ApiError> {
    let collection = RESERVATIONS.in_namespace(claims.namespace);
    let claim = Reservation::new(name.as_str(), entry.holding());
    let create = || claims.api.create::<Reservation>(&collection, &claim, claims.deadline);
    match retry(claims.deadline, POLICY, create).await {
        Ok(_) => Ok(true),
        Err(ApiError::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Looks at a name, and completes the pod's own claim.
async fn look(claims: &Claims<'_>, entry: &Adopted<'_>, name: &DnsSubdomain) -> Result<Under, ApiError> {
    let Some(mut present) = claims.get(name).await? else { return Ok(Under::Nothing) };
    let said = present.pool().map(str::to_owned);
    match said {
        Some(pool) if !is_of(entry.names.pool.as_str(), Some(&pool)) => return Ok(Under::Foreign),
        None if present.spec.podref != entry.spec.podref => return Ok(Under::Foreign),
        // Another node has adopted it, or a pod of ours has the address.
        Some(_) if present.spec.podref == entry.spec.podref => return Ok(Under::Own),
        Some(_) => return Ok(Under::Anothers),
        None => present.assign(entry.holding()),
    }
    let path = RESERVATIONS.in_namespace(claims.namespace).object(name);
    let replaced = retry(claims.deadline, POLICY, || {
        claims.api.replace::<Reservation>(&path, &present, claims.deadline)
    });
    match replaced.await {
        // Another was faster, or it is released by now.
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(Under::Own),
        Err(error) => Err(error),
    }
}

/// Removes the entries of one container from a pool, if Whereabouts had made any, and only as long as they are that container's.
pub async fn remove_entries(
    claims: &Claims<'_>,
    pool: &Pool,
    container_id: &str,
    if_name: &str,
) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let object: ip_pool::Pool =
        match retry(claims.deadline, POLICY, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
    let is_own = |entry: &ip_pool::Allocation| {
        entry.id == container_id && (entry.ifname == if_name || entry.ifname.is_empty())
    };
    for (key, _, entry) in object.entries().into_iter().filter(|(_, _, entry)| is_own(entry)) {
        let patch = Patch::Json(json!([
            { "op": "test", "path": format!("/spec/allocations/{key}/id"), "value": entry.id },
            { "op": "remove", "path": format!("/spec/allocations/{key}") },
        ]));
        let patched = retry(claims.deadline, POLICY, || {
            claims.api.patch::<serde_json::Value>(&path, &patch, claims.deadline)
        });
        match patched.await {
            // A test that does not hold: the entry is gone, or another container's.
            Ok(_) | Err(ApiError::Invalid { .. } | ApiError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
