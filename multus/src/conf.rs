//! The configuration that multus receives from the runtime.

use std::path::PathBuf;

use cni::exec::SearchPath;
use cni::names::NetworkName;
use cni::plugin::Call;
use cni::{CniError, Code, Version};
use node::names::DnsLabel;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::network::Network;

/// The known keys. They match in any case, as in Go. Other keys are ignored: configurations have keys of other programs.
const KNOWN: &[&str] = &[
    "binDir",
    "cniDir",
    "clusterNetwork",
    "confDir",
    "defaultNetworks",
    "delegates",
    "globalNamespaces",
    "kubeconfig",
    "multusNamespace",
    "namespaceIsolation",
    "readinessindicatorfile",
    "systemNamespaces",
];

/// The configuration. Keys, defaults and meanings are those of upstream.
#[derive(Clone, Debug)]
pub struct Conf {
    /// `name`: the network as the runtime knows it.
    pub name: NetworkName,
    /// `cniVersion`: the version the result must have.
    pub cni_version: Version,
    /// `confDir`: the folder of network configurations that are found by name.
    pub conf_dir: PathBuf,
    /// `cniDir`: the folder of the records. Its subfolder `results` is the result cache.
    pub cni_dir: PathBuf,
    /// `binDir`, then `CNI_PATH`: the search path of plugins.
    pub path: SearchPath,
    /// `kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `readinessindicatorfile`: ADD waits for this file.
    pub readiness_file: Option<PathBuf>,
    /// `namespaceIsolation` and `globalNamespaces`.
    pub isolation: Isolation,
    /// `systemNamespaces`: pods in them get none of the `defaultNetworks`.
    pub system_namespaces: Vec<String>,
    /// `multusNamespace`: the namespace of networks that the configuration or the default-network annotation names without one.
    pub multus_namespace: DnsLabel,
    /// `runtimeConfig`: the capability arguments of the runtime, for the default network.
    pub runtime_config: Map<String, Value>,
    default: Written,
}

/// Which networks of other namespaces a pod may request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// All.
    Off,
    /// Only those of these namespaces, and of its own.
    Except(Vec<String>),
}

/// The networks that every pod gets, as written in the configuration.
#[derive(Clone, Debug)]
enum Written {
    Delegates(Vec<Map<String, Value>>),
    Cluster { network: String, others: Vec<String> },
    Missing,
}

/// The networks that every pod gets. The first is the default network.
#[derive(Clone, Debug, PartialEq)]
pub enum DefaultNetworks {
    /// `delegates`; at least one.
    Inline(Vec<Network>),
    /// `clusterNetwork` and `defaultNetworks`, by name or path.
    Cluster {
        /// The default network.
        network: String,
        /// Further networks of pods outside the system namespaces.
        others: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    bin_dir: String,
    cni_dir: String,
    cluster_network: String,
    conf_dir: String,
    default_networks: Vec<String>,
    delegates: Vec<Map<String, Value>>,
    global_namespaces: String,
    kubeconfig: String,
    multus_namespace: String,
    namespace_isolation: bool,
    #[serde(rename = "readinessindicatorfile")]
    readiness_indicator_file: String,
    system_namespaces: Vec<String>,
}

impl Default for Wire {
    fn default() -> Self {
        Wire {
            bin_dir: String::new(),
            cni_dir: String::new(),
            cluster_network: String::new(),
            conf_dir: String::new(),
            default_networks: Vec::new(),
            delegates: Vec::new(),
            global_namespaces: String::new(),
            kubeconfig: String::new(),
            multus_namespace: String::new(),
            namespace_isolation: false,
            readiness_indicator_file: String::new(),
            system_namespaces: vec!["kube-system".to_owned()],
        }
    }
}

impl Conf {
    /// Reads the configuration of a call. Code 6 for a key of the wrong type, 7 for a value that is not allowed.
    ///
    /// [`Conf::default_networks`] reads the delegates later, because DEL must succeed even if they are wrong.
    pub fn read(call: &Call) -> Result<Conf, CniError> {
        let wire: Wire =
            call.conf.decode(KNOWN).map_err(|e| e.context("LoadNetConf: failed to load netconf"))?;
        let multus_namespace = DnsLabel::new(or(&wire.multus_namespace, "kube-system"))
            .map_err(|e| CniError::new(Code::InvalidConfig, format!("LoadNetConf: multusNamespace: {e}")))?;
        let isolation = match wire.namespace_isolation {
            true => Isolation::Except(global_namespaces(&wire.global_namespaces)),
            false => Isolation::Off,
        };
        Ok(Conf {
            name: call.conf.name.clone(),
            cni_version: call.conf.cni_version,
            // An empty text counts as absent, as in Go.
            conf_dir: or(&wire.conf_dir, "/etc/cni/multus/net.d").into(),
            cni_dir: or(&wire.cni_dir, "/var/lib/cni/multus").into(),
            path: call.path.with_first(or(&wire.bin_dir, "/opt/cni/bin").as_ref()),
            kubeconfig: path(wire.kubeconfig),
            readiness_file: path(wire.readiness_indicator_file),
            isolation,
            system_namespaces: wire.system_namespaces,
            multus_namespace,
            runtime_config: call.conf.runtime_config.clone(),
            // As upstream: with a clusterNetwork, delegates are not even checked.
            default: if !wire.cluster_network.is_empty() {
                Written::Cluster { network: wire.cluster_network, others: wire.default_networks }
            } else if !wire.delegates.is_empty() {
                Written::Delegates(wire.delegates)
            } else {
                Written::Missing
            },
        })
    }

    /// The networks that every pod gets. Code 7 if there is none; for a wrong delegate the code of its error.
    pub fn default_networks(&self) -> Result<DefaultNetworks, CniError> {
        match &self.default {
            Written::Missing => Err(CniError::new(
                Code::InvalidConfig,
                "LoadNetConf: at least one delegate/clusterNetwork must be specified",
            )),
            Written::Cluster { network, others } => {
                Ok(DefaultNetworks::Cluster { network: network.clone(), others: others.clone() })
            }
            Written::Delegates(objects) => {
                let read = |(at, object): (usize, &Map<String, Value>)| {
                    Network::from_object(object.clone(), None)
                        .map_err(|e| e.context(format!("LoadNetConf: failed to load delegate {at} config")))
                };
                objects.iter().enumerate().map(read).collect::<Result<_, _>>().map(DefaultNetworks::Inline)
            }
        }
    }
}

/// Reads a comma-separated list. An empty list means the namespace `default`; any other list replaces it.
fn global_namespaces(text: &str) -> Vec<String> {
    // Upstream trims the names and skips empty ones.
    let named: Vec<String> =
        text.split(',').map(str::trim).filter(|n| !n.is_empty()).map(str::to_owned).collect();
    if named.is_empty() { vec!["default".to_owned()] } else { named }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

fn path(text: String) -> Option<PathBuf> {
    Some(text).filter(|t| !t.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
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
        let conf = read(json!({"name": "n", "CNIDIR": "/c", "ReadinessIndicatorFile": "/r", "cniConf": "/x", "logLevel": 3,
            "NamespaceIsolation": true, "globalNamespaces": " a, b,", "BinDir": "/b", "delegates": null}))
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
            (
                json!({"name": "n", "delegates": [null]}),
                Code::Decoding,
                "LoadNetConf: failed to load netconf: ",
            ),
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
}
