//! A list of real plugins, ours and Debian's Go plugins in one chain, run by our library: each plugin reads the result of the one before.

use std::time::{Duration, Instant};

use cni::args::CniArgs;
use cni::cache::Cache;
use cni::chain::{self, Chain};
use cni::exec::SearchPath;
use cni::list::NetworkList;
use cni::names::{ContainerId, IfName};
use cni::plugin::ValidAttachment;
use cni::{CniError, Code};
use serde_json::{Map, json};
use tests::driver::Subject;
use tests::place;

use crate::support::{Bench, Place, path_text};

const MAC: &str = "02:00:5e:00:53:09";

/// A list of the subject's macvlan with host-local, and Debian's tuning.
struct Network<'a> {
    bench: &'a Bench,
    list: NetworkList,
    path: SearchPath,
    cache: Cache,
    id: ContainerId,
    if_name: IfName,
    args: CniArgs,
    offers: Map<String, serde_json::Value>,
}

impl<'a> Network<'a> {
    fn new(bench: &'a Bench, subject: &Subject, version: &str) -> Network<'a> {
        let mut macvlan = bench.conf(version, Place::HostByDefault);
        macvlan["ipam"] = bench.host_local();
        let tuning = json!({"type": "tuning", "capabilities": {"mac": true},
            "sysctl": {"net.ipv4.conf.net1.log_martians": "1"}});
        let list = json!({"cniVersion": version, "name": "spec", "plugins": [macvlan, tuning]});
        let folders = [&subject.folder, bench.folder.path(), &place::go_plugins()].map(path_text);
        Network {
            bench,
            list: NetworkList::parse(list.to_string().as_bytes()).unwrap(),
            path: SearchPath::parse(&folders.join(":")),
            cache: Cache::new(&bench.folder.path().join("results")),
            id: ContainerId::parse("spec-1").unwrap(),
            if_name: IfName::parse("net1").unwrap(),
            args: CniArgs::default(),
            offers: json!({"mac": MAC}).as_object().unwrap().clone(),
        }
    }

    /// Runs `verb` of the list on the node and returns its outcome.
    fn on_the_node<T: Send>(&self, verb: impl FnOnce(&Chain<'_>) -> T + Send) -> T {
        let netns = path_text(self.bench.lab.pod.path());
        let chain = Chain {
            list: &self.list,
            container_id: &self.id,
            if_name: &self.if_name,
            netns: &netns,
            args: &self.args,
            capability_args: &self.offers,
            cache: &self.cache,
            path: &self.path,
            deadline: Instant::now() + Duration::from_secs(60),
        };
        self.bench.lab.host.netns().run(|| verb(&chain)).unwrap()
    }
}

#[test]
fn add_check_and_del_of_a_chain_of_macvlan_and_tuning_succeed() {
    for subject in Subject::all() {
        for version in ["0.3.1", "0.4.0", "1.0.0"] {
            let bench = Bench::new();
            let network = Network::new(&bench, &subject, version);
            let result = network.on_the_node(|chain| chain.add()).unwrap();
            let link = bench.net1().unwrap();
            // The second plugin sets the MAC address and changes the first one's result accordingly.
            assert_eq!(link.mac.unwrap().to_string(), MAC, "{} {version}", subject.name);
            assert_eq!(result.value()["interfaces"][0]["mac"], MAC, "{} {version}", subject.name);
            assert_eq!(result.value()["cniVersion"], version);
            assert_eq!(bench.addresses_of_net1(), [result.value()["ips"][0]["address"].as_str().unwrap()]);
            if version >= "0.4.0" {
                network.on_the_node(|chain| chain.check()).unwrap();
            }
            for _ in 0..2 {
                network.on_the_node(|chain| chain.del()).unwrap();
                assert_eq!((bench.net1(), bench.held()), (None, vec![]), "{} {version}", subject.name);
            }
            assert!(network.cache.of_container(&network.id).is_empty());
        }
    }
}

#[test]
fn a_chain_whose_link_is_gone_fails_check_and_del_still_clears_it() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let network = Network::new(&bench, &subject, "1.0.0");
        network.on_the_node(|chain| chain.add()).unwrap();
        bench.pod.delete_link(&bench.net1().unwrap()).unwrap();
        let error = network.on_the_node(|chain| chain.check()).unwrap_err();
        let text = "plugin type=\"macvlan\" name=\"spec\" failed (check): ";
        assert!(error.msg.starts_with(text), "{}: {error}", subject.name);
        network.on_the_node(|chain| chain.del()).unwrap();
        assert_eq!(bench.held(), Vec::<String>::new(), "{}", subject.name);
    }
}

#[test]
fn del_clears_a_chain_whose_second_plugin_failed() {
    for subject in Subject::all() {
        let bench = Bench::new();
        let mut network = Network::new(&bench, &subject, "1.0.0");
        network.list.plugins[1].object.insert("sysctl".into(), json!({"net.no.such.key": "1"}));
        let error = network.on_the_node(|chain| chain.add()).unwrap_err();
        let text = "plugin type=\"tuning\" name=\"spec\" failed (add): ";
        assert!(error.msg.starts_with(text), "{}: {error}", subject.name);
        assert!(network.cache.of_container(&network.id).is_empty());
        network.on_the_node(|chain| chain.del()).unwrap();
        assert_eq!((bench.net1(), bench.held()), (None, vec![]), "{}", subject.name);
    }
}

#[test]
fn a_plugin_refuses_a_list_of_a_newer_version() {
    let bench = Bench::new();
    let network = Network::new(&bench, &Subject::go(), "1.1.0");
    let error = network.on_the_node(|chain| chain.add()).unwrap_err();
    assert_eq!(error.code, Code::IncompatibleVersion, "{error}");
    assert!(error.msg.ends_with("incompatible CNI versions"), "{error}");
}

/// With our plugin only: Debian's do not know either verb.
#[test]
fn gc_and_status_of_a_list_reach_real_plugins() {
    let bench = Bench::new();
    let mut network = Network::new(&bench, &Subject::ours(), "1.1.0");
    network.list.plugins.truncate(1);
    network.on_the_node(|chain| chain.add()).unwrap();
    let valid = [ValidAttachment { container_id: "spec-1".into(), if_name: "net1".into() }];
    let deadline = || Instant::now() + Duration::from_secs(60);
    let gc = |network: &Network<'_>| -> Result<(), CniError> {
        network.on_the_node(|chain| chain::gc(chain.list, &valid, chain.path, deadline()))
    };
    let status = |network: &Network<'_>| -> Result<(), CniError> {
        network.on_the_node(|chain| chain::status(chain.list, chain.path, deadline()))
    };
    gc(&network).unwrap();
    status(&network).unwrap();
    assert!(bench.net1().is_some());
    // The plugin's own error is the list's.
    network.list.plugins[0].object.insert("master".into(), json!("gone0"));
    assert_eq!(status(&network).unwrap_err().code, Code::NotAvailable);
    network.on_the_node(|chain| chain.del()).unwrap();
    assert_eq!(bench.net1(), None);
}
