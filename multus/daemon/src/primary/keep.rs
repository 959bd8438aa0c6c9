//! Makes `00-multus.conf` what it must be, again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use node::files::{FileError, read_bounded, remove_if_exists, write_atomic};

use super::decide::{Remedy, Unready, Wanted, copy, decide};
use super::elect::{File, is_candidate};
use super::render::{LIST, SINGLE};
use super::settings::{Auto, Election, Master, Settings, Source};

/// The time between two rounds. A round reads a few small files; polling also notices what a watch of the folder would lose, such as a
/// mount over it.
pub const PERIOD: Duration = Duration::from_secs(1);

/// The limit for a configuration, in bytes. Real ones have a few thousand.
const MAX_CONF: u64 = 1 << 20;

/// Root only: a configuration may hold credentials.
const MODE: u32 = 0o600;

/// Keeps `00-multus.conf` in step with the default network, and on the disk whatever other programs do.
#[derive(Debug)]
pub struct Keeper {
    settings: Settings,
    /// What was right last: it stays while the default network's file is away or half written.
    last: Option<Wanted>,
    /// What was logged last. Each round would log the same otherwise.
    said: String,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The file was written.
    Written,
    /// The file was right.
    Unchanged,
    /// The default network is not known yet, and nothing was written. A file from an earlier run stays.
    Waiting,
}

/// A round failed.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A file cannot be read, written or removed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder cannot be listed.
    #[error("cannot list {path}: {source}; mount the node's folder of CNI configurations there", path = .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The default network's file cannot be renamed.
    #[error("cannot rename {path} to *.old: {source}", path = .path.display())]
    Rename {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The settings contradict the default network.
    #[error(transparent)]
    Refused(Unready),
}

impl Keeper {
    /// Keeps the file that `settings` say.
    pub fn new(settings: Settings) -> Self {
        Self { settings, last: None, said: String::new() }
    }

    /// One round: looks at the folder, and writes the file if it is not what it must be. Logs what changed.
    ///
    /// # Errors
    /// [`KeepError`], until a round has succeeded. After that a failure is logged, and the next round tries again: the node keeps the last
    /// good file.
    pub fn round(&mut self) -> Result<Round, KeepError> {
        match self.try_round() {
            Err(error) if self.last.is_some() => {
                self.say(format!("{error}; the last good file stays"));
                Ok(Round::Waiting)
            }
            result => result,
        }
    }

    /// Whether the file is in place: a round has written it, or found it right.
    pub fn is_in_place(&self) -> bool {
        self.last.is_some()
    }

    /// Removes the file, so that the runtime uses the default network's own. Pods then start without further networks.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn remove(&mut self) -> Result<(), FileError> {
        let files = match &self.settings.source {
            Source::Auto(_) => vec![SINGLE.to_owned(), LIST.to_owned()],
            // By its name: whoever removes the file need not have written it.
            Source::File(path) => {
                path.file_name().and_then(|name| name.to_str()).map(str::to_owned).into_iter().collect()
            }
        };
        self.last = None;
        files.iter().try_for_each(|file| remove_if_exists(&self.settings.conf_dir.join(file)))
    }

    fn try_round(&mut self) -> Result<Round, KeepError> {
        let unready = match self.wanted()? {
            Ok(wanted) => {
                let round = self.apply(&wanted)?;
                if round == Round::Written {
                    let path = self.settings.conf_dir.join(&wanted.written.file);
                    tracing::info!(file = %path.display(), from = wanted.from, "configuration written");
                }
                self.warn_of_files_before(&wanted)?;
                self.rename_master(&wanted)?;
                self.last = Some(wanted);
                return Ok(round);
            }
            Err(unready) => unready,
        };
        match self.last.clone() {
            Some(last) => {
                self.say(format!("{unready}; the last good file stays"));
                // Another program may have removed it meanwhile.
                self.apply(&last)
            }
            None if unready.remedy() == Remedy::Change => Err(KeepError::Refused(unready)),
            None => {
                self.say(format!("waiting: {unready}"));
                Ok(Round::Waiting)
            }
        }
    }

    fn wanted(&self) -> Result<Result<Wanted, Unready>, KeepError> {
        match &self.settings.source {
            Source::File(path) => Ok(copy(path, read_bounded(path, MAX_CONF)?)),
            Source::Auto(auto) => {
                let missing = auto.readiness.as_ref().filter(|path| self.last.is_none() && !path.exists());
                match missing {
                    Some(path) => Ok(Err(Unready::NotReady(path.clone()))),
                    None => Ok(decide(auto, &candidates(auto)?)),
                }
            }
        }
    }

    fn apply(&self, wanted: &Wanted) -> Result<Round, KeepError> {
        let path = self.settings.conf_dir.join(&wanted.written.file);
        // Compared with the disk, not with what was written last: other programs rename, empty or replace it.
        let is_right = matches!(read_bounded(&path, MAX_CONF), Ok(bytes) if bytes == wanted.written.bytes);
        if !is_right {
            write_atomic(&path, &wanted.written.bytes, MODE)?;
        }
        for file in &wanted.absent {
            // After the write: between the two the runtime finds one of them.
            let path = self.settings.conf_dir.join(file);
            if path.symlink_metadata().is_ok() {
                remove_if_exists(&path)?;
            }
        }
        Ok(if is_right { Round::Unchanged } else { Round::Written })
    }

    /// The runtime uses the first file. If that is another one, multus is never called.
    fn warn_of_files_before(&mut self, wanted: &Wanted) -> Result<(), KeepError> {
        let own = &wanted.written.file;
        let is_conf = |name: &String| [".conf", ".conflist", ".json"].iter().any(|end| name.ends_with(end));
        let mut before = names(&self.settings.conf_dir)?;
        before.retain(|name| is_conf(name) && name < own);
        match before.is_empty() {
            true => self.said.clear(),
            false => self.say(format!(
                "the runtime uses {} instead of {own}, because it sorts first: rename it in {}",
                before.join(", "),
                self.settings.conf_dir.display()
            )),
        }
        Ok(())
    }

    fn rename_master(&self, wanted: &Wanted) -> Result<(), KeepError> {
        let Source::Auto(auto) = &self.settings.source else { return Ok(()) };
        if auto.master == Master::Stays {
            return Ok(());
        }
        let path = auto.folder.join(&wanted.from);
        let old = auto.folder.join(format!("{}.old", wanted.from));
        std::fs::rename(&path, &old).map_err(|source| KeepError::Rename { path: path.clone(), source })?;
        tracing::info!(file = %path.display(), "renamed to *.old");
        Ok(())
    }

    fn say(&mut self, text: String) {
        if self.said != text {
            tracing::warn!("{text}");
            self.said = text;
        }
    }
}

/// The configuration files of the folder.
fn candidates(auto: &Auto) -> Result<Vec<File>, KeepError> {
    let mut all = names(&auto.folder)?;
    all.retain(|name| match &auto.election {
        Election::First => is_candidate(name),
        Election::Named(named) => name == named,
    });
    let read = |name: String| {
        let bytes = read_bounded(&auto.folder.join(&name), MAX_CONF).map_err(|error| error.to_string());
        File { name, bytes }
    };
    Ok(all.into_iter().map(read).collect())
}

/// The names of the files in a folder, except those that are no UTF-8.
fn names(folder: &Path) -> Result<Vec<String>, KeepError> {
    let failed = |source| KeepError::Folder { path: folder.to_owned(), source };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // A folder like multus.d is no configuration. A link is one, and may be broken: then reading it fails.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (false, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
