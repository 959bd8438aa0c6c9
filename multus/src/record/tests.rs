use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni::Version;
use cni::names::{ContainerId, IfName, NetworkName};
use node::names::DnsLabel;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::format::OWN;
use super::*;
use crate::network::Network;
use crate::plan::{Delegate, RuntimeRequest, plan};
use crate::request::{self, AttachmentRequest};
use crate::testing::pod_ref;

fn id() -> ContainerId {
    ContainerId::parse("c1").unwrap()
}

fn eth0() -> IfName {
    IfName::parse("eth0").unwrap()
}

fn network(value: Value, label: Option<&str>) -> Network {
    Network::from_object(value.as_object().unwrap().clone(), label.map(str::to_owned)).unwrap()
}

fn owner() -> Owner {
    Owner {
        network: NetworkName::parse("multus-cni-network").unwrap(),
        pod: Some(pod_ref("default", "pod0")),
    }
}

/// A default network that is a list without a version, and a NAD with requests.
fn delegates() -> Vec<Delegate> {
    let list = network(
        json!({"name": "main", "disableCheck": true, "plugins": [{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}, "extra": 1}]}),
        None,
    );
    let single = network(
        json!({"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "macvlan", "capabilities": {"ips": true}, "master": "eth1"}),
        Some("default/macvlan-conf"),
    );
    let annotation = r#"[{"name":"macvlan-conf","interface":"data","ips":["10.1.1.11/24"],"mac":"02:00:00:00:00:01","default-route":["10.1.1.1"]}]"#;
    let requested = request::parse(annotation, &DnsLabel::new("default").unwrap()).unwrap().remove(0).request;
    let runtime_config = json!({"portMappings": [{"hostPort": 1}]});
    let runtime = RuntimeRequest {
        container_id: &id(),
        if_name: &eth0(),
        runtime_config: runtime_config.as_object().unwrap(),
        cluster_cidrs: &[],
    };
    plan(runtime, vec![(list, AttachmentRequest::default()), (single, requested)]).unwrap()
}

fn put(folder: &TempDir, record: &Value) {
    put_text(folder, &record.to_string());
}

fn put_text(folder: &TempDir, text: &str) {
    node::files::write_atomic(&folder.path().join("c1"), text.as_bytes(), 0o600).unwrap();
}

fn read_one(folder: &TempDir) -> Record {
    read(folder.path(), &id(), &eth0()).unwrap().unwrap()
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let cni_dir = folder.path().join("multus");
    write(&cni_dir, &id(), &owner(), &delegates()).unwrap();
    let record = read(&cni_dir, &id(), &eth0()).unwrap().unwrap();
    assert_eq!(record.owner, Some(owner()));
    for (got, want) in record.delegates.iter().zip(delegates()) {
        assert_eq!((&got.if_name, &got.capability_args), (&want.if_name, &want.capability_args));
        assert_eq!((&got.network.label, &got.network.list), (&want.network.label, &want.network.list));
    }
    assert_eq!(record.delegates.len(), 2);
    remove(&cni_dir, &id()).unwrap();
    remove(&cni_dir, &id()).unwrap();
    assert_eq!(read(&cni_dir, &id(), &eth0()).unwrap(), None);
}

#[test]
fn upstream_finds_its_own_keys_in_our_record() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &id(), &owner(), &delegates()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("c1")).unwrap();
    let mut record: Value = serde_json::from_str(&text).unwrap();
    let bytes = |item: &mut Value| -> Value {
        let text = item.as_object_mut().unwrap().remove("Bytes").unwrap();
        serde_json::from_slice(&STANDARD.decode(text.as_str().unwrap()).unwrap()).unwrap()
    };
    assert_eq!(
        bytes(&mut record[0]),
        json!({"cniVersion": "0.1.0", "name": "main", "disableCheck": true, "plugins": [
        {"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}, "extra": 1}]})
    );
    assert_eq!(bytes(&mut record[1])["master"], "eth1");
    record[0].as_object_mut().unwrap().remove(OWN).unwrap();
    record[1].as_object_mut().unwrap().remove(OWN).unwrap();
    let want = json!([
        {"Conf": {"cniVersion": "0.1.0", "name": "main", "ipam": {}, "dns": {}},
         "ConfList": {"cniVersion": "0.1.0", "name": "main", "disableCheck": true,
                      "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}, "dns": {}}]},
         "Name": "main", "IsFilterV4Gateway": true, "IsFilterV6Gateway": false},
        {"Conf": {"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "macvlan", "capabilities": {"ips": true}, "ipam": {}, "dns": {}},
         "ConfList": {}, "Name": "default/macvlan-conf", "ifnameRequest": "data", "macRequest": "02:00:00:00:00:01",
         "ipRequest": ["10.1.1.11/24"], "default-route": ["10.1.1.1"], "IsFilterV4Gateway": true, "IsFilterV6Gateway": false}]);
    assert_eq!(record, want);
}

#[test]
fn a_record_is_removed_with_what_a_killed_write_of_it_left() {
    let folder = tempfile::tempdir().unwrap();
    put_text(&folder, "{}");
    for name in [".tmp-c1-01234567", ".tmp-c2-01234567"] {
        std::fs::File::create(folder.path().join(name)).unwrap();
    }
    remove(folder.path(), &id()).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".tmp-c2-01234567"]);
    remove(&folder.path().join("missing"), &id()).unwrap();
}

#[test]
fn only_root_can_read_a_record() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let cni_dir = folder.path().join("a/multus");
    write(&cni_dir, &id(), &owner(), &delegates()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&cni_dir), mode(&cni_dir.join("c1"))), (0o700, 0o600));
}

