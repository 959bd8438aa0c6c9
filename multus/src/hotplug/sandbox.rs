//! A sandbox as its files say it is, and what to do with it.

use std::collections::BTreeSet;

use cni::args::CniArgs;
use cni::env::Attachment;
use cni::names::{ContainerId, IfName};

use super::decide::{Decision, Extent, Stage, decide, order};
use super::status::{Entries, Whose};
use crate::conf::Conf;
use crate::plan::{Delegate, Role, RouteEdit};
use crate::record::{self, Moment, Owner, Progress, Record, RecordError, Recorded};
use crate::report;
use crate::request::{AttachmentRequest, NetworkRequest};
use crate::run::{Namespace, Results, namespace, results};

/// A sandbox whose ADD is complete.
#[derive(Debug)]
pub(super) struct Sandbox {
    /// The sandbox, with the interface of its default network.
    pub(super) attachment: Attachment,
    /// `CNI_ARGS` of its ADD.
    pub(super) args: CniArgs,
    /// For whom its record was written.
    pub(super) owner: Owner,
    /// Its record.
    pub(super) record: Record,
    results: Results,
    /// The interfaces of networks whose removal did not end.
    detaching: BTreeSet<String>,
}

impl Sandbox {
    /// Reads a sandbox. `None` if it has no record, none with an owner, no complete ADD, or no network namespace any more.
    pub(super) fn read(conf: &Conf, container_id: &ContainerId) -> Result<Option<Sandbox>, RecordError> {
        let Ok(first) = IfName::parse(record::FIRST_INTERFACE) else { return Ok(None) };
        let Some(record) = record::read(&conf.cni_dir, container_id, &first)? else { return Ok(None) };
        let Some(owner) = record.owner.clone().filter(|owner| owner.network == conf.name) else {
            return Ok(None);
        };
        let Some(results) = results(conf, container_id, &record) else { return Ok(None) };
        let Some(if_name) = record.delegates.first().map(|recorded| recorded.if_name.clone()) else {
            return Ok(None);
        };
        if namespace(&results.netns) == Namespace::Gone {
            return Ok(None);
        }
        let netns = results.netns.clone().into();
        let attachment = Attachment { container_id: container_id.clone(), if_name, netns };
        let args = results.args.clone();
        let detaching = Progress::read(&conf.cni_dir, container_id, &Moment::now()).detaching;
        Ok(Some(Sandbox { attachment, args, owner, record, results, detaching }))
    }

    /// What to do, if the pod requests this.
    pub(super) fn decide(&self, requests: &[NetworkRequest], stage: Stage) -> Decision {
        let extent = |(recorded, result): (&Recorded, &Option<_>)| match result {
            Some(_) if !self.detaching.contains(recorded.if_name.as_str()) => Extent::Whole,
            Some(_) | None => Extent::Partial,
        };
        let networks = self.record.delegates.iter().zip(&self.results.networks);
        let extents: Vec<Extent> = networks.map(extent).collect();
        decide(&self.record.delegates, &extents, requests, stage)
    }

    /// The entries of network-status, in its order.
    pub(super) fn entries(&self, requests: &[NetworkRequest]) -> Vec<Entries> {
        let entries = |at: usize| -> Option<Entries> {
            let recorded = self.record.delegates.get(at)?;
            let found = self.results.networks.get(at)?.as_ref()?;
            let role = if at == 0 { Role::Default } else { Role::Additional };
            let is_own = role == Role::Additional && recorded.requested.is_some();
            let delegate = Delegate {
                network: recorded.network.clone(),
                role,
                if_name: recorded.if_name.clone(),
                request: AttachmentRequest::default(),
                capability_args: recorded.capability_args.clone(),
                // The cached result has the routes after the change.
                route_edit: RouteEdit::default(),
            };
            let entries = report::entries(&delegate, &found.result, found.device_info.clone());
            Some(Entries { whose: if is_own { Whose::Pods } else { Whose::Everybodys }, entries })
        };
        order(&self.record.delegates, requests).into_iter().filter_map(entries).collect()
    }
}
