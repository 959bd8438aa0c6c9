//! ADD of networks that name a resource, with a kubelet that answers.

use cni::Code;
use serde_json::{Value, json};

use crate::testing::kubelet::{Answer, pod, start};
use crate::testing::{Bench, FakeApi};

const NIC: &str = "example.com/nic";

/// The definition `default/nic`, whose attachments get devices of [`NIC`], and `default/a` without.
fn api(networks: &str) -> FakeApi {
    let list = json!({"cniVersion": "1.0.0", "name": "nics", "plugins": [
        {"type": "a", "capabilities": {"deviceID": true, "CNIDeviceInfoFile": true}}, {"type": "b"}]});
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": networks}))
        .with_device_nad("default/nic", &list, NIC)
        .with_nad("default/a", &json!({"cniVersion": "1.0.0", "type": "a"}))
}

/// A node whose kubelet gave the pod these devices.
fn bench(ids: &[&str]) -> Bench {
    let bench = Bench::new();
    let pods = vec![pod("default", "pod0", &[&[(NIC, ids)]])];
    start(&bench.path().join("kubelet"), vec![Answer::Pods(pods)]);
    bench
}

#[test]
fn each_attachment_gets_a_device_in_the_configuration_of_every_plugin() {
    let bench = bench(&["0000:01:00.2", "0000:01:00.1"]);
    bench.add(Some(&api("nic,a,nic"))).unwrap();
    let calls = bench.calls();
    let device = |at: usize| {
        let conf = &calls[at].1;
        assert_eq!(conf.get("deviceID"), conf.get("pciBusID"));
        conf.get("deviceID").and_then(Value::as_str).unwrap_or("-").to_owned()
    };
    // eth0, both plugins of net1, net2, both plugins of net3.
    let devices: Vec<String> = (0..calls.len()).map(device).collect();
    assert_eq!(devices, ["-", "0000:01:00.1", "0000:01:00.1", "-", "0000:01:00.2", "0000:01:00.2"]);
    let want = json!({"deviceID": "0000:01:00.1",
        "CNIDeviceInfoFile": "/var/run/k8s.cni.cncf.io/devinfo/cni/default-nic-c1_net1"});
    assert_eq!(calls[1].1["runtimeConfig"], want);
    assert!(calls[2].1.get("runtimeConfig").is_none());
}

#[test]
fn del_and_the_record_have_the_device() {
    let bench = bench(&["0000:01:00.1"]);
    bench.add(Some(&api("nic"))).unwrap();
    let record: Value = serde_json::from_slice(&std::fs::read(bench.record()).unwrap()).unwrap();
    assert_eq!((&record[1]["deviceID"], &record[1]["resourceName"]), (&json!("0000:01:00.1"), &json!(NIC)));
    bench.calls();
    bench.del().unwrap();
    assert_eq!(bench.calls()[0].1["deviceID"], "0000:01:00.1");
}

#[test]
fn the_default_network_and_others_share_the_devices() {
    let bench = bench(&["1", "2"]);
    let api = api("nic");
    api.edit_pod(|pod| pod["metadata"]["annotations"][nad::DEFAULT_NETWORK] = "default/nic".into());
    bench.add(Some(&api)).unwrap();
    let devices: Vec<Value> = bench.calls().into_iter().map(|(_, conf)| conf["deviceID"].clone()).collect();
    assert_eq!(devices, ["1", "1", "2", "2"]);
}

#[test]
fn a_pod_with_too_few_devices_fails_before_any_plugin_runs() {
    let bench = bench(&["1"]);
    let error = bench.add(Some(&api("nic,nic"))).unwrap_err();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(
        error.msg.starts_with("network default/nic needs a device of resource \"example.com/nic\""),
        "{error}"
    );
    assert!(bench.verbs().is_empty() && !bench.record().exists());
}

#[test]
fn without_a_network_of_a_resource_the_kubelet_is_not_asked() {
    let bench = Bench::new();
    bench.add(Some(&api("a"))).unwrap();
    let error = bench.add(Some(&api("nic"))).unwrap_err();
    assert_eq!(error.code, Code::TryAgainLater);
    assert!(error.msg.contains("the kubelet has no socket"), "{error}");
}

/// With two claims of the pod that got the devices `d1` and `d2`, and their slices.
fn with_claims(api: FakeApi) -> FakeApi {
    let claim = |device: &str| {
        let results = json!([{"request": "r", "driver": "nic.example.com", "pool": "n1", "device": device}]);
        json!({"status": {"allocation": {"devices": {"results": results}}, "reservedFor": [{"uid": "u-1"}]}})
    };
    let slice = |node: Value, device: &str, id: &str| {
        let attributes = json!({"k8s.cni.cncf.io/deviceID": {"string": id}, "k8s.cni.cncf.io/resourceName": {"string": NIC}});
        let mut spec = json!({"driver": "nic.example.com", "pool": {"name": "n1", "generation": 1},
            "devices": [{"name": device, "attributes": attributes}]});
        spec.as_object_mut().unwrap().extend(node.as_object().unwrap().clone());
        json!({"spec": spec})
    };
    api.edit_pod(|pod| {
        pod["status"]["resourceClaimStatuses"] = json!([{"name": "a", "resourceClaimName": "pod0-a"}, {"name": "none"}]);
        pod["spec"]["resourceClaims"] = json!([{"name": "a", "resourceClaimTemplateName": "t"}, {"name": "b", "resourceClaimName": "own"}]);
    });
    let (claims, slices) = ("resourceclaims.resource.k8s.io", "resourceslices.resource.k8s.io");
    api.with(claims, "default", "pod0-a", claim("d1"))
        .with(claims, "default", "own", claim("d2"))
        .with(slices, "", "s1", slice(json!({"nodeName": "n1"}), "d1", "0000:02:00.1"))
        .with(slices, "", "s2", slice(json!({"allNodes": true}), "d2", "0000:02:00.2"))
}

