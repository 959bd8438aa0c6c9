//! The command line of `multus explain`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use nad::{PodRef, PodRefError};

/// The text of `--help`.
pub(super) const USAGE: &str = "\
multus explain NAMESPACE/POD: says what this node's files know about a pod's networks. It changes nothing and asks no API server.

      --cni-dir PATH    folder of the records, as cniDir in the multus configuration (default /var/lib/cni/multus)
  -o, --output FORMAT   table (default) or json
  -h, --help
";

/// What the command line requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Request {
    /// Print the usage.
    Help,
    /// Explain a pod.
    Explain(Options),
}

/// Which pod, and how.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Options {
    /// The pod; its UID is unknown.
    pub(super) pod: PodRef,
    /// The folder of the records.
    pub(super) cni_dir: PathBuf,
    /// The form of the output.
    pub(super) format: Format,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why the command line is invalid.
#[derive(Debug, thiserror::Error)]
pub(super) enum OptionsError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; \"multus explain --help\" shows the flags")]
    Flag(#[from] lexopt::Error),
    /// There is no pod, or there are several.
    #[error("name one pod: multus explain NAMESPACE/POD")]
    OnePod,
    /// The name of the pod.
    #[error(transparent)]
    Pod(#[from] PodRefError),
    /// `-o` with an unknown format.
    #[error("--output {0:?}: use table or json")]
    Format(String),
}

/// Parses the arguments behind `explain`.
pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let (mut pods, mut cni_dir, mut format) =
        (Vec::new(), PathBuf::from("/var/lib/cni/multus"), Format::Table);
    while let Some(arg) = parser.next()? {
        match arg {
            Value(pod) => pods.push(pod.string()?),
            Long("cni-dir") => cni_dir = parser.value()?.into(),
            Short('o') | Long("output") => {
                format = match parser.value()?.string()?.as_str() {
                    "table" => Format::Table,
                    "json" => Format::Json,
                    other => return Err(OptionsError::Format(other.to_owned())),
                }
            }
            Short('h') | Long("help") => return Ok(Request::Help),
            other => return Err(other.unexpected().into()),
        }
    }
    let [pod] = pods.as_slice() else { return Err(OptionsError::OnePod) };
    Ok(Request::Explain(Options { pod: pod.parse()?, cni_dir, format }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Request, OptionsError> {
        parse(args.iter().map(OsString::from))
    }

    #[test]
    fn a_pod_a_folder_and_a_format_are_read() {
        let request = read(&["ns/web-0", "--cni-dir", "/x", "-o", "json"]).unwrap();
        let want = Options { pod: "ns/web-0".parse().unwrap(), cni_dir: "/x".into(), format: Format::Json };
        assert_eq!(request, Request::Explain(want));
        assert_eq!(read(&["--help"]).unwrap(), Request::Help);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_name() {
        for (args, want) in [
            (&[][..], "name one pod"),
            (&["a/b", "c/d"], "name one pod"),
            (&["web-0"], "no \"/\""),
            (&["a/b", "-x"], "-x"),
            (&["a/b", "-o", "x"], "\"x\""),
        ] {
            let error = read(args).unwrap_err().to_string();
            assert!(error.contains(want), "{args:?}: {error}");
        }
    }
}
