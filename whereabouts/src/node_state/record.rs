//! Records: one file for each attachment on this node, from before its first claim is created until after its last is deleted.
//!
//! DEL needs nothing else. A DEL that cannot reach the API server turns the record into a tombstone, whose claims a later call deletes.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::names::{ContainerId, IfName};
use node::files::{Dir, FileError};
use node::names::DnsLabel;
use serde::{Deserialize, Serialize};

use super::installation::{Installation, Writer};
use crate::crd::reservation::Reservation;
use crate::pool::held_claim::HeldClaim;
use crate::pool::request::Claimant;

/// The directory of records, tombstones and hints.
pub const STATE: &str = "/var/lib/cni/whereabouts";

/// The folder of the records.
const CLAIMS: &str = "claims";

/// The limit for a record, in bytes. A record has a few hundred for each range.
const MAX_RECORD: u64 = 1 << 20;

/// The claims of one attachment.
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
    /// The credentials that reach the claims without a daemon.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of the claims; `None` for that of the daemon, see [`super::namespace`].
    #[serde(default)]
    pub namespace: Option<DnsLabel>,
    /// The pod's UID, if the runtime passed it. Without it nobody can say later whether the pod still lives.
    #[serde(default)]
    pub pod_uid: Option<String>,
    /// Whether the list of claims is complete.
    pub stage: Stage,
    /// The known claims.
    pub claims: Vec<HeldClaim>,
}

/// Whether a record lists every claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Other claims may exist: look for them by the container label.
    Claiming,
    /// The list is complete.
    Held,
}

/// A record that was read, and whether the present installation wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The record.
    pub record: Record,
    /// Whether the present installation wrote it.
    pub writer: Writer,
}

/// The content of a record's file.
#[derive(Serialize, Deserialize)]
struct Content<R> {
    #[serde(flatten)]
    record: R,
    /// The installation of the plugin that wrote it; none in files of the daemon and of earlier releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    installation: Option<Installation>,
}

/// The records of this node.
#[derive(Clone, Debug)]
pub struct Records {
    held: Dir,
    tombstones: Dir,
    installation: Option<Installation>,
}

