//! A network's configuration, from a NetworkAttachmentDefinition or standard input, before it is merged with the node's flat file.

use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::error::{CONF_DIRS, ConfError, JsonFile, wrong_type};
use super::raw::Raw;
use super::resolved::Conf;

/// The content of a flat file.
#[derive(Debug, Clone, Copy)]
pub struct FlatFile<'a> {
    /// Its path, for messages.
    pub path: &'a Path,
    /// Its content: an `ipam` object.
    pub bytes: &'a [u8],
}

impl FlatFile<'_> {
    /// The kubeconfig that the file names.
    ///
    /// # Errors
    /// [`ConfError::Json`].
    pub fn kubeconfig(&self) -> Result<Option<PathBuf>, ConfError> {
        let path = self.raw()?.kubeconfig;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }

    fn raw(&self) -> Result<Raw, ConfError> {
        let file = || JsonFile::FlatFile(self.path.to_owned());
        let object = cni::json::parse_object(self.bytes)
            .map_err(|error| ConfError::Json { file: file(), reason: error.to_string() })?;
        Raw::parse(&object, file())
    }
}

/// A network's configuration, not yet merged with the flat file.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    cni_version: String,
    raw: Raw,
}

impl Network {
    /// Reads a configuration from a plugin's standard input.
    ///
    /// # Errors
    /// [`ConfError::NoIpam`], [`ConfError::OtherIpam`], [`ConfError::Json`], [`ConfError::ForbiddenPath`].
    pub fn parse(conf: &Map<String, Value>) -> Result<Self, ConfError> {
        let head = Head::of(conf)?;
        Self::of(head.name, head.cni_version, head.ipam)
    }

    /// As [`Network::parse`], for a DEL, which must release whatever the network had: a path that an ADD refuses is ignored, and the returned
    /// error says why.
    ///
    /// # Errors
    /// [`ConfError::NoIpam`], [`ConfError::OtherIpam`], [`ConfError::Json`].
    pub fn parse_for_removal(conf: &Map<String, Value>) -> Result<(Self, Option<ConfError>), ConfError> {
        let head = Head::of(conf)?;
        let mut network = Self::unchecked(head.name, head.cni_version, head.ipam)?;
        let refused = network.check_paths().err();
        if refused.is_some() {
            network.raw.configuration_path.clear();
            network.raw.kubeconfig.clear();
        }
        Ok((network, refused))
    }

    /// Reads the configuration of a NetworkAttachmentDefinition. In a list of plugins the first with IPAM type whereabouts counts, with the
    /// name and version of the list.
    ///
    /// # Errors
    /// As for [`Network::parse`]; if no plugin has IPAM type whereabouts, the error of the first plugin.
    pub fn parse_nad(config: &Map<String, Value>) -> Result<Self, ConfError> {
        let list = Head::of(config)?;
        // A configuration with a `type` is a single plugin, whatever else it contains.
        let plugins = match list.plugins {
            Some(Value::Array(plugins)) if !list.has_type => plugins,
            _ => return Self::of(list.name, list.cni_version, list.ipam),
        };
        let mut first_error = None;
        for plugin in plugins.iter().filter_map(Value::as_object) {
            match Self::of(list.name.clone(), list.cni_version.clone(), Head::of(plugin)?.ipam) {
                Err(error @ (ConfError::NoIpam | ConfError::OtherIpam(_))) => {
                    first_error.get_or_insert(error);
                }
                found => return found,
            }
        }
        Err(first_error.unwrap_or(ConfError::NoIpam))
    }

    fn of(name: String, cni_version: String, ipam: Option<Value>) -> Result<Self, ConfError> {
        let network = Self::unchecked(name, cni_version, ipam)?;
        network.check_paths()?;
        Ok(network)
    }

    fn check_paths(&self) -> Result<(), ConfError> {
        check_path("configuration_path", &self.raw.configuration_path)?;
        check_path("kubernetes.kubeconfig", &self.raw.kubeconfig)
    }

    fn unchecked(name: String, cni_version: String, ipam: Option<Value>) -> Result<Self, ConfError> {
        let Some(ipam) = ipam else { return Err(ConfError::NoIpam) };
        let Value::Object(ipam) = ipam else {
            return Err(wrong_type(JsonFile::Network, "ipam", "an object"));
        };
        let raw = Raw::parse(&ipam, JsonFile::Network)?;
        if raw.plugin_type != "whereabouts" {
            return Err(ConfError::OtherIpam(raw.plugin_type));
        }
        Ok(Self { name, cni_version, raw })
    }

    /// The first path to look for the flat file: a file, or a directory with `whereabouts.conf` in it.
    pub fn configuration_path(&self) -> Option<&Path> {
        (!self.raw.configuration_path.is_empty()).then(|| Path::new(&self.raw.configuration_path))
    }

    /// Merges the flat file into this configuration and validates the result.
    ///
    /// # Errors
    /// [`ConfError`].
    pub fn complete(self, flat: Option<FlatFile<'_>>) -> Result<Conf, ConfError> {
        let flat = flat.ok_or(ConfError::NoFlatFile)?;
        let merged = self.raw.merged_with(flat.raw()?);
        Conf::resolve(self.name, self.cni_version, merged)
    }
}

/// The keys that are read outside `ipam`.
struct Head {
    name: String,
    cni_version: String,
    ipam: Option<Value>,
    plugins: Option<Value>,
    has_type: bool,
}

impl Head {
    fn of(conf: &Map<String, Value>) -> Result<Self, ConfError> {
        let mut conf = conf.clone();
        cni::json::fold_keys(&mut conf, &["name", "cniVersion", "type", "ipam", "plugins"]);
        let text = |key: &'static str| match conf.get(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(wrong_type(JsonFile::Network, key, "a string")),
        };
        let (name, cni_version) = (text("name")?, text("cniVersion")?);
        let has_type = !text("type")?.is_empty();
        Ok(Self { name, cni_version, has_type, ipam: conf.remove("ipam"), plugins: conf.remove("plugins") })
    }
}

/// Checks a path by its text alone: only root can put a symbolic link into [`CONF_DIRS`]. ".." is rejected.
fn check_path(key: &'static str, text: &str) -> Result<(), ConfError> {
    let path = Path::new(text);
    // `components` drops "." and repeated slashes, so only ".." and a relative beginning are left to reject.
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if text.is_empty() || (plain && CONF_DIRS.iter().any(|dir| path.starts_with(dir))) {
        return Ok(());
    }
    Err(ConfError::ForbiddenPath { key, path: text.escape_debug().to_string() })
}
