//! The daemon's flags, and the environment variables that Whereabouts' manifests set.

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

/// The text of `--help`.
pub const USAGE: &str = "\
whereabouts-daemon: serves a node's whereabouts plugins; the leader of all nodes' daemons also writes the pools' views and reclaims addresses

  --socket PATH        socket for the plugins (default /run/whereabouts/whereabouts.sock)
  --state PATH         folder of records, tombstones and hints (default /var/lib/cni/whereabouts)
  --kubeconfig PATH    credentials (default: the pod's service account)
  --namespace NAME     namespace of claims and pools (default: WHEREABOUTS_NAMESPACE, else the credentials' namespace)
  --node NAME          name of this node (default: NODENAME, else the host name)
  --listen ADDRESS     HTTP address of metrics and health, for example 127.0.0.1:9099 (default: none)
  --grace SECONDS      time from the loss of a pod until its leaked addresses are reclaimed (default 60, at least 1)
  --never-lead         serve this node, and never become the leader
  --help, --version
";

/// The daemon's options.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The socket for the plugins.
    pub socket: PathBuf,
    /// The folder of records, tombstones and hints.
    pub state: PathBuf,
    /// The credentials for the API server.
    pub credentials: Credentials,
    /// The namespace of claims and pools; `None` for the credentials' namespace.
    pub namespace: Option<DnsLabel>,
    /// The name of this node.
    pub node: String,
    /// The HTTP address of metrics and health; `None` for no endpoint.
    pub listen: Option<SocketAddr>,
    /// The time from the loss of a pod until its leaked addresses are reclaimed.
    pub grace: Duration,
    /// Whether this daemon may become the leader.
    pub candidacy: Candidacy,
    /// How long it runs.
    pub lifetime: Lifetime,
}

/// How long a daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// Until a signal ends it.
    Unlimited,
    /// Until a signal ends it, or until this time is over.
    Limited(Duration),
}

/// Whether this daemon may become the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Candidacy {
    /// It may.
    MayLead,
    /// It may not: the daemons of other nodes lead.
    NeverLead,
}

/// Why the flags or variables are invalid.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// An invalid namespace.
    #[error("--namespace or WHEREABOUTS_NAMESPACE: {text:?} is not a namespace name: {source}")]
    Namespace {
        /// The value.
        text: String,
        /// The reason.
        source: NameError,
    },
    /// The grace time is too short.
    #[error("--grace is 0, which would reclaim addresses without a grace time: use at least 1 second")]
    Grace,
    /// The node's name is missing.
    #[error("the node's name is unknown: use --node or set NODENAME")]
    NoNode,
}

/// The daemon's environment.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `NODENAME`.
    pub node_name: Option<String>,
    /// `WHEREABOUTS_NAMESPACE`.
    pub namespace: Option<String>,
    /// The content of `/etc/hostname`.
    pub host_name: Option<String>,
}

/// Parses the arguments after the program's name. Flags override variables.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: Environment,
) -> Result<Command<Options>, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut options = Options {
        socket: SOCKET.into(),
        state: STATE.into(),
        credentials: Credentials::InCluster,
        namespace: environment.namespace.map(namespace).transpose()?,
        node: String::new(),
        listen: None,
        grace: Duration::from_secs(60),
        candidacy: Candidacy::MayLead,
        lifetime: Lifetime::Unlimited,
    };
    let mut node = environment.node_name;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("socket") => options.socket = parser.value()?.into(),
            Long("state") => options.state = parser.value()?.into(),
            Long("kubeconfig") => options.credentials = Credentials::Kubeconfig(parser.value()?.into()),
            Long("namespace") => options.namespace = Some(namespace(parser.value()?.string()?)?),
            Long("node") => node = Some(parser.value()?.string()?),
            Long("listen") => options.listen = Some(parser.value()?.parse()?),
            Long("grace") => options.grace = Duration::from_secs(parser.value()?.parse()?),
            Long("never-lead") => options.candidacy = Candidacy::NeverLead,
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V') | Long("version") => return Ok(Command::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    if options.grace.is_zero() {
        return Err(OptionsError::Grace);
    }
    let names = [node, environment.host_name].into_iter().flatten().map(|name| name.trim().to_owned());
    options.node = names.into_iter().find(|name| !name.is_empty()).ok_or(OptionsError::NoNode)?;
    Ok(Command::Run(options))
}

fn namespace(text: String) -> Result<DnsLabel, OptionsError> {
    DnsLabel::new(text.as_str()).map_err(|source| OptionsError::Namespace { text, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], environment: Environment) -> Result<Options, OptionsError> {
        match parse(args.iter().map(OsString::from), environment)? {
            Command::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    fn node(name: &str) -> Environment {
        Environment { node_name: Some(name.to_owned()), ..Environment::default() }
    }

    #[test]
    fn flags_override_variables_and_variables_override_defaults() {
        let environment = Environment {
            namespace: Some("from-env".into()),
            host_name: Some("host\n".into()),
            ..Environment::default()
        };
        let options = run(&[], environment.clone()).unwrap();
        assert_eq!((options.node.as_str(), options.namespace.unwrap().as_str()), ("host", "from-env"));
        let args =
            ["--node", "n1", "--namespace", "given", "--listen", "[::1]:1", "--grace=5", "--never-lead"];
        let options = run(&args, environment).unwrap();
        assert_eq!((options.node.as_str(), options.namespace.unwrap().as_str()), ("n1", "given"));
        assert_eq!(options.listen, Some("[::1]:1".parse().unwrap()));
        assert_eq!((options.grace, options.candidacy), (Duration::from_secs(5), Candidacy::NeverLead));
    }

    #[test]
    fn an_error_names_the_flag_or_value() {
        let text = |args: &[&str]| run(args, node("n")).unwrap_err().to_string();
        assert!(text(&["--banana"]).contains("--banana"));
        assert!(text(&["--grace", "0"]).contains("at least 1 second"));
        assert!(text(&["--namespace", "../x"]).contains("../x"));
        assert!(text(&["--listen"]).contains("--listen"));
        assert!(matches!(run(&[], Environment::default()), Err(OptionsError::NoNode)));
    }
}
