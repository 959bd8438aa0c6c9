//! The command line of `multus hotplug`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short};

/// The text of `--help`.
pub(super) const USAGE: &str = "\
multus hotplug: adds networks to running pods and removes them, as their annotation k8s.v1.cni.cncf.io/networks changes. It runs until SIGTERM, as
root, on a node with multus-daemon.

      --conf-dir PATH   folder with the multus configuration (default /etc/cni/net.d)
  -h, --help
";

/// What the command line requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Print the usage.
    Help,
    /// Run.
    Run(Options),
}

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    /// The folder with the multus configuration.
    pub(super) conf_dir: PathBuf,
}

/// The command line is not understood.
#[derive(Debug, thiserror::Error)]
#[error("{0}; \"multus hotplug --help\" shows the flags")]
pub(super) struct OptionsError(#[from] lexopt::Error);

/// Parses the arguments behind `hotplug`.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options { conf_dir: PathBuf::from("/etc/cni/net.d") };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("conf-dir") => options.conf_dir = parser.value()?.into(),
            Short('h') | Long("help") => return Ok(Request::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Request::Run(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_read_and_others_refused() {
        let read = |args: &[&str]| parse(args.iter().map(OsString::from));
        let of = |path: &str| Request::Run(Options { conf_dir: path.into() });
        assert_eq!(read(&[]).unwrap(), of("/etc/cni/net.d"));
        assert_eq!(read(&["--conf-dir", "/x"]).unwrap(), of("/x"));
        assert_eq!(read(&["-h"]).unwrap(), Request::Help);
        for wrong in [&["x"][..], &["--conf"], &["--conf-dir"]] {
            assert!(read(wrong).unwrap_err().to_string().contains("multus hotplug --help"));
        }
    }
}
