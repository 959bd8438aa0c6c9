//! Blocking requests about pods and definitions: to the daemon of the node, or to the API server by the functions of `source` on a runtime of
//! the plugin's own.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use nad::rpc::AttachedPod;
use nad::{NadRef, PodRef};
use node::client::{ApiClient, Credentials};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::conf::Conf;
use crate::device::{Claims, NetworkData, PodClaims, ResourceSlice};
use crate::error::Error;
use crate::request::{Definitions, Pod};
use crate::source::{self, Daemon, PodObject, Reported, SourceError, Unanswered};

/// The daemon while it answers, else the API server. Both give the same answers.
#[derive(Debug)]
pub(crate) struct Api {
    /// `None` once the daemon did not answer: the rest of the call does not wait for it again.
    daemon: RefCell<Option<Daemon>>,
    /// Without credentials nothing but the daemon can answer.
    credentials: Option<Credentials>,
    /// Made when the first request needs it.
    direct: OnceCell<Direct>,
    /// The pod as last read from the API server. With it the status is written without another read.
    last_read: Option<PodObject>,
    /// What is sent after the answer.
    events: Vec<Event>,
    /// Whether the daemon has counted this call.
    is_counted: bool,
}

/// Where the kept events are now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// Nothing is left to send.
    Done,
    /// This process must send them itself.
    NoDaemon,
}

/// How long a thread that resolved the server's name waits for another name. It must have ended by the time of the answer: a process with two
/// threads cannot leave its events to a child.
const IDLE_THREAD: Duration = Duration::from_millis(1);

/// A client, and a runtime that runs only during a call.
#[derive(Debug)]
struct Direct {
    client: ApiClient,
    runtime: OwnRuntime,
}

impl Api {
    /// The daemon of the configuration or the API server. `None` if there is neither a daemon nor a credential. Without a daemon, unusable
    /// credentials are an error at once. `lookup` reads environment variables.
    pub(crate) fn connect(
        conf: &Conf,
        lookup: &dyn Fn(&str) -> Option<String>,
        deadline: Deadline,
    ) -> Result<Option<Api>, Error> {
        let credentials = source::credentials(conf, lookup);
        let api = match (Daemon::of(conf), &credentials) {
            (None, None) => return Ok(None),
            (Some(daemon), _) => Api::new(Some(daemon), credentials),
            (None, Some(_)) => {
                let api = Api::new(None, credentials);
                api.direct(deadline)?;
                api
            }
        };
        Ok(Some(api))
    }

    fn new(daemon: Option<Daemon>, credentials: Option<Credentials>) -> Api {
        Api {
            daemon: RefCell::new(daemon),
            credentials,
            direct: OnceCell::new(),
            last_read: None,
            events: Vec::new(),
            is_counted: false,
        }
    }

    /// An API with the client that `client` makes, and `daemon` before it.
    #[cfg(test)]
    pub(crate) fn with_client(
        daemon: Option<Daemon>,
        client: impl Future<Output = Result<ApiClient, SourceError>>,
    ) -> Result<Api, Error> {
        let api = Api::new(daemon, Some(Credentials::InCluster));
        let direct = Direct::new(client)?;
        api.direct.get_or_init(|| direct);
        Ok(api)
    }

    /// See [`source::read_pod`].
    pub(crate) fn read_pod(&mut self, pod: &PodRef, deadline: Deadline) -> Result<Pod, Error> {
        if let Some(pod) = self.ask(|daemon| daemon.read_pod(pod, deadline))? {
            return Ok(pod);
        }
        let (pod, object) =
            self.direct(deadline)?.run(|client| source::read_pod(client, pod, deadline))??;
        self.last_read = Some(object);
        Ok(pod)
    }

    /// See [`source::read_definitions`].
    pub(crate) fn read_definitions(
        &self,
        wanted: &[NadRef],
        deadline: Deadline,
    ) -> Result<Definitions, Error> {
        if let Some(definitions) = self.ask(|daemon| daemon.read_definitions(wanted, deadline))? {
            return Ok(definitions);
        }
        Ok(self.direct(deadline)?.run(|client| source::read_definitions(client, wanted, deadline))??)
    }

    /// The resource claims of a pod. The daemon does not keep them, so the API server is asked; without credentials the pod has none.
    pub(super) fn read_pod_claims(&self, pod: &PodRef, deadline: Deadline) -> Result<PodClaims, Error> {
        if let Some(object) = &self.last_read {
            return Ok(PodClaims::of(object.value()));
        }
        if self.credentials.is_none() {
            crate::log::warn(&"without a kubeconfig multus cannot read the resource claims of pods");
            return Ok(PodClaims::default());
        }
        let read = self.direct(deadline)?.run(|client| source::read_pod(client, pod, deadline));
        let (_, object) = read??;
        Ok(PodClaims::of(object.value()))
    }

    /// See [`source::read_claims`].
    pub(super) fn read_claims(
        &self,
        namespace: &DnsLabel,
        claims: &PodClaims,
        deadline: Deadline,
    ) -> Result<Claims, Error> {
        let names = claims.names();
        let read = async |client| source::read_claims(client, namespace, names, deadline).await;
        Ok(self.direct(deadline)?.run(read)??)
    }

