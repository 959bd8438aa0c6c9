//! Running a configuration list (CNI spec 1.1.0, section 3, "Lifecycle & Ordering"): ADD gives each plugin's result to the next one as
//! `prevResult`, DEL runs the plugins in reverse order.

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value};

use super::cache::{Cache, Entry, Key};
use super::exec::{ExecError, Run};
use super::list::{Allowed, NetworkList, PluginConf};
use crate::plugin::ValidAttachment;
use crate::plugin::env::Verb;
use crate::types::args::CniArgs;
use crate::types::names::{ContainerId, IfName, PluginType};
use crate::types::result::{RawResult, ResultError};
use crate::types::{CniError, Code, SearchPath, Version};

/// A list with the attachment that it is run for.
#[derive(Clone, Debug)]
pub struct Chain<'a> {
    /// The network.
    pub list: &'a NetworkList,
    /// The container.
    pub container_id: &'a ContainerId,
    /// The interface.
    pub if_name: &'a IfName,
    /// The path of the network namespace; empty if it is gone, as in `CNI_NETNS`.
    pub netns: &'a str,
    /// `CNI_ARGS` for the plugins.
    pub args: &'a CniArgs,
    /// The runtime's values for capabilities.
    pub capability_args: &'a Map<String, Value>,
    /// The store for results between ADD and DEL.
    pub cache: &'a Cache,
    /// The folders with the plugins.
    pub path: &'a SearchPath,
    /// When a running plugin is killed.
    pub deadline: Instant,
}

/// Learns how far an ADD came. Plugins are numbered by their place in the list, from 0.
pub trait AddObserver {
    /// The plugin is about to start.
    ///
    /// # Errors
    /// Any error stops the ADD before the plugin starts.
    fn begins(&self, plugin: usize) -> Result<(), CniError>;

    /// The plugin failed with this error object of its own, or could not be started. No message has a prefix here. A plugin that was
    /// killed, or that ended without an error object, is not reported: it may have done a part of its work.
    fn refused(&self, plugin: usize, error: &CniError);

    /// The plugin succeeded.
    fn done(&self, plugin: usize);
}

/// Observes nothing.
impl AddObserver for () {
    fn begins(&self, _plugin: usize) -> Result<(), CniError> {
        Ok(())
    }

    fn refused(&self, _plugin: usize, _error: &CniError) {}

    fn done(&self, _plugin: usize) {}
}

/// The DEL of one plugin failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelFailure {
    /// The place of the plugin in the list, from 0.
    pub plugin: usize,
    /// The error of the plugin, without a prefix.
    pub cause: CniError,
    /// The same error in the words of libcni, with plugin and network.
    pub error: CniError,
}

