//! The daemon's configuration file: `daemon-config.json` of upstream's manifests (`multus-daemon -config PATH`).
//!
//! Upstream reads one file for three purposes, and so do we: settings of the daemon itself, settings of the program that installs the
//! plugin's configuration, and keys of that configuration. Keys match in any case, as in Go.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use cni::json::{decode, fold_keys, parse_object};
use node::daemon::LogTarget;
use node::files::{self, FileError, LogFile, Rotation};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Where upstream's manifests mount the file.
pub const DEFAULT_PATH: &str = "/etc/cni/net.d/multus.d/daemon-config.json";

/// The largest file, in bytes. Upstream's is below 1 KiB.
const MAX_FILE: u64 = 1 << 20;

/// The keys of the daemon itself.
const DAEMON_KEYS: &[&str] = &[
    "chrootDir",
    "connectionLimit",
    "enablePprof",
    "logFile",
    "logLevel",
    "logOptions",
    "logToStderr",
    "metricsPort",
    "perNodeCertificate",
    "socketDir",
];

/// The keys of `perNodeCertificate`.
const CERTIFICATE_KEYS: &[&str] = &["bootstrapKubeconfig", "certDir", "certDuration", "enabled"];

/// The keys of `logOptions`.
const LOG_OPTIONS: &[&str] = &["compress", "maxAge", "maxBackups", "maxSize"];

/// The keys of the program that installs the plugin's configuration.
pub const INSTALL_KEYS: &[&str] = &[
    "cniConfigDir",
    "forceCNIVersion",
    "multusAutoconfigDir",
    "multusConfigFile",
    "multusMasterCNI",
    "overrideNetworkName",
];

/// The keys that become keys of the plugin's configuration. In upstream those of a request are overridden by these; our plugin reads its
/// configuration alone, so they must be written into it. `logFile`, `logLevel`, `logOptions` and `logToStderr` are the daemon's too.
pub const CONF_KEYS: &[&str] = &[
    "auxiliaryCNIChainName",
    "binDir",
    "capabilities",
    "clusterCIDRs",
    "clusterNetwork",
    "cniDir",
    "cniVersion",
    "confDir",
    "daemonSocketDir",
    "defaultNetworks",
    "delegates",
    "globalNamespaces",
    "kubeconfig",
    "logFile",
    "logLevel",
    "logOptions",
    "logToStderr",
    "multusNamespace",
    "name",
    "namespaceIsolation",
    "readinessindicatorfile",
    "retryDeleteOnError",
    "systemNamespaces",
    "type",
];

/// The configuration of the daemon and of its installer.
#[derive(Clone, Debug, PartialEq)]
pub struct DaemonConfig {
    /// `socketDir`: the folder of the plugins' socket, as this process sees it. Default `/run/multus`.
    pub socket_dir: PathBuf,
    /// `metricsPort`: the port of metrics and health, on all addresses. `None` for no page.
    pub metrics_port: Option<u16>,
    /// `connectionLimit`: the number of requests that are served at the same time. `None` for the default.
    pub connection_limit: Option<NonZeroUsize>,
    /// `logLevel`: how much the daemon logs.
    pub log_level: LogLevel,
    /// `logFile`, `logOptions` and `logToStderr`: where it logs. The file is in the namespace of this process.
    pub log_target: LogTarget,
    /// `perNodeCertificate`, if it is enabled.
    pub certificate: Option<PerNodeCertificate>,
    /// The keys of [`INSTALL_KEYS`] that the file has, spelled as there, unchecked.
    pub install: Map<String, Value>,
    /// The keys of [`CONF_KEYS`] that the file has, spelled as there, unchecked.
    pub conf: Map<String, Value>,
    /// What the file asks for and does not get. Each names its key.
    pub warnings: Vec<String>,
}

/// How much the daemon logs. Upstream's names; its `panic` hides errors, which ours does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// `panic` and `error`: what does not work.
    Error,
    /// `verbose`, and the default: also what changes.
    #[default]
    Verbose,
    /// `debug`: also each request.
    Debug,
}

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("daemon configuration: {0}")]
    File(#[from] FileError),
    /// It is not JSON, or a key has a value of the wrong type.
    #[error("daemon configuration {path}: {reason}; correct the file", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Default for DaemonConfig {
    /// The configuration without a file.
    fn default() -> Self {
        DaemonConfig {
            socket_dir: nad::rpc::SOCKET_DIR.into(),
            metrics_port: None,
            connection_limit: None,
            log_level: LogLevel::default(),
            log_target: LogTarget::Stderr,
            certificate: None,
            install: Map::new(),
            conf: Map::new(),
            warnings: Vec::new(),
        }
    }
}

