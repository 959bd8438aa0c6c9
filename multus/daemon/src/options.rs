//! The daemon's flags, and the environment variables that upstream's manifests set.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short};
use lexopt::ValueExt as _;
use node::client::Credentials;
use node::daemon::{Command, Log};
use node::names::{DnsSubdomain, NameError};

use crate::certificate::{self, DEFAULT_DURATION, SettingsError, Store};
use crate::config::{ConfigError, DaemonConfig, LogLevel, PerNodeCertificate};
use crate::install::{Plan, PlanError};
use crate::kubeconfig::User;

/// The text of `--help`.
pub const USAGE: &str = "\
multus-daemon: answers a node's multus plugins from a cache of the API server's pods and networks, and writes what they report

  --config PATH        configuration file (default /etc/cni/net.d/multus.d/daemon-config.json, if it is there); also -config
  --socket-dir PATH    folder of the plugins' socket multus.sock (default: socketDir of the file, else /run/multus)
  --kubeconfig PATH    credentials (default: the pod's service account)
  --node NAME          name of this node (default: MULTUS_NODE_NAME, else NODENAME; without a name, pods are not cached)
  --listen ADDRESS     HTTP address of metrics and health, for example 127.0.0.1:9193 (default: port metricsPort of the file, else none)
  --connections NUMBER requests served at the same time (default: connectionLimit of the file, else 32)
  --help, --version
";

/// The number of requests that are served at the same time. A request that the cache answers takes a fraction of a millisecond; one that the API
/// server answers holds a pod object, some 100 KB as parsed JSON.
const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(31);

/// The daemon's options.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The socket for the plugins.
    pub socket: PathBuf,
    /// The credentials for the API server.
    pub credentials: Credentials,
    /// The name of this node. Without it every request about a pod goes to the API server.
    pub node: Option<DnsSubdomain>,
    /// The HTTP address of metrics and health; `None` for no page.
    pub listen: Option<SocketAddr>,
    /// The number of requests that are served at the same time.
    pub connections: NonZeroUsize,
    /// What is logged, and where.
    pub log: Log,
    /// What the configuration file asks for and does not get.
    pub warnings: Vec<String>,
    /// The certificate of this node, if the file asks for one. `credentials` is then the kubeconfig with it.
    pub certificate: Option<certificate::Settings>,
    /// The plugin's configuration and kubeconfig, if the file asks for them.
    pub upkeep: Option<Plan>,
}

