//! Thousands of attachments while the node's links come and go: none fails, nothing is left.

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

/// Of one thread's attachments every hundredth has its addresses of an IPAM plugin.
const WITH_IPAM: usize = 100;

/// When it is enough.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code)] // macvlan's goes to the end, ipvlan's does not
pub enum Until {
    /// All of `$MRS_ENDURANCE` is done.
    AllDone,
    /// It is, or the time is over and at least so many pairs were done.
    Enough {
        /// The time.
        time: Duration,
        /// How many pairs are done however long they take.
        least: usize,
    },
}

/// What is attached, and for how long.
pub struct Endurance<'a> {
    /// The node.
    pub bench: &'a Bench,
    /// The confs of a thread: one that needs no IPAM plugin, and one that does.
    pub confs: &'a (dyn Fn(usize) -> [Value; 2] + Sync),
    /// When it is enough.
    pub until: Until,
}

/// How many pairs of ADD and DEL: `$MRS_ENDURANCE`.
fn pairs() -> usize {
    std::env::var("MRS_ENDURANCE")
        .map_or(2_000, |count| count.parse().expect("MRS_ENDURANCE must be a number"))
}

impl Until {
    /// After this time, of one thread that has done so many.
    fn is_enough(self, elapsed: Duration, done: usize) -> bool {
        match self {
            Until::AllDone => false,
            Until::Enough { time, least } => elapsed > time && done >= least.div_ceil(THREADS),
        }
    }
}

impl Endurance<'_> {
    /// Attaches and detaches, and says how often. How often something had to be done again.
    pub fn run(&self) -> usize {
        let pods: Vec<NamedNetns> = (0..THREADS).map(|_| NamedNetns::new().unwrap()).collect();
        let host = self.bench.lab.host.netns();
        let namespaces: Vec<&Netns> = pods.iter().map(NamedNetns::netns).chain([host]).collect();
        let before = (holders(Of::Us, &namespaces), self.bench.host.links().unwrap().len());
        let (stop, done, again) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let started = Instant::now();
        let churned = std::thread::scope(|scope| {
            let churn = scope.spawn(|| churn(self.bench, &stop));
            let counts = [&done, &again];
            let attach = |(thread, pod)| scope.spawn(move || self.attach_and_detach(thread, pod, counts));
            let workers: Vec<_> = pods.iter().enumerate().map(attach).collect();
            let failed = workers.into_iter().map(|worker| worker.join()).filter(Result::is_err).count();
            stop.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0, "threads failed, see above");
            churn.join().unwrap()
        });
        assert!(churned > 10, "the node was quiet: {churned} links");
        // The last plugins' announcements may go on for a moment after their answers, and other tests start programs all the time: what is
        // left by us stays, so that one look without it is enough.
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
        let (done, again) = (done.into_inner(), again.into_inner());
        // Not by `println!`, which is shown of failures only.
        let time = started.elapsed().as_secs();
        let text = format!(
            "{done} pairs of ADD and DEL, {again} verbs done again, {churned} other links, {time} s\n"
        );
        std::io::stdout().write_all(text.as_bytes()).unwrap();
        again
    }

    fn attach_and_detach(&self, thread: usize, pod: &NamedNetns, counts: [&AtomicUsize; 2]) {
        let [done, again] = counts;
        let [plain, with_ipam] = (self.confs)(thread);
        let started = Instant::now();
        for number in 0..pairs() / THREADS {
            if self.until.is_enough(started.elapsed(), number) {
                return;
            }
            let conf = if number % WITH_IPAM == 0 { &with_ipam } else { &plain };
            // All digits: the counting IPAM plugin makes an address of it.
            let id = thread.to_string();
            let call = Call { container_id: &id, netns: Some(pod.path()), ..self.bench.call() };
            let (result, adds) = patiently(&call, "ADD", conf);
            assert_eq!(result["interfaces"][0]["name"], "net1");
            let (_, dels) = patiently(&call, "DEL", conf);
            again.fetch_add(adds + dels, Ordering::Relaxed);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A verb as a runtime does it: what may be tried again is, an ADD after a DEL. Where the host gives a virtual machine little, the kernel in
/// it does not answer all in time. The result, and how often it was done again.
pub fn patiently(call: &Call<'_>, verb: &str, conf: &Value) -> (Value, usize) {
    for tries in 0..5 {
        let answer = call.run(&Subject::ours(), verb, conf);
        if answer.output.status.success() {
            return (answer.ok(), tries);
        }
        let error = answer.error();
        assert_eq!(error.code, Code::TryAgainLater, "{verb}: {error}");
        if verb == "ADD" {
            patiently(call, "DEL", conf);
        }
    }
    panic!("{verb} did not succeed in five tries");
}

/// Makes and deletes links on the node, so that every listing of them changes under way now and then.
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

/// Whose descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// Of this process.
    Us,
    /// Of all processes but those that run this program too. They are children of other tests before they start theirs, and have copies of
    /// our descriptors for a moment. For another moment they do while they are starting it.
    All,
}

/// How many descriptors hold one of these namespaces; a process that is in one counts too.
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
