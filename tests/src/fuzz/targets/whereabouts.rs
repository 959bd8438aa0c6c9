//! The configuration of whereabouts, the names of claims, and the objects and files that whereabouts and Whereabouts keep.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;

use cni::names::{ContainerId, IfName};
use node::names::DnsSubdomain;
use serde_json::{Map, Value};
use whereabouts::addr::ip;
use whereabouts::addr::range::RangeSpec;
use whereabouts::conf::request::{IpArgs, Requests};
use whereabouts::conf::{CONF_DIRS, Conf, FlatFile, Network};
use whereabouts::crd::{ip_pool, reservation};
use whereabouts::node_state::record::{RecordError, Records};
use whereabouts::pool::choose;
use whereabouts::pool::choose::{KnownAddresses, Preferences};
use whereabouts::pool::naming;
use whereabouts::pool::naming::ClaimScope;
use whereabouts::pool::request::outside_pools;

use super::super::{lossy, pieces, put};

/// A network's configuration, the flat file and the addresses that a pod requests, separated by zero bytes. Files that the network names are
/// in a configuration folder, a complete network takes nothing from the flat file, and every range gives an address.
pub fn whereabouts_conf(bytes: &[u8]) {
    let [own, flat, asked] = pieces(bytes);
    let Ok(object) = cni::json::parse_object(own) else { return };
    let _ = Network::parse_nad(&object);
    let Ok(network) = Network::parse(&object) else { return };
    if let Some(path) = network.configuration_path() {
        let within = CONF_DIRS.iter().any(|dir| path.starts_with(dir));
        assert!(within && !path.components().any(|part| part.as_os_str() == ".."), "{}", path.display());
    }
    completed_by_itself(&object, &network);
    let path = Path::new("/etc/cni/net.d/whereabouts.d/whereabouts.conf");
    let Ok(conf) = network.complete(Some(FlatFile { path, bytes: flat })) else { return };
    for range in &conf.ranges {
        assert_eq!(range.net, range.net.trunc(), "a range has no host bits");
    }
    assigned(&conf, asked);
}

/// A flat file with the network's own values changes nothing.
fn completed_by_itself(object: &Map<String, Value>, network: &Network) {
    let complete = |bytes: &[u8]| {
        let path = Path::new("/etc/cni/net.d/whereabouts.d/whereabouts.conf");
        network.clone().complete(Some(FlatFile { path, bytes }))
    };
    let Ok(alone) = complete(b"{}") else { return };
    let mut object = object.clone();
    cni::json::fold_keys(&mut object, &["ipam"]);
    let twice = complete(object["ipam"].to_string().as_bytes()).expect("what is fine once is fine twice");
    assert_eq!(Conf { warnings: Vec::new(), ..twice }, Conf { warnings: Vec::new(), ..alone });
}

fn assigned(conf: &Conf, asked: &[u8]) {
    let asked = lossy(asked);
    let args = IpArgs { ip: Some(&asked), gateway: None };
    let Ok(requests) = Requests::gather(args, &Map::new(), &Map::new()) else { return };
    let Ok(assignment) = requests.assign(conf) else { return };
    let claimed: BTreeSet<usize> = assignment.claims.iter().map(|claim| claim.range).collect();
    let pools = conf.ranges.len() + assignment.outside.len();
    assert!(claimed.iter().copied().eq(0..pools), "each range, and each address outside them, has a claim");
    let outside: Vec<RangeSpec> =
        outside_pools(conf, &assignment.outside).into_iter().map(|pool| pool.range).collect();
    let ranges: Vec<&RangeSpec> = conf.ranges.iter().chain(&outside).collect();
    let none = BTreeSet::new();
    for claim in &assignment.claims {
        let range = ranges[claim.range];
        let Ok(free) = range.allocatable() else { continue };
        let hints = Preferences { requested: claim.requested, ..Preferences::default() };
        match (
            choose::next(range, &free, KnownAddresses { used: &none, conflicts: &none }, hints, 7),
            claim.requested,
        ) {
            (Ok(ip), Some(requested)) => assert_eq!(ip, requested),
            (Ok(ip), _) => assert!(free.contains(ip) && range.is_usable(ip), "{ip} of {range:?}"),
            (Err(_), Some(requested)) => panic!("{requested:?} was assigned to {range:?}"),
            (Err(_), None) => assert_eq!(free.size(), 0, "{range:?}"),
        }
    }
}

