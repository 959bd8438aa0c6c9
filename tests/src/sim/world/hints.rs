//! What a plugin on its own remembers between calls: as [`whereabouts::outlook::Alone`] with [`whereabouts::hint::HintStore`], but in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use node::client::ApiError;
use tokio::time::Instant;
use whereabouts::choose::{Crowd, CrowdSize, NoCandidate, Wish};
use whereabouts::hint::SPREAD_FOR;
use whereabouts::order::Who;
use whereabouts::outlook::{Listing, Memory, Outlook};
use whereabouts::pool::Pool;
use whereabouts::record::Record;
use whereabouts::search::{self, Note, Notes, Search};
use whereabouts::twin::Separation;

const ADOPTED_FOR: Duration = Duration::from_secs(60);

/// The hints of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    start: BTreeMap<String, IpAddr>,
    previous: BTreeMap<Owner, IpAddr>,
    spread: BTreeMap<String, (u32, Instant)>,
    adopted: BTreeMap<String, (Instant, Separation)>,
    /// How many look for an address of a pool.
    looking: BTreeMap<String, u32>,
}

/// Pool, pod, interface.
type Owner = (String, String, String);

/// One claim's view of its pool.
#[derive(Debug)]
pub struct Looking {
    hints: Hints,
    owner: Owner,
    start: Option<IpAddr>,
    pool: Pool,
    search: Search,
    /// So many were looking before.
    ahead: u32,
}

impl Hints {
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
    fn note(&mut self, pool: &str, start: Option<IpAddr>, note: Note) {
        match note {
            Note::Spread(spread) => {
                self.spread.insert(pool.to_owned(), (spread, Instant::now()));
            }
            Note::Next(next) => {
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

impl Memory for Hints {
    type Outlook = Looking;

    fn outlook(&self, pool: &Pool, who: &Who) -> Looking {
        let name = pool.name.to_string();
        let owner = (name.clone(), who.podref.clone(), who.if_name.clone());
        let mut files = self.files();
        let met = files.spread.get(&name).filter(|(_, at)| at.elapsed() < SPREAD_FOR);
        let spread = met.map_or(0, |(spread, _)| *spread);
        let start = files.start.get(&name).copied();
        let notes = Notes { previous: files.previous.get(&owner).copied(), start, spread };
        let looking = files.looking.entry(name).or_default();
        *looking += 1;
        let ahead = *looking - 1;
        Looking { hints: self.clone(), owner, start, pool: pool.clone(), search: Search::new(notes), ahead }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<Separation, ApiError>> + Send,
    ) -> Result<Separation, ApiError> {
        let name = pool.name.as_str();
        let known = self.files().adopted.get(name).copied();
        let known = known.filter(|(at, said)| at.elapsed() < ADOPTED_FOR && said.will_do(pool.overlapping));
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

impl Outlook for Looking {
    fn next(
        &mut self,
        pool: &Pool,
        wish: Option<Wish>,
        lost: &BTreeSet<IpAddr>,
    ) -> Result<IpAddr, NoCandidate> {
        let together = self.hints.files().looking.get(&self.owner.0).copied().unwrap_or_default();
        let crowd = Crowd { ahead: self.ahead, size: CrowdSize::of(together as usize) };
        self.search.next(pool, wish, lost, crowd, fastrand::u64(..))
    }

    fn won(&mut self, ip: IpAddr) {
        let mut files = self.hints.files();
        files.previous.insert(self.owner.clone(), ip);
        for note in self.search.won(&self.pool, ip) {
            files.note(&self.owner.0, self.start, note);
        }
    }

    fn lost(&mut self, _ip: IpAddr) {}

    fn may_be_own(&self, ip: IpAddr) -> bool {
        self.search.may_be_own(ip)
    }

    fn is_over(&self) -> bool {
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

    fn is_sure(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
