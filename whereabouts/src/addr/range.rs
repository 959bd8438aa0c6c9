//! Which addresses a pool may allocate.
//!
//! A [`RangeSpec`] is the configured range. [`RangeSpec::allocatable`] turns it into [`Allocatable`]: the spans of addresses that remain
//! of the window (`range_start` to `range_end`) without the excludes.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::addr::ip::{self, CidrError, Family};

/// A range that cannot be read. The texts are Whereabouts'; tools match on them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// "A" of "A-B/len" is not an address.
    #[error("invalid range start IP: {0}")]
    Start(String),
    /// "B/len" of "A-B/len" is not an address with prefix length.
    #[error("invalid CIDR (do you have the 'range' parameter set for Whereabouts?) '{text}': {source}")]
    End {
        /// The part after the "-".
        text: String,
        /// The parse error.
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
        /// The parse error.
        source: CidrError,
    },
    /// An exclude is neither "address/length" nor an address.
    #[error("could not parse exclude range, err: \"{0}\"")]
    Exclude(CidrError),
}

/// One element of `ipRanges`, or `range` with the keys beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeSpec {
    /// The network, without host bits. Its text names the pool; its prefix length is that of every allocated address.
    pub net: IpNet,
    /// The first address to allocate; see [`Window`] for when it counts.
    pub start: Option<IpAddr>,
    /// The last address to allocate; see [`Window`] for when it counts.
    pub end: Option<IpAddr>,
    /// CIDRs or single addresses. They are parsed only for an allocation, so that a typing error does not block the deletion of a pod.
    pub excludes: Vec<String>,
}

impl RangeSpec {
    /// Reads "A-B/len" or "address/len". The first form overrides `start` and `end`.
    ///
    /// # Errors
    /// Every [`RangeError`] except [`RangeError::Exclude`].
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

    /// The window from start to end. See [`Window`].
    pub fn window(&self) -> Window {
        let usable = usable(&self.net);
        let mut window = Window { first: usable.first, last: usable.last, ignored: Vec::new() };
        if let Some(start) = self.start {
            match window.number_of(self.family(), start) {
                Some(number) => window.first = number,
                None => window.ignore(Bound::Start(start), &self.net),
            }
        }
        if let Some(end) = self.end {
            // The window begins at the start by now, so an end below the start is outside.
            match window.number_of(self.family(), end) {
                Some(number) => window.last = number,
                None => window.ignore(Bound::End(end), &self.net),
            }
        }
        window
    }

    /// The addresses that may be allocated.
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

    /// Whether a pod may request this address: it is in the network, and neither the network address nor the broadcast address. Start, end
    /// and excludes do not matter: they restrict only the addresses that the pool chooses itself.
    pub fn is_usable(&self, ip: IpAddr) -> bool {
        let usable = usable(&self.net);
        // IPv6 has no broadcast. Whereabouts never chooses the last address of a network, but a host can have it.
        let is_last_v6 = ip.is_ipv6() && ip == self.net.broadcast();
        Family::of(ip) == self.family() && (is_last_v6 || usable.contains(ip::number(ip)))
    }

    /// IPv4 or IPv6.
    pub fn family(&self) -> Family {
        Family::of(self.net.addr())
    }
}

/// One end of a window, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `range_start`.
    Start(IpAddr),
    /// `range_end`.
    End(IpAddr),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(ip) => write!(f, "range_start {ip}"),
            Self::End(ip) => write!(f, "range_end {ip}"),
        }
    }
}

/// The first and last address of a range. `range_start` counts only if it is a usable address of the network, `range_end` only if it is
/// one and not below the start. Otherwise it is ignored, as by Whereabouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    first: u128,
    last: u128,
    /// Ignored bounds that are probably a mistake. The network address and the broadcast address are not reported: people write them to
    /// mean the whole range.
    pub ignored: Vec<Bound>,
}

impl Window {
    fn number_of(&self, family: Family, ip: IpAddr) -> Option<u128> {
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

/// The network without its first and last address. IPv6 has no broadcast, but Whereabouts leaves out the last address there too. A /31 or
/// /127 has two usable addresses, a /32 or /128 one (RFC 3021, RFC 6164).
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

/// Consecutive addresses as numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u128,
    last: u128,
}

impl Span {
    const fn contains(&self, number: u128) -> bool {
        self.first <= number && number <= self.last
    }

