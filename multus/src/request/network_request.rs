//! The networks that a pod requests, in the order of attachment: the default network, `defaultNetworks`, then those of its annotation.

use std::path::PathBuf;

use nad::{DEFAULT_NETWORK, NETWORKS, NadRef, Pod};
use node::names::{DnsLabel, DnsSubdomain};

use super::error::RequestError;
use super::selection::{self, AttachmentRequest, Element};
use crate::conf::{Conf, DefaultNetworks, Isolation};
use crate::network::Network;

/// One network that a pod requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkRequest {
    /// Where its configuration comes from.
    pub(crate) origin: Origin,
    /// What the pod requests of the attachment.
    pub(crate) attachment: AttachmentRequest,
}

/// Where the configuration of a network comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    /// The multus configuration itself.
    Inline(Network),
    /// A file or directory.
    Path(PathBuf),
    /// The definition of this name in the namespace of multus. If there is none, `confDir`.
    Named(NadRef),
    /// This definition only.
    Definition(NadRef),
    /// `confDir` only, because the name is not valid for a definition.
    OnDisk(String),
}

/// Returns the networks that the configuration and the annotations of `pod` request. Without a pod these are the networks of every pod.
/// `pod_namespace` is known even if the pod was not read.
pub(crate) fn network_requests(
    conf: &Conf,
    defaults: &DefaultNetworks,
    pod_namespace: Option<&DnsLabel>,
    pod: Option<&Pod>,
) -> Result<Vec<NetworkRequest>, RequestError> {
    let mut requests = of_every_pod(conf, defaults, pod_namespace);
    let Some(pod) = pod else { return Ok(requests) };
    let in_annotation = |annotation| {
        move |source| RequestError::Annotation { pod: pod.pod_ref.to_string(), annotation, source }
    };
    let replacement = pod.default_network.as_deref().unwrap_or_default();
    let replacement = selection::parse_default(replacement, &conf.multus_namespace)
        .map_err(in_annotation(DEFAULT_NETWORK))?;
    if let (Some(element), Some(first)) = (replacement, requests.first_mut()) {
        // This annotation means networks of multusNamespace unless it names another, so isolation allows that namespace.
        if element.namespace != conf.multus_namespace {
            check_isolation(&conf.isolation, pod, DEFAULT_NETWORK, &element.namespace)?;
        }
        *first = of_element(element);
    }
    let pod_namespace = &pod.pod_ref.namespace;
    let networks = pod.networks.as_deref().unwrap_or_default();
    for element in selection::parse(networks, pod_namespace).map_err(in_annotation(NETWORKS))? {
        // Before any definition is read: the pod must not learn whether it exists.
        check_isolation(&conf.isolation, pod, NETWORKS, &element.namespace)?;
        requests.push(of_element(element));
    }
    Ok(requests)
}

/// The networks that the configuration gives to every pod. Pods of system namespaces get only the default network of a cluster.
fn of_every_pod(
    conf: &Conf,
    defaults: &DefaultNetworks,
    pod_namespace: Option<&DnsLabel>,
) -> Vec<NetworkRequest> {
    let plain = |origin| NetworkRequest { origin, attachment: AttachmentRequest::default() };
    match defaults {
        DefaultNetworks::Inline(networks) => {
            networks.iter().cloned().map(Origin::Inline).map(plain).collect()
        }
        DefaultNetworks::Cluster { network, others } => {
            let is_system =
                pod_namespace.is_some_and(|own| conf.system_namespaces.iter().any(|n| n == own.as_str()));
            let others = others.iter().filter(|_| !is_system);
            let all = std::iter::once(network).chain(others);
            all.map(|network| plain(origin(network, &conf.multus_namespace))).collect()
        }
    }
}

fn of_element(element: Element) -> NetworkRequest {
    let Element { namespace, name, request } = element;
    NetworkRequest { origin: Origin::Definition(NadRef { namespace, name }), attachment: request }
}

/// The origin of a network that the configuration names.
fn origin(network: &str, namespace: &DnsLabel) -> Origin {
    if network.contains('/') {
        return Origin::Path(network.into());
    }
    match DnsSubdomain::new(network) {
        Ok(name) => Origin::Named(NadRef { namespace: namespace.clone(), name }),
        Err(_) => Origin::OnDisk(network.to_owned()),
    }
}

/// Refuses a network of the namespace `target` that `annotation` of `pod` names, unless the pod may use that namespace.
fn check_isolation(
    isolation: &Isolation,
    pod: &Pod,
    annotation: &'static str,
    target: &DnsLabel,
) -> Result<(), RequestError> {
    let own = &pod.pod_ref.namespace;
    match isolation {
        Isolation::Except(shared) if own != target && !shared.iter().any(|n| n == target.as_str()) => {
            let (pod, own, target) = (pod.pod_ref.name.to_string(), own.to_string(), target.to_string());
            Err(RequestError::Isolated { pod, annotation, own, target })
        }
        Isolation::Except(_) | Isolation::Off => Ok(()),
    }
}
