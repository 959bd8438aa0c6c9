//! What the plugin multus reads from the processes of its node: the kubelet and the daemon. And what `cert-approver` reads: anybody may make a request
//! for a certificate.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::approver::Subject;
use multus::kubelet::{ids_in_checkpoint, ids_in_message};
use nad::PodRef;
use nad::rpc::{Request, Response};
use node::names::PodUid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::same;

fn pod(name: &str) -> PodRef {
    PodRef { uid: Some(PodUid::new("u-1").expect("a uid")), ..PodRef::from_str(name).expect("a podref") }
}

/// A message of the kubelet's `List`: what it gives to a pod is in it, and each id once.
pub fn kubelet_message(bytes: &[u8]) {
    check_ids(bytes, ids_in_message(bytes, &pod("default/pod0")));
}

/// The checkpoint of the kubelet's device manager: the same.
pub fn kubelet_checkpoint(bytes: &[u8]) {
    check_ids(bytes, ids_in_checkpoint(bytes, &pod("default/pod0")));
}

fn check_ids(bytes: &[u8], ids: Result<BTreeMap<String, Vec<String>>, String>) {
    let ids = match ids {
        Ok(ids) => ids,
        Err(reason) => return assert!(reason.len() < 1024, "a reason is short: {reason}"),
    };
    for (resource, ids) in ids {
        assert!(!ids.is_empty(), "{resource} has no device");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{resource}: {ids:?}");
        assert!(ids.iter().map(String::len).sum::<usize>() <= bytes.len());
    }
}

/// A request of multus to its daemon: an accepted one has checked names and survives a round trip.
pub fn daemon_request(bytes: &[u8]) {
    let Some(request) = survives::<Request>(bytes) else { return };
    if let Request::Pod(pod) = request {
        assert!(!pod.namespace.as_str().contains(['/', '.']) && !pod.name.as_str().contains('/'), "{pod}");
    }
}

/// The daemon's response: an accepted one survives a round trip, and its failure can be shown.
pub fn daemon_response(bytes: &[u8]) {
    if let Some(Response::Failed(failure)) = survives(bytes) {
        let _ = failure.about(&pod("default/pod0")).to_string();
    }
}

/// A certificate request, as PEM or as the DER in it: each name of an accepted one comes from its bytes, and the reason of a refused one is short.
pub fn certificate_request(bytes: &[u8]) {
    const KIND: &str = "CERTIFICATE REQUEST";
    let pem = if bytes.starts_with(b"-----") {
        bytes.to_vec()
    } else {
        let text = STANDARD.encode(bytes);
        let lines: Vec<&str> =
            text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("base64")).collect();
        format!("-----BEGIN {KIND}-----\n{}\n-----END {KIND}-----\n", lines.join("\n")).into_bytes()
    };
    match Subject::read(&pem) {
        Ok(Subject { common_names, organizations }) => {
            let names = common_names.iter().chain(&organizations);
            // A character that is no text becomes one of three bytes.
            assert!(names.map(String::len).sum::<usize>() <= 3 * pem.len());
        }
        Err(error) => assert!(error.to_string().len() < 1024, "a reason is short: {error}"),
    }
}

fn survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: T = serde_json::from_value(written.clone()).expect("and read again");
    assert!(same(&written, &serde_json::to_value(&again).expect("and written again")), "{written}");
    Some(read)
}
