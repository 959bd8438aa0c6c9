//! The work of the program: once a second it asks the node's daemon which pods changed, and gives each the networks that it requests now.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cni::names::{ContainerId, IfName};
use nad::{ChangesQuery, Counts, PodIdentity, RunningPod};
use node::deadline::Deadline;
use node::names::PodUid;

use super::apply::{Apply, Memory, Outcome};
use super::log::{Level, Once, log};
use super::node_conf;
use super::todo::Todo;
use crate::conf::Conf;
use crate::plugin::{Api, HandOver};
use crate::record::{self, Moment};
use crate::source::{Daemon, Unanswered};

/// Longest time for asking the daemon.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Longest time for connecting, and for events.
const API_LIMIT: Duration = Duration::from_secs(10);

/// The most answers that are fetched at once: the pods of a full node come in a few.
const MAX_ANSWERS: usize = 64;

/// Whether the daemon told what changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Answered,
    Unanswered,
}

/// What the program knows.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// The folder with the multus configuration.
    conf_dir: PathBuf,
    /// The version of the daemon's last answer.
    version: u64,
    /// What the daemon has not counted yet.
    counts: Counts,
    todo: Todo,
    memories: BTreeMap<ContainerId, Memory>,
    conf_warning: Once,
    daemon_warning: Once,
}

impl Work {
    /// Nothing is known yet: the first answer of the daemon has all pods.
    pub(super) fn new(conf_dir: PathBuf) -> Work {
        Work { conf_dir, ..Work::default() }
    }

    /// One round. `is_ending` says whether the program must end: then what runs is finished, and nothing else begins.
    pub(super) fn round(&mut self, is_ending: impl Fn() -> bool) {
        // Read each time: the file changes with the primary network, and is small.
        let conf = match node_conf::read(&self.conf_dir) {
            Ok(conf) => conf,
            Err(error) => return self.conf_warning.warn(&error),
        };
        self.conf_warning.clear();
        let mut answered = self.ask(&conf);
        let due = self.todo.due(Moment::now().since_boot);
        if due.is_empty() {
            return;
        }
        let sandboxes = sandboxes(&conf);
        self.memories.retain(|id, _| sandboxes.iter().any(|(of, _)| of == id));
        for pod in due {
            if is_ending() {
                return;
            }
            // The pods before this one may have taken minutes. The daemon may have told meanwhile that this one has another annotation, or ends.
            let Some(running) = self.todo.get(&pod) else { continue };
            let outcome = self.look(&conf, &sandboxes, &running);
            self.todo.after(&pod, outcome, Moment::now().since_boot);
            // A daemon that does not answer would take its time once for each pod.
            if answered == Asked::Answered {
                answered = self.ask(&conf);
            }
        }
    }

    /// Asks the daemon for the pods that changed.
    fn ask(&mut self, conf: &Conf) -> Asked {
        let Some(daemon) = Daemon::of(conf) else {
            let socket = conf.daemon.socket.display();
            let text = format!("multus-daemon is away ({socket}): without it no change of a pod is noticed");
            self.daemon_warning.warn(&text);
            return Asked::Unanswered;
        };
        for _ in 0..MAX_ANSWERS {
            let query = ChangesQuery { after: self.version, counts: self.counts };
            match daemon.changes(&query, Deadline::after(ASK_LIMIT)) {
                Ok(changes) => {
                    self.daemon_warning.clear();
                    (self.version, self.counts) = (changes.version, Counts::default());
                    if changes.pods.is_empty() {
                        return Asked::Answered;
                    }
                    let now = Moment::now().since_boot;
                    changes.pods.into_iter().for_each(|pod| self.todo.put(pod, now));
                }
                Err(Unanswered::AskTheServer(error) | Unanswered::Final(error)) => {
                    self.daemon_warning.warn(&error);
                    return Asked::Unanswered;
                }
            }
        }
        Asked::Answered
    }

    /// Changes the sandboxes of one pod. It has one, but for the time in which an old one is being deleted.
    fn look(&mut self, conf: &Conf, sandboxes: &[(ContainerId, PodUid)], running: &RunningPod) -> Outcome {
        let identity: PodIdentity = running.identity();
        let own = sandboxes.iter().filter(|(_, uid)| identity.is(uid.as_str()));
        let mut outcomes = Vec::new();
        for (container_id, _) in own {
            let mut api = match Api::connect(conf, &|_| None, Deadline::after(API_LIMIT)) {
                Ok(Some(api)) => api,
                Ok(None) => return Outcome::Failed,
                Err(error) => {
                    log(Level::Warn, &error);
                    return Outcome::Failed;
                }
            };
            let memory = self.memories.entry(container_id.clone()).or_default();
            let (api, counts) = (&mut api, &mut self.counts);
            outcomes.push(Apply { conf, running, container_id, api, memory, counts }.run());
            if api.hand_over_events(Deadline::after(API_LIMIT)) == HandOver::NoDaemon {
                let pod = &running.pod.pod_ref;
                log(
                    Level::Warn,
                    &format_args!("pod {pod}: its events are lost, because multus-daemon is away"),
                );
            }
        }
        let pending =
            [Outcome::Failed, Outcome::Busy, Outcome::NotYet].into_iter().find(|one| outcomes.contains(one));
        // A pod without a sandbox has none yet: its ADD has not written the record.
        pending.unwrap_or(if outcomes.is_empty() { Outcome::NotYet } else { Outcome::Settled })
    }
}

/// The sandboxes with a record, and the UIDs of their pods as the runtime gave them.
fn sandboxes(conf: &Conf) -> Vec<(ContainerId, PodUid)> {
    let (Ok(first), Ok(all)) = (IfName::parse(record::FIRST_INTERFACE), record::all(&conf.cni_dir)) else {
        return Vec::new();
    };
    let of_pod = |(container_id, _)| {
        let record = record::read(&conf.cni_dir, &container_id, &first).ok()??;
        let uid = record.owner?.pod?.uid?;
        Some((container_id, uid))
    };
    all.into_iter().filter_map(of_pod).collect()
}

#[cfg(test)]
mod tests;
