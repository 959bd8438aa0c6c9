//! How many calls of this node look for an address of a pool at this moment: each has a lock on one byte of a file, the first that it
//! finds free. The kernel takes the lock away with the process, so that nothing is to be cleaned up after one that was killed.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::choose::{Crowd, CrowdSize};

/// More at once are as many as this.
const PLACES: u16 = 64;

/// A call's place among the others, until it is dropped. Without the file it is alone.
#[derive(Debug)]
pub struct Place {
    file: Option<File>,
    number: u16,
}

impl Place {
    /// Takes the first free place in `file`, which is made if it is not there.
    pub fn take(file: &Path) -> Place {
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file);
        let parent = || file.parent().and_then(|parent| std::fs::create_dir_all(parent).ok());
        let opened = open().ok().or_else(|| parent().and_then(|()| open().ok()));
        let Some(file) = opened else { return Place { file: None, number: 0 } };
        let number = (0..PLACES).find(|number| lock(&file, *number)).unwrap_or(PLACES);
        Place { file: Some(file), number }
    }

    /// Who else is there now.
    pub fn crowd(&self) -> Crowd {
        let others_after = || self.file.as_ref().is_some_and(is_crowded);
        let before = usize::from(self.number);
        let size = if others_after() { CrowdSize::Many } else { CrowdSize::of(before + 1) };
        Crowd { ahead: self.number.into(), size }
    }
}

fn lock(file: &File, number: u16) -> bool {
    let arg = range(libc::F_WRLCK, number, 1);
    fcntl(file, FcntlArg::F_OFD_SETLK(&arg)).is_ok()
}

/// Whether another than this call has a place that only many take.
fn is_crowded(file: &File) -> bool {
    let few =
        (1..PLACES).find(|few| CrowdSize::of(usize::from(*few) + 1) == CrowdSize::Many).unwrap_or(PLACES);
    let mut found = range(libc::F_WRLCK, few, PLACES);
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

    fn few(ahead: u32) -> Crowd {
        Crowd { ahead, size: CrowdSize::Few }
    }

    #[test]
    fn calls_at_the_same_time_have_places_one_behind_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hints/crowd-p");
        let first = Place::take(&file);
        let second = Place::take(&file);
        assert_eq!((first.crowd(), second.crowd()), (few(0), few(1)));
        drop(first);
        let third = Place::take(&file);
        assert_eq!((third.crowd(), Place::take(&file).crowd()), (few(0), few(2)));
    }

    #[test]
    fn the_fourth_makes_a_crowd_of_all_and_takes_it_along() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crowd-p");
        let places: Vec<Place> = (0..3).map(|_| Place::take(&file)).collect();
        assert_eq!(places[0].crowd(), few(0));
        let fourth = Place::take(&file);
        assert_eq!(fourth.crowd(), Crowd { ahead: 3, size: CrowdSize::Many });
        assert_eq!(places[0].crowd(), Crowd { ahead: 0, size: CrowdSize::Many });
        drop(fourth);
        assert_eq!(places[0].crowd(), few(0));
    }

    #[test]
    fn the_hundredth_call_has_a_place_and_so_has_one_without_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("crowd-p");
        let places: Vec<Place> = (0..100).map(|_| Place::take(&file)).collect();
        assert_eq!(places[99].crowd(), Crowd { ahead: 64, size: CrowdSize::Many });
        let nowhere = Place::take(Path::new("/proc/nowhere/crowd"));
        assert_eq!(nowhere.crowd(), few(0));
    }
}
