use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn log(folder: &Path, max_bytes: u64, backups: Option<usize>) -> LogFile {
    LogFile {
        path: folder.join("multus.log"),
        rotation: Rotation { max_bytes, backups, age: None, compression: Compression::Off },
    }
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

/// Writes 250 lines by each of these writers at once, and calls `then` after each line. Each writer opens the file itself, as processes do: the
/// kernel's lock belongs to the open file.
fn write_lines(folder: &Path, writers: i64, then: impl Fn(i64, &LogFile) + Sync) {
    let then = &then;
    std::thread::scope(|scope| {
        for writer in 0..writers {
            scope.spawn(move || {
                for line in 0..250 {
                    let log = log(folder, 512, None);
                    let now = Timestamp::from_millisecond(writer * 1_000 + line).unwrap();
                    log.append(&format!("writer {writer} line {line}\n"), now).unwrap();
                    then(line, &log);
                }
            });
        }
    });
}

#[test]
fn lines_of_many_writers_are_each_there_once_whatever_is_rotated() {
    let folder = tempfile::tempdir().unwrap();
    write_lines(folder.path(), 8, |_, _| ());
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

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(File::open(path).unwrap()), &mut text)
        .unwrap();
    text
}

/// Waits until every rotated file is old enough. A test cannot set the time of a rename (ctime) as it can set that of a write.
fn wait() {
    std::thread::sleep(Duration::from_millis(1_100));
}

fn names(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn rotated_files_are_compressed_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 4, None);
    assert_eq!(log.append("one\n", now()).unwrap(), Appended::ToFile);
    assert_eq!(log.append("two\n", now()).unwrap(), Appended::ToNewFile);
    assert_eq!(log.append("three\n", now()).unwrap(), Appended::ToNewFile);
    crate::replace(&folder.path().join("multus-daemon.log"), b"x").unwrap();
    // What a process left that was killed while it compressed the first.
    let gz = |part: &str| format!("multus-2026-11-28T23-10-00.{part}.log.gz");
    for part in ["000", "999"] {
        File::create(folder.path().join(format!(".tmp-{}-abcdefgh", gz(part)))).unwrap();
    }
    let before = names(folder.path());
    log.compress_backups().unwrap();
    let orphan = format!(".tmp-{}-abcdefgh", gz("999"));
    let without_orphan: Vec<_> = before.into_iter().filter(|name| *name != orphan).collect();
    assert_eq!(names(folder.path()), without_orphan, "a line may still come");
    wait();
    log.compress_backups().unwrap();
    let all = [gz("000"), gz("001"), "multus-daemon.log".to_owned(), "multus.log".to_owned()];
    assert_eq!(names(folder.path()), all);
    assert_eq!(unpacked(&folder.path().join(gz("000"))), "one\n");
    assert_eq!(unpacked(&folder.path().join(gz("001"))), "two\n");
    assert_eq!(std::fs::metadata(folder.path().join(gz("000"))).unwrap().permissions().mode() & 0o777, 0o600);
    log.compress_backups().unwrap();
    assert_eq!(names(folder.path()), all);
}

#[test]
fn the_name_of_a_compressed_file_is_not_taken_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 4, None);
    for line in ["one\n", "two\n", "three\n"] {
        log.append(line, now()).unwrap();
        wait();
        log.compress_backups().unwrap();
    }
    let all =
        ["multus-2026-11-28T23-10-00.000.log.gz", "multus-2026-11-28T23-10-00.001.log.gz", "multus.log"];
    assert_eq!(names(folder.path()), all);
}

#[test]
fn a_rotated_file_that_another_process_holds_or_that_is_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path(), 4, None);
    log.append("one\n", now()).unwrap();
    log.append("two\n", now()).unwrap();
    let backup = folder.path().join("multus-2026-11-28T23-10-00.000.log");
    wait();
    let held = File::open(&backup).unwrap();
    held.lock().unwrap();
    log.compress_backups().unwrap();
    assert!(backup.exists());
    drop(held);
    let fifo = folder.path().join("multus-2026-11-28T23-11-00.000.log");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let reserved = folder.path().join("multus-2026-11-28T23-12-00.000.log");
    File::create(&reserved).unwrap();
    log.compress_backups().unwrap();
    assert!(!backup.exists() && fifo.exists() && reserved.exists());
}

#[test]
fn many_processes_that_rotate_and_compress_lose_no_line() {
    let folder = tempfile::tempdir().unwrap();
    write_lines(folder.path(), 4, |line, log| {
        if line % 100 == 99 {
            std::thread::sleep(COMPRESS_AFTER);
            log.compress_backups().unwrap();
        }
    });
    let (mut all, files) = (BTreeMap::new(), names(folder.path()));
    for name in &files {
        let path = folder.path().join(name);
        let text =
            if name.ends_with(".gz") { unpacked(&path) } else { std::fs::read_to_string(path).unwrap() };
        text.lines().for_each(|line| *all.entry(line.to_owned()).or_insert(0) += 1);
    }
    assert_eq!((all.len(), all.values().max()), (4 * 250, Some(&1)));
    assert!(files.iter().filter(|name| name.ends_with(".gz")).count() > 5, "{files:?}");
}
