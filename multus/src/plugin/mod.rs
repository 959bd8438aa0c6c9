//! The verbs of the CNI spec, in direct mode: the plugin sends its own requests to the API server.

mod add;
mod api;
mod default_network;
mod passthru;
mod readiness;

use std::time::{Duration, SystemTime};

use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Version};
use node::deadline::Deadline;

pub(crate) use self::add::Add;
pub(crate) use self::api::Api;
use self::default_network::default_network;
pub use self::passthru::Passthru;
use self::readiness::{check_ready, wait_until_ready};
use crate::conf::Conf;
use crate::error::Error;
use crate::request::pod::pod_of_add;
use crate::run::{Detach, check, gc};

/// Longest time for ADD, DEL, CHECK and GC. Runtimes give up after two minutes.
const VERB_LIMIT: Duration = Duration::from_secs(110);

/// Longest time for STATUS, which runtimes request every few seconds.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// The plugin `multus`, also called `multus-shim`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Multus;

impl Plugin for Multus {
    fn about(&self) -> About {
        About { text: "meta-plugin that delegates to other CNI plugins", versions: Version::ALL }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        add(attachment, call, Deadline::after(VERB_LIMIT)).map_err(|e| e.to_cni())
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        let netns = detachment.netns.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
        let Detachment { container_id, if_name, .. } = detachment;
        let deadline = Deadline::after(VERB_LIMIT);
        let detach = Detach { conf: &conf, container_id, if_name, netns: &netns, args: &call.args, deadline };
        detach.run().map_err(|e| e.to_cni())
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        check(&conf, attachment, call, Deadline::after(VERB_LIMIT)).map_err(|e| e.to_cni())
    }

    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        // Without the list every attachment would look stale.
        let Some(valid) = valid else { return Ok(()) };
        let deadline = Deadline::after(VERB_LIMIT);
        let default = default_network(&conf, &environment, deadline).map_err(|e| e.to_cni())?;
        gc(&conf, &default, valid, SystemTime::now(), deadline).map_err(|e| e.to_cni())
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        conf.check_keys()?;
        check_ready(&conf)?;
        let deadline = Deadline::after(STATUS_LIMIT);
        let default = default_network(&conf, &environment, deadline).map_err(|e| e.to_cni())?;
        // The default network alone: other networks must not keep the node from being ready.
        cni::chain::status(&default.list, &conf.path, deadline.instant())
    }
}

fn add(attachment: &Attachment, call: &Call, deadline: Deadline) -> Result<RawResult, Error> {
    let conf = Conf::read(call)?;
    // Wrong input fails before the wait for the default network.
    conf.check_keys()?;
    let defaults = conf.default_networks()?;
    let pod = pod_of_add(&call.args)?;
    wait_until_ready(&conf, deadline)?;
    let api = Api::connect(&conf, &environment, deadline)?;
    Add { conf: &conf, attachment, args: &call.args, pod: pod.as_ref(), deadline }.run(&defaults, api)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
