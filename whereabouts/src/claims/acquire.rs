//! How one address is claimed.
//!
//! A claim is an `OverlappingRangeIPReservation` whose name contains the address. **The create of that object is the lock.** Of all
//! creates of one name, from all nodes, the API server lets exactly one succeed; every other caller gets a conflict (409,
//! `AlreadyExists`). An address belongs to a caller if and only if its create succeeded, or if the claim that exists names the same
//! interface of the same pod and the caller took it over ([`super::take_over`]). So there is no leader, no lease and no read before the
//! write, and no cache can cause a duplicate: caches, hints and lists only choose which address to try next. A stale one costs one
//! conflict and one more create.
//!
//! Requests for one address:
//!
//! - One create for each name of the first candidate, when it is free: one name, or two in some pools ([`crate::pool::claim_names`]).
//! - One create more for each conflict. A list of the pool's claims follows only when the cursor asks for it
//!   ([`CandidateCursor::wants_list`]) or when the pool seems full.
//!
//! Where Whereabouts looks at the pool's object only, a write of the address's entry follows ([`super::pool_entry`]).
//!
//! If the caller dies after its create, the record it wrote before tells DEL to find the claim by its container label.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use cni::crash_point;
use node::client::{ApiError, Freshness, ListQuery, retry};
use node::names::DnsSubdomain;

use super::error::ClaimError;
use super::pool_entry::EntryWrite;
use super::store::{ClaimSink, Claims, POLICY};
use crate::crd::reservation::{LABEL_POOL, Reservation, label};
use crate::pool::candidates::{CandidateCursor, Listing};
use crate::pool::choose::{CONFLICTS_BEFORE_LIST, NoCandidate};
use crate::pool::claim_names::AddressNames;
use crate::pool::held_claim::{Claimed, HeldClaim, Origin, SecondClaim};
use crate::pool::holders::holders;
use crate::pool::range_pool::Pool;
use crate::pool::request::Claimant;

/// After this many conflicts all claims of the namespace are listed, not only those with the pool's label: claims that Whereabouts made
/// have no label.
const CONFLICTS_BEFORE_LIST_ALL: usize = 3 * CONFLICTS_BEFORE_LIST;

/// What one call has tried and learned about one pool.
struct Acquisition<'c, 'a, C> {
    claims: &'c Claims<'a>,
    pool: &'c Pool,
    claimant: &'c Claimant,
    cursor: &'c mut C,
    /// Addresses that the interface got from the network's other ranges in this call. They are no candidates here.
    own: &'c BTreeSet<IpAddr>,
    /// [`Acquisition::own`], and the addresses whose create failed with a conflict, since the last full list.
    conflicts: BTreeSet<IpAddr>,
    /// The addresses that had an entry in the pool's object when this call found one of another pod.
    entries: BTreeSet<IpAddr>,
    /// The podref of each address's holder, as far as this call has read it.
    holders: BTreeMap<IpAddr, String>,
    listed: Scope,
    second: SecondName,
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

/// When the second name of a candidate is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SecondName {
    /// With its create, after the first name was created.
    Create,
    /// Before the first name is created as well, once one candidate had only its second name taken. Otherwise this call would create and
    /// delete claims again and again, and after each deletion the daemons that watch the pool would take the address for free.
    ReadBefore,
}

/// Whether an existing claim may be the caller's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
    IsOther,
    MayBeCaller,
}

/// The result of one candidate.
enum Attempt {
    Held(Claimed),
    /// Another pod holds the address; its podref if it was read.
    Conflict(Option<String>),
    /// As [`Attempt::Conflict`], but only the second name is taken.
    SecondConflict(Option<String>),
    /// The names are free, and the pool's object has an entry of another pod. All addresses with an entry, with the podref.
    EntryConflict(BTreeMap<IpAddr, String>),
}

/// The result of one name.
enum Created {
    Held(Claimed),
    /// Another pod holds it; its podref if it was read.
    Conflict(Option<String>),
}

impl From<Created> for Attempt {
    fn from(created: Created) -> Self {
        match created {
            Created::Held(claimed) => Attempt::Held(claimed),
            Created::Conflict(holder) => Attempt::Conflict(holder),
        }
    }
}

impl Claims<'_> {
    /// Claims an address of `pool`: the requested one, else the one that the interface had, else the next candidate of `cursor`.
    pub(crate) async fn acquire(
        &self,
        pool: &Pool,
        claimant: &Claimant,
        requested: Option<IpAddr>,
        own: &BTreeSet<IpAddr>,
        cursor: &mut impl CandidateCursor,
    ) -> Result<Claimed, ClaimError> {
        let mut acquisition = Acquisition {
            claims: self,
            pool,
            claimant,
            cursor,
            own,
            conflicts: own.clone(),
            entries: BTreeSet::new(),
            holders: BTreeMap::new(),
            listed: Scope::Nothing,
            second: SecondName::Create,
        };
        acquisition.run(requested).await
    }
}

