//! Which addresses a pool may give out.
//!
//! A [`RangeSpec`] is what the configuration says; [`RangeSpec::allocatable`] makes [`Allocatable`] of it: the
//! spans of addresses that are left between the ends of the window once the excludes are taken out.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::addr::ip;
use crate::addr::ip::{CidrError, Family};

/// A range is not one. The texts are those of Whereabouts; tools match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// "A" of "A-B/len" is no address.
    #[error("invalid range start IP: {0}")]
    Start(String),
    /// "B/len" of "A-B/len" is no address with prefix length.
    #[error("invalid CIDR (do you have the 'range' parameter set for Whereabouts?) '{text}': {source}")]
    End {
        /// The part after the "-".
        text: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// "A" of "A-B/len" is not in the network of B.
    #[error("invalid range start for CIDR {net}: {start}")]
    StartOutside {
        /// The network.
        net: IpNet,
        /// The start.
        start: IpAddr,
    },
    /// Not of the form "address/length".
    #[error("invalid CIDR {text}: {source}")]
    Cidr {
        /// The text.
        text: String,
        /// What is wrong with it.
        source: CidrError,
    },
    /// An exclude is neither "address/length" nor an address.
    #[error("could not parse exclude range, err: \"{0}\"")]
    Exclude(CidrError),
}

/// One element of `ipRanges`, its forms resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSpec {
    /// The network, without host bits. Its text names the pool; its length is the mask of every address.
    pub net: IpNet,
    /// No address below, if it lies inside.
    pub start: Option<IpAddr>,
    /// No address above, if it lies inside.
    pub end: Option<IpAddr>,
    /// "address/length" or single addresses; read only when an address is needed, so that a mistake here does not
    /// keep a pod from being deleted.
    pub excludes: Vec<String>,
}

impl RangeSpec {
    /// Reads "A-B/len", which brings its own start and end, or "address/len".
    ///
    /// # Errors
    /// All of [`RangeError`] but `Exclude`.
    pub fn parse(
        text: &str,
        start: Option<IpAddr>,
        end: Option<IpAddr>,
        excludes: Vec<String>,
    ) -> Result<Self, RangeError> {
        let Some((first, rest)) = text.split_once('-') else {
            let net = ip::parse_cidr_sloppy(text)
                .map_err(|source| RangeError::Cidr { text: text.to_owned(), source })?
                .trunc();
            return Ok(Self { net, start, end, excludes });
        };
        let start = ip::parse_sloppy(first).ok_or_else(|| RangeError::Start(first.to_owned()))?;
        let end = ip::parse_cidr_sloppy(rest)
            .map_err(|source| RangeError::End { text: rest.to_owned(), source })?;
        let net = end.trunc();
        if !net.contains(&start) {
            return Err(RangeError::StartOutside { net, start });
        }
        Ok(Self { net, start: Some(start), end: Some(end.addr()), excludes })
    }

    /// The window between start and end. See [`Window`].
    pub fn window(&self) -> Window {
        let usable = usable(&self.net);
        let mut window = Window { first: usable.first, last: usable.last, ignored: Vec::new() };
        if let Some(start) = self.start {
            match window.number_inside(self.family(), start) {
                Some(number) => window.first = number,
                None => window.ignore(Bound::Start(start), &self.net),
            }
        }
        if let Some(end) = self.end {
            match window.number_inside(self.family(), end) {
                Some(number) => window.last = number,
                None => window.ignore(Bound::End(end), &self.net),
            }
        }
        window
    }

    /// The addresses that may be given out.
    ///
    /// # Errors
    /// [`RangeError::Exclude`].
    pub fn allocatable(&self) -> Result<Allocatable, RangeError> {
        let window = self.window();
        let mut excludes = Vec::with_capacity(self.excludes.len());
        for text in &self.excludes {
            let net = parse_exclude(text)?;
            if Family::of(net.addr()) == self.family() {
                excludes.push(Span { first: ip::number(net.network()), last: ip::number(net.broadcast()) });
            }
        }
        let span = Span { first: window.first, last: window.last };
        Ok(Allocatable {
            net: self.net,
            family: self.family(),
            window: span,
            spans: subtract(span, excludes),
            excludes: self.excludes.clone(),
        })
    }

    /// True if an address could be used on this network at all: inside, and neither the network's own address nor
    /// the broadcast. Start, end and excludes do not matter: they keep addresses from being given out unasked.
    pub fn is_usable(&self, ip: IpAddr) -> bool {
        let usable = usable(&self.net);
        Family::of(ip) == self.family() && usable.contains(ip::number(ip))
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.net.addr())
    }
}

/// A start or end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `range_start`.
    Start(IpAddr),
    /// `range_end`.
    End(IpAddr),
}

/// The first and last address of a range, start and end considered. A start counts only if it is a usable address of
/// the network, an end only if it is one and not below the start; else it is ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    first: u128,
    last: u128,
    /// What was ignored and probably not meant so: not the network's own first or last address.
    pub ignored: Vec<Bound>,
}

impl Window {
    fn number_inside(&self, family: Family, ip: IpAddr) -> Option<u128> {
        let number = ip::number(ip);
        (Family::of(ip) == family && (self.first..=self.last).contains(&number)).then_some(number)
    }

    fn ignore(&mut self, bound: Bound, net: &IpNet) {
        let (Bound::Start(ip) | Bound::End(ip)) = bound;
        if ip != net.network() && ip != net.broadcast() {
            self.ignored.push(bound);
        }
    }
}

