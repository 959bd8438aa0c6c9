//! What the cached results of a sandbox say about its networks.

use cni::args::CniArgs;
use cni::cache::{Entry, Key};
use cni::names::ContainerId;
use cni::result::{CniResult, RawResult};
use serde_json::{Map, Value};

use super::device_info;
use super::sandbox::result_cache;
use crate::conf::Conf;
use crate::log::warn;
use crate::plan::device_file;
use crate::record::{Record, Recorded};

/// The results of a sandbox.
#[derive(Debug)]
pub(crate) struct Results {
    /// The path of its network namespace.
    pub(crate) netns: String,
    /// `CNI_ARGS` of its ADD.
    pub(crate) args: CniArgs,
    /// Of each network of the record, in its order. `None` if its ADD is not complete.
    pub(crate) networks: Vec<Option<NetworkResult>>,
}

/// The result of one network.
#[derive(Debug)]
pub(crate) struct NetworkResult {
    /// The result, after the change of its default routes.
    pub(crate) result: CniResult,
    /// The description of its device.
    pub(crate) device_info: Option<Map<String, Value>>,
}

/// Reads the results of a sandbox. `None` if the ADD of its default network is not complete.
pub(crate) fn results(conf: &Conf, container_id: &ContainerId, record: &Record) -> Option<Results> {
    let cache = result_cache(conf);
    let read = |recorded: &Recorded| -> Option<Entry> {
        let network = recorded.network.list.name.clone();
        let key = Key { network, container_id: container_id.clone(), if_name: recorded.if_name.clone() };
        cache.read(&key).inspect_err(|error| warn(error)).ok().flatten()
    };
    let first = read(record.delegates.first()?)?;
    first.result.as_ref()?;
    let network = |recorded: &Recorded| -> Option<NetworkResult> {
        let raw = RawResult::from_value(read(recorded)?.result?, recorded.network.list.cni_version);
        let result = raw.and_then(|raw| raw.parse()).inspect_err(|error| warn(error)).ok()?;
        let file = device_file(&recorded.network.label, container_id, &recorded.if_name);
        let device_info = recorded.capability_args.get("deviceID").and_then(|_| device_info::read(&file));
        Some(NetworkResult { result, device_info })
    };
    let networks = record.delegates.iter().map(network).collect();
    Some(Results { netns: first.netns, args: first.args, networks })
}