impl DaemonConfig {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bytes = files::read_bounded(path, MAX_FILE)?;
        Self::parse(&bytes).map_err(|reason| ConfigError::Malformed { path: path.to_owned(), reason })
    }

    /// Reads the file at [`DEFAULT_PATH`], or nothing if there is no such file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read_default() -> Result<Self, ConfigError> {
        match Self::read(Path::new(DEFAULT_PATH)) {
            Err(ConfigError::File(error)) if error.is_not_found() => Ok(Self::default()),
            read => read,
        }
    }

    /// Reads the content of a file. The error says what is wrong, without the file's name.
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut object = parse_object(bytes).map_err(|error| format!("it is no JSON object: {error}"))?;
        let known: Vec<&str> = [DAEMON_KEYS, INSTALL_KEYS, CONF_KEYS].concat();
        fold_keys(&mut object, &known);
        if let Some(Value::Object(options)) = object.get_mut("logOptions") {
            fold_keys(options, LOG_OPTIONS);
        }
        let mut unknown_in_certificate = Vec::new();
        if let Some(Value::Object(certificate)) = object.get_mut("perNodeCertificate") {
            fold_keys(certificate, CERTIFICATE_KEYS);
            let unknown = certificate.keys().filter(|key| !CERTIFICATE_KEYS.contains(&key.as_str()));
            unknown_in_certificate.extend(unknown.map(|key| format!("perNodeCertificate.{key}")));
        }
        let wire: Wire = decode(&object, &known).map_err(|error| error.to_string())?;
        let only = |keys: &[&str]| -> Map<String, Value> {
            let mut chosen = object.clone();
            chosen.retain(|key, _| keys.contains(&key.as_str()));
            chosen
        };
        let default = Self::default();
        let log_target = wire.log_target();
        let (log_level, level_warning) = level(wire.log_level.as_deref());
        let unknown = object.keys().filter(|key| !known.contains(&key.as_str()));
        let unknown = unknown.chain(&unknown_in_certificate);
        let unknown = unknown.map(|key| format!("key {key:?} is unknown and has no effect: remove it"));
        let warnings = wire.without_effect().chain(level_warning).chain(unknown).collect();
        Ok(DaemonConfig {
            socket_dir: wire
                .socket_dir
                .filter(|dir| !dir.as_os_str().is_empty())
                .unwrap_or(default.socket_dir),
            metrics_port: wire.metrics_port,
            connection_limit: wire.connection_limit,
            log_level,
            log_target,
            certificate: Some(wire.per_node_certificate).filter(|certificate| certificate.enabled),
            install: only(INSTALL_KEYS),
            conf: only(CONF_KEYS),
            warnings,
        })
    }
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Wire {
    connection_limit: Option<NonZeroUsize>,
    enable_pprof: bool,
    log_file: String,
    log_level: Option<String>,
    log_options: Option<LogOptions>,
    log_to_stderr: Option<bool>,
    metrics_port: Option<u16>,
    per_node_certificate: PerNodeCertificate,
    socket_dir: Option<PathBuf>,
}

/// A number below zero counts as absent, as everything else that lumberjack does not know.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct LogOptions {
    compress: Option<bool>,
    max_age: Option<i64>,
    max_backups: Option<i64>,
    max_size: Option<i64>,
}

impl LogOptions {
    fn rotation(self) -> Rotation {
        let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
        Rotation::of_options(
            number(self.max_size),
            number(self.max_backups),
            number(self.max_age),
            self.compress,
        )
    }
}

/// `perNodeCertificate`: the daemon asks the API server with a certificate of its node, as upstream's does. Unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PerNodeCertificate {
    /// `enabled`.
    enabled: bool,
    /// `bootstrapKubeconfig`: the kubeconfig for the first request.
    pub bootstrap_kubeconfig: String,
    /// `certDir`: the folder of the certificate.
    pub cert_dir: String,
    /// `certDuration`: how long it is valid, as Go writes a duration.
    pub cert_duration: String,
}

impl Wire {
    fn log_target(&self) -> LogTarget {
        if self.log_file.is_empty() {
            return LogTarget::Stderr;
        }
        let rotation = self.log_options.unwrap_or_default().rotation();
        let file = LogFile { path: self.log_file.clone().into(), rotation };
        // Without the key upstream's daemon writes to the file alone. `kubectl logs` is where people look first.
        if self.log_to_stderr == Some(false) { LogTarget::File(file) } else { LogTarget::Both(file) }
    }

    /// The warnings about keys that ask for something that does not happen. None about `chrootDir`: the plugins run on the host itself.
    fn without_effect(&self) -> impl Iterator<Item = String> {
        let set = [
            (
                self.log_to_stderr == Some(false) && self.log_file.is_empty(),
                "logToStderr",
                "without logFile the daemon logs to standard error",
            ),
            (self.enable_pprof, "enablePprof", "it shows the profile of a Go program"),
        ];
        set.into_iter()
            .filter(|(is_set, ..)| *is_set)
            .map(|(_, key, why)| format!("key {key:?} has no effect here, because {why}: remove it"))
    }
}