/// The 16 bytes of an address and a `network_name`: the name of the claim reads back as the address. Then the same input as the name of an
/// existing claim: the address that is read from it has a claim which reads back as the same address.
pub fn whereabouts_claim_name(bytes: &[u8]) {
    if let Some((address, network)) = bytes.split_first_chunk::<16>() {
        let ip = IpAddr::from(*address);
        let network = lossy(network);
        let pool = DnsSubdomain::new(network.as_str()).ok();
        let network = Some(network.as_str()).filter(|network| !network.is_empty());
        claim_reads_back(ip, ClaimScope::Shared { network });
        if let Some(pool) = &pool {
            claim_reads_back(ip, ClaimScope::Pool(pool));
        }
    }
    let plain = ClaimScope::Shared { network: None };
    if let Some(ip) = naming::claimed_address(&lossy(bytes), plain) {
        assert_eq!(ip, ip.to_canonical());
        assert_eq!(ip::parse_strict(&ip::text(ip)), Some(ip));
        claim_reads_back(ip, plain);
    }
}

fn claim_reads_back(ip: IpAddr, scope: ClaimScope<'_>) {
    let Ok(name) = naming::claim(ip, scope) else { return };
    assert_eq!(naming::claimed_address(name.as_str(), scope), Some(ip.to_canonical()), "{name} in {scope:?}");
}

/// A pool as Whereabouts writes it: each entry is an address of the range, and no two are the same.
pub fn whereabouts_pool(bytes: &[u8]) {
    let Ok(pool) = serde_json::from_slice::<ip_pool::Pool>(bytes) else { return };
    let entries = pool.entries();
    assert!(entries.len() <= pool.spec.allocations.len());
    let Ok(net) = pool.spec.range.parse::<ipnet::IpNet>() else { return assert!(entries.is_empty()) };
    let mut seen = BTreeSet::new();
    for (key, ip, _) in &entries {
        assert!(net.contains(ip), "{ip} is not in {net}");
        // The key becomes part of a JSON pointer.
        assert!(!key.contains(['/', '~']), "{key:?}");
        let offset = key.parse().ok();
        assert_eq!(ip::offset(*ip, net.network()), offset, "{key:?}");
        seen.insert((*ip, key.clone()));
    }
    assert_eq!(seen.len(), entries.len());
    let text = reservation::label(&lossy(bytes));
    assert!(
        text.chars().count() <= 63 && text.chars().next_back().is_none_or(|c| c.is_ascii_alphanumeric()),
        "{text:?}"
    );
}

/// A record file: its content survives a round trip, and no name in it leads out of the folder.
pub fn whereabouts_record(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let state = folder.path().join("state");
    let records = Records::open(&state).expect("a folder for records");
    let (id, if_name) = (ContainerId::parse("c1").expect("an id"), IfName::parse("net1").expect("a name"));
    put(&state.join("claims/c1@net1"), bytes);
    let record = match records.read(&id, &if_name) {
        Ok(record) => record.expect("the file exists"),
        Err(RecordError::Damaged { .. }) => return,
        Err(other) => panic!("expected the error Damaged, got: {other}"),
    };
    if records.write(&record).is_ok() {
        let all = records.all().expect("records can be listed");
        assert!(all.contains(&record), "{record:?} is not among {all:?}");
    }
    if records.bury(&record).is_ok() {
        assert_eq!(records.tombstones().expect("tombstones can be listed"), std::slice::from_ref(&record));
        records.remove_tombstone(&record).expect("a tombstone can go");
        assert!(records.tombstones().expect("tombstones can be listed").is_empty());
    }
    let outside = std::fs::read_dir(folder.path()).expect("the folder exists").count();
    assert_eq!(outside, 1, "{record:?} left its folder");
}
