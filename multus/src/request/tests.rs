use std::path::Path;

use nad::NadRef;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::json;

use super::*;
use crate::conf::{Conf, DefaultNetworks};
use crate::testing::{call, network as inline, pod};

fn conf(extra: serde_json::Value) -> Conf {
    let mut conf =
        json!({"name": "n", "type": "multus", "clusterNetwork": "main", "defaultNetworks": ["extra"]});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Conf::read(&call(&conf, "/bin", "")).unwrap()
}

fn requested(
    extra: serde_json::Value,
    annotations: [&str; 2],
    namespace: &str,
) -> Result<Vec<String>, RequestError> {
    let conf = conf(extra);
    let mut pod = pod(namespace, "web-0");
    pod.networks = Some(annotations[0].to_owned());
    pod.default_network = Some(annotations[1].to_owned());
    let own = pod.pod_ref.namespace.clone();
    let requests = network_requests(&conf, &conf.default_networks().unwrap(), Some(&own), Some(&pod))?;
    let text = |request: &NetworkRequest| match &request.origin {
        Origin::Inline(network) => network.label.clone(),
        Origin::Path(path) => format!("path {}", path.display()),
        Origin::Named(nad_ref) => format!("named {nad_ref}"),
        Origin::Definition(nad_ref) => nad_ref.to_string(),
        Origin::OnDisk(name) => format!("disk {name}"),
    };
    Ok(requests.iter().map(text).collect())
}

#[test]
fn the_order_is_default_network_default_networks_annotation() {
    let got = requested(json!({}), ["b,other/a", ""], "ns").unwrap();
    assert_eq!(got, ["named kube-system/main", "named kube-system/extra", "ns/b", "other/a"]);
}

#[test]
fn system_namespaces_get_no_default_networks() {
    assert_eq!(requested(json!({}), ["", ""], "kube-system").unwrap(), ["named kube-system/main"]);
    let got = requested(json!({"systemNamespaces": ["ns"]}), ["", ""], "ns").unwrap();
    assert_eq!(got, ["named kube-system/main"]);
}

#[test]
fn the_default_network_annotation_replaces_the_first_network() {
    let got = requested(json!({"multusNamespace": "mns"}), ["b", "special"], "ns").unwrap();
    assert_eq!(got, ["mns/special", "named mns/extra", "ns/b"]);
    assert_eq!(requested(json!({}), ["", "elsewhere/special"], "ns").unwrap()[0], "elsewhere/special");
}

