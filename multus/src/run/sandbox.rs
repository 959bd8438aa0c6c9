//! One sandbox, and how plugins run for it: what ADD, DEL, CHECK and GC have in common.

use cni::CniError;
use cni::args::CniArgs;
use cni::cache::Cache;
use cni::chain::{Chain, DelFailure};
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use cni::result::RawResult;
use nad::PodRef;
use netlink::Netns;
use node::deadline::Deadline;
use serde_json::{Map, Value};

use super::device_info;
use super::rule::{self, Namespace};
use crate::conf::Conf;
use crate::log;
use crate::log::warn;
use crate::plan::{Delegate, delegate_args, device_file};
use crate::record::{Reached, Recorded};

/// A sandbox, and what its plugins run with.
#[derive(Clone, Debug)]
pub(super) struct Sandbox<'a> {
    /// Its id.
    pub(super) container_id: &'a ContainerId,
    /// The path of its network namespace; empty if that is gone.
    pub(super) netns: &'a str,
    /// Its pod, for messages.
    pub(super) pod: Option<&'a PodRef>,
    /// `CNI_ARGS` for the plugins.
    pub(super) args: CniArgs,
    /// The search path of plugins.
    pub(super) path: &'a SearchPath,
    /// The results of earlier ADDs.
    pub(super) cache: Cache,
}

/// One network of a sandbox, planned or recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelegateRef<'a> {
    /// Its plugins.
    pub(super) list: &'a NetworkList,
    /// Its label, for the device file.
    pub(super) label: &'a str,
    /// Its interface.
    pub(super) if_name: &'a IfName,
    /// Its capability arguments.
    pub(super) capability_args: &'a Map<String, Value>,
}

/// One network to delete.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removal<'a> {
    /// The network.
    pub(super) delegate: DelegateRef<'a>,
    /// How far the ADD of each of its plugins came.
    pub(super) reached: &'a [Reached],
}

/// Something that DEL did not delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// The place of the network among those to delete, from 0.
    pub(super) network: usize,
    /// The place of the plugin in its list, from 0. `None`: only the cached result.
    pub(super) plugin: Option<usize>,
    /// Why.
    pub(super) error: CniError,
}

impl<'a> From<&'a Delegate> for DelegateRef<'a> {
    fn from(delegate: &'a Delegate) -> Self {
        let Delegate { network, if_name, capability_args, .. } = delegate;
        DelegateRef { list: &network.list, label: &network.label, if_name, capability_args }
    }
}

impl<'a> From<&'a Recorded> for DelegateRef<'a> {
    fn from(recorded: &'a Recorded) -> Self {
        let Recorded { network, if_name, capability_args, .. } = recorded;
        DelegateRef { list: &network.list, label: &network.label, if_name, capability_args }
    }
}

impl<'a> Sandbox<'a> {
    /// The sandbox, with search path and cache of the configuration.
    pub(super) fn new(
        conf: &'a Conf,
        container_id: &'a ContainerId,
        netns: &'a str,
        pod: Option<&'a PodRef>,
        args: &CniArgs,
    ) -> Self {
        Sandbox {
            container_id,
            netns,
            pod,
            args: delegate_args(args, pod),
            path: &conf.path,
            cache: result_cache(conf),
        }
    }

    /// The plugins of one network, ready to run with these `CNI_ARGS`.
    pub(super) fn chain<'s>(
        &'s self,
        delegate: DelegateRef<'s>,
        args: &'s CniArgs,
        deadline: Deadline,
    ) -> Chain<'s> {
        Chain {
            list: delegate.list,
            container_id: self.container_id,
            if_name: delegate.if_name,
            netns: self.netns,
            args,
            capability_args: delegate.capability_args,
            cache: &self.cache,
            path: self.path,
            deadline: deadline.instant(),
        }
    }

    /// Runs DEL for these networks, the last one first. Goes on after failures. Returns what is left, in the order of the calls.
    pub(super) fn remove(&self, networks: &[Removal<'_>], deadline: Deadline) -> Vec<Left> {
        let mut left = Vec::new();
        for (at, removal) in networks.iter().enumerate().rev() {
            // One that hangs must leave time for the others.
            let remaining = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
            let share = deadline.child(deadline.remaining() / remaining);
            log::verbose(|| self.describe("Del", removal.delegate, None));
            left.extend(self.remove_one(*removal, share).into_iter().map(|(plugin, error)| {
                let what = "error removing container from network";
                let error = error.context(self.prefix(removal.delegate.list, what));
                Left { network: at, plugin, error }
            }));
        }
        left
    }

    /// Runs DEL for one network. Returns the plugins that failed; no plugin means the cached result.
    fn remove_one(&self, removal: Removal<'_>, deadline: Deadline) -> Vec<(Option<usize>, CniError)> {
        let Removal { delegate, reached } = removal;
        let file = device_file(delegate.label, self.container_id, delegate.if_name);
        if let Err(error) = device_info::remove(&file) {
            warn(&error);
        }
        let chain = self.chain(delegate, &self.args, deadline);
        let reached = |plugin: usize| reached.get(plugin).unwrap_or(&Reached::Unknown);
        let mut left = Vec::new();
        for failure in chain.del_plugins(|plugin| rule::needs_del(reached(plugin))) {
            let DelFailure { plugin, cause, error } = failure;
            let plugin_type = delegate.list.plugins.get(plugin).map_or("", |p| p.plugin_type.as_str());
            match rule::counts_as_done(reached(plugin), plugin_type, namespace(self.netns), &cause) {
                Some(done) => warn(&format_args!("{error}; {}", done.reason())),
                None => left.push((Some(plugin), error)),
            }
        }
        if left.is_empty() {
            left.extend(chain.forget().err().map(|error| (None, error)));
        }
        left
    }

    /// The line of the log about one network, as upstream has it: `<what>: <namespace>:<pod>:<uid>:<label>(<name>):<interface> <result>`.
    pub(super) fn describe(
        &self,
        what: &str,
        delegate: DelegateRef<'_>,
        result: Option<&RawResult>,
    ) -> String {
        let pod = self.pod.map(|pod| pod.with_uid().to_string().replace('/', ":")).unwrap_or_default();
        let (label, name, if_name) = (delegate.label, &delegate.list.name, delegate.if_name);
        let result = result.map(|result| format!(" {}", result.value())).unwrap_or_default();
        format!("{what}: {pod}:{label}({name}):{if_name}{result}")
    }

    /// The beginning of a message about one network, as upstream has it: `[<pod>:<network>]: <what> "<network>"`.
    pub(super) fn prefix(&self, list: &NetworkList, what: &str) -> String {
        let name = list.name.as_str();
        match self.pod {
            Some(pod) => format!("[{}:{name}]: {what} {name:?}", pod.with_uid()),
            None => format!("[{name}]: {what} {name:?}"),
        }
    }
}

/// The result cache, in the folder that upstream uses.
pub(super) fn result_cache(conf: &Conf) -> Cache {
    Cache::new(&conf.cni_dir.join("results"))
}

/// Whether the namespace at this path still exists.
pub(crate) fn namespace(netns: &str) -> Namespace {
    use netlink::NetnsError::{NotANetns, NotFound};
    match netns {
        "" => Namespace::Gone,
        path => match Netns::open(path.as_ref()) {
            Err(NotFound { .. } | NotANetns { .. }) => Namespace::Gone,
            Ok(_) | Err(_) => Namespace::MayExist,
        },
    }
}