    /// See [`source::read_slices`].
    pub(super) fn read_slices(
        &self,
        driver: &DnsSubdomain,
        node: Option<&DnsSubdomain>,
        deadline: Deadline,
    ) -> Result<Vec<ResourceSlice>, Error> {
        let list = async |client| source::read_slices(client, driver, node, deadline).await;
        Ok(self.direct(deadline)?.run(list)??)
    }

    /// See [`source::write_network_data`].
    pub(super) fn write_network_data(
        &self,
        namespace: &DnsLabel,
        name: &DnsSubdomain,
        claim: Value,
        attachments: &[NetworkData],
        deadline: Deadline,
    ) -> Result<(), Error> {
        let write = async |client| {
            source::write_network_data(client, namespace, name, claim, attachments, deadline).await
        };
        Ok(self.direct(deadline)?.run(write)??)
    }

    /// See [`source::write_status`].
    pub(crate) fn write_status(
        &mut self,
        pod: &PodRef,
        status: &str,
        deadline: Deadline,
    ) -> Result<(), Error> {
        if self.ask(|daemon| daemon.write_status(pod, status, deadline))?.is_some() {
            return Ok(());
        }
        // Its resourceVersion is stale after one write.
        let object = self.last_read.take();
        let direct = self.direct(deadline)?;
        Ok(direct.run(|client| source::write_status(client, pod, object, status, deadline))??)
    }

    /// Reports that all networks of a pod are attached: writes its network-status, and sends the events when there is time. The daemon counts
    /// the ADD too.
    ///
    /// # Errors
    /// The status is not written.
    pub(super) fn report_attached(&mut self, attached: AttachedPod, deadline: Deadline) -> Result<(), Error> {
        let reported = self.ask(|daemon| daemon.report_attached(&attached, deadline))?;
        let AttachedPod { status, events, .. } = attached;
        match reported {
            Some(Reported::All) => {
                self.is_counted = true;
                return Ok(());
            }
            Some(Reported::StatusAlone) => {}
            None => self.write_status(&status.pod, &status.status, deadline)?,
        }
        self.keep_events(events);
        Ok(())
    }

    /// Whether the daemon has counted this call.
    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// Keeps events until the answer is written: nothing depends on them, so nobody waits for them.
    pub(crate) fn keep_events(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.extend(events);
    }

    /// Gives the kept events to the daemon, which sends them when there is time.
    pub(crate) fn hand_over_events(&self, deadline: Deadline) -> HandOver {
        if self.events.is_empty() {
            return HandOver::Done;
        }
        match self.ask(|daemon| daemon.send_events(&self.events, deadline)) {
            Ok(Some(())) => HandOver::Done,
            // There are no credentials: ADD has succeeded without the events.
            Err(_) => HandOver::Done,
            Ok(None) => HandOver::NoDaemon,
        }
    }

    /// Sends the kept events to the API server. See [`source::send_events`].
    pub(crate) fn send_events(&self, deadline: Deadline) {
        // Without a client the events are lost, as after any other failure.
        if let Ok(direct) = self.direct(deadline) {
            let _ = direct.run(|client| source::send_events(client, &self.events, deadline));
        }
    }

    /// The daemon's answer. `None` if the API server must be asked instead.
    fn ask<T>(&self, question: impl FnOnce(&Daemon) -> Result<T, Unanswered>) -> Result<Option<T>, Error> {
        let Some(daemon) = self.daemon.borrow().clone() else { return Ok(None) };
        match question(&daemon) {
            Ok(answer) => Ok(Some(answer)),
            Err(Unanswered::Final(error)) => Err(error.into()),
            Err(Unanswered::AskTheServer(error)) if self.credentials.is_none() => Err(error.into()),
            Err(Unanswered::AskTheServer(error)) => {
                crate::log::warn(&format!("{error}; multus asks the API server itself"));
                self.daemon.take();
                Ok(None)
            }
        }
    }

    fn direct(&self, deadline: Deadline) -> Result<&Direct, Error> {
        if let Some(direct) = self.direct.get() {
            return Ok(direct);
        }
        let Some(credentials) = self.credentials.clone() else {
            return Err(SourceError::Refused("it is away, and there are no credentials".to_owned()).into());
        };
        let direct = Direct::new(source::connect(credentials, deadline))?;
        Ok(self.direct.get_or_init(|| direct))
    }
}

impl Direct {
    fn new(client: impl Future<Output = Result<ApiClient, SourceError>>) -> Result<Direct, Error> {
        let runtime = OwnRuntime::new()?;
        let client = runtime.block_on(client)??;
        Ok(Direct { client, runtime })
    }

    fn run<'a, T>(&'a self, work: impl AsyncFnOnce(&'a ApiClient) -> T) -> Result<T, Error> {
        self.runtime.block_on(work(&self.client))
    }
}

/// A runtime whose end does not wait for its threads.
#[derive(Debug)]
pub(super) struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    pub(super) fn new() -> Result<Self, Error> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().thread_keep_alive(IDLE_THREAD).build();
        Ok(OwnRuntime(Some(runtime.map_err(Error::Runtime)?)))
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        let runtime = self.0.as_ref().ok_or_else(|| Error::Runtime(std::io::Error::other("it is shut down")));
        Ok(runtime?.block_on(work))
    }
}

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Name resolution runs on a thread, and may hang there beyond our deadline.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests;
