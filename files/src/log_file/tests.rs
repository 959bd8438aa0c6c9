use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn log(folder: &Path, max_bytes: u64, backups: Option<usize>) -> LogFile {
    LogFile { path: folder.join("multus.log"), rotation: Rotation { max_bytes, backups, age: None } }
}

fn now() -> Timestamp {
    "2026-11-28T23:10:00Z".parse().unwrap()
}

/// Every line of the folder's files, with how often it is there.
fn lines(folder: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        for line in std::fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            *found.entry(line.to_owned()).or_default() += 1;
        }
    }
    found
}

#[test]
fn lines_are_appended_to_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let log = LogFile { path: folder.path().join("a/b/multus.log"), ..log(folder.path(), 100, None) };
    log.append("one\n", now()).unwrap();
    log.append("two\n", now()).unwrap();
    assert_eq!(std::fs::read_to_string(&log.path).unwrap(), "one\ntwo\n");
    assert_eq!(std::fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_file_that_a_line_would_make_too_large_is_rotated_before() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 10, Some(2));
    let long = "a line of more than ten bytes\n";
    for line in ["12345678\n", "12\n", long, "3\n", "4\n"] {
        log.append(line, now()).unwrap();
    }
    // Of the four files the oldest is gone. Rotations of the same millisecond have names of their own.
    assert_eq!(std::fs::read_to_string(&log.path).unwrap(), "3\n4\n");
    let backup = |part: &str| {
        std::fs::read_to_string(folder.path().join(format!("multus-2026-11-28T23-10-00.{part}.log"))).ok()
    };
    assert_eq!((backup("000"), backup("001"), backup("002")), (None, Some("12\n".into()), Some(long.into())));
}

/// Each has a descriptor of its own, as processes have: the kernel's lock belongs to it.
#[test]
fn lines_of_many_writers_are_each_there_once_whatever_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let folder = folder.path();
            scope.spawn(move || {
                for line in 0..250 {
                    let log = log(folder, 512, None);
                    let now = Timestamp::from_millisecond(i64::from(writer) * 1_000 + line).unwrap();
                    log.append(&format!("writer {writer} line {line}\n"), now).unwrap();
                }
            });
        }
    });
    let found = lines(folder.path());
    assert_eq!((found.len(), found.values().max()), (8 * 250, Some(&1)));
    assert!(std::fs::read_dir(folder.path()).unwrap().count() > 1, "the file was never rotated");
}

#[test]
fn a_lock_that_is_not_released_delays_a_line_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 4, None);
    log.append("one\n", now()).unwrap();
    let other = File::open(&log.path).unwrap();
    other.lock().unwrap();
    log.append("two\n", now()).unwrap();
    assert_eq!(std::fs::read_to_string(&log.path).unwrap(), "one\ntwo\n");
}

#[test]
fn a_path_that_is_no_log_of_ours_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::File::create(&secret).unwrap();
    let refused = |what: &str| {
        let error = log(folder.path(), 100, None).append("line\n", now()).unwrap_err();
        assert!(matches!(error, FileError::NotALog { .. }), "{what}: {error}");
        std::fs::remove_file(folder.path().join("multus.log")).unwrap();
    };
    let path = folder.path().join("multus.log");
    symlink(&secret, &path).unwrap();
    refused("a symbolic link");
    std::fs::hard_link(&secret, &path).unwrap();
    refused("a second name of a file");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused("a FIFO");
    assert_eq!(std::fs::read(&secret).unwrap(), b"");
    std::fs::create_dir(&path).unwrap();
    log(folder.path(), 100, None).append("line\n", now()).unwrap_err();
}
