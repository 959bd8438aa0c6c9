//! Pools that Whereabouts filled: each entry gets a claim before the first address is given from the pool, so that none of them is ever
//! given twice; and entries whose pod is deleted go.

use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use node::client::{ApiError, OnUnknown, Patch, RetryPolicy, retry};
use node::names::DnsSubdomain;
use serde_json::json;

use crate::claim::Claims;
use crate::objects::{self, ADOPTED, Holding, POOLS, RESERVATIONS, Reservation, ReservationSpec, is_adopted};
use crate::pool::Pool;
use crate::seen::SeenEntry;
use crate::view::{self, Fate};

/// So many claims are made at once: what the API server does without queueing.
const AT_ONCE: usize = 16;

/// Makes claims of the pool's entries, once in the pool's life. A pool that does not exist has none.
pub async fn adopt(claims: &Claims<'_>, pool: &Pool) -> Result<(), ApiError> {
    let path = POOLS.in_namespace(claims.namespace).object(&pool.name);
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let metadata = retry(claims.deadline, policy, || claims.api.get_metadata(&path, claims.deadline)).await;
    match metadata {
        Err(ApiError::NotFound { .. }) => return Ok(()),
        Ok(metadata) if is_adopted(&metadata) => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let object: objects::Pool =
        retry(claims.deadline, policy, || claims.api.get(&path, claims.deadline)).await?;
    let adopted = entries(pool, &object);
    let made = stream::iter(adopted).map(|claim| async move { make(claims, &claim).await });
    made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { ADOPTED: "true" } } }));
    let patched = retry(claims.deadline, policy, || {
        claims.api.patch::<serde_json::Value>(&path, &patch, claims.deadline)
    });
    patched.await.map(drop)
}

fn entries(pool: &Pool, object: &objects::Pool) -> Vec<Reservation> {
    let claim = |(_, ip, entry): (String, _, &objects::Allocation)| {
        // An address whose claim has no name cannot be given out either.
        let name = pool.claim_name(ip).ok()?;
        let spec = ReservationSpec {
            podref: entry.podref.clone(),
            ifname: entry.ifname.clone(),
            containerid: entry.id.clone(),
        };
        Some(Reservation::new(name.as_str(), of_entry(pool.name.as_str(), pool.range.net, spec)))
    };
    // What our leader shows of claims that are there, or were, is no reason for a claim.
    let foreign = |(_, _, entry): &(String, _, &objects::Allocation)| {
        view::fate(&SeenEntry::from((*entry).clone()), None, None) == Fate::Adopt
    };
    object.entries().into_iter().filter(foreign).filter_map(claim).collect()
}

/// What an entry of a pool says.
pub fn of_entry(pool: &str, range: IpNet, spec: ReservationSpec) -> Holding<'_> {
    Holding { pool, range, pod_uid: None, node: None, spec }
}

/// Makes the claim of an entry, or completes the one that Whereabouts made, which says neither its pool nor its container.
pub async fn make(claims: &Claims<'_>, claim: &Reservation) -> Result<(), ApiError> {
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let collection = RESERVATIONS.in_namespace(claims.namespace);
    let create = || claims.api.create::<Reservation>(&collection, claim, claims.deadline);
    match retry(claims.deadline, policy, create).await {
        Ok(_) => return Ok(()),
        Err(ApiError::AlreadyExists { .. }) => {}
        Err(error) => return Err(error),
    }
    let Some(name) = claim.metadata.name.clone().and_then(|name| DnsSubdomain::new(name).ok()) else {
        return Ok(());
    };
    let path = collection.object(&name);
    let present =
        retry(claims.deadline, policy, || claims.api.get::<Reservation>(&path, claims.deadline)).await;
    let mut present = match present {
        Ok(present) if present.pool().is_none() && present.spec.podref == claim.spec.podref => present,
        // Another node has adopted it, or the address is another pod's; or it is released by now.
        Ok(_) | Err(ApiError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let (Some(pool), Some(range)) = (claim.pool(), claim.range()) else { return Ok(()) };
    present.assign(Holding { pool, range, pod_uid: None, node: None, spec: claim.spec.clone() });
    let replaced = retry(claims.deadline, policy, || {
        claims.api.replace::<Reservation>(&path, &present, claims.deadline)
    });
    match replaced.await {
        Ok(_) | Err(ApiError::Conflict { .. } | ApiError::NotFound { .. }) => Ok(()),
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
    let policy = RetryPolicy::new(OnUnknown::Repeat);
    let object: objects::Pool =
        match retry(claims.deadline, policy, || claims.api.get(&path, claims.deadline)).await {
            Ok(object) => object,
            Err(ApiError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
    let is_own = |entry: &objects::Allocation| {
        entry.id == container_id && (entry.ifname == if_name || entry.ifname.is_empty())
    };
    for (key, _, entry) in object.entries().into_iter().filter(|(_, _, entry)| is_own(entry)) {
        let patch = Patch::Json(json!([
            { "op": "test", "path": format!("/spec/allocations/{key}/id"), "value": entry.id },
            { "op": "remove", "path": format!("/spec/allocations/{key}") },
        ]));
        let patched = retry(claims.deadline, policy, || {
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
