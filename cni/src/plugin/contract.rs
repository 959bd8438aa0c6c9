//! The contract between a plugin and the code that runs it: what the plugin implements, what each verb gets.

use super::conf::NetConf;
use super::env::{Attachment, Detachment};
use crate::types::result::RawResult;
use crate::types::{CniError, SearchPath, Version, args::CniArgs};

/// The description of a plugin.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// One line for a user who starts the binary without `CNI_COMMAND`.
    pub text: &'static str,
    /// The spec versions that the plugin supports.
    pub versions: &'static [Version],
}

/// The input of every verb besides its attachment.
#[derive(Clone, Debug)]
pub struct Call {
    /// The configuration.
    pub conf: NetConf,
    /// The configuration as the runtime sent it, byte for byte. Delegates get the same bytes.
    pub stdin: Vec<u8>,
    /// `CNI_ARGS`.
    pub args: CniArgs,
    /// `CNI_PATH`.
    pub path: SearchPath,
}

/// An attachment that the runtime still uses (GC).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValidAttachment {
    /// The container id.
    pub container_id: String,
    /// The interface name.
    pub if_name: String,
}

/// The verbs of a plugin.
pub trait Plugin {
    /// Describes the plugin.
    fn about(&self) -> About;

    /// Attaches the container. The result may have any version; the caller converts it to that of the conf.
    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError>;

    /// Detaches the container. Succeeds if the namespace, the interface or the record is gone: runtimes repeat DEL, send it late, and
    /// send it after a failed ADD.
    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError>;

    /// Compares the attachment with `prevResult`.
    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError>;

    /// Frees everything that belongs to none of the `valid` attachments. `None` means that the runtime sent no list: free nothing.
    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError>;

    /// Checks whether ADD would work; code 50 or 51 if not.
    fn status(&self, call: &Call) -> Result<(), CniError>;
}
