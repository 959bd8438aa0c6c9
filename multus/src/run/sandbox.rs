//! One sandbox, and how plugins run for it: what ADD, DEL, CHECK and GC have in common.

use cni::args::CniArgs;
use cni::cache::{Cache, Key};
use cni::chain::Chain;
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use cni::{CniError, Code};
use nad::PodRef;
use node::deadline::Deadline;
use serde_json::{Map, Value};

use super::device_info;
use super::failures::{join, warn};
use crate::conf::Conf;
use crate::plan::{Delegate, delegate_args, device_file};
use crate::record::Recorded;

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

impl<'a> From<&'a Delegate> for DelegateRef<'a> {
    fn from(delegate: &'a Delegate) -> Self {
        let Delegate { network, if_name, capability_args, .. } = delegate;
        DelegateRef { list: &network.list, label: &network.label, if_name, capability_args }
    }
}

impl<'a> From<&'a Recorded> for DelegateRef<'a> {
    fn from(recorded: &'a Recorded) -> Self {
        let Recorded { network, if_name, capability_args } = recorded;
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

    /// Runs DEL for these networks, the last one first. Goes on after failures and returns all of them as one.
    pub(super) fn remove(&self, delegates: &[DelegateRef<'_>], deadline: Deadline) -> Result<(), CniError> {
        let mut errors = Vec::new();
        for (left, delegate) in (1_u32..).zip(delegates).collect::<Vec<_>>().into_iter().rev() {
            // One that hangs must leave time for the others.
            let share = deadline.child(deadline.remaining() / left);
            let file = device_file(delegate.label, self.container_id, delegate.if_name);
            if let Err(error) = device_info::remove(&file) {
                warn(&error);
            }
            // Looked up before DEL removes the cached result.
            let never_attached = self.never_attached(*delegate);
            for error in self.chain(*delegate, &self.args, share).del_each() {
                let is_harmless = never_attached && is_refusal(&error);
                let error =
                    error.context(self.prefix(delegate.list, "error removing container from network"));
                if is_harmless {
                    warn(&format_args!(
                        "{error}; ADD was refused for the same reason, so there is nothing to delete"
                    ));
                } else {
                    errors.push(error);
                }
            }
        }
        join(errors).map_or(Ok(()), Err)
    }

    /// Whether no ADD of this network has succeeded.
    fn never_attached(&self, delegate: DelegateRef<'_>) -> bool {
        let (network, if_name) = (delegate.list.name.clone(), delegate.if_name.clone());
        let key = Key { network, container_id: self.container_id.clone(), if_name };
        matches!(self.cache.read(&key), Ok(None))
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

/// Whether a plugin refused its configuration, or is missing. If so, its ADD failed in the same way before it made anything. Without this
/// rule a pod with a wrong network could never be deleted.
fn is_refusal(error: &CniError) -> bool {
    let is_missing = error.msg.contains("failed to find plugin");
    is_missing || matches!(error.code, Code::IncompatibleVersion | Code::Decoding | Code::InvalidConfig)
}
