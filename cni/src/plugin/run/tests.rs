//! The cases of the reference implementation's `skel` tests, and some more.

use std::cell::RefCell;

use serde_json::Value;

use super::*;
use crate::plugin::ValidAttachment;
use crate::plugin::env::{Attachment, Detachment};
use crate::types::result::{CniResult, Ip, RawResult};

struct Probe {
    versions: &'static [Version],
    fails: Option<CniError>,
    calls: RefCell<Vec<String>>,
}

impl Probe {
    fn new() -> Probe {
        Probe { versions: Version::ALL, fails: None, calls: RefCell::default() }
    }

    fn record(&self, call: String) -> Result<(), CniError> {
        self.calls.borrow_mut().push(call);
        self.fails.clone().map_or(Ok(()), Err)
    }
}

impl Plugin for Probe {
    fn about(&self) -> About {
        About { text: "probe", versions: self.versions }
    }
    fn add(&self, a: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        self.record(format!(
            "ADD {} {} {} {}",
            a.container_id,
            a.if_name,
            a.netns.display(),
            call.args.to_text()
        ))?;
        let ip = Ip { interface: None, address: "10.0.0.2/8".parse().unwrap(), gateway: None };
        let result = CniResult { ips: vec![ip], ..CniResult::default() };
        Ok(result.to_raw(Version::V1_1_0).unwrap())
    }
    fn del(&self, d: &Detachment, _: &Call) -> Result<(), CniError> {
        self.record(format!("DEL {} {} {:?}", d.container_id, d.if_name, d.netns))
    }
    fn check(&self, a: &Attachment, _: &Call) -> Result<(), CniError> {
        self.record(format!("CHECK {}", a.container_id))
    }
    fn gc(&self, valid: Option<&[ValidAttachment]>, _: &Call) -> Result<(), CniError> {
        self.record(format!(
            "GC {:?}",
            valid.map(|v| v.iter().map(|a| format!("{}/{}", a.container_id, a.if_name)).collect::<Vec<_>>())
        ))
    }
    fn status(&self, _: &Call) -> Result<(), CniError> {
        self.record("STATUS".into())
    }
}

struct Answer {
    success: bool,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn error(&self) -> CniError {
        assert!(!self.success, "{}", self.stdout);
        CniError::from_json(self.stdout.as_bytes())
            .unwrap_or_else(|| panic!("no error object: {}", self.stdout))
    }
}

