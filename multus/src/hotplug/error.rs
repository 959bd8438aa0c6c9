//! Why a network cannot be added to a running pod, besides the failures that ADD has too.

use cni::names::IfName;

use crate::error::Error;

/// A running pod cannot get the network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotForRunningPods {
    /// It needs a device, and the kubelet gives devices to new pods only.
    #[error(
        "it needs a device of resource {resource}, which only a new pod gets: make the pod anew with the network in its annotation"
    )]
    Device {
        /// The resource.
        resource: String,
    },
    /// It changes the default routes of the pod's other attachments.
    #[error(
        "\"default-route\" changes the routes of the other interfaces too, which a running pod needs: make the pod anew, or remove that key"
    )]
    DefaultRoute,
    /// Another network has its interface.
    #[error("interface {if_name} belongs to another network of the pod: request another \"interface\"")]
    Taken {
        /// The interface.
        if_name: IfName,
    },
}

/// A network is not added.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    /// No running pod can get it: another attempt fails too, unless the definition or the annotation changes.
    #[error(transparent)]
    NotForRunningPods(#[from] NotForRunningPods),
    /// A failure that ADD has too.
    #[error(transparent)]
    Other(#[from] Error),
}
