//! The verbs of the CNI spec. Their requests about pods and definitions go to the daemon of the node or to the API server.

mod add;
mod api;
mod cluster;
mod default_network;
mod devices;
mod passthru;
mod readiness;

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime};

use cni::env::{Attachment, Detachment};
use cni::plugin::{About, Call, Plugin, ValidAttachment};
use cni::result::RawResult;
use cni::{CniError, Code, Version};
use nad::rpc::{CallOutcome, CallVerb, EndedCall};
use netlink::Runner;
use node::deadline::Deadline;

pub(crate) use self::add::Add;
pub(crate) use self::api::{Api, HandOver};
pub(crate) use self::cluster::OnDemand;
use self::default_network::default_network;
pub use self::passthru::Passthru;
use self::readiness::{check_ready, wait_until_ready};
use crate::conf::Conf;
use crate::error::Error;
use crate::kubelet::Kubelet;
use crate::log;
use crate::record::Moment;
use crate::request::pod::pod_of_add;
use crate::run::{Attach, Detach, Gc, check, gc, retry_tombstones};
use crate::source::Daemon;

/// Longest time for ADD, DEL, CHECK and GC. Runtimes give up after two minutes.
const VERB_LIMIT: Duration = Duration::from_secs(110);

/// Longest time that a DEL spends on the tombstones of other sandboxes.
const RETRY_LIMIT: Duration = Duration::from_millis(450);

/// The same for GC, which no pod waits for.
const GC_RETRY_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for STATUS, which runtimes request every few seconds.
const STATUS_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for sending events after the answer, in a child that nobody waits for. The kernel ends the child a second later.
const EVENTS_LIMIT: Duration = Duration::from_secs(4);

/// The same where the runtime waits: for the daemon, or because there can be no child.
const WAITED_EVENTS_LIMIT: Duration = Duration::from_millis(500);

/// Longest time for telling the daemon how the call ended. The runtime waits meanwhile.
const REPORT_LIMIT: Duration = Duration::from_millis(100);

/// Longest time for compressing the log's rotated files, in a child that nobody waits for. 100 MiB take some seconds.
const COMPRESS_LIMIT: Duration = Duration::from_secs(120);

/// Compresses the rotated files of the log, if this call has rotated it, in a child process. The process may only end after this. If there can be
/// no child, the next call that rotates compresses them.
pub fn compress_log() {
    let Some(file) = log::rotated() else { return };
    netlink::after_answer(COMPRESS_LIMIT, |runner| match runner {
        Runner::Child => log::compress(&file),
        Runner::Caller => {}
    });
}

/// The plugin `multus`, also called `multus-shim`.
#[derive(Debug, Default)]
pub struct Multus {
    /// The connection of the call, with the events that are sent after the answer.
    api: RefCell<Option<Api>>,
    /// How the call ended, for the daemon of its configuration.
    ended: RefCell<Option<(Daemon, EndedCall)>>,
}

impl Multus {
    /// Sends the events of the call that the daemon does not have yet, after the answer was written: to the daemon, or in a child process to the
    /// API server. The process may only end after this.
    ///
    /// Before that, the daemon learns how the call ended, unless it knows: see [`Api::report_attached`].
    pub fn send_events(self) {
        let api = self.api.into_inner();
        if let Some((daemon, ended)) = self.ended.into_inner()
            && !api.as_ref().is_some_and(Api::is_counted)
        {
            daemon.report(ended, Deadline::after(REPORT_LIMIT));
        }
        let Some(api) = api else { return };
        if api.hand_over_events(Deadline::after(WAITED_EVENTS_LIMIT)) == HandOver::Done {
            return;
        }
        let send = move |runner: Runner| {
            let limit = match runner {
                Runner::Child => EVENTS_LIMIT,
                Runner::Caller => WAITED_EVENTS_LIMIT,
            };
            api.send_events(Deadline::after(limit));
        };
        netlink::after_answer(EVENTS_LIMIT + Duration::from_secs(1), send);
    }

    /// Does the work of a call, and keeps how it ended for the daemon.
    fn measure<T>(
        &self,
        verb: CallVerb,
        conf: &Conf,
        work: impl FnOnce() -> Result<T, CniError>,
    ) -> Result<T, CniError> {
        let began = Instant::now();
        let result = work();
        let outcome = match &result {
            Ok(_) => CallOutcome::Done,
            Err(error) if error.code == Code::TryAgainLater => CallOutcome::Later,
            Err(_) => CallOutcome::Failed,
        };
        let ended = EndedCall { verb, outcome, took: began.elapsed() };
        self.ended.replace(Daemon::of(conf).map(|daemon| (daemon, ended)));
        result
    }
}

impl Plugin for Multus {
    fn about(&self) -> About {
        About { text: "meta-plugin that delegates to other CNI plugins", versions: Version::ALL }
    }

