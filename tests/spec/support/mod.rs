//! A node, a pod and a wire between the node and another host, and the questions that the tests ask about them.

pub mod ipam;

use std::path::Path;

use netlink::test_util::{Testbed, create_veth};
use netlink::{Link, Socket};
use serde_json::{Value, json};
use tests::driver::{Call, Subject, write_script};

/// The namespaces, a socket in two of them, and a folder for scripts and the files of IPAM plugins. Each test has its own.
pub struct Bench {
    pub lab: Testbed,
    pub host: Socket,
    pub pod: Socket,
    pub folder: tempfile::TempDir,
}

/// Puts scripts in front of Debian's IPAM plugins, which do not know version 1.1.0: a conf of that version reaches them as one of 1.0.0.
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

/// Where the master is.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// On the node, by `linkInContainer: false`.
    Host,
    /// On the node, because the conf has no `linkInContainer`.
    HostByDefault,
    /// In the pod, by `linkInContainer: true`.
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

    /// The attachment `net1` of the pod, with the scripts of [`Bench::folder`] in `CNI_PATH`.
    pub fn call(&self) -> Call<'_> {
        Call {
            helpers: Some(self.folder.path()),
            ..Call::new(self.lab.host.netns(), "spec-1", self.lab.pod.path())
        }
    }

    /// A macvlan conf without `ipam`.
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

    /// The `ipam` of a conf: host-local, with its files in [`Bench::folder`].
    pub fn host_local(&self) -> Value {
        json!({"type": "host-local", "subnet": "10.1.2.0/24", "dataDir": self.folder.path(), "routes": [{"dst": "10.9.0.0/16", "gw": "10.1.2.1"}]})
    }

    /// The `ipam` of a conf: static, with these addresses.
    pub fn static_ipam(&self, addresses: &[&str]) -> Value {
        let addresses: Vec<Value> = addresses.iter().map(|a| json!({"address": a})).collect();
        json!({"type": "static", "addresses": addresses})
    }

    /// The pod's interface, if it is there.
    pub fn net1(&self) -> Option<Link> {
        self.pod.link_by_name("net1").unwrap()
    }

    /// The addresses of the pod's interface, without those that the kernel makes (fe80::/10).
    pub fn addresses_of_net1(&self) -> Vec<String> {
        let link = self.net1().expect("net1 is in the pod");
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

    /// The addresses that host-local, or the counting IPAM plugin, has given out.
    pub fn held(&self) -> Vec<String> {
        // host-local makes the folder of a network, here `spec`, with the first address.
        let folder = self.folder.path().join("spec");
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        let names = files.flatten().map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name != "lock" && !name.starts_with("last_reserved_ip")).collect()
    }
}

/// Neither the link nor an address is left of the attachment.
#[track_caller]
pub fn nothing_is_left(bench: &Bench) {
    assert_eq!(
        (bench.net1(), bench.held()),
        (None, Vec::<String>::new()),
        "link and addresses that are left"
    );
}

/// Runs `test` for every subject, version and place, each on a bench of its own.
pub fn for_all(test: impl Fn(&Bench, &Subject, &str, Place)) {
    for subject in Subject::all() {
        for version in subject.versions {
            // Debian's Go plugins do not know linkInContainer.
            for place in
                Place::ALL.into_iter().filter(|p| subject.name == "ours" || !matches!(p, Place::Container))
            {
                on_a_bench(&subject, version, place, &test);
            }
        }
    }
}

/// Runs `test` on a new bench; a failure names subject, version and place.
pub fn on_a_bench(
    subject: &Subject,
    version: &str,
    place: Place,
    test: impl Fn(&Bench, &Subject, &str, Place),
) {
    let bench = Bench::new();
    let run = std::panic::AssertUnwindSafe(|| test(&bench, subject, version, place));
    if let Err(panic) = std::panic::catch_unwind(run) {
        eprintln!("with {} plugins, version {version}, master {place:?}:", subject.name);
        std::panic::resume_unwind(panic);
    }
}

/// `conf` without `key`.
pub fn without(conf: &Value, key: &str) -> Value {
    let mut conf = conf.clone();
    conf.as_object_mut().unwrap().remove(key);
    conf
}

/// The only address of a result, in whichever version's form.
pub fn address_of(result: &Value) -> String {
    let address = if result["ip4"].is_object() { &result["ip4"]["ip"] } else { &result["ips"][0]["address"] };
    address.as_str().unwrap_or_else(|| panic!("no address in {result}")).to_owned()
}

/// A path as a conf or a variable has it.
pub fn path_text(path: &Path) -> String {
    path.display().to_string()
}
