//! The server on a TCP port, for programs that a test starts.

use std::net::{SocketAddr, TcpListener};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tower::Service as _;

use super::server::ApiServer;

impl ApiServer {
    /// Listens on a port of the loopback address, until the process ends. In the network namespace of the calling thread.
    pub fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let api = self.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(accept(listener, api));
        });
        address
    }
}

async fn accept(listener: TcpListener, api: ApiServer) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let api = api.clone();
        let service = service_fn(move |request| api.clone().call(request));
        // An error means that the client has gone.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}
