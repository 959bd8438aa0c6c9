//! The plugin `passthru`, which makes nothing. As the first plugin of an auxiliary chain it answers with the empty result that the next ones
//! need as `prevResult`. Upstream installs a program of this name for the same purpose.

use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};
use serde_json::Value;

/// The plugin `passthru`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passthru;

/// Upstream's. Older results cannot be empty.
const VERSIONS: &[Version] =
    &[Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

impl Plugin for Passthru {
    fn about(&self) -> About {
        About { text: "Passthrough CNI Plugin: answers with an empty result", versions: VERSIONS }
    }

    fn add(&self, _: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        RawResult::from_value(Value::Null, call.conf.cni_version)
            .map_err(|e| CniError::new(Code::Internal, e.to_string()))
    }

    fn del(&self, _: &Detachment, _: &Call) -> Result<(), CniError> {
        Ok(())
    }

    fn check(&self, _: &Attachment, _: &Call) -> Result<(), CniError> {
        Ok(())
    }

    fn gc(&self, _: Option<&[ValidAttachment]>, _: &Call) -> Result<(), CniError> {
        Ok(())
    }

    fn status(&self, _: &Call) -> Result<(), CniError> {
        Ok(())
    }
}
