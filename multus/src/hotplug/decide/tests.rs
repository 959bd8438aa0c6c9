use nad::NadRef;
use node::names::DnsLabel;
use serde_json::json;

use super::*;
use crate::request::parse;
use crate::testing::network;

/// A recorded network: `label@interface`, with `!` before it if the configuration gives it, and `?` if its ADD is not complete.
fn recorded(texts: &[&str]) -> (Vec<Recorded>, Vec<Extent>) {
    let one = |text: &&str| {
        let (label, if_name) = text.trim_start_matches(['!', '?']).split_once('@').unwrap();
        let mut network = network("x", "1.0.0");
        network.label = label.to_owned();
        let requested = (!text.starts_with('!')).then(Map::new);
        let if_name = IfName::parse(if_name).unwrap();
        let extent = if text.starts_with('?') { Extent::Partial } else { Extent::Whole };
        (Recorded { network, if_name, capability_args: Map::new(), requested }, extent)
    };
    texts.iter().map(one).unzip()
}

/// The requests of a pod with this annotation, behind `before` networks of the configuration.
fn requests(before: usize, annotation: &str) -> Vec<NetworkRequest> {
    let plain = NetworkRequest { origin: Origin::OnDisk("x".to_owned()), attachment: Default::default() };
    let own = parse(annotation, &DnsLabel::new("default").unwrap()).unwrap().into_iter().map(|element| {
        let origin = Origin::Definition(NadRef { namespace: element.namespace, name: element.name });
        NetworkRequest { origin, attachment: element.request }
    });
    std::iter::repeat_n(plain, before).chain(own).collect()
}

/// `-label@if` for what is removed, `+label@if` for what is added, `=` for a taken name, `~` for changed arguments.
fn decided(record: &[&str], annotation: &str) -> Vec<String> {
    decided_behind(1, record, annotation)
}

fn decided_behind(before: usize, record: &[&str], annotation: &str) -> Vec<String> {
    let ((record, extents), requests) = (recorded(record), requests(before, annotation));
    let decision = decide(&record, &extents, &requests, Stage::Before);
    let of_record =
        |sign: &str, at: &usize| format!("{sign}{}@{}", record[*at].network.label, record[*at].if_name);
    let of_request = |sign: &str, one: &Addition| {
        let Origin::Definition(nad_ref) = &requests[one.request].origin else { panic!() };
        format!("{sign}{nad_ref}@{}", one.if_name)
    };
    let mut texts: Vec<String> = decision.detach.iter().map(|at| of_record("-", at)).collect();
    texts.extend(decision.attach.iter().map(|one| of_request("+", one)));
    texts.extend(decision.taken.iter().map(|one| of_request("=", one)));
    texts.extend(decision.changed.iter().map(|changed| of_record("~", &changed.recorded)));
    texts
}

#[test]
fn a_pod_whose_annotation_is_as_its_record_is_left_alone() {
    for annotation in ["a,b@data", "b@data,a", "a,b", r#"[{"name":"a"},{"name":"b","interface":"data"}]"#] {
        let got = decided(&["!main@eth0", "default/a@net1", "default/b@data"], annotation);
        assert_eq!(got, [] as [&str; 0], "{annotation}");
    }
    assert_eq!(decided(&["!main@eth0"], ""), [] as [&str; 0]);
}

#[test]
fn what_is_gone_is_removed_and_what_is_new_is_added() {
    let record = ["!main@eth0", "default/a@net1", "default/b@net2"];
    assert_eq!(decided(&record, "a"), ["-default/b@net2"]);
    assert_eq!(decided(&record, ""), ["-default/a@net1", "-default/b@net2"]);
    assert_eq!(decided(&["!main@eth0"], "a,other/b@data"), ["+default/a@net1", "+other/b@data"]);
    assert_eq!(decided(&record, "a,b,c"), ["+default/c@net3"]);
    // The interface is part of what a network is.
    assert_eq!(decided(&record, "a@front,b"), ["-default/a@net1", "+default/a@front"]);
    assert_eq!(decided(&record, "a,b,a"), ["+default/a@net3"]);
}

