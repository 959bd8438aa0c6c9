//! The verbs of the plugin.

use attach::ipam::forward;
use attach::{master, rollback};
use cni::env::{Attachment, Detachment, Verb};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};
use netlink::LinkKind;

use crate::conf::{Conf, refuse_without_address};
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
        // Before the link is created, so that there is nothing to undo.
        refuse_without_address(call)?;
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
