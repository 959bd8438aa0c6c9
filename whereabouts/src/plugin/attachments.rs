//! What a call does to the attachments of its node: the record on disk, then the claims, and back. The plugin and the simulation run this
//! same code; only the [`Transport`] differs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::crash_point;
use cni::names::{ContainerId, IfName};
use node::deadline::Deadline;
use node::names::DnsSubdomain;

use super::backend::Backend;
use super::transport::Transport;
use crate::claims::error::Cleanup;
use crate::claims::tombstones;
use crate::node_state::hints::NodeHints;
use crate::node_state::installation::{Installation, Writer};
use crate::node_state::record::{Found, Record, RecordError, Records};
use crate::pool::request::AllocationRequest;
use crate::rpc::error::CallError;
use crate::rpc::wire::{ADD_LIMIT, DEL_LIMIT, Release, STATUS_LIMIT, StatusQuery};

/// The attachments of a node.
#[derive(Clone, Debug)]
pub struct Attachments<T> {
    transport: T,
    records: Records,
    hints: NodeHints,
}

impl<T: Transport> Attachments<T> {
    /// Those whose records and hints are below the directory `state`, which is created if necessary, for this installation of the plugin.
    ///
    /// # Errors
    /// [`RecordError`] if the directory cannot be created, or others may write to it.
    pub fn open(state: &Path, installation: Option<Installation>, transport: T) -> Result<Self, RecordError> {
        let records = Records::open(state)?.of_installation(installation);
        Ok(Attachments { transport, records, hints: NodeHints::open(state) })
    }

    /// The node's records.
    pub const fn records(&self) -> &Records {
        &self.records
    }

