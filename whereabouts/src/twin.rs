//! The other name of an address, in pools that are used both ways.
//!
//! A claim is named after its address where ranges may overlap, and after pool and address where each range stands for itself
//! ([`crate::naming`]). The create of the name is the lock; so a pool that is ordered from in both ways, because two networks differ or
//! somebody toggles `enable_overlapping_ranges`, has two locks for each address. That no two pods hold one each:
//!
//! 1. An order for itself sees to it, before its first claim, that the pool's object says since when such orders are there
//!    ([`Separation`]).
//! 2. As long as that is younger than [`SETTLING`], it takes the shared name, as all others do: it is stricter than it was asked to be.
//! 3. Whoever has read that the pool says so takes its name, and then looks at the other one. Who finds another's claim there gives its
//!    own back.
//!
//! Both take and then look, and a read sees everything written before it: of two orders that take one name each, the one that looks last
//! finds the other's claim. An order that has not read what the pool says does not look; but as long as there can be such a one, nobody
//! takes the name that it does not look at. A claim that is there and was not looked at (its order died) is nobody's address yet; who
//! takes it over looks.

use std::net::IpAddr;

use k8s_openapi::jiff::Timestamp;
use node::client::ApiError;
use node::names::DnsSubdomain;

use crate::claim::{Attempt, ClaimError, Claims, Origin};
use crate::conf::OverlappingRanges;
use crate::naming::{self, ClaimScope, NamingError};
use crate::objects::{Reservation, label};
use crate::order::Who;
use crate::pool::Pool;
use crate::record::HeldClaim;

/// For so long, in seconds, after a pool was first used separately its claims keep the shared names. An order that did not yet read so
/// ends within 90 s (what is read of a pool counts for 60 s, an order takes 30 s at most). The rest is for clocks of nodes that differ,
/// and for a time that was long under way when it was written.
pub const SETTLING: i64 = 600;

/// Whether addresses of a pool are, or were, given with `enable_overlapping_ranges: false`, as its object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Separation {
    /// Never.
    #[default]
    Never,
    /// Since then.
    Since(Timestamp),
    /// It says so, but not since when.
    Unclear,
}

impl Separation {
    /// What the annotation says.
    pub fn of(annotation: Option<&str>) -> Self {
        match annotation.map(str::parse) {
            None => Separation::Never,
            Some(Ok(since)) => Separation::Since(since),
            Some(Err(_)) => Separation::Unclear,
        }
    }

    /// Whether it is known well enough for an order of this kind: one for itself needs a time from which to count.
    pub const fn will_do(self, overlapping: OverlappingRanges) -> bool {
        match overlapping {
            OverlappingRanges::Protected => true,
            OverlappingRanges::Separate => matches!(self, Separation::Since(_)),
        }
    }
}

/// A moment as a pool's object says it, in whole seconds.
pub fn written(moment: Timestamp) -> String {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment).to_string()
}

/// How a pool's claims are named and what is looked at, for one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// After the address. There is no other name.
    Shared,
    /// After the address; then the name after the pool is looked at.
    SharedFirst,
    /// After the pool; then the name after the address is looked at.
    ApartFirst,
}

/// Which way to go at `now`.
pub fn way(overlapping: OverlappingRanges, separation: Separation, now: Timestamp) -> Way {
    let settled = matches!(separation, Separation::Since(at) if now.as_second() - at.as_second() >= SETTLING);
    match (overlapping, separation) {
        (OverlappingRanges::Protected, Separation::Never) => Way::Shared,
        (OverlappingRanges::Separate, _) if settled => Way::ApartFirst,
        (OverlappingRanges::Protected | OverlappingRanges::Separate, _) => Way::SharedFirst,
    }
}

/// What the claims of a pool are called.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// The pool.
    pub pool: &'a DnsSubdomain,
    /// Its `network_name`.
    pub network: Option<&'a str>,
    /// The way to go.
    pub way: Way,
}