    fn add(&self, attachment: &Attachment, call: &Call) -> Result<RawResult, CniError> {
        let mut api = self.api.borrow_mut();
        logged("ADD", || {
            let conf = begin(call)?;
            let deadline = Deadline::after(VERB_LIMIT);
            let attach = || add(&conf, attachment, call, &mut api, deadline).map_err(|e| e.to_cni());
            self.measure(CallVerb::Add, &conf, attach)
        })
    }

    fn del(&self, detachment: &Detachment, call: &Call) -> Result<(), CniError> {
        logged("DEL", || self.delete(detachment, &begin(call)?, call))
    }

    fn check(&self, attachment: &Attachment, call: &Call) -> Result<(), CniError> {
        logged("CHECK", || {
            let conf = begin(call)?;
            check(&conf, attachment, call, Deadline::after(VERB_LIMIT)).map_err(|e| e.to_cni())
        })
    }

    fn gc(&self, valid: Option<&[ValidAttachment]>, call: &Call) -> Result<(), CniError> {
        logged("GC", || self.collect(valid, &begin(call)?))
    }

    fn status(&self, call: &Call) -> Result<(), CniError> {
        logged("STATUS", || status(&begin(call)?))
    }
}

impl Multus {
    fn delete(&self, detachment: &Detachment, conf: &Conf, call: &Call) -> Result<(), CniError> {
        let netns = detachment.netns.as_ref().map(|path| path.to_string_lossy()).unwrap_or_default();
        let Detachment { container_id, if_name, .. } = detachment;
        let deadline = Deadline::after(VERB_LIMIT);
        let (now, on_demand) = (&Moment::now(), on_demand(conf));
        let (args, cluster) = (&call.args, &on_demand);
        let detach = Detach { conf, container_id, if_name, netns: &netns, args, now, cluster, deadline };
        let detached = self.measure(CallVerb::Del, conf, || detach.run().map_err(|e| e.to_cni()));
        retry_tombstones(conf, SystemTime::now(), deadline.child(RETRY_LIMIT));
        self.api.replace(on_demand.into_api());
        detached
    }

    fn collect(&self, valid: Option<&[ValidAttachment]>, conf: &Conf) -> Result<(), CniError> {
        // Without the list every attachment would look stale.
        let Some(valid) = valid else { return Ok(()) };
        let deadline = Deadline::after(VERB_LIMIT);
        let default = default_network(conf, &environment, deadline).map_err(|e| e.to_cni())?;
        let (now, since_boot, on_demand) = (SystemTime::now(), &Moment::now(), on_demand(conf));
        let cluster = &on_demand;
        let collected = gc(Gc { conf, default: &default, valid, now, since_boot, cluster, deadline });
        retry_tombstones(conf, SystemTime::now(), deadline.child(GC_RETRY_LIMIT));
        self.api.replace(on_demand.into_api());
        collected.map_err(|e| e.to_cni())
    }
}

/// STATUS.
fn status(conf: &Conf) -> Result<(), CniError> {
    conf.check_keys()?;
    check_ready(conf)?;
    let deadline = Deadline::after(STATUS_LIMIT);
    let default = default_network(conf, &environment, deadline).map_err(|e| e.to_cni())?;
    // The default network alone: other networks must not keep the node from being ready.
    cni::chain::status(&default.list, &conf.path, deadline.instant())
}

/// Reads the configuration, and begins the log.
fn begin(call: &Call) -> Result<Conf, CniError> {
    let conf = Conf::read(call)?;
    log::start(&conf.log);
    Ok(conf)
}

/// Runs a verb, and logs the error that it answers.
fn logged<T>(verb: &str, run: impl FnOnce() -> Result<T, CniError>) -> Result<T, CniError> {
    let begin = Instant::now();
    let answer = run();
    if let Err(error) = &answer {
        log::answered(&format_args!("{verb}: {error}"));
    }
    log::debug(|| format!("{verb} took {} ms", begin.elapsed().as_millis()));
    answer
}

/// ADD. `api` gets the connection, also if this fails.
fn add(
    conf: &Conf,
    attachment: &Attachment,
    call: &Call,
    api: &mut Option<Api>,
    deadline: Deadline,
) -> Result<RawResult, Error> {
    let began = node::clock::since_boot();
    // Wrong input fails before the wait for the default network.
    conf.check_keys()?;
    conf.warnings.iter().for_each(|warning| crate::log::warn(warning));
    let defaults = conf.default_networks()?;
    let pod = pod_of_add(&call.args)?;
    wait_until_ready(conf, deadline)?;
    *api = Api::connect(conf, &environment, deadline)?;
    let (args, now) = (&call.args, &Moment::now());
    let attach = Attach { conf, attachment, args, pod: pod.as_ref(), now, deadline };
    let kubelet = &Kubelet::default();
    Add { attach, kubelet, began }.run(&defaults, api.as_mut())
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
