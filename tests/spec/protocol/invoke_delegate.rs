//! Delegation to an IPAM plugin by a whole plugin, ours and Go's: the cases `delegate` of the reference implementation's package `invoke`,
//! and those of `raw_exec` and `get_version` that need a process.

use cni::Code;
use netlink::test_util::NamedNetns;
use serde_json::{Value, json};
use tests::driver::{Call, Subject, merged, run_in, write_script};
use tests::place;

use crate::support::ipam::{ipam_input, scripted};
use crate::support::{Bench, Place};

const ADDRESS: &str = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}]}'"#;

fn conf(bench: &Bench, ipam: &Value) -> Value {
    merged(&bench.conf("1.0.0", Place::HostByDefault), json!({"ipam": ipam}))
}

/// An IPAM plugin that also keeps the environment of each verb (see [`variable`]).
fn recording(bench: &Bench, add: &str) -> Value {
    let keep = format!("env > {}/$CNI_COMMAND.env", bench.folder.path().display());
    let with_env = |body: &str| format!("{keep}; {body}");
    scripted(bench, &[("ADD", &with_env(add)), ("CHECK", &keep), ("DEL", &keep), ("STATUS", &keep)])
}

/// A variable that the recording IPAM plugin had at `verb`.
fn variable(bench: &Bench, verb: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(bench.folder.path().join(format!("{verb}.env"))).ok()?;
    text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// IPAM received `verb` with this conf and the variables of the bench's call.
fn reached_ipam(bench: &Bench, verb: &str, conf: &Value) {
    assert_eq!(ipam_input(bench, verb).as_ref(), Some(conf), "{verb}");
    let call = bench.call();
    for (name, value) in [
        ("CNI_COMMAND", verb),
        ("CNI_CONTAINERID", call.container_id),
        ("CNI_NETNS", call.netns.unwrap().to_str().unwrap()),
        ("CNI_IFNAME", call.if_name),
        ("CNI_ARGS", "IgnoreUnknown=1;A=1"),
    ] {
        assert_eq!(variable(bench, verb, name).as_deref(), Some(value), "{verb} {name}");
    }
    assert!(variable(bench, verb, "CNI_PATH").unwrap().contains(bench.folder.path().to_str().unwrap()));
}

#[test]
fn delegate_add_check_and_del_pass_input_and_variables_unchanged() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let call = Call { args: "IgnoreUnknown=1;A=1", ..bench.call() };
        let conf = conf(&bench, &recording(&bench, ADDRESS));
        let result = call.run(&subject, "ADD", &conf).ok();
        reached_ipam(&bench, "ADD", &conf);
        assert_eq!(bench.addresses_of_net1(), ["10.1.2.3/24"]);
        let with_result = merged(&conf, json!({"prevResult": result}));
        for verb in ["CHECK", "DEL"] {
            call.run(&subject, verb, &with_result).ok();
            reached_ipam(&bench, verb, &with_result);
        }
    }
}

/// Ours only: the Go plugin does not know STATUS.
#[test]
fn delegate_status_passes_input_and_variables_unchanged() {
    let bench = Bench::new();
    let call = Call { args: "IgnoreUnknown=1;A=1", ..bench.call() };
    let conf = merged(&conf(&bench, &recording(&bench, ADDRESS)), json!({"cniVersion": "1.1.0"}));
    call.run(&Subject::ours(), "STATUS", &conf).ok();
    reached_ipam(&bench, "STATUS", &conf);
}

/// IPAM has given an address when the plugin's ADD fails, so the plugin runs IPAM with DEL. The variable CNI_COMMAND is then DEL, not ADD.
#[test]
fn delegate_a_failed_add_calls_the_plugin_with_del() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let unreachable = r#"echo '{"cniVersion":"1.0.0","ips":[{"address":"10.1.2.3/24"}],"routes":[{"dst":"10.9.0.0/16","gw":"172.16.0.1"}]}'"#;
        let conf = conf(&bench, &recording(&bench, unreachable));
        bench.call().run(&subject, "ADD", &conf).error();
        assert_eq!(variable(&bench, "ADD", "CNI_COMMAND").as_deref(), Some("ADD"), "{}", subject.name);
        assert_eq!(variable(&bench, "DEL", "CNI_COMMAND").as_deref(), Some("DEL"), "{}", subject.name);
        assert_eq!(ipam_input(&bench, "DEL"), Some(conf), "{}", subject.name);
    }
}

