//! ADD with scripted plugins, a real network namespace and a fake API server.

mod antrea;

use std::time::Duration;

use node::deadline::Deadline;
use serde_json::{Value, json};

use super::*;
use crate::conf::Conf;
use crate::testing::{Bench, FakeApi};

fn nad(plugin: &str, extra: Value) -> Value {
    let mut conf =
        json!({"cniVersion": "1.0.0", "type": plugin, "capabilities": {"ips": true, "portMappings": true}});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    conf
}

/// The pod requests `networks`; the definitions are `default/a` and `default/b`.
fn api(networks: &str) -> FakeApi {
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_nad("default/a", &nad("a", json!({})))
        .with_nad("default/b", &nad("b", json!({})))
}

#[test]
fn networks_are_attached_in_order_recorded_and_reported() {
    let bench = Bench::new();
    let api = api("a,b@data");
    let result = bench.add(Some(&api)).unwrap();
    assert_eq!(result.value()["ips"][0]["address"], "10.0.0.1/8");
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "b ADD data"]);
    assert!(
        bench.record().exists()
            && bench.cached("main", "eth0").exists()
            && bench.cached("b", "data").exists()
    );
    let status: Value = serde_json::from_str(&api.status().unwrap()).unwrap();
    let names: Vec<&Value> = status.as_array().unwrap().iter().map(|entry| &entry["name"]).collect();
    assert_eq!(names, ["main", "default/a", "default/b"]);
    let events = [
        "Add data [10.2.0.1/16] from default/b",
        "Add eth0 [10.0.0.1/8] from main",
        "Add net1 [10.1.0.1/16] from default/a",
    ];
    assert_eq!(api.events(), events);
}

#[test]
fn an_add_reads_the_pod_once_each_definition_once_and_writes_once() {
    let bench = Bench::new();
    let api = api("a,b,a");
    bench.add(Some(&api)).unwrap();
    let mut requests = api.requests();
    requests.retain(|line| !line.starts_with("POST"));
    requests[1..3].sort();
    let nads = "GET /apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions";
    assert_eq!(
        requests,
        [
            "GET /api/v1/namespaces/default/pods/pod0".to_owned(),
            format!("{nads}/a"),
            format!("{nads}/b"),
            "PUT /api/v1/namespaces/default/pods/pod0/status".to_owned()
        ]
    );
}

#[test]
fn without_an_api_server_pods_have_the_networks_of_the_configuration() {
    let mut bench = Bench::new();
    bench.conf["delegates"]
        .as_array_mut()
        .unwrap()
        .push(json!({"cniVersion": "1.0.0", "name": "b", "type": "b"}));
    bench.add(None).unwrap();
    assert_eq!(bench.verbs(), ["main ADD eth0", "b ADD net1"]);
}

/// The interfaces of the status, with the gateways of each: `net1 [10.0.0.1]`.
fn gateways(api: &FakeApi) -> Vec<String> {
    let status: Vec<Value> = serde_json::from_str(&api.status().unwrap()).unwrap();
    let texts = |entry: &Value| {
        let all = entry["gateway"].as_array().into_iter().flatten();
        all.map(|gateway| gateway.as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    status
        .iter()
        .map(|entry| format!("{} [{}]", entry["interface"].as_str().unwrap(), texts(entry)))
        .collect()
}

#[test]
fn the_status_has_the_default_routes_that_are_left() {
    let bench = Bench::new();
    for plugin in ["main", "a"] {
        let routed = r#"{"cniVersion":"1.0.0","interfaces":[{"name":"'$CNI_IFNAME'","sandbox":"/x"}],"ips":[{"interface":0,"address":"10.0.0.1/8","gateway":"10.0.0.254"}],"routes":[{"dst":"0.0.0.0/0"}]}"#;
        bench.script(plugin, &format!("[ $CNI_COMMAND = ADD ] && echo '{routed}'; exit 0"));
    }
    let both = api("a");
    bench.add(Some(&both)).unwrap();
    assert_eq!(gateways(&both), ["eth0 [10.0.0.254]", "net1 [10.0.0.254]"]);
    let only_main = api(r#"[{"name":"a","default-route":[]}]"#);
    bench.add(Some(&only_main)).unwrap();
    assert_eq!(gateways(&only_main), ["eth0 [10.0.0.254]", "net1 []"]);
}

#[test]
fn a_network_without_a_version_has_an_event_and_an_entry() {
    let bench = Bench::new();
    let old = r#"{"ip4":{"ip":"10.90.0.25/24","gateway":"10.90.0.1"}}"#;
    bench.script("a", &format!("[ $CNI_COMMAND = ADD ] && echo '{old}'; exit 0"));
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "old"}))
        .with_nad("default/old", &json!({"type": "a"}));
    bench.add(Some(&api)).unwrap();
    assert!(api.events().contains(&"Add net1 [10.90.0.25/24] from default/old".to_owned()));
    let status: Vec<Value> = serde_json::from_str(&api.status().unwrap()).unwrap();
    let want = json!({"name": "default/old", "interface": "net1", "ips": ["10.90.0.25"], "dns": {}});
    assert_eq!(status[1], want);
}

