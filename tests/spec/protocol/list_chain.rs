//! Lists: the cases `AddNetworkList`, `CheckNetworkList`, `DelNetworkList`, `GCNetworkList`, `GetStatusNetworkList`, the timeouts, and
//! backwards compatibility of the reference implementation's `libcni`.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cni::names::{ContainerId, IfName};
use cni::plugin::ValidAttachment;
use cni::{CniError, Code};
use serde_json::{Value, json};

use crate::protocol::list_bench::{ListBench, parse, result, single, three};

fn list() -> ListBench {
    ListBench::new(three("1.0.0"))
}

/// All three plugins were called, none with a previous result.
#[track_caller]
fn without_prev_result(calls: &[(String, Value)]) {
    let results: Vec<_> = calls.iter().map(|(_, conf)| conf.get("prevResult")).collect();
    assert_eq!(results, [None; 3]);
}

#[test]
fn add_list_hands_each_result_to_the_next_plugin_and_returns_the_last() {
    let bench = list();
    let added = bench.chain().add().unwrap();
    assert_eq!(added.value(), &result("1.0.0", "third"));
    let [first, second, third] = bench.calls().try_into().unwrap();
    assert_eq!(
        first,
        (
            "first ADD".to_owned(),
            json!({"type": "first", "some-key": "some-value", "name": "some-list", "cniVersion": "1.0.0"})
        )
    );
    assert_eq!(second.0, "second ADD");
    assert_eq!(second.1["prevResult"], result("1.0.0", "first"));
    assert_eq!(second.1["runtimeConfig"], json!({"ips": ["10.1.2.9/24"]}));
    assert_eq!(third.0, "third ADD");
    assert_eq!(third.1["prevResult"], result("1.0.0", "second"));
}

#[test]
fn add_list_converts_a_result_of_another_version_for_the_next_plugin() {
    let bench = list();
    bench.script("first", &format!("echo '{}'", result("0.2.0", "first")));
    bench.script("third", &format!("echo '{}'", result("0.4.0", "third")));
    let added = bench.chain().add().unwrap();
    assert_eq!(bench.calls()[1].1["prevResult"], result("1.0.0", "first"));
    assert_eq!(added.value(), &result("1.0.0", "third"));
}

#[test]
fn add_list_caches_the_result() {
    let bench = list();
    bench.chain().add().unwrap();
    assert_eq!(bench.cache.read(&bench.key()).unwrap().unwrap().result, Some(result("1.0.0", "third")));
}

#[test]
fn add_list_caches_the_list() {
    let bench = list();
    bench.chain().add().unwrap();
    let file: Value = serde_json::from_slice(&std::fs::read(bench.cached()).unwrap()).unwrap();
    let config = STANDARD.decode(file["config"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&config).unwrap(), three("1.0.0"));
    assert_eq!(parse(&three("1.0.0")).unwrap(), cni::list::NetworkList::parse(&config).unwrap());
}

#[test]
fn add_list_refuses_an_invalid_container_id_network_or_interface_name() {
    assert!(ContainerId::parse("%").is_err());
    for bad in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx"] {
        assert!(IfName::parse(bad).is_err(), "{bad:?}");
    }
    let mut bad = three("1.0.0");
    bad["name"] = json!("invalid%%name");
    let error = parse(&bad).unwrap_err();
    assert_eq!(
        (error.code, error.msg.as_str()),
        (Code::InvalidConfig, "invalid characters found in network name")
    );
}

#[test]
fn add_list_whose_second_plugin_fails_caches_nothing_and_skips_the_third() {
    let bench = list();
    bench.fail("second", 120, "plugin error: banana");
    let error = bench.chain().add().unwrap_err();
    assert_eq!(error.msg, "plugin type=\"second\" name=\"some-list\" failed (add): plugin error: banana");
    assert_eq!(bench.called(), ["first ADD", "second ADD"]);
    assert!(!bench.cached().exists());
}

#[test]
fn check_list_gives_every_plugin_the_final_result_in_the_order_of_add() {
    let bench = list();
    bench.chain().add().unwrap();
    bench.calls();
    bench.chain().check().unwrap();
    let calls = bench.calls();
    let who: Vec<&str> = calls.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(who, ["first CHECK", "second CHECK", "third CHECK"]);
    assert!(calls.iter().all(|(_, conf)| conf["prevResult"] == result("1.0.0", "third")));
    assert_eq!(calls[1].1["runtimeConfig"], json!({"ips": ["10.1.2.9/24"]}));
}

#[test]
fn check_list_does_nothing_when_disabled() {
    for word in [json!(true), json!("true"), json!("TRUE")] {
        let mut list = three("1.0.0");
        list["disableCheck"] = word;
        let bench = ListBench::new(list);
        bench.chain().check().unwrap();
        assert!(bench.called().is_empty());
    }
}

#[test]
fn check_list_stops_at_an_error_and_returns_it() {
    let bench = list();
    bench.fail("second", 120, "plugin error: banana");
    let error = bench.chain().check().unwrap_err();
    assert_eq!(error.code, Code::Other(120));
    assert_eq!(error.msg, "plugin type=\"second\" name=\"some-list\" failed (check): plugin error: banana");
    assert_eq!(bench.called(), ["first CHECK", "second CHECK"]);
}

#[test]
fn check_list_without_a_cached_result_sends_none() {
    let bench = list();
    bench.chain().check().unwrap();
    without_prev_result(&bench.calls());
}

