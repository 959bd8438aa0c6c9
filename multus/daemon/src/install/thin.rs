//! Upstream's entry points without a daemon: `thin_entrypoint` of Multus 4, `entrypoint.sh` of Multus 3, and the configuration's generator of 3.9.
//!
//! Each puts the plugin on the node, writes a kubeconfig and `00-multus.conf`, and stays. Two faults of upstream are not repeated: there the
//! token is renewed only with `--cleanup-config-on-exit`, and the process ends with code 0 when anything fails.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lexopt::Arg::{Long, Short};
use node::daemon::{Command, Shutdown};

use super::flags::{go_style, is_on, text};

use super::programs::{self, InstallError};
use super::upkeep::{Upkeep, UpkeepError, Watch};
use crate::kubeconfig::{Credentials, KubeconfigError, MOUNT, Server, Trust, User};
use crate::primary::{
    Auto, Election, Form, InlineForm, Isolation, LogLevel, LogTarget, Master, NameRule, PERIOD, Settings,
    SettingsError, Source, VersionRule, version,
};

/// The text of `--help`.
pub const USAGE: &str = "\
thin_entrypoint, entrypoint.sh: installs multus without a daemon, and keeps its kubeconfig and configuration up to date

  --cni-bin-dir PATH                  the node's folder of plugins (default /host/opt/cni/bin)
  --cni-conf-dir PATH                 the node's folder of configurations (default /host/etc/cni/net.d)
  --cni-version VERSION               cniVersion (default: that of the default network)
  --multus-conf-file auto|PATH        make the configuration, or copy this one (default auto; entrypoint.sh: upstream's sample)
  --multus-autoconfig-dir PATH        folder with the default network's configuration (default /host/etc/cni/net.d)
  --multus-master-cni-file-name NAME  its file (default: the first)
  --multus-bin-file PATH              the plugin (default /usr/src/multus-cni/bin/multus)
  --skip-multus-binary-copy           do not install it
  --multus-kubeconfig-file-host PATH  the kubeconfig's path on the node (default /etc/cni/net.d/multus.d/multus.kubeconfig)
  --namespace-isolation               pods may only use networks of their own namespace
  --global-namespaces LIST            and of these
  --multus-log-level LEVEL, --multus-log-file PATH, --multus-log-to-stderr
  --override-network-name             take the default network's name
  --rename-conf-file                  rename the default network's file to NAME.old
  --readiness-indicator-file PATH     the plugin waits for this file
  --additional-bin-dir PATH           a further folder of plugins
  --multus-cni-conf-dir PATH          written to the configuration, and read by nobody
  --skip-config-watch                 write the configuration once
  --cleanup-config-on-exit            remove it at the end: pods then get no further networks
  --skip-tls-verify, --force-cni-version   for tests
  --restart-crio                      without effect: CRI-O follows the folder
  --help, --version
";

/// Which of the programs is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `thin_entrypoint`.
    Thin,
    /// `entrypoint.sh`.
    Script,
    /// `multus-daemon` of 3.9, which makes the configuration only.
    Generator,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The plugin and its folder.
    pub plugin: PluginCopy,
    /// The kubeconfig.
    pub credentials: Credentials,
    /// The configuration.
    pub settings: Settings,
    /// Whether it follows the default network.
    pub watch: Watch,
    /// Whether it stays at the end.
    pub at_exit: AtExit,
    /// What the flags ask for and does not happen, for the log.
    pub notes: Vec<&'static str>,
}

/// Whether the plugin is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginCopy {
    /// From this file to this folder.
    To {
        /// The file.
        from: PathBuf,
        /// The folder.
        folder: PathBuf,
    },
    /// It is not.
    Skipped,
}

/// What happens to the configuration at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtExit {
    /// It stays, so that pods get their networks while no pod of ours runs.
    Keep,
    /// It is removed.
    Remove,
}