#[test]
fn requests_reach_the_plugin_as_runtime_config_and_args_and_cni_args() {
    let mut bench = Bench::new();
    bench.conf["runtimeConfig"] = json!({"portMappings": [{"hostPort": 80}]});
    let element =
        json!([{"name": "a", "ips": ["10.1.0.9/16"], "mac": "02:00:00:00:00:09", "cni-args": {"k": "v"}}]);
    bench.add(Some(&api(&element.to_string()))).unwrap();
    let calls = bench.calls();
    let args = "IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;EXTRA=e";
    assert_eq!(calls[0].0, format!("main ADD c1 eth0 {args}"));
    assert_eq!(calls[0].1["runtimeConfig"], json!({"portMappings": [{"hostPort": 80}]}));
    assert_eq!(calls[1].0, format!("a ADD c1 net1 {args};MAC=02:00:00:00:00:09;IP=10.1.0.9/16"));
    assert_eq!(calls[1].1["runtimeConfig"], json!({"ips": ["10.1.0.9/16"]}));
    assert_eq!(calls[1].1["args"], json!({"cni": {"k": "v"}}));
    assert_eq!(calls[1].1["name"], "a");
}

#[test]
fn the_record_exists_before_the_first_plugin_runs() {
    let bench = Bench::new();
    let record = bench.record();
    bench.script(
        "main",
        &format!(
            "cp {} {}; {}",
            record.display(),
            bench.path().join("copy").display(),
            bench.answer("10.0.0.1/8")
        ),
    );
    bench.add(Some(&api("a"))).unwrap();
    let copy = std::fs::read(bench.path().join("copy")).unwrap();
    assert_eq!(copy, std::fs::read(record).unwrap());
}

#[test]
fn a_failing_network_is_undone_with_those_before_it_and_keeps_its_code() {
    let bench = Bench::new();
    bench.script("a", &bench.fails("ADD", 120));
    let error = bench.add(Some(&api("b,a,b"))).unwrap_err();
    assert_eq!(
        error.msg,
        "[default/pod0/u-1:a]: error adding container to network \"a\": plugin type=\"a\" name=\"a\" failed (add): no ADD"
    );
    assert_eq!(error.code, Code::Other(120));
    assert_eq!(
        bench.verbs(),
        ["main ADD eth0", "b ADD net1", "a ADD net2", "a DEL net2", "b DEL net1", "main DEL eth0"]
    );
    assert!(!bench.record().exists() && !bench.cached("b", "net1").exists());
}

#[test]
fn a_failed_undo_keeps_the_record_for_del() {
    let bench = Bench::new();
    bench.script("a", "echo '{\"code\":11,\"msg\":\"stuck\"}'; exit 1");
    let error = bench.add(Some(&api("a"))).unwrap_err();
    assert!(
        error
            .msg
            .contains("failed (add): stuck; undoing it failed too, DEL must do it: [default/pod0/u-1:a]: "),
        "{error}"
    );
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
    assert!(bench.record().exists());
    bench.script("a", &bench.answer("10.1.0.1/16"));
    bench.del().unwrap();
    assert!(!bench.record().exists());
}

