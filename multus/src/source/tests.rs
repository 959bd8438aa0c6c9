//! The API server's side, against a service that answers as it is told.

use std::time::Duration;

use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde_json::{Value, json};

use super::*;
use crate::demand::Lookup;
use crate::testing::{FakeApi, call, pod_ref};

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn at() -> PodRef {
    pod_ref("default", "pod0")
}

fn annotated() -> FakeApi {
    FakeApi::new(json!({"k8s.v1.cni.cncf.io/networks": "a", "v1.multus-cni.io/default-network": "b"}))
}

#[test]
fn a_pod_is_read_with_its_annotations_node_and_uid() {
    let pod = annotated().api().pod(&at(), soon()).unwrap();
    assert_eq!((pod.networks.as_deref(), pod.default_network.as_deref()), (Some("a"), Some("b")));
    assert_eq!((pod.node.as_deref(), pod.at), (Some("n1"), at()));
}

#[test]
fn a_pod_of_another_uid_is_not_the_one_unless_it_is_static() {
    let other = PodRef { uid: Some(PodUid::new("u-9").unwrap()), ..at() };
    let error = annotated().api().pod(&other, soon()).unwrap_err();
    assert!(matches!(error, SourceError::PodReplaced { .. }), "{error}");
    assert!(annotated().api().pod(&PodRef { uid: None, ..at() }, soon()).is_ok());
    for (source, is_static) in [("file", true), ("http", true), ("api", false)] {
        let api = FakeApi::new(json!({"kubernetes.io/config.source": source}));
        assert_eq!(api.api().pod(&other, soon()).is_ok(), is_static, "{source}");
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let api = annotated();
    api.refuse("GET", &[503, 0, 429, 500]);
    assert!(api.api().pod(&at(), soon()).is_ok());
    assert_eq!(api.requests().len(), 5);
}

#[test]
fn a_server_that_stays_away_is_given_up_at_the_deadline() {
    let api = annotated();
    api.refuse("GET", &[503; 1000]);
    let started = std::time::Instant::now();
    let error = api.api().pod(&at(), Deadline::after(Duration::from_millis(400))).unwrap_err();
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
    let found = api.api().definitions(&[nad("a"), nad("b")], soon()).unwrap();
    assert!(matches!(&found[&nad("a")], Lookup::Found(nad) if nad.spec.config == r#"{"type":"x"}"#));
    assert!(matches!(&found[&nad("b")], Lookup::Absent(reason) if reason.ends_with("\"b\" not found")));
    api.refuse("GET", &[403]);
    let error = api.api().definitions(&[nad("a")], soon()).unwrap_err().to_string();
    assert!(
        error
            .contains("grant \"get\" on network-attachment-definitions.k8s.cni.cncf.io in namespace default"),
        "{error}"
    );
}

#[test]
fn the_status_is_written_with_every_other_field_as_it_was() {
    let api = annotated();
    let mut source = api.source();
    source.pod(&at(), soon()).unwrap();
    let mut want = api.pod();
    source.publish(&at(), "[{}]", soon()).unwrap();
    want["metadata"]["annotations"]["k8s.v1.cni.cncf.io/network-status"] = "[{}]".into();
    assert_eq!(api.pod(), want);
    assert_eq!(api.requests().last().unwrap(), "PUT /api/v1/namespaces/default/pods/pod0/status");
}

#[test]
fn a_pod_without_annotations_gets_its_first() {
    let api = annotated();
    api.edit_pod(|pod| pod["metadata"]["annotations"] = Value::Null);
    api.source().publish(&at(), "[{}]", soon()).unwrap();
    assert_eq!(api.status().unwrap(), "[{}]");
}

#[test]
fn after_a_conflict_the_pod_is_read_anew() {
    let api = annotated();
    let mut source = api.source();
    source.pod(&at(), soon()).unwrap();
    api.edit_pod(|pod| {
        pod["metadata"]["resourceVersion"] = "2".into();
        pod["status"]["phase"] = "Running".into();
    });
    source.publish(&at(), "[{}]", soon()).unwrap();
    assert_eq!((api.status().unwrap().as_str(), &api.pod()["status"]["phase"]), ("[{}]", &json!("Running")));
}

#[test]
fn a_write_whose_answer_is_lost_is_made_again() {
    let api = annotated();
    api.refuse("PUT", &[0, 500, 409]);
    api.source().publish(&at(), "[{}]", soon()).unwrap();
    assert_eq!(api.status().unwrap(), "[{}]");
    assert!(api.requests().iter().filter(|line| line.starts_with("GET")).count() >= 4);
}

#[test]
fn a_pod_that_is_gone_needs_no_status_but_a_later_one_never_gets_it() {
    let gone = annotated();
    gone.delete_pod();
    gone.source().publish(&at(), "[{}]", soon()).unwrap();
    let replaced = annotated();
    replaced.edit_pod(|pod| pod["metadata"]["uid"] = "u-2".into());
    let error = replaced.source().publish(&at(), "[{}]", soon()).unwrap_err();
    assert!(matches!(error, SourceError::PodReplaced { .. }), "{error}");
    assert_eq!(replaced.status(), None);
}

#[test]
fn a_status_that_may_not_be_written_is_an_error_that_names_the_right() {
    let api = annotated();
    api.refuse("PUT", &[403]);
    let error = api.source().publish(&at(), "[{}]", soon()).unwrap_err().to_string();
    assert!(error.contains("grant \"update\" on pods/status in namespace default"), "{error}");
}

#[test]
fn nothing_is_ever_patched() {
    let api = annotated();
    let mut source = api.source();
    source.pod(&at(), soon()).unwrap();
    source.publish(&at(), "[{}]", soon()).unwrap();
    assert!(api.requests().iter().all(|line| line.starts_with("GET ") || line.starts_with("PUT ")));
}

#[test]
fn events_that_are_lost_are_no_error() {
    let api = annotated();
    api.refuse("POST", &[500, 403]);
    let pod = api.api().pod(&at(), soon()).unwrap();
    let now = "2026-11-23T10:00:00Z".parse().unwrap();
    let event = crate::events::no_network_found(&pod, &nad("b"), "gone", now);
    api.source().tell(&[event.clone(), event.clone(), event], soon());
    assert_eq!(api.events().len(), 3);
}

#[test]
fn credentials_are_the_confs_or_the_pods_own_or_none() {
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
