//! Links in real namespaces. Kernels without ipvlan run these tests, too: for its messages see `src/link/create/tests.rs`.
#![allow(clippy::unwrap_used)]

use netlink::{
    Error, IpvlanMode, IpvlanSpec, Link, LinkKind, Mac, MacvlanMode, MacvlanSpec, MasterError,
    MasterSelector, Netns, Socket,
    test_util::{NamedNetns, Testbed, add_alt_name, create_bridge, create_veth, enslave},
};

struct Bench {
    testbed: Testbed,
    host: Socket,
    pod: Socket,
    master: Link,
}

impl Bench {
    fn new() -> Self {
        let testbed = Testbed::new().unwrap();
        let (host, pod) = (testbed.host.socket().unwrap(), testbed.pod.socket().unwrap());
        let master = host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        Self { testbed, host, pod, master }
    }

    fn spec(&self, name: &str, mode: MacvlanMode) -> MacvlanSpec {
        MacvlanSpec::new(name, self.master.index, mode)
    }

    fn create(&self, spec: &MacvlanSpec) -> Result<Link, Error> {
        self.host.create_macvlan(spec, &self.pod)
    }
}

fn names(socket: &Socket) -> Vec<String> {
    socket.links().unwrap().into_iter().map(|link| link.name).collect()
}

#[test]
fn macvlan_of_each_mode_is_created_found_and_deleted() {
    let bench = Bench::new();
    for word in ["bridge", "private", "vepa", "source", "passthru"] {
        let mode: MacvlanMode = word.parse().unwrap();
        let link = bench.create(&bench.spec("net1", mode)).unwrap();
        assert!(matches!(link.kind, LinkKind::Macvlan { mode: found, .. } if found == mode), "{link:?}");
        assert_eq!(link.name, "net1");
        assert_eq!(link.mtu, bench.master.mtu);
        assert_eq!((link.parent, link.parent_is_elsewhere), (Some(bench.master.index), true));
        assert!(!link.up);
        assert_eq!(bench.pod.link_by_name("net1").unwrap(), Some(link.clone()));
        assert_eq!(bench.pod.link_by_index(link.index).unwrap(), Some(link.clone()));
        assert!(bench.pod.links().unwrap().contains(&link));
        assert_eq!(bench.host.link_by_name("net1").unwrap(), None);
        bench.pod.delete_link(&link).unwrap();
        assert_eq!(bench.pod.link_by_name("net1").unwrap(), None);
    }
}

#[test]
fn macvlan_has_the_requested_mac_mtu_and_queue_length() {
    let bench = Bench::new();
    let mac: Mac = "02:00:5e:00:53:0a".parse().unwrap();
    let spec = MacvlanSpec {
        mac: Some(mac),
        mtu: Some(1400),
        bc_queue_len: Some(2345),
        ..bench.spec("net1", MacvlanMode::Bridge)
    };
    let link = bench.create(&spec).unwrap();
    assert_eq!((link.mac, link.mtu), (Some(mac), 1400));
    let expected = LinkKind::Macvlan { mode: MacvlanMode::Bridge, bc_queue_len: Some(2345) };
    assert_eq!(link.kind, expected);
}

#[test]
fn master_and_link_may_be_in_one_namespace() {
    let bench = Bench::new();
    let link = bench.host.create_macvlan(&bench.spec("net1", MacvlanMode::Bridge), &bench.host).unwrap();
    assert_eq!((link.parent, link.parent_is_elsewhere), (Some(bench.master.index), false));
    let again = Socket::in_netns(&Netns::open(bench.testbed.host.path()).unwrap()).unwrap();
    assert!(bench.host.create_macvlan(&bench.spec("net2", MacvlanMode::Bridge), &again).is_ok());
}

#[test]
fn a_name_that_is_taken_in_the_target_exists() {
    let bench = Bench::new();
    bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    let error = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap_err();
    assert!(matches!(error, Error::Exists(_)), "{error}");
    assert!(error.to_string().starts_with("cannot create macvlan net1: File exists"), "{error}");
}

