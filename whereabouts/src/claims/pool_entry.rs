//! The entry of an address in the pool's object, where it is a part of the lock ([`PoolLock::ClaimAndEntry`](crate::pool::claim_names::PoolLock)).
//!
//! Each write is a JSON patch with a test of that one entry, and without a resourceVersion: writers of other entries do not disturb it. The API
//! server answers 422 if the test fails. Then the object is read, and says why.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::IpAddr;
use std::time::Duration;

use node::client::{ApiError, Patch, retry};
use node::names::DnsSubdomain;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::later_sandbox::Place;
use super::naming;
use super::store::{Claims, POLICY};
use crate::crd::ip_pool::{self, Allocation, ENTRIES, POOLS, has_counts_only};
use crate::crd::reservation::Reservation;
use crate::pool::range_pool::{NamedPool, Pool};
use crate::pool::request::Claimant;

/// The most that a writer waits after a 409. The API server has tried its patch five times by then, against other writers of the object.
const MAX_WAIT: Duration = Duration::from_millis(50);

/// How often the API server may refuse an entry. The object may change between the patch and the read that follows. A server that refuses more
/// often refuses the entry itself, as an admission policy does.
const MAX_REFUSALS: u32 = 5;

/// The result of [`Claims::write_entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum EntryWrite {
    /// The address has the caller's entry.
    Written,
    /// The pool has more claims than entries fit into one object, so Whereabouts cannot use it.
    NotKept,
    /// The address has the entry of another pod. All addresses with an entry, with the podref.
    Taken(BTreeMap<IpAddr, String>),
}

/// The result of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patched {
    Done,
    /// The object would be larger than the API server stores.
    TooLarge,
}

/// What the object says about an address whose entry was not written.
enum Present {
    /// The entry is the caller's; of this container.
    Own(String),
    Other(BTreeMap<IpAddr, String>),
    Absent,
    NotKept,
}

