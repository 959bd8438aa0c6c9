//! Places at which a fault test may kill the process.
//!
//! Without the feature `crash-points`, `crash_point!("after-record")` compiles to nothing. With it, the process dies there if the
//! environment variable [`ENV`] has that name.

/// The environment variable that names the place.
pub const ENV: &str = "MULTUS_RS_CRASH_AT";

/// Kills the process here, without any clean-up, if [`ENV`] has this name (feature `crash-points`).
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
}

/// The expansion of [`crash_point!`](crate::crash_point).
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn reached(_name: &str) {}

/// The expansion of [`crash_point!`](crate::crash_point).
#[cfg(feature = "crash-points")]
pub fn reached(name: &str) {
    use nix::sys::signal::{Signal, kill};
    if std::env::var_os(ENV).is_some_and(|at| at == name) {
        // SIGKILL cannot be caught: no destructor and no exit handler runs, as when the OOM killer ends the process.
        let _ = kill(nix::unistd::getpid(), Signal::SIGKILL);
    }
}

#[cfg(feature = "crash-points")]
#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    const SIGKILL: i32 = 9;

    /// Runs the test `victim` in a separate process.
    /// Runs the test `victim` in a separate process that dies at `crash_at`.
    #[expect(clippy::disallowed_methods, reason = "the test starts its own binary")]
    fn run_victim(crash_at: &str) -> std::process::ExitStatus {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::tests::victim", "-q"])
            .env(super::ENV, crash_at)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
    }

    /// Passes in the process of the other tests, where the variable is not set.
    #[test]
    fn victim() {
        crate::crash_point!("victim");
    }

    #[test]
    fn the_named_place_kills_the_process() {
        assert_eq!(run_victim("victim").signal(), Some(SIGKILL));
    }

    #[test]
    fn another_place_does_not() {
        assert!(run_victim("elsewhere").success());
    }
}
