use serde_json::json;

use super::*;

fn id() -> ContainerId {
    ContainerId::parse("c1").unwrap()
}

fn net1() -> IfName {
    IfName::parse("net1").unwrap()
}

fn at(boot_id: &str, seconds: u64) -> Moment {
    Moment { boot_id: boot_id.to_owned(), since_boot: Duration::from_secs(seconds) }
}

fn refused(msg: &str) -> CniError {
    CniError::new(Code::Internal, msg)
}

/// An ADD in boot `b`, whose plugin 0 is done, 1 refused, and 2 begun.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::start(folder.path(), &id(), &at("b", 5)).unwrap();
    let net1 = net1();
    let network = journal.of_network(&net1);
    network.begins(0).unwrap();
    network.done(0);
    network.begins(1).unwrap();
    network.refused(1, &refused("bad\nrange"));
    network.begins(2).unwrap();
    folder
}

fn path(folder: &tempfile::TempDir) -> PathBuf {
    file(folder.path(), &id())
}

#[test]
fn each_plugin_has_its_last_step() {
    let folder = written();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    let words = Words::from(&refused("bad\nrange"));
    let want = [Reached::Done, Reached::Refused(words), Reached::Begun, Reached::NotBegun];
    assert_eq!(progress.of_network(&net1(), 4), want);
    assert_eq!(progress.of_network(&IfName::parse("net2").unwrap(), 1), [Reached::NotBegun]);
}

#[test]
fn progress_of_another_boot_missing_or_torn_is_unknown() {
    let folder = written();
    let text = std::fs::read_to_string(path(&folder)).unwrap();
    let torn = text.trim_end();
    let torn = &torn[..torn.len() - 3];
    let headless = text.split_once("\n\n").unwrap().1;
    let twice = format!("{text}{text}");
    for (text, boot_id) in
        [(text.as_str(), "other"), ("", "b"), (torn, "b"), (headless, "b"), (&twice, "b"), ("\0\0", "b")]
    {
        let progress = Progress::parse(text, &at(boot_id, 9));
        assert_eq!(progress.of_network(&net1(), 1), [Reached::Unknown], "{text}");
    }
    let none = Progress::read(folder.path(), &ContainerId::parse("c2").unwrap(), &at("b", 9));
    assert_eq!(none, Progress::default());
    let no_boot_id = text.replace("\"b\"", "\"\"");
    assert_eq!(Progress::parse(&no_boot_id, &at("", 9)).of_network(&net1(), 1), [Reached::Unknown]);
}

#[test]
fn the_first_del_is_that_of_this_boot_and_leaves_the_progress_as_it_is() {
    let folder = written();
    for (boot_id, seconds) in [("b", 7), ("b", 8), ("c", 3), ("c", 4)] {
        note_first_del(folder.path(), &id(), &at(boot_id, seconds)).unwrap();
    }
    let read = |boot_id| Progress::read(folder.path(), &id(), &at(boot_id, 9));
    assert_eq!(read("b").first_del, Some(Duration::from_secs(7)));
    assert_eq!(read("b").of_network(&net1(), 1), [Reached::Done]);
    assert_eq!(read("c").first_del, Some(Duration::from_secs(3)));
    assert_eq!(read("c").of_network(&net1(), 1), [Reached::Unknown]);
    assert_eq!(read("d").first_del, None);
}

#[test]
fn a_del_without_progress_does_not_make_it_known() {
    let folder = tempfile::tempdir().unwrap();
    note_first_del(folder.path(), &id(), &at("b", 7)).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!(progress.of_network(&net1(), 1), [Reached::Unknown]);
    assert_eq!(progress.first_del, Some(Duration::from_secs(7)));
}

#[test]
fn a_line_after_a_torn_one_is_still_read() {
    let folder = written();
    let mut file = OpenOptions::new().append(true).open(path(&folder)).unwrap();
    file.write_all(b"{\"step\":\"do").unwrap();
    note_first_del(folder.path(), &id(), &at("b", 7)).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!(progress.first_del, Some(Duration::from_secs(7)));
    assert_eq!(progress.of_network(&net1(), 1), [Reached::Unknown]);
}

/// A network that fails for weeks while the pod runs.
#[test]
fn a_long_file_still_says_when_the_first_del_was() {
    let folder = written();
    let line =
        json!({"step": "refused", "interface": "net1", "plugin": 0, "code": 7, "msg": "x".repeat(4096)});
    let mut text = std::fs::read_to_string(path(&folder)).unwrap();
    while text.len() < 2 * usize::try_from(MAX_READ).unwrap() {
        text.push_str(&format!("\n{line}\n"));
    }
    node::files::replace(&path(&folder), text.as_bytes()).unwrap();
    note_first_del(folder.path(), &id(), &at("b", 7)).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!((progress.first_del, progress.is_known()), (Some(Duration::from_secs(7)), false));
}

