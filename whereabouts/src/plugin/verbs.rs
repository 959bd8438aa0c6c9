//! The CNI verbs.

use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};

use super::attach;
use super::session::{attachments, conf, namespace, run};
use crate::conf::files::node_name;
use crate::node_state::record::Record;
use crate::rpc::error::CallError;
use crate::rpc::wire::StatusQuery;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts;

impl Plugin for Whereabouts {
    fn about(&self) -> About {
        About {
            text: concat!("whereabouts IPAM plugin, multus-rs v", env!("CARGO_PKG_VERSION"), " linux/amd64"),
            versions: Version::ALL,
        }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        let result = attach::add(attachment, call).map_err(|e| e.to_cni())?;
        result.to_raw(call.conf.cni_version).map_err(|e| CniError::new(Code::Internal, e.to_string()))
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        attach::del(detachment, call).map_err(|e| e.to_cni())
    }

    /// Checks that every claim of the attachment's record still names the attachment.
    fn check(&self, attachment: &Attachment, _call: &Call) -> Result<(), CniError> {
        let attachments = attachments().map_err(|e| e.to_cni())?;
        let read = attachments.records().read(&attachment.container_id, &attachment.if_name);
        let record = read.map_err(|e| CallError::from(e).to_cni())?.ok_or_else(|| {
            let (id, name) = (&attachment.container_id, &attachment.if_name);
            CniError::new(
                Code::Internal,
                format!("this node has no record of addresses for {name} of container {id}"),
            )
        })?;
        match run(attachments.first_missing(&record)) {
            Ok(None) => Ok(()),
            Ok(Some(name)) => Err(CniError::new(
                Code::Internal,
                format!(
                    "the reservation {name} is gone, or another container holds it: the daemon of this node makes a missing one again, within a few \
                     minutes; if another pod holds it, or no daemon runs, delete this pod, so that it gets a new address"
                ),
            )),
            Err(error) => Err(error.to_cni()),
        }
    }

    /// Releases the addresses of containers that the runtime does not list as valid, for this network.
    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        // Without a list of valid attachments nothing is known to be stale.
        let Some(valid) = valid else { return Ok(()) };
        let attachments = attachments().map_err(|e| e.to_cni())?;
        let recorded = attachments.records().all().map_err(|e| CallError::from(e).to_cni())?;
        let is_valid = |record: &Record| {
            valid.iter().any(|a| a.container_id == record.container_id && a.if_name == record.if_name)
        };
        let stale =
            recorded.iter().filter(|record| record.network == call.conf.name.as_str() && !is_valid(record));
        let release = |record| run(attachments.release_stale(record)).err();
        let errors: Vec<String> = stale.filter_map(release).map(|e| e.to_string()).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(CniError::new(Code::TryAgainLater, errors.join(" / ")))
    }

    /// Checks that an address can be allocated: the daemon or the API server answers, and a range has a free address.
    fn status(&self, call: &Call) -> Result<(), CniError> {
        let status = conf(call).and_then(|conf| {
            let node = node_name(conf.configuration_path.as_deref());
            let pools = attach::pools(&conf, node.as_deref())?;
            let query = StatusQuery { namespace: namespace(conf.kubeconfig.as_deref())?, pools };
            run(attachments()?.status(&query, conf.kubeconfig))
        });
        status.map_err(|error| CniError { code: Code::NotAvailable, ..error.to_cni() })
    }
}