/// As 4.0 to 4.2.0 wrote it: no key `CNINetworkConfigList`.
fn upstream_4_0() -> Value {
    let list =
        json!({"cniVersion": "0.3.1", "name": "kindnet", "plugins": [{"type": "ptp", "ipMasq": false}]});
    let single = json!({"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "macvlan", "master": "eth1"});
    let typed = |plugin: &str| json!({"type": plugin, "ipam": {}, "dns": {}});
    json!([
        {"Conf": {"cniVersion": "0.3.1", "name": "kindnet", "ipam": {}, "dns": {}},
         "ConfList": {"cniVersion": "0.3.1", "name": "kindnet", "plugins": [typed("ptp")]},
         "Name": "kindnet", "IsFilterV4Gateway": false, "IsFilterV6Gateway": false, "Bytes": STANDARD.encode(list.to_string())},
        {"Conf": {"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "macvlan", "ipam": {}, "dns": {}}, "ConfList": {},
         "Name": "default/macvlan-conf", "ipRequest": ["10.1.1.11/24"], "IsFilterV4Gateway": false, "IsFilterV6Gateway": false,
         "Bytes": STANDARD.encode(single.to_string())},
        {"Conf": {"cniVersion": "0.3.1", "name": "macvlan-conf", "type": "macvlan", "ipam": {}, "dns": {}}, "ConfList": {},
         "Name": "default/macvlan-conf", "ifnameRequest": "data", "IsFilterV4Gateway": false, "IsFilterV6Gateway": false,
         "Bytes": STANDARD.encode(single.to_string())}])
}

fn shown(record: &Record) -> Vec<String> {
    let plugins = |r: &Recorded| {
        r.network.list.plugins.iter().map(|p| p.plugin_type.to_string()).collect::<Vec<_>>().join("+")
    };
    record.delegates.iter().map(|r| format!("{} {} {}", r.network.label, plugins(r), r.if_name)).collect()
}

#[test]
fn records_of_upstream_4_0_to_4_2_0_are_read() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder, &upstream_4_0());
    let record = read_one(&folder);
    assert_eq!(
        shown(&record),
        ["kindnet ptp eth0", "default/macvlan-conf macvlan net1", "default/macvlan-conf macvlan data"]
    );
    assert_eq!(record.owner, None);
    assert_eq!(record.delegates[0].network.list.plugins[0].object["ipMasq"], false);
    assert_eq!(record.delegates[0].network.list.cni_version, Version::V0_3_1);
}

#[test]
fn records_of_upstream_4_2_1_to_4_3_0_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = upstream_4_0();
    let list = json!({"Name": "kindnet", "CNIVersion": "0.3.1", "DisableCheck": false, "DisableGC": false, "LoadOnlyInlinedPlugins": false,
        "Plugins": [{"Network": {"type": "ptp"}, "Bytes": "e30="}], "Bytes": "e30="});
    record[0]["CNINetworkConfigList"] = list;
    let none = json!({"Name": "", "CNIVersion": "", "DisableCheck": false, "DisableGC": false, "LoadOnlyInlinedPlugins": false, "Plugins": null, "Bytes": null});
    record[1]["CNINetworkConfigList"] = none;
    put(&folder, &record);
    assert_eq!(shown(&read_one(&folder))[0], "kindnet ptp eth0");
}

