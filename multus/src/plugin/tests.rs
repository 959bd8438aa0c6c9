//! The verbs, as the runtime calls them.

use serde_json::{Value, json};

use super::*;
use crate::testing::Bench;

fn run(bench: &Bench, verb: &str) -> Result<Value, Value> {
    run_plugin(&Multus::default(), bench, verb)
}

fn run_plugin(plugin: &dyn Plugin, bench: &Bench, verb: &str) -> Result<Value, Value> {
    let netns = bench.netns.path().to_str().unwrap().to_owned();
    let lookup = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => verb,
            "CNI_CONTAINERID" => "c1",
            "CNI_IFNAME" => "eth0",
            "CNI_NETNS" => &netns,
            "CNI_ARGS" => "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;IP=10.0.0.7",
            "CNI_PATH" => "/nowhere",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let stdin = bench.conf.to_string();
    let exit = cni::plugin::run(plugin, &lookup, &mut stdin.as_bytes(), &mut stdout, &mut stderr);
    let value = serde_json::from_slice(&stdout).unwrap_or_default();
    if format!("{exit:?}") == format!("{:?}", std::process::ExitCode::SUCCESS) {
        Ok(value)
    } else {
        Err(value)
    }
}

fn bench(version: &str) -> Bench {
    let mut bench = Bench::new();
    bench.conf["cniVersion"] = version.into();
    bench.conf["delegates"][0]["cniVersion"] = version.into();
    bench
}

#[test]
fn add_check_and_del_without_an_api_server() {
    let bench = bench("1.0.0");
    let result = run(&bench, "ADD").unwrap();
    assert_eq!(
        (&result["cniVersion"], &result["ips"][0]["address"]),
        (&json!("1.0.0"), &json!("10.0.0.1/8"))
    );
    run(&bench, "CHECK").unwrap();
    run(&bench, "DEL").unwrap();
    assert_eq!(bench.verbs(), ["main ADD eth0", "main CHECK eth0", "main DEL eth0"]);
}

#[test]
fn an_address_that_the_runtime_requests_is_for_the_add_of_the_default_network_only() {
    let mut bench = bench("1.0.0");
    let b = json!({"cniVersion": "1.0.0", "name": "b", "type": "b"});
    bench.conf["delegates"].as_array_mut().unwrap().push(b);
    run(&bench, "ADD").unwrap();
    run(&bench, "DEL").unwrap();
    let calls = bench.calls();
    let with_ip = calls.iter().filter(|(head, _)| head.contains("IP=10.0.0.7"));
    let verbs: Vec<&str> = with_ip.map(|(head, _)| head.split(" c1").next().unwrap()).collect();
    assert_eq!((calls.len(), verbs), (4, vec!["main ADD"]));
}

#[test]
fn the_result_has_the_version_of_the_configuration() {
    let mut bench = bench("1.0.0");
    bench.conf["cniVersion"] = "0.2.0".into();
    let result = run(&bench, "ADD").unwrap();
    assert_eq!((&result["cniVersion"], &result["ip4"]["ip"]), (&json!("0.2.0"), &json!("10.0.0.1/8")));
}

#[test]
fn a_kubeconfig_that_cannot_be_used_fails_add_but_not_del() {
    let mut bench = bench("1.0.0");
    bench.conf["kubeconfig"] = "/nowhere/kubeconfig".into();
    let error = run(&bench, "ADD").unwrap_err();
    assert_eq!(error["code"], 11);
    assert!(error["msg"].as_str().unwrap().starts_with("kubeconfig /nowhere/kubeconfig: "), "{error}");
    assert!(bench.verbs().is_empty());
    run(&bench, "DEL").unwrap();
}

