//! What DEL asks of the API server. It never needs an answer.

use nad::PodRef;

use crate::request::{Definitions, Pod};

/// An API server that may be out of reach. Each request has a short limit of time.
pub(crate) trait Cluster {
    /// The pod with this UID and the definitions that it requests. `None` if it is gone, replaced, or cannot be read.
    fn pod(&self, pod: &PodRef) -> Option<(Pod, Definitions)>;

    /// Has a warning about the pod sent after the answer: the DEL of its networks ended, and `what` may be left.
    fn report_not_deleted(&self, pod: &PodRef, what: &str);
}

/// No API server.
impl Cluster for () {
    fn pod(&self, _pod: &PodRef) -> Option<(Pod, Definitions)> {
        None
    }

    fn report_not_deleted(&self, _pod: &PodRef, _what: &str) {}
}
