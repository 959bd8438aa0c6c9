//! DEL: delete the recorded networks in reverse order, and go on after failures. Without a record, go by the cached results and by what
//! the pod requests. What still fails two minutes after the first DEL is let go.

use std::time::Duration;

use cni::args::CniArgs;
use cni::cache::Cache;
use cni::crash_point;
use cni::names::{ContainerId, IfName};
use cni::{CniError, Code};
use nad::PodRef;
use node::deadline::Deadline;

use super::cluster::Cluster;
use super::failures::join;
use super::remembered::{cached_networks, configured_networks, networks_of_pod};
use super::rule::{self, Namespace, Patience};
use super::sandbox::{self, DelegateRef, Left, Removal, Sandbox, result_cache};
use super::tombstones;
use crate::conf::Conf;
use crate::error::Error;
use crate::log::warn;
use crate::record::{
    self, DelLock, LockError, Moment, Progress, Reached, Record, RecordError, Recorded, lock_for_del,
    progress,
};
use crate::request::pod::pod_of_del;

/// Longest time for waiting until a change of the running pod ends. It starts no plugin any more; one that runs may take this long.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// The detachment of one sandbox.
#[derive(Clone, Copy)]
pub(crate) struct Detach<'a> {
    /// The configuration.
    pub(crate) conf: &'a Conf,
    /// The sandbox.
    pub(crate) container_id: &'a ContainerId,
    /// The interface of the default network.
    pub(crate) if_name: &'a IfName,
    /// The path of the network namespace; empty if it is gone.
    pub(crate) netns: &'a str,
    /// `CNI_ARGS` of the runtime.
    pub(crate) args: &'a CniArgs,
    /// The time of this DEL.
    pub(crate) now: &'a Moment,
    /// The API server.
    pub(crate) cluster: &'a dyn Cluster,
    /// When to give up.
    pub(crate) deadline: Deadline,
}

/// One network to delete.
struct Target {
    recorded: Recorded,
    /// How far the ADD of each plugin came.
    reached: Vec<Reached>,
    evidence: Evidence,
}

/// What is in the place of the record.
enum Found {
    Record(Record),
    /// A file that is no record. It counts as lost: otherwise the pod could never be deleted.
    Damaged,
    /// The record is lost, or an earlier DEL has succeeded.
    Nothing,
}

/// How sure it is that a network was attached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// A record or a cached result says so. It must be deleted.
    Written,
    /// The pod or the configuration requests it. One attempt must do.
    Guessed,
}

impl Target {
    fn new(recorded: Recorded, reached: Vec<Reached>, evidence: Evidence) -> Self {
        Target { recorded, reached, evidence }
    }

    fn removal(&self) -> Removal<'_> {
        Removal { delegate: DelegateRef::from(&self.recorded), reached: &self.reached }
    }
}

