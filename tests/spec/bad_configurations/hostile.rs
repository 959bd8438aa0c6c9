//! Plugins that do not keep to the protocol, or attack their caller: ADD fails, and what an earlier plugin of the network made is undone.
//! That a plugin ends at its deadline with its children is tested in `cni/src/invoke/exec/tests.rs`: the deadline of a whole ADD is too long
//! for a test.

use serde_json::json;

use super::row::{Row, row, run_on};
use super::world::{Node, Plugins};

/// What a plugin does at ADD: its name, the code of the error, the shell code, and the words of the error.
const HOSTILE: &[(&str, u32, &str, &[&str])] = &[
    ("floods", 999, "yes", &["floods"]),
    ("floods-stderr", 999, "head -c 20000000 /dev/zero >&2; exit 1", &["floods-stderr"]),
    ("prints-rubbish", 6, "echo rubbish", &["not JSON"]),
    ("prints-bytes", 6, "printf '\\377\\376\\000'", &["prints-bytes"]),
    ("prints-two-results", 6, "echo '{}{}'", &["prints-two-results"]),
    ("nests", 6, "head -c 100000 /dev/zero | tr '\\0' '['", &["nests"]),
    ("is-killed", 999, "kill -9 $$", &["signal"]),
    ("fails-in-silence", 999, "exit 1", &["fails-in-silence"]),
    ("succeeds-with-an-error", 7, "echo '{\"code\":7,\"msg\":\"not so\"}'; exit 0", &["not so"]),
    ("forges-a-line", 7, "echo '{\"code\":7,\"msg\":\"one\\\\ntwo\\\\u001b[31m\"}'; exit 1", &["one"]),
    (
        "talks-too-much",
        7,
        "printf '{\"code\":7,\"msg\":\"'; head -c 500000 /dev/zero | tr '\\0' x; printf '\"}'; exit 1",
        &["xxx"],
    ),
    ("is-of-another-version", 999, "echo '{\"cniVersion\":\"9.9.9\"}'", &["9.9.9"]),
    (
        "gives-no-address",
        6,
        "echo '{\"cniVersion\":\"0.3.1\",\"ips\":[{\"version\":\"4\",\"address\":\"10.1.2.3\"}]}'",
        &["10.1.2.3"],
    ),
    ("forks", 999, "(sleep 60) & exit 1", &["forks"]),
    ("forks-and-fails-later", 6, "(sleep 60; echo {}) & echo rubbish", &["not JSON"]),
];

fn scripts(node: &Node) {
    for (name, _, body, _) in HOSTILE {
        node.script(name, &format!("cat > /dev/null; [ $CNI_COMMAND = ADD ] || exit 0\n{body}"));
    }
}

#[test]
fn a_hostile_plugin_fails_the_add_and_what_was_made_before_is_undone() {
    let refused = |(name, code, _, words): &(&'static str, u32, &str, &'static [&'static str])| -> Row {
        row(name, super::chain(json!({ "type": name })), words).code(*code)
    };
    run_on(Plugins::Ours, scripts, HOSTILE.iter().map(refused).collect());
}
