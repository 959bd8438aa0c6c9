//! Which pods changed, for a program on the node that changes the networks of running pods. It asks once a second and gets what changed since.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nad::{Changes, RunningPod};
use node::clock;
use node::names::DnsSubdomain;

use crate::cache::{CachedPod, Observation, PodName};

/// The longest network-status that is kept, in bytes. One of 16 networks has some 5,000; but whoever makes pods may write 256 KiB.
const MAX_STATUS: usize = 16 << 10;

/// About how many bytes of pods one answer has. The protocol allows 1 MiB.
const MAX_ANSWER: usize = 256 << 10;

/// The pods of this node, by their last change.
#[derive(Debug, Default)]
pub(crate) struct Changed {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The version of the last change. Later than any of an earlier daemon, unless the clock was set back.
    version: u64,
    pods: BTreeMap<PodName, Kept>,
}

#[derive(Debug)]
struct Kept {
    version: u64,
    pod: CachedPod,
    status: Option<Box<str>>,
}

impl Kept {
    fn size(&self) -> usize {
        let texts = [&self.pod.networks, &self.pod.default_network, &self.status];
        texts.into_iter().flatten().map(|text| text.len()).sum::<usize>().saturating_add(500)
    }
}

impl Changed {
    /// Takes note of what a watch shows.
    pub(crate) fn observe(&self, observation: &Observation<'_>) {
        match observation {
            Observation::Pod(name, pod, status) => {
                let status = status.filter(|status| status.len() <= MAX_STATUS);
                self.put(name, pod, status);
            }
            Observation::Gone(name) => drop(self.state().pods.remove(name)),
            Observation::Ended => self.state().pods.clear(),
        }
    }

    fn put(&self, name: &PodName, pod: &CachedPod, status: Option<&str>) {
        let mut state = self.state();
        let is_known = |kept: &Kept| kept.pod == *pod && kept.status.as_deref() == status;
        if state.pods.get(name).is_some_and(is_known) {
            return;
        }
        let started = u64::try_from(clock::now().as_microsecond()).unwrap_or(1);
        state.version = state.version.saturating_add(1).max(if state.version == 0 { started } else { 0 });
        let kept = Kept { version: state.version, pod: pod.clone(), status: status.map(Box::from) };
        state.pods.insert(name.clone(), kept);
    }

    /// The pods that changed after `version`, those that changed first before the others. `version` may be another daemon's.
    pub(crate) fn after(&self, version: u64, node: Option<&DnsSubdomain>) -> Changes {
        let state = self.state();
        let after = if version > state.version { 0 } else { version };
        let mut changed: Vec<(&PodName, &Kept)> =
            state.pods.iter().filter(|(_, kept)| kept.version > after).collect();
        changed.sort_by_key(|(_, kept)| kept.version);
        let (mut answer, mut size) = (Changes { version: state.version, pods: Vec::new() }, 0_usize);
        for (at, (name, kept)) in changed.iter().enumerate() {
            size = size.saturating_add(kept.size());
            if at > 0 && size > MAX_ANSWER {
                break;
            }
            let is_last = at.saturating_add(1) == changed.len();
            answer.version = if is_last { state.version } else { kept.version };
            answer.pods.push(RunningPod {
                pod: kept.pod.to_pod(name, node.map(DnsSubdomain::to_string)),
                uid_on_node: kept.pod.identity.uid_on_node().map(str::to_owned),
                status: kept.status.as_deref().map(str::to_owned),
                life: kept.pod.life,
            });
        }
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use nad::{Life, PodIdentity};

    use super::*;
    use crate::testing::pod as pod_ref;

    fn pod(networks: &str) -> CachedPod {
        let identity = PodIdentity::new("u-1", None);
        CachedPod { identity, networks: Some(networks.into()), default_network: None, life: Life::Runs }
    }

    fn see(changed: &Changed, name: &str, networks: &str, status: Option<&str>) {
        changed.observe(&Observation::Pod(&PodName::of(&pod_ref(name, "u-1")), &pod(networks), status));
    }

    fn names(changes: &Changes) -> Vec<String> {
        changes.pods.iter().map(|one| one.pod.pod_ref.name.to_string()).collect()
    }

    #[test]
    fn only_what_changed_since_the_last_answer_is_told() {
        let changed = Changed::default();
        assert_eq!(changed.after(0, None), Changes::default());
        see(&changed, "a", "x", None);
        see(&changed, "b", "x", None);
        let first = changed.after(0, None);
        assert_eq!(names(&first), ["a", "b"]);
        assert!(changed.after(first.version, None).pods.is_empty());
        // The same again is no change.
        see(&changed, "b", "x", None);
        assert!(changed.after(first.version, None).pods.is_empty());
        see(&changed, "a", "x", Some("[]"));
        let second = changed.after(first.version, None);
        assert_eq!((names(&second), second.pods[0].status.as_deref()), (vec!["a".to_owned()], Some("[]")));
        changed.observe(&Observation::Gone(&PodName::of(&pod_ref("a", "u-1"))));
        assert_eq!(names(&changed.after(0, None)), ["b"]);
    }

    #[test]
    fn a_version_of_an_earlier_daemon_gets_all_pods() {
        let (old, new) = (Changed::default(), Changed::default());
        see(&old, "a", "x", None);
        see(&new, "a", "x", None);
        let version = old.after(0, None).version;
        for after in [version - 1, u64::MAX] {
            assert_eq!(names(&new.after(after, None)), ["a"]);
        }
    }

    #[test]
    fn many_large_pods_come_in_several_answers() {
        let changed = Changed::default();
        let large = "x".repeat(MAX_STATUS);
        (0..40).for_each(|n| see(&changed, &format!("p{n:02}"), "x", Some(&large)));
        see(&changed, "huge", "x", Some(&"x".repeat(MAX_STATUS + 1)));
        let (mut version, mut seen, mut answers) = (0, Vec::new(), 0);
        loop {
            let answer = changed.after(version, None);
            if answer.pods.is_empty() {
                break;
            }
            (version, answers) = (answer.version, answers + 1);
            seen.extend(answer.pods);
        }
        assert!(answers >= 3, "{answers}");
        assert_eq!((seen.len(), &seen[40].status), (41, &None));
    }
}