impl Detach<'_> {
    /// Detaches all networks of the sandbox. The record stays until all of them are gone or let go, so that the next DEL finds it.
    pub(crate) fn run(&self) -> Result<(), Error> {
        let _lock = self.lock()?;
        let progress = Progress::read(&self.conf.cni_dir, self.container_id, self.now);
        let found = self.read_record(&progress)?;
        let pod = self.pod(&found);
        let sandbox = Sandbox::new(self.conf, self.container_id, self.netns, pod.as_ref(), self.args);
        let targets = self.targets(found, &progress, &sandbox.cache, pod.as_ref());
        let targets = self.without_antreas(targets, &sandbox);
        let is_certain = targets.iter().any(|target| target.evidence == Evidence::Written);
        let first_del = if is_certain { Some(self.note_first_del(&progress)) } else { progress.first_del };
        let removals: Vec<Removal<'_>> = targets.iter().map(Target::removal).collect();
        let left = warn_of_guesses(&targets, sandbox.remove(&removals, self.deadline));
        // After a crash here DEL runs again; plugins must succeed if there is nothing to delete (CNI spec, "DEL").
        crash_point!("multus-detached");
        match (
            join(left.iter().map(|left| left.error.clone()).collect()),
            rule::patience(first_del, self.now),
        ) {
            (None, Patience::Wait) => self.forget(),
            (Some(error), Patience::Wait) => Err(error.into()),
            (reasons, Patience::LetGo) => {
                self.let_go(&sandbox, &targets, &left, reasons);
                Ok(())
            }
        }
    }

    /// Keeps others from changing the networks of the sandbox. A change that runs starts no further plugin, and ends soon. A sandbox that is let
    /// go does not wait for it.
    fn lock(&self) -> Result<Option<DelLock>, Error> {
        let Detach { conf, container_id, now, deadline, .. } = *self;
        let first_del = Progress::read(&conf.cni_dir, container_id, now).first_del;
        let patience = rule::patience(first_del, now);
        let limit = match patience {
            Patience::Wait => LOCK_LIMIT,
            Patience::LetGo => Duration::ZERO,
        };
        let error = match lock_for_del(&conf.cni_dir, container_id, now, deadline.child(limit)) {
            Ok(lock) => return Ok(lock),
            Err(error) => error,
        };
        match (error, patience) {
            (error, Patience::LetGo) => warn(&format_args!("sandbox {container_id}: {error}")),
            (LockError::Busy, Patience::Wait) => {
                let msg = format!("sandbox {container_id}: {}", LockError::Busy);
                return Err(CniError::new(Code::TryAgainLater, msg).into());
            }
            // As the record, the file may be on a broken disk. DEL goes on with what can be read.
            (LockError::File(error), Patience::Wait) => warn(&error),
        }
        Ok(None)
    }

    /// Removes the record, the progress beside it, and what killed writes of the record and of cached results left.
    fn forget(&self) -> Result<(), Error> {
        // A failure here does not fail DEL: no later call reads these files.
        if let Err(error) = result_cache(self.conf).remove_leftovers(self.container_id) {
            warn(&error);
        }
        record::remove(&self.conf.cni_dir, self.container_id)?;
        Ok(progress::remove(&self.conf.cni_dir, self.container_id).map_err(RecordError::from)?)
    }

    /// The record. One that cannot be read, as on a broken disk, counts as damaged in the end.
    fn read_record(&self, progress: &Progress) -> Result<Found, Error> {
        let error = match record::read(&self.conf.cni_dir, self.container_id, self.if_name) {
            Ok(Some(record)) => return Ok(Found::Record(record)),
            Ok(None) => return Ok(Found::Nothing),
            Err(error) => error,
        };
        if !matches!(error, RecordError::Damaged { .. }) {
            let first_del = self.note_first_del(progress);
            if rule::patience(Some(first_del), self.now) == Patience::Wait {
                return Err(error.into());
            }
        }
        warn(&error);
        Ok(Found::Damaged)
    }

    fn pod(&self, found: &Found) -> Option<PodRef> {
        let recorded = match found {
            Found::Record(record) => record.owner.as_ref().and_then(|owner| owner.pod.clone()),
            Found::Damaged | Found::Nothing => None,
        };
        // GC has no `CNI_ARGS`, and some runtimes send none on DEL.
        pod_of_del(self.args).or(recorded)
    }

    /// The networks to delete. The last one is deleted first.
    fn targets(&self, found: Found, progress: &Progress, cache: &Cache, pod: Option<&PodRef>) -> Vec<Target> {
        let mut cached = cached_networks(cache, self.container_id);
        let mut targets: Vec<Target> = match found {
            Found::Record(record) => {
                let recorded = |recorded: Recorded| {
                    let plugins = recorded.network.list.plugins.len();
                    let reached = progress.of_network(&recorded.if_name, plugins);
                    Target::new(recorded, reached, Evidence::Written)
                };
                record.delegates.into_iter().map(recorded).collect()
            }
            Found::Damaged | Found::Nothing => self
                .guesses(&found, &cached, pod)
                .into_iter()
                .map(|guess| Target::new(guess, Vec::new(), Evidence::Guessed))
                .collect(),
        };
        // A guess that is cached too is certain. A network that is cached but not recorded was attached later, by another program. It is
        // deleted first.
        targets
            .retain(|t| t.evidence == Evidence::Written || !cached.iter().any(|c| is_same(c, &t.recorded)));
        cached.retain(|one| !targets.iter().any(|target| is_same(&target.recorded, one)));
        targets.extend(cached.into_iter().map(|one| Target::new(one, Vec::new(), Evidence::Written)));
        targets
    }

    /// Takes out the networks that Antrea's agent attaches and deletes. Other programs may have recorded them: Antrea's plugin refuses their DEL
    /// for ever, or releases the address of the default network.
    fn without_antreas(&self, mut targets: Vec<Target>, sandbox: &Sandbox<'_>) -> Vec<Target> {
        targets.retain(|target| {
            let network = &target.recorded.network;
            if network.antrea_network_type().is_none() {
                return true;
            }
            warn(&format_args!("network {} is left to Antrea's agent", network.label));
            if let Err(error) = self.forget_result(target, sandbox) {
                warn(&error);
            }
            false
        });
        targets
    }

    /// Removes the cached result of a network.
    fn forget_result(&self, target: &Target, sandbox: &Sandbox<'_>) -> Result<(), CniError> {
        sandbox.chain(target.removal().delegate, &sandbox.args, self.deadline).forget()
    }

    /// The networks that a sandbox without a readable record may have: those that its pod requests, if the API server has it. Otherwise
    /// those of the configuration, if there is no cached result either.
    fn guesses(&self, found: &Found, cached: &[Recorded], pod: Option<&PodRef>) -> Vec<Recorded> {
        // Runtimes repeat DEL after a success, when the namespace is gone. Such a DEL has nothing to look for.
        let is_lost =
            matches!(found, Found::Damaged) || sandbox::namespace(self.netns) == Namespace::MayExist;
        let known = pod.filter(|pod| is_lost && pod.uid.is_some());
        let (guesses, of) = match known.and_then(|pod| self.cluster.pod(pod)) {
            Some((pod, definitions)) => {
                let guesses = networks_of_pod(self.conf, self.if_name, &pod, &definitions);
                (guesses, format!("that pod {} requests", pod.pod_ref.with_uid()))
            }
            None if cached.is_empty() => {
                (configured_networks(self.conf, self.if_name, pod), "of the configuration".to_owned())
            }
            None => (Vec::new(), "with a cached result".to_owned()),
        };
        warn(&format_args!("sandbox {} has no record: deleting the networks {of}", self.container_id));
        guesses
    }

    /// Returns the time of the first DEL, and notes it if this is the first.
    fn note_first_del(&self, progress: &Progress) -> Duration {
        if let Some(first_del) = progress.first_del {
            return first_del;
        }
        // Without the note the pod waits longer, but this DEL is as good.
        if let Err(error) = progress::note_first_del(&self.conf.cni_dir, self.container_id, self.now) {
            warn(&format_args!("cannot note the first DEL of sandbox {}: {error}", self.container_id));
        }
        self.now.since_boot
    }

    /// Ends the DEL of this sandbox: writes what is left into a tombstone, reports it, and forgets the record and the cached results. So the
    /// plugins that are tried later get no prevResult: its addresses may belong to another pod then. If the tombstone cannot be written, the
    /// record stays for GC.
    fn let_go(&self, sandbox: &Sandbox<'_>, targets: &[Target], left: &[Left], reasons: Option<CniError>) {
        let networks = targets.iter().map(|target| &target.recorded);
        let buried = tombstones::bury(self.conf, sandbox, networks, left);
        if let Some(reasons) = reasons {
            let path = buried.as_ref().ok().and_then(|path| path.as_ref());
            let path = path.map_or_else(String::new, |path| format!(" ({})", path.display()));
            let what = format!(
                "networks of sandbox {} could not be deleted for two minutes, so their addresses or what they made on the node may be \
                 left{path}: {reasons}",
                self.container_id
            );
            warn(&what);
            if let Some(pod) = sandbox.pod {
                self.cluster.report_not_deleted(pod, &what);
            }
        }
        if let Err(error) = buried {
            return warn(&format_args!("the record of sandbox {} stays for GC: {error}", self.container_id));
        }
        for target in targets {
            if let Err(error) = self.forget_result(target, sandbox) {
                warn(&error);
            }
        }
        if let Err(error) = self.forget() {
            warn(&error);
        }
    }
}

/// Returns what must still be deleted; the log gets the rest.
fn warn_of_guesses(targets: &[Target], mut left: Vec<Left>) -> Vec<Left> {
    left.retain(|left| {
        let is_guess = targets.get(left.network).is_some_and(|t| t.evidence == Evidence::Guessed);
        if is_guess {
            warn(&format_args!("{}; it may never have been attached", left.error));
        }
        !is_guess
    });
    left
}

fn is_same(one: &Recorded, other: &Recorded) -> bool {
    one.if_name == other.if_name && one.network.list.name == other.network.list.name
}

#[cfg(test)]
mod tests;
