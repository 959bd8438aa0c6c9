//! DEL against scripted plugins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni::{CniError, Code};
use serde_json::{Value, json};

use super::*;
use crate::testing::{Bench, FakeApi};

mod always_ends;
mod without_record;

/// A bench on which `main`, `a` and `b` are attached.
fn attached() -> Bench {
    let bench = Bench::new();
    let nad = |plugin: &str| json!({"cniVersion": "1.0.0", "type": plugin, "capabilities": {"ips": true}});
    let networks =
        json!([{"name": "a", "ips": ["10.1.0.9"]}, {"name": "b", "interface": "data"}]).to_string();
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_nad("default/a", &nad("a"))
        .with_nad("default/b", &nad("b"));
    bench.add(Some(&api)).unwrap();
    bench.calls();
    bench
}

fn remains(bench: &Bench) -> usize {
    let results = std::fs::read_dir(bench.path().join("cni/results")).map_or(0, Iterator::count);
    results + usize::from(bench.record().exists())
}

#[test]
fn del_runs_in_reverse_with_the_arguments_of_add_and_leaves_nothing() {
    let bench = attached();
    bench.del().unwrap();
    let calls = bench.calls();
    let args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;EXTRA=e";
    let heads: Vec<&str> = calls.iter().map(|(head, _)| head.as_str()).collect();
    assert_eq!(
        heads,
        [
            format!("b DEL c1 data {args}"),
            format!("a DEL c1 net1 {args}"),
            format!("main DEL c1 eth0 {args}")
        ]
    );
    assert_eq!(calls[1].1["runtimeConfig"], json!({"ips": ["10.1.0.9"]}));
    assert_eq!(calls[1].1["prevResult"]["ips"][0]["address"], "10.1.0.1/16");
    assert_eq!(remains(&bench), 0);
}

#[test]
fn del_goes_on_after_failures_reports_them_and_can_be_repeated() {
    let bench = attached();
    for plugin in ["a", "main"] {
        bench.script(plugin, &bench.fails("DEL", 120));
    }
    let error = bench.del().unwrap_err();
    assert_eq!(error.code, Code::Other(120));
    assert_eq!(
        error.msg,
        "[default/pod0/u-1:a]: error removing container from network \"a\": plugin type=\"a\" name=\"a\" failed (delete): no DEL / \
         [default/pod0/u-1:main]: error removing container from network \"main\": plugin type=\"main\" name=\"main\" failed (delete): no DEL"
    );
    assert_eq!(bench.verbs(), ["b DEL data", "a DEL net1", "main DEL eth0"]);
    assert!(bench.record().exists());
    for plugin in ["a", "main"] {
        bench.script(plugin, "exit 0");
    }
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["b DEL data", "a DEL net1", "main DEL eth0"]);
    assert_eq!(remains(&bench), 0);
}

#[test]
fn a_missing_plugin_of_an_attached_network_fails_del() {
    let bench = attached();
    std::fs::remove_file(bench.path().join("a")).unwrap();
    let error = bench.del().unwrap_err();
    assert!(error.msg.contains("failed to find plugin \"a\""), "{error}");
    assert!(bench.record().exists());
}

#[test]
fn del_without_a_record_uses_the_cached_results() {
    let lost = attached();
    std::fs::remove_file(lost.record()).unwrap();
    let damaged = attached();
    damaged.write("cni/c1", "[{");
    for bench in [lost, damaged] {
        bench.del().unwrap();
        let calls = bench.calls();
        let mut heads: Vec<String> =
            calls.iter().map(|(head, _)| head.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
        heads.sort();
        assert_eq!(heads, ["a DEL c1 net1", "b DEL c1 data", "main DEL c1 eth0"]);
        let a = calls.iter().find(|(head, _)| head.starts_with("a ")).unwrap();
        assert_eq!(a.1["runtimeConfig"], json!({"ips": ["10.1.0.9"]}));
        assert_eq!(remains(&bench), 0);
    }
}

#[test]
fn a_network_that_another_program_attached_later_is_deleted_first() {
    let bench = attached();
    let entry = std::fs::read_to_string(bench.cached("b", "data")).unwrap();
    bench.write("cni/results/b-c1-hot", &entry.replace("\"ifName\":\"data\"", "\"ifName\":\"hot\""));
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["b DEL hot", "b DEL data", "a DEL net1", "main DEL eth0"]);
    assert_eq!(remains(&bench), 0);
}

