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

/// Shell code that writes what the pod's link is like to a file, as an IPAM plugin finds it that needs the link: dhcp sends its release
/// from there.
fn look_at_link(bench: &Bench) -> (std::path::PathBuf, String) {
    let seen = bench.folder.path().join("seen");
    let name = bench.lab.pod.path().file_name().unwrap().to_string_lossy().into_owned();
    let code = format!("ip netns exec {name} ip addr show net1 > {}", seen.display());
    (seen, code)
}

#[test]
fn at_ipams_del_the_link_is_up_without_its_addresses_and_then_it_is_deleted() {
    let bench = Bench::new();
    let (seen, look) = look_at_link(&bench);
    for del in [look.clone(), format!("{look}; {}", failing(11))] {
        let ipam = scripted(&bench, &[("ADD", ADDRESS), ("DEL", &del)]);
        let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
        bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        let answer = bench.call().run(&Subject::ours(), "DEL", &conf);
        assert_eq!(answer.output.status.success(), del == look);
        let text = std::fs::read_to_string(&seen).unwrap();
        assert!(text.contains("state UP") && !text.contains("10.1.2.3"), "{text}");
        assert_eq!(bench.net1(), None);
    }
}

#[test]
fn at_ipams_del_after_a_failed_add_the_link_is_still_there() {
    let bench = Bench::new();
    let (seen, look) = look_at_link(&bench);
    let ipam = scripted(&bench, &[("ADD", &failing(120)), ("DEL", &look)]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    assert_eq!(bench.call().run(&Subject::ours(), "ADD", &conf).error().code.number(), 120);
    assert!(std::fs::read_to_string(&seen).unwrap().contains("net1"));
    nothing_is_left(&bench);
}

#[test]
fn an_ipam_that_prints_an_error_and_exits_with_0_has_failed() {
    let bench = Bench::new();
    for verb in ["ADD", "DEL"] {
        let error = r#"echo '{"code":120,"msg":"no store"}'; exit 0"#;
        let ipam = scripted(&bench, &[("ADD", ADDRESS), (verb, error)][usize::from(verb == "ADD")..]);
        let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
        if verb == "DEL" {
            bench.call().run(&Subject::ours(), "ADD", &conf).ok();
        }
        let error = bench.call().run(&Subject::ours(), verb, &conf).error();
        assert_eq!((error.code.number(), error.msg.as_str()), (120, "no store"), "{verb}");
        nothing_is_left(&bench);
    }
}

#[test]
fn an_ipam_plugin_that_any_user_can_write_is_not_run_and_the_error_names_file_and_mode() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", ADDRESS)]);
    let conf = merged(&bench.conf("1.1.0", Place::Host), json!({"ipam": ipam}));
    let file = bench.folder.path().join("scripted");
    for (path, mode, usual) in [(file.as_path(), 0o777, 0o755), (bench.folder.path(), 0o777, 0o700)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let error = bench.call().run(&Subject::ours(), "ADD", &conf).error();
        assert!(error.msg.contains(&file.display().to_string()) && error.msg.contains("0777"), "{error}");
        assert_eq!(ipam_input(&bench, "ADD"), None);
        nothing_is_left(&bench);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(usual)).unwrap();
    }
}
