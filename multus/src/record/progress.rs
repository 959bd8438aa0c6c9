//! How far the ADD of a sandbox came, for each plugin: the file `<cniDir>/multus-rs/progress/<container id>`, beside the record. It also
//! notes the first DEL. One JSON object a line; each line is one appending write. The lines are not flushed to the disk: they count only
//! in the boot in which they were written, and without them a plugin counts as "maybe begun".
//!
//! Whoever changes the networks of a sandbox (ADD, DEL, or a change of a running pod) holds a lock on this file (flock(2)), which ends with its
//! process. DEL notes itself before it waits for the lock, and a change that sees the note starts no further plugin.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::chain::AddObserver;
use cni::names::{ContainerId, IfName};
use cni::{CniError, Code};
use node::deadline::Deadline;
use node::files::{Dir, FileError};
use serde::{Deserialize, Serialize};

use super::moment::Moment;

/// The most characters of a plugin's message that are kept.
const MAX_WORDS: usize = 4096;

/// The most bytes of a file that are read, from its end: a change of a running pod that fails adds 4 KB, and is tried again every five minutes. A
/// longer file does not say how far each plugin came, but when the first DEL was: the two minutes of DEL must pass.
const MAX_READ: i64 = 16 << 20;

/// The time between two attempts to get the lock.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// How long an ADD waits for the lock of its own new file. Nobody holds it longer than it takes to read the file.
const START_LIMIT: Duration = Duration::from_secs(5);

/// How far the ADD of one plugin came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// Nobody knows: it may have begun.
    Unknown,
    /// It was never started.
    NotBegun,
    /// It was started, and its end is not known.
    Begun,
    /// It ended with this error object.
    Refused(Words),
    /// It succeeded.
    Done,
    /// It was deleted since.
    Deleted,
}

/// What a plugin says when it fails, without the prefixes of its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    /// The code.
    pub(crate) code: Code,
    /// The message, cut after 4096 characters.
    pub(crate) msg: String,
}

impl From<&CniError> for Words {
    fn from(error: &CniError) -> Self {
        Words { code: error.code, msg: error.msg.chars().take(MAX_WORDS).collect() }
    }
}

/// The content of a progress file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The plugins that were started, by interface and place in the list. `None` if the file is missing, torn, or of another boot.
    plugins: Option<BTreeMap<(String, usize), Reached>>,
    /// The time of the first DEL since boot, if it was in this boot.
    pub(crate) first_del: Option<Duration>,
    /// What was detached from the running pod, oldest first.
    pub(crate) detached: Vec<Detached>,
    /// The interfaces of networks whose removal from the running pod began and did not end.
    pub(crate) detaching: BTreeSet<String>,
}

/// An attachment that was removed from a running pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detached {
    /// The label of the network.
    pub(crate) network: String,
    /// Its interface.
    pub(crate) if_name: String,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "step")]
enum Line {
    /// The first line: ADD starts.
    Add {
        boot_id: String,
    },
    Begun {
        interface: String,
        plugin: usize,
    },
    Refused {
        interface: String,
        plugin: usize,
        code: u32,
        msg: String,
    },
    Done {
        interface: String,
        plugin: usize,
    },
    /// The network is about to be removed from the running pod.
    Detaching {
        interface: String,
    },
    /// The network was removed from the running pod.
    Detached {
        interface: String,
        network: String,
    },
    /// The runtime's first DEL. It has a boot id of its own, because the ADD may have been in an earlier boot.
    FirstDel {
        boot_id: String,
        since_boot_ms: u64,
    },
}

impl Progress {
    /// Reads the progress of a sandbox. A file that cannot be read is as none.
    pub(crate) fn read(cni_dir: &Path, container_id: &ContainerId, now: &Moment) -> Progress {
        match read_end(&file(cni_dir, container_id)) {
            Ok(bytes) => Progress::parse(&String::from_utf8_lossy(&bytes), now),
            Err(_) => Progress::default(),
        }
    }

