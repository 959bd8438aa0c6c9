//! Who tells multus of pods and networks, and takes what it has to say of them. Every call has a deadline, and none of them decides
//! anything: what is asked for and what follows from the answer is the same whoever answers.

mod api;

use k8s_openapi::api::core::v1::Event;
use node::client::{ApiError, ConnectError, Credentials};
use node::deadline::Deadline;

pub use api::Api;

use crate::conf::Conf;
use crate::demand::Found;
use crate::nad::NadRef;
use crate::pod::{Pod, PodRef};

/// Where pods and networks are asked for.
#[derive(Debug)]
pub enum Source {
    /// The API server itself.
    Api(Api),
}

/// Pods or networks cannot be had, or the status cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such pod.
    #[error(
        "pod {0} is not known to the API server: it was deleted, or its object is not there yet; the sandbox must be set up again"
    )]
    PodMissing(PodRef),
    /// Another pod has the name now.
    #[error(
        "pod {pod}: expected pod UID {expected:?} but got {found:?} from Kube API: the pod of this sandbox was replaced"
    )]
    PodReplaced {
        /// The pod, as the runtime named it.
        pod: PodRef,
        /// The UID that the runtime gave.
        expected: String,
        /// The UID of the pod that is there.
        found: String,
    },
    /// The credentials of the configuration cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server refused, or did not answer in time.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The time was over.
    #[error("no answer from the API server within {:.1} s", .0.as_secs_f64())]
    DeadlinePassed(std::time::Duration),
    /// The kernel gave no epoll or timer.
    #[error("cannot start the runtime: {0}; see the limits on open files")]
    Runtime(std::io::Error),
}

impl Source {
    /// The source that the configuration names: its kubeconfig, or the service account of the pod that this runs in. `None` where
    /// there is neither, and pods have the networks of the configuration alone. `lookup` gives environment variables.
    pub fn connect(
        conf: &Conf,
        lookup: &dyn Fn(&str) -> Option<String>,
        deadline: Deadline,
    ) -> Result<Option<Source>, SourceError> {
        match credentials(conf, lookup) {
            Some(credentials) => Ok(Some(Source::Api(Api::connect(credentials, deadline)?))),
            None => Ok(None),
        }
    }

    /// The pod of a sandbox: the very one, not a later pod of its name.
    pub fn pod(&mut self, at: &PodRef, deadline: Deadline) -> Result<Pod, SourceError> {
        match self {
            Source::Api(api) => api.pod(at, deadline),
        }
    }

    /// These definitions, or that there are none.
    pub fn definitions(&self, wanted: &[NadRef], deadline: Deadline) -> Result<Found, SourceError> {
        match self {
            Source::Api(api) => api.definitions(wanted, deadline),
        }
    }

    /// Writes the pod's network-status. A pod that is gone needs none.
    pub fn publish(&mut self, at: &PodRef, status: &str, deadline: Deadline) -> Result<(), SourceError> {
        match self {
            Source::Api(api) => api.publish(at, status, deadline),
        }
    }

    /// Tells the pod's owner, as well as can be done until `deadline`: nothing depends on it.
    pub fn tell(&self, events: &[Event], deadline: Deadline) {
        match self {
            Source::Api(api) => api.tell(events, deadline),
        }
    }
}

fn credentials(conf: &Conf, lookup: &dyn Fn(&str) -> Option<String>) -> Option<Credentials> {
    if let Some(path) = &conf.kubeconfig {
        return Some(Credentials::Kubeconfig(path.clone()));
    }
    let is_set = |name: &str| lookup(name).is_some_and(|value| !value.is_empty());
    let in_cluster = is_set("KUBERNETES_SERVICE_HOST") && is_set("KUBERNETES_SERVICE_PORT");
    in_cluster.then_some(Credentials::InCluster)
}

#[cfg(test)]
mod tests;
