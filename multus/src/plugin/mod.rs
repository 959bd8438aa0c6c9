//! The verbs of the CNI spec. Their requests about pods and definitions go to the daemon of the node or to the API server.

mod add;
mod api;
mod cluster;
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
pub(crate) use self::cluster::OnDemand;
use self::default_network::default_network;
pub use self::passthru::Passthru;
use self::readiness::{check_ready, wait_until_ready};
use crate::conf::Conf;
use crate::error::Error;
use crate::record::Moment;
use crate::request::pod::pod_of_add;
use crate::run::{Attach, Detach, Gc, check, gc, retry_tombstones};

/// Longest time for ADD, DEL, CHECK and GC. Runtimes give up after two minutes.
const VERB_LIMIT: Duration = Duration::from_secs(110);

/// Longest time that a DEL spends on the tombstones of other sandboxes.
const RETRY_LIMIT: Duration = Duration::from_millis(450);

/// The same for GC, which no pod waits for.
const GC_RETRY_LIMIT: Duration = Duration::from_secs(10);

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
        let (now, cluster) = (&Moment::now(), &on_demand(&conf));
        let args = &call.args;
        let detach =
            Detach { conf: &conf, container_id, if_name, netns: &netns, args, now, cluster, deadline };
        let detached = detach.run().map_err(|e| e.to_cni());
        retry_tombstones(&conf, SystemTime::now(), deadline.child(RETRY_LIMIT));
        detached
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
        let (now, since_boot, cluster) = (SystemTime::now(), &Moment::now(), &on_demand(&conf));
        let collected = gc(Gc { conf: &conf, default: &default, valid, now, since_boot, cluster, deadline });
        retry_tombstones(&conf, SystemTime::now(), deadline.child(GC_RETRY_LIMIT));
        collected.map_err(|e| e.to_cni())
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
    conf.warnings.iter().for_each(|warning| crate::run::warn(warning));
    let defaults = conf.default_networks()?;
    let pod = pod_of_add(&call.args)?;
    wait_until_ready(&conf, deadline)?;
    let api = Api::connect(&conf, &environment, deadline)?;
    let (args, now) = (&call.args, &Moment::now());
    let attach = Attach { conf: &conf, attachment, args, pod: pod.as_ref(), now, deadline };
    Add { attach }.run(&defaults, api)
}

/// The API server, with the credentials of the configuration and the environment.
fn on_demand(conf: &Conf) -> OnDemand<'_> {
    OnDemand::new(conf, |deadline| Api::connect(conf, &environment, deadline))
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
