//! The node runtime: what plugins and daemons share, whatever they do.
//!
//! | module | answers |
//! |---|---|
//! | [`client`] | How do I send requests to the API server, and what may I do after an error? How do I follow objects? |
//! | [`daemon`] | How does a daemon start, serve, show metrics and health, and stop? |
//! | [`lease`] | Which process leads? |
//! | [`rpc`] | How does a plugin send a request to the daemon of its node? |
//! | [`event`] | How do I report to the owner of a pod? |
//! | [`files`] | How do I write a file atomically? |
//! | [`names`] | Is this text a valid Kubernetes name? Only such names reach a URL. |
//! | [`deadline`] | How long may this take? |
//! | [`clock`] | What is the time of day, also in a simulation? |
//! | [`text`] | How is foreign text shown? |
//! | [`rng`] | How is the random number generator seeded? |
//!
//! Nothing here knows CNI, network attachments or addresses.

pub mod client;
pub mod clock;
pub mod daemon;
pub mod deadline;
pub mod event;
pub mod lease;
pub mod names;
pub mod rng;
pub mod rpc;
pub mod text;

pub use files;
