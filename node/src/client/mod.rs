//! The client of the Kubernetes API server.
//!
//! A caller names objects by checked types only ([`ResourceKind`], [`Collection`], [`ObjectPath`]), and every request has a deadline.
//! Objects are any type that serde can read and write. One [`ApiClient`] serves plugins, which live for milliseconds ([`block_on`]), and
//! daemons.
//!
//! A request is sent once. [`retry()`] repeats it where that is safe; [`reflect()`] lists a collection and watches it until it is dropped.
//!
//! Connections are made by the crates under kube-client, with its layers; [`tls`] says what is our own. kube's typed `Api` is not used: it puts
//! names into URLs unchecked.

mod api;
mod block;
mod connect;
mod connection;
mod credentials;
mod error;
mod exchange;
mod lines;
mod objects;
mod query;
mod reflect;
mod resource;
mod retry;
mod rights;
mod store;
mod subresources;
mod tls;
mod transport;
mod watch;

pub use api::{ApiClient, Timeouts};
pub use block::{BlockOnError, block_on, run_here, within};
pub use connect::namespace_in;
pub use credentials::{Authorities, ConnectError, NamedCluster, Person, Place, cluster_in};
pub use error::{ApiError, Credentials, Denial};
pub use query::{Freshness, ListPage, ListQuery, MetadataOnly, Parts, Patch, Preconditions};
pub use reflect::{Change, Selection, reflect, reflect_while_allowed};
pub use resource::{Collection, ObjectPath, ResourceKind, Verb};
pub use retry::{OnUnknown, RetryPolicy, retry};
pub use rights::{Reach, Right};
pub use store::{Effect, Store};

#[cfg(test)]
mod tests;
