//! Why the networks of a pod cannot be determined.

use nad::NadRef;

use super::selection::SelectionError;
use crate::network::{DefinitionError, OnDiskError};

/// The networks of a pod cannot be determined. Retrying does not help; the annotation, definition or file must be corrected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    /// An annotation is wrong.
    #[error("{source}; correct the annotation {annotation} of pod {pod}")]
    Annotation {
        /// `<namespace>/<name>`.
        pod: String,
        /// The key of the annotation.
        annotation: &'static str,
        /// What is wrong.
        source: SelectionError,
    },
    /// The network is in a namespace that the pod may not use.
    #[error(
        "GetNetworkDelegates: namespace isolation enabled, annotation violates permission, pod is in namespace {own} but refers to \
         target namespace {target}; correct the annotation {annotation} of pod {own}/{pod}, or add the namespace to globalNamespaces"
    )]
    Isolated {
        /// The pod's name.
        pod: String,
        /// The key of the annotation.
        annotation: &'static str,
        /// The pod's namespace.
        own: String,
        /// The namespace of the network.
        target: String,
    },
    /// The definition does not exist, or cannot be read because there is no API server.
    #[error("cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {reason}; {advice}", name = .nad_ref.name, namespace = .nad_ref.namespace)]
    Missing {
        /// The definition.
        nad_ref: NadRef,
        /// The answer of the API server.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// The definition makes no network.
    #[error("network-attachment-definition {nad_ref}: {source}")]
    Definition {
        /// The definition.
        nad_ref: NadRef,
        /// What is wrong.
        source: DefinitionError,
    },
    /// A network of the configuration has a `/`, but is no path.
    #[error(
        "cannot find network {network:?} of the multus configuration: a text with \"/\" is the path of a file, and there is no such file; \
         write the absolute path of a file, or a name without a namespace: a definition of that name is read from multusNamespace"
    )]
    NotAPath {
        /// The network, as the configuration names it.
        network: String,
    },
    /// A network of the configuration has no usable file.
    #[error("cannot read network {network:?} of the multus configuration: {source}")]
    File {
        /// The network, as the configuration names it.
        network: String,
        /// What is wrong.
        source: OnDiskError,
    },
}