/// Why the flags, variables or the file are invalid.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; --help shows the flags")]
    Flag(#[from] lexopt::Error),
    /// The node's name is none.
    #[error("--node, MULTUS_NODE_NAME or NODENAME: {0}")]
    Node(#[from] NameError),
    /// The configuration file cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration file asks for a certificate that cannot be requested.
    #[error("daemon configuration: {0}")]
    Certificate(#[from] SettingsError),
    /// The configuration file asks for a plugin's configuration that cannot be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// The variables that matter.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `MULTUS_NODE_NAME`, or `NODENAME`.
    pub node_name: Option<String>,
    /// The variables of the kubelet that name the API server: `KUBERNETES_SERVICE_PROTOCOL`, `_HOST` and `_PORT`.
    pub service: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process.
    pub fn of_process() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let service = std::env::vars().filter(|(name, _)| name.starts_with("KUBERNETES_SERVICE_")).collect();
        Environment { node_name: set("MULTUS_NODE_NAME").or_else(|| set("NODENAME")), service }
    }
}

/// Parses the arguments after the program's name, and reads the configuration file. Flags override the file and the variables.
///
/// # Errors
/// [`OptionsError`].
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: Environment,
) -> Result<Command<Options>, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args.into_iter().map(with_two_dashes));
    let (mut config, mut socket_dir, mut kubeconfig) = (None, None, None);
    let (mut node, mut listen, mut connections) = (environment.node_name, None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("config") => config = Some(PathBuf::from(parser.value()?)),
            Long("socket-dir") => socket_dir = Some(PathBuf::from(parser.value()?)),
            Long("kubeconfig") => kubeconfig = Some(Credentials::Kubeconfig(parser.value()?.into())),
            Long("node") => node = Some(parser.value()?.string()?),
            Long("listen") => listen = Some(parser.value()?.parse()?),
            Long("connections") => connections = Some(parser.value()?.parse()?),
            Short('h') | Long("help") => return Ok(Command::Help),
            Short('V' | 'v') | Long("version") => return Ok(Command::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut config = match config {
        Some(path) => DaemonConfig::read(&path)?,
        None => DaemonConfig::read_default()?,
    };
    let node = node.map(|name| DnsSubdomain::new(name.trim())).transpose()?;
    if kubeconfig.is_some() && config.certificate.take().is_some() {
        config
            .warnings
            .push("key \"perNodeCertificate\" has no effect, because --kubeconfig is given".to_owned());
    }
    let certificate =
        config.certificate.as_ref().map(|wanted| certificate(wanted, node.as_ref())).transpose()?;
    let mut upkeep = upkeep(&config, &environment.service)?;
    if let (Some(plan), Some(certificate)) = (&mut upkeep, &certificate) {
        plan.credentials.user = User::Certificate(Store::new(&certificate.folder).current());
    }
    let of_certificate =
        || certificate.as_ref().map(|certificate| Credentials::Kubeconfig(certificate.kubeconfig()));
    // As upstream: the port is open on every address of the node.
    let metrics = config.metrics_port.map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    Ok(Command::Run(Options {
        socket: nad::rpc::socket(&socket_dir.unwrap_or(config.socket_dir)),
        credentials: kubeconfig.or_else(of_certificate).unwrap_or(Credentials::InCluster),
        node,
        listen: listen.or(metrics),
        connections: connections.or(config.connection_limit).unwrap_or(CONNECTIONS),
        log: Log { level: config.log_level.into(), target: config.log_target },
        warnings: config.warnings,
        certificate,
        upkeep,
    }))
}

fn certificate(
    wanted: &PerNodeCertificate,
    node: Option<&DnsSubdomain>,
) -> Result<certificate::Settings, SettingsError> {
    let required = |key, value: &str, expected| match value {
        "" => Err(SettingsError::Missing { key, expected }),
        path => Ok(PathBuf::from(path)),
    };
    Ok(certificate::Settings {
        node: node.cloned().ok_or(SettingsError::Node("perNodeCertificate"))?,
        bootstrap: required(
            "perNodeCertificate.bootstrapKubeconfig",
            &wanted.bootstrap_kubeconfig,
            "the path of a kubeconfig of this node, such as the kubelet's /var/lib/kubelet/kubeconfig, in this container",
        )?,
        folder: required(
            "perNodeCertificate.certDir",
            &wanted.cert_dir,
            "a folder of the node in this container, such as /etc/cni/multus/certs",
        )?,
        duration: match wanted.cert_duration.as_str() {
            "" => DEFAULT_DURATION,
            text => certificate::duration("perNodeCertificate.certDuration", text)?,
        },
    })
}

/// A file that says where the plugin's configuration goes asks for it, as upstream's file does. A daemon without such a key serves only.
fn upkeep(config: &DaemonConfig, service: &BTreeMap<String, String>) -> Result<Option<Plan>, PlanError> {
    if config.install.is_empty() {
        return Ok(None);
    }
    let keys =
        config.install.iter().chain(&config.conf).map(|(key, value)| (key.clone(), value.clone())).collect();
    Plan::of_daemon_config(&keys, &|name| service.get(name).cloned()).map(Some)
}

/// Go's flags may begin with one dash: `-config PATH`.
fn with_two_dashes(arg: OsString) -> OsString {
    let is_go_flag = arg.to_str().is_some_and(|text| {
        let name = text.split('=').next().unwrap_or_default();
        matches!(name, "-config" | "-version" | "-help")
    });
    if !is_go_flag {
        return arg;
    }
    let mut long = OsString::from("-");
    long.push(arg);
    long
}

impl From<LogLevel> for tracing::Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => tracing::Level::ERROR,
            LogLevel::Verbose => tracing::Level::INFO,
            LogLevel::Debug => tracing::Level::DEBUG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(args: &[&str], node: Option<&str>) -> Result<Options, OptionsError> {
        let service = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("KUBERNETES_SERVICE_PORT", "443")];
        let service = service.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let environment = Environment { node_name: node.map(str::to_owned), service };
        match parse(args.iter().map(OsString::from), environment)? {
            Command::Run(options) => Ok(options),
            other => panic!("{other:?}"),
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon-config.json");
        node::files::replace(&path, text.as_bytes()).unwrap();
        let path = path.to_str().unwrap().to_owned();
        (folder, path)
    }

    #[test]
    fn flags_override_the_file_and_the_file_overrides_defaults() {
        let (_folder, path) = file(
            r#"{"socketDir": "/s", "metricsPort": 9091, "connectionLimit": 4, "logLevel": "debug", "x": 1}"#,
        );
        let options = run(&["--config", &path], Some("n1\n")).unwrap();
        assert_eq!(options.socket.to_str(), Some("/s/multus.sock"));
        assert_eq!(options.listen, Some("[::]:9091".parse().unwrap()));
        assert_eq!((options.connections.get(), options.log.level), (4, tracing::Level::DEBUG));
        assert_eq!((options.node.unwrap().as_str(), options.warnings.len()), ("n1", 1));
        let args = ["--config", &path, "--socket-dir=/t", "--listen", "127.0.0.1:1", "--connections", "9"];
        let options =
            run(&[&args[..], &["--node", "n2", "--kubeconfig", "/k"]].concat(), Some("n1")).unwrap();
        assert_eq!(options.socket.to_str(), Some("/t/multus.sock"));
        assert_eq!((options.listen, options.connections.get()), (Some("127.0.0.1:1".parse().unwrap()), 9));
        assert_eq!(options.node.unwrap().as_str(), "n2");
        assert_eq!(options.credentials, Credentials::Kubeconfig("/k".into()));
    }

    #[test]
    fn a_file_with_a_key_of_the_installer_asks_for_the_plugins_configuration() {
        let (_folder, path) = file(r#"{"socketDir": "/s", "cniVersion": "0.3.1"}"#);
        assert_eq!(run(&["--config", &path], None).unwrap().upkeep, None);
        let (_folder, path) =
            file(r#"{"cniConfigDir": "/host/etc/cni/net.d", "multusAutoconfigDir": "/a", "binDir": "/b"}"#);
        let plan = run(&["--config", &path], None).unwrap().upkeep.unwrap();
        assert_eq!(plan.credentials.target.to_str(), Some("/host/etc/cni/net.d/multus.d/multus.kubeconfig"));
        assert_eq!(plan.credentials.server.to_string(), "https://10.96.0.1:443");
        assert_eq!(plan.settings.conf_dir.to_str(), Some("/host/etc/cni/net.d"));
        let (_folder, path) = file(r#"{"multusConfigFile": "auto", "cniVersion": "9.9"}"#);
        let error = run(&["--config", &path], None).unwrap_err();
        assert!(error.to_string().contains("cniVersion"), "{error}");
        let (_folder, path) = file(r#"{"multusMasterCNI": "x.conf"}"#);
        let outside = parse(["--config".into(), path.into()], Environment::default()).unwrap_err();
        assert!(outside.to_string().contains("KUBERNETES_SERVICE_HOST"), "{outside}");
    }

    #[test]
    fn a_certificate_of_the_node_is_the_daemons_and_the_plugins_credential() {
        let text = r#"{"perNodeCertificate": {"enabled": true, "bootstrapKubeconfig": "/var/lib/kubelet/kubeconfig",
            "certDir": "/certs", "CertDuration": "24h"}, "cniConfigDir": "/c"}"#;
        let (_folder, path) = file(text);
        let options = run(&["--config", &path], Some("n1")).unwrap();
        let certificate = options.certificate.unwrap();
        assert_eq!((certificate.node.as_str(), certificate.duration.as_secs()), ("n1", 86_400));
        assert_eq!(options.credentials, Credentials::Kubeconfig("/certs/multus-client.kubeconfig".into()));
        let user = User::Certificate("/certs/multus-client-current.pem".into());
        assert_eq!(options.upkeep.unwrap().credentials.user, user);
        let options = run(&["--config", &path, "--kubeconfig=/k"], Some("n1")).unwrap();
        assert_eq!((options.certificate, options.credentials), (None, Credentials::Kubeconfig("/k".into())));
        assert!(
            options.warnings[0].contains("\"perNodeCertificate\" has no effect"),
            "{:?}",
            options.warnings
        );
        assert!(matches!(options.upkeep.unwrap().credentials.user, User::Token(_)));
        let (_folder, path) = file(&text.replace("true", "false"));
        assert_eq!(run(&["--config", &path], None).unwrap().certificate, None);
    }

    #[test]
    fn a_certificate_that_cannot_be_requested_names_its_key() {
        let text = |certificate: &str, node| {
            let (_folder, path) =
                file(&format!(r#"{{"perNodeCertificate": {{"enabled": true{certificate}}}}}"#));
            run(&["--config", &path], node).unwrap_err().to_string()
        };
        let whole = r#", "bootstrapKubeconfig": "/k", "certDir": "/c""#;
        assert!(text(whole, None).contains("MULTUS_NODE_NAME"));
        assert!(text("", Some("n1")).contains("perNodeCertificate.bootstrapKubeconfig is missing"));
        assert!(
            text(r#", "bootstrapKubeconfig": "/k""#, Some("n1"))
                .contains("perNodeCertificate.certDir is missing")
        );
        let short = format!(r#"{whole}, "certDuration": "1m""#);
        assert!(text(&short, Some("n1")).contains("perNodeCertificate.certDuration is \"1m\""));
        assert!(text(r#", "certDir": 1"#, Some("n1")).contains("perNodeCertificate.certDir"));
    }

    #[test]
    fn upstreams_flags_have_one_dash() {
        let (_folder, path) = file("{}");
        for args in [&["-config", path.as_str()][..], &[&format!("-config={path}")]] {
            let options = run(args, None).unwrap();
            assert_eq!((options.node, options.connections.get()), (None, 32));
            assert_eq!((options.listen, options.socket.to_str()), (None, Some("/run/multus/multus.sock")));
        }
        let parsed = |arg: &str| parse([OsString::from(arg)], Environment::default()).unwrap();
        assert_eq!(parsed("-version"), Command::Version);
        assert_eq!(parsed("-help"), Command::Help);
    }

    #[test]
    fn an_error_names_the_flag_the_value_or_the_file() {
        let text = |args: &[&str]| run(args, Some("n")).unwrap_err().to_string();
        assert!(text(&["--banana"]).contains("--banana"));
        assert!(text(&["instal"]).contains("instal"));
        assert!(text(&["--node", "../x"]).contains("../x"));
        assert!(text(&["--connections", "0"]).contains('0'));
        assert!(text(&["--config", "/nowhere/file"]).contains("/nowhere/file"));
        let (_folder, path) = file("[");
        assert!(text(&["-config", &path]).contains(&path));
    }
}
