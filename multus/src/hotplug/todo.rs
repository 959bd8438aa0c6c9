//! Which pods to look at, and when.

use std::collections::BTreeMap;
use std::time::Duration;

use nad::{Life, PodRef, RunningPod};

use super::apply::Outcome;

/// The longest time between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(300);

/// How often a pod is looked at that has no sandbox to change: some 30 s. Later its ADD writes network-status, which the daemon tells.
const MAX_WAITS: u32 = 5;

/// The pods to look at. Times are those since boot.
#[derive(Debug, Default)]
pub(super) struct Todo {
    pods: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    running: RunningPod,
    attempts: u32,
    due: Duration,
}

impl Todo {
    /// Takes note of a pod that changed.
    pub(super) fn put(&mut self, running: RunningPod, now: Duration) {
        let name = name(&running.pod.pod_ref);
        if running.life == Life::Ends {
            self.pods.remove(&name);
            return;
        }
        match self.pods.get_mut(&name) {
            // Only its status changed, perhaps by us: no reason to try sooner what failed.
            Some(entry) if entry.running.pod == running.pod => entry.running = running,
            _ => drop(self.pods.insert(name, Entry { running, attempts: 0, due: now })),
        }
    }

    /// The pods that are due.
    pub(super) fn due(&self, now: Duration) -> Vec<PodRef> {
        let due = self.pods.values().filter(|entry| entry.due <= now);
        due.map(|entry| entry.running.pod.pod_ref.clone()).collect()
    }

    /// A pod as it was last told. `None` if it ends, or if nothing is to be done for it.
    pub(super) fn get(&self, pod: &PodRef) -> Option<RunningPod> {
        self.pods.get(&name(pod)).map(|entry| entry.running.clone())
    }

    /// Takes note of how a look at a pod ended.
    pub(super) fn after(&mut self, pod: &PodRef, outcome: Outcome, now: Duration) {
        let name = name(pod);
        let Some(entry) = self.pods.get_mut(&name) else { return };
        let delay = Duration::from_secs(1 << entry.attempts.min(9)).min(MAX_DELAY);
        entry.attempts = entry.attempts.saturating_add(1);
        entry.due = now.saturating_add(delay);
        let is_done = match outcome {
            Outcome::Settled => true,
            Outcome::NotYet => entry.attempts >= MAX_WAITS,
            Outcome::Busy | Outcome::Failed => false,
        };
        if is_done {
            self.pods.remove(&name);
        }
    }
}

fn name(pod: &PodRef) -> String {
    pod.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod;

    fn running(networks: &str, status: &str) -> RunningPod {
        let mut pod = pod("default", "pod0");
        pod.networks = Some(networks.to_owned());
        RunningPod { pod, uid_on_node: None, status: Some(status.to_owned()), life: Life::Runs }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The seconds at which a pod is looked at, if each look ends so.
    fn looks(outcome: Outcome, until: u64) -> Vec<u64> {
        let mut todo = Todo::default();
        todo.put(running("a", ""), seconds(0));
        let mut looks = Vec::new();
        for now in 0..until {
            for due in todo.due(seconds(now)) {
                looks.push(now);
                todo.after(&due, outcome, seconds(now));
            }
        }
        looks
    }

    #[test]
    fn what_fails_is_tried_again_more_and_more_rarely() {
        assert_eq!(looks(Outcome::Settled, 1000), [0]);
        assert_eq!(looks(Outcome::NotYet, 1000), [0, 1, 3, 7, 15]);
        for outcome in [Outcome::Busy, Outcome::Failed] {
            assert_eq!(looks(outcome, 1200), [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111]);
        }
    }

    #[test]
    fn another_annotation_is_looked_at_at_once_and_another_status_is_not() {
        let mut todo = Todo::default();
        todo.put(running("a", ""), seconds(0));
        let pod = running("a", "").pod.pod_ref;
        (0..4).for_each(|now| todo.after(&pod, Outcome::Failed, seconds(now)));
        todo.put(running("a", "[]"), seconds(4));
        assert_eq!(todo.due(seconds(4)), []);
        assert_eq!(todo.due(seconds(11)), std::slice::from_ref(&pod));
        todo.put(running("b", "[]"), seconds(5));
        assert_eq!(todo.due(seconds(5)), std::slice::from_ref(&pod));
        todo.after(&pod, Outcome::Settled, seconds(5));
        todo.put(running("b", "[1]"), seconds(6));
        assert_eq!(todo.due(seconds(6)).len(), 1);
    }

    #[test]
    fn what_a_pod_was_told_last_counts_although_it_was_due_before() {
        let mut todo = Todo::default();
        todo.put(running("a", ""), seconds(0));
        let due = todo.due(seconds(0));
        todo.put(running("b", ""), seconds(0));
        assert_eq!(todo.get(&due[0]), Some(running("b", "")));
        todo.put(RunningPod { life: Life::Ends, ..running("b", "") }, seconds(1));
        assert_eq!(todo.get(&due[0]), None);
    }

    #[test]
    fn a_pod_that_is_being_deleted_is_left_to_del() {
        let mut todo = Todo::default();
        todo.put(running("a", ""), seconds(0));
        todo.put(RunningPod { life: Life::Ends, ..running("b", "") }, seconds(1));
        assert_eq!(todo.due(seconds(1)), []);
    }
}
