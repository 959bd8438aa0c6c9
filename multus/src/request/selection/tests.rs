use cni::names::IfName;
use serde_json::{Value, json};

use super::*;

fn pod_namespace() -> DnsLabel {
    DnsLabel::new("pod-ns").unwrap()
}

fn parsed(text: &str) -> Vec<Element> {
    parse(text, &pod_namespace()).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn refusal(text: &str) -> String {
    parse(text, &pod_namespace()).unwrap_err().to_string()
}

fn only(element: Value) -> AttachmentRequest {
    let mut elements = parsed(&Value::Array(vec![element]).to_string());
    assert_eq!(elements.len(), 1);
    elements.remove(0).request
}

/// `namespace/name@interface` of each element.
fn names(text: &str) -> Vec<String> {
    let interface = |e: &Element| e.request.interface.as_ref().map(|i| format!("@{i}")).unwrap_or_default();
    parsed(text).iter().map(|e| format!("{}/{}{}", e.namespace, e.name, interface(e))).collect()
}

#[test]
fn an_empty_annotation_names_no_network() {
    for text in ["", " ", "\n", "[]"] {
        assert_eq!(parsed(text), [], "{text:?}");
    }
}

#[test]
fn the_comma_form_names_namespace_and_interface() {
    assert_eq!(names("a"), ["pod-ns/a"]);
    assert_eq!(names(" a , other/b@eth1,a@Net_2"), ["pod-ns/a", "other/b@eth1", "pod-ns/a@Net_2"]);
    assert_eq!(names("/a"), ["pod-ns/a"]);
    assert_eq!(names("a@"), ["pod-ns/a"]);
}

#[test]
fn a_comma_at_the_end_names_no_network() {
    for text in ["a,b,", "a,b , ", "a,b,\n"] {
        assert_eq!(names(text), ["pod-ns/a", "pod-ns/b"], "{text:?}");
    }
    assert_eq!(parsed(&"a,".repeat(MAX_NETWORKS)).len(), MAX_NETWORKS);
}

#[test]
fn the_name_of_the_json_form_may_have_the_namespace() {
    for (element, want) in [
        (json!({"name": "other/a.b"}), "other/a.b"),
        (json!({"name": "other/a", "namespace": "other", "interface": "x"}), "other/a@x"),
        (json!({"name": "/a"}), "pod-ns/a"),
        (json!({"name": "a", "namespace": ""}), "pod-ns/a"),
    ] {
        assert_eq!(names(&json!([element]).to_string()), [want]);
    }
    assert_eq!(
        refusal(r#"[{"name":"other/a","namespace":"third"}]"#),
        "parsePodNetworkAnnotation: network 0: \"name\" has the namespace 'other', but \"namespace\" is 'third': give only one"
    );
}

#[test]
fn the_comma_form_is_refused_in_upstreams_words() {
    let mismatch = |item: &str| {
        format!(
            "parsePodNetworkObjectName: Failed to parse: one or more items did not match comma-delimited format (must consist of lower \
             case alphanumeric characters). Must start and end with an alphanumeric character), mismatch @ '{item}'"
        )
    };
    let interface = |name: &str| {
        format!(
            "parsePodNetworkObjectName: Failed to parse interface name: must be less than 15 chars and not contain '/' or spaces. \
             interface name '{name}'"
        )
    };
    for (text, want) in [
        ("a/b/c", "parsePodNetworkObjectName: Invalid network object (failed at '/')".to_owned()),
        ("a/b@c/d", "parsePodNetworkObjectName: Invalid network object (failed at '/')".to_owned()),
        ("a@b@c", "parsePodNetworkObjectName: Invalid network object (failed at '@')".to_owned()),
        ("NET", mismatch("NET")),
        ("a.b", mismatch("a.b")),
        ("-a", mismatch("-a")),
        ("a-", mismatch("a-")),
        ("Ns/a", mismatch("Ns")),
        ("../a", mismatch("..")),
        ("a,,b", mismatch("")),
        (",", mismatch("")),
        ("a,,", mismatch("")),
        (",a", mismatch("")),
        ("a_b", mismatch("a_b")),
        ("a%2f", mismatch("a%2f")),
        ("a@0123456789012345", interface("0123456789012345")),
        ("a@b c", interface("b c")),
        ("a@..", interface("..")),
        ("a@b:1", interface("b:1")),
    ] {
        assert_eq!(refusal(text), want, "{text}");
    }
}

#[test]
fn the_json_form_has_every_key_in_any_case() {
    let request = only(
        json!({"Name": "a.b", "NAMESPACE": "other", "ips": ["10.0.0.1", "fd00::1/64"], "mac": "02:00:00:00:00:01",
        "infiniband-guid": "02:00:00:00:00:00:00:01", "interface": "x", "interfaceRequest": "y", "deviceID": "0000:01:00.0",
        "portMappings": [{"hostport": 80, "containerPort": 8080, "protocol": "tcp", "hostIP": "1.2.3.4", "other": 1}],
        "bandwidth": {"IngressRate": 1, "ingressBurst": 2, "egressRate": 3, "egressBurst": 4}, "cni-args": {"k": [1]},
        "default-route": ["10.0.0.254", "fd00::fe"], "ipFAMILIES": ["IPv6"], "Routes": [{"dst": "10.9.0.0/16", "gw": "10.0.0.1"}],
        "ipam-claim-reference": "unread"}),
    );
    let want = AttachmentRequest {
        requester: Requester::Pod,
        interface: Some(IfName::parse("x").unwrap()),
        ips: vec!["10.0.0.1".into(), "fd00::1/64".into()],
        mac: Some("02:00:00:00:00:01".into()),
        infiniband_guid: Some("02:00:00:00:00:00:00:01".into()),
        port_mappings: vec![PortMapping {
            host_port: 80,
            container_port: 8080,
            protocol: "tcp".into(),
            host_ip: "1.2.3.4".into(),
        }],
        bandwidth: Some(Bandwidth { ingress_rate: 1, ingress_burst: 2, egress_rate: 3, egress_burst: 4 }),
        device_id: Some("0000:01:00.0".into()),
        cni_args: json!({"k": [1]}).as_object().unwrap().clone(),
        default_route: Some(vec!["10.0.0.254".parse().unwrap(), "fd00::fe".parse().unwrap()]),
        routes: vec![PodRoute { dst: "10.9.0.0/16".parse().unwrap(), gw: Some("10.0.0.1".parse().unwrap()) }],
        families: vec![Family::V6],
    };
    assert_eq!(request, want);
    assert_eq!(names(r#"[{"name":"a.b","namespace":"other"},{"name":"c"}]"#), ["other/a.b", "pod-ns/c"]);
}

#[test]
fn a_route_that_the_pod_cannot_have_is_refused_and_named() {
    for (route, words) in [
        (json!({"dst": "0.0.0.0/0", "gw": "10.0.0.1"}), "default-route"),
        (json!({"dst": "::/0"}), "default-route"),
        (json!({"dst": "10.9.1.0/16"}), "10.9.1.0/16"),
        (json!({"dst": "10.9.0.0/16", "gw": "fd00::1"}), "other family"),
        (json!({"dst": "10.9.0.0/33"}), "10.9.0.0/33"),
        (json!({"dst": "10.9.0.0/16", "gw": "west"}), "west"),
        (json!({"gw": "10.0.0.1"}), "dst"),
        (json!({"dst": "10.9.0.0/16", "metric": 1}), "metric"),
    ] {
        let text = json!([{"name": "a", "routes": [route]}]).to_string();
        let error = refusal(&text).to_string();
        assert!(error.contains("routes") && error.contains(words), "{route}: {error}");
    }
    let families = refusal(r#"[{"name":"a","ipFamilies":["ipv4"]}]"#);
    assert!(families.contains("ipFamilies") && families.contains("ipv4"), "{families}");
}

#[test]
fn an_absent_an_empty_and_a_full_default_route_differ() {
    assert_eq!(only(json!({"name": "a"})).default_route, None);
    assert_eq!(only(json!({"name": "a", "default-route": null})).default_route, None);
    assert_eq!(only(json!({"name": "a", "default-route": []})).default_route, Some(vec![]));
}

#[test]
fn interface_request_names_the_interface_if_interface_is_empty() {
    let request = only(json!({"name": "a", "interface": "", "interfaceRequest": "y"}));
    assert_eq!(request.interface, Some(IfName::parse("y").unwrap()));
}

#[test]
fn the_json_form_is_refused_in_upstreams_words() {
    let json_error = "parsePodNetworkAnnotation: failed to parse pod Network Attachment Selection Annotation JSON format: ";
    for (text, want) in [
        (r#"{"name":"a"}"#, json_error),
        (r#"[{"name":"a"}"#, json_error),
        (r#"["a"]"#, json_error),
        ("[null]", json_error),
        (r#"[{"name":3}]"#, json_error),
        (r#"[{"name":"a","ips":"10.0.0.1"}]"#, json_error),
        (r#"[{"name":"a","cni-args":[]}]"#, json_error),
        (r#"[{"name":"a","default-route":["x"]}]"#, json_error),
        (r#"[{"name":"a","portMappings":[{"hostPort":"80"}]}]"#, json_error),
        (r#"[{"name":"a","bandwidth":{"ingressRate":1.5}}]"#, json_error),
        (
            r#"[{"name":"a","ips":["10.0.0.1/33"]}]"#,
            "failed to parse CIDR \"10.0.0.1/33\": invalid CIDR address: 10.0.0.1/33",
        ),
        (r#"[{"name":"a","ips":["10.0.0"]}]"#, "failed to parse IP address \"10.0.0\""),
        (
            r#"[{"name":"a","mac":"xx"}]"#,
            "parsePodNetworkAnnotation: failed to mac: address xx: invalid MAC address",
        ),
        (
            r#"[{"name":"a","infiniband-guid":"xx"}]"#,
            "parsePodNetworkAnnotation: failed to validate infiniband GUID: address xx: ",
        ),
        (
            r#"[{"name":"a","interface":"a/b"}]"#,
            "parsePodNetworkAnnotation: network 0: interface name contains / or : or whitespace",
        ),
        (
            r#"[{"name":"a","interface":"0123456789012345"}]"#,
            "parsePodNetworkAnnotation: network 0: interface name is too long",
        ),
    ] {
        let error = refusal(text);
        assert!(error.starts_with(want), "{text}: {error}");
    }
}

#[test]
fn the_json_form_refuses_names_that_are_unsafe_in_a_url() {
    for name in ["", "../../secrets/x", "a/b/c", "a/", "A", "a?b", "a%2fb", "a\nb"] {
        let text = json!([{"name": "ok"}, {"name": name}]).to_string();
        assert!(refusal(&text).starts_with("parsePodNetworkAnnotation: network 1: \""), "{text}");
        if !name.is_empty() {
            let text = json!([{"name": "a", "namespace": name}]).to_string();
            assert!(refusal(&text).contains("is not a valid namespace"), "{text}");
        }
    }
}

#[test]
fn an_annotation_beyond_the_limits_is_refused() {
    let many = |n: usize| vec!["a"; n].join(",");
    assert_eq!(parsed(&many(MAX_NETWORKS)).len(), 32);
    assert_eq!(refusal(&many(33)), "the annotation names 33 networks, but at most 32 are allowed");
    let json = Value::Array(vec![json!({"name": "a"}); 33]).to_string();
    assert_eq!(refusal(&json), "the annotation names 33 networks, but at most 32 are allowed");
    assert!(refusal(&" ".repeat(MAX_TEXT + 1)).contains("has 65537 bytes"));
}

#[test]
fn a_message_has_only_a_short_escaped_part_of_the_annotation() {
    assert!(refusal(&"X".repeat(MAX_TEXT)).len() < 400);
    assert!(!refusal("A\u{1b}[31m").contains('\u{1b}'));
    assert!(refusal(&format!("[{}", "[".repeat(500))).len() < 500);
}

#[test]
fn the_default_network_annotation_names_at_most_one() {
    assert_eq!(parse_default("", &pod_namespace()).unwrap(), None);
    assert_eq!(
        parse_default("kube-system/x", &pod_namespace()).unwrap().unwrap().namespace.as_str(),
        "kube-system"
    );
    let error = parse_default("a,b", &pod_namespace()).unwrap_err().to_string();
    assert_eq!(error, "tryLoadK8sPodDefaultNetwork: more than one default network is specified: a,b");
}
