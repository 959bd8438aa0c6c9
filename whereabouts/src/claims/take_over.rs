//! Taking over a claim that the same interface of the same pod holds already: from an earlier call, or from the pod's earlier sandbox.

use nad::{PodIdentity, PodRef};
use node::client::{ApiError, retry};
use node::names::DnsSubdomain;

use super::error::ClaimError;
use super::store::{Claims, POLICY};
use crate::crd::reservation::Reservation;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

impl Claims<'_> {
    /// Makes a claim of the same interface of the same pod the caller's. `None` if it changed since it was read.
    ///
    /// The claim is written even if it names the caller's container already. An earlier call for this container may have sent a deletion
    /// before its daemon was killed, and that deletion may arrive seconds later. It carries the old resourceVersion, so a new one stops it.
    pub(super) async fn take_over(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        ip: std::net::IpAddr,
        name: &DnsSubdomain,
        mut present: Reservation,
    ) -> Result<Option<HeldClaim>, ClaimError> {
        if present.container() == claimant.container_id {
            // A nonce forces a new resourceVersion; the API server ignores no-op updates.
            present.renew(fastrand::u64(..));
        } else {
            self.check_successor(claimant, &present).await?;
            present.assign(pool.reservation_owner(claimant));
        }
        Ok(self.replace(name, &present).await?.map(|claim| pool.held_claim(ip, name, &claim)))
    }

    /// Checks that the caller's pod may take over a claim that names another pod UID.
    ///
    /// A pod that was created again under the same name takes over the claim of its predecessor. A late call for the deleted pod must not
    /// take the claim of its successor. So the API server is asked which of the two UIDs the pod has now.
    ///
    /// # Errors
    /// [`ClaimError::PodGone`] if the caller's pod does not exist any more.
    pub(super) async fn check_successor(
        &self,
        claimant: &Claimant,
        present: &Reservation,
    ) -> Result<(), ClaimError> {
        let (Some(uid), Some(other)) = (claimant.pod_uid.as_deref(), present.pod_uid()) else {
            return Ok(());
        };
        let Some(pod) = claimant.podref.parse::<PodRef>().ok().filter(|_| uid != other) else {
            return Ok(());
        };
        let path = pod.object();
        let gone = || ClaimError::PodGone { podref: claimant.podref.clone(), uid: uid.to_owned() };
        match retry(self.deadline, POLICY, || self.api.get_metadata(&path, self.deadline)).await {
            Ok(metadata) if PodIdentity::of(&metadata).is(uid) => Ok(()),
            Ok(_) | Err(ApiError::NotFound { .. }) => Err(gone()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a claim that this call has just created or taken over.
    pub(super) async fn give_up(&self, claimant: &Claimant, claim: &HeldClaim) -> Result<(), ApiError> {
        self.delete_own(claim, |present| present.container() == claimant.container_id).await
    }
}
