//! The time since boot. The wall clock may jump, and a file must be able to say that it was written before the last reboot.

use std::time::Duration;

/// The file with the random id that the kernel gives itself at each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The longest boot id, in bytes. It is a UUID.
const MAX_BOOT_ID: u64 = 64;

/// A point in time on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The id of this boot. Empty if it cannot be read; then nothing counts as written in this boot.
    pub(crate) boot_id: String,
    /// The time since boot, with suspends.
    pub(crate) since_boot: Duration,
}

impl Moment {
    /// Reads the boot id and the clock.
    pub(crate) fn now() -> Moment {
        let boot_id = node::files::read_bounded(BOOT_ID.as_ref(), MAX_BOOT_ID).unwrap_or_default();
        let boot_id = String::from_utf8_lossy(&boot_id).trim().to_owned();
        Moment { boot_id, since_boot: node::clock::since_boot() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_runs_and_the_boot_id_stays() {
        let (first, second) = (Moment::now(), Moment::now());
        assert_eq!((first.boot_id.len(), &first.boot_id), (36, &second.boot_id));
        assert!(Duration::ZERO < first.since_boot && first.since_boot <= second.since_boot);
    }
}
