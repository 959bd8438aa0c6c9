//! Addresses and duplicate address detection in real namespaces.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use netlink::{
    Address, Dad, Error, IpNet, Link, MacvlanMode, MacvlanSpec, Socket,
    test_util::{NamedNetns, Testbed},
};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn macvlan(host: &Socket, pod: &Socket) -> Link {
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), pod).unwrap()
}

fn find(socket: &Socket, link: &Link, wanted: &str) -> Option<Address> {
    socket.addresses(link).unwrap().into_iter().find(|address| address.net == net(wanted))
}

#[test]
fn added_addresses_of_both_families_are_listed_until_they_are_deleted() {
    let testbed = Testbed::new().unwrap();
    let pod = testbed.pod.socket().unwrap();
    let link = macvlan(&testbed.host.socket().unwrap(), &pod);
    for text in ["10.1.2.3/24", "10.9.0.1/32", "10.9.0.2/31", "2001:db8::5/64"] {
        pod.add_address(&link, net(text), Dad::Kernel).unwrap();
        assert!(find(&pod, &link, text).is_some(), "{text}");
    }
    let lo = pod.link_by_name("lo").unwrap().unwrap();
    assert_eq!(find(&pod, &lo, "10.1.2.3/24"), None);
    assert!(find(&pod, &lo, "127.0.0.1/8").is_some());
    let error = pod.add_address(&link, net("10.1.2.3/24"), Dad::Kernel).unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
    assert!(error.to_string().starts_with("cannot add address 10.1.2.3/24 to net1: "), "{error}");
    pod.delete_address(&link, net("10.1.2.3/24")).unwrap();
    pod.delete_address(&link, net("10.1.2.3/24")).unwrap();
    assert_eq!(find(&pod, &link, "10.1.2.3/24"), None);
}

#[test]
fn a_deleted_link_has_no_addresses() {
    let testbed = Testbed::new().unwrap();
    let pod = testbed.pod.socket().unwrap();
    let link = macvlan(&testbed.host.socket().unwrap(), &pod);
    pod.delete_link(&link).unwrap();
    assert_eq!(pod.addresses(&link).unwrap(), []);
    assert!(matches!(pod.add_address(&link, net("10.1.2.3/24"), Dad::Kernel), Err(Error::NotFound(_))));
    pod.delete_address(&link, net("10.1.2.3/24")).unwrap();
}

#[test]
fn settle_returns_when_no_address_is_tentative() {
    let testbed = Testbed::new().unwrap();
    let pod = testbed.pod.socket().unwrap();
    let link = macvlan(&testbed.host.socket().unwrap(), &pod);
    pod.add_address(&link, net("2001:db8::5/64"), Dad::Kernel).unwrap();
    pod.set_up(&link).unwrap();
    assert!(find(&pod, &link, "2001:db8::5/64").unwrap().tentative);
    pod.settle(&link, Duration::from_secs(10)).unwrap();
    assert!(!find(&pod, &link, "2001:db8::5/64").unwrap().tentative);
}

#[test]
fn an_address_without_detection_is_usable_at_once() {
    let testbed = Testbed::new().unwrap();
    let pod = testbed.pod.socket().unwrap();
    let link = macvlan(&testbed.host.socket().unwrap(), &pod);
    pod.set_up(&link).unwrap();
    pod.add_address(&link, net("2001:db8::5/64"), Dad::Skip).unwrap();
    assert!(!find(&pod, &link, "2001:db8::5/64").unwrap().tentative);
}

#[test]
fn settle_fails_with_the_address_that_another_host_has() {
    let testbed = Testbed::new().unwrap();
    let other_netns = NamedNetns::new().unwrap();
    let (pod, other) = (testbed.pod.socket().unwrap(), other_netns.socket().unwrap());
    let host = testbed.host.socket().unwrap();
    let owner = macvlan(&host, &other);
    other.set_up(&owner).unwrap();
    other.add_address(&owner, net("2001:db8::5/64"), Dad::Skip).unwrap();
    let link = macvlan(&host, &pod);
    pod.add_address(&link, net("2001:db8::5/64"), Dad::Kernel).unwrap();
    pod.set_up(&link).unwrap();
    let error = pod.settle(&link, Duration::from_secs(10)).unwrap_err();
    assert_eq!(error.to_string(), "address 2001:db8::5 on net1 is in use by another host (DADFAILED)");
}

#[test]
fn settle_fails_at_its_limit_without_carrier() {
    let testbed = Testbed::new().unwrap();
    let (pod, peer) = (testbed.pod.socket().unwrap(), testbed.peer.socket().unwrap());
    peer.set_down(&peer.link_by_name(Testbed::WIRE).unwrap().unwrap()).unwrap();
    let link = macvlan(&testbed.host.socket().unwrap(), &pod);
    pod.add_address(&link, net("2001:db8::5/64"), Dad::Kernel).unwrap();
    pod.set_up(&link).unwrap();
    let start = Instant::now();
    let error = pod.settle(&link, Duration::from_millis(150)).unwrap_err();
    assert!(matches!(&error, Error::StillTentative { addresses, .. } if addresses.len() == 1), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(150));
}

/// The kernel continues a list by position: the removal of an address at the front makes it skip another one. It reports that with
/// `NLM_F_DUMP_INTR`.
#[test]
fn a_list_is_complete_while_other_addresses_are_deleted() {
    let named = NamedNetns::new().unwrap();
    let (socket, other) = (named.socket().unwrap(), named.socket().unwrap());
    let lo = socket.link_by_name("lo").unwrap().unwrap();
    let block = |second: u8, count: u32| -> Vec<IpNet> {
        (0..count).map(|n| net(&format!("10.{second}.{}.{}/32", n >> 8, n & 255))).collect()
    };
    let (deleted, kept) = (block(1, 200), block(2, 1500));
    for address in deleted.iter().chain(&kept) {
        socket.add_address(&lo, *address, Dad::Kernel).unwrap();
    }
    std::thread::scope(|scope| {
        let removal = scope.spawn(|| {
            for address in &deleted {
                other.delete_address(&lo, *address).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        while !removal.is_finished() {
            let found: HashSet<IpNet> = match socket.addresses(&lo) {
                Ok(addresses) => addresses.into_iter().map(|address| address.net).collect(),
                // A correct outcome, unlike an incomplete list.
                Err(Error::Inconsistent { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            let skipped: Vec<_> = kept.iter().filter(|address| !found.contains(address)).collect();
            assert!(skipped.is_empty(), "{skipped:?}");
        }
    });
}
