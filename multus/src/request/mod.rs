//! What a pod requests: from `CNI_ARGS`, configuration and annotations to the networks to attach.

mod error;
mod network_request;
pub(crate) mod pod;
mod resolve;
mod selection;

pub(crate) use error::RequestError;
#[cfg(test)]
pub(crate) use nad::Lookup;
pub(crate) use nad::{Definitions, Pod};
pub(crate) use network_request::{NetworkRequest, Origin, network_requests};
pub(crate) use resolve::{auxiliary_network, needed_definitions, resolve};
pub use selection::{
    AttachmentRequest, Bandwidth, Element, Family, MAX_NETWORKS, PodRoute, PortMapping, Requester,
    SelectionError, parse, parse_default,
};

#[cfg(test)]
mod tests;
