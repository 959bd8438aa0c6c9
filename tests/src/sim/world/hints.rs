//! The hints of a plugin without a daemon, in memory. Repeats [`whereabouts::node_state::hints::HintStore`] and
//! [`whereabouts::node_state::direct::DirectCursor`], which keep them in files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use node::client::ApiError;
use node::names::DnsSubdomain;
use tokio::time::Instant;
use whereabouts::crd::ip_pool::ClaimNaming;
use whereabouts::node_state::hints::SPREAD_LIFETIME;
use whereabouts::node_state::record::Record;
use whereabouts::pool::candidates::{CandidateCursor, CandidateSource, Listing};
use whereabouts::pool::choose::{CallerCount, ConcurrentCallers, NoCandidate};
use whereabouts::pool::held_claim::HeldClaim;
use whereabouts::pool::range_pool::Pool;
use whereabouts::pool::request::Claimant;
use whereabouts::pool::search;
use whereabouts::pool::search::{Hint, PoolHints, Search};

/// The value of `whereabouts::pool::claim_names::NAMING_LIFETIME`, which is private.
const NAMING_LIFETIME: Duration = Duration::from_secs(60);

/// The hints of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct SimulatedHints {
    files: Arc<Mutex<Files>>,
}

/// The content of the hint files. All keys but that of `previous` are names of pools.
#[derive(Debug, Default)]
struct Files {
    start: BTreeMap<String, IpAddr>,
    previous: BTreeMap<Owner, IpAddr>,
    spread: BTreeMap<String, (u32, Instant)>,
    naming: BTreeMap<String, (Instant, ClaimNaming)>,
    /// A claim of this node that counts, in each pool.
    pins: BTreeMap<String, Pin>,
    /// The number of concurrent callers.
    callers: BTreeMap<String, u32>,
}

/// A claim that counts, and its container.
#[derive(Debug)]
struct Pin {
    claim: DnsSubdomain,
    container: String,
    naming: ClaimNaming,
}

/// The pool's name, the pod (`namespace/name`) and the interface.
type Owner = (String, String, String);

/// The cursor of one call without a daemon.
#[derive(Debug)]
pub struct SimulatedCursor {
    hints: SimulatedHints,
    owner: Owner,
    start: Option<IpAddr>,
    pool: Pool,
    search: Search,
    /// The number of concurrent callers when this call began.
    ahead: u32,
}

impl SimulatedHints {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap()
    }

    /// Removes the pins that are claims of a record, before they are deleted.
    pub fn remove_pins(&self, record: &Record) {
        let is_of = |pin: &Pin| {
            pin.container == record.container_id
                || record.claims.iter().any(|claim| claim.is_named(&pin.claim))
        };
        self.files().pins.retain(|_, pin| !is_of(pin));
    }

    /// Updates the hints after the claims of a record were released.
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
    fn write(&mut self, pool: &str, start: Option<IpAddr>, hint: Hint) {
        match hint {
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

impl Drop for SimulatedCursor {
    fn drop(&mut self) {
        if let Some(callers) = self.hints.files().callers.get_mut(&self.owner.0) {
            *callers -= 1;
        }
    }
}

impl CandidateSource for SimulatedHints {
    type CandidateCursor = SimulatedCursor;

    fn cursor(&self, pool: &Pool, claimant: &Claimant) -> SimulatedCursor {
        let name = pool.name.to_string();
        let owner = (name.clone(), claimant.podref.clone(), claimant.if_name.clone());
        let mut files = self.files();
        let recent = files.spread.get(&name).filter(|(_, at)| at.elapsed() < SPREAD_LIFETIME);
        let spread = recent.map_or(0, |(spread, _)| *spread);
        let start = files.start.get(&name).copied();
        let hints = PoolHints { previous: files.previous.get(&owner).copied(), start, spread };
        let callers = files.callers.entry(name).or_default();
        let ahead = *callers;
        *callers += 1;
        SimulatedCursor {
            hints: self.clone(),
            owner,
            start,
            pool: pool.clone(),
            search: Search::new(hints),
            ahead,
        }
    }

    async fn naming(
        &self,
        pool: &Pool,
        read: impl Future<Output = Result<ClaimNaming, ApiError>> + Send,
    ) -> Result<ClaimNaming, ApiError> {
        let name = pool.name.as_str();
        let known = self.files().naming.get(name).copied();
        if let Some((_, naming)) = known.filter(|(at, _)| at.elapsed() < NAMING_LIFETIME) {
            return Ok(naming);
        }
        let naming = read.await?;
        self.files().naming.insert(name.to_owned(), (Instant::now(), naming));
        Ok(naming)
    }

    fn forget(&self, pool: &Pool) {
        self.files().naming.remove(pool.name.as_str());
    }

    fn has_pin(&self, pool: &Pool) -> bool {
        self.files().pins.get(pool.name.as_str()).is_some_and(|pin| pin.naming == pool.naming())
    }

    fn set_pin(&self, pool: &Pool, claimant: &Claimant, claim: &HeldClaim) {
        let container = claimant.container_id.clone();
        let pin = Pin { claim: claim.name.clone(), container, naming: pool.naming() };
        self.files().pins.insert(claim.pool.clone(), pin);
    }

    fn used(&self, _pool: &Pool) -> Option<u128> {
        None
    }
}

impl CandidateCursor for SimulatedCursor {
    fn next(
        &mut self,
        pool: &Pool,
        requested: Option<IpAddr>,
        conflicts: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        let count = self.hints.files().callers.get(&self.owner.0).copied().unwrap_or_default();
        let callers = ConcurrentCallers { ahead: self.ahead, size: CallerCount::of(count as usize) };
        self.search.next(pool, requested, conflicts, callers, fastrand::u64(..))
    }

    fn allocated(&mut self, ip: IpAddr) {
        let mut files = self.hints.files();
        files.previous.insert(self.owner.clone(), ip);
        for hint in self.search.allocated(&self.pool, ip) {
            files.write(&self.owner.0, self.start, hint);
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
