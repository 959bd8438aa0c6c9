//! What this node holds, on disk before it is held: one record an attachment, from before its first claim until after its last is
//! gone. DEL needs nothing else. A DEL that could not reach the API server leaves its record as a tombstone, which a later call drains.

use crate::pool::held_claim::HeldClaim;
use std::path::{Path, PathBuf};

use cni::names::{ContainerId, IfName};
use node::files::{Dir, FileError};
use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use crate::crd::reservation::Reservation;

/// Where records, tombstones and hints are.
pub const STATE: &str = "/var/lib/cni/whereabouts";

/// A record is a few hundred bytes for each range.
const MAX_RECORD: u64 = 1 << 20;

/// What one attachment holds, or was about to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container.
    pub container_id: String,
    /// The interface.
    pub if_name: String,
    /// `namespace/name` of the pod.
    pub podref: String,
    /// The network, for GC.
    pub network: String,
    /// Whose credentials reach the claims without a daemon.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// Where the claims are; `None` in records of before there was a daemon, and where only the daemon knows.
    #[serde(default)]
    pub namespace: Option<DnsLabel>,
    /// Whether these are all the claims there can be.
    pub stage: Stage,
    /// The claims.
    pub claims: Vec<HeldClaim>,
}

/// How far an attachment got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Claims may exist that are not listed here; they are found by their container label.
    Claiming,
    /// The list is complete.
    Held,
}

/// The records of this node.
#[derive(Clone, Debug)]
pub struct Records {
    held: Dir,
    tombstones: Dir,
}

/// A record that is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error("the record of this attachment: {0}")]
    File(#[from] FileError),
    /// The file is damaged.
    #[error("{path}: damaged: {source}; claims are then found by their labels")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Records {
    /// The records below `state`.
    pub fn open(state: &Path) -> Result<Self, RecordError> {
        Ok(Records {
            held: Dir::open(state.join("claims"))?,
            tombstones: Dir::open(state.join("tombstones"))?,
        })
    }

    /// Writes the record of an attachment.
    pub fn write(&self, record: &Record) -> Result<(), RecordError> {
        Ok(self.held.write(&record.file_name(), &encoded(record))?)
    }

    /// As [`Records::write`], without waiting for the disk: should the machine fail, the record of before is still there, and claims that
    /// it does not list are found by their label.
    pub fn update(&self, record: &Record) -> Result<(), RecordError> {
        let file = self.held.path().join(record.file_name());
        Ok(node::files::replace(&file, &encoded(record))?)
    }

    /// The record of an attachment, or `None`.
    pub fn read(&self, container_id: &ContainerId, if_name: &IfName) -> Result<Option<Record>, RecordError> {
        read(&self.held, &file_name(container_id.as_str(), if_name.as_str()))
    }

    /// Forgets an attachment.
    pub fn remove(&self, container_id: &str, if_name: &str) -> Result<(), RecordError> {
        Ok(self.held.remove(&file_name(container_id, if_name))?)
    }

    /// Every attachment's record; damaged files are passed over.
    pub fn all(&self) -> Result<Vec<Record>, RecordError> {
        all(&self.held)
    }

    /// Moves a record to the tombstones: its claims are to be deleted as soon as that is possible.
    pub fn bury(&self, record: &Record) -> Result<(), RecordError> {
        self.tombstones.write(&record.file_name(), &encoded(record))?;
        self.remove(&record.container_id, &record.if_name)
    }

    /// What is still to be deleted.
    pub fn tombstones(&self) -> Result<Vec<Record>, RecordError> {
        all(&self.tombstones)
    }

    /// A tombstone whose claims are gone.
    pub fn drained(&self, record: &Record) -> Result<(), RecordError> {
        Ok(self.tombstones.remove(&record.file_name())?)
    }
}

impl Record {
    /// Whether a claim is this attachment's. The container decides, never the pod alone: a late DEL of an old sandbox must not free
    /// the address of the pod's new one.
    pub fn owns(&self, claim: &Reservation) -> bool {
        claim.container() == self.container_id
            && (claim.spec.ifname == self.if_name || claim.spec.ifname.is_empty())
    }

    fn file_name(&self) -> String {
        file_name(&self.container_id, &self.if_name)
    }
}

fn file_name(container_id: &str, if_name: &str) -> String {
    format!("{container_id}@{if_name}")
}

/// These types hold text only: they always have a JSON form.
fn encoded(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

fn read(dir: &Dir, name: &str) -> Result<Option<Record>, RecordError> {
    let Some(bytes) = dir.read(name, MAX_RECORD)? else { return Ok(None) };
    let path = || dir.path().join(name).display().to_string();
    serde_json::from_slice(&bytes).map(Some).map_err(|source| RecordError::Damaged { path: path(), source })
}

fn all(dir: &Dir) -> Result<Vec<Record>, RecordError> {
    let names = dir.names()?;
    Ok(names.iter().filter_map(|name| read(dir, name).ok().flatten()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::held_claim::HeldClaim;
    use node::names::DnsSubdomain;

    fn record() -> Record {
        Record {
            container_id: "c1".into(),
            if_name: "net1".into(),
            podref: "a/b".into(),
            network: "n".into(),
            kubeconfig: Some("/k".into()),
            namespace: None,
            stage: Stage::Held,
            claims: vec![HeldClaim {
                name: DnsSubdomain::new("10.0.0.1").unwrap(),
                resource_version: "7".into(),
                pool: "10.0.0.0-8".into(),
                address: "10.0.0.1/8".parse().unwrap(),
            }],
        }
    }

    fn ids() -> (ContainerId, IfName) {
        (ContainerId::parse("c1").unwrap(), IfName::parse("net1").unwrap())
    }

    #[test]
    fn a_record_lasts_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        let (id, name) = ids();
        assert_eq!(records.read(&id, &name).unwrap(), None);
        records.write(&record()).unwrap();
        assert_eq!(records.read(&id, &name).unwrap(), Some(record()));
        assert_eq!(records.all().unwrap(), [record()]);
        records.remove("c1", "net1").unwrap();
        records.remove("c1", "net1").unwrap();
        assert_eq!(records.all().unwrap(), []);
    }

    #[test]
    fn a_buried_record_is_a_tombstone_until_it_is_drained() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.write(&record()).unwrap();
        records.bury(&record()).unwrap();
        assert_eq!((records.all().unwrap(), records.tombstones().unwrap()), (vec![], vec![record()]));
        records.drained(&record()).unwrap();
        assert_eq!(records.tombstones().unwrap(), []);
    }

    #[test]
    fn a_damaged_record_says_so_and_does_not_hide_the_others() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.write(&record()).unwrap();
        let other = Record { container_id: "c2".into(), ..record() };
        records.write(&other).unwrap();
        node::files::write_atomic(&state.path().join("claims/c1@net1"), b"{", 0o600).unwrap();
        let (id, name) = ids();
        assert!(matches!(records.read(&id, &name), Err(RecordError::Damaged { .. })));
        assert_eq!(records.all().unwrap(), [other]);
    }
}
