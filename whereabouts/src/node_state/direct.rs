//! The candidates of a plugin without a daemon: hint files, and what this call learns.

use std::collections::BTreeSet;
use std::net::IpAddr;

use node::client::ApiError;

use super::concurrency::Slot;
use super::hints::HintStore;
use crate::conf::request::RequestedAddress;
use crate::crd::ip_pool::SeparateUse;
use crate::pool::candidates::{CandidateCursor, CandidateSource, Listing};
use crate::pool::choose::NoCandidate;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;
use crate::pool::search::{Hint, Search};

/// A plugin on its own: hint files, and what this call learns.
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
    fn note(&self, note: Hint) {
        self.store.note(self.pool.name.as_str(), self.start, note);
    }
}

impl CandidateSource for HintStore {
    type CandidateCursor = DirectCursor;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> DirectCursor {
        let name = pool.name.as_str();
        let notes = self.notes(name, &claimant.podref, &claimant.if_name);
        DirectCursor {
            store: self.clone(),
            pool: pool.clone(),
            owner: (claimant.podref.clone(), claimant.if_name.clone()),
            start: notes.start,
            search: Search::new(notes),
            slot: self.slot(name),
        }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> Result<SeparateUse, ApiError> {
        let name = pool.name.as_str();
        if let Some(known) = self.adopted(name).filter(|known| known.suffices_for(pool.overlapping)) {
            return Ok(known);
        }
        let separation = work.await?;
        self.set_adopted(name, separation);
        Ok(separation)
    }

    fn used(&self, _pool: &Pool) -> Option<u128> {
        None
    }
}

impl CandidateCursor for DirectCursor {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<RequestedAddress>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        self.search.next(pool, requested, lost, self.slot.callers(), fastrand::u64(..))
    }

    fn allocated(&mut self, ip: IpAddr) {
        let (podref, if_name) = &self.owner;
        self.store.set_previous(self.pool.name.as_str(), podref, if_name, ip);
        for note in self.search.allocated(&self.pool, ip) {
            self.note(note);
        }
    }

    fn conflicted(&mut self, _ip: IpAddr) {}

    fn may_be_callers(&self, ip: IpAddr) -> bool {
        self.search.may_be_callers(ip)
    }

    fn is_superseded(&self) -> bool {
        false
    }

    fn wants_list(&self, losses: usize) -> bool {
        Search::wants_list(losses)
    }

    fn learn(&mut self, listing: &Listing) {
        // The list is current: what was noted before is not.
        self.start = self.search.learn(&self.pool, listing);
        if let Some(next) = self.start {
            self.store.set(self.pool.name.as_str(), next);
        }
    }

    fn knows_full(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
