//! The pods and networks of the benchmark, and the configuration of `multus`.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use tests::cluster::NETWORKS;

use crate::Subject;
use crate::api::{NAMESPACE, kubectl};

/// The interface that the secondary networks share.
pub const MASTER: &str = "mrsbench0";

/// The kubeconfig of all plugins, which the node has.
const KUBECONFIG: &str = crate::node::KUBECONFIG;

/// The primary network's plugin. It does nothing, and says what it would have made: a real one takes ten times as long as `multus` itself, and so
/// long that its own variation would hide the rest.
pub const PRIMARY: &str = "bench-primary";

/// What [`PRIMARY`] answers. Without other processes: they would be most of its cost.
const SCRIPT: &str = r#"#!/bin/sh
while read -r line || [ -n "$line" ]; do line=; done
[ "$CNI_COMMAND" = ADD ] || exit 0
echo '{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"02:00:00:00:00:01","sandbox":"'"$CNI_NETNS"'"}],"ips":[{"interface":0,"address":"10.222.0.5/16"}]}'
"#;

/// The number of networks of the pod with many.
const MANY: usize = 16;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Case {
    /// The primary network's plugins, without `multus`.
    Primary,
    /// A pod without an annotation.
    Plain,
    /// A pod with one secondary network.
    One,
    /// A pod with many.
    Many,
    /// Another pod with all these networks, which the node has from the beginning to the end. It is not measured.
    Neighbour,
}

impl Case {
    /// Those that are measured, in their order.
    pub const ALL: [Case; 4] = [Case::Primary, Case::Plain, Case::One, Case::Many];

    /// Its name in the table.
    pub fn title(self) -> String {
        match self {
            Case::Primary => "primary network alone".to_owned(),
            Case::Plain => "multus, no annotation".to_owned(),
            Case::One => "multus, net1".to_owned(),
            Case::Many => format!("multus, {MANY} networks"),
            Case::Neighbour => "neighbour".to_owned(),
        }
    }

    /// The number of secondary networks.
    pub const fn networks(self) -> usize {
        match self {
            Case::Primary | Case::Plain => 0,
            Case::One => 1,
            Case::Many | Case::Neighbour => MANY,
        }
    }

    fn pod(self, subject: usize) -> String {
        let kind = if self == Case::Neighbour { "neighbour-" } else { "" };
        format!("pod-{subject}-{kind}{}", self.networks())
    }

    /// `CNI_ARGS`, with the UID of the subject's pod.
    pub fn args(self, subject: usize) -> String {
        let name = self.pod(subject);
        let uid = kubectl(&["get", "pod", &name, "-o", "jsonpath={.metadata.uid}"]);
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name};K8S_POD_UID={uid}")
    }

    /// The configuration on standard input.
    pub fn conf(self, subject: &Subject) -> Value {
        let primary = json!({"cniVersion": "1.0.0", "name": "primary", "type": PRIMARY});
        match self {
            Case::Primary => primary,
            Case::Plain | Case::One | Case::Many | Case::Neighbour => json!({
                "cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus",
                "kubeconfig": KUBECONFIG, "binDir": subject.folder, "delegates": [primary],
            }),
        }
    }
}

/// Writes the primary network's plugin into this folder.
pub fn make_primary(folder: &Path) {
    std::fs::create_dir(folder).expect("a new folder");
    ::node::files::write_atomic(&folder.join(PRIMARY), SCRIPT.as_bytes(), 0o755)
        .expect("the plugin can be written");
}

/// A service account that may do everything: what it may do is not measured, and the plugins of others need other rights than ours.
pub fn make_account(name: &str) {
    let account = format!("{NAMESPACE}:{name}");
    kubectl(&["create", "serviceaccount", name, "--namespace", NAMESPACE]);
    kubectl(&[
        "create",
        "clusterrolebinding",
        name,
        "--clusterrole=cluster-admin",
        "--serviceaccount",
        &account,
    ]);
}

/// The name of a subject's node.
pub fn node_name(subject: usize) -> String {
    format!("pods{subject}")
}

/// Creates the pods of each subject, which no kubelet runs, and their networks. Subjects share no range: ours would have to adopt what another
/// whereabouts wrote.
pub fn make_objects(subjects: usize) {
    let items: Vec<Value> = (0..subjects).flat_map(objects).collect();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
    file.write_all(list.to_string().as_bytes()).expect("a temporary file can be written");
    kubectl(&["apply", "--namespace", "default", "-f", path(file.path())]);
}

fn objects(subject: usize) -> Vec<Value> {
    let network = |n: usize| format!("net-{subject}-{n}");
    let networks = (1..=MANY).map(|n| {
        let ipam = json!({"type": "whereabouts", "range": format!("10.{}.0.0/16", 100 + subject * MANY + n)});
        let conf = json!({"cniVersion": "1.0.0", "type": "macvlan", "master": MASTER, "mode": "bridge", "ipam": ipam});
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": network(n)}, "spec": {"config": conf.to_string()}})
    });
    let pod = |case: &Case| {
        let names: Vec<String> = (1..=case.networks()).map(network).collect();
        let annotations = match names.as_slice() {
            [] => json!({}),
            names => json!({NETWORKS: names.join(",")}),
        };
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": case.pod(subject), "annotations": annotations},
            "spec": {"nodeName": node_name(subject), "containers": [{"name": "c", "image": "none"}]}})
    };
    networks.chain([Case::Plain, Case::One, Case::Many, Case::Neighbour].iter().map(pod)).collect()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}
