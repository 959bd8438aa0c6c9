//! The commands that do one thing and end: `install`, `install_multus`, `generate-kubeconfig`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use node::daemon::Command;

use super::flags::{go_style, is_on, text};

use super::programs::{self, InstallError};
use crate::kubeconfig::{Credentials, KubeconfigError, MOUNT, Server, Trust, User};
use crate::primary::KUBECONFIG;

/// The text of `install --help`.
pub(super) const INSTALL_USAGE: &str = "\
multus-daemon install [PROGRAM...]: puts programs of this image into the node's folder of plugins, and ends
  without names: multus multus-shim passthru macvlan ipvlan

  -d, --dest-dir PATH   the folder (default /host/opt/cni/bin)
  --source-dir PATH     where the programs are (default /usr/src/multus-cni/bin)
  --help, --version
";

/// The text of `install_multus --help`.
pub(super) const INSTALL_MULTUS_USAGE: &str = "\
install_multus --type thin|thick: puts multus (thin) or multus-shim (thick), and passthru, into the node's folder of plugins, and ends

  -t, --type TYPE       thin or thick
  -d, --dest-dir PATH   the folder (default /host/opt/cni/bin)
  --source-dir PATH     where the programs are (default /usr/src/multus-cni/bin)
  --help, --version
";

/// The text of `generate-kubeconfig --help`.
pub(super) const KUBECONFIG_USAGE: &str = "\
generate-kubeconfig: writes multus.d/multus.kubeconfig with the token of the pod, and ends

  --k8s-service-host HOST, --k8s-service-port PORT   the API server (default: as the pod's variables say)
  --cni-config-dir PATH                              the node's folder of configurations (default /host/etc/cni/net.d)
  --kube-ca-file PATH                                the API server's authority (default: the pod's)
  --skip-tls-verify                                  for tests
  --help, --version
";

/// What our own manifests install. whereabouts has a DaemonSet of its own.
const ALL: &[&str] = &["multus", "multus-shim", "passthru", "macvlan", "ipvlan"];

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// `install_multus` has no type.
    #[error("--type is missing or --type has invalid value: use thin or thick")]
    Type,
    /// The name is a path.
    #[error("{0:?} is no name of a program: give the name of a file in --source-dir")]
    Name(String),
    /// A program cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The kubeconfig cannot be written.
    #[error("failed generating kubeconfig: {0}")]
    Kubeconfig(#[from] KubeconfigError),
}

/// Which programs go where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// The image's folder.
    from: PathBuf,
    /// The node's folder.
    to: PathBuf,
    /// The names in both.
    names: Vec<String>,
}

/// Which command says the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// `install`: its arguments.
    Arguments,
    /// `install_multus`: its flag `--type`.
    Type,
}

/// Reads the arguments of `install` and `install_multus`.
pub(super) fn parse_programs(
    args: impl IntoIterator<Item = OsString>,
    naming: Naming,
) -> Result<Command<Programs>, OnceError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut programs =
        Programs { from: programs::SOURCE.into(), to: programs::TARGET.into(), names: Vec::new() };
    while let Some(arg) = parser.next()? {
        match (arg, naming) {
            (Short('h') | Long("help"), _) => return Ok(Command::Help),
            (Short('V') | Long("version"), _) => return Ok(Command::Version),
            (Short('d') | Long("dest-dir"), _) => programs.to = parser.value()?.into(),
            (Long("source-dir"), _) => programs.from = parser.value()?.into(),
            (Short('t') | Long("type"), Naming::Type) => {
                let name = match text(&mut parser)?.as_str() {
                    "thin" => "multus",
                    "thick" => "multus-shim",
                    _ => return Err(OnceError::Type),
                };
                programs.names = vec![name.to_owned(), "passthru".to_owned()];
            }
            (Value(name), Naming::Arguments) => programs.names.push(program(name.string()?)?),
            (other, _) => return Err(other.unexpected().into()),
        }
    }
    match naming {
        Naming::Type if programs.names.is_empty() => return Err(OnceError::Type),
        Naming::Arguments if programs.names.is_empty() => {
            programs.names = ALL.iter().map(|name| (*name).to_owned()).collect();
        }
        Naming::Type | Naming::Arguments => {}
    }
    Ok(Command::Run(programs))
}

fn program(name: String) -> Result<String, OnceError> {
    let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || !name.bytes().all(is_name) {
        return Err(OnceError::Name(name));
    }
    Ok(name)
}

/// Installs the programs, in order.
pub(super) fn install(programs: &Programs) -> Result<(), OnceError> {
    for name in &programs.names {
        let installed = programs::put(&programs.from.join(name), &programs.to, name)?;
        tracing::info!(program = name, folder = %programs.to.display(), ?installed, "installed");
    }
    programs::remove_leftovers(&programs.to);
    Ok(())
}

