//! How an attachment that Whereabouts made is released: its allocation in the pool's object, and the claim beside it.

use std::net::IpAddr;

use node::client::{ApiError, retry};

use super::store::{Claims, POLICY};
use crate::crd::ip_pool::{self, POOLS};
use crate::node_state::record::Record;
use crate::pool::naming;
use crate::pool::range_pool::Pool;

/// Removes the allocations that Whereabouts wrote for a record's container from a pool, each with its claim.
pub(super) async fn remove_allocations(
    claims: &Claims<'_>,
    pool: &Pool,
    record: &Record,
) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let object: ip_pool::Pool =
        match retry(claims.deadline, POLICY, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
    // Whereabouts before 0.8 wrote no interface name.
    let is_own = |allocation: &ip_pool::Allocation| {
        allocation.id == record.container_id
            && (allocation.ifname == record.if_name || allocation.ifname.is_empty())
    };
    for (key, ip, allocation) in object.entries().into_iter().filter(|(_, _, own)| is_own(own)) {
        // First the claim: a crash in between leaves the allocation, which leads to both again.
        remove_claim(claims, pool, ip, allocation).await?;
        claims.remove_entry(&pool.name, key, &allocation.id).await?;
        // The DEL of an earlier sandbox may have written this one into its claim meanwhile (`later_sandbox`).
        for scope in [pool.names().by_address(), pool.names().by_pool()] {
            if let Ok(name) = naming::claim(ip, scope) {
                claims.delete_of(&name, &record.container_id).await?;
            }
        }
    }
    Ok(())
}

/// Deletes the claim that Whereabouts made beside an allocation. It names no container. A claim with our pool label was adopted or is ours:
/// the container in it decides, see [`Claims::release`].
async fn remove_claim(
    claims: &Claims<'_>,
    pool: &Pool,
    ip: IpAddr,
    allocation: &ip_pool::Allocation,
) -> Result<(), ApiError> {
    // An address whose claim cannot be named has none.
    let Ok(name) = naming::claim(ip, pool.names().by_address()) else { return Ok(()) };
    let Some(present) = claims.get(&name).await? else { return Ok(()) };
    let is_whereabouts = present.pool().is_none() && present.container().is_empty();
    if !is_whereabouts || !present.belongs_to(&allocation.podref, &allocation.ifname) {
        return Ok(());
    }
    // If it was adopted meanwhile, it names its container now, and stays.
    claims.delete_unchanged(&name, present).await
}
