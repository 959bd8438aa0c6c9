//! Lists in files, their version and their plugins: the cases `conf` of the reference implementation's `libcni`. multus reads such files for
//! networks that an annotation or a NetworkAttachmentDefinition names by file.

use std::path::Path;

use cni::list::Allowed;
use cni::{CniError, Code, Version};
use multus::network::{Network, OnDiskError, by_name, by_path};
use serde_json::{Map, Value, json};

use crate::protocol::list_bench::{parse, three};

fn put(folder: &Path, name: &str, content: impl ToString) {
    use std::io::Write;
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::File::create(path).unwrap().write_all(content.to_string().as_bytes()).unwrap();
}

fn types(network: &Network) -> Vec<&str> {
    network.list.plugins.iter().map(|plugin| plugin.plugin_type.as_str()).collect()
}

#[test]
fn conf_a_network_is_found_in_conf_json_and_conflist_files() {
    for (file, content) in [
        ("50-whatever.conf", json!({"name": "some-plugin", "type": "a"})),
        ("50-whatever.json", json!({"name": "some-plugin", "type": "a"})),
        ("50-whatever.conflist", json!({"name": "some-plugin", "plugins": [{"type": "a"}]})),
    ] {
        let folder = tempfile::tempdir().unwrap();
        put(folder.path(), file, content);
        put(folder.path(), "10-other.conf", json!({"name": "other", "type": "b"}));
        assert_eq!(types(&by_name(folder.path(), "some-plugin").unwrap()), ["a"], "{file}");
    }
}

/// libcni searches all lists first. Runtimes take the first file by name, and so does multus.
#[test]
fn conf_of_two_files_with_one_name_the_first_wins() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "10.conf", json!({"name": "n", "type": "of-conf"}));
    put(folder.path(), "20.conflist", json!({"name": "n", "plugins": [{"type": "of-list"}]}));
    assert_eq!(types(&by_name(folder.path(), "n").unwrap()), ["of-conf"]);
    put(folder.path(), "05.conflist", json!({"name": "n", "plugins": [{"type": "of-list"}]}));
    assert_eq!(types(&by_name(folder.path(), "n").unwrap()), ["of-list"]);
}

#[test]
fn conf_an_empty_folder_and_a_missing_name_are_different_errors() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("nowhere")] {
        assert!(matches!(by_name(&path, "n"), Err(OnDiskError::Empty { .. })));
    }
    put(folder.path(), "10.conf", json!({"name": "other", "type": "a"}));
    assert!(matches!(by_name(folder.path(), "n"), Err(OnDiskError::NoSuchNetwork { .. })));
}

#[test]
fn conf_subfolders_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "deeper/10.conf", json!({"name": "n", "type": "a"}));
    std::fs::create_dir(folder.path().join("20.conf")).unwrap();
    assert!(matches!(by_name(folder.path(), "n"), Err(OnDiskError::Empty { .. })));
}

#[test]
fn conf_a_malformed_file_is_an_error_only_if_it_comes_before_the_wanted_one() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "20.conf", json!({"name": "n", "type": "a"}));
    put(folder.path(), "30.conf", "{");
    assert_eq!(types(&by_name(folder.path(), "n").unwrap()), ["a"]);
    put(folder.path(), "10.conf", "{ bad json }");
    assert!(matches!(by_name(folder.path(), "n"), Err(OnDiskError::Unusable { .. })));
}

#[test]
fn conf_the_error_of_an_invalid_list_says_what_is_wrong() {
    for (bad, code, text) in [
        (json!({"plugins": [{"type": "a"}]}), Code::InvalidConfig, "no name"),
        (json!({"name": 7, "plugins": [{"type": "a"}]}), Code::Decoding, "invalid name type"),
        (json!({"name": "n", "plugins": []}), Code::InvalidConfig, "no plugins in list"),
        (json!({"name": "n"}), Code::InvalidConfig, "no plugins in list"),
        (json!({"name": "n", "plugins": "a"}), Code::Decoding, "invalid 'plugins' type"),
        (json!({"name": "n", "plugins": [{"some": "key"}]}), Code::InvalidConfig, "missing 'type'"),
        (json!({"name": "n", "plugins": [{"type": ""}]}), Code::InvalidConfig, "plugin name"),
    ] {
        let error: CniError = parse(&bad).unwrap_err();
        assert_eq!(error.code, code, "{bad}");
        assert!(error.msg.contains(text), "{bad}: {error}");
    }
}

