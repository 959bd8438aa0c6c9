//! Which address to try next: a function of what the caller knows. Whether the address is free, only the create of its claim decides.
//!
//! [`next`] returns the first candidate of this table that exists. It skips addresses that conflicted earlier in this call.
//!
//! | order | candidate | condition |
//! |---|---|---|
//! | 1 | the requested address | usable in the range. If there is one, nothing else is tried |
//! | 2 | the previous address of the same interface of the same pod | usable in the range |
//! | 3 | a free address at or above `start`, after `ahead` + a random number of other free ones | the pool has that many |
//! | 4 | the first free address at or above `start` | |
//!
//! 3 and 4 continue at the beginning of the pool when they reach its end. Without `start` they begin there. 3 is the same as 4 for a caller
//! that is alone: `ahead` and the random number are 0. The random number is below a window, see `spread`:
//!
//! | conflicts in this call | window of few callers | window of many callers |
//! |---|---|---|
//! | 0, 1, 2 | 0 | 4,096; 32,768; 262,144 |
//! | 3, 4, 5, ... | 64; 512; 4,096; ... | 2,097,152; ... |
//!
//! Each further conflict makes the window eight times as wide, up to 2^30.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::addr::ip;
use crate::addr::range::{Allocatable, RangeSpec};

/// After this number of conflicts a caller without a list of the claims lists them: the pool is full, or nearly.
pub(crate) const CONFLICTS_BEFORE_LIST: usize = 10;

/// The first window of many callers. Of 200 callers on 20 nodes some five choose an address that another one has chosen, in a pool of that size.
const MANY_CALLERS_WINDOW: u32 = 1 << 12;

/// The first window of few callers, used after the first [`CONFLICTS_IN_ORDER`] conflicts.
const FEW_CALLERS_WINDOW: u32 = 64;

/// After this number of conflicts few callers stop trying one address after the other.
const CONFLICTS_IN_ORDER: usize = 3;

/// The widest window: it finds free addresses in any pool that is not nearly full, and stays far below the largest key of an IPPool (2^63).
const WIDEST: u32 = 1 << 30;

/// The concurrent callers of a pool on this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConcurrentCallers {
    /// The number of earlier callers. They try the first candidates, so this caller skips as many.
    pub ahead: u32,
    /// Whether there are many.
    pub size: CallerCount,
}

/// Whether a pool has many concurrent callers. Pods usually start on many nodes at once, so many callers here mean many elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CallerCount {
    /// Fewer than [`CallerCount::MANY_FROM`].
    #[default]
    Few,
    /// At least [`CallerCount::MANY_FROM`].
    Many,
}

impl CallerCount {
    /// The number of concurrent callers on one node that counts as many.
    pub const MANY_FROM: u16 = 4;

    /// Of this number of concurrent callers.
    pub const fn of(callers: usize) -> Self {
        if callers >= Self::MANY_FROM as usize { CallerCount::Many } else { CallerCount::Few }
    }
}

/// What the caller knows about the addresses of a pool.
#[derive(Debug, Clone, Copy)]
pub struct KnownAddresses<'a> {
    /// Addresses with a claim; may be outdated or empty.
    pub used: &'a BTreeSet<IpAddr>,
    /// Addresses that this call has tried and that others own.
    pub conflicts: &'a BTreeSet<IpAddr>,
}

/// Which candidates the caller prefers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Preferences {
    /// The address that the pod requests. No other address will do.
    pub requested: Option<IpAddr>,
    /// The address that the same interface of the same pod has or had in this pool.
    pub previous: Option<IpAddr>,
    /// The address to start the search at.
    pub start: Option<IpAddr>,
    /// The number of free addresses to skip because earlier callers try them.
    pub ahead: u32,
    /// The largest random number of free addresses to skip. Above 0 if other callers are known to start at the same address.
    pub spread: u32,
}

/// There is no address to try.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCandidate {
    /// Every address is used or excluded. The beginning of the text is Whereabouts'.
    #[error("{0}")]
    Exhausted(Box<Exhausted>),
    /// Another pod has the requested address.
    #[error("requested address {ip} is in use by another pod; request another address or remove that pod")]
    RequestedTaken {
        /// The address.
        ip: IpAddr,
    },
    /// The requested address is not usable in the range.
    #[error(
        "requested address {ip} is not a usable address of {range}; request one inside the network's range"
    )]
    RequestedOutside {
        /// The address.
        ip: IpAddr,
        /// The range.
        range: String,
    },
}

/// What to do about a pool whose addresses are all excluded. Neither a larger pool of pods nor fewer of them would help.
pub(crate) const NOTHING_LEFT: &str = "the excludes cover every address between the first and the last one (the gateway is excluded too); \
     correct exclude, range_start or range_end";

/// A pool without a free address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// First address of the window.
    pub first: IpAddr,
    /// Last address of the window.
    pub last: IpAddr,
    /// The range.
    pub range: String,
    /// The excludes as configured.
    pub excludes: Vec<String>,
    /// The number of addresses that the pool may allocate.
    pub size: u128,
    /// The number of them that the caller knew to be used.
    pub used: usize,
    /// The number of them that conflicted in this call.
    pub conflicts: usize,
}