impl Chain<'_> {
    /// Runs ADD of every plugin and caches the last result.
    ///
    /// # Errors
    /// The first failure. Nothing is undone: the caller must run [`Chain::del`].
    pub fn add(&self) -> Result<RawResult, CniError> {
        self.add_observed(&())
    }

    /// As [`Chain::add`], and reports each step to `observer`. A plugin whose file is missing does not begin.
    ///
    /// # Errors
    /// As [`Chain::add`]; also the error with which `observer` stops the ADD.
    pub fn add_observed(&self, observer: &dyn AddObserver) -> Result<RawResult, CniError> {
        let mut result: Option<RawResult> = None;
        for (at, plugin) in self.list.plugins.iter().enumerate() {
            let previous = result.as_ref().map(RawResult::value);
            let request = plugin.request(self.list, self.capability_args, previous);
            let failed = |cause: CniError| cause.context(self.failed(plugin, Verb::Add));
            let program = self.path.find(&plugin.plugin_type).map_err(|e| failed(e.into()))?;
            observer.begins(at)?;
            let output = self.run(Verb::Add, &program, request).map_err(|failure| {
                if let Failure::Refused(cause) = &failure {
                    observer.refused(at, cause);
                }
                failed(failure.into())
            })?;
            observer.done(at);
            let read = result_of(&plugin.plugin_type, &output, self.list.cni_version);
            // A plugin may answer in another version than the list's; the next plugin expects the list's.
            let read = read.and_then(|raw| raw.to_version(self.list.cni_version).map_err(internal));
            result = Some(read.map_err(|e| e.context(self.failed(plugin, Verb::Add)))?);
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

    /// Runs DEL of every plugin with the cached result, the last plugin first. A failure does not stop it. The cache entry is removed
    /// once all have succeeded.
    ///
    /// # Errors
    /// All failures joined.
    pub fn del(&self) -> Result<(), CniError> {
        let failures = self.del_plugins(|_| true);
        match join(failures.into_iter().map(|failure| failure.error).collect()) {
            Some(error) => Err(error),
            None => self.forget(),
        }
    }

    /// Runs DEL of the plugins at the places that `wanted` accepts, with the cached result, the last one first. Goes on after failures
    /// and returns them all. The cache entry stays: see [`Chain::forget`].
    pub fn del_plugins(&self, wanted: impl Fn(usize) -> bool) -> Vec<DelFailure> {
        let cached = self.cached_for_del();
        let empty = Map::new();
        let offers = match &cached {
            Some(entry) if self.capability_args.is_empty() => &entry.capability_args,
            _ if self.capability_args.is_empty() => &empty,
            _ => self.capability_args,
        };
        let previous = cached.as_ref().and_then(|entry| self.previous(entry));
        let backwards = self.list.plugins.iter().enumerate().rev();
        let failure = |(at, plugin): (usize, &PluginConf)| {
            let request = plugin.request(self.list, offers, previous.as_ref());
            let cause = self.find_and_run(Verb::Del, plugin, request).err()?;
            let error = cause.clone().context(self.failed(plugin, Verb::Del));
            Some(DelFailure { plugin: at, cause, error })
        };
        backwards.filter(|(at, _)| wanted(*at)).filter_map(failure).collect()
    }

    /// Removes the cache entry. A missing one is no error.
    ///
    /// # Errors
    /// Code 5 if the file cannot be removed.
    pub fn forget(&self) -> Result<(), CniError> {
        self.cache.remove(&self.key()).map_err(|e| {
            let name = self.list.name.as_str();
            CniError::new(Code::Io, format!("failed to remove the cached result of network {name:?}: {e}"))
        })
    }

    /// The cache entry, if there is one that can be read.
    fn cached_for_del(&self) -> Option<Entry> {
        match self.cache.read(&self.key()) {
            Ok(entry) => entry,
            Err(error) => {
                // A damaged file must not block DEL for ever: plugins have to cope with a missing `prevResult`. The runtime logs our
                // standard error. A failure to write there cannot be reported anywhere.
                let name = self.list.name.as_str();
                let _ =
                    writeln!(io::stderr(), "deleting network {name:?} without its cached result: {error}");
                None
            }
        }
    }

    /// Runs CHECK of every plugin with the cached result.
    ///
    /// # Errors
    /// The first failure; code 1 for a list before 0.4.0; code 5 if the cached result cannot be read.
    pub fn check(&self) -> Result<(), CniError> {
        if self.list.cni_version < Version::V0_4_0 {
            let version = self.list.cni_version.as_str();
            let msg = format!("configuration version {version:?} does not support the CHECK command");
            return Err(CniError::new(Code::IncompatibleVersion, msg));
        }
        if self.list.check == Allowed::No {
            return Ok(());
        }
        let cached = self.cache.read(&self.key()).map_err(|e| {
            let msg = format!("failed to get network {:?} cached result: {e}", self.list.name.as_str());
            CniError::new(Code::Io, msg)
        })?;
        let previous = cached.and_then(|entry| self.previous(&entry));
        for plugin in &self.list.plugins {
            let request = plugin.request(self.list, self.capability_args, previous.as_ref());
            let checked = self.find_and_run(Verb::Check, plugin, request);
            checked.map_err(|e| e.context(self.failed(plugin, Verb::Check)))?;
        }
        Ok(())
    }

    /// Runs one plugin. The error has no prefix.
    fn find_and_run(
        &self,
        verb: Verb,
        plugin: &PluginConf,
        request: Map<String, Value>,
    ) -> Result<(), CniError> {
        let program = self.path.find(&plugin.plugin_type)?;
        Ok(self.run(verb, &program, request).map(drop)?)
    }

    /// Runs the program of one plugin and returns its output.
    fn run(&self, verb: Verb, program: &Path, request: Map<String, Value>) -> Result<Vec<u8>, Failure> {
        let env = [
            ("CNI_COMMAND", verb.as_str().to_owned()),
            ("CNI_CONTAINERID", self.container_id.to_string()),
            ("CNI_NETNS", self.netns.to_owned()),
            ("CNI_IFNAME", self.if_name.to_string()),
            ("CNI_ARGS", self.args.to_text()),
            ("CNI_PATH", self.path.to_text()),
        ];
        Ok(exec(program, &env, &Value::Object(request), self.deadline)?)
    }

    /// The start of an error message, in the words of libcni.
    fn failed(&self, plugin: &PluginConf, verb: Verb) -> String {
        let word = match verb {
            Verb::Add => "add",
            Verb::Del => "delete",
            Verb::Check => "check",
            Verb::Gc => "gc",
            Verb::Status => "status",
            Verb::Version => "version",
        };
        format!(
            "plugin type={:?} name={:?} failed ({word})",
            plugin.plugin_type.as_str(),
            self.list.name.as_str()
        )
    }

    /// The cached result in the list's version. `None` before 0.4.0, where DEL gets no `prevResult`, and if it cannot be converted.
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

/// Runs GC of every plugin of a list, with the attachments that are still in use. Does nothing before 1.1.0 and if the list disables GC.
///
/// # Errors
/// All failures joined.
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
        // The spec renamed the key; libcni sends both since v1.2.3, because plugins may read either.
        request.insert("cni.dev/valid-attachments".into(), entries.clone());
        request.insert("cni.dev/attachments".into(), entries.clone());
        without_container(Verb::Gc, plugin, request, path, deadline).err()
    });
    join(errors.collect()).map_or(Ok(()), Err)
}

