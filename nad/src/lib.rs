//! The objects and annotations of the Kubernetes Network Plumbing Working Group's multi-network spec 1.3, and the names of pods and
//! networks in them. `multus`, its daemon and `whereabouts` share them. Nothing here reads a file or knows CNI, and only `api` sends
//! requests: those that `multus` sends itself or lets its daemon send.
//!
//! | module | question it answers |
//! |---|---|
//! | `annotation` | which annotations does the spec define? |
//! | `changes` | what does a program learn that changes the networks of running pods? |
//! | `definition` | what is in a NetworkAttachmentDefinition, and which one is meant? |
//! | `identity` | is the pod behind a name the one that a plugin was called for? |
//! | `pod` | which pod is meant? |
//! | `status` | what is in the `network-status` annotation? |
//! | [`api`] | how are pods and definitions read from the API server, and reports written to it? |
//! | [`rpc`] | what does `multus` ask the daemon of its node? |

mod annotation;
pub mod api;
mod changes;
mod definition;
mod identity;
mod pod;
pub mod rpc;
mod status;

pub use annotation::{DEFAULT_NETWORK, NETWORK_STATUS, NETWORKS};
pub use changes::{Changes, ChangesQuery, Counts, Life, RunningPod};
pub use definition::{Annotations, Definitions, Lookup, Metadata, NadRef, NetworkAttachmentDefinition, Spec};
pub use identity::{MIRROR_POD, PodIdentity};
pub use pod::{Pod, PodRef, PodRefError};
pub use status::{Dns, NetworkStatus, render};
