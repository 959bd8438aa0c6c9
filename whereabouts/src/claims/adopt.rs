//! Pools that Whereabouts filled: before the first address is allocated from such a pool, each of its allocations gets a claim, so that no
//! address is allocated twice.

use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::client::{ApiError, OnUnknown, Patch, RetryPolicy, retry};
use node::names::DnsSubdomain;
use serde_json::json;

use super::store::Claims;
use crate::conf::OverlappingRanges;
use crate::crd::allocation_state::{AllocationState, allocation_state};
use crate::crd::cached::CachedAllocation;
use crate::crd::ip_pool::{
    self, ADOPTED, POOLS, PoolMetadata, SEPARATE_SINCE, SeparateUse, is_adopted, separate_use,
};
use crate::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use crate::pool::claim_names::{ClaimNames, NamingScheme, may_belong_to};
use crate::pool::naming;
use crate::pool::range_pool::Pool;

/// Requests in flight while one pool is adopted. The API server serves this many without queueing.
const AT_ONCE: usize = 16;

/// Creates are by name and all writes are idempotent, so each may be sent again after an unknown outcome.
const POLICY: RetryPolicy = RetryPolicy::new(OnUnknown::Repeat);

/// Makes claims of the pool's allocations, unless its object says that this was done. Returns the pool's [`SeparateUse`].
///
/// A pool without an object has no allocations. If the request is for a separate pool, the object is created, because it records since when
/// the pool is used separately.
pub(crate) async fn adopt(claims: &Claims<'_>, pool: &Pool) -> Result<SeparateUse, ApiError> {
    let found = match pool.overlapping {
        OverlappingRanges::Protected => metadata(claims, &pool.name).await?,
        OverlappingRanges::Separate => Some(ensure_separate_since(claims, &pool.name, pool.range.net).await?),
    };
    match found {
        None => return Ok(SeparateUse::Never),
        Some(metadata) if is_adopted(&metadata) => return Ok(separate_use(&metadata)),
        Some(metadata) => {
            let pool = pool.clone().with_separate_use(separate_use(&metadata), node::clock::now());
            adopt_allocations(claims, &pool).await?;
        }
    }
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { ADOPTED: "true" } } }));
    let patched =
        retry(claims.deadline, POLICY, || claims.api.patch::<PoolMetadata>(&path, &patch, claims.deadline));
    // The value after the patch: this adoption, or another call meanwhile, may have named claims after the pool.
    Ok(separate_use(&patched.await?.metadata))
}

