//! Thousands of attachments while links appear on the node and disappear: none fails, nothing is left.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cni::Code;
use netlink::Netns;
use netlink::test_util::{NamedNetns, create_veth};
use serde_json::Value;
use tests::driver::{Call, Subject};

use crate::support::Bench;

const THREADS: usize = 4;

/// Every hundredth attachment of a thread gets its addresses from an IPAM plugin.
const WITH_IPAM: usize = 100;

/// When the run ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After `$MRS_ENDURANCE` pairs of ADD and DEL.
    AllDone,
    /// After as many pairs, or earlier: when the time is over and at least `least` pairs are done.
    Enough {
        /// The time limit.
        time: Duration,
        /// The number of pairs to do whatever time they take.
        least: usize,
    },
}

/// One run.
pub struct Endurance<'a> {
    /// The node that all threads attach to.
    pub bench: &'a Bench,
    /// The confs of a thread: one without an IPAM plugin, and one with it.
    pub confs: &'a (dyn Fn(usize) -> [Value; 2] + Sync),
    /// When the run ends.
    pub until: Until,
}

/// The number of pairs of ADD and DEL: `$MRS_ENDURANCE`, 2,000 by default.
fn pairs() -> usize {
    std::env::var("MRS_ENDURANCE")
        .map_or(2_000, |count| count.parse().expect("MRS_ENDURANCE must be a number"))
}

impl Until {
    /// Whether a thread that has done `done` pairs in `elapsed` stops.
    fn is_enough(self, elapsed: Duration, done: usize) -> bool {
        match self {
            Until::AllDone => false,
            Until::Enough { time, least } => elapsed > time && done >= least.div_ceil(THREADS),
        }
    }
}

impl Endurance<'_> {
    /// Attaches and detaches, prints the numbers, and returns how many verbs had to be retried.
    pub fn run(&self) -> usize {
        let pods: Vec<NamedNetns> = (0..THREADS).map(|_| NamedNetns::new().unwrap()).collect();
        let host = self.bench.lab.host.netns();
        let namespaces: Vec<&Netns> = pods.iter().map(NamedNetns::netns).chain([host]).collect();
        let before = (holders(Of::Us, &namespaces), self.bench.host.links().unwrap().len());
        let (stop, done, retried) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let started = Instant::now();
        let churned = std::thread::scope(|scope| {
            let churn = scope.spawn(|| churn(self.bench, &stop));
            let counts = [&done, &retried];
            let attach = |(thread, pod)| scope.spawn(move || self.attach_and_detach(thread, pod, counts));
            let workers: Vec<_> = pods.iter().enumerate().map(attach).collect();
            let failed = workers.into_iter().map(|worker| worker.join()).filter(Result::is_err).count();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0, "threads failed, see above");
            churn.join().unwrap()
        });
        assert!(churned > 10, "only {churned} links were made and deleted beside the attachments");
        // Children of the last plugins may still announce addresses, and programs that other tests start hold copies of our descriptors for
        // a moment. A leaked descriptor stays, so one look without it is enough.
        let patience = Instant::now() + Duration::from_secs(10);
        let mut left = holders(Of::All, &namespaces);
        while left != before.0 && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(50));
            left = holders(Of::All, &namespaces);
        }
        assert_eq!((left, self.bench.host.links().unwrap().len()), before);
        assert_eq!(self.bench.held(), Vec::<String>::new());
        for pod in &pods {
            assert_eq!(names(pod), ["lo"]);
        }
        let (done, retried) = (done.into_inner(), retried.into_inner());
        assert!(done > 0, "no attachment was made: MRS_ENDURANCE must be at least {THREADS}");
        // libtest hides what `println!` writes unless the test fails.
        let time = started.elapsed().as_secs();
        let text = format!(
            "{done} pairs of ADD and DEL, {retried} verbs retried, {churned} other links, {time} s\n"
        );
        std::io::stdout().write_all(text.as_bytes()).unwrap();
        retried
    }

    fn attach_and_detach(&self, thread: usize, pod: &NamedNetns, counts: [&AtomicUsize; 2]) {
        let [done, retried] = counts;
        let [plain, with_ipam] = (self.confs)(thread);
        let started = Instant::now();
        for number in 0..pairs() / THREADS {
            if self.until.is_enough(started.elapsed(), number) {
                return;
            }
            let conf = if number % WITH_IPAM == 0 { &with_ipam } else { &plain };
            // A number, because the counting IPAM plugin calculates the address from it.
            let id = thread.to_string();
            let call = Call { container_id: &id, netns: Some(pod.path()), ..self.bench.call() };
            let (result, adds) = with_retries(&call, "ADD", conf);
            assert_eq!(result["interfaces"][0]["name"], "net1");
            let (_, dels) = with_retries(&call, "DEL", conf);
            retried.fetch_add(adds + dels, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs a verb as a runtime does: code 11 (try again later) means up to four retries, those of an ADD after a DEL. On a busy host the
/// kernel of a virtual machine does not answer every request in time. Returns the result and the number of retries.
pub fn with_retries(call: &Call<'_>, verb: &str, conf: &Value) -> (Value, usize) {
    for tries in 0..5 {
        let answer = call.run(&Subject::ours(), verb, conf);
        if answer.output.status.success() {
            return (answer.ok(), tries);
        }
        let error = answer.error();
        assert_eq!(error.code, Code::TryAgainLater, "{verb}: {error}");
        if verb == "ADD" {
            with_retries(call, "DEL", conf);
        }
    }
    panic!("{verb} did not succeed in five tries");
}

/// Makes and deletes links on the node every 5 ms, so that some dumps of links change while the plugins read them. Returns how many.
fn churn(bench: &Bench, stop: &AtomicBool) -> usize {
    let (host, peer) = (bench.lab.host.socket().unwrap(), bench.lab.peer.socket().unwrap());
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        let name = format!("churn{}", made % 7);
        let (link, _) = create_veth(&host, &name, &peer, &name).unwrap();
        host.delete_link(&link).unwrap();
        made += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    made
}

fn names(pod: &NamedNetns) -> Vec<String> {
    pod.socket().unwrap().links().unwrap().into_iter().map(|link| link.name).collect()
}

/// Whose descriptors are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Those of this process.
    Us,
    /// Those of all processes except other copies of this program: a child that another test has forked holds our descriptors until its
    /// exec closes them.
    All,
}

/// Counts the descriptors that refer to one of these namespaces, and the processes that are in one.
fn holders(of: Of, namespaces: &[&Netns]) -> usize {
    let own =
        |netns: &&Netns| std::fs::read_link(format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd())).unwrap();
    let wanted: BTreeSet<PathBuf> = namespaces.iter().map(own).collect();
    assert_eq!(wanted.len(), namespaces.len());
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    let program = |process: &Path| std::fs::read_link(process.join("exe")).ok();
    let ours = program(Path::new("/proc/self"));
    let processes = entries(Path::new("/proc")).filter(|entry| is_process(&entry.file_name()));
    let others = processes.map(|entry| entry.path()).filter(|process| program(process) != ours);
    let others = others.take_while(|_| of == Of::All);
    let held = others.chain([PathBuf::from("/proc/self")]).flat_map(|process| {
        let files = entries(&process.join("fd")).map(|entry| entry.path());
        files.chain([process.join("ns/net")]).collect::<Vec<_>>()
    });
    held.filter_map(|file| std::fs::read_link(file).ok()).filter(|to| wanted.contains(to)).count()
}
