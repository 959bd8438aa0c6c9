//! Requests to the daemon of the node. They block, with a deadline.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Event;
use nad::api::SourceError;
use nad::rpc::{AttachedPod, EndedCall, Failure, Request, Response, StatusWrite, WAIT_LIMIT};
use nad::{Changes, ChangesQuery, Definitions, NadRef, Pod, PodRef};
use node::deadline::Deadline;
use node::rpc::{self, RpcError};

use crate::conf::{Conf, DaemonNeed};

/// The daemon of the node.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    socket: PathBuf,
}

/// There is no answer of the daemon to use.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The daemon is away, or its account lacks a right. Whoever has credentials sends the request to the API server.
    AskTheServer(SourceError),
    /// The daemon answered, and the API server would answer the same.
    Final(SourceError),
}

/// What the daemon took of the report of an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reported {
    /// Everything.
    All,
    /// It wrote the status. Events and count are left.
    StatusAlone,
}

impl Daemon {
    /// The daemon that serves this configuration. `None` if the configuration does not ask for one and none is there.
    pub(crate) fn of(conf: &Conf) -> Option<Daemon> {
        let wanted = match conf.daemon.need {
            DaemonNeed::Required => true,
            DaemonNeed::IfPresent => conf.daemon.socket.exists(),
        };
        wanted.then(|| Daemon { socket: conf.daemon.socket.clone() })
    }

    /// See [`nad::api::read_pod`].
    pub(crate) fn read_pod(&self, pod: &PodRef, deadline: Deadline) -> Result<Pod, Unanswered> {
        match self.call(&Request::Pod(pod.clone()), deadline)? {
            Response::Pod(pod) => Ok(pod),
            other => Err(unexpected(other, Some(pod))),
        }
    }

    /// See [`nad::api::read_definitions`].
    pub(crate) fn read_definitions(
        &self,
        wanted: &[NadRef],
        deadline: Deadline,
    ) -> Result<Definitions, Unanswered> {
        match self.call(&Request::Definitions(wanted.to_vec()), deadline)? {
            Response::Definitions(definitions) => {
                let definitions: Definitions = definitions.into_iter().collect();
                // Every definition has its answer, or the pod would have fewer networks.
                match wanted.iter().find(|nad_ref| !definitions.contains_key(nad_ref)) {
                    None => Ok(definitions),
                    Some(missing) => Err(misfit(&format!("it has no answer about definition {missing}"))),
                }
            }
            other => Err(unexpected(other, None)),
        }
    }

    /// Reports the end of an ADD.
    pub(crate) fn report_attached(
        &self,
        attached: &AttachedPod,
        deadline: Deadline,
    ) -> Result<Reported, Unanswered> {
        let StatusWrite { pod, status } = &attached.status;
        let request = Request::Attached(attached.clone());
        match rpc::call(&self.socket, &request, deadline.child(WAIT_LIMIT)) {
            Ok(Response::Done) => Ok(Reported::All),
            Ok(other) => Err(unexpected(other, Some(pod))),
            // The daemon of an older release, while a node is updated.
            Err(RpcError::Refused { .. }) => {
                self.write_status(pod, status, deadline).map(|()| Reported::StatusAlone)
            }
            Err(error) => Err(Unanswered::AskTheServer(SourceError::NoDaemon(error))),
        }
    }

    /// See [`nad::api::write_status`].
    pub(crate) fn write_status(
        &self,
        pod: &PodRef,
        status: &str,
        deadline: Deadline,
    ) -> Result<(), Unanswered> {
        let write = StatusWrite { pod: pod.clone(), status: status.to_owned() };
        match self.call(&Request::Status(write), deadline)? {
            Response::Done => Ok(()),
            other => Err(unexpected(other, Some(pod))),
        }
    }

    /// Gives events to the daemon, which sends them later.
    pub(crate) fn send_events(&self, events: &[Event], deadline: Deadline) -> Result<(), Unanswered> {
        match self.call(&Request::Events(events.to_vec()), deadline)? {
            Response::Done => Ok(()),
            other => Err(unexpected(other, None)),
        }
    }

    /// Tells the daemon how a call ended. Without a daemon nobody counts it, and nothing depends on it.
    pub(crate) fn report(&self, ended: EndedCall, deadline: Deadline) {
        let _ = self.call(&Request::Ended(ended), deadline);
    }

    /// The pods of the node that changed.
    pub(crate) fn changes(&self, query: &ChangesQuery, deadline: Deadline) -> Result<Changes, Unanswered> {
        match self.call(&Request::Changes(query.clone()), deadline)? {
            Response::Changes(changes) => Ok(changes),
            other => Err(unexpected(other, None)),
        }
    }

    fn call(&self, request: &Request, deadline: Deadline) -> Result<Response, Unanswered> {
        rpc::call(&self.socket, request, deadline.child(WAIT_LIMIT))
            .map_err(|error| Unanswered::AskTheServer(SourceError::NoDaemon(error)))
    }
}

/// What a response other than the expected one means. `pod` is the pod that the request was about.
fn unexpected(response: Response, pod: Option<&PodRef>) -> Unanswered {
    match (response, pod) {
        (Response::Failed(Failure::Denied(text)), _) => Unanswered::AskTheServer(SourceError::Refused(text)),
        (Response::Failed(failure), Some(pod)) => Unanswered::Final(failure.about(pod)),
        (Response::Failed(failure), None) => Unanswered::Final(SourceError::Refused(failure.text())),
        _ => misfit("it does not fit the request"),
    }
}

fn misfit(what: &str) -> Unanswered {
    let text = format!("its response cannot be used: {what}; install plugin and daemon of the same release");
    Unanswered::AskTheServer(SourceError::Refused(text))
}
