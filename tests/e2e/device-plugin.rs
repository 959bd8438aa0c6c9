//! A device plugin that runs on a node: `device-plugin RESOURCE ID...`. It ends when it is killed.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use tests::device_plugin::{describe, run};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let resource = arguments.next().expect("usage: device-plugin RESOURCE ID...");
    let ids: Vec<String> = arguments.collect();
    describe(Path::new("/var/run/k8s.cni.cncf.io/devinfo/dp"), &resource, &ids);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(Path::new("/var/lib/kubelet/device-plugins"), &resource, &ids));
}
