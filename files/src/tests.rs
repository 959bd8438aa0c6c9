use crate::{Dir, FileError, read_bounded, remove_if_exists, write_atomic};
use std::fs::{File, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn temp() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

fn entries(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        dir.read_dir().unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_write_leaves_the_file_and_nothing_else() {
    let dir = temp();
    let path = dir.path().join("conf");
    write_atomic(&path, b"one", 0o600).unwrap();
    write_atomic(&path, b"two", 0o644).unwrap();
    assert_eq!(read_bounded(&path, 3).unwrap(), b"two");
    assert_eq!(mode(&path), 0o644);
    assert_eq!(entries(dir.path()), ["conf"]);
}

#[test]
fn the_mode_is_exact_whatever_the_umask() {
    let dir = temp();
    let path = dir.path().join("open");
    write_atomic(&path, b"", 0o666).unwrap();
    assert_eq!(mode(&path), 0o666);
}

#[test]
fn a_failed_write_keeps_the_old_and_leaves_no_temp_file() {
    let dir = temp();
    let path = dir.path().join("taken");
    std::fs::create_dir(&path).unwrap();
    let error = write_atomic(&path, b"x", 0o600).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot replace {}: ", path.display())), "{error}");
    assert_eq!(entries(dir.path()), ["taken"]);
}

#[test]
fn a_symbolic_link_is_replaced_never_followed() {
    let dir = temp();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    write_atomic(&target, b"precious", 0o600).unwrap();
    symlink(&target, &link).unwrap();
    write_atomic(&link, b"new", 0o600).unwrap();
    assert_eq!(read_bounded(&target, 99).unwrap(), b"precious");
    assert!(link.symlink_metadata().unwrap().is_file());
}

#[test]
fn a_missing_directory_is_named() {
    let dir = temp();
    let error = write_atomic(&dir.path().join("no/file"), b"", 0o600).unwrap_err();
    assert!(error.is_not_found());
    assert!(error.to_string().contains("/no/.tmp-"), "{error}");
    assert!(matches!(write_atomic(Path::new("/"), b"", 0o600), Err(FileError::NotAFilePath { .. })));
}

#[test]
fn removing_twice_succeeds() {
    let dir = temp();
    let path = dir.path().join("x");
    write_atomic(&path, b"", 0o600).unwrap();
    remove_if_exists(&path).unwrap();
    remove_if_exists(&path).unwrap();
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn reading_stops_at_the_limit() {
    let dir = temp();
    let path = dir.path().join("x");
    write_atomic(&path, b"12345", 0o600).unwrap();
    assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
    assert!(matches!(read_bounded(&path, 4), Err(FileError::TooLarge { max: 4, .. })));
    // An endless file: without a limit this test would not end.
    assert!(matches!(read_bounded(Path::new("/dev/zero"), 4), Err(FileError::TooLarge { .. })));
}

#[test]
fn a_directory_and_its_parents_are_created_private() {
    let root = temp();
    let path = root.path().join("a/b");
    Dir::open(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&root.path().join("a")), 0o700);
}

#[test]
fn a_directory_that_others_may_write_to_is_rejected() {
    let root = temp();
    for bits in [0o720, 0o702, 0o1777] {
        let path = root.path().join(format!("{bits:o}"));
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        assert!(matches!(Dir::open(&path), Err(FileError::NotPrivate { .. })), "{bits:o}");
    }
    let link = root.path().join("link");
    symlink("/", &link).unwrap();
    assert!(matches!(Dir::open(&link), Err(FileError::NotPrivate { .. })));
}

#[test]
fn records_are_written_read_listed_and_removed() {
    let root = temp();
    let dir = Dir::open(root.path().join("records")).unwrap();
    dir.write("b", b"2").unwrap();
    dir.write("a", b"1").unwrap();
    assert_eq!(dir.names().unwrap(), ["a", "b"]);
    assert_eq!(dir.read("a", 10).unwrap().unwrap(), b"1");
    assert_eq!(mode(&dir.path().join("a")), 0o600);
    dir.remove("a").unwrap();
    dir.remove("a").unwrap();
    assert_eq!(dir.read("a", 10).unwrap(), None);
}

#[test]
fn a_record_name_is_one_path_component() {
    let root = temp();
    let dir = Dir::open(root.path()).unwrap();
    for name in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", &"x".repeat(256)] {
        assert!(matches!(dir.write(name, b""), Err(FileError::BadName { .. })), "{name:?}");
        assert!(matches!(dir.read(name, 1), Err(FileError::BadName { .. })), "{name:?}");
        assert!(matches!(dir.remove(name), Err(FileError::BadName { .. })), "{name:?}");
    }
    dir.write(&"x".repeat(255), b"").unwrap();
}

#[test]
fn an_old_temp_file_is_removed_and_never_read() {
    let root = temp();
    let dir = Dir::open(root.path()).unwrap();
    dir.write("record", b"whole").unwrap();
    File::create(root.path().join(".tmp-0123456789abcdef")).unwrap();
    assert_eq!(dir.names().unwrap(), ["record"]);

    let minute = Duration::from_secs(60);
    dir.remove_leftovers(minute, SystemTime::now()).unwrap();
    assert_eq!(entries(root.path()).len(), 2, "another process may still be writing it");
    dir.remove_leftovers(minute, SystemTime::now() + 2 * minute).unwrap();
    assert_eq!(entries(root.path()), ["record"]);
}

#[test]
fn removing_a_record_removes_what_its_killed_writes_left() {
    let root = temp();
    let dir = Dir::open(root.path()).unwrap();
    for name in [".tmp-a-01234567", ".tmp-a-b-01234567", ".tmp-aa-01234567", ".tmp-01234567"] {
        File::create(root.path().join(name)).unwrap();
    }
    dir.write("a", b"whole").unwrap();
    dir.remove("a").unwrap();
    assert_eq!(entries(root.path()), [".tmp-01234567", ".tmp-a-b-01234567", ".tmp-aa-01234567"]);
}

#[test]
fn the_temp_file_of_a_write_is_found_by_the_records_name() {
    let root = temp();
    let temp = crate::file::temp_file(&root.path().join("a"), b"", 0o600).unwrap();
    let name = temp.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(crate::file::target_of_temp(&name), Some("a"), "{name}");
}