    /// Reads the lines of a file.
    fn parse(text: &str, now: &Moment) -> Progress {
        let is_now = |boot_id: &str| !boot_id.is_empty() && boot_id == now.boot_id;
        let (mut plugins, mut first_del, mut detached) = (None, None, Vec::new());
        let mut detaching = BTreeSet::new();
        let mut is_whole = true;
        for (at, line) in text.lines().filter(|line| !line.is_empty()).enumerate() {
            let known: Option<&mut BTreeMap<_, _>> = plugins.as_mut();
            match (serde_json::from_str(line), known) {
                (Ok(Line::Add { boot_id }), None) if at == 0 && is_now(&boot_id) => {
                    plugins = Some(BTreeMap::new());
                }
                (Ok(Line::FirstDel { boot_id, since_boot_ms }), _) => {
                    let first = is_now(&boot_id).then(|| Duration::from_millis(since_boot_ms));
                    first_del = first_del.or(first);
                }
                (Ok(Line::Begun { interface, plugin }), Some(known)) => {
                    known.insert((interface, plugin), Reached::Begun);
                }
                (Ok(Line::Refused { interface, plugin, code, msg }), Some(known)) => {
                    let words = Words { code: Code::from_number(code), msg };
                    known.insert((interface, plugin), Reached::Refused(words));
                }
                (Ok(Line::Done { interface, plugin }), Some(known)) => {
                    known.insert((interface, plugin), Reached::Done);
                }
                (Ok(Line::Detaching { interface }), Some(_)) => {
                    detaching.insert(interface);
                }
                (Ok(Line::Detached { interface, network }), Some(known)) => {
                    detaching.remove(&interface);
                    known.retain(|(of, _), _| *of != interface);
                    detached.push(Detached { network, if_name: interface });
                }
                // A torn line, or one of another boot.
                _ => is_whole = false,
            }
        }
        Progress { plugins: plugins.filter(|_| is_whole), first_del, detached, detaching }
    }

    /// Whether the file is whole and of this boot.
    pub(crate) fn is_known(&self) -> bool {
        self.plugins.is_some()
    }

    /// How far the first `plugins` plugins of the network on this interface came.
    pub(crate) fn of_network(&self, if_name: &IfName, plugins: usize) -> Vec<Reached> {
        let reached = |plugin| match &self.plugins {
            None => Reached::Unknown,
            Some(known) => known.get(&(if_name.to_string(), plugin)).cloned().unwrap_or(Reached::NotBegun),
        };
        (0..plugins).map(reached).collect()
    }
}

/// The last [`MAX_READ`] bytes of a file.
fn read_end(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    // Fails for a shorter file, which is read from its beginning.
    let _ = file.seek(SeekFrom::End(-MAX_READ));
    let mut bytes = Vec::new();
    file.take(MAX_READ.unsigned_abs()).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The progress file of a running ADD, or of a change of a running pod, with its lock.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    /// The bytes that the file has without those of others.
    length: Cell<u64>,
}

/// What a change of a running pod finds.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// The sandbox may be changed.
    Held(Journal),
    /// An ADD, a DEL or another change runs.
    Busy,
    /// There is no file, it is of an earlier boot, or a DEL has begun.
    Over,
}

/// The lock of a DEL.
#[derive(Debug)]
pub(crate) struct DelLock(#[allow(dead_code)] File);

/// A DEL does not get the lock.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// The file cannot be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
    /// Another process changes the sandbox.
    #[error("another process changes the networks of the sandbox at this moment")]
    Busy,
}

