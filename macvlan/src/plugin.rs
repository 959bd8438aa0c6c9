//! The verbs of the plugin.

use attach::ipam::forward;
use attach::{master, rollback};
use cni::env::{Attachment, Detachment, Verb};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};
use netlink::LinkKind;

use crate::conf::Conf;
use crate::link;

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
        // A result before 0.3.0 must have an address. Checked before the link is created, so that there is nothing to undo.
        if call.conf.ipam.is_none() && call.conf.cni_version <= Version::V0_2_0 {
            return Err(CniError::new(Code::InvalidConfig, "cannot convert: no valid IP addresses")
                .with_details(format!(
                    "cniVersion {} needs \"ipam\"; use 0.3.0 or later for an interface without addresses",
                    call.conf.cni_version
                )));
        }
        let result = link::add(attachment, call)?;
        let result =
            result.to_raw(Version::CURRENT).map_err(|e| CniError::new(Code::Internal, e.to_string()))?;
        cni::crash_point!("macvlan-before-answer");
        Ok(result)
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        rollback::del(detachment, call, |kind| matches!(kind, LinkKind::Macvlan { .. }))
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        forward(Verb::Check, call)?;
        crate::check::check(attachment, call)
    }

    /// Links end with their namespace, so that only the IPAM plugin has something to release. It reads the valid attachments from the
    /// conf itself.
    fn gc(&self, _valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        forward(Verb::Gc, call)
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        master::status(&Conf::parse(call)?.common, call)
    }
}
