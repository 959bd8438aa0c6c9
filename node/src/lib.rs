//! What the programs on a node share, whatever they do there.
//!
//! | module | answers |
//! |---|---|
//! | [`deadline`] | how long may this still take? |
//! | [`names`] | is this text fit to be a Kubernetes name? The only way into a URL. |
//! | [`client`] | how do I ask the API server, and what may I do after an error? How do I follow its objects? |
//! | [`lease`] | which of us is the leader? |
//! | [`rpc`] | how does a plugin ask its node's daemon? |
//! | [`endpoint`] | how does a daemon show its metrics and its health? |
//! | [`event`] | how do I tell the pod's owner? |
//! | [`clock`] | what time is it, so that a simulation can say? |
//! | [`entropy`] | where does chance come from, so that a simulation can replay it? |
//! | [`files`] | how do I write a file that is never half there? |
//!
//! Nothing here knows of CNI, network attachments or addresses.

pub mod client;
pub mod clock;
pub mod deadline;
pub mod endpoint;
pub mod entropy;
pub mod event;
pub mod lease;
pub mod names;
pub mod rpc;

pub use files;

mod race;
mod text;
