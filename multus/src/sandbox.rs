//! One sandbox, and running plugins for it: what ADD, DEL, CHECK and GC have in common.

use std::io::Write as _;

use cni::args::CniArgs;
use cni::cache::{Cache, Key};
use cni::chain::Chain;
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use cni::{CniError, Code};
use node::deadline::Deadline;
use serde_json::{Map, Value};

use crate::conf::Conf;
use crate::plan::Delegate;
use crate::pod::PodRef;
use crate::record::Recorded;

/// A sandbox with what plugins are run with.
#[derive(Clone, Debug)]
pub struct Sandbox<'a> {
    /// Its id.
    pub container_id: &'a ContainerId,
    /// The path of its network namespace; empty where it is gone.
    pub netns: &'a str,
    /// Its pod, for messages.
    pub pod: Option<&'a PodRef>,
    /// `CNI_ARGS` of the plugins.
    pub args: CniArgs,
    /// Where plugins are looked for.
    pub path: &'a SearchPath,
    /// The results of earlier ADDs.
    pub cache: Cache,
}

/// One network of a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Its plugins.
    pub list: &'a NetworkList,
    /// Its name in messages and files of devices.
    pub label: &'a str,
    /// Its interface.
    pub if_name: &'a IfName,
    /// What is offered as capabilities.
    pub capability_args: &'a Map<String, Value>,
}

impl<'a> From<&'a Delegate> for Part<'a> {
    fn from(delegate: &'a Delegate) -> Self {
        let Delegate { network, if_name, capability_args, .. } = delegate;
        Part { list: &network.list, label: &network.label, if_name, capability_args }
    }
}

impl<'a> From<&'a Recorded> for Part<'a> {
    fn from(recorded: &'a Recorded) -> Self {
        let Recorded { network, if_name, capability_args } = recorded;
        Part { list: &network.list, label: &network.label, if_name, capability_args }
    }
}

impl<'a> Sandbox<'a> {
    /// The sandbox, with the conf's places.
    pub fn new(
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
            args: crate::pod::delegate_args(args, pod),
            path: &conf.path,
            cache: Cache::new(&conf.cni_dir.join("results")),
        }
    }

    /// A run of one network's plugins.
    pub fn chain<'s>(&'s self, part: Part<'s>, args: &'s CniArgs, deadline: Deadline) -> Chain<'s> {
        Chain {
            list: part.list,
            container_id: self.container_id,
            if_name: part.if_name,
            netns: self.netns,
            args,
            capability_args: part.capability_args,
            cache: &self.cache,
            path: self.path,
            deadline: deadline.instant(),
        }
    }

    /// Runs DEL of these networks, the last one first. Goes on past failures and returns them joined. One that hangs leaves the others
    /// their share of the time.
    pub fn remove(&self, parts: &[Part<'_>], deadline: Deadline) -> Result<(), CniError> {
        let mut errors = Vec::new();
        for (left, part) in (1_u32..).zip(parts).collect::<Vec<_>>().into_iter().rev() {
            let share = deadline.child(deadline.remaining() / left);
            let file = crate::device::file(part.label, self.container_id, part.if_name);
            if let Err(error) = crate::device::remove(&file) {
                warn(&error);
            }
            let never_attached = self.never_attached(*part);
            for error in self.chain(*part, &self.args, share).del_each() {
                let is_moot = never_attached && is_refusal(&error);
                let error = error.context(self.about(part.list, "error removing container from network"));
                if is_moot {
                    warn(&format_args!(
                        "{error}; its ADD was refused for the same reason, so nothing is left of it"
                    ));
                } else {
                    errors.push(error);
                }
            }
        }
        join(errors).map_or(Ok(()), Err)
    }

    /// Whether no ADD of this network has succeeded.
    fn never_attached(&self, part: Part<'_>) -> bool {
        let (network, if_name) = (part.list.name.clone(), part.if_name.clone());
        let key = Key { network, container_id: self.container_id.clone(), if_name };
        matches!(self.cache.read(&key), Ok(None))
    }

    /// The head of a message about one network: `[<pod>:<network>]: <what> "<network>"`.
    pub fn about(&self, list: &NetworkList, what: &str) -> String {
        let name = list.name.as_str();
        match self.pod {
            Some(pod) => format!("[{pod}:{name}]: {what} {name:?}"),
            None => format!("[{name}]: {what} {name:?}"),
        }
    }
}

/// Whether a plugin refused its configuration, or is not there to read it: what it says to DEL it said to ADD as well, before it made
/// anything. Without this a pod with a wrong network could never be deleted.
fn is_refusal(error: &CniError) -> bool {
    let is_missing = error.msg.contains("failed to find plugin");
    is_missing || matches!(error.code, Code::IncompatibleVersion | Code::Decoding | Code::InvalidConfig)
}

/// Several failures as one: the first one's code, every message.
pub fn join(errors: Vec<CniError>) -> Option<CniError> {
    errors.into_iter().reduce(|first, next| CniError { msg: format!("{} / {next}", first.msg), ..first })
}

/// Tells the runtime's log what is no reason to fail.
pub fn warn(what: &dyn std::fmt::Display) {
    // A log that is closed cannot be told so.
    let _ = writeln!(std::io::stderr(), "multus: {what}");
}
