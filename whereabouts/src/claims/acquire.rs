//! How one address is claimed: candidates are tried until the API server creates a claim in the caller's name. That create is the only
//! thing that makes an address the caller's, whatever caches and hints say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use node::client::{ApiError, Freshness, ListQuery, retry};

use super::alternate::AlternateCheck;
use super::error::ClaimError;
use super::store::{Claims, Listed, POLICY};
use crate::conf::request::RequestedAddress;
use crate::crd::reservation::{LABEL_POOL, Reservation, label};
use crate::pool::candidates::{CandidateCursor, Listing};
use crate::pool::choose::{CONFLICTS_BEFORE_LIST, NoCandidate};
use crate::pool::held_claim::{Claimed, Origin};
use crate::pool::holders::largest_holders;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

/// After this many conflicts all claims of the namespace are listed, not only those with the pool's label: some may have no label.
const CONFLICTS_BEFORE_LIST_ALL: usize = 3 * CONFLICTS_BEFORE_LIST;

/// What one call has tried and learned about one pool.
struct Acquisition<'c, 'a, O> {
    claims: &'c Claims<'a>,
    pool: &'c Pool,
    claimant: &'c Claimant,
    cursor: &'c mut O,
    /// Addresses whose create failed with a conflict, since the last full list.
    conflicts: BTreeSet<IpAddr>,
    /// The podref of each address's holder, as far as it is known.
    holders: BTreeMap<IpAddr, String>,
    listed: Scope,
    alternate: AlternateOrder,
}

/// Which claims this call has listed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Nothing,
    /// Those with the pool's label.
    Pool,
    /// All claims of the namespace.
    All,
}

/// When the alternate name of a candidate is checked. Checking after the create is what counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AlternateOrder {
    AfterCreate,
    /// Before the create as well, once one candidate was held by its alternate name. Otherwise this call would create and delete claims
    /// again and again, and each deletion would make the daemons that watch the pool believe that the address is free.
    BeforeAndAfterCreate,
}

/// Whether an existing claim may be the caller's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    IsOther,
    MayBeCaller,
}

/// What came of one candidate.
enum Attempt {
    Held(Claimed),
    /// Another pod holds it; the podref where it is known.
    Conflict(Option<String>),
    /// The pod with this podref holds it by the alternate name.
    AlternateConflict(String),
}

impl Claims<'_> {
    /// Claims an address of `pool`: the requested one, else the one that the interface had, else the next one that `outlook` gives.
    pub async fn acquire(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        requested: Option<RequestedAddress>,
        cursor: &mut impl CandidateCursor,
    ) -> Result<Claimed, ClaimError> {
        let mut acquisition = Acquisition {
            claims: self,
            pool,
            claimant,
            cursor,
            conflicts: BTreeSet::new(),
            holders: BTreeMap::new(),
            listed: Scope::Nothing,
            alternate: AlternateOrder::AfterCreate,
        };
        acquisition.run(requested).await
    }
}

impl<O: CandidateCursor> Acquisition<'_, '_, O> {
    async fn run(&mut self, requested: Option<RequestedAddress>) -> Result<Claimed, ClaimError> {
        loop {
            match self.cursor.next(self.pool, requested, &self.conflicts) {
                Ok(_) if self.cursor.is_superseded() => {
                    return Err(ClaimError::Superseded { podref: self.claimant.podref.clone() });
                }
                Ok(candidate) => {
                    if let Some(claimed) = self.try_candidate(candidate, requested).await? {
                        return Ok(claimed);
                    }
                }
                // A cache can be stale: only a full list of this moment proves that the pool is full.
                Err(NoCandidate::Exhausted(_)) if self.listed != Scope::All && !self.cursor.knows_full() => {
                    self.list(Scope::All).await?;
                    continue;
                }
                Err(reason) => return Err(self.no_candidate(reason)),
            }
            match self.listed {
                Scope::Nothing if self.cursor.wants_list(self.conflicts.len()) => {
                    self.list(Scope::Pool).await?;
                }
                Scope::Pool if self.conflicts.len() >= CONFLICTS_BEFORE_LIST_ALL => {
                    self.list(Scope::All).await?;
                }
                Scope::Nothing | Scope::Pool | Scope::All => {}
            }
        }
    }

    /// Tries one candidate. `None` if another pod holds it, which is noted.
    async fn try_candidate(
        &mut self,
        candidate: IpAddr,
        requested: Option<RequestedAddress>,
    ) -> Result<Option<Claimed>, ClaimError> {
        let requested = match requested {
            Some(RequestedAddress::Required(ip) | RequestedAddress::Preferred(ip)) => Some(ip),
            None => None,
        };
        let may_be_callers = requested == Some(candidate) || self.cursor.may_be_callers(candidate);
        let existing = if may_be_callers { Existing::MayBeCaller } else { Existing::IsOther };
        let holder = match self.attempt(candidate, existing).await? {
            Attempt::Held(claimed) => {
                self.cursor.allocated(candidate);
                return Ok(Some(claimed));
            }
            Attempt::Conflict(holder) => holder,
            Attempt::AlternateConflict(holder) => {
                self.alternate = AlternateOrder::BeforeAndAfterCreate;
                Some(holder)
            }
        };
        self.cursor.conflicted(candidate);
        self.conflicts.insert(candidate);
        self.holders.extend(holder.map(|holder| (candidate, holder)));
        Ok(None)
    }

