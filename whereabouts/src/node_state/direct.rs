//! The candidate source of a plugin without a daemon: the hint files, and what the call learns itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use node::client::ApiError;

use super::concurrency::Slot;
use super::hints::HintStore;
use super::pins::Pin;
use super::single_flight::single_flight;
use crate::crd::ip_pool::ClaimNaming;
use crate::pool::candidates::{CandidateCursor, CandidateSource, Listing};
use crate::pool::choose::NoCandidate;
use crate::pool::held_claim::HeldClaim;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
use crate::pool::search::{Hint, Search};

/// The cursor of one call without a daemon.
#[derive(Debug)]
pub struct DirectCursor {
    store: HintStore,
    pool: Pool,
    claimant: Claimant,
    start: Option<IpAddr>,
    search: Search,
    slot: Slot,
}

impl DirectCursor {
    fn write_hint(&self, hint: Hint) {
        self.store.write(self.pool.name.as_str(), self.start, hint);
    }
}

impl CandidateSource for HintStore {
    type CandidateCursor = DirectCursor;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> DirectCursor {
        let name = pool.name.as_str();
        let hints = self.pool_hints(name, claimant.owner(), &claimant.if_name);
        DirectCursor {
            store: self.clone(),
            pool: pool.clone(),
            claimant: claimant.clone(),
            start: hints.start,
            search: Search::new(hints),
            slot: self.take_slot(name),
        }
    }

    async fn naming(
        &self,
        pool: &Pool,
        read: impl Future<Output = Result<ClaimNaming, ApiError>> + Send,
    ) -> Result<ClaimNaming, ApiError> {
        let name = pool.name.as_str();
        self.lock_slot(name);
        let ask = async {
            let naming = read.await?;
            self.set_naming(name, naming);
            Ok(naming)
        };
        single_flight(&self.reading(name), || self.recent_naming(name), ask).await
    }

    fn forget(&self, pool: &Pool) {
        self.remove_naming(pool.name.as_str());
    }

    fn has_pin(&self, pool: &Pool) -> bool {
        self.counting_pin(pool).is_some()
    }

    fn set_pin(&self, pool: &Pool, claimant: &Claimant, claim: &HeldClaim) {
        // One file holds one pin. The older one stays: the newest pod is often the first that ends, and then the next call would read the
        // pool's object again. But a sandbox that takes the pinned claim over becomes its holder, whose DEL must find the pin.
        if self.counting_pin(pool).is_some_and(|pin| !claim.is_named(&pin.claim)) {
            return;
        }
        let Claimant { container_id, if_name, .. } = claimant.clone();
        self.write_pin(
            &claim.pool,
            &Pin { naming: pool.naming(), claim: claim.name.clone(), container_id, if_name },
        );
    }

    fn used(&self, _pool: &Pool) -> Option<u128> {
        None
    }
}

impl CandidateCursor for DirectCursor {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        conflicts: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        self.search.next(pool, requested, conflicts, self.slot.callers(), fastrand::u64(..))
    }

    fn allocated(&mut self, ip: IpAddr) {
        let Claimant { if_name, container_id, .. } = &self.claimant;
        let (pool, owner) = (self.pool.name.as_str(), self.claimant.owner());
        self.store.set_previous(pool, owner, if_name, ip, container_id);
        for hint in self.search.allocated(&self.pool, ip) {
            self.write_hint(hint);
        }
    }

    fn conflicted(&mut self, _ip: IpAddr) {}

    fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.search.may_be_callers(ip)
    }

    /// Whether a DEL of the attachment has begun, which takes the record away: its caller was killed, and the pod's next sandbox may have the
    /// address by now.
    fn is_superseded(&self) -> bool {
        !self.store.has_record(&self.claimant.container_id, &self.claimant.if_name)
    }

    fn wants_list(&self, conflicts: usize) -> bool {
        Search::wants_list(conflicts)
    }

    fn learn(&mut self, listing: &Listing) {
        // The list is newer than the hint, so it may lower it.
        self.start = self.search.learn(&self.pool, listing);
        if let Some(next) = self.start {
            self.store.set_start(self.pool.name.as_str(), next);
        }
    }

    fn knows_full(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
