//! The candidate source of a plugin without a daemon: the hint files, and what the call learns itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use node::client::ApiError;

use super::concurrency::Slot;
use super::hints::HintStore;
use super::single_flight::single_flight;
use crate::crd::ip_pool::SeparateUse;
use crate::pool::candidates::{CandidateCursor, CandidateSource, Listing};
use crate::pool::choose::NoCandidate;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
use crate::pool::search::{Hint, Search};

/// The cursor of one call without a daemon.
#[derive(Debug)]
pub struct DirectCursor {
    store: HintStore,
    pool: Pool,
    owner: (String, String),
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
        let hints = self.pool_hints(name, &claimant.podref, &claimant.if_name);
        DirectCursor {
            store: self.clone(),
            pool: pool.clone(),
            owner: (claimant.podref.clone(), claimant.if_name.clone()),
            start: hints.start,
            search: Search::new(hints),
            slot: self.take_slot(name),
        }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        adopt: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> Result<SeparateUse, ApiError> {
        let name = pool.name.as_str();
        self.lock_slot(name);
        let cached = || self.adopted(name).filter(|cached| cached.suffices_for(pool.overlapping));
        let ask = async {
            let separate_use = adopt.await?;
            self.set_adopted(name, separate_use);
            Ok(separate_use)
        };
        single_flight(&self.adopting(name), cached, ask).await
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
        let (podref, if_name) = &self.owner;
        self.store.set_previous(self.pool.name.as_str(), podref, if_name, ip);
        for hint in self.search.allocated(&self.pool, ip) {
            self.write_hint(hint);
        }
    }

    fn conflicted(&mut self, _ip: IpAddr) {}

    fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.search.may_be_callers(ip)
    }

    fn is_superseded(&self) -> bool {
        false
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
