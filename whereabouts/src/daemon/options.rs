//! What the daemon is told when it is started: by flags, and by the variables that Whereabouts' manifests set.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt as _;
use node::client::Credentials;
use node::names::{DnsLabel, NameError};

use crate::node_state::record::STATE;
use crate::rpc::wire::SOCKET;

/// How the daemon is used.
pub const USAGE: &str = "\
whereabouts-daemon: serves a node's whereabouts plugins; one of all nodes' leads, keeps the pools' view and reclaims addresses

  --socket PATH        where plugins ask (default /run/whereabouts/whereabouts.sock)
  --state PATH         the plugins' records (default /var/lib/cni/whereabouts)
  --kubeconfig PATH    credentials (default: the pod's service account)
  --namespace NAME     where claims and pools are (default: WHEREABOUTS_NAMESPACE, else the credentials' namespace)
  --node NAME          this node (default: NODENAME, else the host's name)
  --listen ADDRESS     metrics and health over HTTP, as 127.0.0.1:9099 (default: none)
  --grace SECONDS      how long an address outlives its pod that was never deleted properly (default 60, at least 1)
  --never-lead         serve this node only
  --help, --version
";

/// What the daemon is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Where plugins ask.
    pub socket: PathBuf,
    /// The plugins' records.
    pub state: PathBuf,
    /// Whose rights.
    pub credentials: Credentials,
    /// Where claims and pools are, if not where the credentials say.
    pub namespace: Option<DnsLabel>,
    /// This node.
    pub node: String,
    /// Where metrics and health are shown.
    pub listen: Option<SocketAddr>,
    /// How long an address outlives its pod.
    pub grace: Duration,
    /// Whether to stand for leader.
    pub candidacy: Candidacy,
}

/// Whether to stand for leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// Yes.
    Stands,
    /// No: other nodes' daemons lead.
    Never,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Wanted {
    Run(Box<Options>),
    Help,
    Version,
}

/// The flags or variables are wrong.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// Not one of the flags, or without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// Not a namespace.
    #[error("the namespace {text:?} is none: {source}")]
    Namespace {
        /// What was given.
        text: String,
        /// What is wrong.
        source: NameError,
    },
    /// The grace time is too short.
    #[error("--grace 0 would release addresses on first sight: give at least 1 second")]
    Grace,
    /// The node's name is missing.
    #[error("the node's name is unknown: give --node or set NODENAME")]
    NoNode,
}

/// What the daemon finds around it.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `NODENAME`.
    pub node_name: Option<String>,
    /// `WHEREABOUTS_NAMESPACE`.
    pub namespace: Option<String>,
    /// The host's name.
    pub host_name: Option<String>,
}

/// Reads the flags after the program's name.
pub fn parse(args: impl IntoIterator<Item = OsString>, around: Surroundings) -> Result<Wanted, OptionsError> {
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
            Short('h') | Long("help") => return Ok(Wanted::Help),
            Short('V') | Long("version") => return Ok(Wanted::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.grace.is_zero() {
        return Err(OptionsError::Grace);
    }
    let given = [node, around.host_name].into_iter().flatten().map(|name| name.trim().to_owned());
    options.node = given.into_iter().find(|name| !name.is_empty()).ok_or(OptionsError::NoNode)?;
    Ok(Wanted::Run(Box::new(options)))
}

fn namespace(text: String) -> Result<DnsLabel, OptionsError> {
    DnsLabel::new(text.as_str()).map_err(|source| OptionsError::Namespace { text, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], around: Surroundings) -> Result<Options, OptionsError> {
        match parse(args.iter().map(OsString::from), around)? {
            Wanted::Run(options) => Ok(*options),
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
    fn what_is_wrong_is_said() {
        let text = |args: &[&str]| run(args, node("n")).unwrap_err().to_string();
        assert!(text(&["--banana"]).contains("--banana"));
        assert!(text(&["--grace", "0"]).contains("at least 1 second"));
        assert!(text(&["--namespace", "../x"]).contains("../x"));
        assert!(text(&["--listen"]).contains("--listen"));
        assert!(matches!(run(&[], Surroundings::default()), Err(OptionsError::NoNode)));
    }
}