#[test]
fn an_attachment_keeps_its_interface_when_those_before_it_go() {
    let record = ["!main@eth0", "default/a@net1", "default/b@net2"];
    assert_eq!(decided(&record, "b"), ["-default/a@net1"]);
    // net2 is the name of c's place, and taken: the lowest free one.
    assert_eq!(decided(&["!main@eth0", "default/b@net2"], "b,c"), ["+default/c@net1"]);
    assert_eq!(decided(&record, "b,c"), ["-default/a@net1", "+default/c@net1"]);
}

#[test]
fn a_requested_name_is_never_given_to_another_network() {
    assert_eq!(decided(&["!main@eth0"], "a,b@net1"), ["+default/a@net2", "+default/b@net1"]);
    let record = ["!main@eth0", "default/a@net1"];
    assert_eq!(decided(&record, "a,b@net1"), ["=default/b@net1"]);
    assert_eq!(decided(&record, "a,b@eth0,c"), ["+default/c@net3", "=default/b@eth0"]);
    assert_eq!(decided(&["!main@eth0"], "a@x,b@x"), ["+default/a@x", "=default/b@x"]);
    // The name becomes free by a removal.
    assert_eq!(decided(&record, "b@net1"), ["-default/a@net1", "+default/b@net1"]);
}

#[test]
fn networks_of_the_configuration_are_never_touched() {
    let record = ["!main@eth0", "!kube-system/extra@net1", "!chain@net2"];
    assert_eq!(decided_behind(2, &record, ""), [] as [&str; 0]);
    assert_eq!(decided_behind(2, &record, "a"), ["+default/a@net3"]);
    // A record of an earlier release does not say who requested a network: it stays, and is not attached again.
    let old = ["!main@eth0", "!default/a@net1"];
    assert_eq!(decided(&old, ""), [] as [&str; 0]);
    assert_eq!(decided(&old, "a,b"), ["+default/b@net2"]);
    // The default network may come from an annotation too.
    assert_eq!(decided(&["default/special@eth0", "default/a@net1"], ""), ["-default/a@net1"]);
}

#[test]
fn a_network_whose_add_did_not_end_is_removed_and_added_again() {
    let record = ["!main@eth0", "?default/a@net1", "default/b@net2"];
    assert_eq!(decided(&record, "a,b"), ["-default/a@net1", "+default/a@net1"]);
    assert_eq!(decided(&record, "b"), ["-default/a@net1"]);
}

#[test]
fn changed_arguments_are_reported_and_not_applied() {
    let ips = r#"[{"name":"a","ips":["10.0.0.5/24"]}]"#;
    assert_eq!(decided(&["!main@eth0", "default/a@net1"], ips), ["~default/a@net1"]);
    let (mut record, extents) = recorded(&["!main@eth0", "default/a@net1"]);
    record[1].requested = json!({"ips": ["10.0.0.5/24"]}).as_object().cloned();
    assert_eq!(decide(&record, &extents, &requests(1, ips), Stage::Before), Decision::default());
    let changed = decide(&record, &extents, &requests(1, "a"), Stage::Before).changed;
    assert_eq!(changed, [Changed { recorded: 1, arguments: Map::new() }]);
}

#[test]
fn the_order_is_that_of_the_annotation() {
    let order = |record: &[&str], annotation: &str| order(&recorded(record).0, &requests(1, annotation));
    assert_eq!(order(&["!main@eth0", "default/a@net1", "default/b@net2"], "b,a"), [0, 2, 1]);
    assert_eq!(
        order(&["!main@eth0", "default/a@net1", "!chain@net2", "default/b@net3"], "b,a"),
        [0, 3, 1, 2]
    );
    // What could not be removed yet comes last.
    assert_eq!(order(&["!main@eth0", "default/a@net1", "default/b@net2"], "b"), [0, 2, 1]);
    assert_eq!(order(&["!main@eth0", "!extra@net1"], ""), [0, 1]);
}

#[test]
fn an_interface_that_could_not_be_removed_is_not_given_to_another_network() {
    let ((record, extents), requests) = (recorded(&["!main@eth0", "default/a@net1"]), requests(1, "b"));
    let name = |stage| decide(&record, &extents, &requests, stage).attach[0].if_name.to_string();
    assert_eq!((name(Stage::Before), name(Stage::Removed)), ("net1".to_owned(), "net2".to_owned()));
}
