//! The log of one call: standard error, and the file of the configuration.
//!
//! A line of the file has the form of upstream's: `<time> [<level>] <text>`, with the time of RFC 3339, in UTC. A text has one line.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::jiff::Timestamp;
use node::files::{Appended, COMPRESS_AFTER, Compression, LogFile};
use node::text::printable;

use crate::conf::{LogLevel, LogSettings, Stderr};

/// The most characters of a line's text. The result of a network with all its addresses has a quarter.
const MAX_TEXT: usize = 16_384;

/// The log of this process, which serves one call.
static LOG: OnceLock<Log> = OnceLock::new();

/// A log.
#[derive(Debug, Default)]
struct Log {
    settings: LogSettings,
    /// Whether the file could not be written. It is tried once.
    is_broken: AtomicBool,
    /// Whether this process rotated the file.
    has_rotated: AtomicBool,
}

/// The file of the log whose rotated files are to be compressed, because this process has rotated it since the last call.
pub(crate) fn rotated() -> Option<LogFile> {
    let log = LOG.get()?;
    let file = log.settings.file.as_ref()?;
    let is_due =
        log.has_rotated.swap(false, Ordering::Relaxed) && file.rotation.compression == Compression::Gzip;
    is_due.then(|| file.clone())
}

/// Compresses the rotated files of a log. Takes some seconds. A failure is in the log.
pub(crate) fn compress(file: &LogFile) {
    std::thread::sleep(COMPRESS_AFTER);
    if let Err(error) = file.compress_backups() {
        warn(&format!("logOptions.compress: {error}"));
    }
}

/// From now on, this process logs as `settings` say. Later calls have no effect.
pub(crate) fn start(settings: &LogSettings) {
    let _ = LOG.set(Log { settings: settings.clone(), ..Log::default() });
}

/// Logs a failure that is no reason to fail, at the level `error`.
pub(crate) fn warn(what: &dyn Display) {
    write(LogLevel::Error, || what.to_string());
}

/// Logs a change, at the level `verbose`. `text` is called only if it is logged.
pub(crate) fn verbose(text: impl FnOnce() -> String) {
    write(LogLevel::Verbose, text);
}

/// Logs a detail, at the level `debug`. `text` is called only if it is logged.
pub(crate) fn debug(text: impl FnOnce() -> String) {
    write(LogLevel::Debug, text);
}

/// Logs an error that the call returns, at the level `error`. Not to standard error: the runtime logs the answer.
pub(crate) fn answered(error: &dyn Display) {
    if let Some(log) = LOG.get() {
        log.append(LogLevel::Error, &error.to_string(), node::clock::now(), &mut std::io::stderr());
    }
}

fn write(level: LogLevel, text: impl FnOnce() -> String) {
    let without = Log::default();
    let log = LOG.get().unwrap_or(&without);
    log.write(level, text, node::clock::now(), &mut std::io::stderr());
}

impl Log {
    fn write(&self, level: LogLevel, text: impl FnOnce() -> String, now: Timestamp, stderr: &mut dyn Write) {
        if level > self.settings.level {
            return;
        }
        let text = text();
        let in_file = self.append(level, &text, now, stderr);
        let to_stderr = level == LogLevel::Error && (!in_file || self.settings.stderr == Stderr::Also);
        if to_stderr {
            // If stderr is closed, there is no other place for it.
            let _ = writeln!(stderr, "multus: {text}");
        }
    }

    /// Appends to the file. Whether the line is in it.
    fn append(&self, level: LogLevel, text: &str, now: Timestamp, stderr: &mut dyn Write) -> bool {
        let Some(file) = &self.settings.file else { return false };
        if self.is_broken.load(Ordering::Relaxed) {
            return false;
        }
        let appended = file.append(&line(level, text, now), now);
        if matches!(appended, Ok(Appended::ToNewFile)) {
            self.has_rotated.store(true, Ordering::Relaxed);
        }
        if let Err(error) = &appended {
            self.is_broken.store(true, Ordering::Relaxed);
            let _ = writeln!(stderr, "multus: key \"logFile\": {error}");
        }
        appended.is_ok()
    }
}

fn line(level: LogLevel, text: &str, now: Timestamp) -> String {
    let level = match level {
        LogLevel::Error => "error",
        LogLevel::Verbose => "verbose",
        LogLevel::Debug => "debug",
    };
    format!("{} [{level}] {}\n", now.strftime("%Y-%m-%dT%H:%M:%SZ"), printable(text, MAX_TEXT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use node::files::Rotation;

    use super::*;

    fn log(path: &Path, level: LogLevel, stderr: Stderr) -> Log {
        let rotation =
            Rotation { max_bytes: 1 << 20, backups: None, age: None, compression: Compression::Gzip };
        let file = Some(LogFile { path: path.to_owned(), rotation });
        Log { settings: LogSettings { file, level, stderr }, ..Log::default() }
    }

    /// Logs a line of each level; what stderr gets.
    fn write_all(log: &Log) -> String {
        let (mut stderr, now) = (Vec::new(), "2026-11-28T23:10:00.7Z".parse().unwrap());
        for level in [LogLevel::Error, LogLevel::Verbose, LogLevel::Debug] {
            log.write(level, || format!("{level:?}\nforged"), now, &mut stderr);
        }
        String::from_utf8(stderr).unwrap()
    }

    #[test]
    fn a_line_has_time_and_level_and_no_line_end_in_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("multus.log");
        write_all(&log(&path, LogLevel::Verbose, Stderr::Also));
        let want =
            "2026-11-28T23:10:00Z [error] Error\\nforged\n2026-11-28T23:10:00Z [verbose] Verbose\\nforged\n";
        assert_eq!(std::fs::read_to_string(path).unwrap(), want);
    }

    #[test]
    fn the_level_decides_about_the_file_and_standard_error_has_errors_only() {
        let folder = tempfile::tempdir().unwrap();
        for (level, lines) in [(LogLevel::Error, 1), (LogLevel::Verbose, 2), (LogLevel::Debug, 3)] {
            let path = folder.path().join(format!("{level:?}"));
            assert_eq!(write_all(&log(&path, level, Stderr::Also)), "multus: Error\nforged\n");
            assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), lines);
        }
        let path = folder.path().join("instead");
        assert_eq!(write_all(&log(&path, LogLevel::Error, Stderr::Instead)), "");
        assert_eq!(write_all(&Log::default()), "multus: Error\nforged\n");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_once_and_the_lines_go_to_standard_error() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path(), LogLevel::Debug, Stderr::Instead);
        let first = write_all(&log);
        assert!(
            first.starts_with("multus: key \"logFile\": ") && first.ends_with("multus: Error\nforged\n"),
            "{first}"
        );
        assert_eq!(write_all(&log), "multus: Error\nforged\n");
    }
}
