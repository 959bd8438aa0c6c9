//! What can fail, by what can be done about it, and the CNI code that the runtime gets.

use std::path::PathBuf;

use cni::{CniError, Code};
use node::client::ApiError;

use crate::demand::DemandError;
use crate::plan::PlanError;
use crate::record::RecordError;
use crate::source::SourceError;

/// A verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configuration cannot be used, or a delegate failed: its own error, code and all.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// The networks cannot be told: annotation, definition or file must be corrected.
    #[error(transparent)]
    Demand(#[from] DemandError),
    /// The networks do not go together: the annotation must be corrected.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The pod or its networks cannot be read, or its status not written.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The record cannot be written or read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The network namespace cannot be used.
    #[error("network namespace of the sandbox: {0}")]
    Netns(#[from] netlink::Error),
    /// The default network is not ready.
    #[error(
        "have you checked that your default network is ready? still waiting for readinessindicatorfile @ {}. pollimmediate error: timed \
         out waiting for the condition", .0.display()
    )]
    NotReady(PathBuf),
}

impl Error {
    /// The error as the runtime gets it.
    pub fn to_cni(&self) -> CniError {
        match self {
            Error::Cni(error) => error.clone(),
            _ => CniError::new(self.code(), self.to_string()),
        }
    }

    fn code(&self) -> Code {
        match self {
            Error::Cni(error) => error.code,
            Error::Demand(_) | Error::Plan(_) => Code::InvalidConfig,
            Error::Source(error) => of_source(error),
            Error::Record(_) => Code::Io,
            Error::Netns(_) => Code::InvalidNetns,
            Error::NotReady(_) => Code::TryAgainLater,
        }
    }
}

fn of_source(error: &SourceError) -> Code {
    match error {
        SourceError::PodReplaced { .. } => Code::Internal,
        SourceError::PodMissing(_)
        | SourceError::Connect(_)
        | SourceError::DeadlinePassed(_)
        | SourceError::Runtime(_) => Code::TryAgainLater,
        SourceError::Api(error) => match error {
            ApiError::Retryable { .. } | ApiError::OutcomeUnknown { .. } | ApiError::Conflict { .. } => {
                Code::TryAgainLater
            }
            _ => Code::Internal,
        },
    }
}