#[test]
fn delegate_the_error_of_a_missing_plugin_names_it_and_the_path() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = conf(&bench, &json!({"type": "no-such-ipam"}));
        let previous = json!({"prevResult": {"cniVersion": "1.0.0", "ips": []}});
        for verb in ["ADD", "CHECK", "DEL"] {
            let error = bench.call().run(&subject, verb, &merged(&conf, previous.clone())).error();
            let text = "failed to find plugin \"no-such-ipam\" in path [";
            assert!(error.msg.contains(text), "{} {verb}: {error}", subject.name);
            assert!(
                error.msg.contains(bench.folder.path().to_str().unwrap()),
                "{} {verb}: {error}",
                subject.name
            );
        }
    }
}

#[test]
fn delegate_an_error_keeps_its_code_and_details() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let fails = r#"echo '{"code":120,"msg":"no store","details":"d"}'; exit 1"#;
        let conf = conf(&bench, &scripted(&bench, &[("ADD", fails)]));
        let error = bench.call().run(&subject, "ADD", &conf).error();
        assert_eq!(
            (error.code, error.msg.as_str(), error.details.as_str()),
            (Code::Other(120), "no store", "d"),
            "{}",
            subject.name
        );
    }
}

#[test]
fn raw_exec_stderr_of_a_plugin_that_succeeds_is_passed_on() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let conf = conf(&bench, &scripted(&bench, &[("DEL", "echo a remark >&2")]));
        let answer = bench.call().run(&subject, "DEL", &conf);
        answer.ok();
        assert_eq!(String::from_utf8_lossy(&answer.output.stderr), "a remark\n", "{}", subject.name);
    }
}

/// libcni's version probe sets every variable but CNI_COMMAND to `dummy`.
#[test]
fn get_version_every_plugin_reports_its_versions() {
    let netns = NamedNetns::new().unwrap();
    let env =
        ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"].map(|name| (name, "dummy".to_owned()));
    let env: Vec<_> = env.into_iter().chain([("CNI_COMMAND", "VERSION".to_owned())]).collect();
    let probe = |program: &std::path::Path| -> Value {
        let output = run_in(netns.netns(), program, &env, br#"{"cniVersion":"1.1.0"}"#);
        assert!(output.status.success(), "{}: {output:?}", program.display());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    for name in ["macvlan", "ipvlan", "multus", "whereabouts"] {
        let reply = probe(&place::binaries().join(name));
        assert_eq!(
            reply,
            json!({"cniVersion": "1.1.0", "supportedVersions": Subject::ours().versions}),
            "{name}"
        );
    }
    for name in ["macvlan", "ipvlan", "bridge", "host-local", "static", "tuning"] {
        let reply = probe(&place::go_plugins().join(name));
        assert_eq!(
            reply,
            json!({"cniVersion": "1.0.0", "supportedVersions": Subject::go().versions}),
            "{name}"
        );
    }
}

/// Ours never runs VERSION of an IPAM plugin, so plugins older than CHECK, older than VERSION, or of a single version work.
#[test]
fn get_version_an_ipam_plugin_without_version_works() {
    for (versions, answer) in [
        ("no VERSION at all", r#"{"ip4":{"ip":"10.1.2.3/24"}}"#),
        ("a fixed list", r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.2.3/24"}}"#),
        ("before CHECK", r#"{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.1.2.3/24"}]}"#),
    ] {
        let bench = Bench::new();
        let old = format!("echo '{answer}'");
        let unknown = r#"echo '{"code":100,"msg":"unknown CNI_COMMAND: VERSION"}'; exit 1"#;
        let ipam = scripted(&bench, &[("ADD", &old), ("DEL", ""), ("VERSION", unknown)]);
        let version = if versions == "before CHECK" { "0.3.1" } else { "0.2.0" };
        let conf = merged(&bench.conf(version, Place::Host), json!({"ipam": ipam}));
        bench.call().round_trip(&Subject::ours(), &conf);
        assert!(ipam_input(&bench, "VERSION").is_none(), "{versions}");
    }
}

/// Executing a file that a process has open for writing fails with ETXTBSY ("text file busy"): a plugin that is being replaced.
#[test]
fn raw_exec_waits_for_an_ipam_plugin_that_is_being_written() {
    let bench = Bench::new();
    let ipam = scripted(&bench, &[("ADD", ADDRESS)]);
    let file = bench.folder.path().join("scripted");
    let writer = std::fs::File::options().append(true).open(&file).unwrap();
    let result = std::thread::scope(|scope| {
        let adding = scope.spawn(|| bench.call().run(&Subject::ours(), "ADD", &conf(&bench, &ipam)).ok());
        std::thread::sleep(std::time::Duration::from_millis(500));
        drop(writer);
        adding.join().unwrap()
    });
    assert_eq!(result["ips"][0]["address"], "10.1.2.3/24");
    write_script(&file, "exit 0");
}
