//! What a plugin on its own remembers between calls: as [`whereabouts::outlook::Alone`] with [`whereabouts::hint::HintStore`], but in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use node::client::ApiError;
use tokio::time::Instant;
use whereabouts::choose::{self, LOSSES_BEFORE_RANDOM, NoCandidate, View, Wish};
use whereabouts::order::Who;
use whereabouts::outlook::{Listing, Memory, Outlook};
use whereabouts::pool::Pool;
use whereabouts::record::Record;

const ADOPTED_FOR: Duration = Duration::from_secs(60);

const SPREAD_FOR: Duration = Duration::from_secs(2);

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
    adopted: BTreeMap<String, Instant>,
}

/// Pool, pod, interface.
type Owner = (String, String, String);

/// One claim's view of its pool.
#[derive(Debug)]
pub struct Looking {
    hints: Hints,
    owner: Owner,
    previous: Option<IpAddr>,
    start: Option<IpAddr>,
    used: BTreeSet<IpAddr>,
    spread: u32,
    losses: usize,
    way: Way,
}

#[derive(Debug, PartialEq, Eq)]
enum Way {
    InOrder,
    Otherwise,
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

impl Memory for Hints {
    type Outlook = Looking;

    fn outlook(&self, pool: &Pool, who: &Who) -> Looking {
        let name = pool.name.to_string();
        let owner = (name.clone(), who.podref.clone(), who.if_name.clone());
        let files = self.files();
        let met = files.spread.get(&name).filter(|(_, at)| at.elapsed() < SPREAD_FOR);
        Looking {
            hints: self.clone(),
            previous: files.previous.get(&owner).copied(),
            start: files.start.get(&name).copied(),
            owner,
            used: BTreeSet::new(),
            spread: met.map_or(0, |(spread, _)| *spread),
            losses: 0,
            way: Way::Otherwise,
        }
    }

    async fn adopted(
        &self,
        pool: &Pool,
        work: impl Future<Output = Result<(), ApiError>> + Send,
    ) -> Result<(), ApiError> {
        let name = pool.name.as_str();
        let is_adopted = self.files().adopted.get(name).is_some_and(|at| at.elapsed() < ADOPTED_FOR);
        if !is_adopted {
            work.await?;
            self.files().adopted.insert(name.to_owned(), Instant::now());
        }
        Ok(())
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
        let spread = self.spread.max(choose::spread_after(lost.len()));
        let plain = wish.is_none() && self.previous.is_none() && spread == 0;
        self.way = if plain { Way::InOrder } else { Way::Otherwise };
        self.losses = lost.len();
        let hints = choose::Hints { wish, previous: self.previous, start: self.start, spread };
        let view = View { used: &self.used, lost };
        choose::next(&pool.range, &pool.free, view, hints, node::entropy::random())
    }

    fn won(&mut self, ip: IpAddr) {
        let mut files = self.hints.files();
        files.previous.insert(self.owner.clone(), ip);
        if self.way == Way::InOrder {
            let next = whereabouts::ip::add(ip, 1).unwrap_or(ip);
            files.start.insert(self.owner.0.clone(), next);
            return;
        }
        let spread = choose::spread_after(self.losses);
        if spread > 0 {
            files.spread.insert(self.owner.0.clone(), (spread, Instant::now()));
        }
    }

    fn lost(&mut self, _ip: IpAddr) {}

    fn may_be_own(&self, ip: IpAddr) -> bool {
        self.previous == Some(ip)
    }

    fn is_over(&self) -> bool {
        false
    }

    fn wants_list(&self, losses: usize) -> bool {
        losses >= LOSSES_BEFORE_RANDOM
    }

    fn learn(&mut self, listing: &Listing) {
        self.used.extend(listing.owners.keys());
        self.previous = listing.own;
        self.start = None;
    }

    fn is_sure(&self) -> bool {
        false
    }

    fn holders(&self) -> Vec<String> {
        Vec::new()
    }
}