#[test]
fn a_malformed_kubeconfig_is_a_wrong_configuration_and_fails_add_at_once() {
    let mut bench = bench("1.0.0");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    bench.conf["kubeconfig"] = path.to_str().unwrap().into();
    for (server, user) in [
        ("10.96.0.1:6443", "{token: t}"),
        ("https://127.0.0.1:9", "{token: \"two\\nlines\"}"),
        ("https://127.0.0.1:9", "{tokenFile: kubeconfig}"),
    ] {
        let text = format!(
            "current-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{server: \"{server}\"}}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        node::files::replace(&path, text.as_bytes()).unwrap();
        let error = run(&bench, "ADD").unwrap_err();
        assert_eq!(error["code"], 7, "{error}");
        assert!(error["msg"].as_str().unwrap().contains("expected"), "{error}");
    }
    assert!(bench.verbs().is_empty());
    run(&bench, "DEL").unwrap();
}

#[test]
fn status_is_that_of_the_default_network_with_its_code() {
    let mut bench = bench("1.1.0");
    run(&bench, "STATUS").unwrap();
    bench.script("main", &bench.fails("STATUS", 51));
    assert_eq!(run(&bench, "STATUS").unwrap_err()["code"], 51);
    bench.conf["readinessindicatorfile"] = "/nowhere/ready".into();
    let error = run(&bench, "STATUS").unwrap_err();
    assert_eq!(error["code"], 50);
}

#[test]
fn gc_without_a_list_does_nothing() {
    let mut bench = bench("1.1.0");
    run(&bench, "GC").unwrap();
    assert!(bench.calls().is_empty());
    bench.conf["cni.dev/valid-attachments"] = json!([]);
    run(&bench, "GC").unwrap();
    assert_eq!(bench.calls().len(), 1);
}

#[test]
fn a_delegate_that_is_multus_itself_is_refused() {
    let mut bench = bench("1.0.0");
    bench.conf["delegates"][0]["type"] = "multus".into();
    assert_eq!(run(&bench, "ADD").unwrap_err()["code"], 7);
}

#[test]
fn every_version_is_supported() {
    let reply = run(&bench("1.0.0"), "VERSION").unwrap();
    assert_eq!(
        reply["supportedVersions"],
        json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"])
    );
}

/// A node whose default network is the file `net.d/10-main.conflist`, with an auxiliary chain `vendor`.
fn bench_with_chain() -> Bench {
    let mut bench = bench("1.0.0");
    let main = json!({"cniVersion": "1.0.0", "name": "main", "plugins": [{"type": "main"}]});
    bench.write("net.d/10-main.conflist", &main.to_string());
    bench.conf.as_object_mut().unwrap().remove("delegates");
    bench.conf["clusterNetwork"] = bench.path().join("net.d/10-main.conflist").to_str().unwrap().into();
    bench.conf["auxiliaryCNIChainName"] = "vendor".into();
    bench.script("passthru", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0"}'; exit 0"#);
    bench
}

#[test]
fn an_auxiliary_chain_runs_after_all_networks_and_is_deleted_first() {
    let bench = bench_with_chain();
    bench.write("net.d/vendor/20.conf", r#"{"type":"b"}"#);
    bench.write("net.d/vendor/10.conf", r#"{"type":"a","key":1}"#);
    let result = run(&bench, "ADD").unwrap();
    assert_eq!(result["ips"][0]["address"], "10.0.0.1/8");
    let calls = bench.calls();
    let first_of_chain = &calls[2].1;
    assert_eq!((&first_of_chain["name"], &first_of_chain["key"]), (&json!("vendor"), &json!(1)));
    assert_eq!(first_of_chain["prevResult"], json!({"cniVersion": "1.0.0"}));
    let heads: Vec<String> =
        calls.iter().map(|(head, _)| head.split(" Ignore").next().unwrap().to_owned()).collect();
    assert_eq!(heads, ["main ADD c1 eth0", "passthru ADD c1 net1", "a ADD c1 net1", "b ADD c1 net1"]);
    run(&bench, "CHECK").unwrap();
    assert_eq!(bench.verbs(), ["main CHECK eth0"]);
    run(&bench, "DEL").unwrap();
    assert_eq!(bench.verbs(), ["b DEL net1", "a DEL net1", "passthru DEL net1", "main DEL eth0"]);
}

#[test]
fn an_auxiliary_chain_without_plugins_is_no_network() {
    let bench = bench_with_chain();
    run(&bench, "ADD").unwrap();
    assert_eq!(bench.verbs(), ["main ADD eth0"]);
}

#[test]
fn an_auxiliary_chain_that_cannot_be_read_attaches_nothing() {
    let bench = bench_with_chain();
    bench.write("net.d/vendor/10.conf", "{");
    let error = run(&bench, "ADD").unwrap_err();
    let msg = error["msg"].as_str().unwrap();
    assert!(msg.starts_with("auxiliaryCNIChainName vendor: Error loading CNI config file "), "{msg}");
    assert!(error["code"] == 7 && bench.verbs().is_empty());
}

#[test]
fn a_key_without_effect_keeps_no_pod_from_its_networks() {
    let mut bench = bench("1.1.0");
    bench.conf["metricsPort"] = 9091.into();
    for verb in ["STATUS", "ADD", "DEL"] {
        run(&bench, verb).unwrap();
    }
    assert_eq!(bench.verbs(), ["main STATUS ", "main ADD eth0", "main DEL eth0"]);
}

#[test]
fn passthru_answers_add_with_an_empty_result() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let bench = bench(version);
        assert_eq!(run_plugin(&Passthru, &bench, "ADD").unwrap(), json!({"cniVersion": version}));
        run_plugin(&Passthru, &bench, "DEL").unwrap();
    }
    assert_eq!(run_plugin(&Passthru, &bench("0.2.0"), "ADD").unwrap_err()["code"], 1);
}
