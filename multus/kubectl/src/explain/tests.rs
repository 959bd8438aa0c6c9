//! Explanations by values.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use nad::{NadRef, PodRef};
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::{Value, json};
use whereabouts::crd::reservation::Reservation;

use super::asked::NetworkState;
use super::facts::{Deletion, PodNetwork};
use super::*;

const NET: &str = r#"{"cniVersion":"1.0.0","type":"macvlan","master":"eth0","ipam":{"type":"whereabouts","range":"10.1.0.0/24"}}"#;

fn now() -> Timestamp {
    "2026-11-28T10:05:00Z".parse().unwrap()
}

fn nad_ref(text: &str) -> NadRef {
    let (namespace, name) = text.split_once('/').unwrap();
    NadRef { namespace: DnsLabel::new(namespace).unwrap(), name: DnsSubdomain::new(name).unwrap() }
}

/// The pod `ns/web-0` on node n1 with this phase and these annotations.
fn pod(phase: &str, networks: &str, status: &Value) -> PodFacts {
    let mut annotations = json!({"k8s.v1.cni.cncf.io/networks": networks});
    if !status.is_null() {
        annotations["k8s.v1.cni.cncf.io/network-status"] = status.to_string().into();
    }
    let object = json!({"metadata": {"uid": "u-1", "annotations": annotations}, "spec": {"nodeName": "n1", "containers": []}, "status": {"phase": phase}});
    let pod: Pod = serde_json::from_value(object).unwrap();
    let pod_ref: PodRef = "ns/web-0".parse().unwrap();
    PodFacts::of(pod_ref, &pod)
}

fn facts(pod: PodFacts, definitions: &[(&str, &str)]) -> Facts {
    let found = |(name, config): &(&str, &str)| (nad_ref(name), Lookup::Found((*config).to_owned()));
    let mut definitions: BTreeMap<NadRef, Lookup> = definitions.iter().map(found).collect();
    for element in multus::request::parse(&pod.networks, &pod.pod_ref.namespace).unwrap_or_default() {
        definitions
            .entry(NadRef { namespace: element.namespace, name: element.name })
            .or_insert(Lookup::Absent);
    }
    Facts { pod, definitions, namesakes: Vec::new(), claims: Ok(Vec::new()), events: Ok(Vec::new()) }
}

fn event(reason: &str, message: &str, at: &str) -> EventFacts {
    let object = json!({"metadata": {}, "involvedObject": {}, "reason": reason, "message": message, "count": 3, "lastTimestamp": at});
    EventFacts::of(&serde_json::from_value::<Event>(object).unwrap())
}

fn claim(ip: &str, interface: &str, uid: &str) -> ClaimFacts {
    let annotations = json!({"whereabouts.multus-rs/pool": "10.1.0.0-24", "whereabouts.multus-rs/range": "10.1.0.0/24",
        "whereabouts.multus-rs/pod-uid": uid, "whereabouts.multus-rs/ifname": interface});
    let metadata = json!({"name": ip, "creationTimestamp": "2026-11-28T10:00:00Z", "annotations": annotations,
        "labels": {"whereabouts.multus-rs/node": "n1"}});
    let claim: Reservation =
        serde_json::from_value(json!({"metadata": metadata, "spec": {"podref": "ns/web-0"}})).unwrap();
    ClaimFacts::of(&claim)
}

fn status() -> Value {
    json!([{"name": "primary", "interface": "eth0", "ips": ["10.244.1.2"], "mac": "02:00:00:00:00:02", "default": true, "dns": {}, "gateway": ["10.244.1.1"]},
        {"name": "ns/a", "interface": "net1", "ips": ["10.1.0.1"], "mac": "02:00:00:00:00:01", "mtu": 1500, "dns": {}}])
}

/// The problems, each as its message.
fn problems(facts: &Facts) -> Vec<String> {
    explain(facts, now()).problems.into_iter().map(|problem| problem.message).collect()
}

