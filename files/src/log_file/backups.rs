//! The names of rotated log files, and which of them are removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::rotation::Rotation;

/// The time in the name of a rotated file, in UTC.
const FORMAT: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// What lumberjack adds to the name of a file that it has compressed.
const COMPRESSED: &str = ".gz";

/// The name of the file `name` once it is rotated: `multus.log` becomes `multus-2026-11-28T23-10-00.000.log`.
pub(super) fn name(name: &str, at: Timestamp) -> String {
    let (stem, extension) = split(name);
    format!("{stem}-{}{extension}", at.strftime(FORMAT))
}

/// The names of the rotated files of `name` that must go, among the names of its directory: those that are too old, and the oldest of those that
/// are too many. lumberjack's compressed ones count too.
pub(super) fn expired(
    name: &str,
    candidates: Vec<String>,
    now: Timestamp,
    rotation: Rotation,
) -> Vec<String> {
    let mut backups: Vec<(Timestamp, String)> =
        candidates.into_iter().filter_map(|one| Some((rotated_at(name, &one)?, one))).collect();
    backups.sort_by(|one, two| two.cmp(one));
    let is_old = |at: Timestamp| {
        let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
        rotation.age.is_some_and(|limit| age > limit)
    };
    let is_one_too_many = |at: usize| rotation.backups.is_some_and(|limit| at >= limit);
    let goes = |(at, (time, _)): &(usize, (Timestamp, String))| is_one_too_many(*at) || is_old(*time);
    backups.into_iter().enumerate().filter(goes).map(|(_, (_, name))| name).collect()
}

/// The rotated files of `name` that are not compressed, the newest first.
pub(super) fn uncompressed(name: &str, candidates: impl Iterator<Item = String>) -> Vec<String> {
    let is_plain = |one: &String| !one.ends_with(COMPRESSED) && rotated_at(name, one).is_some();
    let mut plain: Vec<String> = candidates.filter(is_plain).collect();
    plain.sort_by(|one, two| two.cmp(one));
    plain
}

/// The name that a compressed file of `name` had before.
pub(super) fn plain_of<'a>(name: &str, candidate: &'a str) -> Option<&'a str> {
    let plain = candidate.strip_suffix(COMPRESSED)?;
    rotated_at(name, plain).map(|_| plain)
}

/// The path of a rotated file once it is compressed.
pub(super) fn compressed(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(COMPRESSED);
    path.into()
}

/// When the file of the name `candidate` was rotated, if it is one of `name`.
fn rotated_at(name: &str, candidate: &str) -> Option<Timestamp> {
    let (stem, extension) = split(name);
    let candidate = candidate.strip_suffix(COMPRESSED).unwrap_or(candidate);
    let time = candidate.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(extension)?;
    DateTime::strptime(FORMAT, time).ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp())
}

/// As Go's `filepath.Ext`: the extension begins with the last dot.
fn split(name: &str) -> (&str, &str) {
    name.rfind('.').map_or((name, ""), |dot| name.split_at(dot))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_file::Compression;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_rotated_file_has_lumberjacks_name() {
        let time = at("2026-11-28T23:10:00.5Z");
        assert_eq!(name("multus.log", time), "multus-2026-11-28T23-10-00.500.log");
        assert_eq!(name("multus", time), "multus-2026-11-28T23-10-00.500");
        assert_eq!(rotated_at("multus.log", "multus-2026-11-28T23-10-00.500.log"), Some(time));
        assert_eq!(rotated_at("multus.log", "multus-2026-11-28T23-10-00.500.log.gz"), Some(time));
    }

    #[test]
    fn what_is_too_old_or_too_many_goes_and_other_files_stay() {
        let now = at("2026-11-28T12:00:00Z");
        let day = |day: u32| format!("multus-2026-11-{day:02}T12-00-00.000.log");
        let others =
            ["multus.log", "multus-daemon.log", "multus-x.log", "macvlan-2026-11-01T12-00-00.000.log"];
        let all = || (20..28).map(day).chain(others.map(str::to_owned)).collect::<Vec<String>>();
        let rotation = |backups, days: Option<u64>| Rotation {
            max_bytes: 1,
            backups,
            compression: Compression::Off,
            age: days.map(|days| Duration::from_secs(days * 86_400)),
        };
        let gone = |rotation| expired("multus.log", all(), now, rotation);
        assert_eq!(gone(rotation(None, None)), Vec::<String>::new());
        assert_eq!(gone(rotation(Some(6), None)), [day(21), day(20)]);
        assert_eq!(gone(rotation(None, Some(7))), [day(20)]);
        assert_eq!(gone(rotation(Some(7), Some(6))), [day(21), day(20)]);
        // A clock that was set back.
        assert_eq!(
            expired("multus.log", all(), at("2026-01-01T00:00:00Z"), rotation(None, Some(1))),
            [""; 0]
        );
    }
}
