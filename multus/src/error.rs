//! What can fail in a verb, by what the caller can do, and the CNI code of each failure.

use std::path::PathBuf;

use cni::{CniError, Code};
use node::client::{ApiError, Denial};

use crate::device::DeviceError;
use crate::kubelet::KubeletError;
use crate::plan::PlanError;
use crate::record::RecordError;
use crate::request::RequestError;
use crate::source::SourceError;

/// A verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A configuration cannot be used, or a delegate failed. The runtime gets the delegate's error and code.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// The networks cannot be determined: the annotation, definition or file must be corrected.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The networks conflict: the annotation must be corrected.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A network does not get its device: the pod must request one.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The kubelet does not say which devices the pod has.
    #[error(transparent)]
    Kubelet(#[from] KubeletError),
    /// The pod or its networks cannot be read, or the status cannot be written.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The record cannot be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The network namespace cannot be used.
    #[error("network namespace of the sandbox: {0}")]
    Netns(#[from] netlink::Error),
    /// There is no runtime for the requests to the API server: the kernel gave no epoll or timer.
    #[error("cannot start the runtime: {0}; see the limits on open files")]
    Runtime(std::io::Error),
    /// The default network is not ready.
    #[error(
        "have you checked that your default network is ready? still waiting for readinessindicatorfile @ {}. pollimmediate error: timed \
         out waiting for the condition", .0.display()
    )]
    NotReady(PathBuf),
}

impl Error {
    /// The error for the runtime.
    pub(crate) fn to_cni(&self) -> CniError {
        match self {
            Error::Cni(error) => error.clone(),
            _ => CniError::new(self.code(), self.to_string()),
        }
    }

    fn code(&self) -> Code {
        match self {
            Error::Cni(error) => error.code,
            Error::Request(_) | Error::Plan(_) | Error::Device(_) => Code::InvalidConfig,
            Error::Kubelet(_) => Code::TryAgainLater,
            Error::Source(error) => source_code(error),
            Error::Record(RecordError::Unreadable { .. }) => Code::InvalidConfig,
            Error::Record(_) => Code::Io,
            Error::Netns(_) => Code::InvalidNetns,
            Error::NotReady(_) | Error::Runtime(_) => Code::TryAgainLater,
        }
    }
}

fn source_code(error: &SourceError) -> Code {
    match error {
        SourceError::PodReplaced { .. } => Code::Internal,
        SourceError::Connect(error) if error.is_permanent() => Code::InvalidConfig,
        SourceError::PodMissing(_)
        | SourceError::Connect(_)
        | SourceError::DeadlinePassed(_)
        | SourceError::Superseded(_)
        | SourceError::NoDaemon(_)
        | SourceError::Refused(_) => Code::TryAgainLater,
        SourceError::Api(error) => match error {
            ApiError::Retryable { .. } | ApiError::OutcomeUnknown { .. } | ApiError::Conflict { .. } => {
                Code::TryAgainLater
            }
            // An expired token is renewed. A malformed one has not come so far.
            ApiError::Denied { denial: Denial::Unauthenticated, .. } => Code::TryAgainLater,
            _ => Code::Internal,
        },
    }
}
