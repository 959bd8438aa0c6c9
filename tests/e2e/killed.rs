//! SIGKILL at every point where a plugin or the daemon has just created or removed something, with the real API server: the runtime's DEL, or
//! the next leader, clears it.

use std::os::unix::process::ExitStatusExt;

use serde_json::json;
use tests::cluster::{Cluster, text, wait_for};

use crate::by_hand::{Call, Sandbox, conf, links_in_the_sandbox};
use crate::objects::{claims, ip_pool, nothing_is_left, pod, ranged};

pub const TESTS: &[crate::Test] = &[
    ("whereabouts_killed_at_any_point_of_add_or_del_leaves_nothing_after_del", whereabouts_killed),
    ("whereabouts_killed_between_claim_and_entry_leaves_nothing_after_del", entries_killed),
    ("multus_killed_at_any_point_of_add_or_del_leaves_nothing_after_del", multus_killed),
    ("a_daemon_killed_while_it_serves_a_request_leaks_no_address", daemon_killed),
    ("the_next_leader_completes_the_work_of_one_killed_at_any_point", leader_killed),
];

/// A program built with the feature `crash-points`. A node sees this project's folder under the same path as the host.
fn crash_binary(plugin: &str) -> String {
    let file = tests::place::root().join("target/crash-points").join(plugin);
    assert!(
        file.is_file(),
        "{} is missing: `make test` builds it there, with cargo build --features crash-points",
        file.display()
    );
    file.display().to_string()
}

/// Runs a verb with a crash point, which must kill it.
#[track_caller]
fn dies(call: &Call<'_>, plugin: &str, point: &str, stdin: &str) {
    let output = call.output(&crash_binary(plugin), &[format!("{}={point}", cni::crash::ENV)], stdin);
    // The command runs under nsenter, which dies of the same signal or exits with 128 + its number.
    let killed = output.status.signal() == Some(9) || output.status.code() == Some(137);
    assert!(killed, "{point}: {:?} {}{}", output.status, text(&output.stdout), text(&output.stderr));
}

fn whereabouts_killed(cluster: &Cluster) {
    // A range of one address: the next caller gets the same.
    let stdin = conf("192.168.54.1/32");
    for point in ["add-after-record", "add-after-claim", "add-after-claims"] {
        dies(&Call::new(cluster, "ADD", "c1"), "whereabouts", point, &stdin);
        assert_eq!(claims(cluster).len(), usize::from(point != "add-after-record"), "{point}");
        Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
        nothing_is_left(cluster);
    }
    Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin).unwrap();
    dies(&Call::new(cluster, "DEL", "c1"), "whereabouts", "release-after-delete", &stdin);
    // Another pod may have the address when the runtime repeats the DEL: that pod keeps it.
    let other = Call { pod: "other", ..Call::new(cluster, "ADD", "c2") };
    other.run("whereabouts", &stdin).unwrap();
    Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
    assert_eq!(claims(cluster), ["192.168.54.1"]);
    Call::new(cluster, "DEL", "c2").run("whereabouts", &stdin).unwrap();
    nothing_is_left(cluster);
}

/// With `enable_overlapping_ranges: false` a call writes the pool's entry too.
fn entries_killed(cluster: &Cluster) {
    // A range of one address: the next caller gets the same.
    let ipam = json!({"type": "whereabouts", "range": "192.168.58.1/32", "enable_overlapping_ranges": false});
    let stdin =
        json!({"cniVersion": "1.0.0", "name": "by-hand", "type": "macvlan", "master": "eth0", "ipam": ipam})
            .to_string();
    let entries = || {
        let pool = cluster.get(&["ippools", "-n", "kube-system", "192.168.58.1-32"]);
        pool["spec"]["allocations"].as_object().map_or(0, serde_json::Map::len)
    };
    dies(&Call::new(cluster, "ADD", "c1"), "whereabouts", "add-before-entry", &stdin);
    assert_eq!((claims(cluster).len(), entries()), (1, 0));
    Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
    nothing_is_left(cluster);

    Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin).unwrap();
    dies(&Call::new(cluster, "DEL", "c1"), "whereabouts", "release-after-delete", &stdin);
    assert_eq!((claims(cluster).len(), entries()), (0, 1));
    // The entry is left, so no other pod gets the address before the runtime repeats the DEL.
    let other = Call { pod: "other", ..Call::new(cluster, "ADD", "c2") };
    assert!(other.run("whereabouts", &stdin).is_err());
    Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin).unwrap();
    assert_eq!(entries(), 0);
    other.run("whereabouts", &stdin).unwrap();
    Call::new(cluster, "DEL", "c2").run("whereabouts", &stdin).unwrap();
    nothing_is_left(cluster);
    assert_eq!(entries(), 0);
}

