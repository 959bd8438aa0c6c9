//! A list of one plugin: the cases "capabilities", `AddNetwork`, `CheckNetwork` and `DelNetwork` of the reference implementation's `libcni`.

use cni::{Code, Version};
use serde_json::{Value, json};

use crate::protocol::list_bench::{ListBench, result, single};

const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

#[test]
fn capabilities_that_are_declared_and_given_are_injected() {
    let mut conf = single("1.0.0");
    conf["capabilities"] = json!({"ips": true, "portMappings": true, "mac": false});
    let bench = ListBench::new(conf.clone());
    bench.chain().add().unwrap();
    conf["runtimeConfig"] = json!({"ips": ["10.1.2.9/24"]});
    assert_eq!(bench.calls(), [("first ADD".to_owned(), conf)]);
}

#[test]
fn capabilities_without_a_declared_one_add_no_runtime_config() {
    for capabilities in [json!({}), json!({"ips": false}), json!({"portMappings": true}), Value::Null] {
        let mut conf = single("1.0.0");
        conf["capabilities"] = capabilities.clone();
        let bench = ListBench::new(conf);
        bench.chain().add().unwrap();
        assert_eq!(bench.calls()[0].1.get("runtimeConfig"), None, "{capabilities}");
    }
}

#[test]
fn add_network_runs_the_plugin_and_returns_its_result_in_every_version() {
    for version in VERSIONS {
        let bench = ListBench::new(single(version));
        let added = bench.chain().add().unwrap();
        assert_eq!(added.value(), &result(version, "first"));
        assert_eq!(bench.calls(), [("first ADD".to_owned(), single(version))]);
        assert!(bench.cached().exists());
    }
}

#[test]
fn add_network_passes_the_variables() {
    let bench = ListBench::new(single("1.0.0"));
    let file = bench.folder.path().join("env");
    bench.script("first", &format!("env > {}\necho '{{}}'", file.display()));
    bench.chain().add().unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let path = format!("CNI_PATH={}", bench.path.to_text());
    for line in [
        "CNI_COMMAND=ADD",
        "CNI_CONTAINERID=some-container",
        "CNI_NETNS=/some/netns/path",
        "CNI_IFNAME=net1",
        "CNI_ARGS=IgnoreUnknown=1;A=1",
        &path,
    ] {
        assert!(text.lines().any(|has| has == line), "{line} is not in {text}");
    }
}

#[test]
fn add_network_names_a_missing_plugin() {
    let bench = ListBench::new(single("1.0.0"));
    std::fs::remove_file(bench.folder.path().join("first")).unwrap();
    let error = bench.chain().add().unwrap_err();
    let text =
        "plugin type=\"first\" name=\"some-list\" failed (add): failed to find plugin \"first\" in path [";
    assert!(error.msg.starts_with(text), "{error}");
}

#[test]
fn add_network_returns_the_plugins_error_with_its_code() {
    let bench = ListBench::new(single("1.0.0"));
    bench.fail("first", 120, "plugin error: banana");
    let error = bench.chain().add().unwrap_err();
    assert_eq!(error.code, Code::Other(120));
    assert_eq!(error.msg, "plugin type=\"first\" name=\"some-list\" failed (add): plugin error: banana");
}

#[test]
fn add_network_fails_when_the_cache_cannot_be_written() {
    let bench = ListBench::new(single("1.0.0"));
    std::fs::File::create(bench.folder.path().join("results")).unwrap();
    let error = bench.chain().add().unwrap_err();
    assert_eq!(error.code, Code::Io);
    assert!(error.msg.starts_with("failed to set network \"some-list\" cached result: "), "{error}");
}

#[test]
fn check_network_is_refused_before_0_4_0() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1"] {
        let bench = ListBench::new(single(version));
        let error = bench.chain().check().unwrap_err();
        let text = format!("configuration version {version:?} does not support the CHECK command");
        assert_eq!((error.code, error.msg), (Code::IncompatibleVersion, text));
        assert!(bench.called().is_empty());
    }
}

