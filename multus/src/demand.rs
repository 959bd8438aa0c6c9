//! The networks that a pod is to have, in order, and where each comes from: the default network, `defaultNetworks`, then those of its
//! annotation. Pure, but for files of the node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use node::names::{DnsLabel, DnsSubdomain};

use crate::conf::{Conf, DefaultNetworks, Isolation};
use crate::nad::{self, Nad, NadError, NadRef};
use crate::network::Network;
use crate::ondisk::{self, OnDiskError};
use crate::pod::Pod;
use crate::selection::{self, DEFAULT_NETWORK, Element, NETWORKS, Request, SelectionError};

/// One network that the pod is to have.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Where it comes from.
    pub origin: Origin,
    /// What is asked of it.
    pub request: Request,
}

/// Where a network comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Origin {
    /// From the conf itself.
    Inline(Network),
    /// From a file or directory.
    Path(PathBuf),
    /// From the definition of this name in multus's namespace, or else from `confDir`.
    Named(NadRef),
    /// From this definition only.
    Definition(NadRef),
    /// From `confDir` only: the name cannot be a definition's.
    OnDisk(String),
}

/// The networks of a pod cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum DemandError {
    /// An annotation cannot be understood.
    #[error("{source}; correct the annotation {annotation} of pod {pod}")]
    Annotation {
        /// `<namespace>/<name>`.
        pod: String,
        /// Which annotation.
        annotation: &'static str,
        /// What is wrong.
        source: SelectionError,
    },
    /// A network of a namespace that the pod may not use.
    #[error(
        "GetNetworkDelegates: namespace isolation enabled, annotation violates permission, pod is in namespace {own} but refers to \
         target namespace {target}"
    )]
    Isolated {
        /// The pod's namespace.
        own: String,
        /// The network's.
        target: String,
    },
    /// There is no such definition.
    #[error("cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {reason}; {advice}", name = .at.name, namespace = .at.namespace)]
    Missing {
        /// Which.
        at: NadRef,
        /// Why it cannot be had.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// The definition makes no network.
    #[error("network-attachment-definition {at}: {source}")]
    Definition {
        /// Which.
        at: NadRef,
        /// What is wrong.
        source: NadError,
    },
    /// The file of a network of the cluster.
    #[error("cannot read network {network:?} of the multus configuration: {source}")]
    File {
        /// As the conf has it.
        network: String,
        /// What is wrong.
        source: OnDiskError,
    },
}

/// What the conf and the pod's annotations ask for. Without a `pod` it is the networks that every pod gets.
pub fn demands(
    conf: &Conf,
    defaults: &DefaultNetworks,
    own: Option<&DnsLabel>,
    pod: Option<&Pod>,
) -> Result<Vec<Demand>, DemandError> {
    let plain = |origin| Demand { origin, request: Request::default() };
    let mut demands: Vec<Demand> = match defaults {
        DefaultNetworks::Inline(networks) => {
            networks.iter().cloned().map(Origin::Inline).map(plain).collect()
        }
        DefaultNetworks::Cluster { network, others } => {
            let is_system = own.is_some_and(|own| conf.system_namespaces.iter().any(|n| n == own.as_str()));
            let others = others.iter().filter(|_| !is_system);
            let all = std::iter::once(network).chain(others);
            all.map(|network| plain(origin(network, &conf.multus_namespace))).collect()
        }
    };
    let Some(pod) = pod else { return Ok(demands) };
    let wrong = |annotation| {
        move |source| DemandError::Annotation {
            pod: format!("{}/{}", pod.at.namespace, pod.at.name),
            annotation,
            source,
        }
    };
    let instead = pod.default_network.as_deref().unwrap_or_default();
    let instead =
        selection::parse_default(instead, &conf.multus_namespace).map_err(wrong(DEFAULT_NETWORK))?;
    if let (Some(element), Some(first)) = (instead, demands.first_mut()) {
        *first = wanted(element);
    }
    let named = pod.networks.as_deref().unwrap_or_default();
    for element in selection::parse(named, &pod.at.namespace).map_err(wrong(NETWORKS))? {
        may_use(&conf.isolation, &pod.at.namespace, &element.namespace)?;
        demands.push(wanted(element));
    }
    Ok(demands)
}

