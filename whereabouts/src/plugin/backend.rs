//! Who serves a call: the node's daemon if one listens, else this process, with the configuration's own credentials. Both run the same code
//! of [`crate::claims`].

use std::path::{Path, PathBuf};

use cni::CniError;
use node::client::{ApiClient, Credentials, Timeouts, block_on};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc::{self, RpcError};

use crate::claims::allocate::{self, PriorAttempt};
use crate::claims::error::Cleanup;
use crate::claims::release;
use crate::claims::status;
use crate::claims::store::Claims;
use crate::claims::tombstones;
use crate::conf::ConfError;
use crate::node_state::hints::{HintStore, NodeHints};
use crate::node_state::namespace;
use crate::node_state::record::{Record, RecordError, Records, Stage};
use crate::pool::held_claim::Claimed;
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{self, Release, Request, Response, StatusQuery};

/// The backend of one call.
#[derive(Clone, Debug)]
pub(super) struct Backend<'a> {
    /// The daemon's socket.
    pub socket: &'a Path,
    /// The credentials of the direct way, for when no daemon listens.
    pub kubeconfig: Option<PathBuf>,
    /// The end of the call.
    pub deadline: Deadline,
    /// This node's records.
    pub records: &'a Records,
    /// This node's hints.
    pub hints: NodeHints,
}

/// An allocation request that was served.
#[derive(Debug)]
pub(super) struct Allocated {
    /// The namespace of the claims.
    pub namespace: DnsLabel,
    /// The claims, in the order of the request.
    pub claims: Vec<Claimed>,
    /// Whether these are all the claims of the attachment.
    pub stage: Stage,
}

/// An allocation request that failed.
#[derive(Debug)]
pub(super) struct RequestFailure {
    /// The reason.
    pub error: CallError,
    /// Whether a DEL must follow.
    pub cleanup: Cleanup,
}

/// The result of a request to the daemon.
enum DaemonReply {
    Response(Response),
    /// No daemon listens, or it refused the connection.
    NoDaemon,
    /// The daemon ended before it responded. It may have done a part of the work.
    Interrupted,
}

impl Backend<'_> {
    /// Allocates the requested addresses, all or none.
    pub fn allocate(&self, request: &AllocationRequest) -> Result<Allocated, RequestFailure> {
        let unknown = |error| RequestFailure { error, cleanup: Cleanup::Needed };
        let prior = match self.ask_daemon(&Request::Claim(Box::new(request.clone()))).map_err(unknown)? {
            DaemonReply::Response(Response::Claimed(wire::Allocated { namespace, claims })) => {
                return Ok(Allocated { namespace, claims, stage: Stage::Held });
            }
            DaemonReply::Response(Response::Refused(refusal)) => {
                let error = CallError::Daemon(refusal.to_cni());
                return Err(RequestFailure { error, cleanup: refusal.cleanup });
            }
            DaemonReply::Response(Response::Done | Response::Missing(_)) => {
                return Err(unknown(self.unexpected_response()));
            }
            DaemonReply::NoDaemon => PriorAttempt::Absent,
            DaemonReply::Interrupted => PriorAttempt::Interrupted,
        };
        let served = self.direct(request.namespace.as_ref(), async |claims, hints| {
            let served = allocate::serve(claims, request, hints, prior).await;
            if served.is_ok() {
                tombstones::drain_some(claims, self.records, &self.hints).await;
            }
            Ok(served.map(|claimed| (claims.namespace.clone(), claimed)))
        });
        // A create of the killed daemon may still reach the API server, so DEL must search by label too.
        let stage = if prior == PriorAttempt::Absent { Stage::Held } else { Stage::Claiming };
        match served {
            Ok(Ok((namespace, claims))) => Ok(Allocated { namespace, claims, stage }),
            Ok(Err(failure)) => Err(RequestFailure { error: failure.error.into(), cleanup: failure.cleanup }),
            Err(error) => Err(unknown(error)),
        }
    }

    /// Releases the addresses of an attachment.
    pub fn release(&self, release: &Release) -> Result<(), CallError> {
        self.hints.remove_pins(&release.record).map_err(RecordError::from)?;
        // A release that the daemon interrupted is repeated here: it is idempotent.
        if let DaemonReply::Response(response) =
            self.ask_daemon(&Request::Release(Box::new(release.clone())))?
        {
            return self.expect_done(response);
        }
        self.direct(release.record.namespace.as_ref(), async |claims, _| {
            release::release(claims, &release.record, &release.upstream).await?;
            // Else it would be drained with those of other attachments.
            self.records.remove_tombstone(&release.record)?;
            tombstones::drain_some(claims, self.records, &self.hints).await;
            Ok(())
        })
    }

    /// The first claim of a record that the attachment does not hold any more.
    pub fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, CallError> {
        match self.ask_daemon(&Request::Check(Box::new(record.clone())))? {
            DaemonReply::Response(Response::Missing(name)) => Ok(Some(name)),
            DaemonReply::Response(response) => self.expect_done(response).map(|()| None),
            DaemonReply::NoDaemon | DaemonReply::Interrupted => {
                let namespace = record.namespace.as_ref();
                self.direct(namespace, async |claims, _| Ok(claims.first_missing(record).await?))
            }
        }
    }

    /// Whether an address can be allocated.
    pub fn status(&self, query: &StatusQuery) -> Result<(), CallError> {
        if let DaemonReply::Response(response) = self.ask_daemon(&Request::Status(query.clone()))? {
            return self.expect_done(response);
        }
        let namespace = query.namespace.as_ref();
        self.direct(namespace, async |claims, hints| Ok(status::status(claims, &query.pools, hints).await?))
    }

    fn ask_daemon(&self, request: &Request) -> Result<DaemonReply, CallError> {
        match rpc::call(self.socket, request, self.deadline) {
            Ok(response) => Ok(DaemonReply::Response(response)),
            Err(RpcError::Absent { .. } | RpcError::Refused { .. }) => Ok(DaemonReply::NoDaemon),
            Err(RpcError::Broken { .. }) => Ok(DaemonReply::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    fn expect_done(&self, response: Response) -> Result<(), CallError> {
        match response {
            Response::Done => Ok(()),
            Response::Refused(refusal) => Err(CallError::Daemon(refusal.to_cni())),
            Response::Claimed(_) | Response::Missing(_) => Err(self.unexpected_response()),
        }
    }

    fn unexpected_response(&self) -> CallError {
        let text = format!(
            "whereabouts-daemon at {} sent a response that does not fit the request: plugin and daemon are of different releases; install the same release of both",
            self.socket.display()
        );
        CallError::Daemon(CniError::new(cni::Code::TryAgainLater, text))
    }

    /// Runs `work` in this process, with the configuration's credentials. `namespace` is the one that the request or the record names.
    fn direct<T>(
        &self,
        namespace: Option<&DnsLabel>,
        work: impl AsyncFnOnce(&Claims<'_>, &HintStore) -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let kubeconfig = self.kubeconfig.clone().ok_or(ConfError::NoKubeconfig)?;
        block_on(self.deadline, async {
            let credentials = Credentials::Kubeconfig(kubeconfig);
            let api = ApiClient::connect(credentials, Timeouts::default()).await?;
            let namespace = match namespace {
                Some(namespace) => namespace.clone(),
                // The record of a DEL whose kubeconfig could not be read then.
                None => namespace::of_client(&api)?,
            };
            let claims = Claims { api: &api, namespace: &namespace, deadline: self.deadline };
            work(&claims, &self.hints.of(&namespace)).await
        })?
    }
}
