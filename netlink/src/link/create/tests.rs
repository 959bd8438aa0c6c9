use netlink_packet_core::Emitable;

use super::*;

/// The encoded attributes of the message, ordered by number.
fn attributes(message: &LinkMessage) -> Vec<Vec<u8>> {
    let mut attributes: Vec<_> = message
        .attributes
        .iter()
        .map(|attribute| {
            let mut bytes = vec![0; attribute.buffer_len()];
            attribute.emit(&mut bytes);
            bytes
        })
        .collect();
    attributes.sort_by_key(|bytes| u16::from_ne_bytes([bytes[2], bytes[3]]));
    attributes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

fn link_info(kind: &[u8], data: &[Vec<u8>]) -> Vec<u8> {
    let value = [attribute(IFLA_INFO_KIND, kind), attribute(IFLA_INFO_DATA, &data.concat())].concat();
    attribute(IFLA_LINKINFO, &value)
}

#[test]
fn ipvlan_message_holds_mode_and_flag_as_16_bits() {
    for (mode, flag, numbers) in [
        (IpvlanMode::L2, IpvlanFlag::Bridge, (0u16, 0u16)),
        (IpvlanMode::L3, IpvlanFlag::Private, (1, 1)),
        (IpvlanMode::L3s, IpvlanFlag::Vepa, (2, 2)),
    ] {
        let spec = IpvlanSpec { flag, mtu: Some(1400), ..IpvlanSpec::new("net1", 7, mode) };
        let data = [attribute(1, &numbers.0.to_ne_bytes()), attribute(2, &numbers.1.to_ne_bytes())];
        let expected = [
            attribute(IFLA_IFNAME, b"net1\0"),
            attribute(IFLA_MTU, &1400u32.to_ne_bytes()),
            attribute(IFLA_LINK, &7u32.to_ne_bytes()),
            link_info(b"ipvlan\0", &data),
        ];
        assert_eq!(attributes(&spec.message()), expected, "{mode} {flag}");
    }
}

#[test]
fn ipvlan_message_without_mtu_has_no_mtu_attribute() {
    let spec = IpvlanSpec::new("net1", 7, IpvlanMode::L2);
    let kinds: Vec<_> = attributes(&spec.message()).iter().map(|bytes| bytes[2]).collect();
    assert_eq!(kinds, [3, 5, 18]);
}

#[test]
fn macvlan_message_holds_only_the_requested_attributes() {
    let spec = MacvlanSpec::new("net1", 7, MacvlanMode::Passthru);
    let data = [attribute(1, &8u32.to_ne_bytes())];
    let expected = [
        attribute(IFLA_IFNAME, b"net1\0"),
        attribute(IFLA_LINK, &7u32.to_ne_bytes()),
        link_info(b"macvlan\0", &data),
    ];
    assert_eq!(attributes(&spec.message()), expected);
}

#[test]
fn macvlan_message_holds_mac_mtu_and_queue() {
    let spec = MacvlanSpec {
        mtu: Some(1400),
        mac: Some(Mac([2, 0, 0, 0, 0, 9])),
        bc_queue_len: Some(2000),
        ..MacvlanSpec::new("net1", 7, MacvlanMode::Bridge)
    };
    let data = [attribute(1, &4u32.to_ne_bytes()), attribute(7, &2000u32.to_ne_bytes())];
    let expected = [
        attribute(IFLA_ADDRESS, &[2, 0, 0, 0, 0, 9]),
        attribute(IFLA_IFNAME, b"net1\0"),
        attribute(IFLA_MTU, &1400u32.to_ne_bytes()),
        attribute(IFLA_LINK, &7u32.to_ne_bytes()),
        link_info(b"macvlan\0", &data),
    ];
    assert_eq!(attributes(&spec.message()), expected);
}

#[test]
fn ipvlan_link_messages_are_parsed() {
    use netlink_packet_route::link::{InfoData, InfoIpVlan, InfoKind, LinkInfo};
    for (mode, flag) in [
        (IpvlanMode::L2, IpvlanFlag::Bridge),
        (IpvlanMode::L3, IpvlanFlag::Vepa),
        (IpvlanMode::L3s, IpvlanFlag::Private),
    ] {
        let data = vec![InfoIpVlan::Mode(mode.to_kernel()), InfoIpVlan::Flags(flag.to_kernel())];
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::IpVlan),
            LinkInfo::Data(InfoData::IpVlan(data)),
        ]));
        assert_eq!(Link::from(message).kind, crate::link::LinkKind::Ipvlan { mode, flag });
    }
}

#[test]
fn random_names_are_valid_and_differ() {
    let names = [(); 100].map(|()| unused_name());
    assert!(
        names.iter().all(|name| ifname::check(name).is_ok() && name.len() == ifname::MAX_NAME),
        "{names:?}"
    );
    assert_eq!(std::collections::BTreeSet::from(names).len(), 100);
}

#[cfg(feature = "test-util")]
mod in_namespaces {
    use super::*;
    use crate::test_util::{Testbed, create_bridge};

    /// Names of macvlan links.
    fn macvlans(socket: &Socket) -> Vec<String> {
        let links = socket.links().unwrap().into_iter().filter(Link::has_master);
        links.map(|link| link.name).collect()
    }

    #[test]
    fn a_name_that_is_taken_in_the_masters_namespace_only_can_be_used() {
        let testbed = Testbed::new().unwrap();
        let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
        let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        let of_host = create_bridge(&host, "net1").unwrap();
        let spec = MacvlanSpec::new("net1", master.index, MacvlanMode::Vepa);
        let link = host.create_macvlan(&spec, &pod).unwrap();
        assert_eq!((link.name.as_str(), link.parent), ("net1", Some(master.index)));
        assert_eq!(host.link_by_name("net1").unwrap().unwrap().index, of_host.index);
        assert!(matches!(host.create_macvlan(&spec, &pod), Err(Error::Exists(_))));
        assert_eq!((macvlans(&host), macvlans(&pod)), (vec![], vec!["net1".to_owned()]));
    }

    /// The path for kernels before 6.13, called directly so that any kernel tests it.
    #[test]
    fn a_link_created_under_a_random_name_is_renamed_or_deleted() {
        let testbed = Testbed::new().unwrap();
        let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
        let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        create_bridge(&host, "net1").unwrap();
        let mac = Mac([2, 0, 0, 0, 0, 9]);
        let spec =
            MacvlanSpec { mac: Some(mac), ..MacvlanSpec::new("net1", master.index, MacvlanMode::Vepa) };
        let context = Context { op: "create macvlan", object: &spec.name };
        host.place_and_rename("net1", &spec.message(), &pod, context).unwrap();
        let link = pod.link_by_name("net1").unwrap().unwrap();
        assert_eq!((link.parent, link.parent_is_elsewhere), (Some(master.index), true));
        assert_eq!((link.mac, link.up), (Some(mac), false));
        let another = MacvlanSpec { mac: None, ..spec };
        let context = Context { op: "create macvlan", object: &another.name };
        let taken = host.place_and_rename("net1", &another.message(), &pod, context).unwrap_err();
        assert!(matches!(taken, Error::Exists(_)), "{taken}");
        assert_eq!((macvlans(&host), macvlans(&pod)), (vec![], vec!["net1".to_owned()]));
    }
}
