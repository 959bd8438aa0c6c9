//! Work on many nodes at once, and what came of it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::attachment::{Attachment, pod};
use crate::means::{Held, Means, Worker};
use crate::node::Node;
use crate::usage::children;

/// The pods that a node's workers take from.
#[derive(Clone, Debug)]
pub enum Pods {
    /// These, each once.
    These(Arc<Mutex<Vec<Vec<Attachment>>>>),
    /// New ones in these ranges until the time is over.
    NewFor(Duration, Vec<String>),
}

impl Pods {
    /// So many new ones, in these ranges.
    pub fn new(count: usize, ranges: &[String]) -> Pods {
        Pods::These(Arc::new(Mutex::new((0..count).map(|_| pod(ranges)).collect())))
    }

    fn next(&self, began: Instant) -> Option<Vec<Attachment>> {
        match self {
            Pods::These(left) => left.lock().unwrap().pop(),
            Pods::NewFor(time, ranges) => (began.elapsed() < *time).then(|| pod(ranges)),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// From the release of all to the end of the last.
    pub total: Duration,
    /// Of each success: from the end of the worker's call before, the first from the release.
    pub times: Vec<Duration>,
    /// What was got, by node.
    pub held: Vec<Vec<Held>>,
    /// How many addresses that was.
    pub addresses: usize,
    /// Why calls failed.
    pub failures: Vec<String>,
    /// CPU time of all processes that were started for it.
    pub cpu: Duration,
}

impl Done {
    /// How many a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.total.as_secs_f64()
    }

    /// A call ended that began at `start`; the next one begins now.
    fn ended(&mut self, outcome: Result<(), String>, start: &mut Instant) {
        let now = Instant::now();
        match outcome {
            Ok(()) => self.times.push(now - *start),
            Err(failure) => self.failures.push(failure),
        }
        *start = now;
    }

    fn add(&mut self, part: Done) {
        self.total = self.total.max(part.total);
        self.times.extend(part.times);
        self.held.extend(part.held);
        self.failures.extend(part.failures);
    }
}

/// ADDs on all nodes, `workers` at once on each; a pod's one after the other. All begin at the same moment. No address may come twice.
pub fn add(nodes: &[Node], workers: usize, means: &Means, pods: impl Fn() -> Pods) -> Done {
    let mut done =
        all(nodes.iter().map(|node| (node, pods())), workers, means, |worker, pods: &Pods, began, done| {
            let mut start = began;
            while let Some(pod) = pods.next(began) {
                for attachment in &pod {
                    let added = worker.add(attachment);
                    let outcome = added.map(|held| done.held[0].push(held));
                    let failed = outcome.is_err();
                    done.ended(outcome, &mut start);
                    if failed {
                        // As a runtime does.
                        worker.undo(attachment);
                        start = Instant::now();
                    }
                }
            }
        });
    let all: Vec<IpAddr> = done.held.iter().flatten().filter_map(|held| held.address).collect();
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "an address was given twice");
    done.addresses = all.len();
    done
}

/// The moment at which all workers begin: when the last of them is ready, not when each is run next.
struct Start {
    ready: Barrier,
    at: OnceLock<Instant>,
}

impl Start {
    fn wait(&self) -> Instant {
        self.ready.wait();
        *self.at.get_or_init(Instant::now)
    }
}

/// DELs of what is held, on the nodes that hold it.
pub fn del(nodes: &[Node], workers: usize, means: &Means, held: Vec<Vec<Held>>) -> Done {
    let left = held.into_iter().map(|held| Arc::new(Mutex::new(held)));
    all(nodes.iter().zip(left), workers, means, |worker, left: &Arc<Mutex<Vec<Held>>>, began, done| {
        let mut start = began;
        let next = || left.lock().unwrap().pop();
        while let Some(held) = next() {
            done.ended(worker.del(&held), &mut start);
        }
    })
}

fn all<'a, S: Clone + Send + 'static>(
    shares: impl ExactSizeIterator<Item = (&'a Node, S)>,
    workers: usize,
    means: &Means,
    work: impl Fn(&mut Worker, &S, Instant, &mut Done) + Copy + Send + 'static,
) -> Done {
    let start = Arc::new(Start { ready: Barrier::new(shares.len() * workers), at: OnceLock::new() });
    let cpu = children();
    let mut threads: Vec<Vec<JoinHandle<Done>>> = Vec::new();
    for (node, share) in shares {
        let name = &node.name;
        let one = |_| {
            let (name, share, start, means) = (name.clone(), share.clone(), start.clone(), means.clone());
            node.spawn(move || {
                let mut worker = means.ready(&name);
                let mut done = Done { held: vec![Vec::new()], ..Done::default() };
                let began = start.wait();
                work(&mut worker, &share, began, &mut done);
                done.total = began.elapsed();
                done
            })
        };
        threads.push((0..workers).map(one).collect());
    }
    let mut done = Done::default();
    for node in threads {
        let mut of_node = Done::default();
        node.into_iter().for_each(|thread| of_node.add(thread.join().expect("a worker ends")));
        of_node.held = vec![of_node.held.into_iter().flatten().collect()];
        done.add(of_node);
    }
    done.cpu = children().saturating_sub(cpu);
    if let Some(first) = done.failures.first() {
        println!("{} calls failed, the first: {first}", done.failures.len());
    }
    done
}
