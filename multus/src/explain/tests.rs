//! `multus explain` on the files that an ADD writes.

use std::path::Path;
use std::time::Duration;

use cni::args::CniArgs;
use cni::cache::{Cache, Entry, Key};
use cni::chain::AddObserver as _;
use cni::names::{ContainerId, IfName, NetworkName};
use cni::{CniError, Code};
use serde_json::{Map, Value, json};

use super::*;
use crate::plan::{RuntimeRequest, plan};
use crate::record::{self, Journal, Owner, Recorded, progress, tombstone};
use crate::request::AttachmentRequest;
use crate::testing::{network, pod_ref};

fn id(text: &str) -> ContainerId {
    ContainerId::parse(text).unwrap()
}

fn name(text: &str) -> IfName {
    IfName::parse(text).unwrap()
}

fn now() -> Moment {
    Moment { boot_id: "b".to_owned(), since_boot: Duration::from_secs(100) }
}

/// The ADD of `ns/web-0`: the default network is attached, the second one refused.
fn add(cni_dir: &Path) {
    let container = id("c1");
    let (primary, second) = (network("bridge", "1.0.0"), network("macvlan", "1.0.0"));
    let if_name = name("eth0");
    let runtime = RuntimeRequest {
        container_id: &container,
        if_name: &if_name,
        runtime_config: &Map::new(),
        cluster_cidrs: &[],
    };
    let delegates =
        plan(runtime, vec![(primary, AttachmentRequest::default()), (second, AttachmentRequest::default())])
            .unwrap();
    let owner = Owner { network: NetworkName::parse("multus").unwrap(), pod: Some(pod_ref("ns", "web-0")) };
    record::write(cni_dir, &container, &owner, &delegates).unwrap();
    let journal = Journal::start(cni_dir, &container, &now()).unwrap();
    journal.of_network(&if_name).begins(0).unwrap();
    journal.of_network(&if_name).done(0);
    let net1 = name("net1");
    journal.of_network(&net1).begins(0).unwrap();
    journal.of_network(&net1).refused(0, &CniError::new(Code::InvalidConfig, "no master\u{1b}[2J"));
    cache(cni_dir, "bridge", "c1", "");
}

fn cache(cni_dir: &Path, network: &str, container: &str, args: &str) {
    let result = json!({"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/n"}],
        "ips": [{"address": "10.244.0.5/24", "interface": 0}]});
    let key = Key {
        network: NetworkName::parse(network).unwrap(),
        container_id: id(container),
        if_name: name("eth0"),
    };
    let entry = Entry {
        config: Vec::new(),
        netns: String::new(),
        args: CniArgs::parse(args).unwrap(),
        capability_args: Map::new(),
        result: Some(result),
    };
    Cache::new(&cni_dir.join("results")).write(&key, &entry).unwrap();
}

fn explained(cni_dir: &Path, more: &[&str]) -> String {
    let folder = cni_dir.to_str().unwrap();
    let args = [&["ns/web-0", "--cni-dir", folder], more].concat();
    answer(args.iter().map(OsString::from), &now()).unwrap()
}

#[test]
fn a_sandbox_is_shown_with_what_each_plugin_made() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path());
    progress::note_first_del(
        folder.path(),
        &id("c1"),
        &Moment { since_boot: Duration::from_secs(90), ..now() },
    )
    .unwrap();
    let want = "\
pod ns/web-0, UID u-1, container c1
    it is being deleted: its first DEL was 10 s ago, and some plugins have not succeeded since
INTERFACE   NETWORK   ADDRESSES       MAC                 PLUGINS
eth0        bridge    10.244.0.5/24   02:00:00:00:00:01   bridge (done)
net1        macvlan   -               -                   macvlan (refused)
refused by macvlan on net1: code 7: no master\\u{1b}[2J

";
    assert_eq!(explained(folder.path(), &[]), want);
    let json: Value = serde_json::from_str(&explained(folder.path(), &["-o", "json"])).unwrap();
    assert_eq!(json["sandboxes"][0]["networks"][1]["plugins"][0]["state"], "refused");
    assert_eq!(json["sandboxes"][0]["first_del_seconds_ago"], 10);
}

#[test]
fn a_record_of_upstream_is_known_by_its_cached_result() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path());
    let path = folder.path().join("c1");
    let mut record: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for network in record.as_array_mut().unwrap() {
        network.as_object_mut().unwrap().remove("multusRs");
    }
    node::files::write_atomic(&path, record.to_string().as_bytes(), 0o600).unwrap();
    assert!(explained(folder.path(), &[]).starts_with("pod ns/web-0: this node has no record of it."));
    cache(folder.path(), "bridge", "c1", "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0");
    assert!(explained(folder.path(), &[]).starts_with("pod ns/web-0, UID unknown, container c1\n"));
}

#[test]
fn other_pods_are_not_shown_and_unreadable_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path());
    let other =
        answer(["ns/web-1", "--cni-dir", folder.path().to_str().unwrap()].map(OsString::from), &now())
            .unwrap();
    assert!(other.starts_with("pod ns/web-1: this node has no record of it."), "{other}");
    node::files::write_atomic(&folder.path().join("c2"), b"{", 0o600).unwrap();
    let text = explained(folder.path(), &[]);
    assert!(
        text.contains("cannot be read, and may be of this pod: record ") && text.contains("c2 is damaged"),
        "{text}"
    );
}

#[test]
fn what_a_deleted_sandbox_left_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let recorded = Recorded {
        network: network("macvlan", "1.0.0"),
        if_name: name("net1"),
        capability_args: Map::new(),
        requested: None,
    };
    let left = tombstone::LeftNetwork { recorded, plugins: vec![0], reason: "no answer".to_owned() };
    let args = CniArgs::parse("K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0").unwrap();
    tombstone::write(folder.path(), &id("c3"), &tombstone::Tombstone { args, networks: vec![left] }).unwrap();
    let want = "\
pod ns/web-0, container c3: deleted, but something may be left
    macvlan on net1, plugins macvlan: no answer
    to do: remove the cause; the next DEL on this node tries again, and removes the tombstone when it
           succeeds

";
    assert_eq!(explained(folder.path(), &[]), want);
}

#[test]
fn the_usage_needs_no_files() {
    assert!(answer([OsString::from("-h")], &now()).unwrap().starts_with("multus explain NAMESPACE/POD"));
}
