//! Requests to a fake API server.

use std::time::Duration;

use nad::{NadRef, PodRef};
use node::client::{ApiClient, ApiError, Credentials, block_on};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde_json::{Value, json};

use super::connect::credentials;
use super::*;
use crate::conf::Conf;
use crate::request::{Definitions, Lookup, Pod};
use crate::testing::{FakeApi, call, pod_ref};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn pod0() -> PodRef {
    pod_ref("default", "pod0")
}

fn annotated() -> FakeApi {
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "a", "v1.multus-cni.io/default-network": "b"}))
}

fn with_client<T>(api: &FakeApi, work: impl AsyncFnOnce(&ApiClient) -> T) -> T {
    block_on(Deadline::after(Duration::from_secs(30)), async { work(&api.client().await).await }).unwrap()
}

fn read(api: &FakeApi, pod: &PodRef) -> Result<Pod, SourceError> {
    with_client(api, async |client| Ok(read_pod(client, pod, soon()).await?.0))
}

fn definitions(api: &FakeApi, wanted: &[NadRef]) -> Result<Definitions, SourceError> {
    with_client(api, async |client| read_definitions(client, wanted, soon()).await)
}

/// Writes without a pod that was read before.
fn write(api: &FakeApi) -> Result<(), SourceError> {
    with_client(api, async |client| write_status(client, &pod0(), None, "[{}]", soon()).await)
}

/// Reads the pod, calls `between`, and writes.
fn read_and_write(api: &FakeApi, between: impl FnOnce()) -> Result<(), SourceError> {
    with_client(api, async |client| {
        let (_, object) = read_pod(client, &pod0(), soon()).await?;
        between();
        write_status(client, &pod0(), Some(object), "[{}]", soon()).await
    })
}

#[test]
fn a_pod_is_read_with_its_annotations_node_and_uid() {
    let pod = read(&annotated(), &pod0()).unwrap();
    assert_eq!((pod.networks.as_deref(), pod.default_network.as_deref()), (Some("a"), Some("b")));
    assert_eq!((pod.node.as_deref(), pod.pod_ref), (Some("n1"), pod0()));
}

#[test]
fn a_pod_with_another_uid_is_another_pod() {
    let other = PodRef { uid: Some(PodUid::new("u-9").unwrap()), ..pod0() };
    let error = read(&annotated(), &other).unwrap_err();
    assert!(matches!(error, SourceError::PodReplaced { .. }), "{error}");
    let file = FakeApi::new(json!({"kubernetes.io/config.source": "file"}));
    assert!(read(&file, &other).is_err());
    assert!(read(&annotated(), &PodRef { uid: None, ..pod0() }).is_ok());
}

#[test]
fn a_static_pod_has_the_uid_that_its_mirror_pod_names() {
    let on_node = PodRef { uid: Some(PodUid::new("0f9a").unwrap()), ..pod0() };
    let mirror = |hash: &str| {
        FakeApi::new(json!({"kubernetes.io/config.source": "file", "kubernetes.io/config.mirror": hash}))
    };
    assert_eq!(read(&mirror("0f9a"), &on_node).unwrap().pod_ref, pod0());
    let error = read(&mirror("1234"), &on_node).unwrap_err();
    assert!(matches!(error, SourceError::PodReplaced { .. }), "{error}");
}

#[test]
fn a_request_that_may_succeed_later_is_repeated() {
    let api = annotated();
    api.refuse("GET", &[503, 0, 429, 500]);
    assert!(read(&api, &pod0()).is_ok());
    assert_eq!(api.requests().len(), 5);
}

#[test]
fn requests_end_at_the_deadline() {
    let api = annotated();
    api.refuse("GET", &[503; 1000]);
    let started = std::time::Instant::now();
    let deadline = Deadline::after(Duration::from_millis(400));
    let error = with_client(&api, async |client| read_pod(client, &pod0(), deadline).await).unwrap_err();
    assert!(
        matches!(error, SourceError::Api(ApiError::Retryable { .. }) | SourceError::DeadlinePassed(_)),
        "{error}"
    );
    assert!(started.elapsed() < Duration::from_secs(3));
}

fn nad(name: &str) -> NadRef {
    NadRef { namespace: DnsLabel::new("default").unwrap(), name: DnsSubdomain::new(name).unwrap() }
}

