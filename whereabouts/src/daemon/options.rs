//! The daemon's options: flags, and the variables that Whereabouts' manifests set.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt as _;
use node::client::Credentials;
use node::daemon::Command;
use node::names::{DnsLabel, NameError};

use crate::node_state::record::STATE;
use crate::rpc::wire::SOCKET;

/// The text for `--help`.
pub const USAGE: &str = "\
whereabouts-daemon: serves the whereabouts plugins of a node; the one that leads updates the IPPools and reclaims addresses

  --socket PATH        the plugins' socket (default /run/whereabouts/whereabouts.sock)
  --state PATH         the directory of the plugins' records (default /var/lib/cni/whereabouts)
  --kubeconfig PATH    credentials (default: the pod's service account)
  --namespace NAME     the namespace of claims and pools (default: WHEREABOUTS_NAMESPACE, else the credentials' namespace)
  --node NAME          the name of this node (default: NODENAME, else the host name)
  --listen ADDRESS     the address for metrics and health over HTTP, such as 127.0.0.1:9099 (default: none)
  --grace SECONDS      how long the leader keeps the address of a pod that is gone without a DEL (default 60, at least 1)
  --never-lead         serve this node only; another node's daemon leads
  --help, --version
";

/// The daemon's options.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The plugins' socket.
    pub socket: PathBuf,
    /// The directory of the plugins' records.
    pub state: PathBuf,
    /// The credentials for the API server.
    pub credentials: Credentials,
    /// The namespace of claims and pools, if not that of the credentials.
    pub namespace: Option<DnsLabel>,
    /// The name of this node.
    pub node: String,
    /// The address for metrics and health.
    pub listen: Option<SocketAddr>,
    /// How long the leader keeps the address of a pod that is gone without a DEL.
    pub grace: Duration,
    /// Whether to stand for leader.
    pub candidacy: Candidacy,
}

/// Whether to stand for leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// The daemon is a candidate.
    Stands,
    /// The daemon never leads.
    Never,
}

/// A flag or variable is wrong.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// The namespace is not a valid name.
    #[error("--namespace or WHEREABOUTS_NAMESPACE: {source}")]
    Namespace {
        /// The rule that it breaks.
        source: NameError,
    },
    /// The grace period is too short.
    #[error("--grace 0 would release the address of a pod at the first look; give at least 1 second")]
    Grace,
    /// The name of the node is missing.
    #[error("the name of this node is unknown; give --node or set NODENAME")]
    NoNode,
}

/// The daemon's environment.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `NODENAME`.
    pub node_name: Option<String>,
    /// `WHEREABOUTS_NAMESPACE`.
    pub namespace: Option<String>,
    /// The content of /etc/hostname.
    pub host_name: Option<String>,
}

/// Parses the flags, without the program's name.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    around: Surroundings,
) -> Result<Command<Options>, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options {
        socket: SOCKET.into(),
        state: STATE.into(),
        credentials: Credentials::InCluster,
        namespace: around.namespace.map(namespace).transpose()?,
        node: String::new(),
        listen: None,
        grace: Duration::from_secs(60),
        candidacy: Candidacy::Stands,
    };
    let mut node = around.node_name;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("socket") => options.socket = parser.value()?.into(),
            Long("state") => options.state = parser.value()?.into(),
            Long("kubeconfig") => options.credentials = Credentials::Kubeconfig(parser.value()?.into()),
            Long("namespace") => options.namespace = Some(namespace(parser.value()?.string()?)?),
            Long("node") => node = Some(parser.value()?.string()?),
            Long("listen") => options.listen = Some(parser.value()?.parse()?),
            Long("grace") => options.grace = Duration::from_secs(parser.value()?.parse()?),
            Long("never-lead") => options.candidacy = Candidacy::Never,
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.grace.is_zero() {
        return Err(OptionsError::Grace);
    }
    let given = [node, around.host_name].into_iter().flatten().map(|name| name.trim().to_owned());
    options.node = given.into_iter().find(|name| !name.is_empty()).ok_or(OptionsError::NoNode)?;
    Ok(Command::Run(options))
}

fn namespace(text: String) -> Result<DnsLabel, OptionsError> {
    DnsLabel::new(text).map_err(|source| OptionsError::Namespace { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], around: Surroundings) -> Result<Options, OptionsError> {
        match parse(args.iter().map(OsString::from), around)? {
            Command::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    fn node(name: &str) -> Surroundings {
        Surroundings { node_name: Some(name.to_owned()), ..Surroundings::default() }
    }

    #[test]
    fn flags_come_before_variables_and_variables_before_defaults() {
        let around = Surroundings {
            namespace: Some("from-env".into()),
            host_name: Some("host\n".into()),
            ..Surroundings::default()
        };
        let options = run(&[], around.clone()).unwrap();
        assert_eq!((options.node.as_str(), options.namespace.unwrap().as_str()), ("host", "from-env"));
        let args =
            ["--node", "n1", "--namespace", "given", "--listen", "[::1]:1", "--grace=5", "--never-lead"];
        let options = run(&args, around).unwrap();
        assert_eq!((options.node.as_str(), options.namespace.unwrap().as_str()), ("n1", "given"));
        assert_eq!(options.listen, Some("[::1]:1".parse().unwrap()));
        assert_eq!((options.grace, options.candidacy), (Duration::from_secs(5), Candidacy::Never));
    }

    #[test]
    fn errors_name_the_flag() {
        let text = |args: &[&str]| run(args, node("n")).unwrap_err().to_string();
        assert!(text(&["--banana"]).contains("--banana"));
        assert!(text(&["--grace", "0"]).contains("at least 1 second"));
        assert!(text(&["--namespace", "../x"]).contains("../x"));
        assert!(text(&["--listen"]).contains("--listen"));
        assert!(matches!(run(&[], Surroundings::default()), Err(OptionsError::NoNode)));
    }
}
