//! Which of upstream's programs is called: by the name of the file that was started, or by the first argument.

use std::ffi::OsString;
use std::path::Path;

use node::daemon::{Command, Program, RunError, Shutdown};

use super::flags::go_style;
use super::generator::{self, GeneratorError};
use super::once::{self, Naming, OnceError};
use super::thin::{self, Dialect, ThinError};
use crate::approver::{self, ApproverError, OptionsError};

/// A program other than the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// `multus-daemon install`: ours.
    Install,
    /// `install_multus`.
    InstallMultus,
    /// `thin_entrypoint`, `entrypoint.sh`, or the generator of 3.9.
    Thin(Dialect),
    /// `generate-kubeconfig` of 3.9.
    GenerateKubeconfig,
    /// `cert-approver`.
    CertApprover,
    /// `kubeconfig_generator`.
    KubeconfigGenerator,
}

/// An entry point failed.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// `thin_entrypoint` or `entrypoint.sh` failed.
    #[error(transparent)]
    Thin(#[from] ThinError),
    /// A command that ends failed.
    #[error(transparent)]
    Once(#[from] OnceError),
    /// The flags of `cert-approver` are invalid.
    #[error(transparent)]
    ApproverOptions(#[from] OptionsError),
    /// `cert-approver` failed.
    #[error(transparent)]
    Approver(#[from] ApproverError),
    /// `kubeconfig_generator` failed.
    #[error(transparent)]
    Generator(#[from] GeneratorError),
    /// The process has no runtime or no signals.
    #[error("{0}")]
    Process(String),
}

/// The flags of 3.9's generator that the later daemon does not have.
const GENERATOR_FLAGS: &[&str] = &[
    "additional-bin-dir",
    "cni-config-dir",
    "cni-version",
    "global-namespaces",
    "multus-autoconfig-dir",
    "multus-config-file",
    "multus-conf-file",
    "multus-kubeconfig-file-host",
    "multus-log-file",
    "multus-log-level",
    "multus-log-to-stderr",
    "multus-master-cni-file",
    "multus-master-cni-file-name",
    "namespace-isolation",
    "override-network-name",
    "readiness-indicator-file",
    "skip-config-watch",
];

impl Entry {
    /// The entry that a command line names, and its arguments; `None` for the daemon. `args` begins with the program's name.
    pub fn of(args: impl IntoIterator<Item = OsString>) -> Option<(Self, Vec<OsString>)> {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let program = args.first().map(name_of);
        if let Some(entry) = program.and_then(Self::named) {
            args.remove(0);
            return Some((entry, args));
        }
        if let Some(entry) = args.get(1).and_then(|arg| arg.to_str()).and_then(Self::named) {
            args.drain(..2);
            return Some((entry, args));
        }
        let is_generator = args.iter().skip(1).any(|arg| {
            let text = arg.to_str().unwrap_or_default();
            let flag = text.trim_start_matches('-');
            flag.len() < text.len() && GENERATOR_FLAGS.contains(&flag.split('=').next().unwrap_or_default())
        });
        if is_generator {
            args.remove(0);
            return Some((Self::Thin(Dialect::Generator), args));
        }
        None
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "install" => Self::Install,
            "install_multus" => Self::InstallMultus,
            "thin_entrypoint" => Self::Thin(Dialect::Thin),
            "entrypoint.sh" => Self::Thin(Dialect::Script),
            "generate-kubeconfig" => Self::GenerateKubeconfig,
            "kubeconfig_generator" => Self::KubeconfigGenerator,
            "cert-approver" => Self::CertApprover,
            _ => return None,
        })
    }

    /// Runs it with these arguments, until it is done or a signal ends it.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn run(self, args: Vec<OsString>) -> Result<(), EntryError> {
        let lookup = |name: &str| std::env::var(name).ok();
        match self {
            Self::Install => {
                let command = once::parse_programs(args, Naming::Arguments)?;
                run_once("install", once::INSTALL_USAGE, command, |programs| once::install(&programs))
            }
            Self::InstallMultus => {
                let command = once::parse_programs(args, Naming::Type)?;
                run_once("install_multus", once::INSTALL_MULTUS_USAGE, command, |programs| {
                    once::install(&programs)
                })
            }
            Self::GenerateKubeconfig => {
                let command = once::parse_kubeconfig(args, &lookup)?;
                run_once("generate-kubeconfig", once::KUBECONFIG_USAGE, command, |credentials| {
                    credentials.renew().map(drop).map_err(OnceError::from)
                })
            }
            Self::Thin(dialect) => {
                let command = thin::parse(args, &lookup, dialect)?;
                let program = program("thin_entrypoint", thin::USAGE);
                node::daemon::run(&program, command, thin::run).map_err(EntryError::of)
            }
            Self::CertApprover => {
                let command = approver::parse(go_style(args))?;
                let program = program("cert-approver", approver::USAGE);
                node::daemon::run(&program, command, approver::run).map_err(EntryError::of)
            }
            Self::KubeconfigGenerator => {
                let command = generator::parse(args, &lookup)?;
                let program = program("kubeconfig_generator", generator::USAGE);
                node::daemon::run(&program, command, generator::run).map_err(EntryError::of)
            }
        }
    }
}

fn name_of(arg: &OsString) -> &str {
    Path::new(arg).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn program(name: &'static str, usage: &'static str) -> Program {
    Program { name, version: env!("CARGO_PKG_VERSION"), usage }
}

fn run_once<O>(
    name: &'static str,
    usage: &'static str,
    command: Command<O>,
    act: impl FnOnce(O) -> Result<(), OnceError>,
) -> Result<(), EntryError> {
    let run = |options, _: Shutdown| std::future::ready(act(options));
    node::daemon::run(&program(name, usage), command, run).map_err(EntryError::of)
}

impl EntryError {
    fn of<E: std::error::Error + Into<Self>>(error: RunError<E>) -> Self {
        match error {
            RunError::Daemon(error) => error.into(),
            other => Self::Process(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Option<(Entry, Vec<String>)> {
        let (entry, rest) = Entry::of(args.iter().map(OsString::from))?;
        Some((entry, rest.into_iter().map(|arg| arg.into_string().unwrap()).collect()))
    }

    // Every command that a manifest of upstream's has; see tests/image.
    #[test]
    fn the_started_files_name_decides() {
        for (program, entry) in [
            ("/thin_entrypoint", Entry::Thin(Dialect::Thin)),
            ("/usr/src/multus-cni/bin/thin_entrypoint", Entry::Thin(Dialect::Thin)),
            ("/entrypoint.sh", Entry::Thin(Dialect::Script)),
            ("/install_multus", Entry::InstallMultus),
            ("/usr/src/multus-cni/bin/install_multus", Entry::InstallMultus),
            ("/usr/src/multus-cni/bin/generate-kubeconfig", Entry::GenerateKubeconfig),
            ("/kubeconfig_generator", Entry::KubeconfigGenerator),
            ("/cert-approver", Entry::CertApprover),
        ] {
            assert_eq!(of(&[program, "--a", "b"]), Some((entry, vec!["--a".into(), "b".into()])));
            let name = Path::new(program).file_name().unwrap().to_str().unwrap();
            assert_eq!(of(&["/multus-daemon", name, "--a"]), Some((entry, vec!["--a".into()])));
        }
        assert_eq!(
            of(&["multus-daemon", "install", "macvlan"]),
            Some((Entry::Install, vec!["macvlan".into()]))
        );
    }

    #[test]
    fn the_daemon_is_what_nothing_else_is() {
        for args in [
            &["/usr/src/multus-cni/bin/multus-daemon"][..],
            &["multus-daemon", "-config=/x"],
            &["multus-daemon", "--version"],
            &[],
        ] {
            assert_eq!(of(args), None);
        }
    }

    #[test]
    fn flags_of_the_old_generator_call_it() {
        let args = ["multus-daemon", "-cni-version=0.3.1", "-cni-config-dir", "/host/etc/cni/net.d"];
        let (entry, rest) = of(&args).unwrap();
        assert_eq!((entry, rest.len()), (Entry::Thin(Dialect::Generator), 3));
    }

    #[test]
    fn an_unknown_flag_of_the_approver_is_an_error() {
        let error = Entry::CertApprover.run(vec!["-banana".into()]).unwrap_err();
        assert!(error.to_string().contains("--banana"), "{error}");
    }
}