/// The entry point failed.
#[derive(Debug, thiserror::Error)]
pub enum ThinError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// A flag's value is wrong.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// The variables of a pod are missing.
    #[error(transparent)]
    Server(#[from] KubeconfigError),
    /// The plugin cannot be installed.
    #[error("failed at multus copy: {0}")]
    Install(#[from] InstallError),
    /// The kubeconfig or the configuration cannot be written.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    /// The configuration cannot be removed.
    #[error("cannot remove the multus config: {0}")]
    Remove(#[from] node::files::FileError),
}

/// The flags as written. Texts are empty if they are not given.
struct Given {
    conf_dir: String,
    autoconfig_dir: String,
    bin_dir: String,
    conf_file: String,
    bin_file: String,
    copies: bool,
    version: String,
    forces_version: bool,
    master: String,
    name: NameRule,
    master_file: Master,
    form: InlineForm,
    watch: Watch,
    at_exit: AtExit,
    verifies: bool,
    authority: String,
    notes: Vec<&'static str>,
}

impl Given {
    fn defaults(dialect: Dialect, lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        // The script of Multus 3 reads these; later programs do not.
        let variable = |name| lookup(name).filter(|_| dialect == Dialect::Script).unwrap_or_default();
        Self {
            conf_dir: "/host/etc/cni/net.d".to_owned(),
            autoconfig_dir: String::new(),
            bin_dir: programs::TARGET.to_owned(),
            conf_file: match dialect {
                Dialect::Thin | Dialect::Generator => "auto",
                Dialect::Script => "/usr/src/multus-cni/images/70-multus.conf",
            }
            .to_owned(),
            bin_file: format!("{}/multus", programs::SOURCE),
            copies: dialect != Dialect::Generator,
            version: String::new(),
            forces_version: false,
            master: String::new(),
            name: NameRule::Own,
            master_file: Master::Stays,
            form: InlineForm {
                isolation: Isolation::Off,
                global_namespaces: String::new(),
                log_target: LogTarget::Stderr,
                log_level: None,
                log_file: String::new(),
                bin_dir: String::new(),
                cni_conf: if dialect == Dialect::Thin { "/host/etc/cni/multus/net.d" } else { "" }.to_owned(),
                readiness_file: String::new(),
                kubeconfig: "/etc/cni/net.d/multus.d/multus.kubeconfig".to_owned(),
            },
            watch: Watch::Follow,
            at_exit: AtExit::Keep,
            verifies: variable("SKIP_TLS_VERIFY") != "true",
            authority: variable("KUBE_CA_FILE"),
            notes: Vec::new(),
        }
    }

    /// Takes the flag `name`. `false` if there is no such flag.
    fn take(&mut self, name: &str, parser: &mut lexopt::Parser) -> Result<bool, ThinError> {
        match name {
            "cni-bin-dir" => self.bin_dir = text(parser)?,
            "cni-conf-dir" | "cni-config-dir" => self.conf_dir = text(parser)?,
            "cni-version" => self.version = text(parser)?,
            "multus-conf-file" | "multus-config-file" => self.conf_file = text(parser)?,
            "multus-autoconfig-dir" => self.autoconfig_dir = text(parser)?,
            "multus-master-cni-file-name" | "multus-master-cni-file" => self.master = text(parser)?,
            "multus-bin-file" => self.bin_file = text(parser)?,
            "skip-multus-binary-copy" => self.copies = !is_on(parser)?,
            "multus-kubeconfig-file-host" => self.form.kubeconfig = text(parser)?,
            "namespace-isolation" if is_on(parser)? => self.form.isolation = Isolation::On,
            "namespace-isolation" => self.form.isolation = Isolation::Off,
            "global-namespaces" => self.form.global_namespaces = text(parser)?,
            "multus-log-level" => self.form.log_level = LogLevel::parse(&text(parser)?)?,
            "multus-log-file" => self.form.log_file = text(parser)?,
            "multus-log-to-stderr" if is_on(parser)? => self.form.log_target = LogTarget::Stderr,
            "multus-log-to-stderr" => self.form.log_target = LogTarget::NotStderr,
            "override-network-name" if is_on(parser)? => self.name = NameRule::OfPrimary,
            "override-network-name" => self.name = NameRule::Own,
            "rename-conf-file" if is_on(parser)? => self.master_file = Master::Renamed,
            "rename-conf-file" => self.master_file = Master::Stays,
            "readiness-indicator-file" => self.form.readiness_file = text(parser)?,
            "additional-bin-dir" => self.form.bin_dir = text(parser)?,
            "multus-cni-conf-dir" => self.form.cni_conf = text(parser)?,
            "skip-config-watch" if is_on(parser)? => self.watch = Watch::Once,
            "skip-config-watch" => self.watch = Watch::Follow,
            "cleanup-config-on-exit" if is_on(parser)? => self.at_exit = AtExit::Remove,
            "cleanup-config-on-exit" => self.at_exit = AtExit::Keep,
            "skip-tls-verify" => self.verifies = !is_on(parser)?,
            "force-cni-version" => self.forces_version = is_on(parser)?,
            "restart-crio" if is_on(parser)? => {
                self.notes.push("--restart-crio has no effect: CRI-O follows its folder of configurations without a restart");
            }
            "restart-crio" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn options(
        self,
        dialect: Dialect,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Options, ThinError> {
        let conf_dir = PathBuf::from(&self.conf_dir);
        let version = version("--cni-version", &self.version)?;
        let version = match (version, dialect) {
            (None, _) => VersionRule::OfPrimary,
            (Some(version), _) if self.forces_version => VersionRule::Forced(version),
            (Some(version), Dialect::Thin) => VersionRule::Same(version),
            (Some(version), Dialect::Script | Dialect::Generator) => VersionRule::Compatible(version),
        };
        let folder = match (self.autoconfig_dir.as_str(), dialect) {
            ("", Dialect::Generator) => conf_dir.clone(),
            ("", Dialect::Thin | Dialect::Script) => "/host/etc/cni/net.d".into(),
            (folder, _) => folder.into(),
        };
        let source = match self.conf_file.as_str() {
            "auto" => Source::Auto(Box::new(Auto {
                folder,
                election: Election::parse("--multus-master-cni-file-name", &self.master)?,
                version,
                name: self.name,
                form: Form::Inline(self.form),
                master: self.master_file,
                readiness: None,
            })),
            path => Source::File(path.into()),
        };
        let authority = match self.authority.as_str() {
            "" => format!("{MOUNT}/ca.crt"),
            path => path.to_owned(),
        };
        Ok(Options {
            plugin: match self.copies {
                true => PluginCopy::To { from: self.bin_file.into(), folder: self.bin_dir.into() },
                false => PluginCopy::Skipped,
            },
            credentials: Credentials {
                server: Server::of_environment(lookup)?,
                user: User::Token(format!("{MOUNT}/token").into()),
                trust: if self.verifies { Trust::Authority(authority.into()) } else { Trust::Anybody },
                target: conf_dir.join(crate::primary::KUBECONFIG),
            },
            settings: Settings { conf_dir, source },
            watch: self.watch,
            at_exit: self.at_exit,
            notes: self.notes,
        })
    }
}

/// Reads the arguments after the program's name. `lookup` reads environment variables.
///
/// # Errors
/// [`ThinError`]: an unknown flag is an error, because a setting that is not made would not be noticed.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    lookup: &dyn Fn(&str) -> Option<String>,
    dialect: Dialect,
) -> Result<Command<Options>, ThinError> {
    let mut parser = lexopt::Parser::from_args(go_style(args));
    let mut given = Given::defaults(dialect, lookup);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('v' | 'V') | Long("version") => return Ok(Command::Version),
            Long(name) => {
                let name = name.to_owned();
                if !given.take(&name, &mut parser)? {
                    return Err(Long(&name).unexpected().into());
                }
            }
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(given.options(dialect, lookup)?))
}

/// Installs, and stays until `shutdown`.
///
/// # Errors
/// [`ThinError`], at the start. Once the configuration is in place, a failure is logged and tried again.
pub async fn run(options: Options, shutdown: Shutdown) -> Result<(), ThinError> {
    for note in &options.notes {
        tracing::warn!("{note}");
    }
    if let PluginCopy::To { from, folder } = &options.plugin {
        put_plugin(from, folder)?;
    }
    let mut upkeep = Upkeep::new(options.credentials, options.settings, options.watch);
    tokio::select! {
        biased;
        () = shutdown => {}
        error = follow(&mut upkeep) => return Err(error.into()),
    }
    if options.at_exit == AtExit::Remove {
        upkeep.remove()?;
    }
    Ok(())
}

fn put_plugin(from: &Path, folder: &Path) -> Result<(), InstallError> {
    let installed = programs::put(from, folder, "multus")?;
    programs::remove_leftovers(folder);
    tracing::info!(folder = %folder.display(), ?installed, "multus is installed");
    Ok(())
}

/// Returns only with an error.
async fn follow(upkeep: &mut Upkeep) -> UpkeepError {
    loop {
        if let Err(error) = upkeep.round() {
            return error;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

#[cfg(test)]
mod tests;