#[test]
fn a_plugin_that_is_missing_or_refuses_its_conf_leaves_nothing_to_undo() {
    for refusal in ["rm", "7", "6", "1"] {
        let bench = Bench::new();
        match refusal {
            "rm" => std::fs::remove_file(bench.path().join("a")).unwrap(),
            code => bench.script("a", &format!("echo '{{\"code\":{code},\"msg\":\"bad conf\"}}'; exit 1")),
        }
        let error = bench.add(Some(&api("a"))).unwrap_err();
        assert!(!error.msg.contains("undoing it failed too"), "{error}");
        assert!(!bench.record().exists(), "{refusal}");
        bench.del().unwrap();
    }
}

#[test]
fn a_refusal_by_one_plugin_of_a_list_does_not_hide_the_failure_of_another() {
    let bench = Bench::new();
    bench.script("b", &bench.fails("DEL", 120));
    let list = json!({"cniVersion": "1.0.0", "name": "two", "plugins": [{"type": "b"}, {"type": "missing"}]});
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "two"})).with_nad("default/two", &list);
    let error = bench.add(Some(&api)).unwrap_err();
    assert!(
        error.msg.contains("failed to find plugin \"missing\"") && error.msg.contains("no DEL"),
        "{error}"
    );
    assert!(bench.record().exists());
    assert_eq!(bench.del().unwrap_err().code, Code::Other(120));
    bench.script("b", "exit 0");
    bench.del().unwrap();
    assert!(!bench.record().exists());
}

#[test]
fn no_plugin_runs_for_an_interface_that_exists() {
    let bench = Bench::new();
    let (socket, peer) = (bench.netns.socket().unwrap(), bench.netns.socket().unwrap());
    netlink::test_util::create_veth(&socket, "net2", &peer, "other").unwrap();
    let error = bench.add(Some(&api("a,b"))).unwrap_err();
    assert!(error.msg.contains("validateIfName: interface name net2 already exists"), "{error}");
    // Undoing leaves the interface alone too: it is not ours.
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
    assert!(socket.link_by_name("net2").unwrap().is_some());
    assert!(!bench.record().exists());
}

