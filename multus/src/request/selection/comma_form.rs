//! The comma form of an annotation: `[<namespace>/]<name>[@<interface>], ...`. It may end with a comma.

use cni::names::IfName;
use node::names::{DnsLabel, DnsSubdomain};

use super::element::{AttachmentRequest, Element, Requester};
use super::error::{SelectionError, within_limit};

/// Reads the whole annotation. `pod_namespace` is the namespace of items that name none.
pub(super) fn parse(text: &str, pod_namespace: &DnsLabel) -> Result<Vec<Element>, SelectionError> {
    // A comma at the end is harmless. An empty item between two commas may be a network that got lost, so it is refused.
    let text = text.trim_end();
    let items: Vec<&str> = text.strip_suffix(',').unwrap_or(text).split(',').collect();
    within_limit(items.len())?;
    items.into_iter().map(|text| item(text.trim(), pod_namespace)).collect()
}

fn item(text: &str, pod_namespace: &DnsLabel) -> Result<Element, SelectionError> {
    // Upstream splits at "/" before "@", so a "/" in an interface name is refused here.
    let (namespace, rest) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [rest] => ("", *rest),
        [namespace, rest] => (namespace.trim(), *rest),
        _ => return Err(SelectionError::Slash),
    };
    let (name, interface) = match rest.split('@').collect::<Vec<_>>().as_slice() {
        [name] => (name.trim(), ""),
        [name, interface] => (name.trim(), interface.trim()),
        _ => return Err(SelectionError::At),
    };
    let mismatch = |item: &str| SelectionError::Mismatch { item: item.to_owned() };
    let namespace = match namespace {
        "" => pod_namespace.clone(),
        text => DnsLabel::new(text).map_err(|_| mismatch(text))?,
    };
    // Kubernetes allows dots in a name, but upstream refuses them in this form.
    let name = Some(name)
        .filter(|n| !n.contains('.'))
        .and_then(|n| DnsSubdomain::new(n).ok())
        .ok_or_else(|| mismatch(name))?;
    let interface = match interface {
        "" => None,
        text => Some(IfName::parse(text).map_err(|_| SelectionError::Interface { name: text.to_owned() })?),
    };
    let request = AttachmentRequest { requester: Requester::Pod, interface, ..AttachmentRequest::default() };
    Ok(Element { namespace, name, request })
}