impl Exhausted {
    /// Whether pods hold the addresses. Otherwise all of them are excluded.
    pub const fn is_full(&self) -> bool {
        self.size > 0
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, range, excludes, size, used, conflicts } = self;
        // Tools match on the text up to the excludes, which is in Go's form of a list.
        write!(
            f,
            "Could not allocate IP in range: ip: {first} / - {last} / range: {range} / excludeRanges: [{}]: ",
            excludes.join(" ")
        )?;
        if *size == 0 {
            return f.write_str(NOTHING_LEFT);
        }
        write!(
            f,
            "the pool has {size} addresses, {used} are in use and {conflicts} more were claimed by others during this call; \
             enlarge the range or remove pods"
        )
    }
}

/// The next address to try. `random` is any number, uniform over all 64 bits.
///
/// # Errors
/// [`NoCandidate`].
pub fn next(
    spec: &RangeSpec,
    free: &Allocatable,
    known: KnownAddresses<'_>,
    preferences: Preferences,
    random: u64,
) -> Result<IpAddr, NoCandidate> {
    if let Some(ip) = preferences.requested {
        return requested(spec, known, ip);
    }
    // Tried even if it is used: the claim may be the caller's own.
    if let Some(ip) = preferences.previous.filter(|ip| spec.is_usable(*ip) && !known.conflicts.contains(ip)) {
        return Ok(ip);
    }
    let skip = u64::from(preferences.ahead) + random % window(free, known, preferences.spread);
    let start = preferences.start;
    let found = nth_free(free, known, start, skip).or_else(|| nth_free(free, known, start, 0));
    found.ok_or_else(|| NoCandidate::Exhausted(Box::new(exhausted(free, known))))
}

/// The exclusive limit of the random number: `spread` + 1, but at most the number of free addresses.
fn window(free: &Allocatable, known: KnownAddresses<'_>, spread: u32) -> u64 {
    /// The largest pool whose used addresses are counted exactly: the count takes one step for each.
    const COUNTED: u128 = 1 << 12;
    let widest = u64::from(spread) + 1;
    if spread == 0 {
        return widest;
    }
    let used = if free.size() > COUNTED { known.used.len() } else { free.count_used(known.used) };
    let unused = free.size().saturating_sub(used as u128);
    u64::try_from(unused).unwrap_or(widest).clamp(1, widest)
}

/// The largest random number of free addresses to skip, see the table of the module.
///
/// The first conflicts of few callers may be older claims in a row, so they try one address after the other and the pool stays dense.
/// Later the window grows with each conflict: a few tries lead past any number of claims, and callers that know the same do not conflict
/// again and again. `recent` is the window that other calls needed a moment ago.
pub(crate) fn spread(recent: u32, size: CallerCount, conflicts: usize) -> u32 {
    let callers = match size {
        CallerCount::Few => 0,
        CallerCount::Many => MANY_CALLERS_WINDOW,
    };
    let alone =
        conflicts.checked_sub(CONFLICTS_IN_ORDER).map_or(0, |further| grown(FEW_CALLERS_WINDOW, further));
    alone.max(grown(recent.max(callers), conflicts))
}

/// A window after this number of conflicts: eight times as wide for each.
fn grown(window: u32, conflicts: usize) -> u32 {
    // At most 30 bits, so that the shifted 32-bit number fits into 64 bits.
    let shift = 3 * conflicts.min(10);
    u32::try_from(u64::from(window) << shift).unwrap_or(WIDEST).min(WIDEST)
}

/// The free address after `skip` others, from `start` on and then from the beginning.
///
/// Conflicts are few, so they are skipped one by one. To merge them with the used addresses would copy a set that may be large.
fn nth_free(
    free: &Allocatable,
    known: KnownAddresses<'_>,
    start: Option<IpAddr>,
    skip: u64,
) -> Option<IpAddr> {
    let above = start.and_then(|start| free.nth_free_from(known.used, skip.into(), start));
    let first = above.or_else(|| free.free_at(known.used, skip.into()))?;
    let mut found = first;
    while known.conflicts.contains(&found) {
        let next = ip::add(found, 1).and_then(|next| free.nth_free_from(known.used, 0, next));
        // Back at the first one: every free address conflicted.
        found = next.or_else(|| free.first_free(known.used)).filter(|next| *next != first)?;
    }
    Some(found)
}

fn requested(spec: &RangeSpec, known: KnownAddresses<'_>, ip: IpAddr) -> Result<IpAddr, NoCandidate> {
    if !spec.is_usable(ip) {
        return Err(NoCandidate::RequestedOutside { ip, range: spec.net.to_string() });
    }
    if known.conflicts.contains(&ip) {
        return Err(NoCandidate::RequestedTaken { ip });
    }
    Ok(ip)
}

fn exhausted(free: &Allocatable, known: KnownAddresses<'_>) -> Exhausted {
    let conflicts = known.conflicts.difference(known.used).copied().collect();
    Exhausted {
        first: free.first(),
        last: free.last(),
        range: free.net().to_string(),
        excludes: free.excludes().to_vec(),
        size: free.size(),
        used: free.count_used(known.used),
        conflicts: free.count_used(&conflicts),
    }
}

#[cfg(test)]
mod tests;