impl<C: CandidateCursor> Acquisition<'_, '_, C> {
    async fn run(&mut self, requested: Option<IpAddr>) -> Result<Claimed, ClaimError> {
        loop {
            match self.cursor.next(self.pool, requested, &self.conflicts) {
                // Checked before every create: a newer call for the same interface may own its claims already.
                Ok(_) if self.cursor.is_superseded() => return Err(self.superseded()),
                Ok(candidate) => {
                    if let Some(claimed) = self.try_candidate(candidate, requested).await? {
                        return Ok(claimed);
                    }
                }
                // A cache can be stale: only a full list of this moment proves that the pool is full.
                Err(NoCandidate::Exhausted(pool))
                    if pool.is_full() && self.listed != Scope::All && !self.cursor.knows_full() =>
                {
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

    /// Tries one candidate. `None` if another pod holds it; the conflict is recorded.
    async fn try_candidate(
        &mut self,
        candidate: IpAddr,
        requested: Option<IpAddr>,
    ) -> Result<Option<Claimed>, ClaimError> {
        let may_be_callers = requested == Some(candidate) || self.cursor.may_be_callers(candidate);
        let existing = if may_be_callers { Existing::MayBeCaller } else { Existing::IsOther };
        let holder = match self.attempt(candidate, existing).await? {
            Attempt::Held(claimed) => {
                self.cursor.allocated(candidate);
                return Ok(Some(claimed));
            }
            Attempt::Conflict(holder) => holder,
            Attempt::SecondConflict(holder) => {
                self.second = SecondName::ReadBefore;
                holder
            }
            Attempt::EntryConflict(mut owners) => {
                let holder = owners.remove(&candidate);
                // Whereabouts wrote them, and they have no claims yet: each would be one more conflict.
                self.entries.extend(owners.keys().filter(|ip| !self.cursor.may_be_callers(**ip)));
                self.entries.insert(candidate);
                self.conflicts.extend(&self.entries);
                self.holders.append(&mut owners);
                holder
            }
        };
        self.cursor.conflicted(candidate);
        self.conflicts.insert(candidate);
        self.holders.extend(holder.map(|holder| (candidate, holder)));
        Ok(None)
    }

    async fn attempt(&self, ip: IpAddr, existing: Existing) -> Result<Attempt, ClaimError> {
        let attempt = self.create_names(ip, existing).await?;
        match (attempt, self.pool.entry_to_write(ip)) {
            (Attempt::Held(claimed), Some(key)) => self.write_entry(ip, claimed, key).await,
            (attempt, _) => Ok(attempt),
        }
    }

    /// Writes the entry of an address whose claims this call holds. After an error DEL releases both: it finds the entry by the claim.
    async fn write_entry(&self, ip: IpAddr, claimed: Claimed, key: u64) -> Result<Attempt, ClaimError> {
        // A crash here leaves a claim without an entry.
        crash_point!("add-before-entry");
        match self.claims.write_entry(self.pool, self.claimant, ip, key).await? {
            EntryWrite::Written => {
                let claim = HeldClaim { entry: Some(key), ..claimed.claim };
                Ok(Attempt::Held(Claimed { claim, ..claimed }))
            }
            EntryWrite::NotKept => Ok(Attempt::Held(claimed)),
            EntryWrite::Taken(owners) => {
                // Also one that the interface held before: it is void. If it was the pin of the node, the naming is read again in a minute.
                self.claims.give_up(self.claimant, &claimed.claim).await?;
                Ok(Attempt::EntryConflict(owners))
            }
        }
    }

    /// Creates the claims of an address.
    async fn create_names(&self, ip: IpAddr, existing: Existing) -> Result<Attempt, ClaimError> {
        let AddressNames { first, second } = self.pool.names().of(ip)?;
        let Some(second) = second else { return Ok(self.create(ip, &first, existing).await?.into()) };
        if self.second == SecondName::ReadBefore
            && let Some(present) = self.claims.get(&second).await?
            && !self.claimant.may_take(&present)
        {
            return Ok(Attempt::SecondConflict(Some(present.spec.podref)));
        }
        let claimed = match self.create(ip, &first, existing).await? {
            Created::Held(claimed) => claimed,
            conflict @ Created::Conflict(_) => return Ok(conflict.into()),
        };
        let existing = match claimed.origin {
            Origin::New => existing,
            // The interface held the address, so the claim of the second name is its own too.
            Origin::TakenOver => Existing::MayBeCaller,
        };
        match self.create(ip, &second, existing).await {
            Ok(Created::Held(other)) => Ok(Attempt::Held(both(claimed, other))),
            Ok(Created::Conflict(holder)) => {
                // Also one that the interface held before: no record will name it. If it was the pin of the node, the naming is read again.
                self.claims.give_up(self.claimant, &claimed.claim).await?;
                Ok(Attempt::SecondConflict(holder))
            }
            Err(error) => {
                // The request fails with the first error; what is left here, DEL finds by the container's label.
                let _ = self.give_up_new(&claimed).await;
                Err(error)
            }
        }
    }

    /// Deletes the claim of a first name that this call created. One that the interface held before stays, since it may be the node's pin.
    async fn give_up_new(&self, claimed: &Claimed) -> Result<(), ClaimError> {
        match claimed.origin {
            Origin::New => Ok(self.claims.give_up(self.claimant, &claimed.claim).await?),
            Origin::TakenOver => Ok(()),
        }
    }

    /// Creates the claim of this name, or takes over the caller's own.
    async fn create(
        &self,
        ip: IpAddr,
        name: &DnsSubdomain,
        existing: Existing,
    ) -> Result<Created, ClaimError> {
        let Acquisition { claims, pool, claimant, .. } = self;
        let new = Reservation::new(name.as_str(), pool.reservation_owner(claimant));
        let reservation = if claimant.pod_uid.is_some() { new } else { new.owned_by_container() };
        let collection = claims.collection();
        let (mut origin, mut existing) = (Origin::New, existing);
        loop {
            let sent = AtomicU32::new(0);
            let create = || {
                sent.fetch_add(1, Ordering::Relaxed);
                claims.api.create::<Reservation>(&collection, &reservation, claims.deadline)
            };
            match retry(claims.deadline, POLICY, create).await {
                Ok(claim) => {
                    let claim = pool.held_claim(ip, name, &claim);
                    return Ok(Created::Held(Claimed { claim, origin: Origin::New }));
                }
                Err(ApiError::AlreadyExists { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            // If the create was sent once, another call made the claim that exists, and a GET is worth its request only if the claim may
            // be the caller's. If it was sent again after an unknown outcome (a time-out), the first one may have made the claim.
            let sent = sent.into_inner();
            if existing == Existing::IsOther && sent == 1 {
                return Ok(Created::Conflict(None));
            }
            // The claim was deleted between the create and this GET: create again.
            let Some(present) = claims.get(name).await? else { continue };
            if !claimant.may_take(&present) {
                return Ok(Created::Conflict(Some(present.spec.podref)));
            }
            // The claim may be the newer call's.
            if self.cursor.is_superseded() {
                return Err(self.superseded());
            }
            // Either this call made the claim and lost the response, or an earlier call for the interface held it.
            let made_by_this_call = present.container() == claimant.container_id && sent > 1;
            let origin_of_present = if made_by_this_call { origin } else { Origin::TakenOver };
            if let Some(claim) = claims.take_over(pool, claimant, ip, name, present).await? {
                return Ok(Created::Held(Claimed { claim, origin: origin_of_present }));
            }
            // The claim changed since the GET: begin again. This call itself may have changed it, if the response was lost.
            origin = Origin::TakenOver;
            existing = Existing::MayBeCaller;
        }
    }

    fn superseded(&self) -> ClaimError {
        ClaimError::Superseded { podref: self.claimant.podref.clone() }
    }

    /// Lists claims: which addresses of the pool are held, and which one the caller holds already.
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
        // An address that conflicted before is in the full list, or it is free again.
        if scope == Scope::All {
            self.conflicts.clone_from(self.own);
            self.conflicts.extend(&self.entries);
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
            NoCandidate::Exhausted(_) => holders(&self.pool.free, &self.holders),
            NoCandidate::RequestedOutside { .. } => Vec::new(),
        };
        ClaimError::NoCandidate { reason, holders }
    }
}

/// An address with the claims of both of its names. It counts as held before if one of them was.
fn both(first: Claimed, second: Claimed) -> Claimed {
    let origin = if first.origin == Origin::New { second.origin } else { first.origin };
    let HeldClaim { name, resource_version, .. } = second.claim;
    let second = Some(SecondClaim { name, resource_version });
    Claimed { claim: HeldClaim { second, ..first.claim }, origin }
}

/// The claims of one pool in a list.
struct PoolList<'a> {
    pool: &'a Pool,
    claimant: &'a Claimant,
    listing: Listing,
}

impl ClaimSink for PoolList<'_> {
    fn add(&mut self, claim: Reservation) {
        self.listing.add(self.pool, self.claimant, claim);
    }

    fn restart(&mut self) {
        self.listing = Listing::default();
    }
}
