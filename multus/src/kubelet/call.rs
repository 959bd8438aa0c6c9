//! One gRPC call to the kubelet: a request of HTTP/2 whose body and answer are each one message (gRPC over HTTP2,
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use std::io;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use node::deadline::Deadline;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::net::UnixStream;

use super::error::KubeletError;
use super::pod_resources::{ListRequest, ListResponse};

/// The method, as a path. `List` and not `Get`, which many kubelets have switched off: the whole list is some KB.
const METHOD: &str = "http://localhost/v1.PodResourcesLister/List";

/// The largest answer, in bytes.
const MAX_BYTES: u32 = 16 << 20;

/// The first wait before a repetition. It doubles with each failure.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The length of what stands before a message: one byte that says whether it is compressed, and its length in four.
const PREFIX: usize = 5;

/// The most characters of the kubelet's texts in an error.
const MAX_SHOWN: usize = 256;

/// The status codes of gRPC that matter here.
const OK: &str = "0";
const RESOURCE_EXHAUSTED: &str = "8";
const UNAVAILABLE: &str = "14";

/// Why one attempt failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Connect(#[from] io::Error),
    #[error("{0}")]
    Http(#[from] h2::Error),
    #[error("gRPC status {status}: {message}")]
    Refused { status: String, message: String },
    #[error("{0}")]
    Malformed(String),
}

impl Failure {
    /// Whether another attempt may succeed: the kubelet limits the rate of calls, and is absent while it restarts.
    fn may_pass(&self) -> bool {
        match self {
            Failure::Connect(_) | Failure::Http(_) => true,
            Failure::Refused { status, .. } => [RESOURCE_EXHAUSTED, UNAVAILABLE].contains(&status.as_str()),
            Failure::Malformed(_) => false,
        }
    }

    fn into_error(self, socket: &Path) -> KubeletError {
        let socket = socket.to_owned();
        match self {
            Failure::Connect(_) | Failure::Http(_) => {
                KubeletError::Unreachable { socket, reason: self.to_string() }
            }
            Failure::Refused { status, message } => KubeletError::Refused { socket, status, message },
            Failure::Malformed(reason) => KubeletError::Malformed { socket, reason },
        }
    }
}

/// Lists the devices of all pods of the node. Repeats what may pass until `deadline`.
pub(super) async fn list(socket: &Path, deadline: Deadline) -> Result<ListResponse, KubeletError> {
    let mut wait = FIRST_WAIT;
    loop {
        let limit = deadline.remaining();
        let failure = match tokio::time::timeout(limit, attempt(socket)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(failure)) => failure,
            Err(_) => {
                let reason = format!("no answer within {:.1} s", limit.as_secs_f64());
                return Err(KubeletError::Unreachable { socket: socket.to_owned(), reason });
            }
        };
        if !failure.may_pass() || wait >= deadline.remaining() {
            return Err(failure.into_error(socket));
        }
        tokio::time::sleep(wait).await;
        wait = wait.saturating_mul(2);
    }
}

async fn attempt(socket: &Path) -> Result<ListResponse, Failure> {
    let stream = UnixStream::connect(socket).await?;
    // Windows for the largest answer: the kubelet never waits for us.
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(MAX_BYTES).initial_connection_window_size(MAX_BYTES);
    let (sender, connection) = builder.handshake::<_, Bytes>(stream).await?;
    // The connection moves the bytes of the call.
    match select(pin!(exchange(sender)), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((Err(error), _)) => Err(error.into()),
        Either::Right((Ok(()), answer)) => answer.await,
    }
}

async fn exchange(sender: SendRequest<Bytes>) -> Result<ListResponse, Failure> {
    let request = Request::post(METHOD).header("content-type", "application/grpc").header("te", "trailers");
    let request = request.body(()).map_err(|e| Failure::Malformed(e.to_string()))?;
    let (response, mut body) = sender.ready().await?.send_request(request, false)?;
    body.send_data(message(&ListRequest {}), true)?;
    let (head, mut body) = response.await?.into_parts();
    if head.status != http::StatusCode::OK {
        return Err(Failure::Malformed(format!("HTTP status {}", head.status)));
    }
    // An error without an answer has its status here instead of after the answer.
    if head.headers.contains_key("grpc-status") {
        check_status(&head.headers)?;
    }
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        if bytes.len().saturating_add(part.len()) > MAX_BYTES as usize {
            return Err(Failure::Malformed(format!("it has more than {MAX_BYTES} bytes")));
        }
        bytes.put(part);
    }
    match body.trailers().await? {
        Some(trailers) => check_status(&trailers)?,
        None => return Err(Failure::Malformed("it ends without a status".to_owned())),
    }
    decode(bytes.freeze())
}

/// A message as gRPC sends it.
fn message(content: &impl prost::Message) -> Bytes {
    let content = content.encode_to_vec();
    let mut bytes = BytesMut::with_capacity(PREFIX.saturating_add(content.len()));
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
    bytes.put_slice(&content);
    bytes.freeze()
}

/// Reads the only message of an answer.
pub(super) fn decode(mut bytes: Bytes) -> Result<ListResponse, Failure> {
    let malformed = |what: &str| Failure::Malformed(what.to_owned());
    if bytes.len() < PREFIX {
        return Err(malformed("it is shorter than the prefix of a message"));
    }
    if bytes.get_u8() != 0 {
        return Err(malformed("it is compressed, though the request allows no compression"));
    }
    let length = bytes.get_u32();
    if u32::try_from(bytes.remaining()) != Ok(length) {
        return Err(malformed("it is not exactly one message"));
    }
    ListResponse::decode(bytes).map_err(|e| Failure::Malformed(e.to_string()))
}

fn check_status(headers: &HeaderMap) -> Result<(), Failure> {
    // A value with other characters than printable ASCII is no text. (gRPC escapes them in its message.)
    let text = |key: &str| -> String {
        let value = headers.get(key).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().chars().take(MAX_SHOWN).collect()
    };
    match text("grpc-status") {
        status if status == OK => Ok(()),
        status => Err(Failure::Refused { status, message: text("grpc-message") }),
    }
}
