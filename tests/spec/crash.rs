//! SIGKILL in the middle of ADD, at every point where the plugin has just changed something: the DEL that follows clears it.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tests::driver::{Subject, run_in};

use crate::support::{Bench, path_text};

const SIGKILL: i32 = 9;
/// A number, because the counting IPAM plugin calculates the address from it.
const CONTAINER: &str = "1";

/// A point of ADD, and what exists when the plugin reaches it: the link, the number of addresses that IPAM has given out, the number of
/// addresses on the link.
const POINTS: [(&str, bool, usize, usize); 4] = [
    ("after-create", true, 0, 0),
    ("after-ipam", true, 1, 0),
    ("after-configure", true, 1, 1),
    ("before-answer", true, 1, 1),
];

/// The folder of the plugins that are built with the feature `crash-points`.
fn crash_binaries(plugin: &str) -> PathBuf {
    let folder = std::env::var_os("MRS_CRASH_BIN").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join(plugin).is_file());
    folder.unwrap_or_else(|| {
        panic!(
            "MRS_CRASH_BIN must name a folder with plugins that have crash points: \
             run cargo build -p {plugin} --features crash-points, then set MRS_CRASH_BIN=target/debug"
        )
    })
}

fn add_killed_at(bench: &Bench, point: &str, conf: &Value) -> Output {
    let plugin = conf["type"].as_str().unwrap();
    let helpers = path_text(bench.folder.path());
    let env = [
        ("CNI_COMMAND", "ADD".to_owned()),
        ("CNI_CONTAINERID", CONTAINER.to_owned()),
        ("CNI_NETNS", path_text(bench.lab.pod.path())),
        ("CNI_IFNAME", "net1".to_owned()),
        ("CNI_PATH", format!("{helpers}:{}", path_text(&tests::place::go_plugins()))),
        (cni::crash::ENV, format!("{plugin}-{point}")),
    ];
    run_in(bench.lab.host.netns(), &crash_binaries(plugin).join(plugin), &env, conf.to_string().as_bytes())
}

fn nothing_is_left_after(bench: &Bench, point: &str) {
    assert_eq!((bench.net1(), bench.held()), (None, Vec::<String>::new()), "killed at {point}");
}

/// Kills ADD at each point, runs DEL, and repeats the ADD.
pub fn del_clears_an_add_killed_at_any_point(conf: impl Fn(&Bench) -> Value) {
    for (point, link, held, addresses) in POINTS {
        let bench = Bench::new();
        let conf = conf(&bench);
        let output = add_killed_at(&bench, point, &conf);
        assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {output:?}");
        assert!(output.stdout.is_empty(), "{point}");
        let reached = (bench.net1().is_some(), bench.held().len(), bench.addresses_of_net1().len());
        assert_eq!(reached, (link, held, addresses), "link, addresses given out, addresses set at {point}");
        let mut call = bench.call();
        call.container_id = CONTAINER;
        call.run(&Subject::ours(), "DEL", &conf).ok();
        nothing_is_left_after(&bench, point);
        call.round_trip(&Subject::ours(), &conf);
        nothing_is_left_after(&bench, point);
    }
}

/// An ADD whose crash point does not exist succeeds.
pub fn an_unknown_crash_point_kills_nothing(conf: impl Fn(&Bench) -> Value) {
    let bench = Bench::new();
    assert!(add_killed_at(&bench, "nowhere", &conf(&bench)).status.success());
}
