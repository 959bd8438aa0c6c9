//! The programs of Whereabouts' image that this daemon replaces. Whereabouts' manifests start them by these names, with these flags.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use lexopt::Arg::Long;
use lexopt::ValueExt as _;
use node::client::Credentials;
use node::daemon::Command;

use super::options::{Environment, Lifetime, Options, OptionsError, parse};

/// The schedule of Whereabouts' reconciler. Where it is mounted, the reconciler stays and runs at these times.
pub const SCHEDULE: &str = "/cron-schedule/config";

/// How long a reconciler without a schedule runs: the grace time of a lost pod, and as long again to become the leader, to read the cluster
/// and to reclaim.
const ONE_RUN: Duration = Duration::from_secs(120);

/// The program that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `whereabouts-daemon`.
    Daemon,
    /// `ip-control-loop`, in the DaemonSet.
    ControlLoop,
    /// `node-slice-controller`, a Deployment.
    SliceController,
    /// `ip-reconciler`: a Deployment, or a CronJob, which must end.
    Reconciler,
}

/// Whether Whereabouts' schedule is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// It is.
    Mounted,
    /// It is not.
    Absent,
}

impl Schedule {
    /// Looks for it.
    pub fn find() -> Self {
        if Path::new(SCHEDULE).exists() { Self::Mounted } else { Self::Absent }
    }
}

impl Program {
    /// The program of this name, or of this path.
    pub fn of(path: &OsStr) -> Self {
        match Path::new(path).file_name().and_then(|name| name.to_str()) {
            Some("ip-control-loop") => Self::ControlLoop,
            Some("node-slice-controller") => Self::SliceController,
            Some("ip-reconciler") => Self::Reconciler,
            _ => Self::Daemon,
        }
    }

    /// Parses the arguments after the program's name.
    ///
    /// Each of them runs the whole daemon: whichever of them leads does the work of all.
    ///
    /// # Errors
    /// [`OptionsError`].
    pub fn parse(
        self,
        args: impl IntoIterator<Item = OsString>,
        environment: Environment,
        schedule: Schedule,
    ) -> Result<Command<Options>, OptionsError> {
        if self == Self::Daemon {
            return parse(args, environment);
        }
        let Command::Run(mut options) = parse([], environment)? else { return Ok(Command::Help) };
        if (self, schedule) == (Self::Reconciler, Schedule::Absent) {
            options.lifetime = Lifetime::Limited(ONE_RUN);
        }
        let mut parser = lexopt::Parser::from_args(args.into_iter().map(with_two_dashes));
        while let Some(arg) = parser.next()? {
            match (arg, self) {
                (Long("help"), _) => return Ok(Command::Help),
                // The levels of Whereabouts' log. Ours has two; the variable DEBUG chooses.
                (Long("log-level"), _) => drop(parser.value()?),
                (Long("kubeconfig"), Self::Reconciler | Self::SliceController) => {
                    options.credentials = Credentials::Kubeconfig(parser.value()?.into());
                }
                // The deadline of one run. A request has a deadline of its own here, and the run is limited anyway.
                (Long("timeout"), Self::Reconciler) => drop(parser.value()?.string()?),
                (other, _) => return Err(other.unexpected().into()),
            }
        }
        Ok(Command::Run(options))
    }
}

/// Go's `flag` takes `-name` and `--name`, and Whereabouts' manifests have the first.
fn with_two_dashes(arg: OsString) -> OsString {
    match arg.to_str().and_then(|text| text.strip_prefix('-')) {
        Some(name) if name.len() > 1 && !name.starts_with('-') => format!("--{name}").into(),
        _ => arg,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: Program, args: &[&str], schedule: Schedule) -> Result<Options, OptionsError> {
        let environment = Environment { host_name: Some("n".into()), ..Environment::default() };
        match program.parse(args.iter().map(OsString::from), environment, schedule)? {
            Command::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_started_files_name_decides() {
        for (path, program) in [
            ("/ip-control-loop", Program::ControlLoop),
            ("/node-slice-controller", Program::SliceController),
            ("ip-reconciler", Program::Reconciler),
            ("/whereabouts-daemon", Program::Daemon),
            ("", Program::Daemon),
        ] {
            assert_eq!(Program::of(OsStr::new(path)), program);
        }
    }

    // The command lines of Whereabouts' manifests.
    #[test]
    fn the_manifests_flags_are_read() {
        for (program, args) in [
            (Program::ControlLoop, &["-log-level", "debug"][..]),
            (Program::SliceController, &[]),
            (Program::Reconciler, &["-log-level", "debug"]),
            (Program::Reconciler, &["-log-level=verbose"]),
        ] {
            let options = run(program, args, Schedule::Mounted).unwrap();
            assert_eq!((options.node.as_str(), options.lifetime), ("n", Lifetime::Unlimited));
            assert_eq!(options.credentials, Credentials::InCluster);
        }
        let options =
            run(Program::Reconciler, &["-kubeconfig=/k", "-timeout", "30s"], Schedule::Mounted).unwrap();
        assert_eq!(options.credentials, Credentials::Kubeconfig("/k".into()));
    }

    #[test]
    fn the_reconciler_ends_without_a_schedule() {
        let once = run(Program::Reconciler, &[], Schedule::Absent).unwrap();
        assert!(matches!(once.lifetime, Lifetime::Limited(time) if time > once.grace));
        assert_eq!(run(Program::ControlLoop, &[], Schedule::Absent).unwrap().lifetime, Lifetime::Unlimited);
    }

    #[test]
    fn an_unknown_flag_is_named() {
        for (program, flag) in [
            (Program::ControlLoop, "-kubeconfig=/k"),
            (Program::SliceController, "-master=http://x"),
            (Program::Reconciler, "-banana"),
        ] {
            let name = flag.trim_start_matches('-').split('=').next().unwrap();
            let error = run(program, &[flag], Schedule::Absent).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