#[test]
fn no_plugin_runs_if_the_networks_cannot_be_determined() {
    for (networks, want) in [
        ("nope", "cannot find a network-attachment-definition (nope) in namespace (default): "),
        ("a@x,b@x", "would both get the interface name x"),
        ("a/b/c", "Invalid network object (failed at '/')"),
        (r#"[{"name":"../../secrets/x"}]"#, "is not a valid namespace"),
        (
            r#"[{"name":"a","default-route":["1.1.1.1"]},{"name":"b","default-route":["1.1.1.2"]}]"#,
            "does not support ECMP",
        ),
    ] {
        let bench = Bench::new();
        let api = api(networks);
        let error = bench.add(Some(&api)).unwrap_err();
        assert!(error.msg.contains(want) && error.code == Code::InvalidConfig, "{error}");
        assert!(bench.verbs().is_empty() && !bench.record().exists(), "{networks}");
        assert!(api.requests().iter().all(|line| !line.contains("secrets")));
    }
}

#[test]
fn a_missing_network_is_an_event_of_the_pod() {
    let api = api("a,nope");
    Bench::new().add(Some(&api)).unwrap_err();
    let events = api.events();
    assert_eq!(events.len(), 1);
    assert!(
        events[0].starts_with("cannot find a network-attachment-definition (nope) in namespace (default): "),
        "{events:?}"
    );
}

#[test]
fn a_pod_that_cannot_be_read_fails_add_before_any_plugin_runs() {
    let bench = Bench::new();
    let gone = api("a");
    gone.delete_pod();
    let error = bench.add(Some(&gone)).unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert!(error.msg.starts_with("pod default/pod0/u-1 does not exist at the API server"), "{error}");
    let forbidden = api("a");
    forbidden.refuse("GET", &[403]);
    let error = bench.add(Some(&forbidden)).unwrap_err();
    assert!(error.msg.contains("grant \"get\" on pods in namespace default"), "{error}");
    let replaced = api("a");
    replaced.edit_pod(|pod| pod["metadata"]["uid"] = "u-2".into());
    let error = bench.add(Some(&replaced)).unwrap_err();
    assert!(error.msg.contains("expected pod UID \"u-1\" but got \"u-2\" from Kube API"), "{error}");
    assert!(bench.verbs().is_empty());
}

#[test]
fn a_status_that_cannot_be_written_undoes_the_networks() {
    let bench = Bench::new();
    let api = api("a");
    api.refuse("PUT", &[403]);
    let error = bench.add(Some(&api)).unwrap_err();
    assert!(error.msg.starts_with("[default/pod0/u-1]: error setting the networks status: "), "{error}");
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
    assert!(!bench.record().exists());
    assert!(api.events().is_empty());
}

#[test]
fn a_result_that_cannot_be_converted_for_the_runtime_is_undone() {
    let mut bench = Bench::new();
    bench.conf["cniVersion"] = "0.2.0".into();
    bench.script("main", r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.0.0"}'; exit 0"#);
    let error = bench.add(Some(&api("a"))).unwrap_err();
    assert!(error.msg.contains("cannot convert: no valid IP addresses"), "{error}");
    assert_eq!(bench.verbs(), ["main ADD eth0", "main DEL eth0"]);
}

#[test]
fn an_earlier_add_of_the_sandbox_is_undone_first() {
    let bench = Bench::new();
    bench.add(Some(&api("a"))).unwrap();
    bench.calls();
    bench.add(Some(&api("b"))).unwrap();
    assert_eq!(bench.verbs(), ["a DEL net1", "main DEL eth0", "main ADD eth0", "b ADD net1"]);
}

#[test]
fn an_add_for_a_second_interface_is_refused() {
    let bench = Bench::new();
    bench.add(None).unwrap();
    bench.calls();
    let record = std::fs::read_to_string(bench.record()).unwrap();
    bench.write("cni/c1", &record.replace("\"eth0\"", "\"ens1\""));
    let error = bench.add(None).unwrap_err();
    assert!(error.msg.contains("delete them first"), "{error}");
    assert!(bench.verbs().is_empty() && bench.record().exists());
}

#[test]
fn a_hanging_plugin_is_undone_at_the_deadline() {
    let bench = Bench::new();
    bench.script("a", &format!("[ $CNI_COMMAND = ADD ] && exec sleep 60; {}", bench.answer("10.1.0.1/16")));
    let (call, attachment) = (bench.call(), bench.attachment());
    let conf = Conf::read(&call).unwrap();
    let deadline = Deadline::after(Duration::from_millis(800));
    let (args, now) = (&call.args, &bench.now);
    let attach = Attach { conf: &conf, attachment: &attachment, args, pod: None, now, deadline };
    let add = Add { attach, kubelet: &Kubelet::default(), began: node::clock::since_boot() };
    let mut defaults = conf.default_networks().unwrap();
    if let DefaultNetworks::Inline(networks) = &mut defaults {
        networks.push(crate::testing::network("a", "1.0.0"));
    }
    let error = add.run(&defaults, None).unwrap_err().to_cni();
    assert!(error.code == Code::TryAgainLater && error.msg.contains("was killed"), "{error}");
    assert_eq!(bench.verbs(), ["main ADD eth0", "a ADD net1", "a DEL net1", "main DEL eth0"]);
}

#[test]
fn no_message_has_the_configuration() {
    let mut bench = Bench::new();
    bench.conf["delegates"][0]["password"] = "canary-4711".into();
    bench.script("main", "exit 7");
    let error = bench.add(Some(&api("a"))).unwrap_err();
    assert!(!error.to_string().contains("canary-4711"), "{error}");
}
