//! Blocking requests to the API server: the functions of `source` on a runtime of the plugin's own.

use std::time::Duration;

use k8s_openapi::api::core::v1::Event;
use nad::{NadRef, PodRef};
use node::client::ApiClient;
use node::deadline::Deadline;
use tokio::runtime::{Builder, Runtime};

use crate::conf::Conf;
use crate::error::Error;
use crate::request::{Definitions, Pod};
use crate::source::{self, PodObject, SourceError};

/// How long a thread that resolved the server's name waits for another name. It must have ended by the time of the answer: a process with two
/// threads cannot leave its events to a child.
const IDLE_THREAD: Duration = Duration::from_millis(1);

/// A client, and a runtime that runs only during a call.
#[derive(Debug)]
pub(crate) struct Api {
    client: ApiClient,
    /// The pod as last read. With it the status is written without another read.
    last_read: Option<PodObject>,
    /// What is sent after the answer.
    events: Vec<Event>,
    runtime: OwnRuntime,
}

impl Api {
    /// See [`source::connect`].
    pub(crate) fn connect(
        conf: &Conf,
        lookup: &dyn Fn(&str) -> Option<String>,
        deadline: Deadline,
    ) -> Result<Option<Api>, Error> {
        Api::with_client(source::connect(conf, lookup, deadline))
    }

    /// An API with the client that `client` makes, if it makes one.
    pub(crate) fn with_client(
        client: impl Future<Output = Result<Option<ApiClient>, SourceError>>,
    ) -> Result<Option<Api>, Error> {
        let runtime = OwnRuntime::new()?;
        let client = runtime.block_on(client)??;
        Ok(client.map(|client| Api { client, last_read: None, events: Vec::new(), runtime }))
    }

    /// See [`source::read_pod`].
    pub(crate) fn read_pod(&mut self, pod: &PodRef, deadline: Deadline) -> Result<Pod, Error> {
        let (pod, object) = self.runtime.block_on(source::read_pod(&self.client, pod, deadline))??;
        self.last_read = Some(object);
        Ok(pod)
    }

    /// See [`source::read_definitions`].
    pub(crate) fn read_definitions(
        &self,
        wanted: &[NadRef],
        deadline: Deadline,
    ) -> Result<Definitions, Error> {
        Ok(self.runtime.block_on(source::read_definitions(&self.client, wanted, deadline))??)
    }

    /// See [`source::write_status`].
    pub(crate) fn write_status(
        &mut self,
        pod: &PodRef,
        status: &str,
        deadline: Deadline,
    ) -> Result<(), Error> {
        // Its resourceVersion is stale after one write.
        let object = self.last_read.take();
        let write = source::write_status(&self.client, pod, object, status, deadline);
        Ok(self.runtime.block_on(write)??)
    }

    /// Keeps events until the answer is written: nothing depends on them, so nobody waits for them.
    pub(crate) fn keep_events(&mut self, events: impl IntoIterator<Item = Event>) {
        self.events.extend(events);
    }

    /// Whether there are kept events.
    pub(crate) const fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Sends the kept events. See [`source::send_events`].
    pub(crate) fn send_events(&self, deadline: Deadline) {
        // Without a runtime the events are lost, as after any other failure.
        let _ = self.runtime.block_on(source::send_events(&self.client, &self.events, deadline));
    }
}

/// A runtime whose end does not wait for its threads.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new() -> Result<Self, Error> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_io().enable_time().thread_keep_alive(IDLE_THREAD).build();
        Ok(OwnRuntime(Some(runtime.map_err(Error::Runtime)?)))
    }

    fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
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
