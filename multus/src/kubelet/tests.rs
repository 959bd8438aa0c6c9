use super::*;
use crate::testing::kubelet::{Answer, pod, start};
use crate::testing::pod_ref;

const NIC: &str = "example.com/nic";

fn devices_by(kubelet: &Kubelet, limit: Duration) -> Result<Devices, KubeletError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(kubelet.devices(&pod_ref("default", "pod0"), Deadline::after(limit)))
}

fn devices(answers: Vec<Answer>) -> Result<Devices, KubeletError> {
    let folder = tempfile::tempdir().unwrap();
    devices_by(&start(folder.path(), answers), Duration::from_secs(10))
}

#[test]
fn the_kubelet_lists_the_devices_of_the_pod() {
    let pods = Answer::Pods(vec![pod("default", "pod0", &[&[(NIC, &["1", "2"])]])]);
    assert_eq!(devices(vec![pods]).unwrap().ids(NIC), ["1", "2"]);
    assert_eq!(devices(vec![Answer::Pods(vec![])]).unwrap(), Devices::default());
}

#[test]
fn an_answer_of_many_frames_is_read_whole() {
    let ids: Vec<String> = (0..100_000).map(|n| format!("{n:08}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let found = devices(vec![Answer::Pods(vec![
        pod("default", "pod0", &[&[(NIC, &ids[..1000])]]),
        pod("x", "y", &[&[(NIC, &ids)]]),
    ])]);
    assert_eq!(found.unwrap().ids(NIC), ids[..1000]);
}

#[test]
fn a_kubelet_that_limits_calls_or_is_not_there_yet_is_asked_again() {
    let pods = Answer::Pods(vec![pod("default", "pod0", &[&[(NIC, &["1"])]])]);
    let answers = vec![Answer::Status("8", "rejected by rate limit"), Answer::Status("14", "starting"), pods];
    assert_eq!(devices(answers).unwrap().ids(NIC), ["1"]);
}

#[test]
fn a_refusal_and_an_answer_that_is_none_are_errors() {
    for (answer, want) in [
        (Answer::Status("12", "unknown%20service"), "gRPC status 12: unknown%20service"),
        (Answer::Bytes(b"\0\0"), "shorter than the prefix"),
        (Answer::Bytes(b"\x01\0\0\0\0"), "it is compressed"),
        (Answer::Bytes(b"\0\0\0\0\x05abc"), "not exactly one message"),
        (Answer::Bytes(b"\0\0\0\0\x03\xff\xff\xff"), "cannot be read: "),
    ] {
        let error = devices(vec![answer]).unwrap_err().to_string();
        assert!(
            error.starts_with("getKubernetesDelegate: failed to get resourceMap from ResourceClient: the "),
            "{error}"
        );
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_socket_without_a_kubelet_is_an_error_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("pod-resources")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("pod-resources/kubelet.sock")).unwrap());
    let error = devices_by(&Kubelet::in_folder(folder.path()), Duration::from_millis(200)).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "getKubernetesDelegate: failed to get a ResourceClient instance: cannot ask the kubelet at "
        ),
        "{text}"
    );
}

#[test]
fn without_the_socket_the_checkpoint_counts() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::in_folder(folder.path());
    let error = devices_by(&kubelet, Duration::from_secs(1)).unwrap_err().to_string();
    assert!(
        error.contains("the kubelet has no socket ") && error.contains("kubelet_internal_checkpoint"),
        "{error}"
    );
    std::fs::create_dir(folder.path().join("device-plugins")).unwrap();
    let checkpoint = r#"{"Data":{"PodDeviceEntries":[{"PodUID":"u-1","ContainerName":"c","ResourceName":"example.com/nic","DeviceIDs":{"0":["7"]}}]}}"#;
    node::files::write_atomic(
        &folder.path().join("device-plugins/kubelet_internal_checkpoint"),
        checkpoint.as_bytes(),
        0o600,
    )
    .unwrap();
    assert_eq!(devices_by(&kubelet, Duration::from_secs(1)).unwrap().ids(NIC), ["7"]);
}