/// A tombstone that a call works on: flock(2) on its file. The kernel unlocks it when the call ends, also when it is killed.
#[derive(Debug)]
pub struct TombstoneLock(#[allow(dead_code, reason = "held for its lock")] File);

/// A record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A file operation failed.
    #[error("record of the attachment: {0}")]
    File(#[from] FileError),
    /// The file is not a record.
    #[error("record {path} is damaged: {source}; DEL finds the claims by their labels instead")]
    Damaged {
        /// The file.
        path: String,
        /// The parse error.
        source: serde_json::Error,
    },
    /// The record has no JSON form, as with a kubeconfig path that is not UTF-8.
    #[error("cannot write record {path}: {source}; check that the path of the kubeconfig is UTF-8")]
    Encode {
        /// The file.
        path: String,
        /// What has no JSON form.
        source: serde_json::Error,
    },
}

impl Records {
    /// Opens the records below the directory `state`, which is created if necessary.
    pub fn open(state: &Path) -> Result<Self, RecordError> {
        let (held, tombstones) = (Dir::open(state.join(CLAIMS))?, Dir::open(state.join("tombstones"))?);
        Ok(Records { held, tombstones, installation: None })
    }

    /// The same, for this installation of the plugin: it marks what it writes.
    pub fn of_installation(self, installation: Option<Installation>) -> Self {
        Records { installation, ..self }
    }

    /// Removes temporary files that a crash in the middle of a write left more than an hour ago. A write takes milliseconds.
    pub fn remove_leftovers(&self, now: SystemTime) -> Result<(), RecordError> {
        const AGE: Duration = Duration::from_secs(3600);
        self.held.remove_leftovers(AGE, now)?;
        Ok(self.tombstones.remove_leftovers(AGE, now)?)
    }

    /// Writes the record of an attachment and waits for the disk. The caller must not create a claim if this fails: DEL would not find it.
    pub fn write(&self, record: &Record) -> Result<(), RecordError> {
        self.write_to(&self.held, record)
    }

    /// As [`Records::write`], without waiting for the disk. After a crash of the machine the record may have its old content, with stage
    /// [`Stage::Claiming`]: DEL then looks for other claims by label.
    pub fn update(&self, record: &Record) -> Result<(), RecordError> {
        let bytes = self.encoded(&self.held, record)?;
        Ok(node::files::replace(&self.held.path().join(record.file_name()), &bytes)?)
    }

    /// The record of an attachment, or `None` if there is none.
    pub fn read(&self, container_id: &ContainerId, if_name: &IfName) -> Result<Option<Record>, RecordError> {
        Ok(self.find(container_id, if_name)?.map(|found| found.record))
    }

    /// As [`Records::read`], and whether the present installation wrote the record.
    pub fn find(&self, container_id: &ContainerId, if_name: &IfName) -> Result<Option<Found>, RecordError> {
        let content = read(&self.held, &file_name(container_id.as_str(), if_name.as_str()))?;
        Ok(content.map(|Content { record, installation }| {
            let is_own = installation.is_some() && installation == self.installation;
            Found { record, writer: if is_own { Writer::ThisInstallation } else { Writer::Unknown } }
        }))
    }

    /// Whether the attachment has a record. None after a DEL has begun: [`Records::begin_release`].
    pub fn has(&self, record: &Record) -> bool {
        self.held.path().join(record.file_name()).exists()
    }

    /// Begins the release of an attachment: its record becomes a tombstone, before the claims are looked for. A plugin whose caller was killed may
    /// still claim an address then. Either its create comes first, and the release finds the claim, or it sees afterwards that the record is gone
    /// and releases the claim itself.
    ///
    /// While the caller keeps what this returns, no other call drains the tombstone. `None` if another one does so already.
    pub fn begin_release(&self, record: &Record) -> Result<Option<TombstoneLock>, RecordError> {
        self.held.move_to(&record.file_name(), &self.tombstones)?;
        Ok(self.lock_tombstone(record))
    }

    /// Takes a tombstone for this call. `None` if another call works on it, or has finished.
    pub fn lock_tombstone(&self, record: &Record) -> Option<TombstoneLock> {
        let file = File::open(self.tombstones.path().join(record.file_name())).ok()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            // On a file system without locks two calls may drain the same tombstone, which costs requests and harms nothing.
            Ok(()) | Err(TryLockError::Error(_)) => Some(TombstoneLock(file)),
        }
    }

    /// Ends the release of an attachment.
    pub fn end_release(&self, record: &Record) -> Result<(), RecordError> {
        self.remove_tombstone(record)?;
        self.remove(&record.container_id, &record.if_name)
    }

    /// Removes the record of an attachment. A record that does not exist is not an error.
    pub fn remove(&self, container_id: &str, if_name: &str) -> Result<(), RecordError> {
        Ok(self.held.remove(&file_name(container_id, if_name))?)
    }

    /// The records of all attachments, without damaged files.
    pub fn all(&self) -> Result<Vec<Record>, RecordError> {
        all(&self.held)
    }

    /// Turns a record into a tombstone: a later call deletes its claims.
    pub fn bury(&self, record: &Record) -> Result<(), RecordError> {
        // In this order: a crash in between leaves both, and to delete the claims twice is harmless.
        self.write_to(&self.tombstones, record)?;
        self.remove(&record.container_id, &record.if_name)
    }

    /// The tombstones that no call works on, without damaged files.
    pub fn idle_tombstones(&self) -> Result<Vec<Record>, RecordError> {
        let mut all = self.tombstones()?;
        all.retain(|tombstone| self.lock_tombstone(tombstone).is_some());
        Ok(all)
    }

    /// All tombstones, without damaged files.
    pub fn tombstones(&self) -> Result<Vec<Record>, RecordError> {
        all(&self.tombstones)
    }

    /// The tombstone of this attachment, or of an earlier one of the same interface.
    pub fn tombstone(&self, record: &Record) -> Result<Option<Record>, RecordError> {
        Ok(read(&self.tombstones, &record.file_name())?.map(|content| content.record))
    }

    /// Removes a tombstone, after its claims were deleted.
    pub fn remove_tombstone(&self, record: &Record) -> Result<(), RecordError> {
        Ok(self.tombstones.remove(&record.file_name())?)
    }

    fn encoded(&self, dir: &Dir, record: &Record) -> Result<Vec<u8>, RecordError> {
        let path = || dir.path().join(record.file_name()).display().to_string();
        let content = Content { record, installation: self.installation.clone() };
        serde_json::to_vec(&content).map_err(|source| RecordError::Encode { path: path(), source })
    }

    fn write_to(&self, dir: &Dir, record: &Record) -> Result<(), RecordError> {
        Ok(dir.write(&record.file_name(), &self.encoded(dir, record)?)?)
    }
}

