mod keys;

use serde_json::json;

use super::*;
use crate::testing::call;

fn read(conf: Value) -> Result<Conf, CniError> {
    Conf::read(&call(&conf, "/bin", ""))
}

#[test]
fn defaults_are_upstreams() {
    let conf = read(json!({"name": "n", "type": "multus", "clusterNetwork": "c"})).unwrap();
    assert_eq!(conf.conf_dir.to_str(), Some("/etc/cni/multus/net.d"));
    assert_eq!(conf.cni_dir.to_str(), Some("/var/lib/cni/multus"));
    assert_eq!(conf.path.to_text(), "/opt/cni/bin:/bin");
    assert_eq!(conf.multus_namespace.as_str(), "kube-system");
    assert_eq!(conf.system_namespaces, ["kube-system"]);
    assert_eq!(conf.isolation, Isolation::Off);
    assert_eq!((conf.kubeconfig, conf.readiness_file), (None, None));
}

#[test]
fn keys_match_in_any_case_and_unknown_keys_are_ignored() {
    let conf = read(
        json!({"name": "n", "CNIDIR": "/c", "ReadinessIndicatorFile": "/r", "cniConf": "/x", "unheardOf": 3,
        "NamespaceIsolation": true, "globalNamespaces": " a, b,", "BinDir": "/b", "delegates": null}),
    )
    .unwrap();
    assert_eq!((conf.cni_dir.to_str(), conf.path.to_text().as_str()), (Some("/c"), "/b:/bin"));
    assert_eq!(conf.readiness_file.unwrap().to_str(), Some("/r"));
    assert_eq!(conf.isolation, Isolation::Except(vec!["a".into(), "b".into()]));
}

#[test]
fn isolation_without_global_namespaces_allows_the_namespace_default() {
    let conf = read(json!({"name": "n", "namespaceIsolation": true})).unwrap();
    assert_eq!(conf.isolation, Isolation::Except(vec!["default".into()]));
}

#[test]
fn delegates_are_ignored_beside_a_cluster_network() {
    let conf = read(
        json!({"name": "n", "clusterNetwork": "c", "defaultNetworks": ["d"], "delegates": [{"bad": 1}]}),
    )
    .unwrap();
    let want = DefaultNetworks::Cluster { network: "c".into(), others: vec!["d".into()] };
    assert_eq!(conf.default_networks().unwrap(), want);
}

fn chain_of(extra: Value) -> Result<Option<AuxiliaryChain>, CniError> {
    let mut conf = json!({"name": "n", "auxiliaryCNIChainName": "vendor"});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let conf = read(conf).unwrap();
    assert_eq!(conf.check_keys().err(), conf.auxiliary_chain().err());
    conf.auxiliary_chain()
}

#[test]
fn the_auxiliary_chain_is_in_a_folder_beside_the_file_of_the_cluster_network() {
    for (network, want) in [
        ("/etc/cni/net.d/10-x.conflist", "/etc/cni/net.d/vendor"),
        ("/etc/cni/net.d/", "/etc/cni/net.d/vendor"),
        ("/10-x.conflist", "/vendor"),
    ] {
        let chain = chain_of(json!({"clusterNetwork": network})).unwrap().unwrap();
        assert_eq!((chain.name.as_str(), chain.folder.to_str().unwrap()), ("vendor", want));
    }
    let without = json!({"clusterNetwork": "c", "AuxiliaryCNIChainName": ""});
    assert_eq!(read(json!({"name": "n"})).unwrap().auxiliary_chain().unwrap(), None);
    assert_eq!(chain_of(without).unwrap(), None);
}

#[test]
fn an_auxiliary_chain_without_a_path_beside_it_is_refused() {
    let delegates = json!({"delegates": [{"name": "a", "type": "a"}]});
    for (extra, shown) in [(json!({"clusterNetwork": "main"}), "main"), (delegates, "")] {
        let error = chain_of(extra).unwrap_err();
        let want = format!(
            "auxiliary chain used but ClusterNetwork must be a path, and it is not a path: {shown}: "
        );
        assert!(error.msg.contains(&want) && error.code == Code::InvalidConfig, "{error}");
    }
    let outside = json!({"clusterNetwork": "/a/b", "auxiliaryCNIChainName": "../x"});
    let error = chain_of(outside).unwrap_err();
    assert!(error.msg.starts_with("LoadNetConf: auxiliaryCNIChainName: invalid characters"), "{error}");
}

#[test]
fn a_key_without_effect_causes_a_warning() {
    let conf = read(json!({"name": "n", "clusterNetwork": "c", "MetricsPort": 9091})).unwrap();
    assert!(conf.default_networks().is_ok());
    assert!(conf.check_keys().is_ok());
    let [warning] = &conf.warnings[..] else { panic!("{:?}", conf.warnings) };
    assert!(warning.starts_with("key \"metricsPort\" has no effect here"), "{warning}");
}

#[test]
fn wrong_configurations_are_refused_with_the_reason() {
    let wrong = |conf: Value| match read(conf) {
        Err(error) => error,
        Ok(conf) => conf.default_networks().unwrap_err(),
    };
    for (bad, code, msg) in [
        (
            json!({"name": "n"}),
            Code::InvalidConfig,
            "LoadNetConf: at least one delegate/clusterNetwork must be specified",
        ),
        (json!({"name": "n", "delegates": []}), Code::InvalidConfig, "at least one delegate"),
        (json!({"name": "n", "delegates": {}}), Code::Decoding, "LoadNetConf: failed to load netconf: "),
        (json!({"name": "n", "cniDir": 3}), Code::Decoding, "LoadNetConf: failed to load netconf: "),
        (json!({"name": "n", "delegates": [null]}), Code::Decoding, "LoadNetConf: failed to load netconf: "),
        (
            json!({"name": "n", "delegates": [{"name": "a"}]}),
            Code::InvalidConfig,
            "LoadNetConf: failed to load delegate 0 config: ",
        ),
        (
            json!({"name": "n", "multusNamespace": "a/b"}),
            Code::InvalidConfig,
            "multusNamespace: \"a/b\" is not",
        ),
        (
            json!({"name": "n", "delegates": [{"name": "a", "type": "a"}, {"name": "b", "plugins": [{"type": "multus-shim"}]}]}),
            Code::InvalidConfig,
            "failed to load delegate 1 config: network \"b\" has multus itself (\"multus-shim\") as a plugin",
        ),
    ] {
        let error = wrong(bad);
        assert!(error.msg.contains(msg) && error.code == code, "{error:?} is not {code:?} {msg}");
    }
}