fn level(text: Option<&str>) -> (LogLevel, Option<String>) {
    match text.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "verbose") => (LogLevel::Verbose, None),
        Some("panic" | "error") => (LogLevel::Error, None),
        Some("debug") => (LogLevel::Debug, None),
        Some(other) => {
            let text = format!("key \"logLevel\" must be one of debug, verbose, error, panic, not {other:?}");
            (LogLevel::default(), Some(text))
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Verbose => "verbose",
            Self::Debug => "debug",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(file: Value) -> DaemonConfig {
        DaemonConfig::parse(file.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(parse(json!({})), DaemonConfig::default());
        assert_eq!(DaemonConfig::default().socket_dir, Path::new("/run/multus"));
    }

    #[test]
    fn upstreams_file_is_read_without_a_warning() {
        let config = parse(json!({"chrootDir": "/hostroot", "cniVersion": "0.3.1", "logLevel": "verbose",
            "logToStderr": true, "cniConfigDir": "/host/etc/cni/net.d", "multusAutoconfigDir": "/host/etc/cni/net.d",
            "multusConfigFile": "auto", "socketDir": "/host/run/multus/"}));
        assert_eq!(config.warnings, Vec::<String>::new());
        assert_eq!(config.socket_dir, Path::new("/host/run/multus"));
        assert_eq!((config.metrics_port, config.connection_limit), (None, None));
        assert_eq!(
            Value::from(config.install),
            json!({"cniConfigDir": "/host/etc/cni/net.d", "multusAutoconfigDir": "/host/etc/cni/net.d", "multusConfigFile": "auto"})
        );
        assert_eq!(
            Value::from(config.conf),
            json!({"cniVersion": "0.3.1", "logLevel": "verbose", "logToStderr": true})
        );
    }

    #[test]
    fn keys_match_in_any_case() {
        let config =
            parse(json!({"METRICSPORT": 9091, "connectionlimit": 8, "LogLevel": "Debug", "BinDir": "/b",
            "socketDir": null}));
        assert_eq!((config.metrics_port, config.connection_limit.unwrap().get()), (Some(9091), 8));
        assert_eq!((config.log_level, config.conf["binDir"].as_str()), (LogLevel::Debug, Some("/b")));
    }

    #[test]
    fn what_has_no_effect_causes_a_warning_that_names_the_key() {
        let file = json!({"logToStderr": false, "enablePprof": true, "logLevel": "loud",
            "perNodeCertificate": {"enabled": true, "certDir": "/c", "cert": 1}, "unheardOf": 1});
        let warnings = parse(file).warnings;
        let keys = ["logToStderr", "enablePprof", "logLevel", "unheardOf", "perNodeCertificate.cert"];
        assert_eq!(warnings.len(), keys.len(), "{warnings:?}");
        for (warning, key) in warnings.iter().zip(keys) {
            assert!(warning.starts_with(&format!("key {key:?} ")), "{warning}");
        }
        assert!(parse(json!({"perNodeCertificate": {"enabled": false}, "logFile": ""})).warnings.is_empty());
    }

    #[test]
    fn a_log_file_takes_the_place_of_standard_error_only_if_that_is_asked_for() {
        let file = |rotation| LogFile { path: "/var/log/multus.log".into(), rotation };
        let target = |more: Value| {
            let mut config = json!({"logFile": "/var/log/multus.log"});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            parse(config).log_target
        };
        let default = Rotation::of_options(None, None, None, None);
        assert_eq!(target(json!({})), LogTarget::Both(file(default)));
        assert_eq!(target(json!({"logToStderr": false})), LogTarget::File(file(default)));
        let options = json!({"MAXSIZE": 1, "maxBackups": 2, "maxAge": -3, "compress": false});
        let rotation = Rotation::of_options(Some(1), Some(2), None, Some(false));
        assert_eq!(target(json!({ "logOptions": options })), LogTarget::Both(file(rotation)));
        assert_eq!(parse(json!({"logFile": "", "logToStderr": false})).log_target, LogTarget::Stderr);
    }

    #[test]
    fn a_wrong_file_is_an_error_that_names_it_and_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon-config.json");
        assert!(matches!(DaemonConfig::read(&path), Err(ConfigError::File(error)) if error.is_not_found()));
        for (text, want) in [
            ("[]", "it is no JSON object"),
            (r#"{"metricsPort": "9091"}"#, "metricsPort"),
            (r#"{"metricsPort": 70000}"#, "metricsPort"),
            (r#"{"connectionLimit": 0}"#, "connectionLimit"),
        ] {
            files::replace(&path, text.as_bytes()).unwrap();
            let error = DaemonConfig::read(&path).unwrap_err().to_string();
            assert!(error.contains(path.to_str().unwrap()) && error.contains(want), "{error}");
        }
    }
}
