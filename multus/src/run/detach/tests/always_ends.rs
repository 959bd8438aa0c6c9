//! DEL always ends: what was never begun or was refused needs nothing, and the rest is let go after two minutes.

use std::time::Duration;

use super::*;

/// ADD of the default network and of a list of these plugins on `net1`.
fn added(bench: &Bench, plugins: &[&str]) -> Result<(), CniError> {
    bench.add(Some(&list_api(plugins))).map(drop)
}

fn list_api(plugins: &[&str]) -> FakeApi {
    let plugins: Vec<Value> = plugins.iter().map(|plugin| json!({"type": plugin})).collect();
    let list = json!({"cniVersion": "1.0.0", "name": "list", "plugins": plugins});
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "list"})).with_nad("default/list", &list)
}

/// A plugin that answers every verb with this error object.
fn refuses(bench: &Bench, plugin: &str, code: u32, msg: &str) {
    bench.script(plugin, &format!(r#"echo '{{"code":{code},"msg":"{msg}"}}'; exit 1"#));
}

/// The record and progress as an ADD leaves them that was killed while `plugin` ran.
fn killed_in(bench: &Bench, plugin: &str, plugins: &[&str]) {
    let saved = bench.path().join("saved");
    let (cni, saved) = (bench.path().join("cni"), saved.display().to_string());
    let copy = format!("[ $CNI_COMMAND = ADD ] && cp -a {} {saved}; exit 1", cni.display());
    bench.script(plugin, &copy);
    added(bench, plugins).unwrap_err();
    std::fs::remove_dir_all(&cni).unwrap();
    std::fs::rename(saved, &cni).unwrap();
    bench.calls();
}

#[test]
fn a_configuration_that_a_plugin_refuses_leaves_nothing_whatever_its_code() {
    for code in [1, 2, 5, 6, 7, 120, 999] {
        let bench = Bench::new();
        refuses(&bench, "a", code, "invalid range start");
        let error = added(&bench, &["a"]).unwrap_err();
        assert!(!error.msg.contains("undoing it failed too"), "{error}");
        assert!(!bench.record().exists() && bench.own_files().is_empty(), "{code}");
    }
}

#[test]
fn del_after_a_killed_undo_ends_for_a_plugin_that_refuses_in_the_same_words() {
    let bench = Bench::new();
    // The undo fails for another reason, so that the record stays for DEL.
    refuses(&bench, "a", 999, "invalid range start");
    bench.script("b", &bench.fails("DEL", 120));
    added(&bench, &["b", "a"]).unwrap_err();
    assert!(bench.record().exists());
    bench.script("b", "exit 0");
    bench.del().unwrap();
    assert!(!bench.record().exists() && bench.own_files().is_empty());
}

#[test]
fn a_plugin_that_refuses_in_other_words_at_del_is_not_done() {
    let bench = Bench::new();
    bench.script("a", r#"echo "{\"code\":999,\"msg\":\"no $CNI_COMMAND\"}"; exit 1"#);
    let error = added(&bench, &["a"]).unwrap_err();
    assert!(error.msg.contains("undoing it failed too"), "{error}");
    assert!(bench.record().exists());
    bench.del().unwrap_err();
}

#[test]
fn a_timeout_is_no_refusal() {
    let bench = Bench::new();
    refuses(&bench, "a", 11, "no answer");
    added(&bench, &["a"]).unwrap_err();
    assert!(bench.record().exists());
}

#[test]
fn a_plugin_that_never_began_gets_no_del() {
    let bench = Bench::new();
    refuses(&bench, "a", 7, "range is full");
    bench.script("b", &bench.fails("DEL", 120));
    added(&bench, &["a", "b"]).unwrap_err();
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
    assert!(!bench.record().exists());
}

#[test]
fn an_interface_that_was_there_before_add_is_left_alone_by_del_too() {
    let bench = Bench::new();
    let (socket, peer) = (bench.netns.socket().unwrap(), bench.netns.socket().unwrap());
    netlink::test_util::create_veth(&socket, "net1", &peer, "other").unwrap();
    bench.script("main", &bench.fails("DEL", 120));
    added(&bench, &["a"]).unwrap_err();
    bench.calls();
    bench.script("main", "exit 0");
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
}

#[test]
fn an_add_that_was_killed_in_a_plugin_whose_file_is_gone_fails_del_then_lets_go() {
    let mut bench = Bench::new();
    killed_in(&bench, "a", &["b", "a"]);
    std::fs::remove_file(bench.path().join("a")).unwrap();
    let error = bench.del().unwrap_err();
    assert!(error.msg.contains("failed to find plugin \"a\""), "{error}");
    assert_eq!(bench.verbs(), ["b DEL net1", "main DEL eth0"]);
    assert!(bench.record().exists());
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    assert!(!bench.record().exists());
    assert_eq!(bench.own_files(), ["tombstones/c1"]);
}

#[test]
fn after_a_reboot_a_plugin_that_never_began_may_have_begun() {
    let mut bench = Bench::new();
    killed_in(&bench, "a", &["a", "b"]);
    bench.now.boot_id = "another".to_owned();
    bench.script("a", "exit 0");
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["b DEL net1", "a DEL net1", "main DEL eth0"]);
}

#[test]
fn del_without_progress_runs_every_plugin() {
    let bench = Bench::new();
    killed_in(&bench, "a", &["a", "b"]);
    std::fs::remove_dir_all(bench.path().join("cni/multus-rs")).unwrap();
    bench.script("a", "exit 0");
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["b DEL net1", "a DEL net1", "main DEL eth0"]);
    assert!(bench.own_files().is_empty());
}

/// A sandbox whose network `a` was attached, and whose first DEL has just failed.
fn after_a_failed_del() -> Bench {
    let bench = Bench::new();
    added(&bench, &["a"]).unwrap();
    bench.script("a", &bench.fails("DEL", 120));
    bench.del().unwrap_err();
    bench
}

#[test]
fn what_still_fails_after_two_minutes_is_let_go_reported_and_tried_again_without_result() {
    let mut bench = Bench::new();
    added(&bench, &["a", "b"]).unwrap();
    bench.script("a", &bench.fails("DEL", 120));
    let api = list_api(&["a", "b"]);
    // A pod that waits gets no event.
    for seconds in [0, 60, 59] {
        bench.now.since_boot += Duration::from_secs(seconds);
        bench.del_asking(&api).unwrap_err();
    }
    bench.now.since_boot += Duration::from_secs(1);
    bench.del_asking(&api).unwrap();
    assert_eq!((remains(&bench), bench.own_files()), (0, vec!["tombstones/c1".to_owned()]));
    let events = api.events();
    assert!(events.len() == 1 && events[0].contains("no DEL"), "{events:?}");
    bench.calls();
    // A repeated DEL does not start again with it.
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
    bench.retry_tombstones(Duration::from_secs(10));
    assert!(bench.verbs().is_empty());
    bench.retry_tombstones(Duration::from_secs(60));
    assert_eq!(bench.verbs(), ["a DEL net1"]);
    assert_eq!(bench.own_files(), ["tombstones/c1"]);
    bench.script("a", "exit 0");
    bench.retry_tombstones(Duration::from_secs(60));
    let calls = bench.calls();
    assert!(
        calls[0].0.starts_with("a DEL c1 net1 IgnoreUnknown=true;K8S_POD_NAMESPACE=default"),
        "{calls:?}"
    );
    assert!(calls.len() == 1 && !calls[0].1.contains_key("prevResult"), "{calls:?}");
    assert!(bench.own_files().is_empty());
}

#[test]
fn a_tombstone_of_a_container_id_that_is_used_again_waits() {
    let mut bench = after_a_failed_del();
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    added(&bench, &["a"]).unwrap();
    bench.calls();
    bench.retry_tombstones(Duration::from_secs(60));
    assert!(bench.verbs().is_empty());
    assert_eq!(bench.own_files(), ["progress/c1", "tombstones/c1"]);
}

#[test]
fn a_sandbox_that_is_let_go_does_not_wait_for_a_change_that_runs() {
    let mut bench = after_a_failed_del();
    bench.now.since_boot += Duration::from_secs(120);
    let progress = std::fs::File::open(bench.path().join("cni/multus-rs/progress/c1")).unwrap();
    progress.try_lock().unwrap();
    let began = std::time::Instant::now();
    bench.del().unwrap();
    // Any other DEL would wait for a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[test]
fn the_two_minutes_begin_again_after_a_reboot() {
    let mut bench = after_a_failed_del();
    bench.now = Moment { boot_id: "another".to_owned(), since_boot: Duration::from_secs(1000) };
    bench.del().unwrap_err();
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
}

#[test]
fn a_plugin_that_changes_only_the_namespace_is_done_when_that_is_gone() {
    let bench = Bench::new();
    bench.script("sbr", "exit 0");
    added(&bench, &["a", "sbr"]).unwrap();
    refuses(&bench, "sbr", 999, "unknown FS magic");
    bench.del_in(bench.netns.path()).unwrap_err();
    let plain_file = bench.path().join("sbr");
    bench.del_in(&plain_file).unwrap();
    assert!(!bench.record().exists());
    for netns in ["", "/run/netns/gone"] {
        let bench = Bench::new();
        bench.script("sbr", "exit 0");
        added(&bench, &["a", "sbr"]).unwrap();
        refuses(&bench, "sbr", 999, "unknown FS magic");
        bench.del_in(netns.as_ref()).unwrap();
    }
}

#[test]
fn another_plugin_must_succeed_although_the_namespace_is_gone() {
    let bench = Bench::new();
    added(&bench, &["a"]).unwrap();
    refuses(&bench, "a", 999, "unknown FS magic");
    bench.del_in("".as_ref()).unwrap_err();
    assert!(bench.record().exists());
}

#[test]
fn an_add_whose_record_could_not_be_read_back_makes_nothing() {
    let bench = Bench::new();
    let list = json!({"cniVersion": "1.0.0", "name": "list", "plugins": [{"type": "a"}]});
    let nested = format!("{}1{}", r#"{"k":"#.repeat(124), "}".repeat(124));
    let networks = format!(r#"[{{"name":"list","cni-args":{nested}}}]"#);
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks})).with_nad("default/list", &list);
    let error = bench.add(Some(&api)).unwrap_err();
    assert!(error.msg.contains("a record that DEL could not read"), "{error}");
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(bench.verbs().is_empty() && !bench.record().exists() && bench.own_files().is_empty());
}

#[test]
fn a_del_that_was_killed_after_it_wrote_the_tombstone_can_be_repeated() {
    let mut bench = after_a_failed_del();
    let saved: Vec<(&str, String)> = ["cni/c1", "cni/multus-rs/progress/c1"]
        .map(|file| (file, std::fs::read_to_string(bench.path().join(file)).unwrap()))
        .into();
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    for (file, text) in saved {
        bench.write(file, &text);
    }
    bench.calls();
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["a DEL net1", "main DEL eth0"]);
    assert!(!bench.record().exists());
    bench.script("a", "exit 0");
    bench.retry_tombstones(Duration::from_secs(60));
    assert_eq!(bench.verbs(), ["a DEL net1"]);
    assert!(bench.own_files().is_empty());
}