/// Reads the arguments of `generate-kubeconfig`. `lookup` reads environment variables.
pub(super) fn parse_kubeconfig(
    args: impl IntoIterator<Item = OsString>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Command<Credentials>, OnceError> {
    let mut parser = lexopt::Parser::from_args(go_style(args));
    let variable = |name| lookup(name).unwrap_or_default();
    let (mut host, mut port) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT"));
    let mut folder = PathBuf::from("/host/etc/cni/net.d");
    let mut authority = PathBuf::from(format!("{MOUNT}/ca.crt"));
    let mut skips = false;
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("k8s-service-host") => host = text(&mut parser)?,
            Long("k8s-service-port") => port = text(&mut parser)?,
            Long("cni-config-dir") => folder = parser.value()?.into(),
            Long("kube-ca-file") => authority = parser.value()?.into(),
            Long("skip-tls-verify") => skips = is_on(&mut parser)?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(Credentials {
        server: Server::new("https", &host, &port)?,
        user: User::Token(format!("{MOUNT}/token").into()),
        trust: if skips { Trust::Anybody } else { Trust::Authority(authority) },
        target: folder.join(KUBECONFIG),
    }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use node::files::write_atomic;

    use super::*;

    fn programs(args: &[&str], naming: Naming) -> Result<Programs, String> {
        match parse_programs(args.iter().map(OsString::from), naming) {
            Ok(Command::Run(programs)) => Ok(programs),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn install_multus_installs_the_plugin_of_its_type_and_passthru() {
        for (args, plugin, folder) in [
            (&["--type", "thin"][..], "multus", "/host/opt/cni/bin"),
            (&["-d", "/host/opt/cni/bin", "-t", "thick"], "multus-shim", "/host/opt/cni/bin"),
            (&["--type=thick", "--dest-dir=/x"], "multus-shim", "/x"),
        ] {
            let programs = programs(args, Naming::Type).unwrap();
            assert_eq!(
                (programs.names.as_slice(), programs.to.as_path()),
                (&[plugin.to_owned(), "passthru".into()][..], Path::new(folder))
            );
        }
        for args in [&[][..], &["--type=fat"], &["--type="]] {
            assert!(
                programs(args, Naming::Type)
                    .unwrap_err()
                    .starts_with("--type is missing or --type has invalid value")
            );
        }
    }

    #[test]
    fn install_takes_names_and_no_paths() {
        assert_eq!(programs(&[], Naming::Arguments).unwrap().names, ALL);
        assert_eq!(programs(&["whereabouts"], Naming::Arguments).unwrap().names, ["whereabouts"]);
        for wrong in ["../x", "a/b", "", ".."] {
            assert!(programs(&[wrong], Naming::Arguments).is_err());
        }
        assert!(programs(&["--banana"], Naming::Arguments).unwrap_err().contains("--banana"));
        assert!(programs(&["-t", "thin"], Naming::Arguments).unwrap_err().contains("-t"));
    }

    #[test]
    fn programs_are_installed_in_order_until_one_is_missing() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        std::fs::create_dir(path("bin")).unwrap();
        write_atomic(&path("multus"), b"\x7fELF", 0o755).unwrap();
        let names = vec!["multus".to_owned(), "absent".to_owned()];
        let error = install(&Programs { from: root.path().into(), to: path("bin"), names }).unwrap_err();
        assert!(error.to_string().contains("absent") && path("bin/multus").exists());
    }

    fn kubeconfig(args: &[&str]) -> Result<Credentials, String> {
        match parse_kubeconfig(args.iter().map(OsString::from), &|_| None) {
            Ok(Command::Run(credentials)) => Ok(credentials),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn generate_kubeconfig_reads_upstreams_flags() {
        let address = ["-k8s-service-host=10.96.0.1", "-k8s-service-port=443"];
        let credentials = kubeconfig(&address).unwrap();
        assert_eq!(credentials.server.to_string(), "https://10.96.0.1:443");
        assert_eq!(credentials.target, Path::new("/host/etc/cni/net.d/multus.d/multus.kubeconfig"));
        let more = [address[0], address[1], "-cni-config-dir=/c", "-kube-ca-file=/ca"];
        let credentials = kubeconfig(&more).unwrap();
        assert_eq!(credentials.target, Path::new("/c/multus.d/multus.kubeconfig"));
        assert_eq!(credentials.trust, Trust::Authority("/ca".into()));
        for args in [
            [address[0], address[1], "-skip-tls-verify", "-kube-ca-file=/ca"],
            ["-kube-ca-file=/ca", "-skip-tls-verify", address[0], address[1]],
        ] {
            assert_eq!(kubeconfig(&args).unwrap().trust, Trust::Anybody);
        }
        assert!(kubeconfig(&[]).unwrap_err().contains("KUBERNETES_SERVICE_HOST"));
        assert!(kubeconfig(&["-banana"]).unwrap_err().contains("--banana"));
    }
}
