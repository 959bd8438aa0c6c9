//! The figures as a section of a page.

use std::fmt::Write as _;
use std::time::Duration;

use crate::Subject;
use crate::run::{Found, PATIENCE};

/// The section's first line.
pub const TITLE: &str = "## Many pods at once";

/// The limit on the memory of multus' daemon in both manifests.
const LIMIT: &str = "50Mi";

/// A row of the table.
type Row = (&'static str, fn(&Found) -> String);

const ROWS: [Row; 10] = [
    ("pods that run", |found| found.running.to_string()),
    ("time until all are Ready, s", |found| seconds(found.ready)),
    ("different addresses on net1", |found| found.addresses.to_string()),
    ("containers of the node's daemons that began again", |found| found.restarts.to_string()),
    ("of those, in containers whose last end was for lack of memory", |found| {
        found.out_of_memory.to_string()
    }),
    ("multus' daemon with its container, most memory, MiB", |found| mebibytes(found.group)),
    ("its own process, most memory, MiB", |found| mebibytes(found.process)),
    ("plugin processes at the same time, most", |found| found.plugins.processes.to_string()),
    ("their memory together, most, MiB", |found| mebibytes(Some(found.plugins.memory))),
    ("time until all are deleted, s", |found| seconds(found.gone)),
];

/// The section.
pub fn markdown(date: &str, machine: &str, pods: usize, found: &[(Subject, Found)]) -> String {
    let mut page = format!(
        "{TITLE}\n\nWritten by `make bench` on {date}: {machine}. {pods} pods with net1 (`macvlan`, `whereabouts`), created by one request, on\n\
         one node of a real cluster: kubelet, containerd, API server and etcd, all on that machine. Installed as by a user, with the limit of the\n\
         manifests for multus' daemon: {LIMIT}. Memory of the container: what the kernel counts for it, with files that it read. Memory of the\n\
         plugins: looked at every 20 ms; pages that they share count once.\n"
    );
    if found.len() > 1 {
        page.push_str(
            "`upstream`: Multus 4.3.0 (thick) and Whereabouts 0.9.4, by their own manifests. Its plugins run in the daemon's container.\n",
        );
    }
    let title = |subject: &Subject| match subject {
        Subject::Ours => "ours",
        Subject::Upstream => "upstream",
    };
    let heads: String = found.iter().map(|(subject, _)| format!(" {} |", title(subject))).collect();
    let _ = writeln!(page, "\n| |{heads}\n|---|{}", "---|".repeat(found.len()));
    for (name, value) in ROWS {
        let cells: String = found.iter().map(|(_, found)| format!(" {} |", value(found))).collect();
        let _ = writeln!(page, "| {name} |{cells}");
    }
    let held: String = found.iter().map(|(_, found)| format!(" {} |", found.held)).collect();
    let _ = writeln!(page, "| addresses held a minute after that |{held}");
    page
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || format!("not within {}", PATIENCE.as_secs()),
        |time| format!("{:.1}", time.as_secs_f64()),
    )
}

fn mebibytes(bytes: Option<u64>) -> String {
    // Rounded to a tenth.
    bytes.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1}", bytes as f64 / f64::from(1 << 20)))
}
