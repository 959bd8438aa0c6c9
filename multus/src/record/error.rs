//! Why a record cannot be written or read.

use std::path::PathBuf;

use node::files::FileError;

/// Largest record that is written or read, in bytes.
pub(super) const MAX_RECORD: usize = 16 << 20;

/// A record cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be written or read.
    #[error("record of the sandbox: {0}")]
    File(#[from] FileError),
    /// The content of the file is not a record.
    #[error("record {} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// DEL could not read the record.
    #[error(
        "the configurations of the pod's networks make a record that DEL could not read ({reason}), so nothing is attached: nest \"cni-args\" \
         and the configurations less deeply"
    )]
    Unreadable {
        /// What is wrong.
        reason: String,
    },
    /// The record is larger than the limit of 16 MiB.
    #[error(
        "the configurations of the pod's networks have {size} bytes together, but a record has at most {MAX_RECORD}: request fewer networks"
    )]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
}
