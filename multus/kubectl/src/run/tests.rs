//! Whole commands against a fake API server.

use std::ffi::OsString;
use std::time::Duration;

use fake_api::{Access, ApiServer, Key, Reach};
use node::client::{ApiClient, Timeouts, block_on};
use node::deadline::Deadline;
use serde_json::{Value, json};

use super::answer::Answer;
use super::command::with_client;
use super::*;
use crate::failure::Failure;
use crate::options::{Request, parse};

const NET: &str = r#"{"cniVersion":"1.0.0","type":"macvlan","master":"eth9","ipam":{"type":"whereabouts","range":"10.1.0.0/24"}}"#;

const DEFINITIONS: &str = "network-attachment-definitions.k8s.cni.cncf.io";

/// A cluster with one pod that waits, and one definition.
fn cluster() -> ApiServer {
    let api = ApiServer::default();
    api.put(&Key::new(DEFINITIONS, "ns", "a"), json!({"spec": {"config": NET}}));
    let pod = json!({"metadata": {"uid": "u-1", "annotations": {"k8s.v1.cni.cncf.io/networks": "a"}}, "spec": {"nodeName": "n1", "containers": []},
        "status": {"phase": "Pending"}});
    api.put(&Key::new("pods", "ns", "web-0"), pod);
    let message = "failed (add): failed to lookup master \"eth9\": no such interface here; there are lo, eth0; for nodes with different cards";
    let event = |name: &str, uid: &str, text: &str| {
        let involved = json!({"kind": "Pod", "name": "web-0", "namespace": "ns", "uid": uid});
        let object = json!({"involvedObject": involved, "reason": "FailedCreatePodSandBox", "message": text, "count": 2, "source": {"host": "n1"},
            "lastTimestamp": "2026-11-28T10:00:00Z"});
        api.put(&Key::new("events", "ns", name), object);
    };
    event("e1", "u-1", message);
    event("e0", "u-0", "of an earlier pod");
    let addresses =
        json!([{"type": "InternalIP", "address": "10.1.0.7"}, {"type": "Hostname", "address": "n1"}]);
    api.put(
        &Key::new("nodes", "", "n1"),
        json!({"spec": {"podCIDRs": ["10.244.1.0/24"]}, "status": {"addresses": addresses}}),
    );
    let annotations =
        json!({"whereabouts.multus-rs/pool": "10.1.0.0-24", "whereabouts.multus-rs/range": "10.1.0.0/24"});
    api.put(
        &Key::new("overlappingrangeipreservations.whereabouts.cni.cncf.io", "kube-system", "10.1.0.9"),
        json!({"metadata": {"annotations": annotations}, "spec": {"podref": "ns/web-0", "ifname": "net1"}}),
    );
    api
}

fn run(api: &ApiServer, args: &[&str]) -> Result<Answer, Failure> {
    run_with(api, args, "")
}

fn run_with(api: &ApiServer, args: &[&str], stdin: &str) -> Result<Answer, Failure> {
    let Request::Run(options) = parse(args.iter().map(OsString::from)).unwrap() else { panic!("{args:?}") };
    let deadline = Deadline::after(Duration::from_secs(20));
    let mut stdin = stdin.as_bytes();
    block_on(deadline, async {
        let client = ApiClient::from_service(api.clone(), Timeouts::default()).await;
        with_client(&options, &client, deadline, &mut stdin, &mut Vec::new()).await
    })
    .unwrap()
}

fn parsed(answer: &Answer) -> Value {
    serde_json::from_str(&answer.text).unwrap()
}

#[test]
fn check_reads_the_clusters_definitions_nodes_and_events() {
    let answer = run(&cluster(), &["check"]).unwrap();
    assert_eq!(answer.outcome, Outcome::Right);
    for want in [
        "ns/a         macvlan   eth9     whereabouts 10.1.0.0/24 (10.1.0.1 to 10.1.0.254: 254)",
        "node n1 has no interface \"eth9\"; it has eth0, lo",
        "the range 10.1.0.0/24 has addresses of nodes, which a pod may get: n1 (10.1.0.7)",
        "1 definition checked: 0 errors, 2 warnings, 0 notes",
    ] {
        assert!(answer.text.contains(want), "{want}: {}", answer.text);
    }
}

#[test]
fn check_of_a_namespace_compares_with_the_other_namespaces() {
    let api = cluster();
    let named = NET.replace("10.1.0.0/24\"", "10.1.0.0/24\",\"network_name\":\"x\"");
    api.put(&Key::new(DEFINITIONS, "other", "b"), json!({"spec": {"config": named}}));
    let json = parsed(&run(&api, &["check", "-n", "ns", "-o", "json"]).unwrap());
    assert_eq!(json["definitions"].as_array().unwrap().len(), 1);
    assert!(json["findings"].to_string().contains("ns/a and other/b both give"), "{json}");
}