#[test]
fn a_damaged_tombstone_does_not_stop_the_others() {
    let mut bench = after_a_failed_del();
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    bench.calls();
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    for damaged in ["d1", "d2", "d3"] {
        let path = format!("cni/multus-rs/tombstones/{damaged}");
        bench.write(&path, "{");
        std::fs::File::options()
            .write(true)
            .open(bench.path().join(path))
            .unwrap()
            .set_modified(old)
            .unwrap();
    }
    bench.script("a", "exit 0");
    bench.retry_tombstones(Duration::from_secs(60));
    assert!(bench.verbs().is_empty());
    for damaged in ["d1", "d2", "d3"] {
        // Its turn is over: it is the youngest now.
        let path = bench.path().join("cni/multus-rs/tombstones").join(damaged);
        assert!(std::fs::metadata(path).unwrap().modified().unwrap() > old);
    }
    bench.retry_tombstones(Duration::from_secs(60));
    assert_eq!(bench.verbs(), ["a DEL net1"]);
}

#[test]
fn without_room_for_a_tombstone_del_ends_and_the_record_stays_for_gc() {
    let mut bench = after_a_failed_del();
    // A file in the place of the folder.
    bench.write("cni/multus-rs/tombstones", "");
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    assert!(bench.record().exists());
}

#[test]
fn a_record_that_cannot_be_read_fails_del_for_two_minutes_only() {
    let mut bench = attached();
    std::fs::remove_file(bench.record()).unwrap();
    std::fs::create_dir(bench.record()).unwrap();
    bench.del().unwrap_err();
    assert!(bench.verbs().is_empty());
    bench.now.since_boot += Duration::from_secs(120);
    bench.del().unwrap();
    let mut verbs = bench.verbs();
    verbs.sort();
    assert_eq!(verbs, ["a DEL net1", "b DEL data", "main DEL eth0"]);
}

#[test]
fn a_record_over_the_limit_is_damaged() {
    let bench = attached();
    std::fs::File::options().write(true).open(bench.record()).unwrap().set_len((16 << 20) + 1).unwrap();
    bench.del().unwrap();
    assert_eq!((bench.verbs().len(), remains(&bench)), (3, 0));
}
