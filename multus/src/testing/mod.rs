//! Support for the tests of several modules.

mod api;
mod bench;
mod daemon;
pub(crate) mod kubelet;

use cni::exec::SearchPath;
use cni::plugin::Call;
use nad::PodRef;
use node::names::{DnsLabel, DnsSubdomain, PodUid};
use serde_json::{Value, json};

pub(crate) use api::FakeApi;
pub(crate) use bench::Bench;
pub(crate) use daemon::FakeDaemon;

use crate::network::Network;
use crate::request::Pod;

/// A call with this configuration, `CNI_PATH` and `CNI_ARGS`.
pub(crate) fn call(conf: &Value, path: &str, args: &str) -> Call {
    let stdin = conf.to_string().into_bytes();
    Call {
        conf: cni::conf::NetConf::parse(&stdin).unwrap(),
        stdin,
        args: cni::args::CniArgs::parse(args).unwrap(),
        path: SearchPath::parse(path),
    }
}

/// A network of one plugin; its type and its name are `name`.
pub(crate) fn network(name: &str, version: &str) -> Network {
    let conf = json!({"cniVersion": version, "name": name, "type": name});
    Network::from_object(conf.as_object().unwrap().clone(), None).unwrap()
}

/// A pod with the UID `u-1`.
pub(crate) fn pod(namespace: &str, name: &str) -> Pod {
    Pod {
        pod_ref: pod_ref(namespace, name),
        networks: None,
        default_network: None,
        node: Some("n1".to_owned()),
    }
}

pub(crate) fn pod_ref(namespace: &str, name: &str) -> PodRef {
    PodRef {
        namespace: DnsLabel::new(namespace).unwrap(),
        name: DnsSubdomain::new(name).unwrap(),
        uid: Some(PodUid::new("u-1").unwrap()),
    }
}
