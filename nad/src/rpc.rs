//! The protocol between the plugin `multus` and the daemon of its node: one request and one response per connection, each one line of JSON.
//!
//! It is ours, not upstream's: upstream's shim sends whole CNI calls to a daemon that runs the plugins. Here the plugin does all work on the
//! node, and asks the daemon for what only the API server knows.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use node::client::ApiError;
use node::rpc::{ClientRequest, OnHangUp};
use serde::{Deserialize, Serialize};

use crate::api::SourceError;
use crate::changes::{Changes, ChangesQuery};
use crate::definition::{Lookup, NadRef};
use crate::pod::{Pod, PodRef};

/// The folder of the socket, unless the configuration names another. Upstream's.
pub const SOCKET_DIR: &str = "/run/multus";

/// The name of the socket in its folder. Upstream's.
pub const SOCKET_NAME: &str = "multus.sock";

/// How long the daemon works on one request at most.
pub const SERVE_LIMIT: Duration = Duration::from_secs(20);

/// How long the plugin waits for the response: longer than the daemon works, so that the daemon's error arrives.
pub const WAIT_LIMIT: Duration = Duration::from_secs(22);

/// The socket in this folder.
pub fn socket(folder: &Path) -> PathBuf {
    folder.join(SOCKET_NAME)
}

/// A request of the plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What does this pod request? With the UID that the runtime gave.
    Pod(PodRef),
    /// What do these definitions say?
    Definitions(Vec<NadRef>),
    /// All networks of a pod are attached. Write network-status, then send the events and count the call.
    Attached(AttachedPod),
    /// Write network-status of a running pod whose networks were changed.
    Status(StatusWrite),
    /// Send these events when there is time. The response does not wait for them.
    Events(Vec<Event>),
    /// This call of the runtime has ended. For the daemon's metrics: the plugin itself lives too short to be asked.
    Ended(EndedCall),
    /// Which pods of the node changed? The response does not wait for a change.
    Changes(ChangesQuery),
}

/// How a call of the runtime ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedCall {
    /// What the runtime asked for.
    pub verb: CallVerb,
    /// How it ended.
    pub outcome: CallOutcome,
    /// How long it took.
    pub took: Duration,
}

/// The verbs that pods wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallVerb {
    /// The pod's networks were to be attached.
    Add,
    /// They were to be detached.
    Del,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallOutcome {
    /// Without an error.
    Done,
    /// With CNI code 11: the runtime may succeed later.
    Later,
    /// With another error.
    Failed,
}

impl ClientRequest for Request {
    /// A plugin ends before its answer if the runtime kills it. Then the runtime makes the sandbox again, with another status: the one of the
    /// killed plugin is not sent any more. (What the API server has received, it may still execute.) `multus hotplug` waits for a status less long
    /// than the daemon tries to write it.
    fn on_hang_up(&self) -> OnHangUp {
        match self {
            Request::Attached(_) => OnHangUp::Abandon,
            Request::Pod(_)
            | Request::Definitions(_)
            | Request::Status(_)
            | Request::Events(_)
            | Request::Ended(_)
            | Request::Changes(_) => OnHangUp::Complete,
        }
    }
}

/// What an ADD reports at its end, in one request: each request costs both processes some 0.1 ms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttachedPod {
    /// The annotation.
    pub status: StatusWrite,
    /// About the networks. They are sent when there is time: the response does not wait for them.
    pub events: Vec<Event>,
    /// When the ADD began, as the time since boot. The daemon counts the ADD from then until the status is written. If its response is lost, the
    /// plugin reports the end of the call again, and it counts twice.
    pub began: Duration,
}

/// A value of the annotation network-status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusWrite {
    /// The pod, with the UID that the runtime gave.
    pub pod: PodRef,
    /// The value.
    pub status: String,
}

