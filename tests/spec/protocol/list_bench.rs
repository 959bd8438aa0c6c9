//! A network configuration list, plugins that are scripts, and a cache, for the cases of the reference implementation's `libcni`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use cni::args::CniArgs;
use cni::cache::{Cache, Key};
use cni::chain::{self, Chain};
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use cni::plugin::ValidAttachment;
use cni::{CniError, Version};
use serde_json::{Map, Value, json};
use tests::driver::write_script;

const LONG: Duration = Duration::from_secs(30);

pub struct ListBench {
    pub folder: tempfile::TempDir,
    pub list: NetworkList,
    pub args: CniArgs,
    pub offers: Map<String, Value>,
    pub cache: Cache,
    pub path: SearchPath,
    pub container_id: ContainerId,
    pub if_name: IfName,
    /// The deadline of a verb.
    pub limit: Duration,
}

/// The list `some-list` of the plugins `first`, `second` and `third`; the first has a key, the second capabilities.
pub fn three(version: &str) -> Value {
    json!({"cniVersion": version, "name": "some-list", "plugins": [
        {"type": "first", "some-key": "some-value"}, {"type": "second", "capabilities": {"ips": true, "mac": false}},
        {"type": "third"}]})
}

/// One plugin, `first`, as a conf without a list.
pub fn single(version: &str) -> Value {
    json!({"cniVersion": version, "name": "some-list", "type": "first"})
}

pub fn parse(list: &Value) -> Result<NetworkList, CniError> {
    NetworkList::parse(list.to_string().as_bytes())
}

impl ListBench {
    /// Writes a script for each plugin of the list. It logs its input and answers ADD with a result whose `domain` is the plugin's name.
    pub fn new(list: Value) -> ListBench {
        let folder = tempfile::tempdir().unwrap();
        let bench = ListBench {
            list: parse(&list).unwrap(),
            args: CniArgs::parse("IgnoreUnknown=1;A=1").unwrap(),
            offers: json!({"ips": ["10.1.2.9/24"], "mac": "02:00:00:00:00:01"}).as_object().unwrap().clone(),
            cache: Cache::new(&folder.path().join("results")),
            path: SearchPath::parse(folder.path().to_str().unwrap()),
            container_id: ContainerId::parse("some-container").unwrap(),
            if_name: IfName::parse("net1").unwrap(),
            limit: LONG,
            folder,
        };
        for plugin in &bench.list.plugins {
            let name = plugin.plugin_type.as_str();
            let result = result(bench.list.cni_version.as_str(), name);
            bench.script(name, &format!("[ $CNI_COMMAND = ADD ] && echo '{result}'\nexit 0"));
        }
        bench
    }

    /// Makes the plugin log verb and input and then run `body`.
    pub fn script(&self, name: &str, body: &str) {
        let log = self.folder.path().join("log");
        let note = format!("echo \"{name} $CNI_COMMAND $(cat)\" >> {}", log.display());
        write_script(&self.folder.path().join(name), &format!("{note}\n{body}"));
    }

    /// Makes the plugin fail with this error.
    pub fn fail(&self, name: &str, code: u32, msg: &str) {
        self.script(name, &format!(r#"echo '{{"code": {code}, "msg": "{msg}"}}'; exit 1"#));
    }

    pub fn chain(&self) -> Chain<'_> {
        Chain {
            list: &self.list,
            container_id: &self.container_id,
            if_name: &self.if_name,
            netns: "/some/netns/path",
            args: &self.args,
            capability_args: &self.offers,
            cache: &self.cache,
            path: &self.path,
            deadline: self.deadline(),
        }
    }

    pub fn deadline(&self) -> Instant {
        Instant::now() + self.limit
    }

    pub fn gc(&self, valid: &[ValidAttachment]) -> Result<(), CniError> {
        chain::gc(&self.list, valid, &self.path, self.deadline())
    }

    pub fn status(&self) -> Result<(), CniError> {
        chain::status(&self.list, &self.path, self.deadline())
    }

    /// The calls since the last look, each as `plugin VERB` and the plugin's input.
    pub fn calls(&self) -> Vec<(String, Value)> {
        let log = self.folder.path().join("log");
        // The first call makes the log.
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(&log);
        let call = |line: &str| {
            let at = line.find('{').unwrap_or_else(|| panic!("no input in the logged call {line:?}"));
            (line[..at].trim().to_owned(), serde_json::from_str(&line[at..]).unwrap())
        };
        text.lines().map(call).collect()
    }

    /// The calls since the last look, without the input.
    pub fn called(&self) -> Vec<String> {
        self.calls().into_iter().map(|(call, _)| call).collect()
    }

    pub fn key(&self) -> Key {
        Key {
            network: self.list.name.clone(),
            container_id: self.container_id.clone(),
            if_name: self.if_name.clone(),
        }
    }

    /// The attachment's file in the cache.
    pub fn cached(&self) -> PathBuf {
        self.folder.path().join("results/some-list-some-container-net1")
    }

    /// Writes the attachment's file in the cache.
    pub fn put_cached(&self, text: &str) {
        use std::io::Write;
        std::fs::create_dir_all(self.cached().parent().unwrap()).unwrap();
        std::fs::File::create(self.cached()).unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Writes the attachment's file in the cache, with this result in the form `cniCacheV1`.
    pub fn put_cached_result(&self, result: &Value) {
        let entry = json!({"kind": "cniCacheV1", "containerId": "some-container", "config": "", "ifName": "net1",
            "networkName": "some-list", "result": result});
        self.put_cached(&entry.to_string());
    }
}

/// A result with one address and `domain`.
pub fn result(version: &str, domain: &str) -> Value {
    let dns = json!({"domain": domain});
    match version.parse::<Version>().unwrap() {
        Version::V0_1_0 | Version::V0_2_0 => {
            json!({"cniVersion": version, "ip4": {"ip": "10.1.2.3/24"}, "dns": dns})
        }
        Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => {
            json!({"cniVersion": version, "ips": [{"version": "4", "address": "10.1.2.3/24"}], "dns": dns})
        }
        Version::V1_0_0 | Version::V1_1_0 => {
            json!({"cniVersion": version, "ips": [{"address": "10.1.2.3/24"}], "dns": dns})
        }
    }
}
