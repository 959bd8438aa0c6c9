//! What a caller requests: an interface of a pod on a network, as conf and variables for a plugin, or as a request for a daemon.

use std::sync::atomic::{AtomicU64, Ordering};

use node::names::DnsLabel;
use serde_json::{Value, json};
use whereabouts::addr::range::RangeSpec;
use whereabouts::conf::OverlappingRanges;
use whereabouts::conf::request::Claim;
use whereabouts::pool::request::{AllocationRequest, Claimant, PoolRequest};

use crate::api::NAMESPACE;

static PODS: AtomicU64 = AtomicU64::new(1);

/// An interface of a pod on a network.
#[derive(Clone, Debug)]
pub struct Attachment {
    pod: u64,
    /// The name of the interface.
    pub if_name: String,
    /// The range of the network.
    pub range: String,
}

/// The attachments of a new pod, one in each range.
pub fn pod(ranges: &[String]) -> Vec<Attachment> {
    let pod = PODS.fetch_add(1, Ordering::Relaxed);
    let one = |(n, range): (usize, &String)| Attachment {
        pod,
        if_name: format!("net{}", n + 1),
        range: range.clone(),
    };
    ranges.iter().enumerate().map(one).collect()
}

impl Attachment {
    /// The id of the sandbox: 64 hexadecimal digits, as runtimes have it.
    pub fn container_id(&self) -> String {
        format!("{:064x}", self.pod)
    }

    fn pod_name(&self) -> String {
        format!("pod-{}", self.pod)
    }

    fn pod_uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012x}", self.pod)
    }

    /// The conf that an interface plugin passes to its IPAM plugin.
    pub fn conf(&self) -> Value {
        let ipam = json!({ "type": "whereabouts", "range": self.range });
        let name = format!("net-{}", self.range.replace('/', "-"));
        json!({ "cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": "eth0", "ipam": ipam })
    }

    /// The variables of a CNI call.
    pub fn env(&self, verb: &str) -> [(&'static str, String); 6] {
        let (name, uid) = (self.pod_name(), self.pod_uid());
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}");
        [
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", self.container_id()),
            ("CNI_NETNS", format!("/run/netns/{name}")),
            ("CNI_IFNAME", self.if_name.clone()),
            ("CNI_PATH", "/opt/cni/bin".to_owned()),
            ("CNI_ARGS", args),
        ]
    }

    /// What the plugin would send to the daemon of this node.
    pub fn order(&self, node: &str) -> AllocationRequest {
        let range = RangeSpec::parse(&self.range, None, None, Vec::new()).expect("a range");
        let overlapping = OverlappingRanges::Protected;
        AllocationRequest {
            claimant: Claimant {
                podref: format!("default/{}", self.pod_name()),
                pod_uid: Some(self.pod_uid()),
                if_name: self.if_name.clone(),
                container_id: self.container_id(),
                node: Some(node.to_owned()),
            },
            namespace: Some(DnsLabel::new(NAMESPACE).expect("a namespace")),
            pools: vec![PoolRequest { range, network: None, overlapping, slice: None }],
            wanted: vec![Claim { range: 0, requested: None }],
        }
    }
}
