use super::{Allocatable, Bound, RangeError, RangeSpec};
use std::collections::BTreeSet;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn set(texts: &[&str]) -> BTreeSet<IpAddr> {
    texts.iter().map(|text| ip(text)).collect()
}

fn spec(range: &str, start: &str, end: &str, excludes: &[&str]) -> RangeSpec {
    let bound = |text: &str| (!text.is_empty()).then(|| ip(text));
    RangeSpec::parse(range, bound(start), bound(end), excludes.iter().map(|e| (*e).to_owned()).collect())
        .unwrap()
}

fn allocatable(range: &str, excludes: &[&str]) -> Allocatable {
    spec(range, "", "", excludes).allocatable().unwrap()
}

#[test]
fn the_window_runs_from_start_to_end_where_they_are_usable() {
    // range, start, end, first, last
    let table = [
        ("192.168.21.100/30", "", "", "192.168.21.101", "192.168.21.102"),
        ("192.168.2.200/24", "192.168.2.23", "", "192.168.2.23", "192.168.2.254"),
        ("192.168.2.200/27", "", "", "192.168.2.193", "192.168.2.222"),
        ("192.168.2.200/24", "", "192.168.2.100", "192.168.2.1", "192.168.2.100"),
        ("192.168.2.200/24", "192.168.2.23", "192.168.2.100", "192.168.2.23", "192.168.2.100"),
        ("192.168.2.200/24", "192.168.1.1", "192.168.3.1", "192.168.2.1", "192.168.2.254"),
        ("192.168.2.200/24", "192.168.2.100", "192.168.2.23", "192.168.2.100", "192.168.2.254"),
        ("192.168.2.200/24", "192.168.2.23", "192.168.2.23", "192.168.2.23", "192.168.2.23"),
        ("192.168.2.200/24", "192.168.2.0", "192.168.2.255", "192.168.2.1", "192.168.2.254"),
        ("192.168.2.200/24", "fd00::1", "", "192.168.2.1", "192.168.2.254"),
        ("2001::0/116", "", "", "2001::1", "2001::ffe"),
        (
            "2001:db8:480:603d:304:403::/96",
            "",
            "",
            "2001:db8:480:603d:304:403::1",
            "2001:db8:480:603d:304:403:ffff:fffe",
        ),
        ("2001:db8:5422:5::/64", "", "", "2001:db8:5422:5::1", "2001:db8:5422:5:ffff:ffff:ffff:fffe"),
        (
            "2001:db8:5422:5::/64",
            "2001:db8:5422:5::9",
            "2001:db8:5422:5::10",
            "2001:db8:5422:5::9",
            "2001:db8:5422:5::10",
        ),
        (
            "2001:db8:5422:5::/64",
            "2001:db8:5422:5::10",
            "2001:db8:5422:5::9",
            "2001:db8:5422:5::10",
            "2001:db8:5422:5:ffff:ffff:ffff:fffe",
        ),
        // Whereabouts fails on these.
        ("10.0.0.6/31", "", "", "10.0.0.6", "10.0.0.7"),
        ("10.0.0.6/32", "", "", "10.0.0.6", "10.0.0.6"),
        ("fd00::6/127", "", "", "fd00::6", "fd00::7"),
        ("fd00::6/128", "", "", "fd00::6", "fd00::6"),
        ("::/0", "", "", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"),
        ("0.0.0.0/0", "", "", "0.0.0.1", "255.255.255.254"),
    ];
    for (range, start, end, first, last) in table {
        let found = spec(range, start, end, &[]).allocatable().unwrap();
        assert_eq!((found.first(), found.last()), (ip(first), ip(last)), "{range} {start} {end}");
    }
}

#[test]
fn a_range_is_a_cidr_or_first_and_last_address() {
    // text, network, start, end
    let table = [
        ("192.168.1.44/28", "192.168.1.32/28", "", ""),
        ("192.168.001.010/24", "192.168.1.0/24", "", ""),
        ("192.168.1.11-192.168.1.23/24", "192.168.1.0/24", "192.168.1.11", "192.168.1.23"),
        ("192.168.001.011-192.168.001.023/24", "192.168.1.0/24", "192.168.1.11", "192.168.1.23"),
        (
            "2001:db8:480:603d:0304:0403:000:0000-2001:db8:480:603d:0304:0403:0000:0004/64",
            "2001:db8:480:603d::/64",
            "2001:db8:480:603d:304:403::",
            "2001:db8:480:603d:304:403:0:4",
        ),
    ];
    for (text, net, start, end) in table {
        assert_eq!(spec(text, "", "", &[]), spec(net, start, end, &[]), "{text}");
    }
}

#[test]
fn first_and_last_address_override_range_start_and_range_end() {
    let found = spec("10.0.0.3-10.0.0.4/24", "10.0.0.9", "10.0.0.99", &[]);
    assert_eq!((found.start, found.end), (Some(ip("10.0.0.3")), Some(ip("10.0.0.4"))));
}

#[test]
fn bad_ranges_have_upstreams_error_texts() {
    let table = [
        ("x-10.0.0.9/24", "invalid range start IP: x"),
        (
            "10.0.0.1-10.0.0.9",
            "invalid CIDR (do you have the 'range' parameter set for Whereabouts?) '10.0.0.9': invalid CIDR address: 10.0.0.9",
        ),
        ("10.0.1.1-10.0.0.9/24", "invalid range start for CIDR 10.0.0.0/24: 10.0.1.1"),
        ("10.0.0.1 -10.0.0.9/24", "invalid range start IP: 10.0.0.1 "),
        ("10.0.0.0", "invalid CIDR 10.0.0.0: invalid CIDR address: 10.0.0.0"),
        ("", "invalid CIDR : invalid CIDR address: "),
        ("fd00::1-10.0.0.9/24", "invalid range start for CIDR 10.0.0.0/24: fd00::1"),
    ];
    for (text, expected) in table {
        let error = RangeSpec::parse(text, None, None, Vec::new()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_ignored_bound_is_reported_unless_it_is_the_network_or_broadcast_address() {
    let ignored = |start, end| spec("10.0.0.0/24", start, end, &[]).window().ignored;
    assert_eq!(ignored("10.0.9.1", ""), [Bound::Start(ip("10.0.9.1"))]);
    assert_eq!(ignored("10.0.0.9", "10.0.0.8"), [Bound::End(ip("10.0.0.8"))]);
    assert_eq!(ignored("10.0.0.0", "10.0.0.255"), []);
}

#[test]
fn first_free_returns_the_lowest_unused_address() {
    // range, excludes, used, expected
    type Row = (&'static str, &'static [&'static str], &'static [&'static str], Option<&'static str>);
    let table: &[Row] = &[
        ("192.168.0.0/24", &[], &[], Some("192.168.0.1")),
        ("2001::1/116", &[], &[], Some("2001::1")),
        ("fd::1/116", &[], &[], Some("fd::1")),
        ("::1:0/112", &[], &[], Some("::1:1")),
        ("192.168.0.0/29", &["192.168.0.0/30"], &[], Some("192.168.0.4")),
        ("192.168.0.0/29", &["192.168.0.1"], &[], Some("192.168.0.2")),
        ("100::2:1/125", &["100::2:1/126"], &[], Some("100::2:4")),
        ("100::2:1/125", &["100::2:1"], &[], Some("100::2:2")),
        ("2001:db8::/30", &["2001:db8::/32"], &[], Some("2001:db9::")),
        ("192.168.0.0/28", &["192.168.0.0/29", "192.168.0.8/31"], &[], Some("192.168.0.10")),
        ("192.168.0.0/28", &["192.168.0.8/31", "192.168.0.0/29"], &[], Some("192.168.0.10")),
        ("192.168.0.0/28", &["192.168.0.0/29", "192.168.0.4/30", "192.168.0.0/30"], &[], Some("192.168.0.8")),
        ("192.168.0.0/30", &["192.168.0.1"], &["192.168.0.2"], None),
        ("192.168.0.0/29", &["192.168.0.4/30"], &["192.168.0.1", "192.168.0.2", "192.168.0.3"], None),
        ("192.168.0.0/24", &["192.168.0.0/24"], &[], None),
        ("192.168.0.0/24", &["0.0.0.0/0"], &[], None),
        ("192.168.0.0/24", &["192.168.1.0/24", "fd00::/8", "::/0"], &[], Some("192.168.0.1")),
        ("192.168.0.4-192.168.0.6/24", &["192.168.0.4/30"], &[], None),
        ("192.168.0.0/29", &[], &["192.168.0.1", "192.168.0.2", "192.168.0.4"], Some("192.168.0.3")),
        ("192.168.0.0/30", &[], &["192.168.0.1", "192.168.0.2"], None),
        ("192.168.0.0/29", &[], &["10.0.0.1", "fd00::1", "192.168.0.1"], Some("192.168.0.2")),
        ("10.0.0.6/31", &[], &["10.0.0.6"], Some("10.0.0.7")),
        ("10.0.0.6/32", &[], &["10.0.0.6"], None),
        // The highest number has no successor; the search must not overflow.
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            &[],
            &[],
            Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128",
            &[],
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
            None,
        ),
        (
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127",
            &[],
            &["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"],
            Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ),
        // ".0" and ".255" inside a range are ordinary addresses.
        ("10.0.0.254-10.0.1.2/23", &[], &["10.0.0.254"], Some("10.0.0.255")),
        ("10.0.0.254-10.0.1.2/23", &[], &["10.0.0.254", "10.0.0.255"], Some("10.0.1.0")),
    ];
    for (range, excludes, used, expected) in table {
        let found = allocatable(range, excludes).first_free(&set(used));
        assert_eq!(found, expected.map(ip), "{range} {excludes:?} {used:?}");
    }
}

#[test]
fn bad_excludes_have_upstreams_error_text() {
    for bad in ["192.168.0.1/123", "100::2::1", "192.168.001.001", "", "10.0.0.1-10.0.0.3"] {
        let error = spec("192.168.0.0/29", "", "", &[bad]).allocatable().unwrap_err();
        assert!(matches!(error, RangeError::Exclude(_)));
        assert_eq!(
            error.to_string(),
            format!("could not parse exclude range, err: \"invalid CIDR address: {bad}\"")
        );
    }
}

#[test]
fn sizes_count_each_excluded_address_once() {
    let size = |range, excludes: &[&str]| allocatable(range, excludes).size();
    assert_eq!(size("10.0.0.0/24", &[]), 254);
    assert_eq!(size("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.0/26", "10.0.0.127"]), 127);
    assert_eq!(size("10.0.0.0/24", &["10.0.0.0/24"]), 0);
    assert_eq!(size("10.0.0.6/31", &[]), 2);
    assert_eq!(size("fd00::/64", &[]), (1 << 64) - 2);
    assert_eq!(size("fd00::/64", &["fd00::/65"]), (1 << 63) - 1);
    assert_eq!(size("::/0", &[]), u128::MAX - 1);
}

/// A linear congruential generator with a fixed seed: the same cases in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The free addresses, found by a scan of every address.
fn naive(spec: &RangeSpec, used: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
    let excludes: Vec<ipnet::IpNet> = spec
        .excludes
        .iter()
        .map(|text| text.parse().unwrap_or_else(|_| ipnet::IpNet::from(ip(text))))
        .collect();
    let (first, last) = (spec.allocatable().unwrap().first(), spec.allocatable().unwrap().last());
    let inside = |ip: &IpAddr| *ip >= first && *ip <= last;
    let excluded = |ip: &IpAddr| excludes.iter().any(|net| net.trunc().contains(ip));
    let base = crate::addr::ip::number(spec.net.network());
    let all = 0..1_u128 << (spec.family().bits() - spec.net.prefix_len());
    all.filter_map(|offset| spec.family().address(base + offset))
        .filter(|ip| inside(ip) && !excluded(ip) && !used.contains(ip))
        .collect()
}

/// A random part of `net`, as text.
fn part(dice: &mut Dice, base: IpAddr, host_bits: u8) -> String {
    let ip = crate::addr::ip::add(base, dice.below(1 << host_bits).into()).unwrap();
    let bits = crate::addr::ip::Family::of(ip).bits();
    match dice.below(3) {
        0 => ip.to_string(),
        _ => format!("{ip}/{}", bits - dice.below(u64::from(host_bits) + 1) as u8),
    }
}

#[test]
fn results_agree_with_a_naive_scan() {
    let mut dice = Dice(42);
    for case in 0..3000 {
        let (base, bits) = if case % 2 == 0 { (ip("10.0.3.0"), 32) } else { (ip("fd00::7:0"), 128) };
        let host_bits = dice.below(8) as u8;
        let mut pick = || crate::addr::ip::add(base, dice.below(1 << host_bits).into()).unwrap();
        let (start, end) = (pick(), pick());
        let used: BTreeSet<IpAddr> = (0..case % 40).map(|_| pick()).collect();
        let excludes: Vec<String> = (0..dice.below(4)).map(|_| part(&mut dice, base, host_bits)).collect();
        let (start, end) = ((dice.below(2) == 0).then_some(start), (dice.below(2) == 0).then_some(end));
        let spec = RangeSpec::parse(&format!("{base}/{}", bits - host_bits), start, end, excludes).unwrap();
        let found = spec.allocatable().unwrap();

        let free = naive(&spec, &used);
        assert_eq!(found.first_free(&used), free.first().copied(), "{spec:?} {used:?}");
        assert_eq!(found.size(), naive(&spec, &BTreeSet::new()).len() as u128, "{spec:?}");
        assert_eq!(found.size() - found.count_used(&used) as u128, free.len() as u128, "{spec:?} {used:?}");
        let listed: Vec<IpAddr> =
            (0_u128..).map_while(|n| found.free_at(&used, n)).take(free.len() + 1).collect();
        assert_eq!(listed, free, "{spec:?} {used:?}");
        let from = crate::addr::ip::add(base, dice.below(1 << host_bits).into()).unwrap();
        let above = free.iter().find(|ip| **ip >= from).or(free.first());
        assert_eq!(found.first_free_from(&used, from), above.copied(), "{spec:?} {used:?} from {from}");
        assert!(free.iter().all(|ip| found.contains(*ip)));
    }
}

#[test]
fn a_union_has_the_addresses_of_both() {
    let union = |one: &str, two: &str| allocatable(one, &[]).union(&allocatable(two, &["10.0.0.20"]));
    let found = union("10.0.0.5-10.0.0.9/24", "10.0.0.8-10.0.0.30/24");
    assert_eq!((found.size(), found.first(), found.last()), (25, ip("10.0.0.5"), ip("10.0.0.30")));
    assert!(found.contains(ip("10.0.0.5")) && found.contains(ip("10.0.0.30")));
    assert!(!found.contains(ip("10.0.0.20")) && !found.contains(ip("10.0.0.31")));
    assert_eq!(union("10.0.0.1/24", "10.0.0.1/24").size(), 254, "an exclude of one of them");
    assert_eq!(union("10.0.0.1-10.0.0.1/24", "10.0.0.3-10.0.0.3/24").size(), 2);
}

#[test]
fn large_excludes_and_60_000_used_addresses_are_fast() {
    let started = std::time::Instant::now();
    let excludes: Vec<String> = (0..1000).map(|n| format!("fd00:{n:x}::/32")).collect();
    let texts: Vec<&str> = excludes.iter().map(String::as_str).collect();
    let found = allocatable("fd00::/16", &texts);
    assert_eq!(found.first_free(&BTreeSet::new()), Some(ip("fd00:3e8::")));
    let used: BTreeSet<IpAddr> =
        (1..60_000).map(|n| crate::addr::ip::add(ip("10.0.0.0"), n).unwrap()).collect();
    assert_eq!(allocatable("10.0.0.0/8", &[]).first_free(&used), Some(ip("10.0.234.96")));
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
}
