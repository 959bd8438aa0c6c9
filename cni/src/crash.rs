//! Places at which a fault test may kill the process.
//!
//! `crash_point!("after-record")` does nothing, and compiles to nothing, unless the crate is built with the
//! feature `crash-points` and the environment names that very place in [`ENV`].

/// The environment variable that names the place.
pub const ENV: &str = "MULTUS_RS_CRASH_AT";

/// Kills the process here, without any clean-up, if the environment asks for it (feature `crash-points`).
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reached($name)
    };
}

/// What [`crash_point!`](crate::crash_point) expands to.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub const fn reached(_name: &str) {}

/// What [`crash_point!`](crate::crash_point) expands to.
#[cfg(feature = "crash-points")]
pub fn reached(name: &str) {
    use nix::sys::signal::{Signal, kill};
    if std::env::var_os(ENV).is_some_and(|at| at == name) {
        // SIGKILL cannot be caught: no destructor, no exit handler, as with a power cut or the OOM killer.
        let _ = kill(nix::unistd::getpid(), Signal::SIGKILL);
    }
}

#[cfg(feature = "crash-points")]
#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    const SIGKILL: i32 = 9;

    /// Runs `victim` below in a process of its own.
    #[expect(clippy::disallowed_methods, reason = "a test kills a process of its own making")]
    fn run_victim(crash_at: &str) -> std::process::ExitStatus {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::tests::victim", "--ignored", "-q"])
            .env(super::ENV, crash_at)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
    }

    #[test]
    #[ignore = "run by the other tests here, in a process of its own"]
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
