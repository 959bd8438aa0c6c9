//! The verbs.

use crate::conf::files::node_name;
use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};

use super::attach;
use super::session::{conf, namespace, records, source};
use crate::node_state::record::Record;
use crate::rpc::error::CallError;
use crate::rpc::wire::{DEL_LIMIT, STATUS_LIMIT};
use crate::rpc::wire::{Release, StatusQuery};

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

    /// Whether every address of the attachment is still claimed in its name.
    fn check(&self, attachment: &Attachment, _call: &Call) -> Result<(), CniError> {
        let held = records().and_then(|r| Ok(r.read(&attachment.container_id, &attachment.if_name)?));
        let record = held.map_err(|e| e.to_cni())?.ok_or_else(|| {
            let (id, name) = (&attachment.container_id, &attachment.if_name);
            CniError::new(
                Code::Internal,
                format!("this node has no record of addresses for {name} of container {id}"),
            )
        })?;
        let asked = records().and_then(|records| {
            source(&records, record.kubeconfig.clone(), DEL_LIMIT).first_missing(&record)
        });
        match asked {
            Ok(None) => Ok(()),
            Ok(Some(name)) => Err(CniError::new(
                Code::Internal,
                format!(
                    "the reservation {name} is gone or another's: delete the pod, so that it gets an address anew"
                ),
            )),
            Err(error) => Err(error.to_cni()),
        }
    }

    /// Releases what this node holds on this network for containers that are no more.
    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        let Some(valid) = valid else { return Ok(()) };
        let held = records().and_then(|r| Ok(r.all()?)).map_err(|e| e.to_cni())?;
        let is_valid = |record: &Record| {
            valid.iter().any(|a| a.container_id == record.container_id && a.if_name == record.if_name)
        };
        let stale =
            held.iter().filter(|record| record.network == call.conf.name.as_str() && !is_valid(record));
        let errors: Vec<String> =
            stale.filter_map(|record| collect(record).err()).map(|e| e.to_string()).collect();
        if errors.is_empty() {
            return Ok(());
        }
        Err(CniError::new(Code::TryAgainLater, errors.join(" / ")))
    }

    /// Whether addresses can be had: the daemon or the API server answers, and a range has one left.
    fn status(&self, call: &Call) -> Result<(), CniError> {
        let asked = conf(call).and_then(|conf| {
            let node = node_name(conf.configuration_path.as_deref());
            let pools = attach::pools(&conf, node.as_deref())?;
            let query = StatusQuery { namespace: namespace(&conf), pools };
            source(&records()?, conf.kubeconfig, STATUS_LIMIT).status(&query)
        });
        asked.map_err(|error| CniError { code: Code::NotAvailable, ..error.to_cni() })
    }
}

fn collect(record: &Record) -> Result<(), CallError> {
    let records = records()?;
    let release = Release { record: record.clone(), upstream: Vec::new() };
    source(&records, record.kubeconfig.clone(), DEL_LIMIT).release(&release)?;
    Ok(records.remove(&record.container_id, &record.if_name)?)
}
