use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{AssignedSlice, Layout, Plan, plan};
use crate::addr::range::RangeSpec;
use crate::addr::slices::SliceSize;
use crate::crd::node_slice_pool::NodeSlice;
use crate::leader::sliced_networks::{NetworkProblem, SlicedNetwork, desired_slice_pools};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn window(range: &str, excludes: &[&str]) -> RangeSpec {
    RangeSpec::parse(range, None, None, excludes.iter().map(|e| (*e).to_owned()).collect()).unwrap()
}

fn layout(range: &str, size: &str, excludes: &[&str]) -> Layout {
    let window = window(range, excludes);
    Layout { range: window.net, size: SliceSize::parse(size).unwrap(), windows: vec![window] }
}

fn assigned(list: &[(&str, &str)]) -> Vec<AssignedSlice> {
    list.iter().map(|(node, slice)| AssignedSlice { node: (*node).to_owned(), slice: net(slice) }).collect()
}

fn planned(layout: &Layout, current: &[(&str, &str)], in_use: &[(&str, &str)], nodes: &[&str]) -> Plan {
    let nodes: BTreeSet<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
    plan(layout, &assigned(current), &assigned(in_use), &nodes).unwrap()
}

fn slices(plan: &Plan) -> Vec<(&str, String)> {
    plan.assigned.iter().map(|assigned| (assigned.node.as_str(), assigned.slice.to_string())).collect()
}

#[test]
fn nodes_get_the_lowest_free_slices_and_of_a_range_with_too_many_no_free_one_is_listed() {
    let plan = planned(&layout("10.0.0.0/8", "/27", &[]), &[], &[], &["n1", "n2"]);
    assert_eq!(slices(&plan), [("n1", "10.0.0.0/27".into()), ("n2", "10.0.0.32/27".into())]);
    assert_eq!(plan.free, []);
    let v6 = planned(&layout("fd00::/48", "64", &[]), &[], &[], &["n1", "n2"]);
    assert_eq!(slices(&v6), [("n1", "fd00::/64".into()), ("n2", "fd00:0:0:1::/64".into())]);
}

/// Whereabouts' e2e tests count these.
#[test]
fn all_4096_slices_of_20_bits_in_a_range_of_8_bits_are_listed() {
    let plan = planned(&layout("10.0.0.0/8", "/20", &[]), &[("n2", "10.0.16.0/20")], &[], &["n1", "n2"]);
    assert_eq!(slices(&plan), [("n1", "10.0.0.0/20".into()), ("n2", "10.0.16.0/20".into())]);
    assert_eq!(
        (plan.free.len() + 2, plan.free[0], plan.free[4093]),
        (4096, net("10.0.32.0/20"), net("10.255.240.0/20"))
    );
    let most = planned(&layout("10.0.0.0/8", "/21", &[]), &[], &[], &[]);
    assert_eq!(most.free.len() as u128, super::MAX_LISTED);
}

#[test]
fn a_free_slice_that_is_listed_is_usable_and_has_no_claims() {
    let layout = layout("10.0.0.0/24", "/26", &["10.0.0.128/26"]);
    let plan = planned(&layout, &[], &[("gone", "10.0.0.192/27")], &["n1"]);
    assert_eq!(slices(&plan), [("n1", "10.0.0.0/26".into())]);
    assert_eq!(plan.free, [net("10.0.0.64/26")]);
}

#[test]
fn a_node_keeps_its_slice_and_a_new_node_gets_a_free_one() {
    let layout = layout("10.0.0.0/24", "/26", &[]);
    let current = [("n1", "10.0.0.64/26"), ("n3", "10.0.0.0/26")];
    let plan = planned(&layout, &current, &[], &["n1", "n2", "n3"]);
    assert_eq!(
        slices(&plan),
        [("n3", "10.0.0.0/26".into()), ("n1", "10.0.0.64/26".into()), ("n2", "10.0.0.128/26".into())]
    );
}