impl Journal {
    /// Begins the file of a sandbox, in place of an earlier one.
    pub(crate) fn start(
        cni_dir: &Path,
        container_id: &ContainerId,
        now: &Moment,
    ) -> Result<Journal, FileError> {
        remove(cni_dir, container_id)?;
        let path = Dir::open(folder(cni_dir))?.path().join(container_id.as_str());
        let opened = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|source| FileError::Io { action: "create", path: path.clone(), source })?;
        // Whoever looks at a new file sees no finished ADD in it, and lets go.
        if !wait_for_lock(&file, &path, Deadline::after(START_LIMIT))? {
            let source = ErrorKind::WouldBlock.into();
            return Err(FileError::Io { action: "lock", path, source });
        }
        let journal = Journal { path, file, length: Cell::new(0) };
        journal.append(&Line::Add { boot_id: now.boot_id.clone() })?;
        Ok(journal)
    }

    /// Continues the file of a sandbox whose ADD has ended, to change its networks. Does not wait.
    pub(crate) fn resume(
        cni_dir: &Path,
        container_id: &ContainerId,
        now: &Moment,
    ) -> Result<Resumed, FileError> {
        let path = file(cni_dir, container_id);
        let failed = |action| {
            let path = path.clone();
            move |source| FileError::Io { action, path, source }
        };
        let file = match OpenOptions::new().append(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Resumed::Over),
            Err(source) => return Err(failed("open")(source)),
        };
        if !try_lock(&file, &path)? {
            return Ok(Resumed::Busy);
        }
        // Before it is read: what a DEL appends later counts as foreign.
        let length = file.metadata().map_err(failed("look at"))?.len();
        let progress = Progress::read(cni_dir, container_id, now);
        let journal = Journal { path, file, length: Cell::new(length) };
        if !progress.is_known() || progress.first_del.is_some() || journal.is_over() {
            return Ok(Resumed::Over);
        }
        Ok(Resumed::Held(journal))
    }

    /// Whether a DEL of the sandbox has begun, or has ended.
    pub(crate) fn is_over(&self) -> bool {
        let found = self.file.metadata();
        found.map_or(true, |found| found.nlink() == 0 || found.len() > self.length.get())
    }

    /// Notes that a network is about to be removed from the running pod: from now on it counts as half there, whatever its cached result says.
    pub(crate) fn detaching(&self, if_name: &IfName) -> Result<(), FileError> {
        self.append(&Line::Detaching { interface: if_name.to_string() })
    }

    /// Notes that a network was removed from the running pod.
    pub(crate) fn detached(&self, network: &str, if_name: &IfName) -> Result<(), FileError> {
        self.append(&Line::Detached { interface: if_name.to_string(), network: network.to_owned() })
    }

    /// The observer of the network on this interface.
    pub(crate) fn of_network<'a>(&'a self, if_name: &'a IfName) -> NetworkJournal<'a> {
        NetworkJournal { journal: self, if_name }
    }

    fn append(&self, line: &Line) -> Result<(), FileError> {
        let written = append(&self.file, &self.path, line)?;
        self.length.set(self.length.get().saturating_add(written));
        Ok(())
    }
}

/// Begins the DEL of a sandbox: notes it, unless an earlier one did, and waits for the lock. `None` without a progress file: then no change of
/// the sandbox can run.
pub(crate) fn lock_for_del(
    cni_dir: &Path,
    container_id: &ContainerId,
    now: &Moment,
    deadline: Deadline,
) -> Result<Option<DelLock>, LockError> {
    let path = file(cni_dir, container_id);
    let file = match OpenOptions::new().append(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::Io { action: "open", path, source }.into()),
    };
    if Progress::read(cni_dir, container_id, now).first_del.is_none() {
        append(&file, &path, &first_del(now))?;
    }
    if wait_for_lock(&file, &path, deadline)? { Ok(Some(DelLock(file))) } else { Err(LockError::Busy) }
}

/// Waits for the lock of a file. False if another process has it at the deadline. A blocking flock(2) would have no deadline.
fn wait_for_lock(file: &File, path: &Path, deadline: Deadline) -> Result<bool, FileError> {
    loop {
        if try_lock(file, path)? {
            return Ok(true);
        }
        if deadline.expired() {
            return Ok(false);
        }
        std::thread::sleep(LOCK_POLL.min(deadline.remaining()));
    }
}

fn try_lock(file: &File, path: &Path) -> Result<bool, FileError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => {
            Err(FileError::Io { action: "lock", path: path.to_owned(), source })
        }
    }
}

