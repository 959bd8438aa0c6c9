//! Every key of Multus' configuration: what it does here, or that it does nothing, and whether ADD says so.

use serde_json::{Value, json};

use super::super::*;
use crate::testing::call;

/// What a key does.
enum Does {
    /// It makes this true, which is false by default.
    Effect(fn(&Conf) -> bool),
    /// Nothing, and a warning says so.
    Warn,
    /// Nothing in Multus either, or nothing that somebody could miss.
    Nothing,
}

use Does::{Effect, Nothing, Warn};

/// The key, a configuration with it, and what it does.
fn keys() -> Vec<(&'static str, Value, Does)> {
    [of_every_plugin(), of_the_node(), of_networks(), of_logs(), of_installers()]
        .into_iter()
        .flatten()
        .collect()
}

fn of_every_plugin() -> Vec<(&'static str, Value, Does)> {
    vec![
        ("cniVersion", json!({"cniVersion": "1.0.0"}), Effect(|c| c.cni_version == Version::V1_0_0)),
        ("name", json!({"name": "other"}), Effect(|c| c.name.as_str() == "other")),
        ("type", json!({"type": "multus-shim"}), Effect(|c| c.daemon.need == DaemonNeed::Required)),
        ("capabilities", json!({"capabilities": {"portMappings": true}}), Nothing),
        ("ipam", json!({"ipam": {"type": "x"}}), Nothing),
        ("dns", json!({"dns": {"domain": "x"}}), Nothing),
        ("prevResult", json!({"prevResult": {"cniVersion": "1.0.0"}}), Nothing),
    ]
}

fn of_the_node() -> Vec<(&'static str, Value, Does)> {
    vec![
        ("confDir", json!({"confDir": "/c"}), Effect(|c| c.conf_dir == Path::new("/c"))),
        ("cniDir", json!({"cniDir": "/c"}), Effect(|c| c.cni_dir == Path::new("/c"))),
        ("binDir", json!({"binDir": "/b"}), Effect(|c| c.path.to_text() == "/b:/bin")),
    ]
}

fn of_networks() -> Vec<(&'static str, Value, Does)> {
    let isolated = |conf: &Conf| conf.isolation == Isolation::Except(vec!["a".into(), "b".into()]);
    let others = |conf: &Conf| matches!(conf.default_networks(), Ok(DefaultNetworks::Cluster { others, .. }) if others == ["d"]);
    vec![
        (
            "delegates",
            json!({"delegates": [{"name": "a", "type": "a"}]}),
            Effect(|c| matches!(c.default_networks(), Ok(DefaultNetworks::Inline(_)))),
        ),
        (
            "clusterNetwork",
            json!({"clusterNetwork": "c"}),
            Effect(
                |c| matches!(c.default_networks(), Ok(DefaultNetworks::Cluster { network, .. }) if network == "c"),
            ),
        ),
        (
            "clusterCIDRs",
            json!({"clusterCIDRs": ["10.244.0.0/16"]}),
            Effect(|c| c.cluster_cidrs().unwrap() == ["10.244.0.0/16".parse::<IpNet>().unwrap()]),
        ),
        ("defaultNetworks", json!({"clusterNetwork": "c", "defaultNetworks": ["d"]}), Effect(others)),
        (
            "kubeconfig",
            json!({"kubeconfig": "/k"}),
            Effect(|c| c.kubeconfig.as_deref() == Some(Path::new("/k"))),
        ),
        (
            "daemonSocketDir",
            json!({"daemonSocketDir": "/d"}),
            Effect(|c| {
                c.daemon.socket == Path::new("/d/multus.sock") && c.daemon.need == DaemonNeed::Required
            }),
        ),
        (
            "runtimeConfig",
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 1}], "own": 1}}),
            Effect(|c| c.runtime_config.len() == 2),
        ),
        (
            "readinessindicatorfile",
            json!({"readinessindicatorfile": "/r"}),
            Effect(|c| c.readiness_file.as_deref() == Some(Path::new("/r"))),
        ),
        (
            "namespaceIsolation",
            json!({"namespaceIsolation": true}),
            Effect(|c| c.isolation != Isolation::Off),
        ),
        (
            "globalNamespaces",
            json!({"namespaceIsolation": true, "globalNamespaces": "a, b"}),
            Effect(isolated),
        ),
        (
            "auxiliaryCNIChainName",
            json!({"clusterNetwork": "/c/x.conflist", "auxiliaryCNIChainName": "v"}),
            Effect(|c| c.auxiliary_chain().unwrap().is_some_and(|chain| chain.folder == Path::new("/c/v"))),
        ),
        ("systemNamespaces", json!({"systemNamespaces": ["s"]}), Effect(|c| c.system_namespaces == ["s"])),
        ("multusNamespace", json!({"multusNamespace": "m"}), Effect(|c| c.multus_namespace.as_str() == "m")),
        ("retryDeleteOnError", json!({"retryDeleteOnError": true}), Nothing),
    ]
}