impl Claims<'_> {
    /// Writes the caller's entry for an address whose claim it created.
    ///
    /// After an error the entry may be there: DEL finds it by the claim, which must stay.
    pub(super) async fn write_entry(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: IpAddr,
        key: u64,
    ) -> Result<EntryWrite, ApiError> {
        let entry = Allocation {
            id: claimant.container_id.clone(),
            podref: claimant.podref.clone(),
            ifname: claimant.if_name.clone(),
            via: Some(ip_pool::via(&claimant.container_id)),
        };
        let (mut patch, mut refusals) = (add(key, &entry), 0);
        loop {
            match self.patch_pool(&pool.name, &patch).await {
                Ok(Patched::Done) => return Ok(EntryWrite::Written),
                Ok(Patched::TooLarge) => return Ok(EntryWrite::NotKept),
                Err(ApiError::NotFound { .. }) => naming::create(self, NamedPool::of(pool)).await?,
                Err(ApiError::Invalid { code: 422, .. }) if refusals < MAX_REFUSALS => {
                    refusals += 1;
                    match self.present(pool, claimant, ip).await? {
                        Present::Own(container) if container == claimant.container_id => {
                            return Ok(EntryWrite::Written);
                        }
                        Present::Own(container) => patch = replace(key, &container, &entry),
                        Present::Other(owners) => return Ok(EntryWrite::Taken(owners)),
                        Present::NotKept => return Ok(EntryWrite::NotKept),
                        Present::Absent => patch = add(key, &entry),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes the entry of a key, if it is that of this container.
    pub(crate) async fn remove_entry(
        &self,
        pool: &DnsSubdomain,
        key: impl Display,
        container: &str,
    ) -> Result<(), ApiError> {
        let path = entry_path(key);
        let patch = json!([
            { "op": "test", "path": format!("{path}/id"), "value": container },
            { "op": "remove", "path": path },
        ]);
        match self.patch_pool(pool, &patch).await {
            // 422: it belongs to another container by now, or there is none.
            Ok(_) | Err(ApiError::Invalid { .. } | ApiError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes the entry that belongs to a claim, if it is that of the claim's container.
    pub(super) async fn remove_entry_of(&self, claim: &Reservation) -> Result<(), ApiError> {
        let (Some(Place { pool, ip }), Some(range)) = (Place::of(claim), claim.range()) else {
            return Ok(());
        };
        let Some(key) = ip_pool::entry_key(&range, ip) else { return Ok(()) };
        self.remove_entry(&pool, key, claim.container()).await
    }

    /// Patches a pool's object. Tries again after a conflict with other writers.
    async fn patch_pool(&self, pool: &DnsSubdomain, patch: &Value) -> Result<Patched, ApiError> {
        let path = POOLS.in_namespace(self.namespace).object(pool);
        let patch = &Patch::Json(patch.clone());
        let send = || async {
            match self.api.patch::<IgnoredAny>(&path, patch, self.deadline).await {
                Ok(_) => Ok(Patched::Done),
                // Inside `retry`, which would repeat a 500.
                Err(error) if is_too_large(&error) => Ok(Patched::TooLarge),
                Err(error) => Err(error),
            }
        };
        loop {
            match retry(self.deadline, POLICY, send).await {
                // Once the deadline has passed, the request itself fails.
                Err(ApiError::Conflict { .. }) => {
                    tokio::time::sleep(MAX_WAIT.mul_f64(fastrand::f64())).await;
                }
                patched => return patched,
            }
        }
    }

    async fn present(&self, pool: &Pool, claimant: &Claimant, ip: IpAddr) -> Result<Present, ApiError> {
        let path = POOLS.in_namespace(self.namespace).object(&pool.name);
        let get = || self.api.get::<ip_pool::Pool>(&path, self.deadline);
        let object = match retry(self.deadline, POLICY, get).await {
            Ok(object) => object,
            // The next patch makes it again.
            Err(ApiError::NotFound { .. }) => return Ok(Present::Absent),
            Err(error) => return Err(error),
        };
        if has_counts_only(&object.metadata) {
            return Ok(Present::NotKept);
        }
        let entries = object.entries();
        let Some((_, _, entry)) = entries.iter().find(|(_, address, _)| *address == ip) else {
            return Ok(Present::Absent);
        };
        if is_own(entry, claimant) {
            return Ok(Present::Own(entry.id.clone()));
        }
        Ok(Present::Other(entries.into_iter().map(|(_, ip, entry)| (ip, entry.podref.clone())).collect()))
    }
}

/// Whether an entry is that of the caller's interface, from this sandbox or an earlier one. The caller holds the claim. An entry without an
/// interface may be another interface's, unless it names the caller's container.
fn is_own(entry: &Allocation, claimant: &Claimant) -> bool {
    let is_same_container = entry.id == claimant.container_id;
    let is_same_pod = entry.podref == claimant.podref && claimant.pod_uid.is_some();
    match entry.ifname.as_str() {
        "" => is_same_container,
        ifname => ifname == claimant.if_name && (is_same_container || is_same_pod),
    }
}

fn entry_path(key: impl Display) -> String {
    format!("/spec/allocations/{key}")
}

/// The patch that adds an entry where there is none, unless the object keeps no entries.
fn add(key: u64, entry: &Allocation) -> Value {
    // A test for null holds if there is no such value. RFC 6901 writes "/" in a key as "~1".
    let counts_only = format!("/metadata/annotations/{}", ENTRIES.replace('/', "~1"));
    json!([
        { "op": "test", "path": counts_only, "value": null },
        { "op": "test", "path": entry_path(key), "value": null },
        { "op": "add", "path": entry_path(key), "value": entry },
    ])
}

/// The patch that replaces the entry of an earlier container.
fn replace(key: u64, container: &str, entry: &Allocation) -> Value {
    let path = entry_path(key);
    json!([
        { "op": "test", "path": format!("{path}/id"), "value": container },
        { "op": "replace", "path": path, "value": entry },
    ])
}

/// Whether the API server refuses the object for its size: 413, or the limits of etcd and of the connection to it, which arrive as 500.
fn is_too_large(error: &ApiError) -> bool {
    match error {
        ApiError::Invalid { code, .. } => *code == 413,
        ApiError::OutcomeUnknown { cause, .. } => {
            let cause = cause.to_string();
            ["request is too large", "message larger than max"].iter().any(|text| cause.contains(text))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
