//! How a call reaches the node's daemon and the API server. The only part of a call that a simulation replaces.

use std::path::Path;

use node::client::{ApiClient, ConnectError, Credentials, Timeouts};
use node::deadline::Deadline;
use node::rpc::{self, RpcError};

use crate::rpc::wire::{self, Request, Response};

/// The way to the node's daemon and to the API server.
pub trait Transport {
    /// Sends a request to the node's daemon and waits for its response until `deadline`.
    ///
    /// # Errors
    /// [`RpcError`] says whether the daemon may have begun to serve the request.
    fn ask(
        &self,
        request: &Request,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Response, RpcError>> + Send;

    /// A client of the API server, with the credentials of a network's kubeconfig.
    ///
    /// # Errors
    /// [`ConnectError`].
    fn connect(&self, kubeconfig: &Path) -> impl Future<Output = Result<ApiClient, ConnectError>> + Send;
}

/// The daemon's socket, and the network of this machine.
#[derive(Clone, Debug)]
pub(super) struct Machine;

impl Transport for Machine {
    async fn ask(&self, request: &Request, deadline: Deadline) -> Result<Response, RpcError> {
        // Blocks the thread: a call has one task, and that task has nothing to do but wait for this response.
        rpc::call(wire::socket(), request, deadline)
    }

    async fn connect(&self, kubeconfig: &Path) -> Result<ApiClient, ConnectError> {
        ApiClient::connect(Credentials::Kubeconfig(kubeconfig.to_owned()), Timeouts::default()).await
    }
}