#[test]
fn the_slice_of_a_deleted_node_is_free_when_no_address_in_it_is_claimed() {
    let layout = layout("10.0.0.0/25", "/26", &[]);
    let current = [("old", "10.0.0.0/26"), ("n1", "10.0.0.64/26")];
    let held = planned(&layout, &current, &[("old", "10.0.0.0/26")], &["n1", "n2"]);
    assert_eq!((slices(&held).len(), held.nodes_without_slice), (2, vec!["n2".to_owned()]));
    let free = planned(&layout, &current, &[], &["n1", "n2"]);
    assert_eq!(slices(&free), [("n2", "10.0.0.0/26".into()), ("n1", "10.0.0.64/26".into())]);
}

#[test]
fn too_few_slices_name_the_nodes_without_one() {
    let plan = planned(&layout("10.0.0.0/25", "/26", &[]), &[], &[], &["n3", "n1", "n4", "n2"]);
    assert_eq!(plan.nodes_without_slice, ["n3", "n4"]);
    assert_eq!(slices(&plan).len(), 2);
}

#[test]
fn after_a_change_of_the_range_slices_that_fit_stay() {
    let current = [("n1", "10.0.0.0/26"), ("n2", "10.0.0.192/26")];
    let larger = planned(&layout("10.0.0.0/16", "/26", &[]), &current, &[], &["n1", "n2"]);
    assert_eq!(slices(&larger), current.map(|(node, slice)| (node, slice.to_owned())));
    let smaller = planned(&layout("10.0.0.0/25", "/26", &[]), &current, &[], &["n1", "n2"]);
    assert_eq!(slices(&smaller), [("n1", "10.0.0.0/26".into()), ("n2", "10.0.0.64/26".into())]);
}

#[test]
fn after_a_change_of_the_size_no_node_gets_a_slice_with_claims_of_another() {
    let current = [("n1", "10.0.0.0/26"), ("n2", "10.0.0.64/26"), ("n3", "10.0.0.128/26")];
    // n1 and n2 have claims in the same /25, so neither gets it. n3 gets the /25 with its claims.
    let plan = planned(&layout("10.0.0.0/23", "/25", &[]), &current, &current, &["n1", "n2", "n3"]);
    assert_eq!(
        slices(&plan),
        [("n3", "10.0.0.128/25".into()), ("n1", "10.0.1.0/25".into()), ("n2", "10.0.1.128/25".into())]
    );
    // Smaller slices: each node gets the first one of its old slice.
    let plan = planned(&layout("10.0.0.0/24", "/27", &[]), &current, &current, &["n1", "n2", "n3"]);
    assert_eq!(
        slices(&plan),
        [("n1", "10.0.0.0/27".into()), ("n2", "10.0.0.64/27".into()), ("n3", "10.0.0.128/27".into())]
    );
    // A new node gets no part of the old slices with claims.
    let plan = planned(&layout("10.0.0.0/24", "/27", &[]), &current, &current, &["n4"]);
    assert_eq!(slices(&plan), [("n4", "10.0.0.192/27".into())]);
}

#[test]
fn of_two_assignments_of_one_slice_the_one_with_claims_stays() {
    let layout = layout("10.0.0.0/24", "/26", &[]);
    let current = [("n1", "10.0.0.0/26"), ("n2", "10.0.0.0/26"), ("n2", "10.0.0.64/26")];
    let plan = planned(&layout, &current, &[], &["n1", "n2"]);
    assert_eq!(slices(&plan), [("n1", "10.0.0.0/26".into()), ("n2", "10.0.0.64/26".into())]);
    let in_use = [("n2", "10.0.0.0/26")];
    let plan = planned(&layout, &current[..2], &in_use, &["n1", "n2"]);
    assert_eq!(slices(&plan), [("n2", "10.0.0.0/26".into()), ("n1", "10.0.0.64/26".into())]);
    let both = [("n1", "10.0.0.0/26"), ("n2", "10.0.0.0/26")];
    let plan = planned(&layout, &current[..2], &both, &["n1", "n2"]);
    assert_eq!(slices(&plan), [("n1", "10.0.0.64/26".into()), ("n2", "10.0.0.128/26".into())]);
}