#[test]
fn conf_a_boolean_may_be_text_in_any_case() {
    for (value, want) in [
        (json!(true), Allowed::No),
        (json!("true"), Allowed::No),
        (json!("TrUe"), Allowed::No),
        (json!(false), Allowed::Yes),
        (json!("False"), Allowed::Yes),
        (Value::Null, Allowed::Yes),
    ] {
        let mut list = three("1.1.0");
        (list["disableCheck"], list["disableGC"]) = (value.clone(), value.clone());
        let list = parse(&list).unwrap();
        assert_eq!((list.check, list.gc), (want, want), "{value}");
    }
    for key in ["disableCheck", "disableGC"] {
        for bad in [json!("adsf"), json!(1), json!([])] {
            let mut list = three("1.1.0");
            list[key] = bad.clone();
            assert_eq!(parse(&list).unwrap_err().code, Code::Decoding, "{key} {bad}");
        }
    }
}

/// The plugins of the list `some-list` that has these keys, with these files beside it. A file `some-list/x.conf` holds the plugin `x`.
fn with_files(list: Value, files: &[&str]) -> Result<Vec<String>, OnDiskError> {
    let folder = tempfile::tempdir().unwrap();
    let mut object = json!({"name": "some-list", "cniVersion": "1.0.0"});
    object.as_object_mut().unwrap().extend(list.as_object().unwrap().clone());
    put(folder.path(), "some-list.conflist", object);
    for file in files {
        let name = Path::new(file).file_stem().unwrap().to_str().unwrap();
        put(folder.path(), file, json!({"type": name}));
    }
    let network = by_path(&folder.path().join("some-list.conflist"))?;
    Ok(types(&network).into_iter().map(str::to_owned).collect())
}

#[test]
fn conf_load_only_inlined_plugins_decides_whether_the_folder_is_read() {
    let inlined = |only: Value| json!({"plugins": [{"type": "in-list"}], "loadOnlyInlinedPlugins": only});
    let files = ["some-list/20-late.conf", "some-list/10-early.conf"];
    for (what, list, files, wanted) in [
        (
            "merged",
            json!({"plugins": [{"type": "in-list"}]}),
            &files[..],
            &["in-list", "10-early", "20-late"][..],
        ),
        ("merged when false", inlined(json!(false)), &files, &["in-list", "10-early", "20-late"]),
        ("ignored when true", inlined(json!(true)), &files, &["in-list"]),
        ("ignored when true as text", inlined(json!("True")), &files, &["in-list"]),
        ("no plugins key", json!({}), &files, &["10-early", "20-late"]),
        ("an empty list of plugins", json!({"plugins": []}), &files, &["10-early", "20-late"]),
        ("no folder", inlined(json!(false)), &[], &["in-list"]),
        (
            "nothing fitting in the folder",
            inlined(json!(false)),
            &["some-list/a.json", "some-list/b.conflist"],
            &["in-list"],
        ),
        ("another list's folder", inlined(json!(false)), &["other-list/a.conf"], &["in-list"]),
    ] {
        assert_eq!(with_files(list, files).unwrap(), wanted, "{what}");
    }
    for (what, list, files) in [
        ("true, and no plugins key", json!({"loadOnlyInlinedPlugins": true}), &files[..]),
        ("no plugins anywhere", json!({}), &[]),
        ("plugins of another type", json!({"plugins": "in-list"}), &files),
    ] {
        assert!(matches!(with_files(list, files), Err(OnDiskError::Unusable { .. })), "{what}");
    }
}

