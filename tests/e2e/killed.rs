//! The plugins killed by SIGKILL at every point where something was just made or taken away, against the real API server: the runtime's DEL
//! clears all of it.

use std::os::unix::process::ExitStatusExt;

use serde_json::json;
use tests::cluster::{Cluster, text};

use crate::by_hand::{Call, Sandbox, conf};
use crate::objects::{claims, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("whereabouts_killed_anywhere_in_add_or_del_leaves_nothing_after_del", whereabouts_killed),
    ("multus_killed_anywhere_in_add_or_del_leaves_nothing_after_del", multus_killed),
];

/// The plugins built with the feature `crash-points`; a node sees this project's folder at its usual path.
fn crash_binary(plugin: &str) -> String {
    let file = tests::place::root().join("target/crash-points").join(plugin);
    assert!(
        file.is_file(),
        "{} is missing: `make test` builds it there, by cargo build --features crash-points",
        file.display()
    );
    file.display().to_string()
}

/// Runs a verb that must not survive `point`.
#[track_caller]
fn dies(call: &Call<'_>, plugin: &str, point: &str, stdin: &str) {
    let output = call.output(&crash_binary(plugin), &[format!("{}={point}", cni::crash::ENV)], stdin);
    // The command runs below nsenter, which passes the signal on or reports it as a shell does.
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed, "{point}: {:?} {}{}", output.status, text(&output.stdout), text(&output.stderr));
}

fn whereabouts_killed(cluster: &Cluster) {
    // One address only: whoever comes next gets the same.
    let stdin = conf("192.168.54.1/32");
    for point in ["add-after-record", "add-after-claim", "add-after-claims"] {
        dies(&Call::new(cluster, "ADD", "c1"), "whereabouts", point, &stdin);
        assert_eq!(claims(cluster).len(), usize::from(point != "add-after-record"), "{point}");
        Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
        nothing_is_left(cluster);
    }
    Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin).unwrap();
    dies(&Call::new(cluster, "DEL", "c1"), "whereabouts", "release-after-delete", &stdin);
    // The address may be another's by the time the runtime tries again: that one must keep it.
    let other = Call { pod: "other", ..Call::new(cluster, "ADD", "c2") };
    other.run("whereabouts", &stdin).unwrap();
    Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
    assert_eq!(claims(cluster), ["192.168.54.1"]);
    Call::new(cluster, "DEL", "c2").run("whereabouts", &stdin).unwrap();
    nothing_is_left(cluster);
}

fn multus_killed(cluster: &Cluster) {
    let _sandbox = Sandbox::new(cluster);
    let mut gated = pod("by-hand", "node1", "killed");
    gated["spec"]["schedulingGates"] = json!([{"name": "tests/never"}]);
    cluster.apply(&[ranged("killed", "192.168.55.0/24"), gated]);
    let stdin = cluster.sh("node1", "cat /etc/cni/net.d/00-multus.conf");
    let call = |verb: &'static str| Call { if_name: "eth0", ..Call::new(cluster, verb, "c1") };
    for point in ["multus-recorded", "multus-delegate-attached", "multus-attached", "multus-published"] {
        dies(&call("ADD"), "multus", point, &stdin);
        call("DEL").run("multus", &stdin).unwrap();
        nothing_but_the_sandbox_is_left(cluster, point);
    }
    call("ADD").run("multus", &stdin).unwrap();
    assert_eq!(claims(cluster).len(), 1);
    dies(&call("DEL"), "multus", "multus-detached", &stdin);
    call("DEL").run("multus", &stdin).unwrap();
    nothing_but_the_sandbox_is_left(cluster, "multus-detached");
}

#[track_caller]
fn nothing_but_the_sandbox_is_left(cluster: &Cluster, point: &str) {
    nothing_is_left(cluster);
    let links = cluster.sh("node1", "ip -n by-hand -o link show | grep -cv ' lo:' || true");
    assert_eq!(links, "0", "killed at {point}");
}