    fn backend(&self, kubeconfig: Option<PathBuf>, limit: Duration) -> Backend<'_, T> {
        Backend {
            transport: &self.transport,
            kubeconfig,
            deadline: Deadline::after(limit),
            records: &self.records,
            hints: &self.hints,
        }
    }

    /// Allocates the requested addresses, all or none. `record` is the attachment's record before its first claim; returns the complete one.
    ///
    /// # Errors
    /// [`CallError`]. A DEL must follow if a record is left.
    pub async fn attach(&self, request: &AllocationRequest, mut record: Record) -> Result<Record, CallError> {
        self.release_earlier(&record).await?;
        // Before the first claim: if this process dies, DEL needs the record to find the claims.
        self.records.write(&record)?;
        crash_point!("add-after-record");
        let backend = self.backend(record.kubeconfig.clone(), ADD_LIMIT);
        let allocated = match backend.allocate(request).await {
            Ok(allocated) => allocated,
            Err(failure) => {
                match failure.cleanup {
                    // A record that stays costs the DEL one list request.
                    Cleanup::NotNeeded => drop(self.records.remove(&record.container_id, &record.if_name)),
                    // The DEL was here already.
                    Cleanup::Needed if !self.records.has(&record) => {
                        return Err(self.give_back(&record).await);
                    }
                    Cleanup::Needed => {}
                }
                return Err(failure.error);
            }
        };
        record.claims = allocated.claims.into_iter().map(|claimed| claimed.claim).collect();
        record.stage = allocated.stage;
        record.namespace = Some(allocated.namespace);
        // Looked for after the claims were made, as a DEL looks for the claims after it took the record away: one of both sees the other.
        if !self.records.has(&record) {
            return Err(self.give_back(&record).await);
        }
        self.records.update(&record)?;
        crash_point!("add-after-claims");
        Ok(record)
    }

    /// Releases what an earlier attachment of the same interface left: a network may be removed from a running pod and added again. Its tombstone names
    /// the same container and interface, so whoever drains it later would delete the new claim.
    async fn release_earlier(&self, record: &Record) -> Result<(), CallError> {
        // A damaged tombstone is not drained either.
        let Ok(Some(tombstone)) = self.records.tombstone(record) else { return Ok(()) };
        let not_released = |reason: String| CallError::NotReleased {
            container_id: record.container_id.clone(),
            if_name: record.if_name.clone(),
            reason,
        };
        let Some(_lock) = self.records.lock_tombstone(&tombstone) else {
            return Err(not_released("another call releases it at this moment".to_owned()));
        };
        let release = Release { record: tombstone, upstream: Vec::new(), writer: Writer::Unknown };
        let released = self.backend(record.kubeconfig.clone(), DEL_LIMIT).release(&release).await;
        released.map_err(|error| not_released(error.to_string()))?;
        self.records.remove_tombstone(&release.record)?;
        self.update_hints(&release.record);
        Ok(())
    }

    /// Releases the addresses of an ADD after a DEL of its attachment, which the runtime sends when it has killed our caller.
    async fn give_back(&self, record: &Record) -> CallError {
        let release =
            Release { record: record.clone(), upstream: Vec::new(), writer: Writer::ThisInstallation };
        if self.backend(record.kubeconfig.clone(), DEL_LIMIT).release(&release).await.is_err()
            && let Err(error) = self.records.bury(record)
        {
            return error.into();
        }
        self.update_hints(record);
        CallError::Deleted { container_id: record.container_id.clone(), if_name: record.if_name.clone() }
    }

    /// Releases the addresses of an attachment. Needs only its record; without one, what `unrecorded` says. If the API server cannot be
    /// reached, leaves a tombstone and succeeds. `warn` gets what a person should know about a DEL that succeeds all the same.
    ///
    /// # Errors
    /// [`CallError::Record`] if the disk refuses.
    pub async fn detach(
        &self,
        container_id: &ContainerId,
        if_name: &IfName,
        unrecorded: impl FnOnce() -> Release,
        warn: impl Fn(&str),
    ) -> Result<(), CallError> {
        let mut lock = None;
        let release = match self.records.find(container_id, if_name) {
            Ok(Some(Found { record, writer })) => {
                match self.records.begin_release(&record) {
                    Ok(taken) => lock = taken,
                    Err(error) => {
                        let podref = &record.podref;
                        warn(&format!("{error}; an ADD of {podref} that still runs is not noticed"));
                    }
                }
                Release { record, upstream: Vec::new(), writer }
            }
            // Whereabouts made the attachment, or the record is lost: the claims are found by their container label, and Whereabouts'
            // allocations by their container id.
            Ok(None) | Err(_) => unrecorded(),
        };
        let record = &release.record;
        match self.backend(record.kubeconfig.clone(), DEL_LIMIT).release(&release).await {
            Ok(()) => {}
            Err(CallError::Record(error)) => return Err(error.into()),
            // A DEL that fails keeps the pod in Terminating. The tombstone releases the addresses as soon as the API server is back.
            Err(_) => return Ok(self.records.bury(record)?),
        }
        self.records.end_release(record)?;
        drop(lock);
        self.update_hints(record);
        Ok(())
    }

    fn update_hints(&self, record: &Record) {
        if let Some(namespace) = &record.namespace {
            tombstones::update_hints(&self.hints.of(namespace), record);
        }
    }

    /// Releases the addresses of an attachment that the runtime does not know any more.
    pub(super) async fn release_stale(&self, record: &Record) -> Result<(), CallError> {
        let release = Release { record: record.clone(), upstream: Vec::new(), writer: Writer::Unknown };
        // As a DEL: the daemon makes missing claims of records again. If the release fails, a later call finds the tombstone.
        let _lock = self.records.begin_release(record)?;
        self.backend(record.kubeconfig.clone(), DEL_LIMIT).release(&release).await?;
        Ok(self.records.end_release(record)?)
    }

    /// The first claim of a record that the attachment does not hold any more.
    pub(super) async fn first_missing(&self, record: &Record) -> Result<Option<DnsSubdomain>, CallError> {
        self.backend(record.kubeconfig.clone(), DEL_LIMIT).first_missing(record).await
    }

    /// Whether an address can be allocated.
    pub(super) async fn status(
        &self,
        query: &StatusQuery,
        kubeconfig: Option<PathBuf>,
    ) -> Result<(), CallError> {
        self.backend(kubeconfig, STATUS_LIMIT).status(query).await
    }
}
