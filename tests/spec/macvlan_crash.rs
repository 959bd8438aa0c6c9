//! The plugin is killed in the middle of ADD, at every point where something has just been made: DEL clears it all away.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};
use tests::driver::{Subject, run_in};

use crate::macvlan_bench::{nothing_is_left, with_ipam};
use crate::support::{Bench, path_text};

const SIGKILL: i32 = 9;

/// The folder of a plugin that can be killed: `cargo build -p macvlan --features crash-points`.
fn crash_binaries() -> PathBuf {
    let folder = std::env::var_os("MRS_CRASH_BIN").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join("macvlan").is_file());
    folder.expect(
        "MRS_CRASH_BIN must name a folder with plugins built for this test: \
         cargo build -p macvlan --features crash-points, then MRS_CRASH_BIN=target/debug",
    )
}

fn add_killed_at(bench: &Bench, point: &str, conf: &Value) -> Output {
    let helpers = path_text(bench.folder.path());
    let env = [
        ("CNI_COMMAND", "ADD".to_owned()),
        ("CNI_CONTAINERID", "spec-1".to_owned()),
        ("CNI_NETNS", path_text(bench.lab.pod.path())),
        ("CNI_IFNAME", "net1".to_owned()),
        ("CNI_PATH", format!("{helpers}:{}", path_text(&tests::place::go_plugins()))),
        (cni::crash::ENV, point.to_owned()),
    ];
    run_in(bench.lab.host.netns(), &crash_binaries().join("macvlan"), &env, conf.to_string().as_bytes())
}

#[test]
fn an_add_that_is_killed_anywhere_is_cleared_away_by_del_and_can_be_done_again() {
    for (point, link, held, addresses) in [
        ("macvlan-after-create", true, 0, 0),
        ("macvlan-after-ipam", true, 1, 0),
        ("macvlan-after-configure", true, 1, 1),
        ("macvlan-before-answer", true, 1, 1),
    ] {
        let bench = Bench::new();
        let conf = with_ipam(&bench, json!({}));
        let output = add_killed_at(&bench, point, &conf);
        assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {output:?}");
        assert!(output.stdout.is_empty(), "{point}");
        // It got just as far as the point says.
        let reached = (bench.net1().is_some(), bench.held().len(), bench.addresses_of_net1().len());
        assert_eq!(reached, (link, held, addresses), "{point}");
        bench.call().run(&Subject::ours(), "DEL", &conf).ok();
        nothing_is_left(&bench);
        bench.call().round_trip(&Subject::ours(), &conf);
        nothing_is_left(&bench);
    }
}

#[test]
fn a_point_that_is_not_there_kills_nothing() {
    let bench = Bench::new();
    let conf = with_ipam(&bench, json!({}));
    assert!(add_killed_at(&bench, "macvlan-nowhere", &conf).status.success());
}
