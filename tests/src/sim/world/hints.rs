//! What a plugin on its own remembers between calls: as [`whereabouts::node_state::direct::DirectCursor`] with [`whereabouts::node_state::hints::HintStore`], but in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use node::client::ApiError;
use tokio::time::Instant;
use whereabouts::crd::ip_pool::SeparateUse;
use whereabouts::node_state::hints::SPREAD_LIFETIME;
use whereabouts::node_state::record::Record;
use whereabouts::pool::candidates::{CandidateCursor, CandidateSource, Listing};
use whereabouts::pool::choose::{CallerCount, ConcurrentCallers, NoCandidate};
use whereabouts::pool::range_pool::Pool;
use whereabouts::pool::request::Claimant;
use whereabouts::pool::search;
use whereabouts::pool::search::{Hint, PoolHints, Search};

const ADOPTION_LIFETIME: Duration = Duration::from_secs(60);

/// The hints of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SimulatedHints {
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    start: BTreeMap<String, IpAddr>,
    previous: BTreeMap<Owner, IpAddr>,
    spread: BTreeMap<String, (u32, Instant)>,
    adopted: BTreeMap<String, (Instant, SeparateUse)>,
    /// How many look for an address of a pool.
    looking: BTreeMap<String, u32>,
}

/// Pool, pod, interface.
type Owner = (String, String, String);

/// One claim's view of its pool.
#[derive(Debug)]
pub struct Looking {
    hints: SimulatedHints,
    owner: Owner,
    start: Option<IpAddr>,
    pool: Pool,
    search: Search,
    /// So many were looking before.
    ahead: u32,
}

impl SimulatedHints {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap()
    }

    /// What was held is free again, unless a newer sandbox has it.
    pub fn forget(&self, record: &Record) {
        let mut files = self.files();
        for claim in &record.claims {
            let ip = claim.address.addr();
            if let Some(next) = files.start.get_mut(&claim.pool) {
                *next = ip.min(*next);
            }
            files.previous.remove(&(claim.pool.clone(), record.podref.clone(), record.if_name.clone()));
        }
    }
}

impl Files {
    fn note(&mut self, pool: &str, start: Option<IpAddr>, note: Hint) {
        match note {
            Hint::Spread(spread) => {
                self.spread.insert(pool.to_owned(), (spread, Instant::now()));
            }
            Hint::Next(next) => {
                if let Some(next) = search::raised(self.start.get(pool).copied(), start, next) {
                    self.start.insert(pool.to_owned(), next);
                }
            }
        }
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(looking) = self.hints.files().looking.get_mut(&self.owner.0) {
            *looking -= 1;
        }
    }
}

impl CandidateSource for SimulatedHints {
    type CandidateCursor = Looking;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> Looking {
        let name = pool.name.to_string();
        let owner = (name.clone(), claimant.podref.clone(), claimant.if_name.clone());
        let mut files = self.files();
        let met = files.spread.get(&name).filter(|(_, at)| at.elapsed() < SPREAD_LIFETIME);
        let spread = met.map_or(0, |(spread, _)| *spread);
        let start = files.start.get(&name).copied();
        let notes = PoolHints { previous: files.previous.get(&owner).copied(), start, spread };
        let looking = files.looking.entry(name).or_default();
        *looking += 1;
        let ahead = *looking - 1;
        Looking { hints: self.clone(), owner, start, pool: pool.clone(), search: Search::new(notes), ahead }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<SeparateUse, ApiError>> + Send,
    ) -> Result<SeparateUse, ApiError> {
        let name = pool.name.as_str();
        let known = self.files().adopted.get(name).copied();
        let known = known
            .filter(|(at, said)| at.elapsed() < ADOPTION_LIFETIME && said.suffices_for(pool.overlapping));
        if let Some((_, said)) = known {
            return Ok(said);
        }
        let said = work.await?;
        self.files().adopted.insert(name.to_owned(), (Instant::now(), said));
        Ok(said)
    }

    fn used(&self, _pool: &Pool) -> Option<u128> {
        None
    }
}

impl CandidateCursor for Looking {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        let together = self.hints.files().looking.get(&self.owner.0).copied().unwrap_or_default();
        let callers = ConcurrentCallers { ahead: self.ahead, size: CallerCount::of(together as usize) };
        self.search.next(pool, requested, lost, callers, fastrand::u64(..))
    }

    fn allocated(&mut self, ip: IpAddr) {
        let mut files = self.hints.files();
        files.previous.insert(self.owner.clone(), ip);
        for note in self.search.allocated(&self.pool, ip) {
            files.note(&self.owner.0, self.start, note);
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
        self.start = self.search.learn(&self.pool, listing);
        if let Some(next) = self.start {
            self.hints.files().start.insert(self.owner.0.clone(), next);
        }
    }

    fn knows_full(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
