//! What DEL asks of the API server: a connection is made when the first question comes, and no answer is an answer.

use std::cell::RefCell;
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
    /// What `connect` made.
    api: RefCell<Option<Api>>,
}

impl<'a> OnDemand<'a> {
    /// With connections that `connect` makes.
    pub(crate) fn new(conf: &'a Conf, connect: impl Fn(Deadline) -> Result<Option<Api>, Error> + 'a) -> Self {
        OnDemand { conf, connect: Box::new(connect), api: RefCell::new(None) }
    }

    /// The API server with the events that it has not got yet, if anything was asked of it.
    pub(crate) fn into_api(self) -> Option<Api> {
        self.api.into_inner()
    }

    /// Runs `work` with the API server, if the configuration names one.
    fn with_api<T>(
        &self,
        deadline: Deadline,
        work: impl FnOnce(&mut Api) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let mut api = self.api.borrow_mut();
        if api.is_none() {
            *api = (self.connect)(deadline)?;
        }
        api.as_mut().map(work).transpose()
    }

    fn read(&self, api: &mut Api, pod: &PodRef, deadline: Deadline) -> Result<(Pod, Definitions), Error> {
        let pod = api.read_pod(pod, deadline)?;
        let defaults = self.conf.default_networks()?;
        let requests = network_requests(self.conf, &defaults, Some(&pod.pod_ref.namespace), Some(&pod))?;
        let definitions = match needed_definitions(&requests) {
            wanted if wanted.is_empty() => Definitions::new(),
            wanted => api.read_definitions(&wanted, deadline)?,
        };
        Ok((pod, definitions))
    }
}

impl Cluster for OnDemand<'_> {
    fn pod(&self, pod: &PodRef) -> Option<(Pod, Definitions)> {
        // A pod that is gone, an annotation that is wrong by now, an API server that does not answer: DEL goes on without.
        let deadline = Deadline::after(LIMIT);
        self.with_api(deadline, |api| self.read(api, pod, deadline)).ok().flatten()
    }

    fn report_not_deleted(&self, pod: &PodRef, what: &str) {
        let event = report::network_not_deleted(pod, what, node::clock::now());
        let keep = |api: &mut Api| {
            api.keep_events([event]);
            Ok(())
        };
        // Credentials that cannot be used: stderr has the same text.
        let _ = self.with_api(Deadline::after(LIMIT), keep);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use serde_json::json;

    use super::*;
    use crate::testing::{Bench, FakeApi, pod_ref};

    #[test]
    fn a_call_connects_once_and_only_if_it_asks_or_reports() {
        let (bench, server) = (Bench::new(), FakeApi::new(json!({})));
        let conf = Conf::read(&bench.call()).unwrap();
        let connections = Cell::new(0);
        let connect = |_| {
            connections.set(connections.get() + 1);
            Ok(Some(server.api()))
        };
        assert!(OnDemand::new(&conf, connect).into_api().is_none());
        assert_eq!(connections.get(), 0);
        let on_demand = OnDemand::new(&conf, connect);
        assert!(on_demand.pod(&pod_ref("default", "pod0")).is_some());
        on_demand.report_not_deleted(&pod_ref("default", "pod0"), "net1 is left");
        assert_eq!(connections.get(), 1);
        assert!(server.events().is_empty(), "nobody waits for an event");
        on_demand.into_api().unwrap().send_events(Deadline::after(LIMIT));
        assert_eq!(server.events(), ["net1 is left"]);
    }
}
