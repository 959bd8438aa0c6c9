//! Counts the concurrent callers of a pool on this node, and gives them turns.
//!
//! Each caller locks one byte of a file, the first free one: its slot. The locks are OFD locks (`F_OFD_SETLK`, fcntl(2)): they belong to the
//! open file, so two callers in one process have different slots too. The kernel drops them when the file is closed, also if the process is
//! killed, so there is nothing to clean up.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::pool::choose::{CallerCount, ConcurrentCallers};

/// The number of slots. Callers beyond it have no lock and count as the last.
const SLOTS: u16 = 64;

/// The first slot that is used only if there are many callers.
const FIRST_OF_MANY: u16 = CallerCount::MANY_FROM - 1;

/// A caller's slot, until it is dropped. If the file cannot be opened, the caller counts as the only one.
#[derive(Debug)]
pub struct Slot {
    file: Option<File>,
    number: u16,
}

impl Slot {
    /// Locks the first free slot in `file`, which is created if necessary.
    pub fn lock(file: &Path) -> Slot {
        let Some(file) = opened(file) else { return Slot { file: None, number: 0 } };
        let number = (0..SLOTS).find(|number| lock(&file, *number)).unwrap_or(SLOTS);
        Slot { file: Some(file), number }
    }

    /// The callers at this moment.
    pub fn callers(&self) -> ConcurrentCallers {
        let has_later_callers = || self.file.as_ref().is_some_and(has_many_callers);
        let is_of_many = self.number >= FIRST_OF_MANY || has_later_callers();
        let size = if is_of_many { CallerCount::Many } else { CallerCount::Few };
        ConcurrentCallers { ahead: self.number.into(), size }
    }
}

/// Whose turn it is.
#[derive(Debug)]
pub enum Turn {
    /// The caller's, until the file is closed.
    Own(#[allow(dead_code, reason = "held for its lock")] File),
    /// Another caller's.
    Others,
    /// The file cannot be opened.
    Unknown,
}

/// Takes the turn that `file` stands for, if no other caller has it. The file is created if necessary.
pub fn turn(file: &Path) -> Turn {
    match opened(file) {
        Some(file) if lock(&file, 0) => Turn::Own(file),
        Some(_) => Turn::Others,
        None => Turn::Unknown,
    }
}

fn opened(file: &Path) -> Option<File> {
    let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
    let make_parent = || file.parent().and_then(|parent| std::fs::create_dir_all(parent).ok());
    // The parent nearly always exists: it is made only after the first open failed.
    open().ok().or_else(|| make_parent().and_then(|()| open().ok()))
}

/// Locks a slot without waiting. False if another caller has it.
fn lock(file: &File, number: u16) -> bool {
    let arg = range(libc::F_WRLCK, number, 1);
    fcntl(file, FcntlArg::F_OFD_SETLK(&arg)).is_ok()
}

/// Whether another caller has a slot from [`FIRST_OF_MANY`] on. `F_OFD_GETLK` does not report locks of `file` itself.
fn has_many_callers(file: &File) -> bool {
    let mut found = range(libc::F_WRLCK, FIRST_OF_MANY, SLOTS);
    // The kernel sets the type to F_UNLCK if nobody has a lock in the range.
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && i32::from(found.l_type) != libc::F_UNLCK
}

/// The bytes from `first` on. OFD locks need `l_pid` 0.
fn range(kind: i32, first: u16, count: u16) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first.into(),
        l_len: count.into(),
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn few(ahead: u32) -> ConcurrentCallers {
        ConcurrentCallers { ahead, size: CallerCount::Few }
    }

    #[test]
    fn concurrent_callers_have_slots_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hints/callers-p");
        let first = Slot::lock(&file);
        let second = Slot::lock(&file);
        assert_eq!((first.callers(), second.callers()), (few(0), few(1)));
        drop(first);
        let third = Slot::lock(&file);
        assert_eq!((third.callers(), Slot::lock(&file).callers()), (few(0), few(2)));
    }

    #[test]
    fn four_callers_are_many_and_three_are_few() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callers-p");
        let slots: Vec<Slot> = (0..3).map(|_| Slot::lock(&file)).collect();
        assert_eq!(slots[0].callers(), few(0));
        let fourth = Slot::lock(&file);
        assert_eq!(fourth.callers(), ConcurrentCallers { ahead: 3, size: CallerCount::Many });
        assert_eq!(slots[0].callers(), ConcurrentCallers { ahead: 0, size: CallerCount::Many });
        drop(fourth);
        assert_eq!(slots[0].callers(), few(0));
    }

    #[test]
    fn callers_without_a_free_slot_or_a_file_still_get_an_answer() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("callers-p");
        let slots: Vec<Slot> = (0..100).map(|_| Slot::lock(&file)).collect();
        assert_eq!(slots[99].callers(), ConcurrentCallers { ahead: 64, size: CallerCount::Many });
        let nowhere = Slot::lock(Path::new("/proc/nowhere/callers"));
        assert_eq!(nowhere.callers(), few(0));
    }
}
