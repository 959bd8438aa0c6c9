//! Checks every order of events of two pods, their plugins and the leader, with one crash and one stale read. No two live pods may have the
//! same address, no live pod may lose its claim, and no claim may stay after its pod is gone.
//!
//! Our own functions decide which address to claim (`choose::next`) and which claims to release (`reclaim_rules`). The model adds the API
//! server, the kubelets and the timing.
//!
//! [`naming`] and [`entries`] are models of their own: how the names of a pool's claims are decided, and how requests and Whereabouts share a
//! pool.
//!
//! A model that finds nothing may have lost its events. So each test breaks one rule, and the checker must find a violation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod entries;
mod naming;
mod pods;
mod reclaimer;
mod world;

use stateright::{Checker, Model};

use world::{Rules, World};

fn check(rules: Rules) -> impl Checker<World> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    World::new(rules).checker().threads(threads).spawn_bfs().join()
}

#[test]
fn no_order_of_events_breaks_a_property() {
    let checker = check(Rules::Intact);
    eprintln!("{} states, {} of them unique", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "too few states: the model lost events");
}

/// The names of the properties that do not hold with these rules.
fn violations(rules: Rules) -> Vec<&'static str> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = World::new(rules)
        .checker()
        .threads(threads)
        .finish_when(stateright::HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    discoveries.into_keys().filter(|name| world::VIOLATIONS.contains(name)).collect()
}

#[test]
fn a_delete_without_preconditions_is_detected() {
    assert_ne!(violations(Rules::DeleteByNameOnly), Vec::<&str>::new());
}

#[test]
fn a_release_after_one_observation_is_detected() {
    assert_ne!(violations(Rules::OneObservation), Vec::<&str>::new());
}

#[test]
fn a_release_without_a_final_read_of_the_pod_is_detected() {
    assert_ne!(violations(Rules::NoFinalRead), Vec::<&str>::new());
}

#[test]
fn an_overwriting_create_is_detected() {
    assert_ne!(violations(Rules::OverwritingCreates), Vec::<&str>::new());
}

#[test]
fn a_leader_that_never_releases_is_detected() {
    assert_eq!(violations(Rules::NeverRelease), ["a claim stays after its pod is gone"]);
}

/// A plugin must not take over the claim of its pod's name once the pod is gone: the claim may belong to the pod's successor by then.
#[test]
fn a_late_plugin_that_takes_over_its_successors_claim_is_detected() {
    assert_ne!(violations(Rules::OldPluginsContinue), Vec::<&str>::new());
}
