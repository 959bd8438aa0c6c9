//! What the programs on a node share, whatever they do there.
//!
//! | module | answers |
//! |---|---|
//! | [`deadline`] | how long may this still take? |
//! | [`names`] | is this text fit to be a Kubernetes name? The only way into a URL. |
//! | [`client`] | how do I ask the API server, and what may I do after an error? |
//! | [`event`] | how do I tell the pod's owner? |
//! | [`files`] | how do I write a file that is never half there? |
//!
//! Nothing here knows of CNI, network attachments or addresses.

pub mod client;
pub mod deadline;
pub mod event;
pub mod files;
pub mod names;

mod entropy;
mod text;
