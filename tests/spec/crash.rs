//! A plugin that is killed in the middle of ADD, at every point where something has just been made: DEL clears it all away.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tests::driver::{Subject, run_in};

use crate::support::{Bench, path_text};

const SIGKILL: i32 = 9;
/// All digits: the counting IPAM plugin makes an address of it.
const CONTAINER: &str = "1";

/// A point of ADD, and what is there when it is reached: the link, addresses that IPAM holds, addresses on the link.
const POINTS: [(&str, bool, usize, usize); 4] = [
    ("after-create", true, 0, 0),
    ("after-ipam", true, 1, 0),
    ("after-configure", true, 1, 1),
    ("before-answer", true, 1, 1),
];

/// The folder of plugins that can be killed.
fn crash_binaries(plugin: &str) -> PathBuf {
    let folder = std::env::var_os("MRS_CRASH_BIN").map(PathBuf::from);
    let folder = folder.filter(|folder| folder.join(plugin).is_file());
    folder.unwrap_or_else(|| {
        panic!(
            "MRS_CRASH_BIN must name a folder with plugins built for this test: \
             cargo build -p {plugin} --features crash-points, then MRS_CRASH_BIN=target/debug"
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

fn nothing_is_left(bench: &Bench, point: &str) {
    assert_eq!((bench.net1(), bench.held()), (None, Vec::<String>::new()), "{point}");
}

/// ADD of what `conf` says is killed at each point, cleared away by DEL, and done again.
pub fn an_add_killed_anywhere_is_cleared_away(conf: impl Fn(&Bench) -> Value) {
    for (point, link, held, addresses) in POINTS {
        let bench = Bench::new();
        let conf = conf(&bench);
        let output = add_killed_at(&bench, point, &conf);
        assert_eq!(output.status.signal(), Some(SIGKILL), "{point}: {output:?}");
        assert!(output.stdout.is_empty(), "{point}");
        // It got just as far as the point says.
        let reached = (bench.net1().is_some(), bench.held().len(), bench.addresses_of_net1().len());
        assert_eq!(reached, (link, held, addresses), "{point}");
        let mut call = bench.call();
        call.container_id = CONTAINER;
        call.run(&Subject::ours(), "DEL", &conf).ok();
        nothing_is_left(&bench, point);
        call.round_trip(&Subject::ours(), &conf);
        nothing_is_left(&bench, point);
    }
}

/// The plugin is killed by the point that is named alone.
pub fn a_point_that_is_not_there_kills_nothing(conf: impl Fn(&Bench) -> Value) {
    let bench = Bench::new();
    assert!(add_killed_at(&bench, "nowhere", &conf(&bench)).status.success());
}