impl Record {
    /// The record of claims that a request made and gives back. It is never written.
    pub(crate) fn to_give_back(claimant: &Claimant, claims: Vec<HeldClaim>) -> Self {
        let Claimant { container_id, if_name, podref, .. } = claimant.clone();
        let (network, stage) = (String::new(), Stage::Held);
        Record {
            container_id,
            if_name,
            podref,
            network,
            kubeconfig: None,
            namespace: None,
            pod_uid: None,
            stage,
            claims,
        }
    }

    /// Whether a claim belongs to this attachment. The container decides, never the pod alone: a late DEL of an old sandbox must not release
    /// the address of the pod's new sandbox.
    pub fn owns(&self, claim: &Reservation) -> bool {
        claim.container() == self.container_id
            && (claim.if_name() == self.if_name || claim.if_name().is_empty())
    }

    fn file_name(&self) -> String {
        file_name(&self.container_id, &self.if_name)
    }
}

/// The file of an attachment's record below the directory `state`.
pub(super) fn file_of(state: &Path, container_id: &str, if_name: &str) -> PathBuf {
    state.join(CLAIMS).join(file_name(container_id, if_name))
}

fn file_name(container_id: &str, if_name: &str) -> String {
    format!("{container_id}@{if_name}")
}

fn read(dir: &Dir, name: &str) -> Result<Option<Content<Record>>, RecordError> {
    let Some(bytes) = dir.read(name, MAX_RECORD)? else { return Ok(None) };
    let path = || dir.path().join(name).display().to_string();
    serde_json::from_slice(&bytes).map(Some).map_err(|source| RecordError::Damaged { path: path(), source })
}