#[test]
fn slices_without_a_usable_address_are_passed_over() {
    let table = [
        // range, size, excludes, first slice
        ("10.0.0.0/24", "/26", &["10.0.0.0/25"][..], "10.0.0.128/26"),
        ("10.0.0.0/24", "/26", &["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/30"], "10.0.0.0/26"),
        ("10.0.0.0/24", "/30", &["10.0.0.1/32", "10.0.0.2/32"], "10.0.0.4/30"),
        // Of the first slice only the network and the broadcast address are not excluded.
        ("10.0.0.0/28", "/29", &["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"], "10.0.0.8/29"),
        // The first slice is below the window; then only its broadcast address is in the window.
        ("10.0.0.130-10.0.0.200/24", "/26", &[], "10.0.0.128/26"),
        ("10.0.0.63-10.0.0.200/24", "/26", &[], "10.0.0.64/26"),
        // The plan jumps over half of the range instead of walking through it.
        ("fd00::/16", "/112", &["fd00::/17"], "fd00:8000::/112"),
    ];
    for (range, size, excludes, first) in table {
        let plan = planned(&layout(range, size, excludes), &[], &[], &["n1"]);
        assert_eq!(slices(&plan), [("n1", first.to_owned())], "{range} {size} {excludes:?}");
    }
    let none = planned(&layout("10.0.0.0/24", "/26", &["10.0.0.0/24"]), &[], &[], &["n1"]);
    assert_eq!(none.nodes_without_slice, ["n1"]);
}

#[test]
fn a_slice_must_be_usable_for_every_network_that_shares_it() {
    let windows = vec![window("10.0.0.0/24", &["10.0.0.64/26"]), window("10.0.0.0/24", &["10.0.0.0/26"])];
    let shared = Layout { windows, ..layout("10.0.0.0/24", "/26", &[]) };
    assert_eq!(slices(&planned(&shared, &[], &[], &["n1"])), [("n1", "10.0.0.128/26".into())]);
}

#[test]
fn a_list_that_whereabouts_wrote_is_parsed() {
    let slice = |node: &str, range: &str| NodeSlice { node_name: node.into(), slice_range: range.into() };
    let list = [
        slice("n1", "10.0.0.0/26"),
        slice("", "10.0.0.64/26"),
        slice("n2", "banana"),
        slice("n3", "fd00::/64"),
    ];
    assert_eq!(AssignedSlice::from_list(&list), assigned(&[("n1", "10.0.0.0/26"), ("n3", "fd00::/64")]));
}

#[test]
fn an_impossible_layout_is_an_error() {
    let nodes = BTreeSet::new();
    assert!(plan(&layout("10.0.0.0/24", "/23", &[]), &[], &[], &nodes).is_err());
    assert!(plan(&layout("10.0.0.0/24", "/26", &["banana"]), &[], &[], &nodes).is_err());
}