#[test]
fn check_of_a_file_is_wrong_with_an_error_and_may_be_compared_with_the_cluster() {
    let file = |config: &str| {
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "b", "namespace": "ns"}, "spec": {"config": config}}).to_string()
    };
    let other_name = NET.replace("10.1.0.0/24\"", "10.1.0.0/24\",\"network_name\":\"x\"");
    let answer =
        run_with(&cluster(), &["check", "-f", "-", "--against-cluster", "-o", "json"], &file(&other_name))
            .unwrap();
    let json = parsed(&answer);
    assert_eq!(json["definitions"].as_array().unwrap().len(), 1);
    let findings = json["findings"].to_string();
    assert!(findings.contains("their network_name differs"), "{findings}");
    let args = ["check", "-f", "-", "--links", "eth0"].map(OsString::from);
    let mut out = Vec::new();
    let outcome =
        main(args, &Environment::default(), &mut file(NET).as_bytes(), &mut out, &mut Vec::new()).unwrap();
    assert_eq!(outcome, Outcome::Wrong);
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.contains("error: ns/b\n    master \"eth9\" is none of the nodes' interfaces (eth0)\n"),
        "{text}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let args = ["check", "-f", "/nowhere.yaml"].map(OsString::from);
    let error = main(args, &Environment::default(), &mut "".as_bytes(), &mut Vec::new(), &mut Vec::new())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("cannot read /nowhere.yaml: "), "{error}");
}

#[test]
fn explain_reads_the_pod_its_definitions_claims_and_its_own_events() {
    let answer = run(&cluster(), &["explain", "ns/web-0"]).unwrap();
    for want in [
        "pod ns/web-0: Pending, node n1, UID u-1",
        "ns/a      net1        -          macvlan   eth9     10.1.0.0/24   not attached",
        "10.1.0.9   net1        10.1.0.0-24",
        "means: the node has no interface of the name in \"master\"",
    ] {
        assert!(answer.text.contains(want), "{want}: {}", answer.text);
    }
    assert!(!answer.text.contains("of an earlier pod"), "{}", answer.text);
    let error = run(&cluster(), &["explain", "web-0"]).unwrap_err().to_string();
    assert_eq!(error, "pod default/web-0 does not exist: check the name, and the namespace (-n)");
    assert_eq!(
        parsed(&run(&cluster(), &["explain", "web-0", "-n", "ns", "-o", "json"]).unwrap())["pod"],
        "ns/web-0"
    );
}

#[test]
fn explain_says_what_it_may_not_read() {
    let api = cluster();
    let get = |resource: &str| Access {
        verb: "get".to_owned(),
        resource: resource.to_owned(),
        reach: Reach::Namespace,
    };
    api.grant([get("pods"), get(DEFINITIONS)]);
    let answer = run(&api, &["explain", "ns/web-0"]).unwrap();
    assert!(answer.text.contains("note: claims cannot be read"), "{}", answer.text);
    assert!(answer.text.contains("note: events cannot be read"), "{}", answer.text);
    assert!(
        answer.text.contains("macvlan   eth9     10.1.0.0/24   not attached"),
        "the definition: {}",
        answer.text
    );
}

#[test]
fn pools_are_shown_by_name_and_with_holders() {
    let text = run(&cluster(), &["pools", "--holders"]).unwrap().text;
    assert!(
        text.contains(
            "kube-system/10.1.0.0-24   10.1.0.0/24   10.1.0.1 to 10.1.0.254   254    1      253    ns/a"
        ),
        "{text}"
    );
    assert!(text.contains("10.1.0.9   ns/web-0   net1"), "{text}");
    let json = parsed(&run(&cluster(), &["pools", "10.1.0.0-24", "-o", "json"]).unwrap());
    assert_eq!((&json[0]["used"], &json[0]["holders"]), (&json!(1), &Value::Null));
    let error = run(&cluster(), &["pools", "x"]).unwrap_err().to_string();
    assert_eq!(error, "there is no pool \"x\": \"kubectl multus pools\" shows all");
}

#[test]
fn usage_and_version_need_no_cluster() {
    for (flag, want) in
        [("--help", "kubectl multus: says what"), ("--version", "kubectl-multus, multus-rs v")]
    {
        let mut out = Vec::new();
        main([OsString::from(flag)], &Environment::default(), &mut "".as_bytes(), &mut out, &mut Vec::new())
            .unwrap();
        assert!(String::from_utf8(out).unwrap().starts_with(want));
    }
}