/// The readable records of a directory. A damaged one must not keep the others from being released.
fn all(dir: &Dir) -> Result<Vec<Record>, RecordError> {
    let names = dir.names()?;
    Ok(names.iter().filter_map(|name| Some(read(dir, name).ok()??.record)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use node::names::DnsSubdomain;
    use std::os::unix::ffi::OsStrExt as _;

    fn record() -> Record {
        Record {
            container_id: "c1".into(),
            if_name: "net1".into(),
            podref: "a/b".into(),
            network: "n".into(),
            kubeconfig: Some("/k".into()),
            namespace: None,
            pod_uid: Some("u".into()),
            stage: Stage::Held,
            claims: vec![HeldClaim {
                name: DnsSubdomain::new("10.0.0.1").unwrap(),
                resource_version: "7".into(),
                second: None,
                entry: None,
                pool: "10.0.0.0-8".into(),
                address: "10.0.0.1/8".parse().unwrap(),
            }],
        }
    }

    fn ids() -> (ContainerId, IfName) {
        (ContainerId::parse("c1").unwrap(), IfName::parse("net1").unwrap())
    }

    #[test]
    fn only_old_temporary_files_are_removed() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.write(&record()).unwrap();
        let leftover = state.path().join("claims/.tmp-crashed");
        std::fs::File::create(&leftover).unwrap();
        let now = SystemTime::now();
        records.remove_leftovers(now).unwrap();
        assert!(leftover.exists(), "a write may be under way");
        records.remove_leftovers(now + Duration::from_secs(3700)).unwrap();
        assert!(!leftover.exists());
        assert_eq!(records.all().unwrap(), [record()]);
    }

    #[test]
    fn a_record_is_read_until_it_is_removed() {
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
    fn a_record_of_another_installation_or_of_none_has_an_unknown_writer() {
        let state = tempfile::tempdir().unwrap();
        let of = |name: Option<&str>| {
            Records::open(state.path()).unwrap().of_installation(name.map(Installation::named))
        };
        let (id, name) = ids();
        for (writer, reader, expected) in [
            (Some("one"), Some("one"), Writer::ThisInstallation),
            (Some("one"), Some("two"), Writer::Unknown),
            (Some("one"), None, Writer::Unknown),
            (None, Some("one"), Writer::Unknown),
            (None, None, Writer::Unknown),
        ] {
            of(writer).write(&record()).unwrap();
            let found = of(reader).find(&id, &name).unwrap().unwrap();
            assert_eq!(found, Found { record: record(), writer: expected }, "{writer:?} {reader:?}");
            of(writer).update(&record()).unwrap();
            assert_eq!(of(reader).find(&id, &name).unwrap().unwrap().writer, expected);
        }
    }

    #[test]
    fn a_release_takes_the_record_away_before_it_looks_for_claims() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.begin_release(&record()).unwrap();
        records.write(&record()).unwrap();
        assert!(records.has(&record()));
        records.begin_release(&record()).unwrap();
        assert!(!records.has(&record()));
        // If the release dies here, a later call finds the claims.
        assert_eq!((records.all().unwrap(), records.tombstones().unwrap()), (vec![], vec![record()]));
        records.end_release(&record()).unwrap();
        assert_eq!((records.all().unwrap(), records.tombstones().unwrap()), (vec![], vec![]));
    }

    #[test]
    fn a_tombstone_that_a_call_works_on_is_left_to_it() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.write(&record()).unwrap();
        let release = records.begin_release(&record()).unwrap();
        assert!(release.is_some());
        assert!(records.lock_tombstone(&record()).is_none());
        assert_eq!((records.tombstones().unwrap().len(), records.idle_tombstones().unwrap()), (1, vec![]));
        // The call ends without its work done.
        drop(release);
        assert_eq!(records.idle_tombstones().unwrap(), [record()]);
        records.remove_tombstone(&record()).unwrap();
        assert!(records.lock_tombstone(&record()).is_none(), "another call has drained it");
    }

    #[test]
    fn a_buried_record_is_a_tombstone_until_it_is_removed() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        records.write(&record()).unwrap();
        records.bury(&record()).unwrap();
        assert_eq!((records.all().unwrap(), records.tombstones().unwrap()), (vec![], vec![record()]));
        records.remove_tombstone(&record()).unwrap();
        assert_eq!(records.tombstones().unwrap(), []);
    }

    #[test]
    fn a_record_without_a_json_form_is_an_error_and_no_file_is_written() {
        let state = tempfile::tempdir().unwrap();
        let records = Records::open(state.path()).unwrap();
        let kubeconfig = std::ffi::OsStr::from_bytes(b"/etc/\xff").into();
        let record = Record { kubeconfig: Some(kubeconfig), ..record() };
        for result in [records.write(&record), records.update(&record), records.bury(&record)] {
            let error = result.unwrap_err();
            assert!(matches!(error, RecordError::Encode { .. }), "{error}");
            assert!(error.to_string().contains("c1@net1"), "{error}");
        }
        assert_eq!((records.all().unwrap(), records.tombstones().unwrap()), (vec![], vec![]));
    }

    #[test]
    fn a_damaged_record_is_an_error_and_does_not_hide_the_others() {
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
