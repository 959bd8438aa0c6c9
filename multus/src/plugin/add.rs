//! ADD: from the pod's annotation to attached networks, network-status and events.

use std::time::Duration;

use cni::crash_point;
use cni::result::RawResult;
use cni::{CniError, Code};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use nad::rpc::{AttachedPod, StatusWrite};

use super::api::Api;
use super::devices::{Claimed, Sources, WithDevices};
use crate::conf::DefaultNetworks;
use crate::error::Error;
use crate::kubelet::Kubelet;
use crate::plan::{self, Delegate, Divided, LeftToAntrea, RuntimeRequest};
use crate::report;
use crate::request::{self, AttachmentRequest, Definitions, NetworkRequest, Pod, RequestError};
use crate::run::{Attach, Attached, AttachedAll};

/// One ADD.
#[derive(Debug)]
pub(crate) struct Add<'a> {
    /// The attachment of the sandbox.
    pub(crate) attach: Attach<'a>,
    /// The kubelet of the node.
    pub(crate) kubelet: &'a Kubelet,
    /// When the call began, as the time since boot.
    pub(crate) began: Duration,
}

/// What an ADD is going to do.
struct Planned {
    delegates: Vec<Delegate>,
    claimed: Claimed,
    /// Networks of the pod that Antrea's agent attaches.
    left: Vec<LeftToAntrea>,
}

impl Add<'_> {
    /// Attaches all networks of the pod. The result is that of the default network. `api` keeps the events of the pod that the daemon did not take,
    /// also those of a failure.
    pub(crate) fn run(
        &self,
        defaults: &DefaultNetworks,
        mut api: Option<&mut Api>,
    ) -> Result<RawResult, Error> {
        let pod = match (&mut api, self.attach.pod) {
            (Some(api), Some(pod)) => Some(api.read_pod(pod, self.attach.deadline)?),
            _ => None,
        };
        let Planned { delegates, claimed, left } = self.plan(defaults, api.as_deref_mut(), pod.as_ref())?;
        // The journal locks the sandbox until the status is written: a change of the running pod writes it too.
        let AttachedAll { networks: attached, journal: _journal } = self.attach.run(&delegates)?;
        if let (Some(api), Some(pod)) = (api, &pod) {
            // A pod without network-status does not know its addresses, so this failure undoes the networks.
            let now = node::clock::now();
            let mut events = attached_events(pod, &delegates, &attached, now);
            events.extend(left.iter().map(|left| report::left_to_antrea(pod, left, now)));
            if let Err(error) = self.report(api, pod, &delegates, &attached, events) {
                return Err(self.attach.undo(&delegates, error));
            }
            crash_point!("multus-published");
            claimed.publish(api, pod, &delegates, &attached, self.attach.deadline);
        }
        let first = attached.into_iter().next().map(|attached| attached.raw);
        first.ok_or_else(|| CniError::new(Code::InvalidConfig, "there is no network to attach").into())
    }

    /// The plan for all networks of the pod. If the pod requests a network that does not exist, it gets an event.
    fn plan(
        &self,
        defaults: &DefaultNetworks,
        mut api: Option<&mut Api>,
        pod: Option<&Pod>,
    ) -> Result<Planned, Error> {
        let namespace = self.attach.pod.map(|pod| &pod.namespace);
        let requests = request::network_requests(self.attach.conf, defaults, namespace, pod)?;
        let definitions = match (&mut api, request::needed_definitions(&requests)) {
            // Most pods have no further networks, and cost no request here.
            (Some(api), wanted) if !wanted.is_empty() => {
                api.read_definitions(&wanted, self.attach.deadline)?
            }
            _ => Definitions::new(),
        };
        let network = |request: &NetworkRequest| {
            let network = request::resolve(request, &definitions, &self.attach.conf.conf_dir, pod)?;
            Ok((network, request.attachment.clone()))
        };
        let networks: Result<Vec<_>, RequestError> = requests.iter().map(network).collect();
        if let (Err(RequestError::Missing { nad_ref, reason, .. }), Some(api), Some(pod)) =
            (&networks, api.as_deref_mut(), pod)
        {
            let event = report::no_network_found(pod, nad_ref, reason, node::clock::now());
            api.keep_events([event]);
        }
        let runtime = RuntimeRequest {
            container_id: &self.attach.attachment.container_id,
            if_name: &self.attach.attachment.if_name,
            runtime_config: &self.attach.conf.runtime_config,
            cluster_cidrs: &self.attach.conf.cluster_cidrs()?,
        };
        let api = api.as_deref();
        let sources = Sources { kubelet: self.kubelet, pod: self.attach.pod, object: pod, api };
        let mut networks = networks?;
        let auxiliary = request::auxiliary_network(self.attach.conf)?;
        networks.extend(auxiliary.map(|network| (network, AttachmentRequest::default())));
        let Divided { ours, left } = plan::divide(&requests, networks, runtime.if_name)?;
        let WithDevices { networks, claimed } = sources.with_devices(ours, self.attach.deadline)?;
        Ok(Planned { delegates: plan::plan(runtime, networks)?, claimed, left })
    }

    /// Writes network-status, and leaves the events to whoever sends them.
    fn report(
        &self,
        api: &mut Api,
        pod: &Pod,
        delegates: &[Delegate],
        attached: &[Attached],
        events: Vec<Event>,
    ) -> Result<(), Error> {
        let entries = |(delegate, attached): (&Delegate, &Attached)| {
            let Attached { result, device_info, .. } = attached;
            report::entries(delegate, result, device_info.clone())
        };
        let entries: Vec<_> = delegates.iter().zip(attached).flat_map(entries).collect();
        let Some(status) = nad::render(&entries) else {
            api.keep_events(events);
            return Ok(());
        };
        // With the UID of the runtime, so that a pod that was replaced meanwhile is noticed.
        let pod = self.attach.pod.unwrap_or(&pod.pod_ref).clone();
        let what = format!("[{}]: error setting the networks status", pod.with_uid());
        let status = StatusWrite { pod, status };
        let attached = AttachedPod { status, events, began: self.began };
        let reported = api.report_attached(attached, self.attach.deadline);
        reported.map_err(|error| error.to_cni().context(what).into())
    }
}

/// The events of the attachments.
fn attached_events(pod: &Pod, delegates: &[Delegate], attached: &[Attached], now: Timestamp) -> Vec<Event> {
    let event = |(nanos, (delegate, attached)): (i64, (&Delegate, &Attached))| {
        // One nanosecond apart, so that lists sorted by time have the order of attachment.
        let at = now.checked_add(SignedDuration::from_nanos(nanos)).unwrap_or(now);
        let Delegate { network, if_name, .. } = delegate;
        report::added(pod, &network.label, if_name.as_str(), &attached.result, at)
    };
    (0..).zip(delegates.iter().zip(attached)).filter_map(event).collect()
}

#[cfg(test)]
mod tests;
