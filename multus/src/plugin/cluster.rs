//! What DEL asks of the API server: a connection is made when the first question comes, and no answer is an answer.

use std::time::Duration;

use nad::PodRef;
use node::deadline::Deadline;

use super::api::Api;
use crate::conf::Conf;
use crate::error::Error;
use crate::report;
use crate::request::{Definitions, Pod, needed_definitions, network_requests};
use crate::run::Cluster;

/// Longest time for one question. The pod waits meanwhile, and DEL succeeds without an answer.
const LIMIT: Duration = Duration::from_secs(2);

/// The API server of the configuration.
pub(crate) struct OnDemand<'a> {
    conf: &'a Conf,
    connect: Box<dyn Fn(Deadline) -> Result<Option<Api>, Error> + 'a>,
}

impl<'a> OnDemand<'a> {
    /// With connections that `connect` makes.
    pub(crate) fn new(conf: &'a Conf, connect: impl Fn(Deadline) -> Result<Option<Api>, Error> + 'a) -> Self {
        OnDemand { conf, connect: Box::new(connect) }
    }

    fn read(&self, pod: &PodRef, deadline: Deadline) -> Result<Option<(Pod, Definitions)>, Error> {
        let Some(mut api) = (self.connect)(deadline)? else { return Ok(None) };
        let pod = api.read_pod(pod, deadline)?;
        let defaults = self.conf.default_networks()?;
        let requests = network_requests(self.conf, &defaults, Some(&pod.pod_ref.namespace), Some(&pod))?;
        let definitions = match needed_definitions(&requests) {
            wanted if wanted.is_empty() => Definitions::new(),
            wanted => api.read_definitions(&wanted, deadline)?,
        };
        Ok(Some((pod, definitions)))
    }
}

impl Cluster for OnDemand<'_> {
    fn pod(&self, pod: &PodRef) -> Option<(Pod, Definitions)> {
        // A pod that is gone, an annotation that is wrong by now, an API server that does not answer: DEL goes on without.
        self.read(pod, Deadline::after(LIMIT)).ok().flatten()
    }

    fn report_not_deleted(&self, pod: &PodRef, what: &str) {
        let deadline = Deadline::after(LIMIT);
        if let Ok(Some(api)) = (self.connect)(deadline) {
            api.send_events(&[report::network_not_deleted(pod, what, node::clock::now())], deadline);
        }
    }
}