/// The device of each network but the default one.
fn devices_of(bench: &Bench) -> Vec<Value> {
    let mut calls = bench.calls();
    calls.retain(|(line, _)| line.starts_with("a ADD"));
    calls.into_iter().map(|(_, conf)| conf["deviceID"].clone()).collect()
}

#[test]
fn the_devices_of_claims_follow_those_of_the_kubelet() {
    let bench = bench(&["0000:01:00.1"]);
    bench.add(Some(&with_claims(api("nic,nic,nic")))).unwrap();
    assert_eq!(devices_of(&bench), ["0000:01:00.1", "0000:02:00.1", "0000:02:00.2"]);
}

#[test]
fn the_claims_say_what_became_of_their_devices() {
    let bench = bench(&[]);
    let api = with_claims(api("nic"));
    bench.add(Some(&api)).unwrap();
    let claim = |name: &str| api.get("resourceclaims.resource.k8s.io", "default", name).unwrap();
    let data =
        json!({"interfaceName": "net1", "ips": ["10.2.0.1/16"], "hardwareAddress": "02:00:00:00:00:01"});
    let entry = json!({"driver": "nic.example.com", "pool": "n1", "device": "d1", "networkData": data});
    assert_eq!(claim("pod0-a")["status"]["devices"], json!([entry]));
    assert_eq!(claim("pod0-a")["status"]["reservedFor"], json!([{"uid": "u-1"}]));
    assert!(claim("own")["status"].get("devices").is_none());
}

#[test]
fn a_claim_that_cannot_be_written_is_no_reason_to_fail() {
    let bench = bench(&[]);
    let api = with_claims(api("nic"));
    // The first PUT is that of network-status.
    api.refuse_writes_of("resourceclaims", 403);
    bench.add(Some(&api)).unwrap();
    assert!(api.status().is_some());
}

#[test]
fn a_conflict_on_a_claim_is_written_again() {
    let bench = bench(&[]);
    let api = with_claims(api("nic"));
    api.refuse_writes_of("resourceclaims", 409);
    bench.add(Some(&api)).unwrap();
    let claim = api.get("resourceclaims.resource.k8s.io", "default", "pod0-a").unwrap();
    assert_eq!(claim["status"]["devices"][0]["device"], "d1");
}

#[test]
fn claims_are_read_only_if_the_kubelet_has_too_few_devices() {
    let bench = bench(&["1"]);
    let api = with_claims(api("nic"));
    bench.add(Some(&api)).unwrap();
    assert!(api.requests().iter().all(|line| !line.contains("resource.k8s.io")));
}

#[test]
fn a_claim_that_cannot_be_read_fails_add() {
    let bench = bench(&[]);
    let api = with_claims(api("nic"));
    api.edit_pod(|pod| pod["spec"]["resourceClaims"] = json!([{"name": "b", "resourceClaimName": "gone"}]));
    let error = bench.add(Some(&api)).unwrap_err();
    assert!(error.msg.contains("get resourceclaims.resource.k8s.io default/gone: not found"), "{error}");
    assert!(bench.verbs().is_empty());
}

#[test]
fn the_description_of_a_device_plugin_reaches_the_plugin_and_the_status_and_ends_with_del() {
    // The paths are fixed, so the names must be this test's own.
    let resource = format!("example.com/test-{}", std::process::id());
    let plain = resource.replace('/', "-");
    let (dp, cni) = ("/var/run/k8s.cni.cncf.io/devinfo/dp", "/var/run/k8s.cni.cncf.io/devinfo/cni");
    std::fs::create_dir_all(dp).unwrap();
    let of_device_plugin = format!("{dp}/{plain}-7-device.json");
    let description = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": "7"}});
    node::files::write_atomic(of_device_plugin.as_ref(), description.to_string().as_bytes(), 0o644).unwrap();
    let bench = Bench::new();
    let pods = vec![pod("default", "pod0", &[&[(&resource, &["7"])]])];
    start(&bench.path().join("kubelet"), vec![Answer::Pods(pods)]);
    let name = format!("nic{}", std::process::id());
    let api = FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": name})).with_device_nad(
        &format!("default/{name}"),
        &json!({"cniVersion": "1.0.0", "type": "a"}),
        &resource,
    );
    bench.add(Some(&api)).unwrap();
    let status: Value = serde_json::from_str(&api.status().unwrap()).unwrap();
    assert_eq!(status[1]["device-info"], description);
    let of_attachment = format!("{cni}/default-{name}-c1_net1");
    assert!(std::path::Path::new(&of_attachment).exists());
    bench.del().unwrap();
    assert!(!std::path::Path::new(&of_attachment).exists());
    std::fs::remove_file(of_device_plugin).unwrap();
}
