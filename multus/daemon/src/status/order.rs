//! The writes of a pod's network-status, one at a time, so that the newest report is written last.
//!
//! The daemon tries a write for 20 s. Meanwhile the pod may have another sandbox with another status. The write ends with the plugin that
//! reported it, but the runtime may start the next one before the killed one has ended, and a status of `multus hotplug` is written to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nad::PodRef;
use node::names::PodUid;
use tokio::sync::watch;

use crate::cache::PodName;

/// The writes that are under way.
#[derive(Debug, Default)]
pub(super) struct Order {
    pods: Mutex<BTreeMap<PodName, Arc<Writes>>>,
}

/// The writes of the pods of one name: a pod, and the pods that had its name before.
#[derive(Debug, Default)]
struct Writes {
    newest: watch::Sender<Report>,
    /// Held by the write that is under way.
    one: tokio::sync::Mutex<()>,
}

/// The newest report of a pod of this name.
#[derive(Clone, Debug, Default)]
struct Report {
    /// Counts the reports.
    number: u64,
    /// Whose it is. [`None`] means any pod of this name.
    uid: Option<PodUid>,
}

impl Report {
    /// Whether it may be about the pod that a write is for.
    fn is_of(&self, uid: Option<&PodUid>) -> bool {
        self.uid.as_ref().zip(uid).is_none_or(|(newest, uid)| newest == uid)
    }
}

/// Why a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The plugin reports what it attached. Older writes are stopped.
    Report,
    /// The last report is merged in again.
    Merge,
}

/// A newer report of the same pod stopped this write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superseded;

impl Order {
    /// Does `write` when no other write of the pod's name is under way.
    ///
    /// # Errors
    /// [`Superseded`] as soon as a newer report of the pod begins. One of its predecessor, which had its name, is no reason to stop. The request that is under way is broken off: its connection is closed, so that the API server
    /// stops working on it.
    pub(super) async fn run<T>(
        &self,
        pod: &PodRef,
        occasion: Occasion,
        write: impl Future<Output = T>,
    ) -> Result<T, Superseded> {
        let turn = self.enter(pod, occasion);
        let mut newest = turn.writes.newest.subscribe();
        let is_newer = |report: &Report| report.number != turn.number && report.is_of(pod.uid.as_ref());
        let alone = async {
            let _one = turn.writes.one.lock().await;
            write.await
        };
        tokio::select! {
            // First, so that no write begins that is superseded already.
            biased;
            Ok(_) = newest.wait_for(is_newer) => Err(Superseded),
            done = alone => Ok(done),
        }
    }

    fn enter(&self, pod: &PodRef, occasion: Occasion) -> Turn<'_> {
        let name = PodName::of(pod);
        let writes = Arc::clone(self.pods().entry(name.clone()).or_default());
        if occasion == Occasion::Report {
            let next = |number: u64| Report { number: number.wrapping_add(1), uid: pod.uid.clone() };
            writes.newest.send_modify(|report| *report = next(report.number));
        }
        let number = writes.newest.borrow().number;
        Turn { order: self, name, writes, number }
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<PodName, Arc<Writes>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A write that is under way, or waits.
struct Turn<'a> {
    order: &'a Order,
    name: PodName,
    writes: Arc<Writes>,
    number: u64,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut pods = self.order.pods();
        // One is the map's, one is this.
        if Arc::strong_count(&self.writes) == 2 {
            pods.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;
    use crate::testing::pod;

    async fn after(seconds: u64, name: &'static str) -> &'static str {
        sleep(Duration::from_secs(seconds)).await;
        name
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_stops_what_is_older_and_nothing_of_another_pod() {
        let order = Order::default();
        let (one, other) = (pod("a", "u-1"), pod("b", "u-1"));
        let results = tokio::join!(
            order.run(&one, Occasion::Report, after(1, "older")),
            order.run(&one, Occasion::Merge, after(1, "merge")),
            order.run(&other, Occasion::Report, after(1, "other")),
            order.run(&one, Occasion::Report, after(1, "newest")),
        );
        assert_eq!(results, (Err(Superseded), Err(Superseded), Ok("other"), Ok("newest")));
        assert!(order.pods().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_report_of_the_predecessor_does_not_stop_that_of_its_successor() {
        let order = Order::default();
        let (successor, predecessor) = (pod("a", "u-2"), pod("a", "u-1"));
        let any = PodRef { uid: None, ..pod("a", "u-1") };
        let results = tokio::join!(
            order.run(&successor, Occasion::Report, after(1, "successor")),
            order.run(&predecessor, Occasion::Report, after(1, "predecessor")),
        );
        assert_eq!(results, (Ok("successor"), Ok("predecessor")));
        // An old runtime tells no UID: the report may be about this pod.
        let results = tokio::join!(
            order.run(&successor, Occasion::Report, after(1, "older")),
            order.run(&any, Occasion::Report, after(1, "newest")),
        );
        assert_eq!(results, (Err(Superseded), Ok("newest")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_merge_waits_for_the_report() {
        let order = Order::default();
        let one = pod("a", "u-1");
        let ended = Mutex::new(Vec::new());
        let write = async |seconds, name| {
            let name = after(seconds, name).await;
            ended.lock().unwrap().push(name);
        };
        let (report, merge) = tokio::join!(
            order.run(&one, Occasion::Report, write(2, "report")),
            order.run(&one, Occasion::Merge, write(1, "merge")),
        );
        assert_eq!((report, merge), (Ok(()), Ok(())));
        assert_eq!(*ended.lock().unwrap(), ["report", "merge"]);
    }
}
