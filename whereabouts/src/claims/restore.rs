//! The claim of a live attachment that somebody else deleted, for example by hand: who has the address now, and how the claim is made again.
//!
//! The caller decides whether to make it again ([`crate::daemon`]). Here are the requests, and what their responses mean.

use std::net::IpAddr;

use ipnet::IpNet;
use nad::{PodIdentity, PodRef};
use node::client::{ApiError, retry};
use node::names::DnsSubdomain;

use super::store::{Claims, POLICY};
use crate::crd::reservation::{Reservation, ReservationOwner, ReservationSpec};
use crate::node_state::record::Record;
use crate::pool::held_claim::HeldClaim;
use crate::pool::naming::{self, ClaimScope, pool_prefix};

/// Who has the name of a recorded claim.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Holder {
    /// The attachment, or a newer sandbox of its pod.
    Attachment,
    /// Nobody: the claim is missing.
    Nobody,
    /// Another pod.
    Other(Box<Reservation>),
}

/// Whether the pod of a record exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PodLife {
    /// The API server has the pod, with the UID of the record.
    Lives,
    /// It has no such pod, or the record has no UID to compare.
    GoneOrUnknown,
}

impl Claims<'_> {
    /// Who has the name of a recorded claim now.
    pub(crate) async fn holder(&self, record: &Record, claim: &HeldClaim) -> Result<Holder, ApiError> {
        let mut holder = Holder::Attachment;
        for (name, _) in claim.objects() {
            match self.get(name).await? {
                None => holder = Holder::Nobody,
                Some(present)
                    if record.owns(&present) || present.belongs_to(&record.podref, &record.if_name) => {}
                Some(present) => return Ok(Holder::Other(Box::new(present))),
            }
        }
        Ok(holder)
    }

    /// Whether the pod of a record exists. An address of a pod that is gone must not be claimed again: the leader has reclaimed it.
    pub(crate) async fn pod_life(&self, record: &Record) -> Result<PodLife, ApiError> {
        let pod = record.podref.parse::<PodRef>().ok().zip(record.pod_uid.as_deref());
        let Some((pod, uid)) = pod else { return Ok(PodLife::GoneOrUnknown) };
        let path = pod.object();
        match retry(self.deadline, POLICY, || self.api.get_metadata(&path, self.deadline)).await {
            Ok(metadata) if PodIdentity::of(&metadata).is(uid) => Ok(PodLife::Lives),
            Ok(_) | Err(ApiError::NotFound { .. }) => Ok(PodLife::GoneOrUnknown),
            Err(error) => Err(error),
        }
    }

    /// Creates a recorded claim again. `None` if somebody else has created it by now.
    pub(crate) async fn create_again(
        &self,
        record: &Record,
        claim: &HeldClaim,
        node: &str,
    ) -> Result<Option<HeldClaim>, ApiError> {
        let mut versions = Vec::new();
        for (name, version) in claim.objects() {
            match self.create_one(record, claim, name, node).await? {
                Some(created) => versions.push(created),
                // Of two names, the other one may still be there.
                None if claim.second.is_some()
                    && self.get(name).await?.is_some_and(|present| record.owns(&present)) =>
                {
                    versions.push(version.to_owned());
                }
                None => return Ok(None),
            }
        }
        let mut versions = versions.into_iter();
        let mut created = claim.clone();
        created.resource_version = versions.next().unwrap_or_default();
        if let (Some(second), Some(version)) = (&mut created.second, versions.next()) {
            second.resource_version = version;
        }
        Ok(Some(created))
    }

    /// Creates a claim of this name again, and returns its resourceVersion. `None` if the name is taken.
    async fn create_one(
        &self,
        record: &Record,
        claim: &HeldClaim,
        name: &DnsSubdomain,
        node: &str,
    ) -> Result<Option<String>, ApiError> {
        let address = claim.address.addr();
        let owner = ReservationOwner {
            pool: &claim.pool,
            whole: whole_of(claim),
            range: range_of(&claim.pool, address).unwrap_or_else(|| claim.address.trunc()),
            pod_uid: record.pod_uid.as_deref(),
            node: Some(node),
            spec: ReservationSpec {
                podref: record.podref.clone(),
                ifname: record.if_name.clone(),
                containerid: record.container_id.clone(),
            },
        };
        let reservation = Reservation::new(name.as_str(), owner);
        let collection = self.collection();
        let create = || self.api.create::<Reservation>(&collection, &reservation, self.deadline);
        match retry(self.deadline, POLICY, create).await {
            Ok(created) => Ok(Some(created.metadata.resource_version.unwrap_or_default())),
            // After a create with an unknown outcome this may be our own: it is right then, too.
            Err(ApiError::AlreadyExists { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a claim that [`Claims::create_again`] made while the attachment was deleted, unless it changed since.
    pub(crate) async fn undo_create(&self, created: &HeldClaim) -> Result<(), ApiError> {
        for (name, version) in created.objects() {
            match self.delete(name, version).await {
                Ok(()) | Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The pool of the whole range: the beginning of a name by pool. A claim named by address does not tell it; then it is the claim's own pool,
/// which is the same unless the node has a slice.
fn whole_of(claim: &HeldClaim) -> &str {
    let address = naming::claim(claim.address.addr(), ClaimScope::Shared { network: None });
    let suffix = address.map(|address| format!("-{address}")).unwrap_or_default();
    let whole = claim.objects().filter_map(|(name, _)| name.as_str().strip_suffix(&suffix));
    let is_range = |whole: &&str| range_of(whole, claim.address.addr()).is_some();
    whole.filter(is_range).last().unwrap_or(&claim.pool)
}

/// The range of the pool of this name: the one that contains `address` and whose text ends the name. In a node's slice it is the slice.
fn range_of(pool: &str, address: IpAddr) -> Option<IpNet> {
    let (_, length) = pool.rsplit_once('-')?;
    let range = IpNet::new(address, length.parse().ok()?).ok()?.trunc();
    pool_prefix(pool, &range).map(|_| range)
}

#[cfg(test)]
mod tests {
    use super::range_of;

    #[test]
    fn the_range_of_a_pool_is_read_from_its_name() {
        let table = [
            ("10.0.0.0-8", "10.1.2.3", Some("10.0.0.0/8")),
            ("n1-10.0.0.64-26", "10.0.0.70", Some("10.0.0.64/26")),
            ("blue-node-1-10.0.0.64-26", "10.0.0.70", Some("10.0.0.64/26")),
            ("fd00---64", "fd00::5", Some("fd00::/64")),
            ("0---64", "::5", Some("::/64")),
            ("10.0.0.0-24", "10.0.1.1", None),
            ("10.0.0.0-99", "10.0.0.1", None),
            ("banana", "10.0.0.1", None),
        ];
        for (pool, address, range) in table {
            let found = range_of(pool, address.parse().unwrap()).map(|range| range.to_string());
            assert_eq!(found.as_deref(), range, "{pool}");
        }
    }
}
