//! A Kubernetes API server in memory, for tests of the other crates.
//!
//! It follows the Kubernetes API conventions for what our clients rely on: names, resourceVersions, selectors, pages, patches,
//! preconditions, the subresources `status` and `approval`, and watches. It checks rights where a test grants some. It has no admission, no finalizers, no garbage collection and
//! no field management. Nothing in it depends on a random number, and only a watch depends on time.
//!
//! A unit test uses [`ApiServer`], a [`tower::Service`] to make a client from: it answers at once, records requests, and fails those that
//! the test chooses. The simulation (`tests/src/sim`) puts its own faults, delays and caches between its clients and the [`Store`].
//!
//! | module | question it answers |
//! |---|---|
//! | [`store`] | which objects exist, which existed at an earlier revision, and which write is allowed? |
//! | `patch` | what does a merge patch or a JSON patch make of an object? |
//! | `select` | does an object match these selectors? |
//! | [`request`] | what does an HTTP request want? |
//! | [`response`] | what does an HTTP response contain? |
//! | `serve` | what does the store answer to a request? |
//! | [`watch`] | which events does a watch send? |
//! | `received`, `access` | which request did the server receive, and which right does it need? |
//! | `server` | how does a test reach it, see its requests and make them fail? |
//! | `port` | how does a program that a test starts reach this server? |
//! | `loopback` | how does such a program reach a server whose answers the test chooses? |

// Test support: a broken fixture fails the test by panicking.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod access;
mod loopback;
pub mod patch;
mod port;
mod received;
pub mod request;
pub mod response;
mod select;
mod serve;
mod server;
pub mod store;
pub mod watch;

pub use access::{Access, Reach, used_by_tests};
pub use loopback::{Asked, Loopback, kubeconfig};
pub use received::Received;
pub use server::{ApiServer, Fault};
pub use store::{Key, Preconditions, Store};

#[cfg(test)]
mod tests;
