//! Which networks an annotation names, and what it requests of each (multi-network spec 1.3, "Pod Attachment Annotation"). The annotation
//! is a comma-separated list, or a JSON list of objects. An annotation that is not understood is an error: otherwise the pod would run
//! with fewer networks than it requests.

mod comma_form;
mod element;
mod error;
mod json_form;
mod mac;

use node::names::DnsLabel;

pub use element::{AttachmentRequest, Bandwidth, Element, Family, PodRoute, PortMapping, Requester};
use error::MAX_TEXT;
pub use error::{MAX_NETWORKS, SelectionError};

/// Returns the networks that `text` names, in order. `pod_namespace` is the namespace of those that name none. An empty text, or white
/// space, names no network.
pub fn parse(text: &str, pod_namespace: &DnsLabel) -> Result<Vec<Element>, SelectionError> {
    if text.len() > MAX_TEXT {
        return Err(SelectionError::TooLong { length: text.len() });
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    // Upstream's rule: none of these characters is valid in the comma form.
    if text.contains(['[', '{', '"']) {
        return json_form::parse(text, pod_namespace);
    }
    comma_form::parse(text, pod_namespace)
}

/// Returns the default network that `text` names. `multus_namespace` is its namespace if it names none.
pub fn parse_default(text: &str, multus_namespace: &DnsLabel) -> Result<Option<Element>, SelectionError> {
    let mut elements = parse(text, multus_namespace)?;
    if elements.len() > 1 {
        return Err(SelectionError::SeveralDefaults { text: text.to_owned() });
    }
    Ok(elements.pop())
}

#[cfg(test)]
mod tests;