#[test]
fn a_pod_that_has_what_it_asked_for_is_explained_without_problems() {
    let mut facts =
        facts(pod("Running", r#"[{"name": "a", "ips": ["10.1.0.1"]}]"#, &status()), &[("ns/a", NET)]);
    facts.claims = Ok(vec![claim("10.1.0.1", "net1", "u-1")]);
    let explanation = explain(&facts, now());
    let want = "\
pod ns/web-0: Running, node n1, UID u-1

asked for, besides the default network:
NETWORK   INTERFACE   REQUESTS       PLUGINS   MASTER   RANGE         STATE
ns/a      net1        ips 10.1.0.1   macvlan   eth0     10.1.0.0/24   attached

attached, by network-status:
INTERFACE   NETWORK             ADDRESSES    MAC                 MTU    GATEWAY
eth0        primary (default)   10.244.1.2   02:00:00:00:00:02   -      10.244.1.1
net1        ns/a                10.1.0.1     02:00:00:00:00:01   1500   -

addresses claimed for it:
ADDRESS    INTERFACE   POOL          NODE   AGE
10.1.0.1   net1        10.1.0.0-24   n1     5m

nothing is wrong
";
    assert_eq!(render(&explanation), want);
    let json: Value = serde_json::from_str(&multus::explain::json(&explanation)).unwrap();
    assert_eq!(
        (&json["asked"][0]["state"], &json["claims"][0]["of"]),
        (&json!("attached"), &json!("this-pod"))
    );
    assert_eq!(json["problems"], json!([]));
}

#[test]
fn a_pending_pod_shows_its_last_refused_add_and_what_to_do() {
    let mut facts = facts(pod("Pending", "a", &Value::Null), &[("ns/a", NET)]);
    let text = "Failed to create pod sandbox: plugin type=\"macvlan\" name=\"a\" failed (add): failed to lookup master \"eth9\": no such interface here; \
                there are lo, eth0; for nodes";
    facts.events = Ok(vec![
        event("FailedCreatePodSandBox", "older", "2026-11-28T10:00:00Z"),
        event("FailedCreatePodSandBox", text, "2026-11-28T10:04:30Z"),
    ]);
    let explanation = explain(&facts, now());
    assert!(explanation.problems.is_empty(), "{:?}", explanation.problems);
    let want = "\
pod ns/web-0: Pending, node n1, UID u-1

asked for, besides the default network:
NETWORK   INTERFACE   REQUESTS   PLUGINS   MASTER   RANGE         STATE
ns/a      net1        -          macvlan   eth0     10.1.0.0/24   not attached

attached, by network-status: nothing

last failed ADD (30s ago, reported 3 times):
    Failed to create pod sandbox: plugin type=\"macvlan\" name=\"a\" failed (add): failed to lookup master
    \"eth9\": no such interface here; there are lo, eth0; for nodes
    means: the node has no interface of the name in \"master\"; the text lists those that it has
    to do: correct master; for nodes with different cards it can be a list of names, {\"mac\": ..} and
           {\"subnet\": ..}

";
    assert_eq!(render(&explanation), want);
}

#[test]
fn a_refused_add_that_a_later_one_made_good_is_not_shown() {
    let mut facts = facts(pod("Running", "a", &status()), &[("ns/a", NET)]);
    let refused = event("FailedCreatePodSandBox", "x", "2026-11-28T10:00:00Z");
    facts.events = Ok(vec![
        refused.clone(),
        event("AddedInterface", "Add net1 [10.1.0.1/24] from ns/a", "2026-11-28T10:01:00Z"),
    ]);
    assert_eq!(explain(&facts, now()).refused, None);
    facts.events = Ok(vec![refused, event("AddedInterface", "Add eth0 [] from x", "2026-11-28T09:00:00Z")]);
    let shown = explain(&facts, now()).refused.unwrap();
    assert_eq!((shown.message.as_str(), shown.cause.as_str()), ("x", ""));
}

#[test]
fn each_reason_for_a_missing_network_has_its_problem() {
    let running = |networks: &str, status: &Value| pod("Running", networks, status);
    let mut other_namespace = facts(running("a", &status()), &[]);
    other_namespace.namesakes = vec![nad_ref("default/a"), nad_ref("default/b")];
    let explanation = explain(&other_namespace, now());
    assert_eq!(explanation.problems[0].message, "network-attachment-definition ns/a does not exist");
    assert_eq!(
        explanation.problems[0].remedy,
        "there is default/a: name the namespace in the annotation, or create it here"
    );

    let wrong = problems(&facts(running("a/b/c", &Value::Null), &[]));
    assert_eq!(wrong, ["parsePodNetworkObjectName: Invalid network object (failed at '/')"]);
    let broken = problems(&facts(pod("Pending", "a", &Value::Null), &[("ns/a", "{")]));
    assert!(
        broken[0]
            .starts_with("network-attachment-definition ns/a: GetCNIConfig: err in getCNIConfigFromSpec"),
        "{broken:?}"
    );
    let twice = problems(&facts(
        running(r#"[{"name":"a","interface":"net2"},{"name":"b"}]"#, &Value::Null),
        &[("ns/a", NET), ("ns/b", NET)],
    ));
    assert!(twice[0].contains("would both get the interface name net2"), "{twice:?}");
    let undeclared = problems(&facts(
        running(r#"[{"name":"a","bandwidth":{"ingressRate":1}}]"#, &status()),
        &[("ns/a", NET)],
    ));
    assert!(
        undeclared[0].contains("asks ns/a for bandwidth, but no plugin of it declares"),
        "{undeclared:?}"
    );

    let changed = problems(&facts(running("a,b", &status()), &[("ns/a", NET), ("ns/b", NET)]));
    assert!(changed[0].starts_with("ns/b: not attached, though other networks are"), "{changed:?}");
    let not_run = problems(&facts(running("a", &Value::Null), &[("ns/a", NET)]));
    assert!(not_run[0].contains("the runtime of node n1 did not run multus for this pod"), "{not_run:?}");
    // Nothing but the event, which is gone after an hour, would show that this network is attached.
    let dhcp = NET.replace("whereabouts\",\"range\":\"10.1.0.0/24", "dhcp");
    let unclear = problems(&facts(running("a", &Value::Null), &[("ns/a", &dhcp)]));
    assert!(
        unclear[0].ends_with("or antrea-agent has removed network-status more than an hour ago"),
        "{unclear:?}"
    );
}

#[test]
fn a_network_status_that_antrea_removed_is_told_from_networks_that_are_missing() {
    let mut removed = facts(pod("Running", "a", &Value::Null), &[("ns/a", NET)]);
    removed.claims = Ok(vec![claim("10.1.0.1", "net1", "u-1")]);
    let found = problems(&removed);
    assert!(
        found.len() == 1
            && found[0].starts_with(
                "ns/a: attached, but not in network-status, which somebody has removed. antrea-agent"
            ),
        "{found:?}"
    );
    removed.claims = Ok(Vec::new());
    removed.events =
        Ok(vec![event("AddedInterface", "Add net1 [10.1.0.1/24] from ns/a", "2026-11-28T10:01:00Z")]);
    assert!(problems(&removed)[0].contains("somebody has removed"));
    let by_hotplug = "pod [ns/pod0]: added interface net1 to network: ns/a(ips: [10.1.0.1/24])";
    removed.events = Ok(vec![event("AddedInterface", by_hotplug, "2026-11-28T10:01:00Z")]);
    assert!(problems(&removed)[0].contains("somebody has removed"));

    let vlan = r#"{"cniVersion":"0.3.0","type":"antrea","networkType":"vlan","ipam":{"type":"antrea"}}"#;
    let left = explain(&facts(pod("Running", "v", &Value::Null), &[("ns/v", vlan)]), now());
    assert_eq!((left.asked[0].state, left.problems.len()), (NetworkState::LeftToAntrea, 0));
    assert!(
        left.notes[0].starts_with("ns/v is of CNI type antrea with a networkType: antrea-agent attaches it"),
        "{:?}",
        left.notes
    );
}

#[test]
fn claims_are_compared_with_the_addresses() {
    let mut facts = facts(pod("Running", "a", &status()), &[("ns/a", NET)]);
    assert_eq!(problems(&facts), ["address 10.1.0.1 of net1 has no claim, so that another pod may get it"]);
    facts.claims = Ok(vec![claim("10.1.0.1", "net1", "u-0")]);
    let explanation = explain(&facts, now());
    assert!(
        explanation.problems.is_empty()
            && render(&explanation).contains("5m (of an earlier pod of this name)")
    );
    facts.claims = Err("forbidden".to_owned());
    let explanation = explain(&facts, now());
    assert!(
        explanation.problems.is_empty() && explanation.notes[0].ends_with("compared with them: forbidden")
    );
}

#[test]
fn a_pod_that_waits_for_something_else_is_told_so() {
    let mut unscheduled = pod("Pending", "a", &Value::Null);
    unscheduled.node = String::new();
    assert!(problems(&facts(unscheduled, &[("ns/a", NET)]))[0].starts_with("no node was chosen"));
    let mut on_host = pod("Running", "a", &Value::Null);
    on_host.network = PodNetwork::Hosts;
    assert!(problems(&facts(on_host, &[("ns/a", NET)]))[0].contains("hostNetwork"));
    let mut attached = facts(pod("Pending", "", &status()), &[]);
    assert!(
        problems(&attached)[0].starts_with("the networks are attached; the pod waits for something else")
    );
    attached.pod.deletion = Deletion::Asked;
    attached.events = Ok(vec![event("NetworkNotDeleted", "left something", "2026-11-28T10:01:00Z")]);
    assert_eq!(problems(&attached), ["left something"]);
    assert!(render(&explain(&attached, now())).starts_with("pod ns/web-0: Terminating"));
}

#[test]
fn the_annotation_for_the_default_network_is_shown_or_refused() {
    let with = |annotation: &str| {
        let mut pod = pod("Running", "", &status());
        pod.default_network = annotation.to_owned();
        explain(&facts(pod, &[]), now())
    };
    let text = render(&with("other"));
    assert!(
        text.contains("asked for, in place of the cluster's default network: kube-system/other\n"),
        "{text}"
    );
    let several = with("a,b");
    assert!(several.default_network.is_none());
    assert!(
        several.problems[0].message.contains("more than one default network is specified"),
        "{several:?}"
    );
}

#[test]
fn hostile_annotations_are_escaped() {
    let hostile = "\u{1b}[2J\u{202e}\n";
    let mut facts = facts(
        pod(
            "Running",
            &format!("[{{\"name\":\"{hostile}"),
            &json!([{"name": hostile, "interface": hostile, "ips": [hostile]}]),
        ),
        &[],
    );
    facts.events = Ok(vec![
        event("FailedCreatePodSandBox", hostile, "2026-11-28T10:00:00Z"),
        event("NetworkNotDeleted", hostile, "2026-11-28T10:00:00Z"),
    ]);
    let text = render(&explain(&facts, now()));
    assert!(text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{text}");
}