/// Without the network's own address and the broadcast, also for IPv6, where nothing is reserved for a broadcast but
/// pools have been filled so. A /31 or /127 link has two addresses, a /32 or /128 one (RFC 3021, RFC 6164).
fn usable(net: &IpNet) -> Span {
    let (first, last) = (ip::number(net.network()), ip::number(net.broadcast()));
    if last - first < 2 { Span { first, last } } else { Span { first: first + 1, last: last - 1 } }
}

fn parse_exclude(text: &str) -> Result<IpNet, RangeError> {
    match (ip::parse_cidr_strict(text), ip::parse_strict(text)) {
        (Ok(net), _) => Ok(net.trunc()),
        (Err(_), Some(ip)) => Ok(IpNet::from(ip)),
        (Err(error), None) => Err(RangeError::Exclude(error)),
    }
}

/// Addresses without a gap, as numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u128,
    last: u128,
}

impl Span {
    const fn contains(&self, number: u128) -> bool {
        self.first <= number && number <= self.last
    }

    /// One less than its size, which always fits.
    const fn size_less_one(&self) -> u128 {
        self.last - self.first
    }
}

/// `whole` without `holes`, in order.
fn subtract(whole: Span, mut holes: Vec<Span>) -> Vec<Span> {
    holes.sort_unstable_by_key(|hole| hole.first);
    let mut cleanup = Vec::with_capacity(holes.len() + 1);
    let mut next = whole.first;
    for hole in holes {
        if hole.last < next || hole.first > whole.last {
            continue;
        }
        if hole.first > next {
            cleanup.push(Span { first: next, last: hole.first - 1 });
        }
        if hole.last >= whole.last {
            return cleanup;
        }
        next = hole.last + 1;
    }
    cleanup.push(Span { first: next, last: whole.last });
    cleanup
}

/// The addresses a pool may give out: spans in order, each followed by an exclude or the end of the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allocatable {
    net: IpNet,
    family: Family,
    window: Span,
    spans: Vec<Span>,
    excludes: Vec<String>,
}

impl Allocatable {
    /// The network.
    pub const fn net(&self) -> IpNet {
        self.net
    }

    /// The first address of the window, excluded or not.
    pub fn first(&self) -> IpAddr {
        self.address(self.window.first)
    }

    /// The last address of the window, excluded or not.
    pub fn last(&self) -> IpAddr {
        self.address(self.window.last)
    }

    /// The excludes as configured.
    pub fn excludes(&self) -> &[String] {
        &self.excludes
    }

    /// How many addresses may be given out. (Only `::/0` has more than fit: it counts one too few.)
    pub fn size(&self) -> u128 {
        self.spans.iter().fold(0_u128, |sum, span| sum.saturating_add(span.size_less_one()).saturating_add(1))
    }

    /// True if the address may be given out.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family && self.spans.iter().any(|span| span.contains(ip::number(ip)))
    }

    /// The lowest address that may be given out and is not `used`. Takes one step for each exclude and for each
    /// used address below the answer, never one for each excluded address.
    pub fn first_free(&self, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        self.nth_free(used, 0, self.window.first)
    }

    /// The lowest free address at or above `from`, else the lowest of all.
    pub fn first_free_from(&self, used: &BTreeSet<IpAddr>, from: IpAddr) -> Option<IpAddr> {
        self.nth_free_from(used, 0, from).or_else(|| self.first_free(used))
    }

    /// Free address number `n`, from 0, in order, among those at or above `from`.
    pub fn nth_free_from(&self, used: &BTreeSet<IpAddr>, n: u128, from: IpAddr) -> Option<IpAddr> {
        if Family::of(from) == self.family { self.nth_free(used, n, ip::number(from)) } else { None }
    }

    /// Free address number `n`, from 0, in order.
    pub fn free_at(&self, used: &BTreeSet<IpAddr>, n: u128) -> Option<IpAddr> {
        self.nth_free(used, n, self.window.first)
    }

    /// How many addresses of these are `used`.
    pub fn count_used(&self, used: &BTreeSet<IpAddr>) -> usize {
        self.spans
            .iter()
            .map(|span| used.range(self.address(span.first)..=self.address(span.last)).count())
            .sum()
    }

    fn nth_free(&self, used: &BTreeSet<IpAddr>, mut n: u128, from: u128) -> Option<IpAddr> {
        for span in self.spans.iter().filter(|span| span.last >= from) {
            let mut next = Some(span.first.max(from));
            let taken = used.range(self.address(span.first.max(from))..=self.address(span.last));
            // Each used address ends a gap, and so does the end of the span.
            for taken in taken.map(|ip| Some(ip::number(*ip))).chain([None]) {
                let Some(first) = next.filter(|first| *first <= span.last) else { break };
                let last = taken.map_or(Some(span.last), |number| number.checked_sub(1));
                if let Some(gap) = last.and_then(|last| last.checked_sub(first)) {
                    if n <= gap {
                        return Some(self.address(first + n));
                    }
                    n -= gap + 1;
                }
                next = taken.and_then(|number| number.checked_add(1));
            }
        }
        None
    }

    fn address(&self, number: u128) -> IpAddr {
        // Every number here comes from an address of this family.
        self.family.address(number).unwrap_or_else(|| self.net.addr())
    }
}

#[cfg(test)]
mod tests;
