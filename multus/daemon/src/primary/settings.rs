//! What the operator chose for `00-multus.conf`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use cni::version::{UnknownVersion, Version};
use serde_json::{Map, Value};

/// Where the kubeconfig of the plugins is, below the runtime's folder of configurations.
pub(crate) const KUBECONFIG: &str = "multus.d/multus.kubeconfig";

/// The runtime's folder of configurations, if the daemon's configuration names no other.
const CONF_DIR: &str = "/etc/cni/net.d";

/// Which file is written where.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The runtime's folder of configurations, as this process sees it.
    pub conf_dir: PathBuf,
    /// What is written there.
    pub source: Source,
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// `00-multus.conf`, made from the configuration of the default network.
    Auto(Box<Auto>),
    /// A copy of this file, under its own name.
    File(PathBuf),
}

/// How `00-multus.conf` is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Auto {
    /// The folder with the configuration of the default network, as this process sees it.
    pub folder: PathBuf,
    /// Which file of the folder.
    pub election: Election,
    /// Its `cniVersion`.
    pub version: VersionRule,
    /// Its `name`.
    pub name: NameRule,
    /// Its other keys.
    pub form: Form,
    /// What happens to the default network's own file.
    pub master: Master,
    /// A file that must exist before `00-multus.conf` is written for the first time.
    pub readiness: Option<PathBuf>,
}

/// Which file has the default network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// The alphabetically first.
    First,
    /// The file of this name.
    Named(String),
}

/// The `cniVersion` of `00-multus.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRule {
    /// That of the default network.
    OfPrimary,
    /// This one, and the default network must have the same (flags of upstream's `thin_entrypoint`).
    Same(Version),
    /// This one. From 0.4.0 on, the default network's must be at least 0.4.0 too (upstream's daemon and `entrypoint.sh`).
    Compatible(Version),
    /// This one, also for the default network.
    Forced(Version),
}

/// The `name` of `00-multus.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// `multus-cni-network`.
    Own,
    /// That of the default network.
    OfPrimary,
}

/// What happens to the default network's own file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// It stays.
    Stays,
    /// It is renamed to `<name>.old`, so that no runtime uses it.
    Renamed,
}

/// How `00-multus.conf` names the default network.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// With its configuration, in `delegates`: upstream's form without a daemon.
    Inline(InlineForm),
    /// With the path of its file, in `clusterNetwork`: upstream's form with a daemon.
    ByPath(PathForm),
}

/// The keys of the form without a daemon. An empty text leaves its key out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineForm {
    /// `namespaceIsolation`.
    pub isolation: Isolation,
    /// `globalNamespaces`.
    pub global_namespaces: String,
    /// `logToStderr`.
    pub log_target: LogTarget,
    /// `logLevel`.
    pub log_level: Option<LogLevel>,
    /// `logFile`.
    pub log_file: String,
    /// `binDir`.
    pub bin_dir: String,
    /// `cniConf`. No version of multus reads it.
    pub cni_conf: String,
    /// `readinessindicatorfile`.
    pub readiness_file: String,
    /// `kubeconfig`: its path on the node.
    pub kubeconfig: String,
}

/// The keys of the form with a daemon.
#[derive(Clone, Debug, PartialEq)]
pub struct PathForm {
    /// Capabilities beside those of the default network.
    pub capabilities: BTreeSet<String>,
    /// The other keys of the daemon's configuration that the plugin reads.
    pub keys: Map<String, Value>,
}

/// `namespaceIsolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Pods may use networks of all namespaces.
    Off,
    /// Pods may use those of their own namespace and of the global ones.
    On,
}

/// `logToStderr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The default.
    Stderr,
    /// `false`.
    NotStderr,
}

/// `logLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// "debug".
    Debug,
    /// "verbose".
    Verbose,
    /// "error".
    Error,
    /// "panic".
    Panic,
}

/// A setting is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A value has the wrong form.
    #[error("{key} must be {expected}, not {found}")]
    Value {
        /// The key or flag.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The version is unknown.
    #[error("{key}: {source}")]
    Version {
        /// The key or flag.
        key: String,
        /// Why.
        source: UnknownVersion,
    },
    /// The level is unknown.
    #[error("Log levels should be one of: debug/verbose/error/panic, did not understand: {0:?}")]
    LogLevel(String),
    /// The key asks for something that does not happen here.
    #[error("{key} is not supported: {why}; remove it")]
    Unsupported {
        /// The key or flag.
        key: String,
        /// What happens instead.
        why: &'static str,
    },
}

impl LogLevel {
    /// Reads a level in any case. An empty text is none.
    ///
    /// # Errors
    /// [`SettingsError::LogLevel`].
    pub fn parse(text: &str) -> Result<Option<Self>, SettingsError> {
        match text.to_ascii_lowercase().as_str() {
            "" => Ok(None),
            "debug" => Ok(Some(Self::Debug)),
            "verbose" => Ok(Some(Self::Verbose)),
            "error" => Ok(Some(Self::Error)),
            "panic" => Ok(Some(Self::Panic)),
            _ => Err(SettingsError::LogLevel(text.to_owned())),
        }
    }

