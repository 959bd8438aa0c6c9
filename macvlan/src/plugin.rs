//! The verbs.

use cni::env::{Attachment, Detachment, Verb};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version, delegate};
use netlink::{Socket, find_master};

use crate::attach;
use crate::attach::{ipam_deadline, kernel, no_master};
use crate::conf::{Conf, MasterIn};

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Macvlan;

impl Plugin for Macvlan {
    fn about(&self) -> About {
        About {
            text: concat!("CNI macvlan plugin, multus-rs v", env!("CARGO_PKG_VERSION")),
            versions: Version::ALL,
        }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        // Older results cannot be without an address: said before a link exists, not after.
        if call.conf.ipam.is_none() && call.conf.cni_version <= Version::V0_2_0 {
            return Err(CniError::new(Code::InvalidConfig, "cannot convert: no valid IP addresses")
                .with_details(format!(
                    "cniVersion {} needs \"ipam\"; use 0.3.0 or later for an interface without addresses",
                    call.conf.cni_version
                )));
        }
        let result = attach::add(attachment, call)?;
        let result =
            result.to_raw(Version::CURRENT).map_err(|e| CniError::new(Code::Internal, e.to_string()))?;
        cni::crash_point!("macvlan-before-answer");
        Ok(result)
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        attach::del(detachment, call)
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        forward(Verb::Check, call)?;
        crate::check::check(attachment, call)
    }

    /// A macvlan link ends with its namespace, so only IPAM has something to free.
    fn gc(&self, _valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        forward(Verb::Gc, call)
    }

    /// A master that the conf does not name may come from the plugin before this one, which STATUS does not tell.
    fn status(&self, call: &Call) -> Result<(), CniError> {
        let conf = Conf::parse(call)?;
        if conf.master_in == MasterIn::Host && !conf.master.is_empty() {
            let host = Socket::host().map_err(|e| kernel(&e))?;
            find_master(&host, &conf.master).map_err(|e| no_master(Code::NotAvailable, &e))?;
        }
        forward(Verb::Status, call)
    }
}

fn forward(verb: Verb, call: &Call) -> Result<(), CniError> {
    match &call.conf.ipam {
        Some(ipam) => delegate::forward(verb, ipam, call, ipam_deadline()),
        None => Ok(()),
    }
}
