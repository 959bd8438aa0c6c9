//! The whole stack on a real cluster: two kubelets, containerd, an API server, and the release builds of the plugins. The program starts the
//! cluster once, runs the tests one after the other, and takes the cluster down even if tests fail.
//!
//! `cargo test -p tests --test e2e -- FILTER` runs some of them. `MRS_E2E_CLUSTER` names the cluster (default `test`). `MRS_E2E_ONLY` selects
//! one half of the tests, `plugins` or `daemons`, so that two clusters can share the work.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod by_hand;
mod daemon;
mod devices;
mod hotplug;
mod killed;
mod objects;
mod outage;
mod pools;
mod reclaim;
mod refused;
mod rights;
mod served;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tests::cluster::Cluster;

type Test = (&'static str, fn(&Cluster));

fn main() {
    let mut arguments = Arguments::from_args();
    // All tests share the cluster, and each starts from one without pods.
    arguments.test_threads = Some(1);
    // A test's name begins with the name of its file.
    let modules: [(&str, &[Test]); 11] = [
        ("served", served::TESTS),
        ("refused", refused::TESTS),
        ("by_hand", by_hand::TESTS),
        ("killed", killed::TESTS),
        ("devices", devices::TESTS),
        // The tests below start the daemons.
        ("daemon", daemon::TESTS),
        ("pools", pools::TESTS),
        ("reclaim", reclaim::TESTS),
        ("outage", outage::TESTS),
        ("rights", rights::TESTS),
        // The tests below start the program for running pods.
        ("hotplug", hotplug::TESTS),
    ];
    let half = match std::env::var("MRS_E2E_ONLY").as_deref() {
        Ok("plugins") => 0..5,
        Ok("daemons") => 5..11,
        Ok(other) => panic!("MRS_E2E_ONLY={other:?}: expected plugins or daemons"),
        Err(_) => 0..11,
    };
    let tests = modules[half].iter().flat_map(|(module, tests)| {
        tests.iter().map(move |(name, test)| (format!("{module}::{name}"), *test))
    });
    let cluster = if arguments.list { None } else { Some(Arc::new(start())) };
    let trials = tests.map(|(name, test)| {
        let cluster = cluster.clone();
        Trial::test(name, move || {
            let cluster = cluster.expect("a test runs with a cluster");
            let caught = |run: &dyn Fn()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
            let outcome = caught(&|| test(&cluster));
            let cleaned = caught(&|| objects::clean_up(&cluster));
            outcome.map_err(|panic| message_of(&*panic))?;
            cleaned
                .map_err(|panic| format!("after the test, with its pods deleted: {}", message_of(&*panic)))?;
            Ok(())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop(cluster);
    conclusion.exit();
}

fn start() -> Cluster {
    let name = std::env::var("MRS_E2E_CLUSTER").unwrap_or_else(|_| "test".to_owned());
    Cluster::up(&name)
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()))
        .unwrap_or_else(|| "panicked".to_owned())
}
