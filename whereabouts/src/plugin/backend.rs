//! Who serves a call: the node's daemon if one listens, else this process, with the configuration's own credentials. Both run the same code
//! of [`crate::claims`].

use std::path::PathBuf;

use cni::CniError;
use node::client::{ApiClient, BlockOnError, within};
use node::deadline::Deadline;
use node::names::{DnsLabel, DnsSubdomain};
use node::rpc::RpcError;

use super::transport::Transport;
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
use crate::rpc::wire::{self, Release, Request, Response, SOCKET, StatusQuery};

/// The backend of one call.
#[derive(Debug)]
pub(super) struct Backend<'a, T> {
    /// The way to the daemon and to the API server.
    pub transport: &'a T,
    /// The credentials of the direct way, for when no daemon listens.
    pub kubeconfig: Option<PathBuf>,
    /// The end of the call.
    pub deadline: Deadline,
    /// This node's records.
    pub records: &'a Records,
    /// This node's hints.
    pub hints: &'a NodeHints,
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

/// The direct way to the API server.
struct Direct {
    api: ApiClient,
    namespace: DnsLabel,
    hints: HintStore,
    deadline: Deadline,
}

impl Direct {
    fn claims(&self) -> Claims<'_> {
        Claims { api: &self.api, namespace: &self.namespace, deadline: self.deadline }
    }

    /// Runs `work` until the end of the call.
    async fn run<R, E>(&self, work: impl Future<Output = Result<R, E>>) -> Result<R, CallError>
    where
        CallError: From<E>,
    {
        Ok(within(self.deadline, work).await??)
    }
}

impl<T: Transport> Backend<'_, T> {
    /// Allocates the requested addresses, all or none.
    pub async fn allocate(&self, request: &AllocationRequest) -> Result<Allocated, RequestFailure> {
        let unknown = |error| RequestFailure { error, cleanup: Cleanup::Needed };
        let asked = self.ask_daemon(&Request::Claim(Box::new(request.clone()))).await;
        let prior = match asked.map_err(unknown)? {
            DaemonReply::Response(Response::Claimed(wire::Allocated { namespace, claims })) => {
                return Ok(Allocated { namespace, claims, stage: Stage::Held });
            }
            DaemonReply::Response(Response::Refused(refusal)) => {
                let error = CallError::Daemon(refusal.to_cni());
                return Err(RequestFailure { error, cleanup: refusal.cleanup });
            }
            DaemonReply::Response(Response::Done | Response::Missing(_)) => {
                return Err(unknown(unexpected_response()));
            }
            DaemonReply::NoDaemon => PriorAttempt::Absent,
            DaemonReply::Interrupted => PriorAttempt::Interrupted,
        };
        let direct = self.direct(request.namespace.as_ref()).await.map_err(unknown)?;
        let served = self.serve_directly(&direct, request, prior).await?;
        // A create of the killed daemon may still reach the API server, so DEL must search by label too.
        let stage = if prior == PriorAttempt::Absent { Stage::Held } else { Stage::Claiming };
        Ok(Allocated { namespace: direct.namespace, claims: served, stage })
    }

    async fn serve_directly(
        &self,
        direct: &Direct,
        request: &AllocationRequest,
        prior: PriorAttempt,
    ) -> Result<Vec<Claimed>, RequestFailure> {
        let claims = direct.claims();
        let work = async {
            let served = allocate::serve(&claims, request, &direct.hints, prior).await;
            if served.is_ok() {
                tombstones::drain_some(&claims, self.records, self.hints).await;
            }
            served
        };
        let served = within(direct.deadline, work).await;
        served
            .map_err(|error| RequestFailure { error: error.into(), cleanup: Cleanup::Needed })?
            .map_err(|failure| RequestFailure { error: failure.error.into(), cleanup: failure.cleanup })
    }

    /// Releases the addresses of an attachment.
    pub async fn release(&self, release: &Release) -> Result<(), CallError> {
        self.hints.remove_pins(&release.record).map_err(RecordError::from)?;
        // A release that the daemon interrupted is repeated here: it is idempotent.
        let asked = self.ask_daemon(&Request::Release(Box::new(release.clone()))).await?;
        if let DaemonReply::Response(response) = asked {
            return expect_done(response);
        }
        let direct = self.direct(release.record.namespace.as_ref()).await?;
        let claims = direct.claims();
        let work = async {
            release::release(&claims, &release.record, release.writer, &release.upstream).await?;
            // Else it would be drained with those of other attachments.
            self.records.remove_tombstone(&release.record)?;
            tombstones::drain_some(&claims, self.records, self.hints).await;
            Ok::<_, CallError>(())
        };
        direct.run(work).await
    }

    /// The first claim of a record that the attachment does not hold any more.
    pub async fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, CallError> {
        match self.ask_daemon(&Request::Check(Box::new(record.clone()))).await? {
            DaemonReply::Response(Response::Missing(name)) => Ok(Some(name)),
            DaemonReply::Response(response) => expect_done(response).map(|()| None),
            DaemonReply::NoDaemon | DaemonReply::Interrupted => {
                let direct = self.direct(record.namespace.as_ref()).await?;
                direct.run(direct.claims().first_missing(record)).await
            }
        }
    }

    /// Whether an address can be allocated.
    pub async fn status(&self, query: &StatusQuery) -> Result<(), CallError> {
        if let DaemonReply::Response(response) = self.ask_daemon(&Request::Status(query.clone())).await? {
            return expect_done(response);
        }
        let direct = self.direct(query.namespace.as_ref()).await?;
        direct.run(status::status(&direct.claims(), &query.pools, &direct.hints)).await
    }

    async fn ask_daemon(&self, request: &Request) -> Result<DaemonReply, CallError> {
        match self.transport.ask(request, self.deadline).await {
            Ok(response) => Ok(DaemonReply::Response(response)),
            Err(RpcError::Absent { .. } | RpcError::Refused { .. }) => Ok(DaemonReply::NoDaemon),
            Err(RpcError::Broken { .. }) => Ok(DaemonReply::Interrupted),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects this process, with the configuration's credentials. `namespace` is the one that the request or the record names.
    async fn direct(&self, namespace: Option<&DnsLabel>) -> Result<Direct, CallError> {
        let kubeconfig = self.kubeconfig.as_deref().ok_or(ConfError::NoKubeconfig)?;
        let connected: Result<_, BlockOnError> =
            within(self.deadline, self.transport.connect(kubeconfig)).await;
        let api = connected??;
        let namespace = match namespace {
            Some(namespace) => namespace.clone(),
            // The record of a DEL whose kubeconfig could not be read then.
            None => namespace::of_client(&api)?,
        };
        let hints = self.hints.of(&namespace);
        Ok(Direct { api, namespace, hints, deadline: self.deadline })
    }
}

fn expect_done(response: Response) -> Result<(), CallError> {
    match response {
        Response::Done => Ok(()),
        Response::Refused(refusal) => Err(CallError::Daemon(refusal.to_cni())),
        Response::Claimed(_) | Response::Missing(_) => Err(unexpected_response()),
    }
}

fn unexpected_response() -> CallError {
    let text = format!(
        "whereabouts-daemon at {SOCKET} sent a response that does not fit the request: plugin and daemon are of different releases; install the same release of both"
    );
    CallError::Daemon(CniError::new(cni::Code::TryAgainLater, text))
}