/// A daemon on node1, outside any pod; stopped on drop.
struct Daemon<'a>(&'a Cluster);

impl<'a> Daemon<'a> {
    /// Starts a daemon with a crash point, or with none, and waits until it serves.
    fn start(cluster: &'a Cluster, point: Option<&str>) -> Self {
        let script = format!(
            "rm -f /tmp/daemon.log; {}={} setsid {} --kubeconfig /etc/cni/net.d/whereabouts.d/whereabouts.kubeconfig --node node1 --grace 1 \
             >/tmp/daemon.log 2>&1 & \
             for i in $(seq 100); do grep -q serving /tmp/daemon.log && exit; sleep 0.1; done; cat /tmp/daemon.log; exit 1",
            cni::crash::ENV,
            point.unwrap_or("nowhere"),
            crash_binary("whereabouts-daemon"),
        );
        cluster.sh("node1", &script);
        Daemon(cluster)
    }

    fn is_dead(&self) -> bool {
        !self.0.on("node1", &["pgrep", "-x", "whereabouts-dae"], "").status.success()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        let kill = "pkill -TERM -x whereabouts-dae; for i in $(seq 50); do pgrep -x whereabouts-dae >/dev/null || exit 0; sleep 0.1; done; \
            pkill -KILL -x whereabouts-dae; true";
        let _ = self.0.on("node1", &["sh", "-c", kill], "");
    }
}

fn daemon_killed(cluster: &Cluster) {
    let stdin = conf("192.168.56.1/32");
    let add = || Call::new(cluster, "ADD", "c1").run("whereabouts", &stdin);
    let del = || Call::new(cluster, "DEL", "c1").run("whereabouts", &stdin);
    {
        let daemon = Daemon::start(cluster, Some("add-after-claim"));
        // The plugin continues without the daemon and reuses the claim that the daemon created for it.
        add().unwrap();
        assert!(daemon.is_dead());
        assert_eq!(claims(cluster), ["192.168.56.1"]);
    }
    let daemon = Daemon::start(cluster, Some("release-after-delete"));
    del().unwrap();
    assert!(daemon.is_dead());
    nothing_is_left(cluster);
}

fn leader_killed(cluster: &Cluster) {
    let pool = "192.168.57.0-24";
    let entry = json!({"id": "0123abc", "podref": "default/never-was", "ifname": "net1"});
    for point in ["leader-after-adopt", "leader-after-view", "leader-after-reclaim"] {
        cluster.apply(&[ip_pool("192.168.57.0/24", json!({"7": entry}))]);
        {
            let daemon = Daemon::start(cluster, Some(point));
            wait_for(&format!("death at {point}"), &true, || daemon.is_dead());
        }
        // Without the lease of the dead leader the next one need not wait for its end.
        cluster.kubectl(&[
            "delete",
            "lease",
            "whereabouts-daemon",
            "-n",
            "kube-system",
            "--ignore-not-found",
        ]);
        let _next = Daemon::start(cluster, None);
        // The leader adopts the entry that Whereabouts wrote, and reclaims it because its pod does not exist.
        wait_for(&format!("claims after {point}"), &Vec::new(), || claims(cluster));
        wait_for(&format!("entries after {point}"), &json!({}), || {
            cluster.get(&["ippool", pool, "-n", "kube-system"])["spec"]["allocations"].clone()
        });
        cluster.kubectl(&["delete", "ippools", "--all", "-A"]);
    }
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
    assert_eq!(links_in_the_sandbox(cluster), Vec::<String>::new(), "links after SIGKILL at {point}");
}
