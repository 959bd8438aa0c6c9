//! The flags of `cert-approver`.

use std::ffi::OsString;

use lexopt::Arg::{Long, Short};
use node::client::Credentials;
use node::daemon::Command;

/// The text of `--help`.
pub const USAGE: &str = "\
cert-approver: approves the requests for a client certificate that multus makes on each node (perNodeCertificate), and denies what is none of multus

  --kubeconfig PATH  credentials (default: the pod's service account)
  --help, --version
";

/// What the flags say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The credentials for the API server.
    pub credentials: Credentials,
}

/// The flags are invalid.
#[derive(Debug, thiserror::Error)]
#[error("{0}; --help shows the flags")]
pub struct OptionsError(#[from] lexopt::Error);

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`OptionsError`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Command<Options>, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut credentials = Credentials::InCluster;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("kubeconfig") => credentials = Credentials::Kubeconfig(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V' | 'v') | Long("version") => return Ok(Command::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Run(Options { credentials }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Command<Options>, OptionsError> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn the_pods_account_is_used_unless_a_kubeconfig_is_given() {
        let run = |credentials| Command::Run(Options { credentials });
        assert_eq!(parsed(&[]).unwrap(), run(Credentials::InCluster));
        let given = parsed(&["--kubeconfig", "/k"]).unwrap();
        assert_eq!(given, run(Credentials::Kubeconfig("/k".into())));
        assert_eq!(parsed(&["--help"]).unwrap(), Command::Help);
        assert_eq!(parsed(&["--version"]).unwrap(), Command::Version);
    }

    #[test]
    fn an_unknown_flag_is_named() {
        for args in [&["--banana"][..], &["banana"], &["--kubeconfig"]] {
            let error = parsed(args).unwrap_err().to_string();
            let flag = args[0].trim_start_matches('-');
            assert!(error.contains(flag) && error.ends_with("--help shows the flags"), "{error}");
        }
    }
}