fn wanted(element: Element) -> Demand {
    let Element { namespace, name, request } = element;
    Demand { origin: Origin::Definition(NadRef { namespace, name }), request }
}

fn origin(network: &str, namespace: &DnsLabel) -> Origin {
    if network.contains('/') {
        return Origin::Path(network.into());
    }
    match DnsSubdomain::new(network) {
        Ok(name) => Origin::Named(NadRef { namespace: namespace.clone(), name }),
        Err(_) => Origin::OnDisk(network.to_owned()),
    }
}

fn may_use(isolation: &Isolation, own: &DnsLabel, target: &DnsLabel) -> Result<(), DemandError> {
    match isolation {
        Isolation::Except(shared) if own != target && !shared.iter().any(|n| n == target.as_str()) => {
            Err(DemandError::Isolated { own: own.to_string(), target: target.to_string() })
        }
        Isolation::Except(_) | Isolation::Off => Ok(()),
    }
}

/// The definitions to be read for these demands, each once.
pub fn definitions(demands: &[Demand]) -> Vec<NadRef> {
    let named = |demand: &Demand| match &demand.origin {
        Origin::Named(at) | Origin::Definition(at) => Some(at.clone()),
        Origin::Inline(_) | Origin::Path(_) | Origin::OnDisk(_) => None,
    };
    let all: std::collections::BTreeSet<NadRef> = demands.iter().filter_map(named).collect();
    all.into_iter().collect()
}

/// What the API server answered about one definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It is there.
    Found(Nad),
    /// It is not; these are the server's words.
    Absent(String),
}

/// The answers about all definitions. Without access to an API server there are none.
pub type Found = BTreeMap<NadRef, Lookup>;

/// The network of one demand.
pub fn network(
    demand: &Demand,
    found: &Found,
    conf_dir: &Path,
    pod: Option<&Pod>,
) -> Result<Network, DemandError> {
    match &demand.origin {
        Origin::Inline(network) => Ok(network.clone()),
        Origin::Path(path) => ondisk::by_path(path).map_err(of_file(&path.to_string_lossy())),
        Origin::OnDisk(name) => ondisk::by_name(conf_dir, name).map_err(of_file(name)),
        Origin::Named(at) => match found.get(at) {
            Some(Lookup::Found(nad)) => of_nad(at, nad, conf_dir),
            Some(Lookup::Absent(_)) | None => {
                ondisk::by_name(conf_dir, at.name.as_str()).map_err(of_file(at.name.as_str()))
            }
        },
        Origin::Definition(at) => match found.get(at) {
            Some(Lookup::Found(nad)) => {
                let network = of_nad(at, nad, conf_dir)?.with_cni_args(&demand.request.cni_args);
                network.map_err(|e| {
                    let source = NadError::NotANetwork { reason: e.to_string() };
                    DemandError::Definition { at: at.clone(), source }
                })
            }
            Some(Lookup::Absent(reason)) => Err(missing(at, reason, pod)),
            None => Err(missing(at, "there is no access to the API server", pod)),
        },
    }
}

fn of_nad(at: &NadRef, nad: &Nad, conf_dir: &Path) -> Result<Network, DemandError> {
    nad::network(at, nad, conf_dir).map_err(|source| DemandError::Definition { at: at.clone(), source })
}

fn of_file(network: &str) -> impl FnOnce(OnDiskError) -> DemandError + '_ {
    move |source| DemandError::File { network: network.to_owned(), source }
}

fn missing(at: &NadRef, reason: &str, pod: Option<&Pod>) -> DemandError {
    let whose =
        pod.map_or_else(|| "the pod".to_owned(), |pod| format!("pod {}/{}", pod.at.namespace, pod.at.name));
    let advice = format!("create it or correct the annotation {NETWORKS} of {whose}");
    DemandError::Missing { at: at.clone(), reason: reason.to_owned(), advice }
}

#[cfg(test)]
mod tests;
