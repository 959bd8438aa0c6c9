//! Pools and holders by values.

use k8s_openapi::jiff::Timestamp;
use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};
use whereabouts::crd::ip_pool::Pool as IpPool;
use whereabouts::crd::reservation::Reservation;

use super::*;
use crate::definition::{Definition, read};
use crate::options::Holders;

fn definition(name: &str, ipam: Value) -> Definition {
    let mut conf = json!({"cniVersion": "1.0.0", "type": "macvlan", "ipam": {"type": "whereabouts"}});
    conf["ipam"].as_object_mut().unwrap().extend(ipam.as_object().unwrap().clone());
    let nad_ref = NadRef { namespace: DnsLabel::new("ns").unwrap(), name: DnsSubdomain::new(name).unwrap() };
    read(&nad_ref, &conf.to_string())
}

fn pool(name: &str, range: &str, allocations: Value) -> IpPool {
    let object = json!({"metadata": {"namespace": "kube-system", "name": name}, "spec": {"range": range, "allocations": allocations}});
    serde_json::from_value(object).unwrap()
}

/// A claim in a pool; none in an empty one.
fn claim(name: &str, pool: &str, podref: &str) -> Reservation {
    let annotations = match pool {
        "" => json!({}),
        pool => {
            json!({"whereabouts.multus-rs/pool": pool, "whereabouts.multus-rs/range": "10.0.0.0/24", "whereabouts.multus-rs/ifname": "net1"})
        }
    };
    let metadata = json!({"namespace": "kube-system", "name": name, "annotations": annotations, "creationTimestamp": "2026-11-28T10:00:00Z",
        "labels": {"whereabouts.multus-rs/node": "n1"}});
    serde_json::from_value(json!({"metadata": metadata, "spec": {"podref": podref}})).unwrap()
}

fn now() -> Timestamp {
    "2026-11-28T10:05:00Z".parse().unwrap()
}

#[test]
fn a_pool_has_its_window_its_use_and_its_holders() {
    let pools = [pool(
        "10.0.0.0-24",
        "10.0.0.0/24",
        json!({"5": {"id": "c", "podref": "a/view", "via": "x"}, "20": {"podref": "a/old", "ifname": "net1"}}),
    )];
    let claims = [
        claim("10.0.0.10", "10.0.0.0-24", "a/web-0"),
        claim("10.0.0.9", "10.0.0.0-24", "a/web-1"),
        claim("10.0.0.12", "", ""),
    ];
    let definitions = [definition(
        "a",
        json!({"range": "10.0.0.0/24", "range_start": "10.0.0.9", "range_end": "10.0.0.20"}),
    )];
    let all = gather(&pools, &claims, &definitions);
    let want = "\
POOL                      RANGE         WINDOW                  SIZE   USED   FREE   NETWORKS
kube-system/10.0.0.0-24   10.0.0.0/24   10.0.0.9 to 10.0.0.20   12     4      8      ns/a

Addresses that only an IPPool has, where Whereabouts wrote them: 1. The leader makes a claim of each; if they
stay, no whereabouts-daemon leads.

kube-system/10.0.0.0-24:
ADDRESS     POD                   INTERFACE   NODE   AGE
10.0.0.9    a/web-1               net1        n1     5m
10.0.0.10   a/web-0               net1        n1     5m
10.0.0.12   (kept free by hand)   -           n1     5m
10.0.0.20   a/old                 net1        -      no claim yet
";
    assert_eq!(render(&all, Holders::Listed, now()), want);
    let first = &serde_json::to_value(&all).unwrap()[0];
    assert_eq!(first["window"], json!({"first": "10.0.0.9", "last": "10.0.0.20", "size": "12", "free": "8"}));
    assert_eq!(first["holders"][0]["since"], "2026-11-28T10:00:00Z");
}

#[test]
fn a_pool_without_an_object_is_known_by_its_claims_and_one_that_networks_disagree_about_has_its_whole_range()
{
    let claims = [claim("10.0.0.10", "10.0.0.0-24", "a/b")];
    let window = |end: &str| json!({"range": "10.0.0.0/24", "range_end": end});
    let definitions = [definition("a", window("10.0.0.9")), definition("b", window("10.0.0.8"))];
    let all = gather(&[], &claims, &definitions);
    let window = all[0].window.as_ref().unwrap();
    assert_eq!((window.size.as_str(), window.free.as_str(), all[0].networks.len()), ("254", "253", 2));
}

#[test]
fn the_pool_of_a_nodes_slice_belongs_to_the_network_of_the_whole_range() {
    let pools = [pool("n1-10.0.0.0-26", "10.0.0.0/26", json!({}))];
    let definitions = [
        definition("a", json!({"range": "10.0.0.0/24", "node_slice_size": "/26"})),
        definition("b", json!({"range": "10.0.0.0/24", "node_slice_size": "/27", "network_name": "n"})),
    ];
    let all = gather(&pools, &[], &definitions);
    assert_eq!(all[0].networks, ["ns/a"]);
    assert_eq!(all[0].window.as_ref().unwrap().size, "62");
}

#[test]
fn a_claim_that_belongs_to_no_pool_is_shown_last() {
    let pools = [pool("10.0.0.0-24", "10.0.0.0/24", json!({}))];
    let all = gather(&pools, &[claim("192.168.0.1", "", "a/b"), claim("banana", "", "a/c")], &[]);
    assert_eq!(
        all.iter().map(|pool| (pool.name.as_str(), pool.used)).collect::<Vec<_>>(),
        [("10.0.0.0-24", 0), ("", 2)]
    );
    let text = render(&all, Holders::Listed, now());
    assert!(
        text.contains("kube-system/(no pool)     -")
            && text.contains("kube-system/(no pool):")
            && text.contains("banana"),
        "{text}"
    );
    assert!(!text.contains("kube-system/10.0.0.0-24:"), "{text}");
    assert_eq!(render(&[], Holders::Counted, now()), "no pools: whereabouts has given no address yet\n");
}
