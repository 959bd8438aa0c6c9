//! A device plugin for the tests on a real kubelet: it registers a resource and hands out ids, behind which there is no device.

mod grpc;
pub mod messages;

use std::path::Path;

use prost::Message as _;
use prost::bytes::Bytes;
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};

use messages::{AllocateRequest, AllocateResponse, Device, Empty, ListAndWatchResponse, RegisterRequest};

/// The name of the kubelet's socket in its folder for device plugins.
const KUBELET: &str = "kubelet.sock";

/// Registers `resource` at the kubelet whose folder for device plugins is `folder`, and serves it until the program ends.
pub async fn run(folder: &Path, resource: &str, ids: &[String]) {
    let endpoint = format!("{}.sock", resource.replace('/', "-"));
    let socket = folder.join(&endpoint);
    // A killed plugin leaves its socket.
    let _ = std::fs::remove_file(&socket);
    // The kubelet connects as soon as it knows of the socket, so the socket comes first.
    let listener = UnixListener::bind(&socket).unwrap();
    let request =
        RegisterRequest { version: "v1beta1".to_owned(), endpoint, resource_name: resource.to_owned() };
    let serving = serve(listener, ids.to_vec());
    let registration = async {
        let kubelet = UnixStream::connect(folder.join(KUBELET)).await.unwrap();
        let _: Empty = grpc::call(kubelet, "/v1beta1.Registration/Register", &request).await;
    };
    tokio::join!(serving, registration);
}

/// Describes each device in a file, as a device plugin may (device information spec 1.1.0).
pub fn describe(folder: &Path, resource: &str, ids: &[String]) {
    std::fs::create_dir_all(folder).unwrap();
    for id in ids {
        let file = format!("{resource}-{id}-device.json").replace('/', "-");
        let content = json!({"type": "pci", "version": "1.1.0", "pci": {"pci-address": id}});
        node::files::write_atomic(&folder.join(file), content.to_string().as_bytes(), 0o444).unwrap();
    }
}

async fn serve(listener: UnixListener, ids: Vec<String>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(grpc::serve(stream, ids.clone(), answer));
    }
}

/// The answer to one call, and whether the stream of answers stays open.
fn answer(method: &str, request: Bytes, ids: &[String]) -> (Bytes, grpc::Stream) {
    let encode = |message: Vec<u8>| Bytes::from(message);
    match method {
        "/v1beta1.DevicePlugin/ListAndWatch" => {
            let device = |id: &String| Device { id: id.clone(), health: "Healthy".to_owned() };
            let all = ListAndWatchResponse { devices: ids.iter().map(device).collect() };
            (encode(all.encode_to_vec()), grpc::Stream::Open)
        }
        "/v1beta1.DevicePlugin/Allocate" => {
            let count = AllocateRequest::decode(request).unwrap().containers.len();
            let nothing = AllocateResponse { containers: vec![Empty {}; count] };
            (encode(nothing.encode_to_vec()), grpc::Stream::Ended)
        }
        // GetDevicePluginOptions: none. The kubelet calls no others then.
        _ => (Bytes::new(), grpc::Stream::Ended),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::messages::ContainerRequest;
    use super::*;

    const RESOURCE: &str = "example.com/nic";

    #[tokio::test]
    async fn it_registers_lists_its_devices_and_allocates_them() {
        let folder = tempfile::tempdir().unwrap();
        let kubelet = UnixListener::bind(folder.path().join(KUBELET)).unwrap();
        let path = folder.path().to_owned();
        let ids = vec!["a".to_owned(), "b".to_owned()];
        tokio::spawn(async move { run(&path, RESOURCE, &ids).await });
        let (stream, _) = kubelet.accept().await.unwrap();
        let registered: RegisterRequest =
            grpc::tests::receive_one(stream, "/v1beta1.Registration/Register").await;
        assert_eq!((registered.version.as_str(), registered.resource_name.as_str()), ("v1beta1", RESOURCE));
        let connect = || UnixStream::connect(folder.path().join(&registered.endpoint));
        let listed: ListAndWatchResponse = tokio::time::timeout(
            Duration::from_secs(10),
            grpc::tests::first(connect().await.unwrap(), "/v1beta1.DevicePlugin/ListAndWatch"),
        )
        .await
        .unwrap();
        let listed: Vec<&str> = listed.devices.iter().map(|device| device.id.as_str()).collect();
        assert_eq!(listed, ["a", "b"]);
        let request = AllocateRequest { containers: vec![ContainerRequest { ids: vec!["a".to_owned()] }] };
        let answer: AllocateResponse =
            grpc::call(connect().await.unwrap(), "/v1beta1.DevicePlugin/Allocate", &request).await;
        assert_eq!(answer.containers.len(), 1);
    }

    #[test]
    fn each_device_is_described_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        describe(folder.path(), RESOURCE, &["a".to_owned()]);
        assert!(folder.path().join("example.com-nic-a-device.json").exists());
    }
}
