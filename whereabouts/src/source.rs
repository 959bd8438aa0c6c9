//! Who does the work: the daemon of this node when there is one, else this process, with the configuration's own credentials. The work is
//! the same.

use std::path::{Path, PathBuf};

use cni::CniError;
use node::client::{ApiClient, ConnectError, Credentials, Timeouts, block_on};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc::{self, RpcError};

use crate::allocate::{self, Beginning, Left};
use crate::claim::{Claimed, Claims};
use crate::conf::ConfError;
use crate::drain;
use crate::hint::HintStore;
use crate::order::Order;
use crate::record::{Record, Records, STATE, Stage};
use crate::release;
use crate::session::SessionError;
use crate::wire::{Answer, Release, Request, StatusQuery};

/// Where pools are when the credentials name no namespace.
pub const DEFAULT_NAMESPACE: &str = "kube-system";

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
pub struct OrderFailure {
    /// Why.
    pub error: SessionError,
    /// What is to be cleaned up.
    pub left: Left,
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
    pub fn claim(&self, order: &Order) -> Result<Served, OrderFailure> {
        let unknown = |error| OrderFailure { error, left: Left::Something };
        let beginning = match self.ask(&Request::Claim(Box::new(order.clone()))).map_err(unknown)? {
            Asked::Answered(Answer::Claimed(claimed)) => return Ok(Served { claimed, stage: Stage::Held }),
            Asked::Answered(Answer::Refused(refusal)) => {
                let error = SessionError::Daemon(refusal.to_cni());
                return Err(OrderFailure { error, left: refusal.left });
            }
            Asked::Answered(Answer::Done | Answer::Missing(_)) => return Err(unknown(self.foreign_answer())),
            Asked::Nobody => Beginning::Fresh,
            Asked::Interrupted => Beginning::Interrupted,
        };
        let served = self.direct(async |claims| {
            let memory = HintStore::open(Path::new(STATE));
            let served = allocate::serve(claims, order, &memory, beginning).await;
            if served.is_ok() {
                drain::some(claims, self.records).await;
            }
            Ok(served)
        });
        // A request of the daemon's may still be under way: DEL then looks for more than is listed.
        let stage = if beginning == Beginning::Fresh { Stage::Held } else { Stage::Claiming };
        match served {
            Ok(Ok(claimed)) => Ok(Served { claimed, stage }),
            Ok(Err(failure)) => Err(OrderFailure { error: failure.error.into(), left: failure.left }),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Gives back what an attachment holds.
    pub fn release(&self, release: &Release) -> Result<(), SessionError> {
        if let Asked::Answered(answer) = self.ask(&Request::Release(Box::new(release.clone())))? {
            return self.done(answer);
        }
        self.direct(async |claims| {
            let memory = HintStore::open(Path::new(STATE));
            release::release(claims, &release.record, &release.upstream, &memory).await?;
            drain::some(claims, self.records).await;
            Ok(())
        })
    }

    /// The first claim of a record that is not the attachment's any more.
    pub fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, SessionError> {
        match self.ask(&Request::Check(Box::new(record.clone())))? {
            Asked::Answered(Answer::Missing(name)) => Ok(Some(name)),
            Asked::Answered(answer) => self.done(answer).map(|()| None),
            Asked::Nobody | Asked::Interrupted => {
                self.direct(async |claims| Ok(claims.first_missing(record).await?))
            }
        }
    }

    /// Whether addresses can be had.
    pub fn status(&self, query: &StatusQuery) -> Result<(), SessionError> {
        if let Asked::Answered(answer) = self.ask(&Request::Status(query.clone()))? {
            return self.done(answer);
        }
        self.direct(async |claims| {
            Ok(release::status(claims, &query.pools, &HintStore::open(Path::new(STATE))).await?)
        })
    }

    fn ask(&self, request: &Request) -> Result<Asked, SessionError> {
        match rpc::call(self.socket, request, self.deadline) {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(RpcError::Absent { .. } | RpcError::Refused { .. }) => Ok(Asked::Nobody),
            Err(RpcError::Broken { .. }) => Ok(Asked::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    fn done(&self, answer: Answer) -> Result<(), SessionError> {
        match answer {
            Answer::Done => Ok(()),
            Answer::Refused(refusal) => Err(SessionError::Daemon(refusal.to_cni())),
            Answer::Claimed(_) | Answer::Missing(_) => Err(self.foreign_answer()),
        }
    }

    fn foreign_answer(&self) -> SessionError {
        let text = format!(
            "whereabouts-daemon at {} answered something else than was asked: plugin and daemon are of different releases; roll out one",
            self.socket.display()
        );
        SessionError::Daemon(CniError::new(cni::Code::TryAgainLater, text))
    }

    /// Does it here.
    fn direct<T>(
        &self,
        work: impl AsyncFnOnce(&Claims<'_>) -> Result<T, SessionError>,
    ) -> Result<T, SessionError> {
        let kubeconfig = self.kubeconfig.clone().ok_or(ConfError::NoKubeconfig)?;
        block_on(self.deadline, async {
            let credentials = Credentials::Kubeconfig(kubeconfig);
            let api = ApiClient::connect(credentials, Timeouts::default()).await?;
            let namespace = namespace_of(&api)?;
            work(&Claims { api: &api, namespace: &namespace, deadline: self.deadline }).await
        })?
    }
}

/// Where claims and pools are, for these credentials.
pub fn namespace_of(api: &ApiClient) -> Result<DnsLabel, ConnectError> {
    match api.namespace() {
        Some(namespace) => Ok(namespace.clone()),
        None => DnsLabel::new(DEFAULT_NAMESPACE)
            .map_err(|source| ConnectError::BadNamespace { credentials: api.credentials().clone(), source }),
    }
}
