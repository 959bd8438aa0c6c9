use serde_json::json;
use tempfile::TempDir;

use super::*;

fn folder(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(folder.path(), name, &content.to_string());
    }
    folder
}

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    node::files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
}

fn types(network: &Network) -> Vec<&str> {
    network.list.plugins.iter().map(|p| p.plugin_type.as_str()).collect()
}

#[test]
fn a_network_is_found_by_the_name_in_its_file_and_the_first_file_wins() {
    let folder = folder(&[
        ("30.conf", json!({"name": "a", "type": "late"})),
        ("20.json", json!({"NAME": "a", "type": "first"})),
        ("10.conflist", json!({"name": "b", "plugins": [{"type": "list"}]})),
        ("00.txt", json!("not read")),
    ]);
    assert_eq!(types(&by_name(folder.path(), "a").unwrap()), ["first"]);
    assert_eq!(by_name(folder.path(), "b").unwrap().label, "b");
}

#[test]
fn a_name_that_is_not_found_is_reported_in_upstreams_words() {
    let empty = tempfile::tempdir().unwrap();
    let shown = empty.path().display();
    assert_eq!(by_name(empty.path(), "a").unwrap_err().to_string(), format!("No networks found in {shown}"));
    assert_eq!(
        by_name(&empty.path().join("x"), "a").unwrap_err().to_string(),
        format!("No networks found in {shown}/x")
    );
    put(empty.path(), "1.conf", "{}");
    let error = by_name(empty.path(), "a").unwrap_err().to_string();
    assert_eq!(error, format!("no network available in the name a in cni dir {shown}"));
    put(empty.path(), "0.conflist", "{");
    let error = by_name(empty.path(), "a").unwrap_err().to_string();
    assert!(error.starts_with(&format!("Error loading CNI conflist file {shown}/0.conflist: ")), "{error}");
}

#[test]
fn a_list_by_path_has_the_plugins_of_its_drop_in_directory() {
    let list =
        |only: bool| json!({"name": "net", "loadOnlyInlinedPlugins": only, "plugins": [{"type": "a"}]});
    let folder = folder(&[
        ("open.conflist", list(false)),
        ("closed.conflist", list(true)),
        ("net/20.conf", json!({"type": "c"})),
        ("net/10.conf", json!({"type": "b"})),
        ("net/15.json", json!({"type": "not taken"})),
    ]);
    assert_eq!(types(&by_path(&folder.path().join("open.conflist")).unwrap()), ["a", "b", "c"]);
    assert_eq!(types(&by_path(&folder.path().join("closed.conflist")).unwrap()), ["a"]);
}

#[test]
fn an_auxiliary_chain_has_passthru_before_the_plugins_of_its_folder() {
    let folder = folder(&[
        ("vendor/20.conf", json!({"type": "b"})),
        ("vendor/10.conf", json!({"type": "a", "key": 1})),
        ("vendor/15.json", json!({"type": "not taken"})),
        ("empty/15.json", json!({"type": "not taken"})),
        ("wrong/15.conf", json!(3)),
    ]);
    let read = |name: &str| {
        auxiliary(&folder.path().join(name), &NetworkName::parse(name).unwrap(), Version::V0_3_1)
    };
    let network = read("vendor").unwrap().unwrap();
    assert_eq!((network.label.as_str(), types(&network)), ("vendor", vec!["passthru", "a", "b"]));
    assert_eq!((network.list.cni_version, network.list.check), (Version::V0_3_1, cni::list::Allowed::No));
    assert_eq!(network.list.plugins[1].object["key"], 1);
    assert_eq!((read("empty").unwrap(), read("missing").unwrap()), (None, None));
    // Otherwise the pod would run without a plugin of the node's.
    assert!(matches!(read("wrong"), Err(OnDiskError::Unusable { .. })));
}

#[test]
fn the_path_of_a_directory_means_its_first_file() {
    let folder = folder(&[
        ("20.conf", json!({"name": "b", "type": "b"})),
        ("10.json", json!({"name": "a", "type": "a"})),
    ]);
    assert_eq!(types(&by_path(folder.path()).unwrap()), ["a"]);
}

#[test]
fn a_path_without_a_network_is_reported() {
    let folder = folder(&[
        ("a.conf", json!({"name": "a"})),
        ("b.conflist", json!({"name": "../x", "plugins": [{"type": "a"}]})),
    ]);
    for (name, want) in [
        ("a.conf", "Error loading CNI config file"),
        ("b.conflist", "invalid characters found in network name"),
        ("missing.conf", "No such file"),
    ] {
        let error = by_path(&folder.path().join(name)).unwrap_err().to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
    let error = by_path(&tempfile::tempdir().unwrap().path().join("")).unwrap_err();
    assert!(matches!(error, OnDiskError::NoFile { .. }), "{error}");
}