    /// The value of the key.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Verbose => "verbose",
            Self::Error => "error",
            Self::Panic => "panic",
        }
    }
}

impl Election {
    /// The file of this name in the folder; for an empty text the first.
    ///
    /// # Errors
    /// [`SettingsError::Value`] for a path.
    pub fn parse(key: &str, name: &str) -> Result<Self, SettingsError> {
        let mut parts = Path::new(name).components();
        match (parts.next(), parts.next()) {
            (None, _) => Ok(Self::First),
            (Some(Component::Normal(part)), None) if part == name => Ok(Self::Named(name.to_owned())),
            _ => Err(SettingsError::Value {
                key: key.to_owned(),
                expected: "the name of a file in the folder",
                found: format!("{name:?}"),
            }),
        }
    }
}

/// Reads a `cniVersion`; `None` for an empty text.
pub(crate) fn version(key: &str, text: &str) -> Result<Option<Version>, SettingsError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|source| SettingsError::Version { key: key.to_owned(), source })
}

/// The path on the node of what the pod sees at `path`: manifests mount the node's folder `/x` at `/host/x`.
pub fn host_path(path: &Path) -> PathBuf {
    match path.strip_prefix("/host") {
        Ok(rest) if rest.as_os_str().is_empty() => PathBuf::from("/"),
        Ok(rest) => Path::new("/").join(rest),
        Err(_) => path.to_owned(),
    }
}

/// The keys of the daemon's configuration that decide what is written.
const READ: &[&str] = &[
    "capabilities",
    "cniConfigDir",
    "cniVersion",
    "forceCNIVersion",
    "kubeconfig",
    "multusAutoconfigDir",
    "multusConfigFile",
    "multusMasterCNI",
    "overrideNetworkName",
    "readinessindicatorfile",
];

/// The keys that the plugin reads. Upstream's daemon lays its whole configuration over that of every request; here the plugin gets these keys
/// with its own configuration.
pub(super) const COPIED: &[&str] = &[
    "auxiliaryCNIChainName",
    "binDir",
    "clusterCIDRs",
    "clusterNetwork",
    "cniDir",
    "confDir",
    "daemonSocketDir",
    "defaultNetworks",
    "globalNamespaces",
    "kubeconfig",
    "logFile",
    "logLevel",
    "logOptions",
    "logToStderr",
    "multusNamespace",
    "namespaceIsolation",
    "overrideNetworkName",
    "retryDeleteOnError",
    "systemNamespaces",
    "type",
];

impl Settings {
    /// Reads the keys of upstream's `daemon-config.json` that say what `00-multus.conf` must hold. Other keys are ignored: they are for the
    /// daemon's socket and cache.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn of_daemon_config(config: &Map<String, Value>) -> Result<Self, SettingsError> {
        let mut config = config.clone();
        let known: Vec<&str> = READ.iter().chain(COPIED).copied().collect();
        cni::json::fold_keys(&mut config, &known);
        let read = |key| text(&config, key);
        if is_true(&config, "forceCNIVersion")? {
            let why = "it would change the default network's own file";
            return Err(SettingsError::Unsupported { key: "forceCNIVersion".to_owned(), why });
        }
        let conf_dir = PathBuf::from(or(read("cniConfigDir")?, CONF_DIR));
        let file = or(read("multusConfigFile")?, "auto");
        if file != "auto" {
            return Ok(Self { conf_dir, source: Source::File(file.into()) });
        }
        let folder = read("multusAutoconfigDir")?;
        let folder = if folder.is_empty() { conf_dir.clone() } else { folder.into() };
        let version = version("cniVersion", read("cniVersion")?)?;
        let name = match is_true(&config, "overrideNetworkName")? {
            true => NameRule::OfPrimary,
            false => NameRule::Own,
        };
        let readiness = read("readinessindicatorfile")?;
        let mut keys: Map<String, Value> = config
            .iter()
            .filter(|(key, value)| COPIED.contains(&key.as_str()) && !is_zero(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let kubeconfig = host_path(&conf_dir).join(KUBECONFIG).display().to_string();
        keys.entry("kubeconfig").or_insert_with(|| Value::String(kubeconfig));
        Ok(Self {
            source: Source::Auto(Box::new(Auto {
                folder,
                election: Election::parse("multusMasterCNI", read("multusMasterCNI")?)?,
                version: version.map_or(VersionRule::OfPrimary, VersionRule::Compatible),
                name,
                form: Form::ByPath(PathForm { capabilities: capabilities(&config)?, keys }),
                master: Master::Stays,
                readiness: Some(readiness).filter(|path| !path.is_empty()).map(PathBuf::from),
            })),
            conf_dir,
        })
    }
}

fn text<'a>(config: &'a Map<String, Value>, key: &str) -> Result<&'a str, SettingsError> {
    match config.get(key) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(key, "a text", other)),
    }
}