#[test]
fn del_list_runs_in_reverse_order_and_sends_every_plugin_the_final_result() {
    let bench = list();
    bench.chain().add().unwrap();
    bench.calls();
    bench.chain().del().unwrap();
    let calls = bench.calls();
    let who: Vec<&str> = calls.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(who, ["third DEL", "second DEL", "first DEL"]);
    assert!(calls.iter().all(|(_, conf)| conf["prevResult"] == result("1.0.0", "third")));
    assert!(!bench.cached().exists());
}

#[test]
fn del_list_before_0_4_0_sends_no_result() {
    let bench = ListBench::new(three("0.3.1"));
    bench.chain().add().unwrap();
    bench.calls();
    bench.chain().del().unwrap();
    without_prev_result(&bench.calls());
}

/// libcni stops at the first error. DEL is best effort, so ours runs every plugin.
#[test]
fn del_list_continues_after_an_error_and_returns_it() {
    let bench = list();
    bench.fail("second", 120, "plugin error: banana");
    let error = bench.chain().del().unwrap_err();
    assert_eq!(error.code, Code::Other(120));
    assert_eq!(error.msg, "plugin type=\"second\" name=\"some-list\" failed (delete): plugin error: banana");
    assert_eq!(bench.called(), ["third DEL", "second DEL", "first DEL"]);
}

fn valid() -> [ValidAttachment; 1] {
    [ValidAttachment { container_id: "some-container".into(), if_name: "net1".into() }]
}

#[test]
fn gc_list_calls_no_plugin_when_disabled_or_before_1_1_0() {
    let mut disabled = three("1.1.0");
    disabled["disableGC"] = json!("true");
    for list in [disabled, three("1.0.0")] {
        let bench = ListBench::new(list);
        bench.gc(&valid()).unwrap();
        assert!(bench.called().is_empty());
    }
}

#[test]
fn gc_list_sends_every_plugin_the_valid_attachments_and_keeps_them() {
    let bench = ListBench::new(three("1.1.0"));
    bench.chain().add().unwrap();
    bench.calls();
    bench.gc(&valid()).unwrap();
    let calls = bench.calls();
    let who: Vec<&str> = calls.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(who, ["first GC", "second GC", "third GC"]);
    let entry = json!([{"containerID": "some-container", "ifname": "net1"}]);
    let wanted = json!({"type": "first", "some-key": "some-value", "name": "some-list", "cniVersion": "1.1.0",
        "cni.dev/valid-attachments": entry, "cni.dev/attachments": entry});
    assert_eq!(calls[0].1, wanted);
    assert!(calls.iter().all(|(_, conf)| conf.get("prevResult").or(conf.get("runtimeConfig")).is_none()));
    assert!(bench.cached().exists());
}

#[test]
fn gc_list_sends_an_empty_list_when_no_attachment_is_valid() {
    let bench = ListBench::new(three("1.1.0"));
    bench.gc(&[]).unwrap();
    assert_eq!(bench.calls()[2].1["cni.dev/valid-attachments"], json!([]));
}

#[test]
fn gc_list_continues_after_errors_and_returns_all() {
    let bench = ListBench::new(three("1.1.0"));
    bench.fail("first", 120, "one");
    bench.fail("third", 121, "two");
    let error = bench.gc(&valid()).unwrap_err();
    assert_eq!((error.code, error.msg.as_str()), (Code::Other(120), "one / two"));
    assert_eq!(bench.called(), ["first GC", "second GC", "third GC"]);
}

#[test]
fn status_list_runs_in_order_and_stops_at_code_50() {
    let bench = ListBench::new(three("1.1.0"));
    bench.status().unwrap();
    assert_eq!(bench.called(), ["first STATUS", "second STATUS", "third STATUS"]);
    bench.fail("second", 50, "uh oh");
    assert_eq!(bench.status(), Err(CniError::new(Code::NotAvailable, "uh oh")));
    assert_eq!(bench.called(), ["first STATUS", "second STATUS"]);
}

#[test]
fn status_list_succeeds_before_1_1_0() {
    let bench = ListBench::new(three("1.0.0"));
    bench.fail("first", 50, "uh oh");
    bench.status().unwrap();
    assert!(bench.called().is_empty());
}

#[test]
fn timeouts_end_a_sleeping_plugin_in_every_verb() {
    let mut bench = ListBench::new(single("1.1.0"));
    bench.script("first", "sleep 600 & wait");
    bench.limit = Duration::from_millis(700);
    let started = Instant::now();
    for (verb, error) in [
        ("ADD", bench.chain().add().unwrap_err()),
        ("CHECK", bench.chain().check().unwrap_err()),
        ("DEL", bench.chain().del().unwrap_err()),
        ("GC", bench.gc(&valid()).unwrap_err()),
        ("STATUS", bench.status().unwrap_err()),
    ] {
        assert_eq!(error.code, Code::TryAgainLater, "{verb}: {error}");
        assert!(error.msg.contains("was killed"), "{verb}: {error}");
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn backwards_compatibility_a_legacy_plugins_result_is_accepted() {
    for version in ["0.1.0", "0.2.0", "0.3.1", "1.0.0"] {
        let bench = ListBench::new(single(version));
        // Legacy plugins write no version.
        let mut answer = result(version, "legacy");
        answer.as_object_mut().unwrap().remove("cniVersion");
        bench.script("first", &format!("echo '{answer}'"));
        assert_eq!(bench.chain().add().unwrap().value(), &result(version, "legacy"));
    }
}

#[test]
fn backwards_compatibility_a_conf_without_version_is_a_list_of_one() {
    let bench = ListBench::new(json!({"name": "some-list", "type": "first"}));
    bench.chain().add().unwrap();
    let wanted = json!({"name": "some-list", "type": "first", "cniVersion": "0.1.0"});
    assert_eq!(bench.calls(), [("first ADD".to_owned(), wanted)]);
}
