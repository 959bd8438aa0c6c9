//! The configuration that multus receives from the runtime.

mod log;
mod without_effect;

use std::path::{Path, PathBuf};

use cni::exec::SearchPath;
use cni::names::NetworkName;
use cni::plugin::Call;
use cni::{CniError, Code, Version};
use ipnet::IpNet;
use node::names::DnsLabel;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::network::Network;

pub use self::log::{LogLevel, LogSettings, Stderr};

/// The keys with an effect, but for those of [`mod@log`]. They match in any case, as in Go. Other keys are ignored, because configurations
/// have keys of other programs, with a warning for those that [`without_effect`] lists.
const KNOWN: &[&str] = &[
    "auxiliaryCNIChainName",
    "binDir",
    "cniDir",
    "clusterCIDRs",
    "clusterNetwork",
    "confDir",
    "daemonSocketDir",
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
    /// `daemonSocketDir`: the daemon of the node.
    pub daemon: DaemonSocket,
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
    cluster_cidrs: Vec<String>,
    auxiliary_chain: String,
    /// What is logged, and where.
    pub log: LogSettings,
    /// Warnings about keys without effect, for the log.
    pub warnings: Vec<String>,
}

/// The socket of the node's daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSocket {
    /// Its path.
    pub socket: PathBuf,
    /// Whether the configuration asks for a daemon.
    pub need: DaemonNeed,
}

/// Whether a configuration asks for the node's daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonNeed {
    /// It does, by its key `daemonSocketDir` or its type `multus-shim`: without daemon and credentials no pod is attached.
    Required,
    /// It does not. A daemon that is there is used.
    IfPresent,
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

/// `auxiliaryCNIChainName`: plugins that run after all networks of every pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuxiliaryChain {
    /// The name of its network.
    pub name: NetworkName,
    /// The folder of its plugins: that name, beside the file of `clusterNetwork`.
    pub folder: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    #[serde(rename = "auxiliaryCNIChainName")]
    auxiliary_chain: String,
    bin_dir: String,
    cni_dir: String,
    #[serde(rename = "clusterCIDRs")]
    cluster_cidrs: Vec<String>,
    cluster_network: String,
    conf_dir: String,
    daemon_socket_dir: String,
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
        let (log, log_warnings) = log::read(call.conf.object());
        let mut warnings = without_effect::warnings(call.conf.object());
        warnings.extend(log_warnings);
        Ok(Conf {
            name: call.conf.name.clone(),
            cni_version: call.conf.cni_version,
            // An empty text counts as absent, as in Go.
            conf_dir: or(&wire.conf_dir, "/etc/cni/multus/net.d").into(),
            cni_dir: or(&wire.cni_dir, "/var/lib/cni/multus").into(),
            path: call.path.with_first(or(&wire.bin_dir, "/opt/cni/bin").as_ref()),
            kubeconfig: path(wire.kubeconfig),
            daemon: daemon_socket(&wire.daemon_socket_dir, call.conf.object()),
            readiness_file: path(wire.readiness_indicator_file),
            isolation,
            // An empty list counts as absent, as in Go.
            system_namespaces: match wire.system_namespaces {
                none if none.is_empty() => vec!["kube-system".to_owned()],
                given => given,
            },
            multus_namespace,
            runtime_config: call.conf.runtime_config.clone(),
            auxiliary_chain: wire.auxiliary_chain,
            cluster_cidrs: wire.cluster_cidrs,
            log,
            warnings,
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

    /// Checks what [`Conf::read`] leaves unchecked, because DEL must succeed in spite of it. Code 7 for a wrong `auxiliaryCNIChainName` or
    /// `clusterCIDRs`.
    pub fn check_keys(&self) -> Result<(), CniError> {
        self.cluster_cidrs()?;
        self.auxiliary_chain().map(drop)
    }

    /// `clusterCIDRs`: what stays reachable by the default network if a pod moves its default route to another. Code 7 for a text that is no
    /// network.
    pub fn cluster_cidrs(&self) -> Result<Vec<IpNet>, CniError> {
        let read = |text: &String| {
            let net: IpNet = text.parse().map_err(|_| {
                let msg = format!("LoadNetConf: clusterCIDRs: {text:?} is not a network: write an address and a prefix length");
                CniError::new(Code::InvalidConfig, msg)
            })?;
            Ok(net.trunc())
        };
        self.cluster_cidrs.iter().map(read).collect()
    }

    /// The auxiliary chain. Code 7 if its name is not valid, or if `clusterNetwork` is no path.
    pub fn auxiliary_chain(&self) -> Result<Option<AuxiliaryChain>, CniError> {
        if self.auxiliary_chain.is_empty() {
            return Ok(None);
        }
        // The name becomes part of a path.
        let name = NetworkName::parse(&self.auxiliary_chain)
            .map_err(|e| e.context("LoadNetConf: auxiliaryCNIChainName"))?;
        let cluster_network = match &self.default {
            Written::Cluster { network, .. } => network.as_str(),
            Written::Delegates(_) | Written::Missing => "",
        };
        // As Go's filepath.Dir: the folder of "/a/b" is "/a", that of "/a/b/" is "/a/b".
        let Some((parent, _)) = cluster_network.rsplit_once('/') else {
            let msg = format!(
                "LoadNetConf: auxiliary chain used but ClusterNetwork must be a path, and it is not a path: {cluster_network}: name the \
                 file of the default network in clusterNetwork, or remove auxiliaryCNIChainName"
            );
            return Err(CniError::new(Code::InvalidConfig, msg));
        };
        let folder = Path::new(if parent.is_empty() { "/" } else { parent }).join(name.as_str());
        Ok(Some(AuxiliaryChain { name, folder }))
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

/// The daemon's socket in this folder, or in the usual one.
fn daemon_socket(folder: &str, conf: &Map<String, Value>) -> DaemonSocket {
    let is_shim = conf.get("type").and_then(Value::as_str) == Some("multus-shim");
    let need = if is_shim || !folder.is_empty() { DaemonNeed::Required } else { DaemonNeed::IfPresent };
    DaemonSocket { socket: nad::rpc::socket(or(folder, nad::rpc::SOCKET_DIR).as_ref()), need }
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
mod tests;