fn is_true(config: &Map<String, Value>, key: &str) -> Result<bool, SettingsError> {
    match config.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(wrong(key, "true or false", other)),
    }
}

fn capabilities(config: &Map<String, Value>) -> Result<BTreeSet<String>, SettingsError> {
    let key = "capabilities";
    let expected = "an object of true and false";
    let Some(value) = config.get(key) else { return Ok(BTreeSet::new()) };
    let object = value.as_object().ok_or_else(|| wrong(key, expected, value))?;
    if object.values().any(|value| !value.is_boolean()) {
        return Err(wrong(key, expected, value));
    }
    Ok(object
        .iter()
        .filter(|(_, value)| **value == Value::Bool(true))
        .map(|(name, _)| name.clone())
        .collect())
}

fn wrong(key: &str, expected: &'static str, found: &Value) -> SettingsError {
    let found: String = found.to_string().chars().take(64).collect();
    SettingsError::Value { key: key.to_owned(), expected, found }
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

/// Whether Go leaves the value out when it writes the configuration.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(config: Value) -> Result<Settings, SettingsError> {
        Settings::of_daemon_config(config.as_object().unwrap())
    }

    fn auto(config: Value) -> Auto {
        match of(config).unwrap().source {
            Source::Auto(auto) => *auto,
            Source::File(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn upstreams_config_map_is_read() {
        let settings = of(json!({"chrootDir": "/hostroot", "cniVersion": "0.3.1", "logLevel": "verbose", "logToStderr": true,
            "cniConfigDir": "/host/etc/cni/net.d", "multusAutoconfigDir": "/host/etc/cni/net.d", "multusConfigFile": "auto",
            "socketDir": "/host/run/multus/"}))
        .unwrap();
        assert_eq!(settings.conf_dir, Path::new("/host/etc/cni/net.d"));
        let Source::Auto(auto) = settings.source else { panic!() };
        assert_eq!(auto.folder, Path::new("/host/etc/cni/net.d"));
        assert_eq!((auto.election, auto.name), (Election::First, NameRule::Own));
        assert_eq!(auto.version, VersionRule::Compatible(Version::V0_3_1));
        let Form::ByPath(form) = auto.form else { panic!() };
        let keys = json!({"logLevel": "verbose", "logToStderr": true,
            "kubeconfig": "/etc/cni/net.d/multus.d/multus.kubeconfig"});
        assert_eq!(Value::Object(form.keys), keys);
    }

    #[test]
    fn an_empty_config_means_auto_beside_the_runtimes_file_and_the_primarys_version() {
        let settings = of(json!({})).unwrap();
        assert_eq!(settings.conf_dir, Path::new("/etc/cni/net.d"));
        let auto = auto(
            json!({"overrideNetworkName": true, "MULTUSMASTERCNI": "10-x.conf", "capabilities": {"ips": true, "no": false}}),
        );
        assert_eq!(
            (auto.folder.as_path(), auto.version),
            (Path::new("/etc/cni/net.d"), VersionRule::OfPrimary)
        );
        assert_eq!((auto.election, auto.name), (Election::Named("10-x.conf".into()), NameRule::OfPrimary));
        let Form::ByPath(form) = auto.form else { panic!() };
        assert_eq!(form.capabilities.into_iter().collect::<Vec<_>>(), ["ips"]);
    }

    #[test]
    fn a_path_means_a_copy() {
        let settings = of(json!({"multusConfigFile": "/tmp/70-multus.conf", "cniConfigDir": "/c"})).unwrap();
        assert_eq!(settings.source, Source::File("/tmp/70-multus.conf".into()));
        assert_eq!(settings.conf_dir, Path::new("/c"));
    }

    #[test]
    fn an_error_names_the_key() {
        for (config, part) in [
            (json!({"cniVersion": "7"}), "cniVersion"),
            (json!({"cniVersion": 1}), "cniVersion must be a text, not 1"),
            (json!({"multusMasterCNI": "../shadow"}), "multusMasterCNI"),
            (json!({"multusMasterCNI": "/etc/x.conf"}), "multusMasterCNI"),
            (json!({"overrideNetworkName": "yes"}), "overrideNetworkName"),
            (json!({"capabilities": {"a": 1}}), "capabilities"),
            (json!({"forceCNIVersion": true}), "forceCNIVersion"),
        ] {
            let error = of(config).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_prefix_of_mounted_host_paths_is_removed() {
        for (pod, node) in [
            ("/host/etc/cni/net.d", "/etc/cni/net.d"),
            ("/hostroot/etc", "/hostroot/etc"),
            ("/etc/cni/net.d", "/etc/cni/net.d"),
            ("/host", "/"),
        ] {
            assert_eq!(host_path(Path::new(pod)), Path::new(node));
        }
    }
}
