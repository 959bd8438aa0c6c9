//! Announcements: by their bytes, and as a neighbour on the wire sees them.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use netlink::{
    Dad, Mac, MacvlanMode, MacvlanSpec, Repeat,
    interface::{Ipv6Autoconf, Plan, configure},
    test_util::{
        Arp, BROADCAST, Frames, Testbed, announce, read_sysctl, unsolicited_advertisement, write_sysctl,
    },
};

const MAC: Mac = Mac([0x02, 0, 0x5e, 0, 0x53, 0x01]);

#[test]
fn a_gratuitous_arp_has_the_bytes_of_the_rfc() {
    #[rustfmt::skip]
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x08, 0x06,
        0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01,
        0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 10, 1, 2, 3,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 10, 1, 2, 3,
    ];
    assert_eq!(gratuitous_arp([10, 1, 2, 3].into()), expected);
}

#[test]
fn an_unsolicited_advertisement_has_the_bytes_of_the_rfc() {
    #[rustfmt::skip]
    let mut expected = vec![
        0x33, 0x33, 0x00, 0x00, 0x00, 0x01, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01, 0x86, 0xdd,
        0x60, 0x00, 0x00, 0x00, 0x00, 0x20, 0x3a, 0xff,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x05,
        0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01,
        0x88, 0x00, 0x00, 0x00, 0x20, 0x00, 0x00, 0x00,
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x05,
        0x02, 0x01, 0x02, 0x00, 0x5e, 0x00, 0x53, 0x01,
    ];
    // Calculated by hand: the one's complement of the sum, with carries folded, of 2*2001 + 2*0db8 + 2*0005
    // (source, target), ff02 + 0001 (destination), 0020 + 003a (length, next header), 8800 + 2000 (type,
    // flags) and 0201 + 0200 + 5e00 + 5301 (option) = 3_6061 -> 6064 -> 9f9b.
    let sum = 2 * 0x2001u32
        + 2 * 0x0db8
        + 2 * 5
        + 0xff02
        + 1
        + 0x20
        + 0x3a
        + 0x8800
        + 0x2000
        + 0x0201
        + 0x0200
        + 0x5e00
        + 0x5301;
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    expected[56..58].copy_from_slice(&(!folded).to_be_bytes());
    assert_eq!(unsolicited_advertisement(MAC, "2001:db8::5".parse().unwrap()), expected);
}

/// The frame that announces `ip`.
fn gratuitous_arp(ip: Ipv4Addr) -> [u8; 42] {
    Arp::announcement(MAC, ip).to_frame(BROADCAST)
}

/// Receives what arrives at the peer.
fn sniffer(testbed: &Testbed) -> Frames {
    let wire = testbed.peer.socket().unwrap().link_by_name(Testbed::WIRE).unwrap().unwrap();
    Frames::on(testbed.peer.netns(), &wire).unwrap()
}

#[test]
fn a_neighbour_receives_each_announcement_as_often_as_requested() {
    let testbed = Testbed::new().unwrap();
    let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    // A fixed MAC address, so that the expected frames are known.
    let spec = MacvlanSpec { mac: Some(MAC), ..MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge) };
    let link = host.create_macvlan(&spec, &pod).unwrap();
    pod.add_address(&link, "10.1.2.3/24".parse().unwrap(), Dad::Kernel).unwrap();
    pod.add_address(&link, "2001:db8::5/64".parse().unwrap(), Dad::Skip).unwrap();
    pod.set_up(&link).unwrap();
    let ips: [IpAddr; 2] = [[10, 1, 2, 3].into(), "2001:db8::5".parse().unwrap()];
    let expected = [
        gratuitous_arp([10, 1, 2, 3].into()).to_vec(),
        unsolicited_advertisement(MAC, "2001:db8::5".parse().unwrap()),
    ];
    for frame in expected {
        let sniffer = sniffer(&testbed);
        announce(testbed.pod.netns(), &link, &ips, Repeat { count: 3, spacing: Duration::from_millis(20) })
            .unwrap();
        assert_eq!(sniffer.count(&frame, 4, Duration::from_millis(300)).unwrap(), 3);
    }
}

