//! The IPAM plugin behind macvlan: which verbs reach it, with what, and what becomes of its failures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::driver::{Subject, merged};

use crate::macvlan_bench::{asked, nothing_is_left, scripted};
use crate::support::{Bench, Place};

const ADDRESS: &str = r#"echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}'"#;

fn failing(code: u32) -> String {
    format!(r#"echo '{{"code":{code},"msg":"no store","details":"d"}}'; exit 1"#)
}

#[test]
fn gc_and_status_reach_ipam_and_its_codes_come_back() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let valid = json!([{"containerID": "a", "ifname": "net1"}]);
    for (verb, codes) in [("GC", [11, 120]), ("STATUS", [50, 51])] {
        let ipam = scripted(&bench, &[]);
        let conf = merged(
            &bench.conf("1.1.0", Place::Host),
            json!({"ipam": ipam, "cni.dev/valid-attachments": valid}),
        );
        assert!(bench.call().run(&subject, verb, &conf).ok().is_null());
        assert_eq!(asked(&bench, verb).unwrap(), conf, "{verb}");
        for code in codes {
            scripted(&bench, &[(verb, &failing(code))]);
            let error = bench.call().run(&subject, verb, &conf).error();
            assert_eq!(
                (error.code.number(), error.msg.as_str(), error.details.as_str()),
                (code, "no store", "d")
            );
        }
    }
}

#[test]
fn without_ipam_gc_and_status_succeed() {
    let bench = Bench::new();
    for verb in ["GC", "STATUS"] {
        let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": {}}));
        assert!(bench.call().run(&Subject::ours(), verb, &conf).ok().is_null());
    }
}

#[test]
fn the_prev_result_reaches_ipam_in_every_verb_that_has_one() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let conf =
        merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": scripted(&bench, &[("ADD", ADDRESS)])}));
    let result = bench.call().run(&subject, "ADD", &conf).ok();
    let with_result = merged(&conf, json!({"prevResult": result}));
    for verb in ["CHECK", "DEL"] {
        bench.call().run(&subject, verb, &with_result).ok();
        assert_eq!(asked(&bench, verb).unwrap(), with_result, "{verb}");
    }
}

#[test]
fn a_failing_check_of_ipam_is_a_failing_check() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", ADDRESS), ("CHECK", &failing(120))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let error =
        bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).error();
    assert_eq!(error.code.number(), 120);
}

#[test]
fn a_failing_release_fails_del_with_the_link_gone_so_that_it_is_done_again() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", ADDRESS), ("DEL", &failing(11))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let error = bench.call().run(&Subject::ours(), "DEL", &conf).error();
    assert_eq!((error.code.number(), bench.net1()), (11, None));
    scripted(&bench, &[]);
    bench.call().run(&Subject::ours(), "DEL", &conf).ok();
}

#[test]
fn an_ipam_that_fails_half_way_is_told_to_release() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", &failing(120))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!((error.code.number(), error.msg.as_str()), (120, "no store"));
    assert!(asked(&bench, "DEL").is_some());
    nothing_is_left(&bench);
}

/// What this process has open and passes on: such descriptors the plugin has from us, whoever we have them from.
fn inherited() -> BTreeSet<PathBuf> {
    let mut targets = BTreeSet::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let number = entry.file_name();
        let info = std::fs::read_to_string(Path::new("/proc/self/fdinfo").join(&number)).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
        let closes_on_exec = u32::from_str_radix(flags, 8).unwrap() & 0o2_000_000 != 0;
        if !closes_on_exec && let Ok(target) = std::fs::read_link(entry.path()) {
            targets.insert(target);
        }
    }
    targets
}

#[test]
fn ipam_gets_no_descriptor_of_the_plugins_but_its_three_pipes() {
    let bench = Bench::new();
    // Of a success, what goes to standard error is passed on. In a subshell: the redirection is not to be seen.
    let ipam = scripted(&bench, &[("ADD", &format!("(readlink /proc/$$/fd/* >&2); {ADDRESS}"))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let answer = bench.call().run(&Subject::ours(), "ADD", &conf);
    answer.ok();
    let text = String::from_utf8_lossy(&answer.output.stderr).into_owned();
    let inherited = inherited();
    // The shell itself holds its script open.
    let script = bench.folder.path().join("scripted");
    let targets: BTreeSet<PathBuf> = text.lines().map(PathBuf::from).collect();
    let given: Vec<_> = targets.iter().filter(|to| **to != script && !inherited.contains(*to)).collect();
    assert_eq!(given.len(), 3, "{text}");
    assert!(given.iter().all(|to| to.to_string_lossy().starts_with("pipe:")), "{text}");
}
