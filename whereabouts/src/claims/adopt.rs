//! Pools that Whereabouts filled: before the first address is allocated from such a pool, each of its allocations gets a claim, so that no
//! address is allocated twice.

use std::net::IpAddr;

use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, RetryPolicy, retry};
use node::names::DnsSubdomain;

use super::store::Claims;
use crate::crd::allocation_state::{AllocationState, Remover, allocation_state};
use crate::crd::cached::CachedAllocation;
use crate::crd::ip_pool::{self, ClaimNaming};
use crate::crd::reservation::{RESERVATIONS, Reservation, ReservationOwner, ReservationSpec};
use crate::pool::claim_names::{ClaimNames, may_belong_to};
use crate::pool::naming;
use crate::pool::range_pool::NamedPool;

/// Requests in flight while one pool is adopted. The API server serves this many without queueing.
const AT_ONCE: usize = 16;

/// Creates are by name and all writes are idempotent, so each may be sent again after an unknown outcome.
const POLICY: RetryPolicy = RetryPolicy::new(OnUnknown::Repeat);

/// The result of an adoption.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Adopted {
    /// Each allocation has the claims that the pool's naming prescribes, or another pod has its address.
    Done,
    /// As [`Adopted::Done`], but the shared names of some addresses belong to another pool. These have a claim named by pool only.
    SharedNamesTaken,
}

/// Makes claims of the allocations that Whereabouts wrote into the pool's object, by the naming in `pool`.
pub(super) async fn adopt_allocations(
    claims: &Claims<'_>,
    pool: NamedPool<'_>,
    object: &ip_pool::Pool,
) -> Result<Adopted, ApiError> {
    // Allocations that this project wrote show claims that exist or existed; only Whereabouts' own need claims.
    let needs_claim = |(_, _, allocation): &(String, _, &ip_pool::Allocation)| {
        let cached = CachedAllocation::from((*allocation).clone());
        allocation_state(&cached, None, None, Remover::Owner) == AllocationState::NeedsClaim
    };
    let owner = |(_, ip, allocation): (String, IpAddr, &ip_pool::Allocation)| {
        let (podref, ifname) = (allocation.podref.clone(), allocation.ifname.clone());
        (ip, ReservationSpec { podref, ifname, containerid: allocation.id.clone() })
    };
    let owners: Vec<_> = object.entries().into_iter().filter(needs_claim).map(owner).collect();
    let claimed = stream::iter(owners).map(|(ip, spec)| async move {
        ensure_claim(claims, &AllocationToAdopt { names: pool.names, range: pool.range, ip, spec }).await
    });
    let results: Vec<Adopted> = claimed.buffer_unordered(AT_ONCE).try_collect().await?;
    let is_taken = results.contains(&Adopted::SharedNamesTaken);
    Ok(if is_taken { Adopted::SharedNamesTaken } else { Adopted::Done })
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
        let (pool, whole) = (self.names.pool.as_str(), self.names.whole.as_str());
        ReservationOwner {
            pool,
            whole,
            range: self.range,
            pod_uid: None,
            node: None,
            spec: self.spec.clone(),
        }
    }
}

/// The claim that exists under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// Makes the claims of an allocation, by the naming in its `names`, or completes the one that Whereabouts made, which names neither its pool
/// nor its container.
pub(crate) async fn ensure_claim(
    claims: &Claims<'_>,
    allocation: &AllocationToAdopt<'_>,
) -> Result<Adopted, ApiError> {
    let ClaimNames { naming, .. } = allocation.names;
    let name = |scope| naming::claim(allocation.ip, scope);
    // An address whose claim cannot be named cannot be allocated either.
    let (Ok(by_address), Ok(by_pool)) =
        (name(allocation.names.by_address()), name(allocation.names.by_pool()))
    else {
        return Ok(Adopted::Done);
    };
    let shared = match naming {
        ClaimNaming::Address | ClaimNaming::Both => ensure(claims, allocation, &by_address).await?,
        // The one that Whereabouts made beside its allocation is completed, so that DEL finds it.
        ClaimNaming::Pool => complete_existing(claims, allocation, &by_address).await?,
    };
    match (naming, shared) {
        // Another pod of this pool has the address: the allocation is void.
        (ClaimNaming::Address | ClaimNaming::Both, ExistingClaim::OtherPod)
        | (ClaimNaming::Address, ExistingClaim::SamePod) => return Ok(Adopted::Done),
        _ => {}
    }
    // Also in a pool that is named by address, if a claim of an overlapping pool has the shared name, and yet the pod uses the address.
    ensure(claims, allocation, &by_pool).await?;
    let is_shared_name_taken = naming != ClaimNaming::Pool && shared == ExistingClaim::OtherPool;
    Ok(if is_shared_name_taken { Adopted::SharedNamesTaken } else { Adopted::Done })
}

/// Makes sure that the claim of this name exists, and returns whose it is. Never [`ExistingClaim::Absent`].
async fn ensure(
    claims: &Claims<'_>,
    allocation: &AllocationToAdopt<'_>,
    name: &DnsSubdomain,
) -> Result<ExistingClaim, ApiError> {
    loop {
        if let Created::Yes = create(claims, allocation, name).await? {
            return Ok(ExistingClaim::SamePod);
        }
        match complete_existing(claims, allocation, name).await? {
            // Deleted between the create and the GET: create again.
            ExistingClaim::Absent => {}
            existing => return Ok(existing),
        }
    }
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
