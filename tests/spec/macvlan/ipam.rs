//! The IPAM plugin of macvlan: which verbs reach it, with which input, and how macvlan handles its failures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::driver::{Subject, merged};

use crate::support::ipam::{ipam_input, scripted};
use crate::support::{Bench, Place, nothing_is_left};

const ADDRESS: &str = r#"echo '{"cniVersion":"1.1.0","ips":[{"address":"10.1.2.3/24"}]}'"#;

/// Shell code that fails with this error code.
fn failing(code: u32) -> String {
    format!(r#"echo '{{"code":{code},"msg":"no store","details":"d"}}'; exit 1"#)
}

#[test]
fn gc_and_status_reach_ipam_and_return_its_error_codes() {
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
        assert_eq!(ipam_input(&bench, verb).unwrap(), conf, "{verb}");
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
fn gc_and_status_without_ipam_succeed() {
    let bench = Bench::new();
    for verb in ["GC", "STATUS"] {
        let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": {}}));
        assert!(bench.call().run(&Subject::ours(), verb, &conf).ok().is_null());
    }
}

#[test]
fn the_prev_result_reaches_ipam_at_check_and_del() {
    let bench = Bench::new();
    let subject = Subject::ours();
    let conf =
        merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": scripted(&bench, &[("ADD", ADDRESS)])}));
    let result = bench.call().run(&subject, "ADD", &conf).ok();
    let with_result = merged(&conf, json!({"prevResult": result}));
    for verb in ["CHECK", "DEL"] {
        bench.call().run(&subject, verb, &with_result).ok();
        assert_eq!(ipam_input(&bench, verb).unwrap(), with_result, "{verb}");
    }
}

#[test]
fn check_fails_when_ipams_check_fails() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", ADDRESS), ("CHECK", &failing(120))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let result = bench.call().run(&Subject::ours(), "ADD", &conf).ok();
    let error =
        bench.call().run(&Subject::ours(), "CHECK", &merged(&conf, json!({"prevResult": result}))).error();
    assert_eq!(error.code.number(), 120);
}

#[test]
fn del_removes_the_link_and_fails_when_ipam_cannot_release() {
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
fn an_ipam_that_fails_add_receives_del() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", &failing(120))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
    assert_eq!((error.code.number(), error.msg.as_str()), (120, "no store"));
    assert!(ipam_input(&bench, "DEL").is_some());
    nothing_is_left(&bench);
}

/// The files of this process that a child inherits. The plugin has them from us, so they do not count as its own.
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
    // The plugin passes standard error on when IPAM succeeds. The subshell keeps the redirection out of the shell's own descriptors.
    let ipam = scripted(&bench, &[("ADD", &format!("(readlink /proc/$$/fd/* >&2); {ADDRESS}"))]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let answer = bench.call().run(&Subject::ours(), "ADD", &conf);
    answer.ok();
    let text = String::from_utf8_lossy(&answer.output.stderr).into_owned();
    let inherited = inherited();
    // The shell has its script open.
    let script = bench.folder.path().join("scripted");
    let targets: BTreeSet<PathBuf> = text.lines().map(PathBuf::from).collect();
    let given: Vec<_> = targets.iter().filter(|to| **to != script && !inherited.contains(*to)).collect();
    assert_eq!(given.len(), 3, "{text}");
    assert!(given.iter().all(|to| to.to_string_lossy().starts_with("pipe:")), "{text}");
}