#[test]
fn the_result_of_multus_itself_in_the_cache_stays() {
    let bench = Bench::new();
    let entry = json!({"kind": "cniCacheV1", "containerId": "c1", "ifName": "eth0", "networkName": "multus-cni-network",
        "config": STANDARD.encode(bench.conf.to_string()), "result": {"cniVersion": "1.0.0"}});
    bench.write("cni/results/multus-cni-network-c1-eth0", &entry.to_string());
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
    assert!(bench.cached("multus-cni-network", "eth0").exists());
}

#[test]
fn a_repeated_del_runs_the_networks_of_the_configuration() {
    let bench = attached();
    bench.del().unwrap();
    bench.calls();
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
}

#[test]
fn del_of_an_unknown_sandbox_succeeds() {
    let mut bench = Bench::new();
    for (key, value) in [
        ("clusterNetwork", json!("main")),
        ("clusterNetwork", json!("/nowhere/x.conflist")),
        ("delegates", json!([{"bad": 1}])),
    ] {
        let mut conf = bench.conf.as_object().unwrap().clone();
        conf.insert(key.to_owned(), value);
        let old = std::mem::replace(&mut bench.conf, Value::Object(conf));
        bench.del().unwrap();
        assert!(bench.verbs().is_empty());
        bench.conf = old;
    }
}

#[test]
fn a_repeated_del_runs_a_cluster_network_that_is_a_file() {
    let mut bench = Bench::new();
    bench.write("net.conflist", r#"{"cniVersion":"1.0.0","name":"main","plugins":[{"type":"main"}]}"#);
    bench.conf["clusterNetwork"] = json!(bench.path().join("net.conflist"));
    bench.conf["defaultNetworks"] = json!(["x"]);
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
}

#[test]
fn del_needs_neither_api_server_nor_kubeconfig_nor_args() {
    let mut bench = attached();
    bench.conf["kubeconfig"] = json!("/nowhere/kubeconfig");
    bench.conf["delegates"] = json!([]);
    bench.del_with(&CniArgs::default()).unwrap();
    let calls = bench.calls();
    // The record has the pod.
    assert_eq!(
        calls[0].0,
        "b DEL c1 data IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_UID=u-1"
    );
    assert_eq!((calls.len(), remains(&bench)), (3, 0));
}

#[test]
fn the_record_of_upstream_suffices_for_del() {
    let bench = Bench::new();
    let list = json!({"cniVersion": "0.3.1", "name": "kindnet", "plugins": [{"type": "main", "extra": 1}]});
    let single = json!({"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "a"});
    let record = json!([
        {"Conf": {}, "ConfList": {"plugins": [{"type": "main"}]}, "Name": "kindnet", "Bytes": STANDARD.encode(list.to_string())},
        {"Conf": {"type": "a"}, "ConfList": {}, "Name": "default/macvlan-conf", "Bytes": STANDARD.encode(single.to_string())}]);
    bench.write("cni/c1", &record.to_string());
    bench.del().unwrap();
    let calls = bench.calls();
    let heads: Vec<String> =
        calls.iter().map(|(head, _)| head.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(heads, ["a DEL c1 net1", "main DEL c1 eth0"]);
    assert_eq!((&calls[1].1["extra"], &calls[1].1["name"]), (&json!(1), &json!("kindnet")));
    assert_eq!(remains(&bench), 0);
}

#[test]
fn a_plugin_that_hangs_leaves_time_for_the_others() {
    let bench = attached();
    bench.script("b", "exec sleep 60");
    let call = bench.call();
    let conf = Conf::read(&call).unwrap();
    let attachment = bench.attachment();
    let deadline = Deadline::after(std::time::Duration::from_millis(1500));
    let detach = Detach {
        conf: &conf,
        container_id: &attachment.container_id,
        if_name: &attachment.if_name,
        netns: "",
        args: &call.args,
        now: &bench.now,
        cluster: &(),
        deadline,
    };
    let error: CniError = detach.run().unwrap_err().to_cni();
    assert!(error.msg.contains("was killed") && !error.msg.contains(" / "), "{error}");
    assert_eq!(bench.verbs(), ["b DEL data", "a DEL net1", "main DEL eth0"]);
    assert!(bench.record().exists());
}