#[test]
fn isolation_applies_to_the_default_network_annotation() {
    let conf = || json!({"namespaceIsolation": true, "globalNamespaces": "shared", "multusNamespace": "mns"});
    for (annotation, want) in [
        ("ns/a", "ns/a"),
        ("shared/a", "shared/a"),
        ("a", "mns/a"),
        ("mns/a", "mns/a"),
        (r#"[{"name":"a","namespace":"ns"}]"#, "ns/a"),
    ] {
        assert_eq!(requested(conf(), ["", annotation], "ns").unwrap()[0], want);
    }
    for annotation in ["other/a", r#"[{"name":"other/a"}]"#, r#"[{"name":"a","namespace":"other"}]"#] {
        let error = requested(conf(), ["", annotation], "ns").unwrap_err().to_string();
        assert!(error.contains("pod is in namespace ns but refers to target namespace other; "), "{error}");
        assert!(error.contains("annotation v1.multus-cni.io/default-network of pod ns/web-0"), "{error}");
    }
    // The other annotation does not get the networks of multusNamespace.
    assert!(requested(conf(), ["mns/a", ""], "ns").is_err());
}

#[test]
fn isolation_allows_the_own_and_the_global_namespaces_only() {
    let strict = || json!({"namespaceIsolation": true});
    assert!(requested(strict(), ["a,ns/b,default/c", ""], "ns").is_ok());
    let error = requested(strict(), ["a,other/b", ""], "ns").unwrap_err().to_string();
    assert_eq!(
        error,
        "GetNetworkDelegates: namespace isolation enabled, annotation violates permission, pod is in namespace ns but refers to target \
         namespace other; correct the annotation k8s.v1.cni.cncf.io/networks of pod ns/web-0, or add the namespace to globalNamespaces"
    );
    let named = json!({"namespaceIsolation": true, "globalNamespaces": "shared, other"});
    assert!(requested(named.clone(), ["other/b", ""], "ns").is_ok());
    assert!(requested(named, ["default/b", ""], "ns").is_err());
}

#[test]
fn a_cluster_network_is_a_name_or_a_path() {
    for (network, want) in [("/etc/x.conflist", "path /etc/x.conflist"), ("k8s_pod.Net", "disk k8s_pod.Net")]
    {
        assert_eq!(
            requested(json!({"clusterNetwork": network, "defaultNetworks": []}), ["", ""], "ns").unwrap(),
            [want]
        );
    }
}

#[test]
fn the_error_of_a_wrong_annotation_names_pod_and_annotation() {
    let error = requested(json!({}), ["a/b/c", ""], "ns").unwrap_err().to_string();
    assert!(
        error.ends_with("; correct the annotation k8s.v1.cni.cncf.io/networks of pod ns/web-0"),
        "{error}"
    );
    let error = requested(json!({}), ["", "a,b"], "ns").unwrap_err().to_string();
    assert!(
        error.ends_with("; correct the annotation v1.multus-cni.io/default-network of pod ns/web-0"),
        "{error}"
    );
}

fn nad_ref(name: &str) -> NadRef {
    NadRef { namespace: DnsLabel::new("default").unwrap(), name: DnsSubdomain::new(name).unwrap() }
}

fn request(origin: Origin) -> NetworkRequest {
    NetworkRequest { origin, attachment: AttachmentRequest::default() }
}

#[test]
fn each_definition_is_read_once() {
    let requests = [
        Origin::Definition(nad_ref("b")),
        Origin::Named(nad_ref("a")),
        Origin::Definition(nad_ref("b")),
        Origin::OnDisk("x".into()),
    ]
    .map(request);
    assert_eq!(needed_definitions(&requests), [nad_ref("a"), nad_ref("b")]);
}

#[test]
fn the_error_of_a_missing_definition_says_what_to_do() {
    let pod = pod("default", "pod0");
    let definitions = Definitions::from([(nad_ref("nope"), Lookup::Absent("not found".into()))]);
    let error = resolve(
        &request(Origin::Definition(nad_ref("nope"))),
        &definitions,
        Path::new("/nowhere"),
        Some(&pod),
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot find a network-attachment-definition (nope) in namespace (default): not found; create it or correct the annotation \
         k8s.v1.cni.cncf.io/networks of pod default/pod0"
    );
}

#[test]
fn a_network_of_the_configuration_without_a_definition_is_a_file_of_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("1.conf");
    node::files::write_atomic(&file, br#"{"name":"main","type":"a"}"#, 0o600).unwrap();
    for definitions in
        [Definitions::new(), Definitions::from([(nad_ref("main"), Lookup::Absent("gone".into()))])]
    {
        assert_eq!(
            resolve(&request(Origin::Named(nad_ref("main"))), &definitions, folder.path(), None)
                .unwrap()
                .label,
            "main"
        );
    }
    let nad = serde_json::from_value(json!({"spec": {"config": "{\"type\":\"b\"}"}})).unwrap();
    let definitions = Definitions::from([(nad_ref("main"), Lookup::Found(nad))]);
    assert_eq!(
        resolve(&request(Origin::Named(nad_ref("main"))), &definitions, folder.path(), None).unwrap().label,
        "default/main"
    );
}

#[test]
fn a_default_network_with_a_namespace_is_refused_with_what_to_write() {
    let requests = requested(json!({"defaultNetworks": ["default/m"]}), ["", ""], "ns").unwrap();
    assert_eq!(requests[1], "path default/m");
    let resolved = |path: &str| {
        resolve(&request(Origin::Path(path.into())), &Definitions::new(), Path::new("/nowhere"), None)
    };
    let error = resolved("default/m").unwrap_err().to_string();
    assert_eq!(
        error,
        "cannot find network \"default/m\" of the multus configuration: a text with \"/\" is the path of a file, and there is no such file; \
         write the absolute path of a file, or a name without a namespace: a definition of that name is read from multusNamespace"
    );
    assert!(matches!(resolved("/nowhere/m.conf"), Err(RequestError::File { .. })));
}

#[test]
fn the_error_of_a_wrong_definition_names_it() {
    let nad = serde_json::from_value(json!({"spec": {"config": "{"}})).unwrap();
    let definitions = Definitions::from([(nad_ref("bad"), Lookup::Found(nad))]);
    let error =
        resolve(&request(Origin::Definition(nad_ref("bad"))), &definitions, Path::new("/nowhere"), None)
            .unwrap_err();
    assert!(
        error.to_string().starts_with("network-attachment-definition default/bad: GetCNIConfig: err in "),
        "{error}"
    );
}

#[test]
fn without_a_pod_only_the_networks_of_every_pod_are_requested() {
    let conf = conf(json!({}));
    let defaults = DefaultNetworks::Inline(vec![inline("a", "1.0.0"), inline("b", "1.0.0")]);
    assert_eq!(network_requests(&conf, &defaults, None, None).unwrap().len(), 2);
}
