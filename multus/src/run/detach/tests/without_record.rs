//! DEL of a sandbox whose record is lost or damaged, while the API server has the pod and its definitions.

use super::*;

fn api() -> FakeApi {
    let nad = |plugin: &str| json!({"cniVersion": "1.0.0", "type": plugin, "capabilities": {"ips": true}});
    let networks = json!([{"name": "a", "ips": ["10.1.0.9"]}, {"name": "gone"}, {"name": "b"}]).to_string();
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_nad("default/a", &nad("a"))
        .with_nad("default/b", &nad("b"))
}

#[test]
fn the_networks_that_the_pod_requests_are_deleted_if_all_files_are_gone() {
    let bench = Bench::new();
    bench.del_asking(&api()).unwrap();
    let calls = bench.calls();
    let heads: Vec<String> =
        calls.iter().map(|(head, _)| head.split(' ').take(4).collect::<Vec<_>>().join(" ")).collect();
    // The definition that is gone keeps its number.
    assert_eq!(heads, ["b DEL c1 net3", "a DEL c1 net1", "main DEL c1 eth0"]);
    assert_eq!(calls[1].1["runtimeConfig"], json!({"ips": ["10.1.0.9"]}));
    assert!(bench.own_files().is_empty());
}

#[test]
fn networks_with_a_cached_result_are_deleted_once_and_the_others_too() {
    let bench = attached();
    bench.write("cni/c1", "[{");
    std::fs::remove_file(bench.cached("a", "net1")).unwrap();
    let networks = json!([{"name": "a"}, {"name": "b", "interface": "data"}]).to_string();
    let nad = |plugin: &str| json!({"cniVersion": "1.0.0", "type": plugin});
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_nad("default/a", &nad("a"))
        .with_nad("default/b", &nad("b"));
    bench.del_asking(&api).unwrap();
    let mut verbs = bench.verbs();
    verbs.sort();
    assert_eq!(verbs, ["a DEL net1", "b DEL data", "main DEL eth0"]);
    assert_eq!(remains(&bench), 0);
}

#[test]
fn a_guess_that_fails_does_not_fail_del() {
    let bench = Bench::new();
    bench.script("a", &bench.fails("DEL", 120));
    bench.del_asking(&api()).unwrap();
    assert_eq!(bench.verbs(), ["b DEL net3", "a DEL net1", "main DEL eth0"]);
}

#[test]
fn a_pod_that_is_gone_or_replaced_is_no_evidence() {
    let (gone, replaced) = (api(), api());
    gone.delete_pod();
    replaced.edit_pod(|pod| pod["metadata"]["uid"] = "u-2".into());
    let unreachable = api();
    unreachable.refuse("GET", &[403]);
    for api in [gone, replaced, unreachable] {
        let bench = Bench::new();
        bench.del_asking(&api).unwrap();
        assert_eq!(bench.verbs(), ["main DEL eth0"]);
    }
}

#[test]
fn with_a_record_the_api_server_is_not_asked() {
    let bench = attached();
    let api = api();
    bench.del_asking(&api).unwrap();
    assert!(api.requests().is_empty());
}

#[test]
fn a_del_that_is_repeated_after_a_success_does_not_ask_the_api_server() {
    let bench = attached();
    let api = api();
    bench.del_asking(&api).unwrap();
    bench.calls();
    bench.del_again(&api).unwrap();
    assert_eq!(bench.verbs(), ["main DEL eth0"]);
    assert!(api.requests().is_empty());
}

#[test]
fn a_damaged_record_is_no_success_so_the_api_server_is_asked_even_after_a_reboot() {
    let bench = attached();
    bench.write("cni/c1", "[{");
    let api = api();
    bench.del_again(&api).unwrap();
    assert_eq!(api.requests().len(), 4);
    assert_eq!(remains(&bench), 0);
}
