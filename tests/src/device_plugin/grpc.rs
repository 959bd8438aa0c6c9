//! gRPC on HTTP/2, for one message in each direction: what a device plugin needs.

use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tokio::net::UnixStream;

/// Whether more answers may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The call stays open until the caller or the program ends.
    Open,
    /// The answer is the only one.
    Ended,
}

/// The answer to a method and its request, for these devices.
pub type Answer = fn(&str, Bytes, &[String]) -> (Bytes, Stream);

/// The length of what stands before a message.
const PREFIX: usize = 5;

/// Calls a method and returns its answer.
pub async fn call<A: Message + Default>(stream: UnixStream, method: &str, request: &impl Message) -> A {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let (response, mut body) = send(sender, method).await;
    body.send_data(framed(&request.encode_to_vec()), true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let bytes = all(&mut body).await;
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0", "{method}: {trailers:?}");
    A::decode(bytes.slice(PREFIX..)).unwrap()
}

async fn send(
    sender: h2::client::SendRequest<Bytes>,
    method: &str,
) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
    let request = Request::post(format!("http://localhost{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    sender.ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap()
}

/// Serves a connection of the kubelet.
pub async fn serve(stream: UnixStream, ids: Vec<String>, answer: Answer) {
    let mut connection = h2::server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        // ListAndWatch stays open while other calls come over the same connection.
        tokio::spawn(reply(request, respond, ids.clone(), answer));
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    ids: Vec<String>,
    answer: Answer,
) {
    let (head, mut body) = request.into_parts();
    let bytes = all(&mut body).await;
    let (message, stream) = answer(head.uri.path(), bytes.slice(PREFIX.min(bytes.len())..), &ids);
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut answers = respond.send_response(head, false).unwrap();
    answers.send_data(framed(&message), false).unwrap();
    match stream {
        Stream::Open => drop(std::future::poll_fn(|context| answers.poll_reset(context)).await),
        Stream::Ended => answers.send_trailers(ok()).unwrap(),
    }
}

fn ok() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))])
}

fn framed(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.len().try_into().unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

async fn all(body: &mut RecvStream) -> Bytes {
    let mut bytes = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        body.flow_control().release_capacity(part.len()).unwrap();
        bytes.put(part);
    }
    bytes.freeze()
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// As the kubelet: receives one call of this method and answers it with nothing.
    pub async fn receive_one<Q: Message + Default>(stream: UnixStream, method: &str) -> Q {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        // Only a connection that is asked for more moves bytes.
        tokio::spawn(async move { while connection.accept().await.is_some() {} });
        assert_eq!(request.uri().path(), method);
        let bytes = all(&mut request.into_body()).await;
        let mut answer = respond.send_response(Response::new(()), false).unwrap();
        answer.send_data(framed(&[]), false).unwrap();
        answer.send_trailers(ok()).unwrap();
        Q::decode(bytes.slice(PREFIX..)).unwrap()
    }

    /// As the kubelet: the first answer of a stream that stays open.
    pub async fn first<A: Message + Default>(stream: UnixStream, method: &str) -> A {
        let (sender, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let (response, mut body) = send(sender, method).await;
        body.send_data(framed(&[]), true).unwrap();
        let part = response.await.unwrap().into_body().data().await.unwrap().unwrap();
        A::decode(part.slice(PREFIX..)).unwrap()
    }
}