    async fn attempt(&self, ip: IpAddr, existing: Existing) -> Result<Attempt, ClaimError> {
        if self.alternate == AlternateOrder::BeforeAndAfterCreate
            && let Some(holder) = self.claims.alternate_holder(self.pool, self.claimant, ip).await?
        {
            return Ok(Attempt::AlternateConflict(holder));
        }
        let claimed = match self.create(ip, existing).await? {
            Attempt::Held(claimed) => claimed,
            conflict @ (Attempt::Conflict(_) | Attempt::AlternateConflict(_)) => return Ok(conflict),
        };
        match self.claims.check_alternate(self.pool, self.claimant, ip, claimed).await? {
            AlternateCheck::Held(claimed) => Ok(Attempt::Held(claimed)),
            AlternateCheck::HeldByOther(holder) => Ok(Attempt::AlternateConflict(holder)),
        }
    }

    /// Creates the claim by the name that the pool's naming scheme takes, or takes over the caller's own.
    async fn create(&self, ip: IpAddr, existing: Existing) -> Result<Attempt, ClaimError> {
        let Acquisition { claims, pool, claimant, .. } = self;
        let name = pool.names().claim(ip)?;
        let wanted = Reservation::new(name.as_str(), pool.holding(claimant));
        let all = claims.collection();
        let mut origin = Origin::New;
        loop {
            let sent = AtomicU32::new(0);
            let create = || {
                sent.fetch_add(1, Ordering::Relaxed);
                claims.api.create::<Reservation>(&all, &wanted, claims.deadline)
            };
            match retry(claims.deadline, POLICY, create).await {
                Ok(claim) => {
                    let claim = pool.held(ip, &name, &claim);
                    return Ok(Attempt::Held(Claimed { claim, origin: Origin::New }));
                }
                Err(ApiError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // The create was sent once, so this call did not make the claim that exists. Reading it is worth a request only if it may be
            // the caller's. If the create was sent again after an unknown outcome, the first one may have made it.
            if existing == Existing::IsOther && sent.load(Ordering::Relaxed) == 1 {
                return Ok(Attempt::Conflict(None));
            }
            // Deleted since: create again.
            let Some(present) = claims.get(&name).await? else { continue };
            if !present.is_of(&claimant.podref, &claimant.if_name) {
                return Ok(Attempt::Conflict(Some(present.spec.podref)));
            }
            // Made by this call, whose response was lost; else it was held by an earlier call for the interface.
            let made_here = present.container() == claimant.container_id && sent.load(Ordering::Relaxed) > 1;
            let got = if made_here { origin } else { Origin::TakenOver };
            if let Some(claim) = claims.take_over(pool, claimant, ip, &name, present).await? {
                return Ok(Attempt::Held(Claimed { claim, origin: got }));
            }
            origin = Origin::TakenOver;
        }
    }

    /// Learns from a list which addresses of the pool are claimed, and which one the caller holds already.
    async fn list(&mut self, scope: Scope) -> Result<(), ClaimError> {
        let labels = match scope {
            Scope::Nothing | Scope::All => None,
            Scope::Pool => Some(format!("{LABEL_POOL}={}", label(self.pool.name.as_str()))),
        };
        let query = ListQuery { labels, ..ListQuery::all(Freshness::Latest) };
        let mut pool_list =
            PoolList { pool: self.pool, claimant: self.claimant, listing: Listing::default() };
        self.claims.for_each(&query, &mut pool_list).await?;
        let mut listing = pool_list.listing;
        // An earlier conflict is in the full list, or free by now.
        if scope == Scope::All {
            self.conflicts.clear();
        }
        self.cursor.learn(&listing);
        self.listed = scope;
        self.holders.append(&mut listing.owners);
        Ok(())
    }

    fn no_candidate(&self, reason: NoCandidate) -> ClaimError {
        let holders = match &reason {
            NoCandidate::RequestedTaken { ip } => {
                self.holders.get(ip).map(|podref| format!("pod {podref}")).into_iter().collect()
            }
            NoCandidate::Exhausted(_) if self.listed == Scope::Nothing => self.cursor.holders(),
            NoCandidate::Exhausted(_) => largest_holders(self.holders.values()),
            NoCandidate::RequestedOutside { .. } => Vec::new(),
        };
        ClaimError::NoCandidate { reason, holders }
    }
}

/// The claims of one pool, out of a list.
struct PoolList<'a> {
    pool: &'a Pool,
    claimant: &'a Claimant,
    listing: Listing,
}

impl Listed for PoolList<'_> {
    fn add(&mut self, claim: Reservation) {
        self.listing.add(self.pool, self.claimant, claim);
    }

    fn restart(&mut self) {
        self.listing = Listing::default();
    }
}
