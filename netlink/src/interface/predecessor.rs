//! Waits for links that the kernel still takes down.
//!
//! When a network namespace ends, the kernel deletes its links in the background, usually within a tenth of a second. Until then a new
//! link on the same master cannot have the MAC or IP address of an old one, and the old one also counts where a master takes only one
//! link or one kind.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::error::Error;

/// How long to wait.
const LIMIT: Duration = Duration::from_millis(500);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `action` until it succeeds, fails with an error that is not `passing`, or half a second has passed.
pub fn retry<T>(
    passing: impl Fn(&Error) -> bool,
    mut action: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let end = Instant::now() + LIMIT;
    loop {
        match action() {
            Err(error) if passing(&error) && Instant::now() < end => thread::sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

/// Whether the kernel's error can come from a link that is on its way out, when a new link is created. It has no error of its own for that:
/// `EINVAL` is also the error for a second link beside one in mode passthru.
#[must_use]
pub fn may_end_creating(error: &Error) -> bool {
    matches!(error, Error::Busy(_) | Error::Invalid(_))
}

/// The same when the link is configured.
pub(super) fn may_end_configuring(error: &Error) -> bool {
    matches!(error, Error::AddressTaken(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn error(errno: i32) -> Error {
        Refusal { op: "set up", object: "net1".into(), errno, ext_ack: None, hint: None }.into()
    }

    #[test]
    fn a_passing_error_is_retried_until_the_limit_and_others_are_returned_at_once() {
        let mut errors = vec![libc::EPERM, libc::EADDRINUSE, libc::EADDRINUSE];
        let outcome: Result<(), _> =
            retry(may_end_configuring, || errors.pop().map_or(Ok(()), |errno| Err(error(errno))));
        assert!(matches!(outcome, Err(Error::Denied(_))));
        let mut tries = 0;
        let started = Instant::now();
        let outcome: Result<(), _> = retry(may_end_configuring, || {
            tries += 1;
            Err(error(libc::EADDRINUSE))
        });
        assert!(matches!(outcome, Err(Error::AddressTaken(_))));
        assert!(tries > 2 && started.elapsed() >= LIMIT);
    }
}