/// The daemon's response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// The pod.
    Pod(Pod),
    /// The definitions, each with its answer.
    Definitions(Vec<(NadRef, Lookup)>),
    /// The pods that changed.
    Changes(Changes),
    /// The status is written, the events are queued, or the call is counted.
    Done,
    /// The request failed.
    Failed(Failure),
}

/// Why a request failed, by what the plugin can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// The pod does not exist.
    PodMissing,
    /// The pod of this name has another UID: this one.
    PodReplaced(String),
    /// The account of the daemon may not do it. The plugin's own credentials may.
    Denied(String),
    /// The API server does not answer, or not as expected.
    Unavailable(String),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::PodMissing(_) => Failure::PodMissing,
            SourceError::PodReplaced { found, .. } => Failure::PodReplaced(found),
            SourceError::Api(ApiError::Denied { .. }) | SourceError::Connect(_) => {
                Failure::Denied(error.to_string())
            }
            SourceError::Api(_)
            | SourceError::DeadlinePassed(_)
            | SourceError::Superseded(_)
            | SourceError::NoDaemon(_)
            | SourceError::Refused(_) => Failure::Unavailable(error.to_string()),
        }
    }
}

impl Failure {
    /// The failure as the plugin reports it, if it was about `pod`.
    pub fn about(self, pod: &PodRef) -> SourceError {
        match (self, &pod.uid) {
            (Failure::PodMissing, _) => SourceError::PodMissing(pod.clone()),
            (Failure::PodReplaced(found), Some(expected)) => {
                SourceError::PodReplaced { pod: pod.clone(), expected: expected.clone(), found }
            }
            (other, _) => SourceError::Refused(other.text()),
        }
    }

    /// The failure as text.
    pub fn text(self) -> String {
        match self {
            Failure::PodMissing => "the pod does not exist".to_owned(),
            Failure::PodReplaced(found) => format!("the pod has the UID {found}"),
            Failure::Denied(text) | Failure::Unavailable(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use node::names::PodUid;
    use serde_json::json;

    use super::*;

    fn pod() -> PodRef {
        PodRef { uid: Some(PodUid::new("u-1").unwrap()), ..PodRef::from_str("default/web-0").unwrap() }
    }

    #[test]
    fn a_request_is_one_object_with_the_names_of_checked_types() {
        let request = json!({"pod": {"namespace": "default", "name": "web-0", "uid": "u-1"}});
        assert_eq!(serde_json::to_value(Request::Pod(pod())).unwrap(), request);
        let hostile = json!({"pod": {"namespace": "../x", "name": "web-0", "uid": null}});
        assert!(serde_json::from_value::<Request>(hostile).is_err());
    }

    #[test]
    fn a_response_arrives_as_it_was_sent() {
        let nad_ref: NadRef = serde_json::from_value(json!({"namespace": "default", "name": "a"})).unwrap();
        for sent in [
            Response::Done,
            Response::Pod(Pod {
                pod_ref: pod(),
                networks: Some("a".into()),
                default_network: None,
                node: None,
            }),
            Response::Definitions(vec![
                (nad_ref.clone(), Lookup::Absent("gone".into())),
                (nad_ref, Lookup::Found(Default::default())),
            ]),
            Response::Failed(Failure::PodReplaced("u-2".into())),
        ] {
            let line = serde_json::to_string(&sent).unwrap();
            assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), sent, "{line}");
        }
    }

    #[test]
    fn the_plugin_reports_the_daemons_failure_about_a_pod_as_its_own() {
        let of = |error: SourceError| Failure::from(error).about(&pod()).to_string();
        let missing = || SourceError::PodMissing(pod());
        assert_eq!(of(missing()), missing().to_string());
        let replaced = || SourceError::PodReplaced {
            pod: pod(),
            expected: PodUid::new("u-1").unwrap(),
            found: "u-2".to_owned(),
        };
        assert_eq!(of(replaced()), replaced().to_string());
        let slow = SourceError::DeadlinePassed(Duration::from_secs(3));
        assert_eq!(of(slow), "the daemon of multus: no answer from the API server within 3.0 s");
    }
}
