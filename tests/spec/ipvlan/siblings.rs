//! All links of a master have one mode, one flag and one kind (macvlan or ipvlan): how ADD treats a master that has links.

use std::time::Duration;

use cni::Code;
use netlink::test_util::Testbed;
use netlink::{IpvlanFlag, IpvlanMode, IpvlanSpec};
use serde_json::json;
use tests::cluster::wait;
use tests::driver::{Subject, merged};

use crate::ipvlan::support::{Neighbour, add, conf, exchange, kind_of_net1, ours};
use crate::support::ipam::scripted;
use crate::support::{Bench, nothing_is_left};

#[test]
fn a_mode_that_differs_from_the_masters_links_is_refused_and_changes_nothing() {
    let bench = Bench::new();
    let first = Neighbour::new("first");
    first.ours(&bench, "ADD", &conf(&bench, json!({}))).ok();
    let l3 = conf(&bench, json!({"mode": "l3"}));
    let error = ours(&bench, "ADD", &l3).error();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(error.msg.contains(Testbed::MASTER) && error.msg.contains("mode l2 already"), "{error}");
    let place = first.netns.path().file_name().unwrap().to_str().unwrap();
    assert!(error.details.contains("net1") && error.details.contains(place), "{error}");
    assert_eq!(first.kind(), (IpvlanMode::L2, IpvlanFlag::Bridge));
    assert_eq!((bench.net1(), bench.held().len()), (None, 1));
    first.ours(&bench, "DEL", &conf(&bench, json!({}))).ok();
    add(&bench, &l3);
    assert_eq!(kind_of_net1(&bench).0, IpvlanMode::L3);
}

#[test]
fn every_flag_works_and_one_that_differs_from_the_masters_links_is_refused() {
    for (word, flag) in
        [("private", IpvlanFlag::Private), ("vepa", IpvlanFlag::Vepa), ("bridge", IpvlanFlag::Bridge)]
    {
        let bench = Bench::new();
        add(&bench, &conf(&bench, json!({"flag": word})));
        assert_eq!(kind_of_net1(&bench), (IpvlanMode::L2, flag));
        let other = if word == "vepa" { "bridge" } else { "vepa" };
        let second = Neighbour::new("second");
        let error = second.ours(&bench, "ADD", &conf(&bench, json!({"flag": other}))).error();
        assert!(error.msg.contains(&format!("flag {word} already")), "{error}");
        assert_eq!(kind_of_net1(&bench), (IpvlanMode::L2, flag));
    }
    let bench = Bench::new();
    let error = ours(&bench, "ADD", &conf(&bench, json!({"flag": "banana"}))).error();
    assert_eq!(error.msg, "unknown ipvlan flag: \"banana\"");
}

#[test]
fn links_of_masters_with_equal_index_in_two_namespaces_do_not_restrict_each_other() {
    // Both benches make their interfaces in the same order, so the masters have the same index in two namespaces.
    let (one, two) = (Bench::new(), Bench::new());
    let inside = json!({"linkInContainer": true, "master": "inner0"});
    add(&one, &conf(&one, merged(&inside, json!({"mode": "l3"}))));
    add(&two, &conf(&two, inside));
    assert_eq!(one.net1().unwrap().parent, two.net1().unwrap().parent);
    assert_eq!((kind_of_net1(&one).0, kind_of_net1(&two).0), (IpvlanMode::L3, IpvlanMode::L2));
}

#[test]
fn private_links_of_one_master_do_not_reach_each_other() {
    let bench = Bench::new();
    let second = Neighbour::new("second");
    let private = conf(&bench, json!({"flag": "private"}));
    add(&bench, &private);
    second.ours(&bench, "ADD", &private).ok();
    let address = bench.addresses_of_net1()[0].split('/').next().unwrap().to_owned();
    let outcome = exchange(second.netns.netns(), bench.lab.pod.netns(), &address);
    assert_eq!(outcome, Err("the question did not arrive"));
}

#[test]
fn add_undoes_a_link_whose_mode_another_link_changed_meanwhile() {
    let bench = Bench::new();
    let folder = bench.folder.path();
    let (reached, go) = (folder.join("reached"), folder.join("go"));
    let block = format!("touch {}\nuntil [ -e {} ]; do sleep 0.05; done", reached.display(), go.display());
    let result = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.9/24"}]});
    let slow = scripted(&bench, &[("ADD", &format!("{block}\necho '{result}'"))]);
    let slow = conf(&bench, json!({"ipam": slow}));
    let other = Neighbour::new("other");
    let error = std::thread::scope(|scope| {
        let adding = scope.spawn(|| bench.call().run(&Subject::ours(), "ADD", &slow).error());
        // The plugin has created its link and waits for IPAM.
        let in_ipam = wait(Duration::from_secs(20), || reached.exists().then_some(()));
        assert!(in_ipam.is_some(), "the plugin did not run IPAM within 20 s");
        let master = bench.host.link_by_name(Testbed::MASTER).unwrap().unwrap();
        let spec = IpvlanSpec::new("net1", master.index, IpvlanMode::L3);
        bench.host.create_ipvlan(&spec, &other.socket).unwrap();
        std::fs::File::create(&go).unwrap();
        adding.join().unwrap()
    });
    assert_eq!(error.code, Code::TryAgainLater, "{error}");
    assert!(error.msg.contains("from mode l2") && error.msg.contains("to mode l3"), "{error}");
    nothing_is_left(&bench);
}

#[test]
fn a_master_cannot_carry_both_macvlan_and_ipvlan_links() {
    let bench = Bench::new();
    let ipvlan = conf(&bench, json!({}));
    let macvlan = merged(&ipvlan, json!({"type": "macvlan"}));
    for (first, second, word) in [(&ipvlan, &macvlan, "ipvlan links"), (&macvlan, &ipvlan, "macvlan links")] {
        add(&bench, first);
        let other = Neighbour::new("other");
        let error = other.ours(&bench, "ADD", second).error();
        assert!(error.msg.contains(word) && error.msg.contains(Testbed::MASTER), "{error}");
        assert_eq!(other.socket.link_by_name("net1").unwrap(), None);
        ours(&bench, "DEL", first).ok();
        nothing_is_left(&bench);
    }
}
