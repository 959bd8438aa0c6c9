//! How far the ADD of a sandbox came, for each plugin: the file `<cniDir>/multus-rs/progress/<container id>`, beside the record. It also
//! notes the first DEL. One JSON object a line; each line is one appending write. The lines are not flushed to the disk: they count only
//! in the boot in which they were written, and without them a plugin counts as "maybe begun".

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::chain::AddObserver;
use cni::names::{ContainerId, IfName};
use cni::{CniError, Code};
use node::files::{Dir, FileError, read_bounded};
use serde::{Deserialize, Serialize};

use super::error::MAX_RECORD;
use super::moment::Moment;

/// The most characters of a plugin's message that are kept.
const MAX_WORDS: usize = 4096;

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
    /// The runtime's first DEL. It has a boot id of its own, because the ADD may have been in an earlier boot.
    FirstDel {
        boot_id: String,
        since_boot_ms: u64,
    },
}

impl Progress {
    /// Reads the progress of a sandbox. A file that cannot be read is as none.
    pub(crate) fn read(cni_dir: &Path, container_id: &ContainerId, now: &Moment) -> Progress {
        match read_bounded(&file(cni_dir, container_id), MAX_RECORD as u64) {
            Ok(bytes) => Progress::parse(&String::from_utf8_lossy(&bytes), now),
            Err(_) => Progress::default(),
        }
    }

    /// Reads the lines of a file.
    fn parse(text: &str, now: &Moment) -> Progress {
        let is_now = |boot_id: &str| !boot_id.is_empty() && boot_id == now.boot_id;
        let (mut plugins, mut first_del) = (None, None);
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
                // A torn line, or one of another boot.
                _ => is_whole = false,
            }
        }
        Progress { plugins: plugins.filter(|_| is_whole), first_del }
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

/// The progress file of a running ADD.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
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
        let journal = Journal { path, file };
        journal.append(&Line::Add { boot_id: now.boot_id.clone() })?;
        Ok(journal)
    }

    /// The observer of the network on this interface.
    pub(crate) fn of_network<'a>(&'a self, if_name: &'a IfName) -> NetworkJournal<'a> {
        NetworkJournal { journal: self, if_name }
    }

    fn append(&self, line: &Line) -> Result<(), FileError> {
        append(&self.file, &self.path, line)
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
        // A runtime that gave up on this ADD has sent DEL, which removed the file. What the plugin makes would stay for ever.
        if self.journal.file.metadata().map_err(|e| failed(&e))?.nlink() == 0 {
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
    let since_boot_ms = u64::try_from(now.since_boot.as_millis()).unwrap_or(u64::MAX);
    append(&file, &path, &Line::FirstDel { boot_id: now.boot_id.clone(), since_boot_ms })
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

fn append(mut file: &File, path: &Path, line: &Line) -> Result<(), FileError> {
    let failed =
        |source: std::io::Error| FileError::Io { action: "append to", path: path.to_owned(), source };
    let text = serde_json::to_string(line).map_err(|e| failed(e.into()))?;
    // The newline in front separates it from a torn line.
    file.write_all(format!("\n{text}\n").as_bytes()).map_err(failed)
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
