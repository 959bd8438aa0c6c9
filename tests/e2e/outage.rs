//! The API server goes away and comes back while plugins are called without pause: nothing hangs, nothing is lost, all recovers.

use std::time::Duration;

use tests::cluster::{Cluster, wait_for};

use crate::by_hand::{ApiServerAway, conf};
use crate::daemon::daemons;
use crate::objects::nothing_is_left;

pub const TESTS: &[crate::Test] =
    &[("under_load_an_api_server_that_goes_and_comes_costs_time_and_nothing_else", under_load)];

/// Calls that are under way at once.
const WORKERS: usize = 8;

/// ADD and DEL by turns in each worker, as long as the file `go` is there. What must not be goes to `wrong`: another code than 11, an ADD
/// that takes longer than its 30 s and what starting costs, a DEL that fails.
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
            echo >>"later-$1"
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

struct Load<'a> {
    cluster: &'a Cluster,
    node: &'static str,
}

impl Load<'_> {
    fn count(&self, what: &str) -> usize {
        self.cluster.sh(self.node, &format!("cat /tmp/load/{what}-* 2>/dev/null | wc -l")).parse().unwrap()
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
    let outage = std::env::var("MRS_OUTAGE").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let script = LOAD.replace("WORKERS", &WORKERS.to_string());
    let loads = ["node1", "node2"].map(|node| Load { cluster, node });
    std::thread::scope(|scope| {
        for load in &loads {
            let script = &script;
            scope.spawn(move || {
                load.cluster.on(load.node, &["sh", "-c", script], &conf("10.64.0.0/16"));
            });
        }
        let faults = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let second = Duration::from_secs(1);
            std::thread::sleep(5 * second);
            let before: usize = loads.iter().map(|load| load.count("done")).sum();
            // With less load the run says nothing.
            assert!(before >= 100, "only {before} ADDs in five seconds");
            {
                let _away = ApiServerAway::new(cluster);
                std::thread::sleep(outage * second);
            }
            for _ in 0..4 {
                let _away = ApiServerAway::new(cluster);
                std::thread::sleep(3 * second);
            }
            let back: usize = loads.iter().map(|load| load.count("done")).sum();
            wait_for("ADDs that succeed again", &true, || {
                loads.iter().map(|load| load.count("done")).sum::<usize>() > back + 50
            });
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
        assert_eq!(wrong, "", "on {}", load.node);
    }
    nothing_is_left(cluster);
}