fn of_logs() -> Vec<(&'static str, Value, Does)> {
    vec![
        ("logFile", json!({"logFile": "/l"}), Effect(|c| c.log.file.is_some())),
        ("logLevel", json!({"logLevel": "verbose"}), Effect(|c| c.log.level == LogLevel::Verbose)),
        (
            "logToStderr",
            json!({"logFile": "/l", "logToStderr": false}),
            Effect(|c| c.log.stderr == Stderr::Instead),
        ),
        (
            "logOptions",
            json!({"logFile": "/l", "logOptions": {"maxBackups": 7}}),
            Effect(|c| c.log.file.as_ref().is_some_and(|file| file.rotation.backups == Some(7))),
        ),
    ]
}

fn of_installers() -> Vec<(&'static str, Value, Does)> {
    vec![
        // Written by installers and generators, or named by Multus' documentation.
        ("cniConf", json!({"cniConf": "/host/etc/cni/multus/net.d"}), Nothing),
        ("overrideNetworkName", json!({"overrideNetworkName": true}), Nothing),
        ("allowTryDeleteOnErr", json!({"allowTryDeleteOnErr": true}), Warn),
        ("socketDir", json!({"socketDir": "/run/multus/"}), Warn),
    ]
}

fn read(extra: &Value) -> Conf {
    let mut conf = json!({"name": "n"});
    conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    Conf::read(&call(&conf, "/bin", "")).unwrap()
}

#[test]
fn each_key_does_what_the_table_says() {
    let without = read(&json!({}));
    for (key, extra, does) in keys() {
        let with = read(&extra);
        match does {
            Effect(holds) => {
                assert!(holds(&with) && with.warnings.is_empty(), "{key}: {with:?}");
                assert!(!holds(&without), "{key} is the default");
            }
            Warn => {
                assert!(with.warnings.iter().any(|warning| warning.contains(&format!("{key:?}"))), "{key}");
            }
            Nothing => assert_eq!(format!("{with:?}"), format!("{without:?}"), "{key}"),
        }
    }
    assert!(without.warnings.is_empty());
}

#[test]
fn the_table_has_every_key_with_an_effect() {
    let keys = keys();
    let is_in_table =
        |key: &str| keys.iter().any(|(name, _, does)| *name == key && matches!(does, Effect(_)));
    assert!(KNOWN.iter().all(|key| is_in_table(key)), "{KNOWN:?}");
}

#[test]
fn a_cluster_cidr_that_is_no_network_is_refused_but_not_at_del() {
    let conf = read(&json!({"clusterCIDRs": ["10.244.0.0"]}));
    let error = conf.check_keys().unwrap_err();
    assert_eq!(error.code, Code::InvalidConfig);
    assert!(error.msg.starts_with("LoadNetConf: clusterCIDRs: \"10.244.0.0\" is not a network"), "{error}");
}

#[test]
fn an_empty_value_is_the_default() {
    let empty = json!({"confDir": "", "cniDir": "", "binDir": "", "multusNamespace": "", "systemNamespaces": [], "globalNamespaces": "",
        "kubeconfig": "", "readinessindicatorfile": "", "auxiliaryCNIChainName": "", "defaultNetworks": null});
    assert_eq!(format!("{:?}", read(&empty)), format!("{:?}", read(&json!({}))));
}