impl<'a> Names<'a> {
    /// Named after the address, whatever pool it is of.
    pub const fn shared(&self) -> ClaimScope<'a> {
        ClaimScope::Shared { network: self.network }
    }

    /// Named after the pool too.
    pub const fn apart(&self) -> ClaimScope<'a> {
        ClaimScope::Pool(self.pool)
    }

    /// The name to take.
    pub fn claim(&self, ip: IpAddr) -> Result<DnsSubdomain, NamingError> {
        match self.way {
            Way::Shared | Way::SharedFirst => naming::claim(ip, self.shared()),
            Way::ApartFirst => naming::claim(ip, self.apart()),
        }
    }

    /// The name to look at then.
    pub fn twin(&self, ip: IpAddr) -> Result<Option<DnsSubdomain>, NamingError> {
        match self.way {
            Way::Shared => Ok(None),
            Way::SharedFirst => naming::claim(ip, self.apart()).map(Some),
            Way::ApartFirst => naming::claim(ip, self.shared()).map(Some),
        }
    }

    /// The address that a claim withholds from the pool, if any. `says` is the pool that it says it is of: under the name that orders take
    /// a claim is in the way whatever it says, under the other name only as one of the pool.
    pub fn withheld(&self, claim: &str, says: Option<&str>) -> Option<IpAddr> {
        let (taken, other) = match self.way {
            Way::Shared | Way::SharedFirst => (self.shared(), self.apart()),
            Way::ApartFirst => (self.apart(), self.shared()),
        };
        let other = || naming::claimed_address(claim, other).filter(|_| is_of(self.pool.as_str(), says));
        naming::claimed_address(claim, taken).or_else(other)
    }
}

/// Whether a claim that says to be of the pool `says` counts as one of `pool`. One that says nothing was made by Whereabouts, or by hand:
/// perhaps for another pool that overlaps, but nobody can tell, and Whereabouts may be about to use it in this one. So it counts: an
/// address that stays free costs less than one that two have, and an adopted one says whose it is.
pub fn is_of(pool: &str, says: Option<&str>) -> bool {
    // What is read of the label alone is cut.
    says.is_none_or(|says| says == pool || says == label(pool))
}

/// What was found under the other name.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    /// Nothing that matters: the address is the caller's.
    Clear,
    /// A claim of the same interface of the same pod, from before.
    Own(Box<Reservation>),
    /// The claim of this pod's.
    Anothers(String),
}

/// Judges what was found.
pub fn sight(pool: &Pool, who: &Who, found: Option<Reservation>) -> Sight {
    match found {
        Some(claim) if is_of(pool.name.as_str(), claim.pool()) => {
            if claim.is_of(&who.podref, &who.if_name) {
                Sight::Own(Box::new(claim))
            } else {
                Sight::Anothers(claim.spec.podref)
            }
        }
        // It is of another pool.
        Some(_) | None => Sight::Clear,
    }
}

/// When the other name of an address is looked at.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Look {
    /// After its own is taken: that is what counts.
    #[default]
    Afterwards,
    /// Before, too, once an address was lost to its other name: a claim that comes and goes makes those who follow the pool believe that
    /// the address is free.
    FirstToo,
}

impl Claims<'_> {
    /// The other pod that holds an address by its other name, if one does.
    pub(crate) async fn holder_of_twin(
        &self,
        pool: &Pool,
        who: &Who,
        ip: IpAddr,
    ) -> Result<Option<String>, ClaimError> {
        let Some(twin) = pool.names().twin(ip)? else { return Ok(None) };
        match sight(pool, who, self.get(&twin).await?) {
            Sight::Anothers(owner) => Ok(Some(owner)),
            Sight::Clear | Sight::Own(_) => Ok(None),
        }
    }

    /// Looks at the other name of an address whose claim was just got. Of two claims of the caller's own the shared one stays, since it
    /// keeps other pools off too.
    pub(crate) async fn look_at_twin(
        &self,
        pool: &Pool,
        who: &Who,
        ip: IpAddr,
        (mine, origin): (HeldClaim, Origin),
    ) -> Result<Attempt, ClaimError> {
        let names = pool.names();
        let Some(twin) = names.twin(ip)? else { return Ok(Attempt::Held(mine, origin)) };
        loop {
            let own = match sight(pool, who, self.get(&twin).await?) {
                Sight::Clear => return Ok(Attempt::Held(mine, origin)),
                Sight::Anothers(owner) => {
                    self.give_up(who, &mine).await?;
                    return Ok(Attempt::TwinIs(owner));
                }
                Sight::Own(own) => *own,
            };
            if names.way == Way::ApartFirst {
                if let Some(kept) = self.take_over(pool, who, ip, &twin, own).await? {
                    self.give_up(who, &mine).await?;
                    return Ok(Attempt::Held(kept, Origin::TakenOver));
                }
                continue;
            }
            self.check_successor(who, &own).await?;
            let version = own.metadata.resource_version.unwrap_or_default();
            match self.delete(&twin, &version).await {
                // The address was the interface's before, by the claim that is gone now.
                Ok(()) => return Ok(Attempt::Held(mine, Origin::TakenOver)),
                Err(ApiError::NotFound { .. } | ApiError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
