//! Lists with shell scripts as plugins. Each script logs its call and prints what the test needs.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    list: NetworkList,
    args: CniArgs,
    offers: Map<String, Value>,
    path: SearchPath,
    cache: Cache,
    id: ContainerId,
    if_name: IfName,
}

impl Bench {
    /// A list of the plugins `a` and `b`.
    fn new(version: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let list = json!({"cniVersion": version, "name": "net", "plugins": [
            {"type": "a", "capabilities": {"ips": true}}, {"type": "b"}]});
        let bench = Bench {
            list: NetworkList::parse(list.to_string().as_bytes()).unwrap(),
            args: CniArgs::parse("K=V").unwrap(),
            offers: json!({"ips": ["10.0.0.9"], "mac": "m"}).as_object().unwrap().clone(),
            path: SearchPath::parse(folder.path().to_str().unwrap()),
            cache: Cache::new(&folder.path().join("results")),
            id: ContainerId::parse("c1").unwrap(),
            if_name: IfName::parse("net1").unwrap(),
            folder,
        };
        for name in ["a", "b"] {
            bench.script(
                name,
                &format!(r#"echo '{{"ips":[{{"address":"10.0.0.1/8"}}],"dns":{{"domain":"{name}"}}}}'"#),
            );
        }
        bench
    }

    fn script(&self, name: &str, body: &str) {
        let file = self.folder.path().join(name);
        let log = self.folder.path().join("log");
        let mut out = std::fs::File::create(&file).unwrap();
        write!(out, "#!/bin/sh\nread -r conf\necho \"{name} $CNI_COMMAND $CNI_IFNAME $CNI_ARGS $conf\" >> {}\n{body}\n", log.display()).unwrap();
        out.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn chain(&self) -> Chain<'_> {
        Chain {
            list: &self.list,
            container_id: &self.id,
            if_name: &self.if_name,
            netns: "/run/netns/x",
            args: &self.args,
            capability_args: &self.offers,
            cache: &self.cache,
            path: &self.path,
            deadline: Instant::now() + Duration::from_secs(20),
        }
    }

    /// The calls since the last look, as `(plugin, verb, interface and args, conf)`.
    fn calls(&self) -> Vec<(String, Value)> {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let _ = std::fs::remove_file(self.folder.path().join("log"));
        let parse = |line: &str| {
            let (head, conf) = line.split_once(" {").unwrap_or((line, "}"));
            (head.to_owned(), serde_json::from_str(&format!("{{{conf}")).unwrap())
        };
        text.lines().map(parse).collect()
    }

    fn cached(&self) -> PathBuf {
        self.folder.path().join("results/net-c1-net1")
    }
}

#[test]
fn add_gives_each_result_to_the_next_plugin_and_caches_the_last() {
    let bench = Bench::new("1.0.0");
    let result = bench.chain().add().unwrap();
    assert_eq!(result.value()["dns"]["domain"], "b");
    let calls = bench.calls();
    assert_eq!(calls[0].0, "a ADD net1 K=V");
    assert_eq!(calls[0].1["runtimeConfig"], json!({"ips": ["10.0.0.9"]}));
    assert!(calls[0].1.get("prevResult").is_none());
    assert_eq!(calls[1].0, "b ADD net1 K=V");
    assert!(calls[1].1.get("runtimeConfig").is_none());
    assert_eq!(calls[1].1["prevResult"]["dns"]["domain"], "a");
    assert_eq!(calls[1].1["prevResult"]["cniVersion"], "1.0.0");
    assert!(bench.cached().exists());
}

#[test]
fn a_failed_add_names_plugin_and_network_and_caches_nothing() {
    let bench = Bench::new("1.0.0");
    bench.script("b", r#"echo '{"code": 11, "msg": "not yet"}'; exit 1"#);
    let error = bench.chain().add().unwrap_err();
    assert_eq!(error.msg, "plugin type=\"b\" name=\"net\" failed (add): not yet");
    assert_eq!(error.code, Code::TryAgainLater);
    assert!(!bench.cached().exists());
}

#[test]
fn a_missing_plugin_is_an_error_with_the_path() {
    let bench = Bench::new("1.0.0");
    std::fs::remove_file(bench.folder.path().join("b")).unwrap();
    let error = bench.chain().add().unwrap_err();
    assert!(error.msg.contains("failed to find plugin \"b\" in path ["), "{error}");
}

#[test]
fn output_that_is_no_result_fails_the_add() {
    let bench = Bench::new("1.0.0");
    bench.script("b", "echo hello");
    assert_eq!(bench.chain().add().unwrap_err().code, Code::Decoding);
    bench.script("b", r#"echo '{"cniVersion":"7.0.0"}'"#);
    assert!(bench.chain().add().unwrap_err().msg.contains("unsupported CNI result version"));
}

#[test]
fn del_runs_backwards_with_the_cached_result_and_removes_it() {
    let bench = Bench::new("0.4.0");
    bench.chain().add().unwrap();
    bench.calls();
    bench.chain().del().unwrap();
    let calls = bench.calls();
    assert_eq!((calls[0].0.as_str(), calls[1].0.as_str()), ("b DEL net1 K=V", "a DEL net1 K=V"));
    for (_, conf) in &calls {
        assert_eq!(conf["prevResult"]["dns"]["domain"], "b");
    }
    assert!(!bench.cached().exists());
}

#[test]
fn del_uses_the_cached_capability_args_if_it_has_none() {
    let bench = Bench::new("1.0.0");
    bench.chain().add().unwrap();
    bench.calls();
    let none = Map::new();
    Chain { capability_args: &none, ..bench.chain() }.del().unwrap();
    assert_eq!(bench.calls()[1].1["runtimeConfig"], json!({"ips": ["10.0.0.9"]}));
}

#[test]
fn del_before_0_4_0_passes_no_result() {
    let bench = Bench::new("0.3.1");
    bench.chain().add().unwrap();
    bench.calls();
    bench.chain().del().unwrap();
    assert!(bench.calls().iter().all(|(_, conf)| conf.get("prevResult").is_none()));
}

#[test]
fn del_continues_after_a_failure_and_keeps_the_cache() {
    let bench = Bench::new("1.0.0");
    bench.chain().add().unwrap();
    bench.calls();
    bench.script("b", r#"echo '{"code": 120, "msg": "stuck"}'; exit 1"#);
    bench.script("a", "exit 2");
    let error = bench.chain().del().unwrap_err();
    assert_eq!(error.code, Code::Other(120));
    assert!(error.msg.contains("stuck / plugin type=\"a\""), "{error}");
    assert_eq!(bench.calls().len(), 2);
    assert!(bench.cached().exists());
}

#[test]
fn a_cache_file_over_the_limit_fails_check_but_not_del() {
    let bench = Bench::new("1.0.0");
    bench.chain().add().unwrap();
    bench.calls();
    std::fs::File::create(bench.cached()).unwrap().set_len(crate::cache::MAX_FILE + 1).unwrap();
    let error = bench.chain().check().unwrap_err();
    assert_eq!(error.code, Code::Io);
    let want =
        format!("failed to get network \"net\" cached result: {} is larger than ", bench.cached().display());
    assert!(error.msg.starts_with(&want), "{error}");
    assert!(bench.calls().is_empty());
    bench.chain().del().unwrap();
    assert_eq!(bench.calls().len(), 2);
    assert!(!bench.cached().exists());
}

#[test]
fn del_with_a_torn_cache_runs_without_it() {
    let bench = Bench::new("1.0.0");
    bench.chain().add().unwrap();
    std::fs::File::create(bench.cached()).unwrap().write_all(b"{").unwrap();
    bench.chain().del().unwrap();
    assert!(!bench.cached().exists());
}

#[test]
fn del_twice_succeeds() {
    let bench = Bench::new("1.0.0");
    bench.chain().del().unwrap();
    bench.chain().del().unwrap();
}

#[test]
fn check_needs_0_4_0_and_stops_at_the_first_failure() {
    let old = Bench::new("0.3.1").chain().check().unwrap_err();
    assert_eq!(old.msg, "configuration version \"0.3.1\" does not support the CHECK command");
    let mut bench = Bench::new("0.4.0");
    bench.chain().add().unwrap();
    bench.calls();
    bench.script("a", "exit 1");
    bench.chain().check().unwrap_err();
    let calls = bench.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].1["prevResult"]["dns"]["domain"], "b");
    bench.list.check = Allowed::No;
    bench.chain().check().unwrap();
    assert!(bench.calls().is_empty());
}

#[test]
fn gc_runs_every_plugin_with_both_keys() {
    let bench = Bench::new("1.1.0");
    bench.script("a", r#"echo '{"code": 120, "msg": "no"}'; exit 1"#);
    let valid = [ValidAttachment { container_id: "c9".into(), if_name: "eth0".into() }];
    let error = gc(&bench.list, &valid, &bench.path, bench.chain().deadline).unwrap_err();
    assert_eq!(error.msg, "no");
    let calls = bench.calls();
    assert_eq!(calls.len(), 2);
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        assert_eq!(calls[1].1[key], json!([{"containerID": "c9", "ifname": "eth0"}]));
    }
    let old = Bench::new("1.0.0");
    gc(&old.list, &valid, &old.path, old.chain().deadline).unwrap();
    assert!(old.calls().is_empty());
}

#[test]
fn status_stops_at_the_first_failure_and_keeps_its_code() {
    let bench = Bench::new("1.1.0");
    bench.script("a", r#"echo '{"code": 50, "msg": "not now"}'; exit 1"#);
    let error = status(&bench.list, &bench.path, bench.chain().deadline).unwrap_err();
    assert_eq!(error, CniError::new(Code::NotAvailable, "not now"));
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn a_hanging_plugin_ends_at_the_deadline() {
    let bench = Bench::new("1.0.0");
    bench.script("a", "exec sleep 60");
    let chain = Chain { deadline: Instant::now() + Duration::from_millis(300), ..bench.chain() };
    let error = chain.add().unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert!(error.msg.contains("was killed"), "{error}");
}

/// The steps that an observer of the ADD learns.
fn observed(bench: &Bench, deadline: Instant) -> Vec<String> {
    #[derive(Default)]
    struct Steps(std::cell::RefCell<Vec<String>>);
    impl AddObserver for Steps {
        fn begins(&self, plugin: usize) -> Result<(), CniError> {
            self.0.borrow_mut().push(format!("{plugin} begins"));
            Ok(())
        }
        fn refused(&self, plugin: usize, error: &CniError) {
            self.0.borrow_mut().push(format!("{plugin} refused {} {}", error.code.number(), error.msg));
        }
        fn done(&self, plugin: usize) {
            self.0.borrow_mut().push(format!("{plugin} done"));
        }
    }
    let steps = Steps::default();
    let _ = Chain { deadline, ..bench.chain() }.add_observed(&steps);
    steps.0.into_inner()
}

#[test]
fn an_observer_learns_what_each_plugin_did_and_a_refusal_only_from_its_error_object() {
    let object = r#"echo '{"code": 120, "msg": "no"}'"#;
    let begun: &[&str] = &["0 begins", "0 done", "1 begins"];
    for (body, last) in [
        ("echo '{}'".to_owned(), Some("1 done")),
        (format!("{object}; exit 1"), Some("1 refused 120 no")),
        ("exit 1".to_owned(), None),
        ("echo '{'; exit 1".to_owned(), None),
        (format!("{object}; kill -KILL $$"), None),
        ("exec sleep 60".to_owned(), None),
        ("head -c 20000000 /dev/zero".to_owned(), None),
    ] {
        let bench = Bench::new("1.0.0");
        bench.script("b", &body);
        let want: Vec<&str> = begun.iter().copied().chain(last).collect();
        assert_eq!(observed(&bench, Instant::now() + Duration::from_secs(2)), want, "{body}");
    }
}

#[test]
fn a_missing_plugin_does_not_begin_and_one_that_cannot_be_started_is_a_refusal() {
    let bench = Bench::new("1.0.0");
    let file = bench.folder.path().join("b");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let soon = Instant::now() + Duration::from_secs(20);
    let steps = observed(&bench, soon);
    assert!(steps[3].starts_with("1 refused 999 plugin ") && steps.len() == 4, "{steps:?}");
    std::fs::remove_file(file).unwrap();
    assert_eq!(observed(&bench, soon), ["0 begins", "0 done"]);
}

#[test]
fn an_observer_can_stop_an_add_before_the_plugin_runs() {
    struct Full;
    impl AddObserver for Full {
        fn begins(&self, _plugin: usize) -> Result<(), CniError> {
            Err(CniError::new(Code::Io, "disk full"))
        }
        fn refused(&self, _plugin: usize, _error: &CniError) {}
        fn done(&self, _plugin: usize) {}
    }
    let bench = Bench::new("1.0.0");
    assert_eq!(bench.chain().add_observed(&Full).unwrap_err().msg, "disk full");
    assert!(bench.calls().is_empty());
}

#[test]
fn del_of_some_plugins_runs_only_those_and_keeps_the_cached_result() {
    let bench = Bench::new("1.0.0");
    bench.chain().add().unwrap();
    bench.calls();
    bench.script("a", r#"echo '{"code": 120, "msg": "stuck"}'; exit 1"#);
    let failures = bench.chain().del_plugins(|plugin| plugin == 0);
    let cause = CniError::new(Code::Other(120), "stuck");
    let error = cause.clone().context("plugin type=\"a\" name=\"net\" failed (delete)");
    assert_eq!(failures, [DelFailure { plugin: 0, cause, error }]);
    assert_eq!(bench.calls().len(), 1);
    assert!(bench.cached().exists());
    bench.chain().forget().unwrap();
    bench.chain().forget().unwrap();
    assert!(!bench.cached().exists());
}