    /// One less than the number of addresses: the number itself does not fit into 128 bits for `::/0`.
    const fn size_less_one(&self) -> u128 {
        self.last - self.first
    }
}

/// The parts of `whole` outside `holes`, in ascending order.
fn subtract(whole: Span, mut holes: Vec<Span>) -> Vec<Span> {
    holes.sort_unstable_by_key(|hole| hole.first);
    let mut rest = Vec::with_capacity(holes.len() + 1);
    // The first number that no hole has covered so far. Holes may overlap.
    let mut next = whole.first;
    for hole in holes {
        if hole.last < next || hole.first > whole.last {
            continue;
        }
        if hole.first > next {
            rest.push(Span { first: next, last: hole.first - 1 });
        }
        if hole.last >= whole.last {
            return rest;
        }
        // Cannot overflow: `hole.last` is below `whole.last`.
        next = hole.last + 1;
    }
    rest.push(Span { first: next, last: whole.last });
    rest
}

/// The addresses that a pool may allocate: spans in ascending order, separated by excludes.
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

    /// The number of addresses. It saturates at [`u128::MAX`].
    pub fn size(&self) -> u128 {
        self.spans.iter().fold(0_u128, |sum, span| sum.saturating_add(span.size_less_one()).saturating_add(1))
    }

    /// The addresses of both, which must be of one network.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut spans: Vec<Span> = self.spans.iter().chain(&other.spans).copied().collect();
        spans.sort_unstable_by_key(|span| span.first);
        let mut merged: Vec<Span> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.first <= last.last => last.last = last.last.max(span.last),
                Some(_) | None => merged.push(span),
            }
        }
        let (one, two) = (self.window, other.window);
        let window = Span { first: one.first.min(two.first), last: one.last.max(two.last) };
        Allocatable { window, spans: merged, ..self.clone() }
    }

    /// Whether the address may be allocated.
    pub fn contains(&self, ip: IpAddr) -> bool {
        Family::of(ip) == self.family && self.spans.iter().any(|span| span.contains(ip::number(ip)))
    }

    /// The lowest address that is not `used`. The cost is one step for each exclude and for each used address below the answer, never one
    /// for each excluded address.
    pub fn first_free(&self, used: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        self.nth_free(used, 0, self.window.first)
    }

    /// The lowest free address at or above `from`; if there is none, the lowest of all.
    pub fn first_free_from(&self, used: &BTreeSet<IpAddr>, from: IpAddr) -> Option<IpAddr> {
        self.nth_free_from(used, 0, from).or_else(|| self.first_free(used))
    }

    /// Free address number `n`, counted from 0, at or above `from`.
    pub fn nth_free_from(&self, used: &BTreeSet<IpAddr>, n: u128, from: IpAddr) -> Option<IpAddr> {
        if Family::of(from) == self.family { self.nth_free(used, n, ip::number(from)) } else { None }
    }

    /// Free address number `n`, counted from 0.
    pub fn free_at(&self, used: &BTreeSet<IpAddr>, n: u128) -> Option<IpAddr> {
        self.nth_free(used, n, self.window.first)
    }

    /// The number of these addresses that are `used`.
    pub fn count_used(&self, used: &BTreeSet<IpAddr>) -> usize {
        self.spans
            .iter()
            .map(|span| used.range(self.address(span.first)..=self.address(span.last)).count())
            .sum()
    }

    fn nth_free(&self, used: &BTreeSet<IpAddr>, mut n: u128, from: u128) -> Option<IpAddr> {
        for span in self.spans.iter().filter(|span| span.last >= from) {
            let mut next = Some(span.first.max(from));
            let used = used.range(self.address(span.first.max(from))..=self.address(span.last));
            // A used address ends a gap; `None` stands for the end of the span, which ends the last one.
            for used in used.map(|ip| Some(ip::number(*ip))).chain([None]) {
                let Some(first) = next.filter(|first| *first <= span.last) else { break };
                let last = used.map_or(Some(span.last), |number| number.checked_sub(1));
                // The gap's size less one, as in `Span::size_less_one`.
                if let Some(gap) = last.and_then(|last| last.checked_sub(first)) {
                    if n <= gap {
                        return Some(self.address(first + n));
                    }
                    n -= gap + 1;
                }
                // `None` after the highest number of all: there is no further gap.
                next = used.and_then(|number| number.checked_add(1));
            }
        }
        None
    }

    fn address(&self, number: u128) -> IpAddr {
        // The fallback is never used: every number here comes from an address of this family.
        self.family.address(number).unwrap_or_else(|| self.net.addr())
    }
}

#[cfg(test)]
mod tests;
