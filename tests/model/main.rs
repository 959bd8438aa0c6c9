//! Every order of events that two pods, their plugins and the leader can go through, with one crash and one stale look: no address with two
//! live pods, none taken from a live pod, none left with a pod that is gone. What to claim and what to release, our own functions decide
//! (`choose::next`, `reclaim::observe`, `reclaim::releases`); the model adds the API server, the kubelets and everybody's timing.
//!
//! A model that finds nothing may be blind. So each rule is taken away in turn, and the checker must find the harm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod pods;
mod reclaimer;
mod world;

use stateright::{Checker, Model};

use world::{Rules, World};

fn checked(rules: Rules) -> impl Checker<World> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    World::new(rules).checker().threads(threads).spawn_bfs().join()
}

#[test]
fn no_order_of_events_harms() {
    let checker = checked(Rules::Ours);
    eprintln!("{} states, of them {} different", checker.state_count(), checker.unique_state_count());
    checker.assert_properties();
    assert!(checker.unique_state_count() > 10_000, "the model lost its events");
}

/// The first harm that the checker finds with these rules, as a property's name.
fn harm(rules: Rules) -> Vec<&'static str> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = World::new(rules)
        .checker()
        .threads(threads)
        .finish_when(stateright::HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    discoveries.into_keys().filter(|name| world::HARMS.contains(name)).collect()
}

#[test]
fn a_delete_without_precondition_is_found_out() {
    assert_ne!(harm(Rules::DeleteByNameOnly), Vec::<&str>::new());
}

#[test]
fn a_release_after_one_observation_is_found_out() {
    assert_ne!(harm(Rules::OneObservation), Vec::<&str>::new());
}

#[test]
fn a_release_without_asking_for_the_pod_is_found_out() {
    assert_ne!(harm(Rules::BelieveTheView), Vec::<&str>::new());
}

#[test]
fn a_claim_that_overwrites_is_found_out() {
    assert_ne!(harm(Rules::Overwrite), Vec::<&str>::new());
}

#[test]
fn a_leader_that_never_releases_is_found_out() {
    assert_eq!(harm(Rules::NeverRelease), ["an address is left with a pod that is gone"]);
}

/// Why a plugin must not take over its pod's claim once that pod is gone: the claim may be the next pod's by then.
#[test]
fn an_old_pods_plugin_that_takes_over_its_successors_claim_is_found_out() {
    assert_ne!(harm(Rules::OldPluginsGoOn), Vec::<&str>::new());
}
