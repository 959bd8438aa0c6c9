//! The verbs of the CNI spec, in direct mode: the plugin asks the API server itself.

use std::time::{Duration, SystemTime};

use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};
use node::deadline::Deadline;

use crate::attach::{ADD_LIMIT, Attach, look_up, wait_until_ready};
use crate::check::check;
use crate::conf::Conf;
use crate::demand;
use crate::detach::Detach;
use crate::error::Error;
use crate::gc::gc;
use crate::network::Network;
use crate::pod::PodRef;
use crate::source::Source;

/// How long STATUS may take: runtimes ask every few seconds.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// The plugin `multus`, also called `multus-shim`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Multus;

impl Plugin for Multus {
    fn about(&self) -> About {
        About { text: "meta-plugin that delegates to other CNI plugins", versions: Version::ALL }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        add(attachment, call, Deadline::after(ADD_LIMIT)).map_err(|e| e.to_cni())
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        let netns = detachment.netns.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
        let Detachment { container_id, if_name, .. } = detachment;
        let deadline = Deadline::after(ADD_LIMIT);
        let detach = Detach { conf: &conf, container_id, if_name, netns: &netns, args: &call.args, deadline };
        detach.run().map_err(|e| e.to_cni())
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        check(&conf, attachment, call, Deadline::after(ADD_LIMIT)).map_err(|e| e.to_cni())
    }

    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        let Some(valid) = valid else { return Ok(()) };
        let deadline = Deadline::after(ADD_LIMIT);
        let default = default_network(&conf, deadline).map_err(|e| e.to_cni())?;
        gc(&conf, &default, valid, SystemTime::now(), deadline).map_err(|e| e.to_cni())
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        let conf = Conf::read(call)?;
        if let Some(file) = conf.readiness_file.as_ref().filter(|file| !file.exists()) {
            let msg = format!(
                "the default network is not ready: readinessindicatorfile {} does not exist",
                file.display()
            );
            return Err(CniError::new(Code::NotAvailable, msg));
        }
        let deadline = Deadline::after(STATUS_LIMIT);
        let default = default_network(&conf, deadline).map_err(|e| e.to_cni())?;
        cni::chain::status(&default.list, &conf.path, deadline.instant())
    }
}

fn add(attachment: &Attachment, call: &Call, deadline: Deadline) -> Result<RawResult, Error> {
    let conf = Conf::read(call)?;
    let defaults = conf.default_networks()?;
    let at = PodRef::of_call(&call.args)?;
    wait_until_ready(&conf, deadline)?;
    let source = Source::connect(&conf, &environment, deadline)?;
    Attach { conf: &conf, attachment, call, at: at.as_ref(), deadline }.run(&defaults, source)
}

/// The default network of every pod; the API server is asked only where the conf does not tell.
fn default_network(conf: &Conf, deadline: Deadline) -> Result<Network, Error> {
    let first: Vec<_> =
        demand::demands(conf, &conf.default_networks()?, None, None)?.into_iter().take(1).collect();
    let source = match demand::definitions(&first).as_slice() {
        [] => None,
        _ => Source::connect(conf, &environment, deadline)?,
    };
    let found = look_up(&first, source.as_ref(), deadline)?;
    let network = first.first().map(|demand| demand::network(demand, &found, &conf.conf_dir, None));
    Ok(network.transpose()?.ok_or_else(|| CniError::new(Code::InvalidConfig, "no default network"))?)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests;
