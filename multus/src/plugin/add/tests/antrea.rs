//! ADD, CHECK and DEL of pods that request networks of Antrea's agent.

use cni::Code;
use serde_json::{Value, json};

use crate::testing::{Bench, FakeApi};

/// A node whose default network is Antrea's.
fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.conf["delegates"] = json!([{"cniVersion": "0.3.0", "name": "antrea", "type": "antrea"}]);
    bench.script("antrea", &bench.answer("10.0.0.1/8"));
    bench
}

fn api(networks: &str) -> FakeApi {
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_nad("default/a", &json!({"cniVersion": "1.0.0", "type": "a"}))
        .with_nad("default/vlan", &json!({"cniVersion": "0.3.0", "type": "antrea", "networkType": "vlan"}))
}

#[test]
fn antreas_networks_are_not_run_and_the_pod_has_an_event() {
    let bench = bench();
    let api = api("a,vlan,a");
    bench.add(Some(&api)).unwrap();
    assert_eq!(bench.verbs(), ["antrea ADD eth0", "a ADD net1", "a ADD net3"]);
    let status: Vec<Value> = serde_json::from_str(&api.status().unwrap()).unwrap();
    let interfaces: Vec<&Value> = status.iter().map(|entry| &entry["interface"]).collect();
    assert_eq!(interfaces, ["eth0", "net1", "net3"]);
    let want = "network default/vlan (type antrea, networkType vlan) is left to Antrea's agent, which attaches it if its feature gate \
        SecondaryNetwork is on";
    assert!(api.events().iter().any(|event| event == want), "{:?}", api.events());
    // Upstream takes the place in the record for the number, so the record must have the name.
    let record: Value = serde_json::from_slice(&std::fs::read(bench.record()).unwrap()).unwrap();
    assert_eq!(record[2]["ifnameRequest"], "net3");
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["a DEL net3", "a DEL net1", "antrea DEL eth0"]);
}

#[test]
fn antreas_networks_fail_add_where_antrea_does_not_know_the_pod() {
    let bench = Bench::new();
    let error = bench.add(Some(&api("vlan"))).unwrap_err();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(
        error.msg.starts_with(
            "network default/vlan is of type antrea with a networkType, which only Antrea's agent"
        ),
        "{error}"
    );
    assert!(bench.verbs().is_empty() && !bench.record().exists());
}

#[test]
fn del_leaves_a_network_of_antreas_that_another_program_recorded() {
    let bench = bench();
    bench.add(Some(&api("a"))).unwrap();
    let record = std::fs::read_to_string(bench.record()).unwrap();
    let mut items: Vec<Value> = serde_json::from_str(&record).unwrap();
    let conf =
        json!({"cniVersion": "0.3.0", "name": "vlan", "type": "antrea", "networkType": "vlan"}).to_string();
    let bytes = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, conf);
    items.push(json!({"Name": "default/vlan", "Bytes": bytes, "ifnameRequest": "net2"}));
    bench.write("cni/c1", &Value::Array(items).to_string());
    bench.script("antrea", &format!("[ $CNI_IFNAME = net2 ] && exit 1; {}", bench.answer("10.0.0.1/8")));
    bench.calls();
    bench.del().unwrap();
    assert_eq!(bench.verbs(), ["a DEL net1", "antrea DEL eth0"]);
    assert!(!bench.record().exists());
}
