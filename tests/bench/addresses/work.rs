//! Concurrent calls on many nodes, and their times.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::attachment::{Attachment, pod};
use crate::method::{Held, Method, Worker};
use crate::node::Node;
use crate::usage::children;

/// The pods that the workers of a node attach.
#[derive(Clone, Debug)]
pub enum Pods {
    /// These pods, each once.
    These(Arc<Mutex<Vec<Vec<Attachment>>>>),
    /// New pods in these ranges until the time is over.
    NewFor(Duration, Vec<String>),
}

impl Pods {
    /// `count` new pods in these ranges.
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

/// The outcome of concurrent calls.
#[derive(Debug, Default)]
pub struct Done {
    /// The time from the common start to the end of the last call.
    pub total: Duration,
    /// The time of each successful call, from the end of the worker's previous call or from the common start.
    pub times: Vec<Duration>,
    /// What the ADDs got, by node.
    pub held: Vec<Vec<Held>>,
    /// The number of addresses that they got.
    pub addresses: usize,
    /// The errors of the failed calls.
    pub failures: Vec<String>,
    /// CPU time of all processes that the calls started.
    pub cpu: Duration,
}

impl Done {
    /// Successful calls a second.
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.total.as_secs_f64()
    }

    /// Notes a call that began at `start`, and sets `start` to now for the next one.
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

/// ADDs on all nodes by `workers` threads on each, which start at the same moment. A pod's ADDs run one after the other. Panics if two ADDs
/// get the same address.
pub fn add(nodes: &[Node], workers: usize, method: &Method, pods: impl Fn() -> Pods) -> Done {
    let mut done =
        all(nodes.iter().map(|node| (node, pods())), workers, method, |worker, pods: &Pods, began, done| {
            let mut start = began;
            while let Some(pod) = pods.next(began) {
                for attachment in &pod {
                    let added = worker.add(attachment);
                    let outcome = added.map(|held| done.held[0].push(held));
                    let failed = outcome.is_err();
                    done.ended(outcome, &mut start);
                    if failed {
                        // A runtime runs DEL after a failed ADD.
                        worker.undo(attachment);
                        start = Instant::now();
                    }
                }
            }
        });
    let all: Vec<IpAddr> = done.held.iter().flatten().filter_map(|held| held.address).collect();
    let distinct: BTreeSet<&IpAddr> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "two ADDs got the same address");
    done.addresses = all.len();
    done
}

/// The common start of all workers: the moment when the last one is ready. A worker that the kernel schedules later counts from that moment.
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

/// DELs of what the ADDs got, on the nodes of the ADDs.
pub fn del(nodes: &[Node], workers: usize, method: &Method, held: Vec<Vec<Held>>) -> Done {
    let left = held.into_iter().map(|held| Arc::new(Mutex::new(held)));
    all(nodes.iter().zip(left), workers, method, |worker, left: &Arc<Mutex<Vec<Held>>>, began, done| {
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
    method: &Method,
    work: impl Fn(&mut Worker, &S, Instant, &mut Done) + Copy + Send + 'static,
) -> Done {
    let start = Arc::new(Start { ready: Barrier::new(shares.len() * workers), at: OnceLock::new() });
    let cpu = children();
    let mut threads: Vec<Vec<JoinHandle<Done>>> = Vec::new();
    for (node, share) in shares {
        let name = &node.name;
        let one = |_| {
            let (name, share, start, method) = (name.clone(), share.clone(), start.clone(), method.clone());
            node.spawn(move || {
                let mut worker = method.ready(&name);
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
