//! Running a configuration list: each plugin's result is the next one's `prevResult`; DEL goes backwards (CNI spec 1.1.0,
//! "Lifecycle & Ordering").

use std::time::Instant;

use serde_json::{Map, Value};

use crate::args::CniArgs;
use crate::cache::{Cache, Entry, Key};
use crate::env::Verb;
use crate::exec::{Run, SearchPath};
use crate::list::{Allowed, NetworkList, PluginConf};
use crate::names::{ContainerId, IfName, PluginType};
use crate::plugin::ValidAttachment;
use crate::result::RawResult;
use crate::{CniError, Code, Version};

/// The attachment that a list is run for, and what it may use.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// The network.
    pub list: &'a NetworkList,
    /// The container.
    pub container_id: &'a ContainerId,
    /// The interface.
    pub if_name: &'a IfName,
    /// The path of the network namespace; empty where it is gone.
    pub netns: &'a str,
    /// `CNI_ARGS` for the plugins.
    pub args: &'a CniArgs,
    /// What is offered for capabilities.
    pub capability_args: &'a Map<String, Value>,
    /// Where results are kept between ADD and DEL.
    pub cache: &'a Cache,
    /// Where plugins are looked for.
    pub path: &'a SearchPath,
    /// When a plugin still running is killed.
    pub deadline: Instant,
}

impl Chain<'_> {
    /// Runs ADD of every plugin and caches the last result. After a failure nothing is undone: the caller runs [`Chain::del`].
    pub fn add(&self) -> Result<RawResult, CniError> {
        let mut result: Option<RawResult> = None;
        for plugin in &self.list.plugins {
            let previous = result.as_ref().map(RawResult::value);
            let request = plugin.request(self.list, self.capability_args, previous);
            let output = self.run(Verb::Add, plugin, request)?;
            let read = result_of(&plugin.plugin_type, &output, self.list.cni_version);
            let read = read.and_then(|raw| raw.to_version(self.list.cni_version).map_err(internal));
            result = Some(read.map_err(|e| e.context(self.failed(plugin, "add")))?);
        }
        let result = result.ok_or_else(|| CniError::new(Code::InvalidConfig, "no plugins in list"))?;
        let entry = Entry {
            config: config_bytes(self.list),
            netns: self.netns.to_owned(),
            args: self.args.clone(),
            capability_args: self.capability_args.clone(),
            result: Some(result.value().clone()),
        };
        let written = self.cache.write(&self.key(), &entry);
        written.map_err(|e| {
            CniError::new(
                Code::Io,
                format!("failed to set network {:?} cached result: {e}", self.list.name.as_str()),
            )
        })?;
        Ok(result)
    }

    /// Runs DEL of every plugin, last one first, with the cached result; goes on past failures and returns them joined. The cache
    /// entry goes when all succeeded.
    pub fn del(&self) -> Result<(), CniError> {
        join(self.del_each()).map_or(Ok(()), Err)
    }

    /// As [`Chain::del`], with the failure of each plugin by itself; none is success.
    pub fn del_each(&self) -> Vec<CniError> {
        let cached = self.cache.read(&self.key());
        let empty = Map::new();
        let offers = match &cached {
            Some(entry) if self.capability_args.is_empty() => &entry.capability_args,
            _ if self.capability_args.is_empty() => &empty,
            _ => self.capability_args,
        };
        let previous = cached.as_ref().and_then(|entry| self.previous(entry));
        let mut errors = Vec::new();
        for plugin in self.list.plugins.iter().rev() {
            let request = plugin.request(self.list, offers, previous.as_ref());
            errors.extend(self.run(Verb::Del, plugin, request).err());
        }
        if errors.is_empty()
            && let Err(e) = self.cache.remove(&self.key())
        {
            let name = self.list.name.as_str();
            let msg = format!("failed to remove the cached result of network {name:?}: {e}");
            errors.push(CniError::new(Code::Io, msg));
        }
        errors
    }

    /// Runs CHECK of every plugin with the cached result; the first failure ends it.
    pub fn check(&self) -> Result<(), CniError> {
        if self.list.cni_version < Version::V0_4_0 {
            let version = self.list.cni_version.as_str();
            let msg = format!("configuration version {version:?} does not support the CHECK command");
            return Err(CniError::new(Code::IncompatibleVersion, msg));
        }
        if self.list.check == Allowed::No {
            return Ok(());
        }
        let previous = self.cache.read(&self.key()).and_then(|entry| self.previous(&entry));
        for plugin in &self.list.plugins {
            let request = plugin.request(self.list, self.capability_args, previous.as_ref());
            self.run(Verb::Check, plugin, request)?;
        }
        Ok(())
    }

    /// Runs one plugin and returns its output.
    fn run(&self, verb: Verb, plugin: &PluginConf, request: Map<String, Value>) -> Result<Vec<u8>, CniError> {
        let env = [
            ("CNI_COMMAND", verb.as_str().to_owned()),
            ("CNI_CONTAINERID", self.container_id.to_string()),
            ("CNI_NETNS", self.netns.to_owned()),
            ("CNI_IFNAME", self.if_name.to_string()),
            ("CNI_ARGS", self.args.to_text()),
            ("CNI_PATH", self.path.to_text()),
        ];
        let word = match verb {
            Verb::Add => "add",
            Verb::Del => "delete",
            Verb::Check => "check",
            Verb::Gc => "gc",
            Verb::Status => "status",
            Verb::Version => "version",
        };
        exec(plugin, &env, &Value::Object(request), self.path, self.deadline)
            .map_err(|error| error.context(self.failed(plugin, word)))
    }

    fn failed(&self, plugin: &PluginConf, word: &str) -> String {
        format!(
            "plugin type={:?} name={:?} failed ({word})",
            plugin.plugin_type.as_str(),
            self.list.name.as_str()
        )
    }

    /// The cached result in the list's version, where that version passes one and it can be read.
    fn previous(&self, entry: &Entry) -> Option<Value> {
        if self.list.cni_version < Version::V0_4_0 {
            return None;
        }
        let raw = RawResult::from_value(entry.result.clone()?, self.list.cni_version).ok()?;
        Some(raw.to_version(self.list.cni_version).ok()?.value().clone())
    }

    fn key(&self) -> Key {
        Key {
            network: self.list.name.clone(),
            container_id: self.container_id.clone(),
            if_name: self.if_name.clone(),
        }
    }
}