/// After random changes of nodes, claims, range and size no slice overlaps another slice or another node's claims.
#[test]
fn no_plan_assigns_one_address_to_two_nodes() {
    let layouts = [
        layout("10.0.0.0/24", "/26", &[]),
        layout("10.0.0.0/24", "/27", &["10.0.0.32/27"]),
        layout("10.0.0.0/25", "/27", &[]),
        layout("10.0.0.128-10.0.0.250/24", "/28", &[]),
    ];
    let names = ["n1", "n2", "n3", "n4"];
    let mut random = 1_u64;
    let mut draw = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (mut current, mut in_use) = (Vec::<AssignedSlice>::new(), Vec::<AssignedSlice>::new());
    for _ in 0..5_000 {
        let layout = &layouts[usize::try_from(draw(4)).unwrap()];
        let nodes: BTreeSet<String> =
            names.iter().filter(|_| draw(3) > 0).map(|name| (*name).to_owned()).collect();
        let plan = plan(layout, &current, &in_use, &nodes).unwrap();
        for (at, one) in plan.assigned.iter().enumerate() {
            let others =
                plan.assigned[at + 1..].iter().chain(in_use.iter().filter(|other| other.node != one.node));
            for other in others {
                assert!(
                    !super::overlap(&one.slice, &other.slice),
                    "{one:?} {other:?} of {plan:?}, {in_use:?}"
                );
            }
        }
        let with: BTreeSet<&String> = plan.assigned.iter().map(|assigned| &assigned.node).collect();
        assert!(plan.nodes_without_slice.iter().all(|node| !with.contains(node)));
        current = plan.assigned;
        // Create some claims in assigned slices, and delete some.
        in_use.retain(|_| draw(4) > 0);
        in_use
            .extend(current.iter().filter(|assigned| nodes.contains(&assigned.node) && draw(2) > 0).cloned());
        in_use.dedup();
    }
}

fn network(definition: &str, pool: &str, range: &str, size: &str) -> SlicedNetwork {
    SlicedNetwork {
        definition: definition.into(),
        pool: pool.into(),
        network: None,
        range: window(range, &[]),
        more_ranges: 0,
        size: SliceSize::parse(size).unwrap(),
        typed_size: size.into(),
    }
}

#[test]
fn networks_with_the_same_name_share_one_object() {
    let networks = [
        network("a/x", "x", "10.0.0.0/8", "/22"),
        network("b/x", "x", "10.0.0.0/8", "22"),
        network("a/y", "y", "10.0.0.0/8", "/22"),
    ];
    let (desired, problems) = desired_slice_pools(&networks, |_| None);
    let pools: Vec<(&str, usize, &str)> =
        desired.iter().map(|d| (d.pool.as_str(), d.definitions.len(), d.typed_size.as_str())).collect();
    assert_eq!((pools, problems), (vec![("x", 2, "/22"), ("y", 1, "/22")], vec![]));
}

#[test]
fn networks_that_differ_are_reported_and_the_existing_object_decides() {
    let networks = [network("a/x", "x", "10.0.0.0/8", "/22"), network("b/x", "x", "10.0.0.0/8", "/24")];
    let (none, problems) = desired_slice_pools(&networks, |_| None);
    assert_eq!(
        (none.len(), problems.len()),
        (0, 2),
        "without an object it is unknown which network is right"
    );
    let existing = Some((net("10.0.0.0/8"), SliceSize::parse("24").unwrap()));
    let (one, problems) = desired_slice_pools(&networks, |_| existing);
    assert_eq!(one[0].definitions, ["b/x"]);
    assert_eq!(problems.len(), 1);
    let text = problems[0].to_string();
    let upstream = "found IPAM conf mismatch for network-attachment-definitions with same network name";
    assert!(text.starts_with(upstream) && text.contains("a/x"), "{text}");
    // If all networks agree, the object is changed to fit them.
    let (changed, problems) = desired_slice_pools(&networks[..1], |_| existing);
    assert_eq!((changed[0].layout.size, problems), (SliceSize::parse("22").unwrap(), vec![]));
}

#[test]
fn what_is_not_supported_is_reported() {
    let several = SlicedNetwork { more_ranges: 1, ..network("a/x", "x", "10.0.0.0/8", "/22") };
    let bad_name = network("a/y", "My_Net", "10.0.0.0/8", "/22");
    let (desired, problems) = desired_slice_pools(&[several, bad_name], |_| None);
    assert_eq!(desired.len(), 1, "the first range is cut nevertheless");
    assert!(matches!(problems[0], NetworkProblem::SeveralRanges { ranges: 2, .. }), "{problems:?}");
    assert!(matches!(problems[1], NetworkProblem::BadName { .. }), "{problems:?}");
}
