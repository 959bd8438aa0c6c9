//! Who does the work: the daemon of this node when there is one, else this process, with the configuration's own credentials. The work is
//! the same.

use crate::claims::status;
use crate::node_state::namespace::namespace_of;
use std::path::{Path, PathBuf};

use cni::CniError;
use node::client::{ApiClient, Credentials, Timeouts, block_on};
use node::deadline::Deadline;
use node::names::DnsSubdomain;
use node::rpc::{self, RpcError};

use crate::claims::allocate;
use crate::claims::allocate::PriorAttempt;
use crate::claims::error::Cleanup;
use crate::claims::release;
use crate::claims::store::Claims;
use crate::claims::tombstones;
use crate::conf::ConfError;
use crate::node_state::hints::HintStore;
use crate::node_state::record::{Record, Records, STATE, Stage};
use crate::pool::held_claim::Claimed;
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{Answer, Release, Request, StatusQuery};

/// Who does the work, for one call.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The daemon's socket.
    pub socket: &'a Path,
    /// The credentials, for when nobody listens there.
    pub kubeconfig: Option<PathBuf>,
    /// When to give up.
    pub deadline: Deadline,
    /// This node's records.
    pub records: &'a Records,
}

/// An order that was served.
#[derive(Debug)]
pub struct Served {
    /// The claims, in the order in which they were wanted.
    pub claimed: Vec<Claimed>,
    /// Whether these are all the claims of the attachment.
    pub stage: Stage,
}

/// An order that was not served.
#[derive(Debug)]
pub struct RequestFailure {
    /// Why.
    pub error: CallError,
    /// What is to be cleaned up.
    pub cleanup: Cleanup,
}

/// What came of asking the daemon.
enum Asked {
    Answered(Answer),
    /// None listens, or one of another release.
    Nobody,
    /// It ended before it answered, and may have done a part.
    Interrupted,
}

impl Source<'_> {
    /// Claims what is ordered, all or nothing.
    pub fn claim(&self, order: &AllocationRequest) -> Result<Served, RequestFailure> {
        let unknown = |error| RequestFailure { error, cleanup: Cleanup::Needed };
        let beginning = match self.ask(&Request::Claim(Box::new(order.clone()))).map_err(unknown)? {
            Asked::Answered(Answer::Claimed(claimed)) => return Ok(Served { claimed, stage: Stage::Held }),
            Asked::Answered(Answer::Refused(refusal)) => {
                let error = CallError::Daemon(refusal.to_cni());
                return Err(RequestFailure { error, cleanup: refusal.cleanup });
            }
            Asked::Answered(Answer::Done | Answer::Missing(_)) => return Err(unknown(self.foreign_answer())),
            Asked::Nobody => PriorAttempt::Absent,
            Asked::Interrupted => PriorAttempt::Interrupted,
        };
        let served = self.direct(async |claims| {
            let candidates = HintStore::open(Path::new(STATE));
            let served = allocate::serve(claims, order, &candidates, beginning).await;
            if served.is_ok() {
                tombstones::some(claims, self.records).await;
            }
            Ok(served)
        });
        // A request of the daemon's may still be under way: DEL then looks for more than is listed.
        let stage = if beginning == PriorAttempt::Absent { Stage::Held } else { Stage::Claiming };
        match served {
            Ok(Ok(claimed)) => Ok(Served { claimed, stage }),
            Ok(Err(failure)) => Err(RequestFailure { error: failure.error.into(), cleanup: failure.cleanup }),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Gives back what an attachment holds.
    pub fn release(&self, release: &Release) -> Result<(), CallError> {
        if let Asked::Answered(answer) = self.ask(&Request::Release(Box::new(release.clone())))? {
            return self.done(answer);
        }
        self.direct(async |claims| {
            let candidates = HintStore::open(Path::new(STATE));
            release::release(claims, &release.record, &release.upstream, &candidates).await?;
            tombstones::some(claims, self.records).await;
            Ok(())
        })
    }

    /// The first claim of a record that is not the attachment's any more.
    pub fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, CallError> {
        match self.ask(&Request::Check(Box::new(record.clone())))? {
            Asked::Answered(Answer::Missing(name)) => Ok(Some(name)),
            Asked::Answered(answer) => self.done(answer).map(|()| None),
            Asked::Nobody | Asked::Interrupted => {
                self.direct(async |claims| Ok(claims.first_missing(record).await?))
            }
        }
    }

    /// Whether addresses can be had.
    pub fn status(&self, query: &StatusQuery) -> Result<(), CallError> {
        if let Asked::Answered(answer) = self.ask(&Request::Status(query.clone()))? {
            return self.done(answer);
        }
        self.direct(async |claims| {
            Ok(status::status(claims, &query.pools, &HintStore::open(Path::new(STATE))).await?)
        })
    }

    fn ask(&self, request: &Request) -> Result<Asked, CallError> {
        match rpc::call(self.socket, request, self.deadline) {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(RpcError::Absent { .. } | RpcError::Refused { .. }) => Ok(Asked::Nobody),
            Err(RpcError::Broken { .. }) => Ok(Asked::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    fn done(&self, answer: Answer) -> Result<(), CallError> {
        match answer {
            Answer::Done => Ok(()),
            Answer::Refused(refusal) => Err(CallError::Daemon(refusal.to_cni())),
            Answer::Claimed(_) | Answer::Missing(_) => Err(self.foreign_answer()),
        }
    }

    fn foreign_answer(&self) -> CallError {
        let text = format!(
            "whereabouts-daemon at {} answered something else than was asked: plugin and daemon are of different releases; roll out one",
            self.socket.display()
        );
        CallError::Daemon(CniError::new(cni::Code::TryAgainLater, text))
    }

    /// Does it here.
    fn direct<T>(&self, work: impl AsyncFnOnce(&Claims<'_>) -> Result<T, CallError>) -> Result<T, CallError> {
        let kubeconfig = self.kubeconfig.clone().ok_or(ConfError::NoKubeconfig)?;
        block_on(self.deadline, async {
            let credentials = Credentials::Kubeconfig(kubeconfig);
            let api = ApiClient::connect(credentials, Timeouts::default()).await?;
            let namespace = namespace_of(&api)?;
            work(&Claims { api: &api, namespace: &namespace, deadline: self.deadline }).await
        })?
    }
}