#[test]
fn inject_conf_replaces_name_version_and_result() {
    let list = parse(&json!({"name": "new-name", "cniVersion": "1.0.0", "plugins": [
        {"type": "a", "name": "old", "cniVersion": "0.1.0", "prevResult": {"old": 1}, "other": {"deep": [1, 2]},
            "runtimeConfig": {"mac": "of the conf"}}]}))
    .unwrap();
    let request = list.plugins[0].request(&list, &Map::new(), Some(&json!({"new": 1})));
    assert_eq!(
        Value::Object(request),
        json!({"type": "a", "name": "new-name", "cniVersion": "1.0.0", "prevResult": {"new": 1},
            "other": {"deep": [1, 2]}, "runtimeConfig": {"mac": "of the conf"}})
    );
}

#[test]
fn inject_conf_replaces_keys_in_any_case() {
    let list = parse(&json!({"name": "n", "cniVersion": "1.0.0", "plugins": [
        {"TYPE": "a", "NAME": "old", "CNIVersion": "0.1.0", "PrevResult": {"old": 1}}]}))
    .unwrap();
    let request = list.plugins[0].request(&list, &Map::new(), Some(&json!({"new": 1})));
    let mut keys: Vec<String> = request.keys().map(|key| key.to_ascii_lowercase()).collect();
    keys.sort();
    assert_eq!(keys, ["cniversion", "name", "prevresult", "type"]);
    assert_eq!((&request["name"], &request["prevResult"]), (&json!("n"), &json!({"new": 1})));
}

#[test]
fn inject_conf_keeps_large_numbers_exact() {
    let list =
        parse(&json!({"name": "n", "plugins": [{"type": "a", "big": 9_007_199_254_740_993_u64}]})).unwrap();
    let request = list.plugins[0].request(&list, &Map::new(), None);
    assert_eq!(request["big"].to_string(), "9007199254740993");
}

#[test]
fn version_selection_takes_the_newest_known_one() {
    for (versions, wanted) in [
        (json!({}), Version::V0_1_0),
        (json!({"cniVersion": "0.4.0"}), Version::V0_4_0),
        (json!({"cniVersions": ["1.1.0", "0.3.1"]}), Version::V1_1_0),
        (json!({"cniVersion": "0.4.0", "cniVersions": []}), Version::V0_4_0),
        (json!({"cniVersion": "1.0.0", "cniVersions": ["0.4.0", "0.3.1"]}), Version::V1_0_0),
        (json!({"cniVersion": "0.4.0", "cniVersions": ["0.4.0", "99.0.0"]}), Version::V0_4_0),
    ] {
        let mut list = json!({"name": "n", "plugins": [{"type": "a"}]});
        list.as_object_mut().unwrap().extend(versions.as_object().unwrap().clone());
        assert_eq!(parse(&list).unwrap().cni_version, wanted, "{versions}");
    }
}

#[test]
fn version_selection_refuses_an_invalid_version() {
    for (versions, code) in [
        (json!({"cniVersions": ["0.4.0", "banana"]}), Code::IncompatibleVersion),
        (json!({"cniVersions": "0.4.0"}), Code::Decoding),
        (json!({"cniVersions": [4]}), Code::Decoding),
        (json!({"cniVersion": 4}), Code::Decoding),
        (json!({"cniVersion": "99.0.0"}), Code::IncompatibleVersion),
    ] {
        let mut list = json!({"name": "n", "plugins": [{"type": "a"}]});
        list.as_object_mut().unwrap().extend(versions.as_object().unwrap().clone());
        assert_eq!(parse(&list).unwrap_err().code, code, "{versions}");
    }
}

#[test]
fn up_convert_a_conf_becomes_a_list_of_one() {
    let conf = json!({"name": "n", "cniVersion": "0.3.1", "type": "a", "other": 1});
    let list = parse(&conf).unwrap();
    assert_eq!((list.name.as_str(), list.cni_version, list.plugins.len()), ("n", Version::V0_3_1, 1));
    assert_eq!(Value::Object(list.plugins[0].request(&list, &Map::new(), None)), conf);
    assert_eq!((list.check, list.gc), (Allowed::Yes, Allowed::Yes));
}