/// Writes the steps of one network's ADD.
#[derive(Debug)]
pub(crate) struct NetworkJournal<'a> {
    journal: &'a Journal,
    if_name: &'a IfName,
}

impl AddObserver for NetworkJournal<'_> {
    fn begins(&self, plugin: usize) -> Result<(), CniError> {
        let failed = |e: &dyn std::fmt::Display| CniError::new(Code::Io, format!("progress of the ADD: {e}"));
        // A plugin that runs unrecorded would get no DEL.
        let begun = Line::Begun { interface: self.if_name.to_string(), plugin };
        self.journal.append(&begun).map_err(|e| failed(&e))?;
        // A runtime that gave up on this ADD has sent DEL, which noted itself in the file, or has removed it. What the plugin makes would stay
        // for ever.
        if self.journal.is_over() {
            let msg = "the sandbox was deleted during its ADD";
            return Err(CniError::new(Code::TryAgainLater, msg));
        }
        Ok(())
    }

    fn refused(&self, plugin: usize, error: &CniError) {
        let Words { code, msg } = error.into();
        let interface = self.if_name.to_string();
        // Without this line, and without the next one, the plugin counts as begun.
        let _ = self.journal.append(&Line::Refused { interface, plugin, code: code.number(), msg });
    }

    fn done(&self, plugin: usize) {
        let _ = self.journal.append(&Line::Done { interface: self.if_name.to_string(), plugin });
    }
}

/// Notes the first DEL of a sandbox.
pub(crate) fn note_first_del(
    cni_dir: &Path,
    container_id: &ContainerId,
    now: &Moment,
) -> Result<(), FileError> {
    let path = Dir::open(folder(cni_dir))?.path().join(container_id.as_str());
    let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    let file = opened.map_err(|source| FileError::Io { action: "open", path: path.clone(), source })?;
    append(&file, &path, &first_del(now)).map(drop)
}

fn first_del(now: &Moment) -> Line {
    let since_boot_ms = u64::try_from(now.since_boot.as_millis()).unwrap_or(u64::MAX);
    Line::FirstDel { boot_id: now.boot_id.clone(), since_boot_ms }
}

/// Removes the progress of a sandbox, if there is one. Not flushed to the disk: after a power cut the file is of another boot.
pub(crate) fn remove(cni_dir: &Path, container_id: &ContainerId) -> Result<(), FileError> {
    let path = file(cni_dir, container_id);
    match std::fs::remove_file(&path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(FileError::Io { action: "remove", path, source })
        }
        _ => Ok(()),
    }
}

/// The sandboxes with a progress file that nobody has written to for `age`.
pub(crate) fn older_than(cni_dir: &Path, age: Duration, now: SystemTime) -> Vec<ContainerId> {
    let entries = std::fs::read_dir(folder(cni_dir)).into_iter().flatten().flatten();
    let old = |entry: &std::fs::DirEntry| {
        let modified = entry.metadata().and_then(|found| found.modified());
        modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|idle| idle >= age))
    };
    entries.filter(old).filter_map(|entry| ContainerId::parse(entry.file_name().to_str()?).ok()).collect()
}

/// Appends a line. Returns the number of bytes.
fn append(mut file: &File, path: &Path, line: &Line) -> Result<u64, FileError> {
    let failed =
        |source: std::io::Error| FileError::Io { action: "append to", path: path.to_owned(), source };
    let text = serde_json::to_string(line).map_err(|e| failed(e.into()))?;
    // The newline in front separates it from a torn line.
    let line = format!("\n{text}\n");
    file.write_all(line.as_bytes()).map_err(failed)?;
    Ok(u64::try_from(line.len()).unwrap_or(u64::MAX))
}

/// A folder below `cniDir`: upstream takes every file of `cniDir` itself for a record.
fn folder(cni_dir: &Path) -> PathBuf {
    cni_dir.join("multus-rs/progress")
}

fn file(cni_dir: &Path, container_id: &ContainerId) -> PathBuf {
    folder(cni_dir).join(container_id.as_str())
}

#[cfg(test)]
mod tests;
