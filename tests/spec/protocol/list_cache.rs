//! The cache of results: the cases "caching" of the reference implementation's `libcni`.

use cni::args::CniArgs;
use cni::cache::{Entry, Key};
use cni::chain::Chain;
use cni::names::{ContainerId, IfName, NetworkName};
use serde_json::{Map, Value, json};

use crate::protocol::list_bench::{ListBench, result, single, three};

fn key(network: &str, container_id: &str, if_name: &str) -> Key {
    Key {
        network: NetworkName::parse(network).unwrap(),
        container_id: ContainerId::parse(container_id).unwrap(),
        if_name: IfName::parse(if_name).unwrap(),
    }
}

fn entry(number: usize) -> Entry {
    Entry {
        config: b"{}".to_vec(),
        netns: format!("/netns/{number}"),
        args: CniArgs::default(),
        capability_args: Map::new(),
        result: Some(json!({"cniVersion": "1.0.0", "dns": {"domain": number.to_string()}})),
    }
}

#[test]
fn cache_attachments_have_separate_files() {
    let bench = ListBench::new(single("1.0.0"));
    let keys = [
        key("net-a", "c1", "eth0"),
        key("net-a", "c1", "net1"),
        key("net-a", "c2", "eth0"),
        key("net-b", "c1", "eth0"),
    ];
    for (number, key) in keys.iter().enumerate() {
        bench.cache.write(key, &entry(number)).unwrap();
    }
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(bench.cache.read(key).unwrap(), Some(entry(number)), "{key:?}");
    }
    bench.cache.remove(&keys[1]).unwrap();
    let left: Vec<bool> = keys.iter().map(|key| bench.cache.read(key).unwrap().is_some()).collect();
    assert_eq!(left, [true, false, true, true]);
}

#[test]
fn cache_a_file_has_the_name_mode_and_content_of_libcnis() {
    use std::os::unix::fs::PermissionsExt;
    let bench = ListBench::new(single("1.0.0"));
    bench.chain().add().unwrap();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&bench.cached()), mode(bench.cached().parent().unwrap())), (0o600, 0o700));
    let mut file: Value = serde_json::from_slice(&std::fs::read(bench.cached()).unwrap()).unwrap();
    assert!(file["config"].take().is_string());
    assert_eq!(
        file,
        json!({"kind": "cniCacheV1", "containerId": "some-container", "config": null, "ifName": "net1",
            "networkName": "some-list", "netns": "/some/netns/path", "cniArgs": [["IgnoreUnknown", "1"], ["A", "1"]],
            "capabilityArgs": {"ips": ["10.1.2.9/24"], "mac": "02:00:00:00:00:01"}, "result": result("1.0.0", "first")})
    );
}

#[test]
fn cache_the_arguments_of_add_are_kept() {
    let bench = ListBench::new(single("1.0.0"));
    bench.chain().add().unwrap();
    let entry = bench.cache.read(&bench.key()).unwrap().unwrap();
    assert_eq!((entry.args, entry.netns.as_str()), (bench.args.clone(), "/some/netns/path"));
    assert_eq!(entry.capability_args, bench.offers);
}

#[test]
fn cache_del_without_capability_args_uses_those_of_add() {
    let bench = ListBench::new(three("1.0.0"));
    bench.chain().add().unwrap();
    bench.calls();
    let none = Map::new();
    Chain { capability_args: &none, ..bench.chain() }.del().unwrap();
    assert_eq!(bench.calls()[1].1["runtimeConfig"], json!({"ips": ["10.1.2.9/24"]}));
}

/// A cache key consists of checked names, so a key with an empty name cannot exist.
#[test]
fn cache_missing_names_are_errors() {
    assert!(NetworkName::parse("").is_err());
    assert!(ContainerId::parse("").is_err());
    assert!(IfName::parse("").is_err());
}

#[test]
fn cache_invalid_json_and_a_missing_file_are_no_entry() {
    let bench = ListBench::new(single("1.0.0"));
    assert_eq!(bench.cache.read(&bench.key()).unwrap(), None);
    for text in ["adfadsfasdfasfdsafaf", "{", "", "null", "[]", "{}", "7"] {
        bench.put_cached(text);
        assert_eq!(bench.cache.read(&bench.key()).unwrap(), None, "{text}");
    }
    bench.cache.remove(&bench.key()).unwrap();
    bench.cache.remove(&bench.key()).unwrap();
}

#[test]
fn cache_a_file_with_a_bare_result_is_an_entry() {
    let bench = ListBench::new(single("1.0.0"));
    bench.put_cached(&result("0.3.1", "bare").to_string());
    let entry = bench.cache.read(&bench.key()).unwrap().unwrap();
    assert_eq!(entry.result, Some(result("0.3.1", "bare")));
    assert_eq!((entry.config.len(), entry.netns.as_str(), entry.args), (0, "", CniArgs::default()));
}

#[test]
fn cache_the_attachments_of_a_container_are_found_by_content_not_by_file_name() {
    let bench = ListBench::new(single("1.0.0"));
    let mine = [key("net-a", "c1", "eth0"), key("net-b", "c1", "net1")];
    // The name of this file contains "-c1-" too.
    let other = key("net-a", "x-c1-y", "net1");
    for key in mine.iter().chain([&other]) {
        bench.cache.write(key, &entry(0)).unwrap();
    }
    bench.put_cached("torn");
    let found = |id: &ContainerId| -> Vec<Key> {
        bench.cache.of_container(id).into_iter().map(Result::unwrap).collect()
    };
    assert_eq!(found(&mine[0].container_id), mine);
    assert_eq!(found(&other.container_id), [other]);
    assert!(found(&ContainerId::parse("c3").unwrap()).is_empty());
}
