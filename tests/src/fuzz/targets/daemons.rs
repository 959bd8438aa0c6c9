//! What the plugin multus reads from the processes of its node: the kubelet and the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

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

fn survives<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let read: T = serde_json::from_slice(bytes).ok()?;
    let written = serde_json::to_value(&read).expect("what was read can be written");
    let again: T = serde_json::from_value(written.clone()).expect("and read again");
    assert!(same(&written, &serde_json::to_value(&again).expect("and written again")), "{written}");
    Some(read)
}