#[test]
fn definitions_are_found_or_absent_and_any_other_answer_is_an_error() {
    let api = FakeApi::new(json!({})).with_nad("default/a", &json!({"type": "x"}));
    let found = definitions(&api, &[nad("a"), nad("b")]).unwrap();
    assert!(matches!(&found[&nad("a")], Lookup::Found(nad) if nad.spec.config == r#"{"type":"x"}"#));
    assert!(matches!(&found[&nad("b")], Lookup::Absent(reason) if reason.ends_with("\"b\" not found")));
    api.refuse("GET", &[403]);
    let error = definitions(&api, &[nad("a")]).unwrap_err().to_string();
    assert!(
        error
            .contains("grant \"get\" on network-attachment-definitions.k8s.cni.cncf.io in namespace default"),
        "{error}"
    );
}

#[test]
fn the_status_is_written_with_every_other_field_as_it_was() {
    let api = annotated();
    let mut want = api.pod();
    read_and_write(&api, || ()).unwrap();
    want["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = "[{}]".into();
    assert_eq!(api.pod(), want);
    let pod = "/api/v1/namespaces/default/pods/pod0";
    assert_eq!(api.requests(), [format!("GET {pod}"), format!("PUT {pod}/status")]);
}

#[test]
fn a_pod_without_annotations_gets_its_first() {
    let api = annotated();
    api.edit_pod(|pod| pod["metadata"]["annotations"] = Value::Null);
    write(&api).unwrap();
    assert_eq!(api.status().unwrap(), "[{}]");
}

#[test]
fn after_a_conflict_the_pod_is_read_again() {
    let api = annotated();
    read_and_write(&api, || {
        api.edit_pod(|pod| {
            pod["metadata"]["resourceVersion"] = "2".into();
            pod["status"]["phase"] = "Running".into();
        });
    })
    .unwrap();
    assert_eq!((api.status().unwrap().as_str(), &api.pod()["status"]["phase"]), ("[{}]", &json!("Running")));
}

#[test]
fn a_write_whose_answer_is_lost_is_repeated() {
    let api = annotated();
    api.refuse("PUT", &[0, 500, 409]);
    write(&api).unwrap();
    assert_eq!(api.status().unwrap(), "[{}]");
    assert!(api.requests().iter().filter(|line| line.starts_with("GET")).count() >= 4);
}

#[test]
fn a_pod_that_is_gone_needs_no_status_and_its_successor_never_gets_it() {
    let gone = annotated();
    gone.delete_pod();
    write(&gone).unwrap();
    let replaced = annotated();
    replaced.edit_pod(|pod| pod["metadata"]["uid"] = "u-2".into());
    let error = write(&replaced).unwrap_err();
    assert!(matches!(error, SourceError::PodReplaced { .. }), "{error}");
    assert_eq!(replaced.status(), None);
}

#[test]
fn the_error_of_a_forbidden_write_names_the_missing_right() {
    let api = annotated();
    api.refuse("PUT", &[403]);
    let error = write(&api).unwrap_err().to_string();
    assert!(error.contains("grant \"update\" on pods/status in namespace default"), "{error}");
}

#[test]
fn lost_events_are_no_error() {
    let api = annotated();
    api.refuse("POST", &[500, 403]);
    let pod = read(&api, &pod0()).unwrap();
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let event = crate::report::no_network_found(&pod, &nad("b"), "gone", now);
    let events = [event.clone(), event.clone(), event];
    with_client(&api, async |client| send_events(client, &events, soon()).await);
    assert_eq!(api.events().len(), 3);
}

#[test]
fn credentials_are_those_of_the_configuration_or_of_the_own_pod_or_none() {
    let of = |kubeconfig: &str, variables: &[(&str, &str)]| {
        let conf = json!({"name": "n", "type": "multus", "clusterNetwork": "x", "kubeconfig": kubeconfig});
        let conf = Conf::read(&call(&conf, "/bin", "")).unwrap();
        credentials(&conf, &|name| variables.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned()))
    };
    let service = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
    assert_eq!(of("/k", &service), Some(Credentials::Kubeconfig("/k".into())));
    assert_eq!(of("", &service), Some(Credentials::InCluster));
    assert_eq!(of("", &service[..1]), None);
    assert_eq!(of("", &[]), None);
}