#[test]
fn check_network_sends_the_cached_result_instead_of_the_confs() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let mut conf = single(version);
        conf["prevResult"] = result(version, "of the conf");
        let bench = ListBench::new(conf);
        bench.chain().add().unwrap();
        bench.calls();
        bench.chain().check().unwrap();
        let calls = bench.calls();
        assert_eq!(calls[0].0, "first CHECK");
        assert_eq!(calls[0].1["prevResult"], result(version, "first"));
    }
}

/// libcni fails instead. In ours a plugin that needs the result fails by itself ("required prevResult missing").
#[test]
fn check_network_with_an_invalid_cache_sends_no_result() {
    for text in ["adfadsfasdfasfdsafaf", "{", "[]", "", r#"{"kind": "cniCacheV9"}"#] {
        let bench = ListBench::new(single("1.0.0"));
        bench.put_cached(text);
        bench.chain().check().unwrap();
        assert_eq!(bench.calls(), [("first CHECK".to_owned(), single("1.0.0"))], "{text}");
    }
}

#[test]
fn check_network_converts_a_cached_result_to_the_confs_version() {
    for of_cache in VERSIONS {
        let bench = ListBench::new(single("1.0.0"));
        bench.put_cached_result(&result(of_cache, "cached"));
        bench.chain().check().unwrap();
        assert_eq!(bench.calls()[0].1["prevResult"], result("1.0.0", "cached"), "{of_cache}");
        // The oldest form of a cache file is the bare result.
        bench.put_cached(&result(of_cache, "bare").to_string());
        bench.chain().check().unwrap();
        assert_eq!(bench.calls()[0].1["prevResult"], result("1.0.0", "bare"), "{of_cache}");
    }
}

/// libcni fails instead, see above.
#[test]
fn check_network_sends_no_cached_result_that_cannot_be_converted() {
    for cached in [json!({"cniVersion": "0.4567.0"}), json!({"cniVersion": "1.0.0", "ips": 7}), json!("x")] {
        let bench = ListBench::new(single("0.4.0"));
        bench.put_cached_result(&cached);
        bench.chain().check().unwrap();
        assert_eq!(bench.calls(), [("first CHECK".to_owned(), single("0.4.0"))], "{cached}");
    }
}

#[test]
fn del_network_twice_removes_the_cached_result_once() {
    let bench = ListBench::new(single("1.0.0"));
    bench.chain().add().unwrap();
    assert!(bench.cached().exists());
    for _ in 0..2 {
        bench.chain().del().unwrap();
        assert!(!bench.cached().exists());
    }
    assert_eq!(bench.called(), ["first ADD", "first DEL", "first DEL"]);
}

#[test]
fn del_network_sends_the_cached_result_since_0_4_0() {
    for version in VERSIONS {
        let bench = ListBench::new(single(version));
        bench.chain().add().unwrap();
        bench.calls();
        bench.chain().del().unwrap();
        let wanted =
            (version.parse::<Version>().unwrap() >= Version::V0_4_0).then(|| result(version, "first"));
        assert_eq!(bench.calls()[0].1.get("prevResult"), wanted.as_ref(), "{version}");
    }
}

#[test]
fn del_network_with_an_unusable_cache_sends_no_result() {
    for text in [
        "adfadsfasdfasfdsafaf",
        "",
        r#"{"cniVersion": "0.4567.0"}"#,
        r#"{"kind": "cniCacheV1", "containerId": "some-container", "ifName": "net1", "networkName": "some-list",
            "result": {"cniVersion": "0.4567.0"}}"#,
    ] {
        let bench = ListBench::new(single("0.4.0"));
        bench.put_cached(text);
        bench.chain().del().unwrap();
        assert_eq!(bench.calls(), [("first DEL".to_owned(), single("0.4.0"))], "{text}");
        assert!(!bench.cached().exists(), "{text}");
    }
}

#[test]
fn del_network_that_fails_keeps_the_cached_result() {
    let bench = ListBench::new(single("1.0.0"));
    bench.chain().add().unwrap();
    bench.fail("first", 11, "not yet");
    let error = bench.chain().del().unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert_eq!(error.msg, "plugin type=\"first\" name=\"some-list\" failed (delete): not yet");
    std::fs::remove_file(bench.folder.path().join("first")).unwrap();
    assert!(bench.chain().del().unwrap_err().msg.contains("failed to find plugin \"first\""));
    assert!(bench.cached().exists());
}