/// In these releases `Bytes` has lost what upstream does not know. A DEL with it fails: "no IP ranges specified".
#[test]
fn a_list_that_upstream_4_2_1_to_4_3_0_recorded_keeps_all_keys_of_its_plugins() {
    let folder = tempfile::tempdir().unwrap();
    let bridge =
        json!({"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0/8"}, "isGateway": true});
    let chained = json!({"type": "tuning", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}});
    let lossy = json!({"cniVersion": "1.0.0", "name": "primary", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]});
    let plugin = |whole: &Value| json!({"Network": {"type": whole["type"]}, "Bytes": STANDARD.encode(whole.to_string())});
    put(
        &folder,
        &json!([{"Conf": {"ipam": {}}, "ConfList": lossy, "Name": "primary", "Bytes": STANDARD.encode(lossy.to_string()),
            "CNINetworkConfigList": {"Name": "primary", "CNIVersion": "1.0.0", "DisableCheck": true, "DisableGC": false,
                "LoadOnlyInlinedPlugins": false, "Plugins": [plugin(&bridge), plugin(&chained)], "Bytes": ""}}]),
    );
    let record = read_one(&folder);
    assert_eq!(shown(&record), ["primary bridge+tuning eth0"]);
    let list = &record.delegates[0].network.list;
    assert_eq!(Value::Object(list.plugins[0].object.clone()), bridge);
    assert_eq!(Value::Object(list.plugins[1].object.clone()), chained);
    assert_eq!((list.cni_version, list.check), (Version::V1_0_0, cni::list::Allowed::No));
}

#[test]
fn a_file_that_is_not_a_record_is_damaged_not_empty() {
    let folder = tempfile::tempdir().unwrap();
    let mut without_bytes = upstream_4_0();
    without_bytes[1].as_object_mut().unwrap().remove("Bytes");
    let mut itself = upstream_4_0();
    itself[1]["Bytes"] = STANDARD.encode(r#"{"name":"x","type":"multus"}"#).into();
    for text in
        ["", "{", "[]", "null", "{}", "[null]", "[{}]", &without_bytes.to_string(), &itself.to_string()]
    {
        put_text(&folder, text);
        let error = read(folder.path(), &id(), &eth0()).unwrap_err();
        assert!(matches!(error, RecordError::Damaged { .. }), "{text}: {error}");
    }
}

#[test]
fn only_files_with_the_name_of_a_sandbox_are_records() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(all(&folder.path().join("missing")).unwrap(), []);
    put_text(&folder, "[]");
    std::fs::create_dir(folder.path().join("results")).unwrap();
    std::fs::File::create(folder.path().join(".tmp-1")).unwrap();
    let names: Vec<String> = all(folder.path()).unwrap().iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(names, ["c1"]);
}

/// A plan for one network with `cni-args`, if the annotation and the configuration allow it.
fn plan_with(conf: &Value, cni_args: &str, capability_args: &str) -> Option<Vec<Delegate>> {
    let annotation = format!(r#"[{{"name":"a","cni-args":{cni_args}}}]"#);
    let requested = request::parse(&annotation, &DnsLabel::new("default").unwrap()).ok()?.remove(0).request;
    let conf = Network::from_object(conf.as_object()?.clone(), Some("default/a".to_owned())).ok()?;
    let network = conf.with_cni_args(&requested.cni_args).ok()?;
    let runtime_config: Value = serde_json::from_str(capability_args).ok()?;
    let runtime = RuntimeRequest {
        container_id: &id(),
        if_name: &eth0(),
        runtime_config: runtime_config.as_object()?,
        cluster_cidrs: &[],
    };
    plan(runtime, vec![(network, requested)]).ok()
}

fn nested(depth: usize) -> String {
    format!("{}1{}", r#"{"k":"#.repeat(depth), "}".repeat(depth))
}

#[test]
fn cni_args_that_del_could_not_read_back_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let list = json!({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "a"}]});
    let plan = plan_with(&list, &nested(124), "{}").unwrap();
    let error = write(folder.path(), &id(), &owner(), &plan).unwrap_err();
    assert!(matches!(error, RecordError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("nest \"cni-args\" and the configurations less deeply"), "{error}");
    assert!(!folder.path().join("c1").exists());
}

#[test]
fn every_record_that_is_written_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut written, mut refused) = (0, 0);
    for depth in (1..30).chain(100..130) {
        for conf in [
            json!({"cniVersion": "1.0.0", "name": "a", "plugins": [{"type": "a"}, {"type": "b"}]}),
            json!({"name": "a", "TYPE": "a", "args": {"CNI": {"x": null}}, "deep": {"\u{0}\u{fffd}": "\u{7f}\n"}}),
        ] {
            for (cni_args, capabilities) in [
                (nested(depth), "{}".to_owned()),
                ("{}".to_owned(), nested(depth)),
                (nested(3), nested(depth)),
            ] {
                let Some(plan) = plan_with(&conf, &cni_args, &capabilities) else { continue };
                match write(folder.path(), &id(), &owner(), &plan) {
                    Ok(()) => {
                        written += 1;
                        assert_eq!(read_one(&folder).delegates[0].capability_args, plan[0].capability_args);
                    }
                    Err(RecordError::Unreadable { .. }) => refused += 1,
                    Err(error) => panic!("{depth}: {error}"),
                }
            }
        }
    }
    assert!(written > 100 && refused > 0, "{written} written, {refused} refused");
}
