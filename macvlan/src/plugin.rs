//! The verbs.

use attach::ipam::forward;
use attach::{master, undo};
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
        // Older results cannot be without an address: said before a link exists, not after.
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
        undo::del(detachment, call, |kind| matches!(kind, LinkKind::Macvlan { .. }))
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        forward(Verb::Check, call)?;
        crate::check::check(attachment, call)
    }

    /// A macvlan link ends with its namespace, so only IPAM has something to free.
    fn gc(&self, _valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        forward(Verb::Gc, call)
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        master::status(&Conf::parse(call)?.common, call)
    }
}