#[test]
fn a_plugin_that_cannot_be_recorded_does_not_begin() {
    let folder = written();
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let journal = Journal { path: path(&folder), file: full, length: Cell::new(0) };
    let error = journal.of_network(&net1()).begins(0).unwrap_err();
    assert_eq!(error.code, Code::Io);
}

#[test]
fn no_plugin_begins_after_a_del_of_the_sandbox() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::start(folder.path(), &id(), &at("b", 5)).unwrap();
    journal.of_network(&net1()).begins(0).unwrap();
    remove(folder.path(), &id()).unwrap();
    let error = journal.of_network(&net1()).begins(1).unwrap_err();
    assert_eq!(error.msg, "the sandbox was deleted during its ADD");
}

/// The lock of a DEL that does not wait.
fn del(folder: &tempfile::TempDir, seconds: u64) -> Result<Option<DelLock>, LockError> {
    lock_for_del(folder.path(), &id(), &at("b", seconds), Deadline::after(Duration::ZERO))
}

fn resume(folder: &tempfile::TempDir) -> Resumed {
    Journal::resume(folder.path(), &id(), &at("b", 9)).unwrap()
}

/// Waits for the lock: a child that a test beside this one starts has our descriptors until it runs its program.
fn held(folder: &tempfile::TempDir) -> Journal {
    for _ in 0..500 {
        match resume(folder) {
            Resumed::Held(journal) => return journal,
            Resumed::Busy => std::thread::sleep(Duration::from_millis(10)),
            Resumed::Over => panic!("a DEL has begun"),
        }
    }
    panic!("it stays locked")
}

/// The lock of a DEL that waits.
fn waiting_del(folder: &tempfile::TempDir, seconds: u64) -> DelLock {
    let deadline = Deadline::after(Duration::from_secs(10));
    lock_for_del(folder.path(), &id(), &at("b", seconds), deadline).unwrap().unwrap()
}

#[test]
fn an_add_a_change_and_a_del_of_a_sandbox_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(resume(&folder), Resumed::Over));
    assert!(matches!(del(&folder, 5), Ok(None)));
    let add = Journal::start(folder.path(), &id(), &at("b", 5)).unwrap();
    assert!(matches!(resume(&folder), Resumed::Busy));
    drop(add);
    let change = held(&folder);
    assert!(!change.is_over());
    assert!(matches!(resume(&folder), Resumed::Busy));
    assert!(matches!(del(&folder, 7), Err(LockError::Busy)));
    drop(change);
    // The DEL that had to wait has noted itself: no change comes before it.
    assert!(matches!(resume(&folder), Resumed::Over));
    let lock = waiting_del(&folder, 8);
    assert!(matches!(del(&folder, 8), Err(LockError::Busy)));
    drop(lock);
    assert_eq!(Progress::read(folder.path(), &id(), &at("b", 9)).first_del, Some(Duration::from_secs(7)));
}

#[test]
fn a_change_starts_no_plugin_once_a_del_has_begun() {
    let folder = written();
    let change = held(&folder);
    let net2 = IfName::parse("net2").unwrap();
    change.of_network(&net2).begins(0).unwrap();
    change.of_network(&net2).done(0);
    assert!(!change.is_over());
    assert!(del(&folder, 7).is_err());
    assert!(change.is_over());
    assert_eq!(change.of_network(&net2).begins(1).unwrap_err().msg, "the sandbox was deleted during its ADD");
}

#[test]
fn a_sandbox_of_an_earlier_boot_is_not_changed() {
    let folder = written();
    let resumed = Journal::resume(folder.path(), &id(), &at("other", 9)).unwrap();
    assert!(matches!(resumed, Resumed::Over));
}

#[test]
fn what_was_detached_is_forgotten_and_remembered_as_detached() {
    let folder = written();
    let change = held(&folder);
    change.detached("default/a", &net1()).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!(progress.of_network(&net1(), 3), vec![Reached::NotBegun; 3]);
    assert_eq!(progress.detached, [Detached { network: "default/a".into(), if_name: "net1".into() }]);
    change.of_network(&net1()).begins(0).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!(progress.of_network(&net1(), 2), [Reached::Begun, Reached::NotBegun]);
}

#[test]
fn a_new_add_replaces_the_progress_and_removing_it_twice_succeeds() {
    let folder = written();
    Journal::start(folder.path(), &id(), &at("b", 9)).unwrap();
    let progress = Progress::read(folder.path(), &id(), &at("b", 9));
    assert_eq!(progress.of_network(&net1(), 1), [Reached::NotBegun]);
    remove(folder.path(), &id()).unwrap();
    remove(folder.path(), &id()).unwrap();
    assert!(!path(&folder).exists());
}

#[test]
fn only_old_files_are_listed() {
    let folder = written();
    let age = Duration::from_secs(300);
    assert!(older_than(folder.path(), age, SystemTime::now()).is_empty());
    let later = SystemTime::now() + Duration::from_secs(301);
    assert_eq!(older_than(folder.path(), age, later), [id()]);
    assert!(older_than(&folder.path().join("missing"), age, later).is_empty());
}
