//! The events of changes of a running pod. Reasons and texts are those of upstream's controller, multus-dynamic-networks-controller.

use cni::result::CniResult;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::Timestamp;
use node::event::Severity;

use super::events::event;
use crate::request::Pod;

/// One attachment of a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttachmentOf<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// The label of the network.
    pub(crate) label: &'a str,
    /// The interface.
    pub(crate) if_name: &'a str,
}

/// `pod [default/web-0]: added interface net1 to network: default/a(ips: [10.1.1.11/24], mac: 02:00:00:00:00:01)`.
pub(crate) fn interface_added(of: AttachmentOf<'_>, result: &CniResult, now: Timestamp) -> Event {
    let AttachmentOf { pod, label, if_name } = of;
    let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
    let made = result.interfaces.iter().find(|interface| interface.name == if_name);
    let mac = made.map(|interface| interface.mac.as_str()).filter(|mac| !mac.is_empty());
    let mac = mac.map_or_else(String::new, |mac| format!(", mac: {mac}"));
    let (pod_ref, ips) = (&pod.pod_ref, ips.join(" "));
    let message =
        format!("pod [{pod_ref}]: added interface {if_name} to network: {label}(ips: [{ips}]{mac})");
    event(pod, Severity::Normal, "AddedInterface", &message, now)
}

/// An interface was removed.
pub(crate) fn interface_removed(of: AttachmentOf<'_>, now: Timestamp) -> Event {
    let AttachmentOf { pod, label, if_name } = of;
    let message = format!("pod [{}]: removed interface {if_name} from network: {label}", pod.pod_ref);
    event(pod, Severity::Normal, "RemovedInterface", &message, now)
}

/// An interface could not be added. It is tried again.
pub(crate) fn adding_failed(of: AttachmentOf<'_>, reason: &str, now: Timestamp) -> Event {
    let AttachmentOf { pod, label, if_name } = of;
    let message = format!(
        "pod [{}]: failed adding interface {if_name} to network: {label}: {reason}; multus tries again, after 5 minutes at most",
        pod.pod_ref
    );
    event(pod, Severity::Warning, "FailedAddingInterface", &message, now)
}

/// An interface could not be removed. It is tried again.
pub(crate) fn removing_failed(of: AttachmentOf<'_>, reason: &str, now: Timestamp) -> Event {
    let AttachmentOf { pod, label, if_name } = of;
    let message = format!(
        "pod [{}]: failed removing interface {if_name} from network: {label}: {reason}; multus tries again, after 5 minutes at most",
        pod.pod_ref
    );
    event(pod, Severity::Warning, "FailedRemovingInterface", &message, now)
}

/// The annotation is not understood, or requests what the pod may not have. Nothing changes.
pub(crate) fn change_refused(pod: &Pod, reason: &str, now: Timestamp) -> Event {
    let message = format!("pod [{}]: its networks stay as they are: {reason}", pod.pod_ref);
    event(pod, Severity::Warning, "FailedAddingInterface", &message, now)
}

/// Only the arguments of an attachment changed.
pub(crate) fn interface_not_changed(of: AttachmentOf<'_>, now: Timestamp) -> Event {
    let AttachmentOf { pod, label, if_name } = of;
    let message = format!(
        "pod [{}]: interface {if_name} of network {label} keeps the arguments that it was added with: to change them, remove the network from \
         the annotation, add it again once the interface is gone, or make the pod anew",
        pod.pod_ref
    );
    event(pod, Severity::Warning, "InterfaceNotChanged", &message, now)
}
