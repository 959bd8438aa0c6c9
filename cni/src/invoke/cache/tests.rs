use super::*;
use serde_json::json;

fn key(if_name: &str) -> Key {
    Key {
        network: NetworkName::parse("net-a").unwrap(),
        container_id: ContainerId::parse("c1").unwrap(),
        if_name: IfName::parse(if_name).unwrap(),
    }
}

fn entry() -> Entry {
    Entry {
        config: br#"{"name":"net-a"}"#.to_vec(),
        netns: "/run/netns/x".into(),
        args: CniArgs::parse("A=1;B=2").unwrap(),
        capability_args: json!({"ips": ["10.0.0.1"]}).as_object().unwrap().clone(),
        result: Some(json!({"cniVersion": "1.0.0"})),
    }
}

#[test]
fn an_entry_is_read_back_and_can_be_removed_twice() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(&folder.path().join("results"));
    cache.write(&key("net1"), &entry()).unwrap();
    assert_eq!(cache.read(&key("net1")).unwrap(), Some(entry()));
    cache.remove(&key("net1")).unwrap();
    cache.remove(&key("net1")).unwrap();
    assert_eq!(cache.read(&key("net1")).unwrap(), None);
    assert_eq!(std::fs::read_dir(folder.path().join("results")).unwrap().count(), 0);
}

#[test]
fn what_killed_writes_of_a_container_left_is_removed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    cache.write(&key("net1"), &entry()).unwrap();
    for temp in [".tmp-net-a-c1-net1-01234567", ".tmp-net-b-c1-net2-76543210", ".tmp-net-a-c2-net1-01234567"]
    {
        std::fs::File::create(folder.path().join(temp)).unwrap();
    }
    cache.remove_leftovers(&key("net1").container_id).unwrap();
    let entries = std::fs::read_dir(folder.path()).unwrap();
    let mut left: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".tmp-net-a-c2-net1-01234567", "net-a-c1-net1"]);
    Cache::new(&folder.path().join("missing")).remove_leftovers(&key("net1").container_id).unwrap();
}

#[test]
fn a_file_has_the_name_and_keys_of_libcni() {
    let folder = tempfile::tempdir().unwrap();
    Cache::new(folder.path()).write(&key("net1"), &entry()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("net-a-c1-net1")).unwrap();
    let want = json!({"kind": "cniCacheV1", "containerId": "c1", "config": "eyJuYW1lIjoibmV0LWEifQ==", "ifName": "net1",
        "networkName": "net-a", "netns": "/run/netns/x", "cniArgs": [["A", "1"], ["B", "2"]],
        "capabilityArgs": {"ips": ["10.0.0.1"]}, "result": {"cniVersion": "1.0.0"}});
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), want);
}

#[test]
fn a_torn_file_is_no_entry_and_a_bare_result_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let file = folder.path().join("net-a-c1-net1");
    files::replace(&file, b"{\"kind\":\"cniCa").unwrap();
    assert_eq!(cache.read(&key("net1")).unwrap(), None);
    files::replace(&file, br#"{"cniVersion":"0.4.0","ips":[]}"#).unwrap();
    assert_eq!(
        cache.read(&key("net1")).unwrap().unwrap().result,
        Some(json!({"cniVersion": "0.4.0", "ips": []}))
    );
}

#[test]
fn the_entries_of_a_container_are_found_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    for name in ["net2", "net1"] {
        cache.write(&key(name), &entry()).unwrap();
    }
    let other = Key { container_id: ContainerId::parse("x-c1-y").unwrap(), ..key("net1") };
    cache.write(&other, &entry()).unwrap();
    let found = cache.of_container(&ContainerId::parse("c1").unwrap());
    let found: Vec<Key> = found.into_iter().map(Result::unwrap).collect();
    assert_eq!(found, [key("net1"), key("net2")]);
}

#[test]
fn a_file_over_the_limit_is_an_error_with_its_path_and_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path());
    cache.write(&key("net1"), &entry()).unwrap();
    let path = folder.path().join("net-a-c1-net2");
    // A sparse file: it takes no space, and reads as zeros.
    std::fs::File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    let want = format!("{} is larger than 16777216 bytes", path.display());
    let error = cache.read(&key("net2")).unwrap_err().to_string();
    assert!(error.starts_with(&want), "{error}");
    let found = cache.of_container(&ContainerId::parse("c1").unwrap());
    let (keys, errors): (Vec<_>, Vec<_>) = found.into_iter().partition(Result::is_ok);
    assert_eq!(keys.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [key("net1")]);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].as_ref().unwrap_err().to_string().starts_with(&want));
}
