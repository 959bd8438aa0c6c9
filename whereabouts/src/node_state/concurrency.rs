//! How many calls of this node look for an address of a pool at this moment: each has a lock on one byte of a file, the first that it
//! finds free. The kernel takes the lock away with the process, so that nothing is to be cleaned up after one that was killed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::pool::choose::{CallerCount, ConcurrentCallers};

/// More at once are as many as this.
const SLOTS: u16 = 64;

/// A call's place among the others, until it is dropped. Without the file it is alone.
#[derive(Debug)]
pub struct Slot {
    file: Option<File>,
    number: u16,
}

impl Slot {
    /// Takes the first free place in `file`, which is made if it is not there.
    pub fn take(file: &Path) -> Slot {
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
        let parent = || file.parent().and_then(|parent| std::fs::create_dir_all(parent).ok());
        let opened = open().ok().or_else(|| parent().and_then(|()| open().ok()));
        let Some(file) = opened else { return Slot { file: None, number: 0 } };
        let number = (0..SLOTS).find(|number| lock(&file, *number)).unwrap_or(SLOTS);
        Slot { file: Some(file), number }
    }

    /// Who else is there now.
    pub fn callers(&self) -> ConcurrentCallers {
        let others_after = || self.file.as_ref().is_some_and(has_many_callers);
        let before = usize::from(self.number);
        let size = if others_after() { CallerCount::Many } else { CallerCount::of(before + 1) };
        ConcurrentCallers { ahead: self.number.into(), size }
    }
}

fn lock(file: &File, number: u16) -> bool {
    let arg = range(libc::F_WRLCK, number, 1);
    fcntl(file, FcntlArg::F_OFD_SETLK(&arg)).is_ok()
}

/// Whether another than this call has a place that only many take.
fn has_many_callers(file: &File) -> bool {
    let few =
        (1..SLOTS).find(|few| CallerCount::of(usize::from(*few) + 1) == CallerCount::Many).unwrap_or(SLOTS);
    let mut found = range(libc::F_WRLCK, few, SLOTS);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found)).is_ok() && i32::from(found.l_type) != libc::F_UNLCK
}

fn range(kind: i32, from: u16, count: u16) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: from.into(),
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
    fn calls_at_the_same_time_have_places_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hints/crowd-p");
        let first = Slot::take(&file);
        let second = Slot::take(&file);
        assert_eq!((first.callers(), second.callers()), (few(0), few(1)));
        drop(first);
        let third = Slot::take(&file);
        assert_eq!((third.callers(), Slot::take(&file).callers()), (few(0), few(2)));
    }

    #[test]
    fn the_fourth_makes_a_crowd_of_all_and_takes_it_along() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crowd-p");
        let slots: Vec<Slot> = (0..3).map(|_| Slot::take(&file)).collect();
        assert_eq!(slots[0].callers(), few(0));
        let fourth = Slot::take(&file);
        assert_eq!(fourth.callers(), ConcurrentCallers { ahead: 3, size: CallerCount::Many });
        assert_eq!(slots[0].callers(), ConcurrentCallers { ahead: 0, size: CallerCount::Many });
        drop(fourth);
        assert_eq!(slots[0].callers(), few(0));
    }

    #[test]
    fn the_hundredth_call_has_a_place_and_so_has_one_without_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crowd-p");
        let slots: Vec<Slot> = (0..100).map(|_| Slot::take(&file)).collect();
        assert_eq!(slots[99].callers(), ConcurrentCallers { ahead: 64, size: CallerCount::Many });
        let nowhere = Slot::take(Path::new("/proc/nowhere/crowd"));
        assert_eq!(nowhere.callers(), few(0));
    }
}