#[test]
fn a_name_that_is_taken_in_the_masters_namespace_only_is_free() {
    let bench = Bench::new();
    let bridge = create_bridge(&bench.host, "net1").unwrap();
    let link = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    assert_eq!(bench.pod.link_by_name("net1").unwrap(), Some(link));
    assert_eq!(bench.host.link_by_name("net1").unwrap(), Some(bridge));
    // No link is left under a random name.
    assert_eq!(names(&bench.pod), ["lo", "net1"]);
}

#[test]
fn an_mtu_above_the_masters_is_invalid() {
    let bench = Bench::new();
    let spec = MacvlanSpec { mtu: Some(bench.master.mtu + 1), ..bench.spec("net1", MacvlanMode::Bridge) };
    let error = bench.create(&spec).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert!(error.to_string().contains("the MTU must be at most the master's"), "{error}");
    assert_eq!(names(&bench.pod), ["lo"]);
}

#[test]
fn a_passthru_link_must_be_the_only_one_on_its_master() {
    let bench = Bench::new();
    bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    let error = bench.create(&bench.spec("net2", MacvlanMode::Passthru)).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    assert!(error.to_string().contains("only macvlan on its master"), "{error}");

    let alone = Bench::new();
    alone.create(&alone.spec("net1", MacvlanMode::Passthru)).unwrap();
    let error = alone.create(&alone.spec("net2", MacvlanMode::Bridge)).unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn a_master_in_a_bridge_is_busy() {
    let bench = Bench::new();
    let bridge = create_bridge(&bench.host, "br0").unwrap();
    enslave(&bench.host, &bench.master, &bridge).unwrap();
    let error = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap_err();
    assert!(matches!(error, Error::Busy(_)), "{error}");
    assert!(error.to_string().contains("bridge, bond or OVS port"), "{error}");
}

#[test]
fn a_deleted_master_is_not_found() {
    let bench = Bench::new();
    bench.host.delete_link(&bench.master).unwrap();
    let error = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
}

#[test]
fn a_multicast_mac_is_refused_with_a_hint() {
    let bench = Bench::new();
    let mac = "01:00:5e:00:53:0a".parse().ok();
    let error = bench.create(&MacvlanSpec { mac, ..bench.spec("net1", MacvlanMode::Bridge) }).unwrap_err();
    assert!(error.to_string().contains("not a unicast address"), "{error}");
}

#[test]
fn the_same_mac_twice_on_a_master_is_taken_when_set_up() {
    let bench = Bench::new();
    let mac = "02:00:5e:00:53:0a".parse().ok();
    let one = bench.create(&MacvlanSpec { mac, ..bench.spec("net1", MacvlanMode::Bridge) }).unwrap();
    let two = bench.create(&MacvlanSpec { mac, ..bench.spec("net2", MacvlanMode::Bridge) }).unwrap();
    bench.pod.set_up(&one).unwrap();
    let error = bench.pod.set_up(&two).unwrap_err();
    assert!(matches!(error, Error::AddressTaken(_)), "{error}");
    assert!(error.to_string().contains("has its MAC address"), "{error}");
}

#[test]
fn a_mac_address_and_a_subnet_select_no_macvlan_link() {
    let bench = Bench::new();
    let mac: Mac = "02:11:22:33:44:55".parse().unwrap();
    let spec = MacvlanSpec { mac: Some(mac), ..bench.spec("net1", MacvlanMode::Bridge) };
    let link = bench.create(&spec).unwrap();
    bench.pod.add_address(&link, "198.51.100.7/24".parse().unwrap(), netlink::Dad::Kernel).unwrap();
    let find = |selector| netlink::find_master(&bench.pod, &[selector]);
    for selector in [MasterSelector::Mac(mac), MasterSelector::Subnet("198.51.100.0/24".parse().unwrap())] {
        assert!(matches!(find(selector), Err(MasterError::NotFound { .. })));
    }
    assert_eq!(find(MasterSelector::Name("net1".to_owned())).unwrap().index, link.index);
}

#[test]
fn a_link_is_set_up_and_down() {
    let bench = Bench::new();
    let link = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    bench.pod.set_up(&link).unwrap();
    let up = bench.pod.link_by_index(link.index).unwrap().unwrap();
    assert!(up.up && up.lower_up, "{up:?}");
    bench.pod.set_down(&link).unwrap();
    assert!(!bench.pod.link_by_index(link.index).unwrap().unwrap().up);
}

#[test]
fn a_link_without_carrier_is_up_but_not_lower_up() {
    let bench = Bench::new();
    let peer = bench.testbed.peer.socket().unwrap();
    let wire = peer.link_by_name(Testbed::WIRE).unwrap().unwrap();
    peer.set_down(&wire).unwrap();
    let link = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    bench.pod.set_up(&link).unwrap();
    let found = bench.pod.link_by_index(link.index).unwrap().unwrap();
    assert!(found.up && !found.lower_up, "{found:?}");
}

#[test]
fn deleting_a_deleted_link_succeeds() {
    let bench = Bench::new();
    let link = bench.create(&bench.spec("net1", MacvlanMode::Bridge)).unwrap();
    bench.pod.delete_link(&link).unwrap();
    bench.pod.delete_link(&link).unwrap();
}

#[test]
fn other_kinds_have_the_kernels_name_and_loopback_has_none() {
    let bench = Bench::new();
    assert_eq!(bench.master.kind, LinkKind::Other("veth".into()));
    assert_eq!(create_bridge(&bench.host, "br0").unwrap().kind, LinkKind::Other("bridge".into()));
    let loopback = bench.host.link_by_name("lo").unwrap().unwrap();
    assert_eq!((loopback.kind, loopback.parent), (LinkKind::Plain, None));
}

#[test]
fn a_link_is_found_by_alternative_names_of_any_length() {
    let bench = Bench::new();
    for name in ["enp0s9", "a-name-longer-than-fifteen-bytes"] {
        add_alt_name(&bench.host, &bench.master, name).unwrap();
        let found = bench.host.link_by_name(name).unwrap().unwrap();
        assert_eq!((found.index, found.name.as_str()), (bench.master.index, Testbed::MASTER));
    }
}

#[test]
fn an_unknown_name_or_index_is_none_and_an_invalid_name_is_an_error() {
    let bench = Bench::new();
    assert_eq!(bench.pod.link_by_name("net1").unwrap(), None);
    assert_eq!(bench.pod.link_by_name("a-name-longer-than-fifteen-bytes").unwrap(), None);
    assert_eq!(bench.pod.link_by_index(4_000_000).unwrap(), None);
    for name in ["", "lo\0x"] {
        assert!(matches!(bench.pod.link_by_name(name), Err(Error::BadName { .. })), "{name:?}");
    }
    let error =
        bench.create(&bench.spec("a-name-longer-than-fifteen-bytes", MacvlanMode::Bridge)).unwrap_err();
    assert!(matches!(error, Error::BadName { .. }), "{error}");
}

#[test]
fn a_list_of_many_links_is_complete() {
    let (one, two) = (NamedNetns::new().unwrap(), NamedNetns::new().unwrap());
    let (one, two) = (one.socket().unwrap(), two.socket().unwrap());
    for number in 0..120 {
        create_veth(&one, &format!("v{number}"), &two, &format!("p{number}")).unwrap();
    }
    let found = names(&one);
    assert_eq!(found.len(), 121);
    assert!((0..120).all(|number| found.contains(&format!("v{number}"))));
}

#[test]
fn ipvlan_is_created_or_the_error_names_the_missing_module() {
    let bench = Bench::new();
    match bench.host.create_ipvlan(&IpvlanSpec::new("net1", bench.master.index, IpvlanMode::L2), &bench.pod) {
        Err(error @ Error::Unsupported(_)) => assert!(error.to_string().contains("module ipvlan"), "{error}"),
        Err(error) => panic!("{error}"),
        Ok(link) => assert!(matches!(link.kind, LinkKind::Ipvlan { mode: IpvlanMode::L2, .. }), "{link:?}"),
    }
}