#[test]
fn the_kernel_accepts_the_advertisement() {
    // The counter only rises if checksum and hop limit are right; the error counters show a wrong one.
    let testbed = Testbed::new().unwrap();
    let (host, pod, peer) =
        (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap(), testbed.peer.socket().unwrap());
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.add_address(&wire, "2001:db8::9/64".parse().unwrap(), Dad::Skip).unwrap();
    let spec = MacvlanSpec { mac: Some(MAC), ..MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge) };
    let link = host.create_macvlan(&spec, &pod).unwrap();
    pod.set_up(&link).unwrap();
    let received = || {
        let read = || std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
        let text = testbed.peer.netns().run(read).unwrap();
        let value = |key: &str| {
            let line = text.lines().find(|line| line.split_whitespace().next() == Some(key)).unwrap();
            line.split_whitespace().last().unwrap().parse::<u64>().unwrap()
        };
        (value("Icmp6InNeighborAdvertisements"), value("Icmp6InErrors"), value("Icmp6InCsumErrors"))
    };
    let before = received();
    announce(
        testbed.pod.netns(),
        &link,
        &["2001:db8::5".parse().unwrap()],
        Repeat { count: 1, ..Repeat::default() },
    )
    .unwrap();
    let start = Instant::now();
    while received().0 == before.0 && start.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = received();
    assert!(after.0 > before.0, "{before:?} {after:?}");
    assert_eq!((after.1, after.2), (before.1, before.2));
}

#[test]
fn announcing_nothing_or_on_a_link_that_is_down_succeeds() {
    let testbed = Testbed::new().unwrap();
    let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let link =
        host.create_macvlan(&MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge), &pod).unwrap();
    announce(testbed.pod.netns(), &link, &[], Repeat::default()).unwrap();
    announce(testbed.pod.netns(), &link, &[[10, 1, 2, 3].into()], Repeat { count: 1, ..Repeat::default() })
        .unwrap();
}

#[test]
fn the_kernel_announces_if_the_plan_does_not_and_at_each_later_up() {
    let repeat = Repeat { count: 2, spacing: Duration::from_millis(20) };
    for (announce, frames) in [(Some(repeat), 2), (None, 1)] {
        let testbed = Testbed::new().unwrap();
        let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
        let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        let spec =
            MacvlanSpec { mac: Some(MAC), ..MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge) };
        let link = host.create_macvlan(&spec, &pod).unwrap();
        let plan = Plan {
            addresses: vec!["10.1.2.3/24".parse().unwrap()],
            routes: vec![],
            dad: Dad::Kernel,
            ipv6_autoconf: Ipv6Autoconf::KernelDefault,
            announce,
        };
        let frame = gratuitous_arp([10, 1, 2, 3].into());
        let neighbour = sniffer(&testbed);
        configure(&pod, &link, &plan).unwrap();
        assert_eq!(neighbour.count(&frame, 4, Duration::from_millis(300)).unwrap(), frames, "{announce:?}");
        assert_eq!(read_sysctl(testbed.pod.netns(), "ipv4/conf/net1/arp_notify").unwrap(), 1, "{announce:?}");
        pod.set_down(&link).unwrap();
        let neighbour = sniffer(&testbed);
        pod.set_up(&link).unwrap();
        assert_eq!(neighbour.count(&frame, 1, Duration::from_secs(2)).unwrap(), 1, "{announce:?}");
    }
}

#[test]
fn the_frame_is_the_one_that_the_kernel_sends_with_arp_notify() {
    let testbed = Testbed::new().unwrap();
    let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
    let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
    let spec = MacvlanSpec { mac: Some(MAC), ..MacvlanSpec::new("net1", master.index, MacvlanMode::Bridge) };
    let link = host.create_macvlan(&spec, &pod).unwrap();
    write_sysctl(testbed.pod.netns(), "ipv4/conf/net1/arp_notify", 1).unwrap();
    pod.add_address(&link, "10.1.2.3/24".parse().unwrap(), Dad::Kernel).unwrap();
    let sniffer = sniffer(&testbed);
    pod.set_up(&link).unwrap();
    let frame = gratuitous_arp([10, 1, 2, 3].into());
    assert!(sniffer.count(&frame, 1, Duration::from_secs(2)).unwrap() >= 1);
}
