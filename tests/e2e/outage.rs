//! The API server stops answering, and answers again, while plugins are called without pause: no call hangs, no address leaks, and ADDs
//! succeed again.

use std::time::Duration;

use tests::cluster::{Cluster, text, wait_for};

use crate::by_hand::{ApiServerAway, conf};
use crate::daemon::daemons;
use crate::objects::nothing_is_left;

pub const TESTS: &[crate::Test] = &[("outages_of_the_api_server_under_load_only_delay_calls", under_load)];

/// Concurrent calls on each node.
const WORKERS: usize = 8;

/// Each worker repeats ADD and DEL while the file `go` exists. It notes successful ADDs in `done-N` and every fault in `wrong`: an ADD that
/// fails with another code than 11, an ADD of more than 35 s (its deadline is 30 s), a DEL that fails.
const LOAD: &str = r#"
mkdir -p /tmp/load && cd /tmp/load && rm -f * && touch go
worker() {
    n=0
    export CNI_NETNS=/run/netns/none CNI_IFNAME=net1 CNI_PATH=/opt/cni/bin
    while [ -e go ]; do
        n=$((n + 1))
        export CNI_CONTAINERID="load-$1-$n" CNI_ARGS="IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=load-$1-$n"
        began=$(date +%s)
        if CNI_COMMAND=ADD /opt/cni/bin/whereabouts <conf >"out-$1" 2>&1; then
            echo >>"done-$1"
        elif grep -q '"code": 11' "out-$1"; then
            :
        else
            cat "out-$1" >>wrong
        fi
        [ $(($(date +%s) - began)) -le 35 ] || echo "ADD took $(($(date +%s) - began)) s" >>wrong
        CNI_COMMAND=DEL /opt/cni/bin/whereabouts <conf >"out-$1" 2>&1 || { echo "DEL failed:"; cat "out-$1"; } >>wrong
    done
}
cat >conf
for w in $(seq WORKERS); do worker "$w" & done
wait
"#;

/// The load on one node; stopped on drop.
struct Load<'a> {
    cluster: &'a Cluster,
    node: &'static str,
}

impl Load<'_> {
    /// How many ADDs have succeeded.
    fn done(&self) -> usize {
        self.cluster.sh(self.node, "cat /tmp/load/done-* 2>/dev/null | wc -l").parse().unwrap()
    }

    fn stop(&self) {
        let _ = self.cluster.on(self.node, &["rm", "-f", "/tmp/load/go"], "");
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

fn under_load(cluster: &Cluster) {
    daemons(cluster);
    let outage = std::env::var("MRS_OUTAGE")
        .map_or(15, |text| text.parse().expect("MRS_OUTAGE must be a number of seconds, at least 5"));
    let script = LOAD.replace("WORKERS", &WORKERS.to_string());
    let loads = ["node1", "node2"].map(|node| Load { cluster, node });
    let all_done = || loads.iter().map(Load::done).sum::<usize>();
    std::thread::scope(|scope| {
        for load in &loads {
            let script = &script;
            scope.spawn(move || {
                let output = load.cluster.on(load.node, &["sh", "-c", script], &conf("10.64.0.0/16"));
                assert!(output.status.success(), "load on {}: {}", load.node, text(&output.stderr));
            });
        }
        let faults = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let second = Duration::from_secs(1);
            std::thread::sleep(5 * second);
            let before = all_done();
            // Fewer calls would be too little load to prove anything.
            assert!(before >= 100, "only {before} ADDs in five seconds");
            {
                let _away = ApiServerAway::new(cluster);
                // The API server may have answered some calls before it stopped.
                std::thread::sleep(2 * second);
                let at_start = all_done();
                std::thread::sleep((outage - 2) * second);
                assert_eq!(all_done(), at_start, "ADDs succeeded without the API server");
            }
            for _ in 0..4 {
                let _away = ApiServerAway::new(cluster);
                std::thread::sleep(3 * second);
            }
            let back = all_done();
            wait_for("50 more ADDs after the outages", &true, || all_done() > back + 50);
        }));
        for load in &loads {
            load.stop();
        }
        if let Err(panic) = faults {
            std::panic::resume_unwind(panic);
        }
    });
    for load in &loads {
        let wrong = cluster.sh(load.node, "cat /tmp/load/wrong 2>/dev/null; rm -rf /tmp/load");
        assert_eq!(wrong, "", "faults on {}", load.node);
    }
    nothing_is_left(cluster);
}