/// Runs GC of every plugin of a list for the attachments that are still there; failures are joined.
pub fn gc(
    list: &NetworkList,
    valid: &[ValidAttachment],
    path: &SearchPath,
    deadline: Instant,
) -> Result<(), CniError> {
    if list.gc == Allowed::No || list.cni_version < Version::V1_1_0 {
        return Ok(());
    }
    let entries =
        valid.iter().map(|a| serde_json::json!({ "containerID": a.container_id, "ifname": a.if_name }));
    let entries = Value::Array(entries.collect());
    let errors = list.plugins.iter().filter_map(|plugin| {
        let mut request = plugin.request(list, &Map::new(), None);
        request.insert("cni.dev/valid-attachments".into(), entries.clone());
        request.insert("cni.dev/attachments".into(), entries.clone());
        bare(Verb::Gc, plugin, request, path, deadline).err()
    });
    join(errors.collect()).map_or(Ok(()), Err)
}

/// Runs STATUS of every plugin of a list; the first failure is returned as it is, so that its code survives.
pub fn status(list: &NetworkList, path: &SearchPath, deadline: Instant) -> Result<(), CniError> {
    if list.cni_version < Version::V1_1_0 {
        return Ok(());
    }
    list.plugins.iter().try_for_each(|plugin| {
        bare(Verb::Status, plugin, plugin.request(list, &Map::new(), None), path, deadline)
    })
}

/// A verb that is about no container.
fn bare(
    verb: Verb,
    plugin: &PluginConf,
    request: Map<String, Value>,
    path: &SearchPath,
    deadline: Instant,
) -> Result<(), CniError> {
    let env = [("CNI_COMMAND", verb.as_str().to_owned()), ("CNI_PATH", path.to_text())];
    exec(plugin, &env, &Value::Object(request), path, deadline).map(drop)
}

fn exec(
    plugin: &PluginConf,
    env: &[(&str, String)],
    request: &Value,
    path: &SearchPath,
    deadline: Instant,
) -> Result<Vec<u8>, CniError> {
    let program = path.find(&plugin.plugin_type).map_err(|e| e.to_cni())?;
    let stdin = request.to_string();
    Run { program: &program, env, stdin: stdin.as_bytes(), deadline }.output().map_err(|e| e.to_cni())
}

/// Reads what a plugin answered to ADD; no output at all, or `null`, is an empty result.
pub fn result_of(plugin: &PluginType, output: &[u8], version: Version) -> Result<RawResult, CniError> {
    let is_empty = output.iter().all(u8::is_ascii_whitespace);
    let value = if is_empty { Ok(Value::Null) } else { serde_json::from_slice(output) };
    let value = value.map_err(|e| {
        CniError::new(
            Code::Decoding,
            format!("plugin {:?} answered ADD with what is not JSON: {e}", plugin.as_str()),
        )
    })?;
    RawResult::from_value(value, version).map_err(internal)
}

fn internal(error: crate::result::ResultError) -> CniError {
    CniError::new(Code::Internal, error.to_string())
}

/// The list as one JSON text, for the cache.
fn config_bytes(list: &NetworkList) -> Vec<u8> {
    let plugins: Vec<Value> = list.plugins.iter().map(|p| Value::Object(p.object.clone())).collect();
    let config = serde_json::json!({ "cniVersion": list.cni_version.as_str(), "name": list.name.as_str(), "plugins": plugins });
    config.to_string().into_bytes()
}

/// Several failures as one: the first one's code, every message.
fn join(errors: Vec<CniError>) -> Option<CniError> {
    errors.into_iter().reduce(|first, next| CniError { msg: format!("{} / {}", first.msg, next), ..first })
}

#[cfg(test)]
mod tests;
