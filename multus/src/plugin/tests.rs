//! The verbs, as the runtime calls them.

use serde_json::{Value, json};

use super::*;
use crate::testing::Bench;

fn run(bench: &Bench, verb: &str) -> Result<Value, Value> {
    let netns = bench.netns.path().to_str().unwrap().to_owned();
    let lookup = |name: &str| {
        let value = match name {
            "CNI_COMMAND" => verb,
            "CNI_CONTAINERID" => "c1",
            "CNI_IFNAME" => "eth0",
            "CNI_NETNS" => &netns,
            "CNI_ARGS" => "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0",
            "CNI_PATH" => "/nowhere",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let stdin = bench.conf.to_string();
    let exit = cni::plugin::run(&Multus, &lookup, &mut stdin.as_bytes(), &mut stdout, &mut stderr);
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