fn call(plugin: &Probe, command: &str, stdin: &str, more: &[(&str, &str)]) -> Answer {
    let base = [
        ("CNI_COMMAND", command),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/run/netns/none"),
        ("CNI_IFNAME", "net1"),
        ("CNI_PATH", "/a"),
        ("CNI_ARGS", "A=1"),
    ];
    let lookup = |name: &str| {
        let pair = more.iter().chain(&base).find(|(k, _)| *k == name);
        pair.map(|(_, v)| (*v).to_owned()).filter(|v| !v.is_empty())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let code = run(plugin, &lookup, &mut stdin.as_bytes(), &mut stdout, &mut stderr);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Answer { success: code == ExitCode::SUCCESS, stdout: text(stdout), stderr: text(stderr) }
}

fn conf(version: &str) -> String {
    format!(r#"{{"cniVersion": "{version}", "name": "n"}}"#)
}

#[test]
fn environment_and_stdin_reach_the_verb() {
    let probe = Probe::new();
    let answer = call(&probe, "ADD", &conf("1.0.0"), &[]);
    assert!(answer.success, "{}", answer.stdout);
    assert_eq!(*probe.calls.borrow(), ["ADD c1 net1 /run/netns/none A=1"]);
}

#[test]
fn the_result_has_the_version_of_the_conf() {
    for &version in Version::ALL {
        let answer = call(&Probe::new(), "ADD", &conf(version.as_str()), &[]);
        let value: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(value["cniVersion"], version.as_str());
        assert!(answer.stdout.starts_with("{\n    \"cniVersion\"") && answer.stdout.ends_with('}'));
    }
}

#[test]
fn version_needs_only_the_command_and_reads_no_stdin() {
    let blank = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", ""), ("CNI_PATH", "")];
    let answer = call(&Probe::new(), "VERSION", "banana", &blank);
    assert_eq!(
        answer.stdout,
        "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\"]}\n"
    );
    assert!(answer.success);
}

#[test]
fn a_call_without_command_describes_the_plugin() {
    let answer = call(&Probe::new(), "", "", &[]);
    assert!(answer.success && answer.stdout.is_empty());
    assert_eq!(
        answer.stderr,
        "probe\nCNI protocol versions supported: 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0\n"
    );
}

#[test]
fn bad_stdin_is_reported_before_an_unknown_command() {
    assert_eq!(call(&Probe::new(), "NOPE", "", &[]).error().code, Code::Decoding);
    assert_eq!(call(&Probe::new(), "NOPE", "{}", &[]).error().msg, "missing network name");
    let error = call(&Probe::new(), "NOPE", r#"{"name":"n"}"#, &[]).error();
    assert_eq!((error.code, error.msg.as_str()), (Code::InvalidEnvironment, "unknown CNI_COMMAND: NOPE"));
}

#[test]
fn a_conf_without_version_is_0_1_0() {
    assert!(call(&Probe::new(), "ADD", r#"{"name":"n"}"#, &[]).success);
    let modern = Probe { versions: &[Version::V1_0_0], ..Probe::new() };
    let error = call(&modern, "ADD", r#"{"name":"n"}"#, &[]).error();
    assert_eq!((error.code, error.msg.as_str()), (Code::IncompatibleVersion, "incompatible CNI versions"));
    assert_eq!(error.details, "config is \"0.1.0\", plugin supports [\"1.0.0\"]");
    assert!(modern.calls.borrow().is_empty());
}

#[test]
fn versions_are_compared_as_text() {
    assert_eq!(call(&Probe::new(), "ADD", &conf("1.0"), &[]).error().code, Code::IncompatibleVersion);
}

#[test]
fn check_gc_and_status_are_refused_before_their_versions() {
    for (verb, too_old) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        let error = call(&Probe::new(), verb, &conf(too_old), &[]).error();
        assert_eq!(
            (error.code, error.msg),
            (Code::IncompatibleVersion, format!("config version does not allow {verb}"))
        );
        let old = Probe { versions: &[Version::V0_1_0, Version::V0_3_1], ..Probe::new() };
        let error = call(&old, verb, &conf("1.1.0"), &[]).error();
        assert_eq!(error.msg, format!("plugin version does not allow {verb}"));
        assert_eq!(call(&Probe::new(), verb, &conf("adsfsadf"), &[]).error().code, Code::Decoding);
        assert!(call(&Probe::new(), verb, &conf("1.1.0"), &[]).success);
    }
}

#[test]
fn del_and_gc_and_status_print_nothing() {
    for verb in ["DEL", "CHECK", "GC", "STATUS"] {
        let answer = call(&Probe::new(), verb, &conf("1.1.0"), &[("CNI_NETNS", "/x")]);
        assert!(answer.success && answer.stdout.is_empty(), "{verb}: {}", answer.stdout);
    }
}

#[test]
fn del_without_netns_reaches_the_verb() {
    let probe = Probe::new();
    assert!(call(&probe, "DEL", &conf("1.0.0"), &[("CNI_NETNS", "")]).success);
    assert_eq!(*probe.calls.borrow(), ["DEL c1 net1 None"]);
}

#[test]
fn gc_without_a_list_differs_from_gc_with_an_empty_one() {
    let gc = |list: &str| {
        let probe = Probe::new();
        let answer = call(&probe, "GC", &format!(r#"{{"cniVersion":"1.1.0","name":"n"{list}}}"#), &[]);
        (answer.success, probe.calls.take().pop())
    };
    assert_eq!(gc(""), (true, Some("GC None".into())));
    assert_eq!(gc(r#","cni.dev/valid-attachments":[]"#), (true, Some("GC Some([])".into())));
    let one = r#"[{"containerID":"a","ifname":"eth0"}]"#;
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(gc(&format!(r#","{key}":{one}"#)), (true, Some("GC Some([\"a/eth0\"])".into())));
    }
    assert_eq!(gc(r#","cni.dev/valid-attachments":[{"containerID":"a"}]"#), (false, None));
    assert_eq!(gc(r#","cni.dev/valid-attachments":"all""#), (false, None));
}

#[test]
fn an_error_has_the_version_of_the_conf() {
    let fails = Some(CniError::new(Code::Other(120), "no").with_details("d"));
    let answer = call(&Probe { fails, ..Probe::new() }, "ADD", &conf("0.4.0"), &[]);
    assert_eq!(
        answer.stdout,
        "{\n    \"cniVersion\": \"0.4.0\",\n    \"code\": 120,\n    \"msg\": \"no\",\n    \"details\": \"d\"\n}"
    );
    assert!(!answer.success);
}

#[test]
fn add_with_the_own_netns_is_refused_before_the_verb_runs() {
    let probe = Probe::new();
    let error = call(&probe, "ADD", &conf("1.0.0"), &[("CNI_NETNS", "/proc/self/ns/net")]).error();
    assert_eq!(error.msg, "plugin's netns and netns from CNI_NETNS should not be the same");
    assert_eq!(error.code, Code::InvalidNetns);
    assert!(probe.calls.borrow().is_empty());
    let allowed = [("CNI_NETNS", "/proc/self/ns/net"), ("CNI_NETNS_OVERRIDE", "TRUE")];
    assert!(call(&probe, "ADD", &conf("1.0.0"), &allowed).success);
}

#[test]
fn del_with_the_own_netns_is_del_without_netns() {
    let subject_of = |env: &[(&str, &str)]| {
        let probe = Probe::new();
        assert!(call(&probe, "DEL", &conf("1.0.0"), env).success);
        probe.calls.take().remove(0)
    };
    let own = ("CNI_NETNS", "/proc/self/ns/net");
    assert_eq!(subject_of(&[own]), subject_of(&[("CNI_NETNS", "")]));
    assert!(subject_of(&[own, ("CNI_NETNS_OVERRIDE", "TRUE")]).contains("/proc/self/ns/net"));
}

#[test]
fn an_error_before_the_conf_is_checked_has_the_version_of_the_conf() {
    let version_of = |verb: &str, stdin: &str, env: &[(&str, &str)]| {
        let text = call(&Probe::new(), verb, stdin, env).stdout;
        serde_json::from_str::<Value>(&text).unwrap()["cniVersion"].as_str().unwrap().to_owned()
    };
    let conf = r#"{"CniVersion":"0.3.1","name":"n"}"#;
    assert_eq!(version_of("ADD", conf, &[("CNI_IFNAME", "")]), "0.3.1");
    assert_eq!(version_of("ADD", conf, &[("CNI_CONTAINERID", "no way")]), "0.3.1");
    assert_eq!(version_of("ADD", r#"{"cniVersion":"0.3.1","name":"te%%st"}"#, &[]), "0.3.1");
    assert_eq!(version_of("CHECK", conf, &[]), "0.3.1");
    assert_eq!(version_of("NOPE", conf, &[]), "0.3.1");
    assert_eq!(version_of("ADD", r#"{"name":7}"#, &[]), "0.1.0");
    for unknown in ["banana", r#"{"cniVersion":"9.9.9","name":"n"}"#, r#"{"cniVersion":7}"#] {
        assert_eq!(version_of("ADD", unknown, &[]), Version::CURRENT.as_str(), "{unknown}");
    }
}

#[test]
fn a_conf_over_the_limit_is_code_5_and_not_cut() {
    let stdin = format!("{}{}", conf("1.0.0"), " ".repeat(usize::try_from(MAX_STDIN).unwrap()));
    let error = call(&Probe::new(), "ADD", &stdin, &[]).error();
    assert_eq!(error.code, Code::Io);
    assert_eq!(error.msg, "error reading from stdin: the configuration is larger than 8388608 bytes");
}

#[test]
fn a_failing_stdin_is_code_5() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("banana"))
        }
    }
    let lookup = |name: &str| Some(if name == "CNI_COMMAND" { "GC" } else { "/x" }.to_owned());
    let mut stdout = Vec::new();
    run(&Probe::new(), &lookup, &mut Broken, &mut stdout, &mut Vec::new());
    let error = CniError::from_json(&stdout).unwrap();
    assert_eq!((error.code, error.msg.as_str()), (Code::Io, "error reading from stdin: banana"));
}
