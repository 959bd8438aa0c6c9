//! Ranges, their excludes and slices.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use whereabouts::addr::ip;
use whereabouts::addr::ip::Family;
use whereabouts::addr::range::{Allocatable, RangeSpec};
use whereabouts::addr::slices::{SliceSize, Slices};

use super::super::lossy;

/// The number of addresses below an answer that are checked one by one.
const LOOKED_AT: u128 = 512;

/// Lines: range, start, end, excludes and used addresses (both separated by commas), first candidate, slice size. The first free address is in
/// the window, is neither excluded nor used, and no address below it is free.
pub fn whereabouts_range(bytes: &[u8]) {
    let text = lossy(bytes);
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (range, start, end) = (line(), ip::parse_sloppy(line()), ip::parse_sloppy(line()));
    let excludes: Vec<String> = line().split(',').filter(|e| !e.is_empty()).map(str::to_owned).collect();
    let used: BTreeSet<IpAddr> = line().split(',').filter_map(ip::parse_strict).collect();
    let (from, size) = (ip::parse_strict(line()), SliceSize::parse(line()));
    let Ok(spec) = RangeSpec::parse(range, start, end, excludes) else { return };
    assert_eq!(spec.net, spec.net.trunc(), "a range has no host bits");
    if let Ok(size) = size {
        sliced(spec.net, size);
    }
    let Ok(free) = spec.allocatable() else { return };
    let (first, last) = (free.first(), free.last());
    assert!(
        first <= last && spec.net.contains(&first) && spec.net.contains(&last),
        "{first} to {last} in {}",
        spec.net
    );
    let answer = free.first_free(&used);
    match answer {
        Some(ip) => {
            is_free(&spec, &free, &used, ip);
            none_is_free(&free, &used, first, ip);
        }
        None => {
            let held = u128::try_from(free.count_used(&used)).expect("a count");
            assert_eq!(held, free.size(), "{spec:?}: no free address although some are unused");
        }
    }
    assert_eq!(free.free_at(&used, 0), answer);
    if let (Some(one), Some(two)) = (answer, free.free_at(&used, 1)) {
        is_free(&spec, &free, &used, two);
        assert!(one < two);
    }
    if let Some(from) = from {
        let found = free.first_free_from(&used, from);
        assert_eq!(found.is_some(), answer.is_some());
        if let Some(ip) = found {
            is_free(&spec, &free, &used, ip);
            assert!(ip >= from || found == answer, "{ip} is below {from}");
        }
    }
    counted(&free);
}

fn is_free(spec: &RangeSpec, free: &Allocatable, used: &BTreeSet<IpAddr>, ip: IpAddr) {
    assert!(free.contains(ip) && spec.is_usable(ip), "{ip} is not of {spec:?}");
    assert!(!used.contains(&ip), "{ip} is used");
    assert!(free.first() <= ip && ip <= free.last(), "{ip} is outside the window of {spec:?}");
    for exclude in free.excludes() {
        let net = exclude
            .parse::<IpNet>()
            .or_else(|_| exclude.parse::<IpAddr>().map(|ip| ip.to_canonical().into()));
        assert!(!net.is_ok_and(|net| net.contains(&ip)), "{ip} is excluded by {exclude}");
    }
}

fn none_is_free(free: &Allocatable, used: &BTreeSet<IpAddr>, first: IpAddr, answer: IpAddr) {
    let below = ip::offset(answer, first).expect("an answer is at or above the first");
    for offset in below.saturating_sub(LOOKED_AT)..below {
        let ip = ip::add(first, offset).expect("it lies below the answer");
        assert!(!free.contains(ip) || used.contains(&ip), "{ip} is free and below {answer}");
    }
}

/// The size of a small pool is the number of its addresses.
fn counted(free: &Allocatable) {
    let width = ip::offset(free.last(), free.first()).expect("the window has an order");
    if width < LOOKED_AT {
        let is_in = |offset: &u128| ip::add(free.first(), *offset).is_some_and(|ip| free.contains(ip));
        let count = (0..=width).filter(is_in).count();
        assert_eq!(u128::try_from(count).expect("a count"), free.size());
    }
}

/// Slices are in the range, adjacent, and `index_of` finds the slice of an address.
fn sliced(net: IpNet, size: SliceSize) {
    let Ok(slices) = Slices::of(net, size) else { return };
    let count = slices.count();
    assert!(slices.get(count).is_none());
    let mut next = Some(net.network());
    for index in 0..count.min(4) {
        let slice = slices.get(index).expect("a slice of a number below the count");
        assert!(net.contains(&slice) && Some(slice.network()) == next, "slice {index} of {net}: {slice}");
        assert_eq!(
            (slices.index_of(slice.network()), slices.index_of(slice.broadcast())),
            (Some(index), Some(index))
        );
        next = ip::add(slice.broadcast(), 1);
    }
    // ::/0 has 2^128 slices of one address; the count is capped at 2^128 - 1.
    if count < u128::MAX {
        let last = slices.get(count - 1).expect("the last slice");
        assert_eq!(last.broadcast(), net.broadcast());
    }
    assert_eq!(Family::of(net.addr()), Family::of(net.network()));
}