async fn metadata(claims: &Claims<'_>, pool: &DnsSubdomain) -> Result<Option<ObjectMeta>, ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(pool);
    match retry(claims.deadline, POLICY, || claims.api.get_metadata(&path, claims.deadline)).await {
        Ok(metadata) => Ok(Some(metadata)),
        Err(ApiError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes sure that the pool's object records since when the pool is used separately, with the present time if it has none. Returns the
/// object's metadata. All concurrent callers return the same time.
pub(crate) async fn ensure_separate_since(
    claims: &Claims<'_>,
    pool: &DnsSubdomain,
    range: IpNet,
) -> Result<ObjectMeta, ApiError> {
    let collection = POOLS.in_namespace(claims.namespace);
    let path = collection.object(pool);
    loop {
        let since = ip_pool::rfc3339_seconds(node::clock::now());
        let found = metadata(claims, pool).await?;
        let existed = found.is_some();
        let written: Result<PoolMetadata, ApiError> = match found {
            Some(metadata) if matches!(separate_use(&metadata), SeparateUse::Since(_)) => {
                return Ok(metadata);
            }
            Some(metadata) => {
                // With the resourceVersion: a time that another caller has written meanwhile stays.
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
            // Another caller wrote first, or the object was deleted since it was read: read again.
            Err(ApiError::Conflict { .. } | ApiError::AlreadyExists { .. }) => {}
            Err(ApiError::NotFound { .. }) if existed => {}
            // A create that returns 404 means that the IPPool definition is not installed.
            Err(error) => return Err(error),
        }
    }
}

async fn adopt_allocations(claims: &Claims<'_>, pool: &Pool) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let object: ip_pool::Pool =
        retry(claims.deadline, POLICY, || claims.api.get(&path, claims.deadline)).await?;
    // Allocations that our leader wrote show claims that exist or existed; only Whereabouts' own need claims.
    let needs_claim = |(_, _, allocation): &(String, _, &ip_pool::Allocation)| {
        let cached = CachedAllocation::from((*allocation).clone());
        allocation_state(&cached, None, None) == AllocationState::NeedsClaim
    };
    let owner = |(_, ip, allocation): (String, IpAddr, &ip_pool::Allocation)| {
        let (podref, ifname) = (allocation.podref.clone(), allocation.ifname.clone());
        (ip, ReservationSpec { podref, ifname, containerid: allocation.id.clone() })
    };
    let owners: Vec<_> = object.entries().into_iter().filter(needs_claim).map(owner).collect();
    let claimed = stream::iter(owners).map(|(ip, spec)| async move {
        let allocation = AllocationToAdopt { names: pool.names(), range: pool.range.net, ip, spec };
        ensure_claim(claims, &allocation).await
    });
    claimed.buffer_unordered(AT_ONCE).try_collect::<()>().await
}

/// An allocation that needs a claim.
#[derive(Clone, Debug)]
pub(crate) struct AllocationToAdopt<'a> {
    /// The pool, and how its claims are named.
    pub names: ClaimNames<'a>,
    /// The pool's range.
    pub range: IpNet,
    /// The allocated address.
    pub ip: IpAddr,
    /// Pod, interface and container.
    pub spec: ReservationSpec,
}

impl AllocationToAdopt<'_> {
    fn owner(&self) -> ReservationOwner<'_> {
        let pool = self.names.pool.as_str();
        ReservationOwner { pool, range: self.range, pod_uid: None, node: None, spec: self.spec.clone() }
    }
}

/// The claim that exists under a name.
enum ExistingClaim {
    /// The allocation's pod holds it.
    SamePod,
    /// Another pod holds the address in this pool: the allocation is void.
    OtherPod,
    /// It belongs to another pool, or it names neither this pool nor this pod.
    OtherPool,
    Absent,
}

/// Whether a create made the claim.
enum Created {
    Yes,
    NameTaken,
}

/// Makes the claim of an allocation, or completes the one that Whereabouts made, which names neither its pool nor its container. A claim
/// of the pod under either of the address's two names is enough.
pub(crate) async fn ensure_claim(
    claims: &Claims<'_>,
    allocation: &AllocationToAdopt<'_>,
) -> Result<(), ApiError> {
    let ClaimNames { pool, scheme, .. } = allocation.names;
    let names = (allocation.names.primary(allocation.ip), allocation.names.alternate(allocation.ip));
    // An address whose claim cannot be named cannot be allocated either.
    let (Ok(name), Ok(alternate)) = names else { return Ok(()) };
    if let Some(alternate) = alternate
        && let ExistingClaim::SamePod | ExistingClaim::OtherPod =
            complete_existing(claims, allocation, &alternate).await?
    {
        return Ok(());
    }
    loop {
        if let Created::Yes = create(claims, allocation, &name).await? {
            return Ok(());
        }
        match complete_existing(claims, allocation, &name).await? {
            ExistingClaim::SamePod | ExistingClaim::OtherPod => return Ok(()),
            // Deleted between the create and the GET: create again.
            ExistingClaim::Absent => {}
            ExistingClaim::OtherPool => break,
        }
    }
    // A claim of an overlapping pool has the shared name, and yet the pod uses the address. Its claim is named after this pool, and the
    // object must say so, else nobody would check that name.
    let Ok(by_pool) = naming::claim(allocation.ip, allocation.names.by_pool()) else { return Ok(()) };
    if scheme == NamingScheme::Shared {
        ensure_separate_since(claims, pool, allocation.range).await?;
    }
    if by_pool != name {
        create(claims, allocation, &by_pool).await?;
    }
    Ok(())
}

async fn create(
    claims: &Claims<'_>,
    allocation: &AllocationToAdopt<'_>,
    name: &DnsSubdomain,
) -> Result<Created, ApiError> {
    let collection = RESERVATIONS.in_namespace(claims.namespace);
    let claim = Reservation::new(name.as_str(), allocation.owner());
    let create = || claims.api.create::<Reservation>(&collection, &claim, claims.deadline);
    match retry(claims.deadline, POLICY, create).await {
        Ok(_) => Ok(Created::Yes),
        Err(ApiError::AlreadyExists { .. }) => Ok(Created::NameTaken),
        Err(error) => Err(error),
    }
}

/// Reads the claim of this name. If Whereabouts made it for the allocation's pod, writes the pool and the container into it.
async fn complete_existing(
    claims: &Claims<'_>,
    allocation: &AllocationToAdopt<'_>,
    name: &DnsSubdomain,
) -> Result<ExistingClaim, ApiError> {
    let Some(mut present) = claims.get(name).await? else { return Ok(ExistingClaim::Absent) };
    let pool = present.pool().map(str::to_owned);
    let is_same_pod = present.spec.podref == allocation.spec.podref;
    match pool {
        Some(pool) if !may_belong_to(allocation.names.pool.as_str(), Some(&pool)) => {
            return Ok(ExistingClaim::OtherPool);
        }
        None if !is_same_pod => return Ok(ExistingClaim::OtherPool),
        // Another node adopted the allocation before, or our plugin allocated the address.
        Some(_) if is_same_pod => return Ok(ExistingClaim::SamePod),
        Some(_) => return Ok(ExistingClaim::OtherPod),
        None => present.assign(allocation.owner()),
    }
    let path = RESERVATIONS.in_namespace(claims.namespace).object(name);
    let replaced = retry(claims.deadline, POLICY, || {
        claims.api.replace::<Reservation>(&path, &present, claims.deadline)
    });
    match replaced.await {
        // Conflict or 404: another caller completed the claim first, or it was released.
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(ExistingClaim::SamePod),
        Err(error) => Err(error),
    }
}
