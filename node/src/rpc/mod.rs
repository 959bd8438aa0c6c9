//! Requests of a plugin to the daemon of its node: a unix socket, one request per connection, one line of JSON in each direction.
//!
//! The daemon responds with `{"answer": ...}`, or with `{"refused": "why"}` to a request that it does not understand.
//!
//! Only root and the daemon's own user may connect: the socket's mode is 0600, and the daemon reads the client's user from the kernel
//! (SO_PEERCRED). A client may disconnect at any time. The daemon still completes its request, so that a request is done as a whole or not at all,
//! unless the request says that it must not be completed then ([`OnHangUp`]).
//!
//! gRPC, which the kubelet's plugins use, or HTTP would need an async runtime in the plugin, a process that lives for milliseconds. Here the
//! plugin's side is one connect, one write and one read on a blocking socket.

mod call;
mod serve;
mod wire;

pub use call::{RpcError, call};
pub use serve::{BindError, ClientRequest, Listener, OnHangUp, OwnSocket, bind, serve};

#[cfg(test)]
mod tests;
