//! The kubelet of a test: its gRPC server for device monitoring, and its answers.

use std::os::unix::net::UnixListener;
use std::path::Path;

use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};

use crate::kubelet::Kubelet;
use crate::kubelet::pod_resources::{Container, ContainerDevices, ListResponse, PodResources};

/// What the kubelet answers to one call.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These pods.
    Pods(Vec<PodResources>),
    /// A status of gRPC, and a message.
    Status(&'static str, &'static str),
    /// These bytes in place of a message.
    Bytes(&'static [u8]),
}

/// A pod. Each container has resources with ids.
pub(crate) fn pod(namespace: &str, name: &str, containers: &[&[(&str, &[&str])]]) -> PodResources {
    let devices = |(resource, ids): &(&str, &[&str])| ContainerDevices {
        resource_name: (*resource).to_owned(),
        device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
    };
    let container = |resources: &&[(&str, &[&str])]| Container {
        devices: resources.iter().map(devices).collect(),
        ..Container::default()
    };
    PodResources {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        containers: containers.iter().map(container).collect(),
    }
}

/// Starts a kubelet with this root directory. It gives these answers, the last one again and again.
pub(crate) fn start(root: &Path, mut answers: Vec<Answer>) -> Kubelet {
    let socket = root.join("pod-resources/kubelet.sock");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::UnixListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    reply(&request, respond, &answer);
                }
            }
        });
    });
    Kubelet::in_folder(root)
}

fn reply(request: &Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>, answer: &Answer) {
    assert_eq!(request.uri().path(), "/v1.PodResourcesLister/List");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let status = |code, message| {
        let pairs = [("grpc-status", code), ("grpc-message", message)];
        pairs.map(|(key, value)| (key.parse().unwrap(), HeaderValue::from_static(value)))
    };
    let body = match answer {
        Answer::Status(code, message) => {
            let mut response = Response::new(());
            response.headers_mut().extend(HeaderMap::from_iter(status(code, message)));
            respond.send_response(response, true).unwrap();
            return;
        }
        Answer::Bytes(bytes) => Bytes::from_static(bytes),
        Answer::Pods(pods) => {
            let message = ListResponse { pods: pods.clone() }.encode_to_vec();
            let mut bytes = BytesMut::new();
            bytes.put_u8(0);
            bytes.put_u32(message.len().try_into().unwrap());
            bytes.put_slice(&message);
            bytes.freeze()
        }
    };
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(body, false).unwrap();
    stream.send_trailers(HeaderMap::from_iter(status("0", ""))).unwrap();
}
