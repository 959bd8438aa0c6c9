//! A node, a pod and a wire, with what every macvlan test asks of them.

use std::path::Path;

use netlink::test_util::{Testbed, create_veth};
use netlink::{Link, Socket};
use serde_json::{Value, json};
use tests::driver::{Call, Subject, write_script};

/// The three namespaces with sockets in them, and a folder for host-local's files.
pub struct Bench {
    pub lab: Testbed,
    pub host: Socket,
    pub pod: Socket,
    pub folder: tempfile::TempDir,
}

/// Debian's IPAM plugins are of before 1.1.0, so that a conf of that version reaches them as one of 1.0.0.
fn speak_1_1_0(folder: &Path) {
    for name in ["host-local", "static"] {
        let go = tests::place::go_plugins().join(name);
        let body = format!(
            "case $CNI_COMMAND in GC|STATUS) exit 0;; esac\nsed 's/\"cniVersion\":\"1.1.0\"/\"cniVersion\":\"1.0.0\"/g' | exec {}",
            go.display()
        );
        write_script(&folder.join(name), &body);
    }
}

/// Where the master is, and how the conf says it.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Host,
    HostByDefault,
    Container,
}

impl Place {
    pub const ALL: [Place; 3] = [Place::Host, Place::HostByDefault, Place::Container];
}

impl Bench {
    pub fn new() -> Bench {
        let lab = Testbed::new().unwrap();
        let (host, pod) = (lab.host.socket().unwrap(), lab.pod.socket().unwrap());
        let peer = lab.peer.socket().unwrap();
        // A master in the pod, for linkInContainer.
        let (inner, outer) = create_veth(&pod, "inner0", &peer, "inner0p").unwrap();
        pod.set_up(&inner).unwrap();
        peer.set_up(&outer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        speak_1_1_0(folder.path());
        Bench { lab, host, pod, folder }
    }

    pub fn call(&self) -> Call<'_> {
        Call {
            helpers: Some(self.folder.path()),
            ..Call::new(self.lab.host.netns(), "spec-1", self.lab.pod.path())
        }
    }

    pub fn conf(&self, version: &str, place: Place) -> Value {
        let mut conf = json!({"cniVersion": version, "name": "spec", "type": "macvlan", "master": Testbed::MASTER, "mtu": 1400});
        match place {
            Place::Host => conf["linkInContainer"] = json!(false),
            Place::HostByDefault => {}
            Place::Container => {
                conf["linkInContainer"] = json!(true);
                conf["master"] = json!("inner0");
            }
        }
        conf
    }

    /// host-local with files of this bench's own.
    pub fn host_local(&self) -> Value {
        json!({"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": self.folder.path(), "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.2.1"}]})
    }

    pub fn static_ipam(&self, addresses: &[&str]) -> Value {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({"address": a})).collect();
        json!({"type": "static", "addresses": addresses})
    }

    pub fn net1(&self) -> Option<Link> {
        self.pod.link_by_name("net1").unwrap()
    }

    pub fn addresses_of_net1(&self) -> Vec<String> {
        let link = self.net1().expect("net1 is there");
        let global = |net: &netlink::IpNet| !net.to_string().starts_with("fe80");
        self.pod
            .addresses(&link)
            .unwrap()
            .iter()
            .map(|a| a.net)
            .filter(global)
            .map(|n| n.to_string())
            .collect()
    }

    /// The addresses that host-local holds.
    pub fn held(&self) -> Vec<String> {
        let folder = self.folder.path().join("spec");
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip")).collect()
    }
}

/// Runs `test` for every subject, version and place on a bench of its own, naming them when it fails.
pub fn for_all(test: impl Fn(&Bench, &Subject, &str, Place)) {
    for subject in Subject::all() {
        for version in subject.versions {
            // Debian's Go plugins are of before linkInContainer.
            for place in
                Place::ALL.into_iter().filter(|p| subject.name == "ours" || !matches!(p, Place::Container))
            {
                let bench = Bench::new();
                let run = std::panic::AssertUnwindSafe(|| test(&bench, &subject, version, place));
                if let Err(panic) = std::panic::catch_unwind(run) {
                    eprintln!("with {} plugins, version {version}, master {place:?}:", subject.name);
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

/// The only address of a result, in whichever version's form.
pub fn address_of(result: &Value) -> String {
    let address = if result["ip4"].is_object() { &result["ip4"]["ip"] } else { &result["ips"][0]["address"] };
    address.as_str().unwrap_or_else(|| panic!("no address in {result}")).to_owned()
}

pub fn path_text(path: &Path) -> String {
    path.display().to_string()
}
