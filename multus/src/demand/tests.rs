use serde_json::json;

use super::*;
use crate::testing::{call, network as inline, pod};

fn conf(extra: serde_json::Value) -> Conf {
    let mut conf =
        json!({"name": "n", "type": "multus", "clusterNetwork": "main", "defaultNetworks": ["extra"]});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Conf::read(&call(&conf, "/bin", "")).unwrap()
}

fn asked(
    extra: serde_json::Value,
    annotations: [&str; 2],
    namespace: &str,
) -> Result<Vec<String>, DemandError> {
    let conf = conf(extra);
    let mut pod = pod(namespace, "web-0");
    pod.networks = Some(annotations[0].to_owned());
    pod.default_network = Some(annotations[1].to_owned());
    let own = pod.at.namespace.clone();
    let demands = demands(&conf, &conf.default_networks().unwrap(), Some(&own), Some(&pod))?;
    let text = |demand: &Demand| match &demand.origin {
        Origin::Inline(network) => network.label.clone(),
        Origin::Path(path) => format!("path {}", path.display()),
        Origin::Named(at) => format!("named {at}"),
        Origin::Definition(at) => at.to_string(),
        Origin::OnDisk(name) => format!("disk {name}"),
    };
    Ok(demands.iter().map(text).collect())
}

#[test]
fn the_order_is_default_network_default_networks_annotation() {
    let got = asked(json!({}), ["b,other/a", ""], "ns").unwrap();
    assert_eq!(got, ["named kube-system/main", "named kube-system/extra", "ns/b", "other/a"]);
}

#[test]
fn system_namespaces_get_no_default_networks() {
    assert_eq!(asked(json!({}), ["", ""], "kube-system").unwrap(), ["named kube-system/main"]);
    let got = asked(json!({"systemNamespaces": ["ns"]}), ["", ""], "ns").unwrap();
    assert_eq!(got, ["named kube-system/main"]);
}

#[test]
fn the_default_network_annotation_takes_the_first_place() {
    let got = asked(json!({"multusNamespace": "mns"}), ["b", "special"], "ns").unwrap();
    assert_eq!(got, ["mns/special", "named mns/extra", "ns/b"]);
    let got = asked(json!({"namespaceIsolation": true}), ["", "elsewhere/special"], "ns").unwrap();
    assert_eq!(got[0], "elsewhere/special");
}

#[test]
fn isolation_binds_the_annotation_to_the_own_and_the_global_namespaces() {
    let strict = || json!({"namespaceIsolation": true});
    assert!(asked(strict(), ["a,ns/b,default/c", ""], "ns").is_ok());
    let error = asked(strict(), ["a,other/b", ""], "ns").unwrap_err().to_string();
    assert_eq!(
        error,
        "GetNetworkDelegates: namespace isolation enabled, annotation violates permission, pod is in namespace ns but refers to target \
         namespace other"
    );
    let named = json!({"namespaceIsolation": true, "globalNamespaces": "shared, other"});
    assert!(asked(named.clone(), ["other/b", ""], "ns").is_ok());
    assert!(asked(named, ["default/b", ""], "ns").is_err());
}

#[test]
fn a_cluster_network_is_a_name_or_a_path() {
    for (network, want) in [("/etc/x.conflist", "path /etc/x.conflist"), ("k8s_pod.Net", "disk k8s_pod.Net")]
    {
        assert_eq!(
            asked(json!({"clusterNetwork": network, "defaultNetworks": []}), ["", ""], "ns").unwrap(),
            [want]
        );
    }
}

#[test]
fn an_annotation_that_is_wrong_names_pod_and_annotation() {
    let error = asked(json!({}), ["a/b/c", ""], "ns").unwrap_err().to_string();
    assert!(
        error.ends_with("; correct the annotation k8s.v1.cni.cncf.io/networks of pod ns/web-0"),
        "{error}"
    );
    let error = asked(json!({}), ["", "a,b"], "ns").unwrap_err().to_string();
    assert!(
        error.ends_with("; correct the annotation v1.multus-cni.io/default-network of pod ns/web-0"),
        "{error}"
    );
}

fn at(name: &str) -> NadRef {
    NadRef { namespace: DnsLabel::new("default").unwrap(), name: DnsSubdomain::new(name).unwrap() }
}

fn demand(origin: Origin) -> Demand {
    Demand { origin, request: Request::default() }
}

#[test]
fn each_definition_is_read_once() {
    let demands = [
        Origin::Definition(at("b")),
        Origin::Named(at("a")),
        Origin::Definition(at("b")),
        Origin::OnDisk("x".into()),
    ]
    .map(demand);
    assert_eq!(definitions(&demands), [at("a"), at("b")]);
}

#[test]
fn a_missing_definition_is_an_error_that_says_what_to_do() {
    let pod = pod("default", "pod0");
    let found = Found::from([(at("nope"), Lookup::Absent("not found".into()))]);
    let error = network(&demand(Origin::Definition(at("nope"))), &found, Path::new("/nowhere"), Some(&pod))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find a network-attachment-definition (nope) in namespace (default): not found; create it or correct the annotation \
         k8s.v1.cni.cncf.io/networks of pod default/pod0"
    );
}

#[test]
fn a_named_network_falls_back_to_the_nodes_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("1.conf");
    node::files::write_atomic(&file, br#"{"name":"main","type":"a"}"#, 0o600).unwrap();
    for found in [Found::new(), Found::from([(at("main"), Lookup::Absent("gone".into()))])] {
        assert_eq!(
            network(&demand(Origin::Named(at("main"))), &found, folder.path(), None).unwrap().label,
            "main"
        );
    }
    let nad = serde_json::from_value(json!({"spec": {"config": "{\"type\":\"b\"}"}})).unwrap();
    let found = Found::from([(at("main"), Lookup::Found(nad))]);
    assert_eq!(
        network(&demand(Origin::Named(at("main"))), &found, folder.path(), None).unwrap().label,
        "default/main"
    );
}

#[test]
fn a_definition_that_makes_no_network_is_named() {
    let nad = serde_json::from_value(json!({"spec": {"config": "{"}})).unwrap();
    let found = Found::from([(at("bad"), Lookup::Found(nad))]);
    let error =
        network(&demand(Origin::Definition(at("bad"))), &found, Path::new("/nowhere"), None).unwrap_err();
    assert!(
        error.to_string().starts_with("network-attachment-definition default/bad: GetCNIConfig: err in "),
        "{error}"
    );
}

#[test]
fn without_a_pod_only_the_networks_of_every_pod_are_asked_for() {
    let conf = conf(json!({}));
    let defaults = DefaultNetworks::Inline(vec![inline("a", "1.0.0"), inline("b", "1.0.0")]);
    assert_eq!(demands(&conf, &defaults, None, None).unwrap().len(), 2);
}
