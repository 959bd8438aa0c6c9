use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, FakeApi, network};

fn valid(pairs: &[(&str, &str)]) -> Vec<ValidAttachment> {
    pairs
        .iter()
        .map(|(id, if_name)| ValidAttachment { container_id: (*id).into(), if_name: (*if_name).into() })
        .collect()
}

/// A sandbox `c1` on `main` and, as `net1`, on `a`; the plugin `a` serves a network called `second`.
fn attached(second: &str) -> Bench {
    let bench = Bench::new();
    let nad = json!({"cniVersion": "1.1.0", "name": second, "type": "a"});
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "a"})).with_nad("default/a", &nad);
    bench.add(Some(&api)).unwrap();
    bench.calls();
    bench
}

fn collect(bench: &Bench, listed: &[(&str, &str)], age: Duration) -> Result<(), cni::CniError> {
    let conf = Conf::read(&bench.call()).unwrap();
    let deadline = Deadline::after(Duration::from_secs(20));
    let (default, valid) = (network("main", "1.1.0"), valid(listed));
    let (now, since_boot) = (SystemTime::now() + age, &bench.now);
    let (conf, default, valid) = (&conf, &default, valid.as_slice());
    gc(Gc { conf, default, valid, now, since_boot, cluster: &(), deadline }).map_err(|e| e.to_cni())
}

const LATER: Duration = Duration::from_secs(600);

/// The attachments that the default network received in GC.
fn received(calls: &[(String, serde_json::Map<String, Value>)]) -> Value {
    let gc: Vec<_> = calls.iter().filter(|(head, _)| head.starts_with("main GC")).collect();
    assert_eq!(gc.len(), 1, "{calls:?}");
    gc[0].1["cni.dev/valid-attachments"].clone()
}

#[test]
fn a_sandbox_that_the_runtime_does_not_list_is_detached() {
    let bench = attached("second");
    collect(&bench, &[("c2", "eth0")], LATER).unwrap();
    let calls = bench.calls();
    assert!(
        calls[0].0.starts_with("a DEL c1 net1 ") && calls[1].0.starts_with("main DEL c1 eth0 "),
        "{calls:?}"
    );
    assert!(calls[0].0.contains("K8S_POD_NAME=pod0"), "{calls:?}");
    assert_eq!(received(&calls), json!([{"containerID": "c2", "ifname": "eth0"}]));
    assert!(!bench.record().exists());
}

#[test]
fn a_sandbox_that_is_listed_young_or_of_another_configuration_stays() {
    for (known, age, conf_name) in [
        ("c1", LATER, "multus-cni-network"),
        ("c2", Duration::ZERO, "multus-cni-network"),
        ("c2", LATER, "other"),
    ] {
        let mut bench = attached("second");
        bench.conf["name"] = conf_name.into();
        collect(&bench, &[(known, "eth0")], age).unwrap();
        let calls = bench.calls();
        assert_eq!(calls.len(), 1, "{known} {age:?} {conf_name}: {calls:?}");
        assert!(
            received(&calls).as_array().unwrap().contains(&json!({"containerID": "c1", "ifname": "eth0"}))
        );
        assert!(bench.record().exists());
    }
}

#[test]
fn gc_lists_every_attachment_to_the_default_network() {
    let bench = attached("main");
    collect(&bench, &[("c1", "eth0")], LATER).unwrap();
    let want = json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c1", "ifname": "net1"}]);
    assert_eq!(received(&bench.calls()), want);
}

#[test]
fn gc_reports_and_still_lists_a_sandbox_that_cannot_be_detached() {
    let bench = attached("second");
    bench.script("a", &bench.fails("DEL", 120));
    let error = collect(&bench, &[], LATER).unwrap_err();
    assert_eq!(error.code, cni::Code::Other(120));
    assert_eq!(received(&bench.calls()), json!([{"containerID": "c1", "ifname": "eth0"}]));
    assert!(bench.record().exists());
}

#[test]
fn a_record_of_upstream_is_ours_if_it_begins_with_the_default_network() {
    let bench = attached("second");
    let mut record: Value = serde_json::from_slice(&std::fs::read(bench.record()).unwrap()).unwrap();
    for item in record.as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("multusRs").unwrap();
    }
    bench.write("cni/c1", &record.to_string());
    collect(&bench, &[], LATER).unwrap();
    assert!(!bench.record().exists());
}

#[test]
fn a_damaged_record_frees_nothing() {
    let bench = attached("main");
    bench.write("cni/c1", "[");
    collect(&bench, &[], LATER).unwrap();
    let calls = bench.calls();
    assert_eq!(calls.len(), 1);
    let want = json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c1", "ifname": "net1"}]);
    assert_eq!(received(&calls), want);
    assert!(bench.record().exists());
}

#[test]
fn gc_lets_a_sandbox_go_that_cannot_be_detached_for_two_minutes() {
    let mut bench = attached("second");
    bench.script("a", &bench.fails("DEL", 120));
    collect(&bench, &[], LATER).unwrap_err();
    bench.now.since_boot += Duration::from_secs(120);
    collect(&bench, &[], LATER).unwrap();
    assert!(!bench.record().exists());
    assert_eq!(bench.own_files(), ["tombstones/c1"]);
}

#[test]
fn progress_whose_record_upstream_removed_is_removed_when_it_is_old() {
    let bench = attached("second");
    collect(&bench, &[("c1", "eth0")], LATER).unwrap();
    assert_eq!(bench.own_files(), ["progress/c1"]);
    std::fs::remove_file(bench.record()).unwrap();
    collect(&bench, &[], Duration::ZERO).unwrap();
    assert_eq!(bench.own_files(), ["progress/c1"]);
    collect(&bench, &[], LATER).unwrap();
    assert!(bench.own_files().is_empty());
}
