//! `kubeconfig_generator`: keeps a kubeconfig with a certificate of the node, for a plugin without a daemon.
//!
//! Two faults of upstream are not repeated: there `--kubeconfig` has no effect, and the plugin must find the files of the certificate by the path
//! that they have in the container.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short};
use node::daemon::{Command, Shutdown};
use node::files::{FileError, remove_if_exists};
use node::names::{DnsSubdomain, NameError};

use super::flags::{go_style, text};
use crate::certificate::{CertificateError, DEFAULT_DURATION, Keeper, Settings, SettingsError, duration};

/// The text of `--help`.
pub(super) const USAGE: &str = "\
kubeconfig_generator: gets a client certificate for multus on this node, renews it, and keeps a kubeconfig with it until the end

  --bootstrap-config PATH   the kubeconfig for the first request (default /tmp/kubeconfig)
  --certdir PATH            the folder of the certificate (default /tmp)
  --cert-duration DURATION  how long a certificate is valid, such as 24h (default 10m)
  --kubeconfig PATH         the kubeconfig to write (default /run/multus/kubeconfig)
  --help, --version

MULTUS_NODE_NAME is the name of this node.
";

/// What to keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The certificate.
    pub certificate: Settings,
    /// The kubeconfig with it.
    pub kubeconfig: PathBuf,
}

/// The program failed.
#[derive(Debug, thiserror::Error)]
pub enum GeneratorError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// A flag's value is wrong, or the name of the node is unknown.
    #[error(transparent)]
    Setting(#[from] SettingsError),
    /// The name of the node is none.
    #[error("MULTUS_NODE_NAME: {0}")]
    Node(#[from] NameError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The kubeconfig cannot be removed at the end.
    #[error(transparent)]
    Remove(#[from] FileError),
}

/// Reads the arguments after the program's name. `lookup` reads environment variables.
///
/// # Errors
/// [`GeneratorError`].
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Command<Options>, GeneratorError> {
    let mut parser = lexopt::Parser::from_args(go_style(args));
    let (mut bootstrap, mut folder) = (PathBuf::from("/tmp/kubeconfig"), PathBuf::from("/tmp"));
    let (mut kubeconfig, mut valid) = (PathBuf::from("/run/multus/kubeconfig"), DEFAULT_DURATION);
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            Long("bootstrap-config") => bootstrap = parser.value()?.into(),
            Long("certdir") => folder = parser.value()?.into(),
            Long("cert-duration") => valid = duration("--cert-duration", &text(&mut parser)?)?,
            Long("kubeconfig") => kubeconfig = parser.value()?.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    let node = lookup("MULTUS_NODE_NAME").unwrap_or_default();
    if node.trim().is_empty() {
        return Err(SettingsError::Node("kubeconfig_generator").into());
    }
    let node = DnsSubdomain::new(node.trim())?;
    let certificate = Settings { node, bootstrap, folder, duration: valid };
    Ok(Command::Run(Options { certificate, kubeconfig }))
}

/// Keeps the kubeconfig until `shutdown`, and removes it then: nobody renews its certificate any more.
///
/// # Errors
/// [`GeneratorError`]. Once there is a certificate, a failure is logged and tried again.
pub async fn run(options: Options, mut shutdown: Shutdown) -> Result<(), GeneratorError> {
    let mut keeper = Keeper::new(options.certificate, options.kubeconfig.clone());
    tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        first = keeper.first() => first?,
    }
    tracing::info!(file = %options.kubeconfig.display(), "kubeconfig written");
    tokio::select! {
        biased;
        () = shutdown => {}
        () = keeper.run() => {}
    }
    Ok(remove_if_exists(&options.kubeconfig)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options(args: &[&str], node: Option<&str>) -> Result<Options, String> {
        let lookup = |name: &str| node.filter(|_| name == "MULTUS_NODE_NAME").map(str::to_owned);
        match parse(args.iter().map(OsString::from), &lookup) {
            Ok(Command::Run(options)) => Ok(options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_flags_and_their_defaults_are_upstreams() {
        let defaults = options(&[], Some("n1")).unwrap();
        let certificate = Settings {
            node: DnsSubdomain::new("n1").unwrap(),
            bootstrap: "/tmp/kubeconfig".into(),
            folder: "/tmp".into(),
            duration: Duration::from_mins(10),
        };
        assert_eq!(defaults, Options { certificate, kubeconfig: "/run/multus/kubeconfig".into() });
        let args = ["--certdir=/c", "-bootstrap-config", "/b", "--kubeconfig=/k", "-cert-duration=24h"];
        let given = options(&args, Some("n1")).unwrap();
        assert_eq!((given.certificate.folder, given.certificate.bootstrap), ("/c".into(), "/b".into()));
        assert_eq!((given.kubeconfig, given.certificate.duration), ("/k".into(), Duration::from_hours(24)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(options(&[], None).unwrap_err().contains("MULTUS_NODE_NAME"));
        assert!(options(&[], Some("a b")).unwrap_err().contains("MULTUS_NODE_NAME"));
        assert!(
            options(&["--cert-duration=1m"], Some("n1")).unwrap_err().contains("--cert-duration is \"1m\"")
        );
        assert!(options(&["--banana"], Some("n1")).unwrap_err().contains("--banana"));
    }
}
