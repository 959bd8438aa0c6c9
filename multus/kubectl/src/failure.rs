//! Why a command did not run.

use std::io;
use std::path::PathBuf;

use node::client::{ApiError, BlockOnError, ConnectError};

use crate::options::OptionsError;

/// A command did not run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line is not understood.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The credentials cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The API server did not answer, or refused what the command cannot do without.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It took too long.
    #[error(transparent)]
    TooLong(#[from] BlockOnError),
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There is no such pod.
    #[error("pod {pod} does not exist: check the name, and the namespace (-n)")]
    NoSuchPod {
        /// `<namespace>/<name>`.
        pod: String,
    },
    /// No pool has this name.
    #[error("there is no pool {name:?}: \"kubectl multus pools\" shows all")]
    NoSuchPool {
        /// The name.
        name: String,
    },
    /// `--accept` with a code that nothing has.
    #[error("--accept {code:?}: \"kubectl multus migrate\" shows the codes in brackets, as [definitions]")]
    UnknownCode {
        /// The code.
        code: String,
    },
    /// A step of `migrate` did not come to its end.
    #[error("{0}")]
    Fault(String),
    /// A name from the cluster that the API server would not have accepted.
    #[error("{0}")]
    Name(#[from] node::names::NameError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}
