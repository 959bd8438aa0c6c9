//! The objects and annotations of the Kubernetes Network Plumbing Working Group's multi-network spec 1.3, and the names of pods and
//! networks in them. `multus` and `whereabouts` share them. Nothing here reads a file, sends a request or knows CNI.
//!
//! | module | question it answers |
//! |---|---|
//! | `annotation` | which annotations does the spec define? |
//! | `definition` | what is in a NetworkAttachmentDefinition, and which one is meant? |
//! | `identity` | is the pod behind a name the one that a plugin was called for? |
//! | `pod` | which pod is meant? |
//! | `status` | what is in the `network-status` annotation? |

mod annotation;
mod definition;
mod identity;
mod pod;
mod status;

pub use annotation::{DEFAULT_NETWORK, NETWORK_STATUS, NETWORKS};
pub use definition::{Metadata, NadRef, NetworkAttachmentDefinition, Spec};
pub use identity::{MIRROR_POD, PodIdentity};
pub use pod::{PodRef, PodRefError};
pub use status::{Dns, NetworkStatus, render};