/// Runs STATUS of every plugin of a list. Does nothing before 1.1.0.
///
/// # Errors
/// The first failure, unchanged: the runtime acts on its code.
pub fn status(list: &NetworkList, path: &SearchPath, deadline: Instant) -> Result<(), CniError> {
    if list.cni_version < Version::V1_1_0 {
        return Ok(());
    }
    list.plugins.iter().try_for_each(|plugin| {
        without_container(Verb::Status, plugin, plugin.request(list, &Map::new(), None), path, deadline)
    })
}

/// Runs a verb that has no container.
fn without_container(
    verb: Verb,
    plugin: &PluginConf,
    request: Map<String, Value>,
    path: &SearchPath,
    deadline: Instant,
) -> Result<(), CniError> {
    let env = [("CNI_COMMAND", verb.as_str().to_owned()), ("CNI_PATH", path.to_text())];
    let program = path.find(&plugin.plugin_type)?;
    Ok(exec(&program, &env, &Value::Object(request), deadline).map(drop)?)
}

fn exec(
    program: &Path,
    env: &[(&str, String)],
    request: &Value,
    deadline: Instant,
) -> Result<Vec<u8>, ExecError> {
    Run { program, env, stdin: request.to_string().as_bytes(), deadline }.output()
}

/// How a plugin failed.
enum Failure {
    /// It did not start, or ended by itself with an error object.
    Refused(CniError),
    /// It was killed, or ended without an error object.
    Unclear(CniError),
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        if error.is_refusal() { Failure::Refused(error.into()) } else { Failure::Unclear(error.into()) }
    }
}

impl From<Failure> for CniError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) | Failure::Unclear(error) => error,
        }
    }
}

/// Reads a plugin's output for ADD. No output at all, or `null`, is an empty result.
///
/// # Errors
/// Code 6 if it is no JSON, 999 if it is no result.
pub fn result_of(plugin: &PluginType, output: &[u8], version: Version) -> Result<RawResult, CniError> {
    let is_empty = output.iter().all(u8::is_ascii_whitespace);
    let value = if is_empty { Ok(Value::Null) } else { serde_json::from_slice(output) };
    let value = value.map_err(|e| {
        CniError::new(
            Code::Decoding,
            format!("the output of plugin {:?} for ADD is not JSON: {e}", plugin.as_str()),
        )
    })?;
    RawResult::from_value(value, version).map_err(internal)
}

fn internal(error: ResultError) -> CniError {
    CniError::new(Code::Internal, error.to_string())
}

/// The list as JSON, for the cache.
fn config_bytes(list: &NetworkList) -> Vec<u8> {
    let plugins: Vec<Value> = list.plugins.iter().map(|p| Value::Object(p.object.clone())).collect();
    let config = serde_json::json!({ "cniVersion": list.cni_version.as_str(), "name": list.name.as_str(), "plugins": plugins });
    config.to_string().into_bytes()
}

/// Joins failures into one, with the code of the first and all messages.
fn join(errors: Vec<CniError>) -> Option<CniError> {
    errors.into_iter().reduce(|first, next| CniError { msg: format!("{} / {}", first.msg, next), ..first })
}

#[cfg(test)]
mod tests;
