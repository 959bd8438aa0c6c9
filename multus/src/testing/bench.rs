//! A node in a folder: scripted plugins that log their calls, records, and a network namespace.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cni::CniError;
use cni::args::CniArgs;
use cni::env::Attachment;
use cni::names::{ContainerId, IfName};
use cni::plugin::Call;
use cni::result::RawResult;
use netlink::test_util::NamedNetns;
use node::deadline::Deadline;
use serde_json::{Map, Value, json};

use super::{FakeApi, call};
use crate::conf::Conf;
use crate::kubelet::Kubelet;
use crate::plugin::{Add, Api, OnDemand};
use crate::record::Moment;
use crate::request::pod::pod_of_add;
use crate::run::{Attach, Cluster, Detach, retry_tombstones};

pub(crate) const ARGS: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1;EXTRA=e";

/// Sends the events that wait for the answer.
fn send_events(api: Option<Api>) {
    if let Some(api) = api {
        api.send_events(Deadline::after(Duration::from_secs(20)));
    }
}

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    pub(crate) netns: NamedNetns,
    pub(crate) conf: Value,
    /// The time of the next call.
    pub(crate) now: Moment,
}

impl Bench {
    /// A configuration with one delegate, `main`, and the plugins `main`, `a` and `b`, each of which makes one interface.
    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let conf = json!({"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus",
            "binDir": folder.path(), "cniDir": folder.path().join("cni"), "confDir": folder.path().join("conf"),
            "delegates": [{"cniVersion": "1.0.0", "name": "main", "type": "main", "capabilities": {"portMappings": true}}]});
        let bench = Bench { folder, netns: NamedNetns::new().unwrap(), conf, now: Moment::now() };
        for (name, ip) in [("main", "10.0.0.1/8"), ("a", "10.1.0.1/16"), ("b", "10.2.0.1/16")] {
            bench.script(name, &bench.answer(ip));
        }
        bench
    }

    /// A script that answers ADD with one interface and address.
    pub(crate) fn answer(&self, ip: &str) -> String {
        format!(
            r#"[ $CNI_COMMAND = ADD ] && echo "{{\"cniVersion\":\"1.0.0\",\"interfaces\":[{{\"name\":\"$CNI_IFNAME\",\"mac\":\"02:00:00:00:00:01\",\"sandbox\":\"$CNI_NETNS\"}}],\"ips\":[{{\"interface\":0,\"address\":\"{ip}\"}}]}}"; exit 0"#
        )
    }

    /// A script that fails one verb and succeeds in the others.
    pub(crate) fn fails(&self, verb: &str, code: u32) -> String {
        let ok = self.answer("10.9.0.1/16");
        format!(
            r#"if [ $CNI_COMMAND = {verb} ]; then echo '{{"code":{code},"msg":"no {verb}"}}'; exit 1; fi; {ok}"#
        )
    }

    pub(crate) fn script(&self, name: &str, body: &str) {
        let file = self.folder.path().join(name);
        let log = self.folder.path().join("log");
        let line = format!("{name} $CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_ARGS $conf");
        let mut out = std::fs::File::create(&file).unwrap();
        write!(out, "#!/bin/sh\nread -r conf\necho \"{line}\" >> {}\n{body}\n", log.display()).unwrap();
        out.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn record(&self) -> PathBuf {
        self.folder.path().join("cni/c1")
    }

    pub(crate) fn cached(&self, network: &str, if_name: &str) -> PathBuf {
        self.folder.path().join(format!("cni/results/{network}-c1-{if_name}"))
    }

    /// Writes a file below the node's folder.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        node::files::write_atomic(&path, text.as_bytes(), 0o600).unwrap();
    }

    pub(crate) fn call(&self) -> Call {
        call(&self.conf, "", ARGS)
    }

    pub(crate) fn attachment(&self) -> Attachment {
        Attachment {
            container_id: ContainerId::parse("c1").unwrap(),
            if_name: IfName::parse("eth0").unwrap(),
            netns: self.netns.path().to_owned(),
        }
    }

    pub(crate) fn add(&self, api: Option<&FakeApi>) -> Result<RawResult, CniError> {
        let (call, attachment) = (self.call(), self.attachment());
        let conf = Conf::read(&call)?;
        let pod = pod_of_add(&call.args)?;
        let deadline = Deadline::after(Duration::from_secs(20));
        let (args, now) = (&call.args, &self.now);
        let attach = Attach { conf: &conf, attachment: &attachment, args, pod: pod.as_ref(), now, deadline };
        let mut api = api.map(FakeApi::api);
        let kubelet = &Kubelet::in_folder(&self.folder.path().join("kubelet"));
        let add = Add { attach, kubelet, began: node::clock::since_boot() };
        let added = add.run(&conf.default_networks()?, api.as_mut()).map_err(|e| e.to_cni());
        send_events(api);
        added
    }

    pub(crate) fn del(&self) -> Result<(), CniError> {
        self.del_with(&CniArgs::parse(ARGS).unwrap())
    }

    pub(crate) fn del_with(&self, args: &CniArgs) -> Result<(), CniError> {
        let conf = Conf::read(&self.call())?;
        self.del_by(&conf, args, "/run/netns/gone", &())
    }

    /// DEL while this network namespace exists.
    pub(crate) fn del_in(&self, netns: &Path) -> Result<(), CniError> {
        let (conf, args) = (Conf::read(&self.call())?, CniArgs::parse(ARGS).unwrap());
        self.del_by(&conf, &args, netns.to_str().unwrap(), &())
    }

    /// DEL while the network namespace of ADD exists, with an API server that answers.
    pub(crate) fn del_asking(&self, api: &FakeApi) -> Result<(), CniError> {
        let (conf, args) = (Conf::read(&self.call())?, CniArgs::parse(ARGS).unwrap());
        let cluster = OnDemand::new(&conf, |_| Ok(Some(api.api())));
        let deleted = self.del_by(&conf, &args, self.netns.path().to_str().unwrap(), &cluster);
        send_events(cluster.into_api());
        deleted
    }

    /// DEL after the network namespace is gone, with an API server that answers.
    pub(crate) fn del_again(&self, api: &FakeApi) -> Result<(), CniError> {
        let (conf, args) = (Conf::read(&self.call())?, CniArgs::parse(ARGS).unwrap());
        let cluster = OnDemand::new(&conf, |_| Ok(Some(api.api())));
        let deleted = self.del_by(&conf, &args, "", &cluster);
        send_events(cluster.into_api());
        deleted
    }

    fn del_by(
        &self,
        conf: &Conf,
        args: &CniArgs,
        netns: &str,
        cluster: &dyn Cluster,
    ) -> Result<(), CniError> {
        let Attachment { container_id, if_name, .. } = self.attachment();
        let (container_id, if_name, now) = (&container_id, &if_name, &self.now);
        let deadline = Deadline::after(Duration::from_secs(20));
        let detach = Detach { conf, container_id, if_name, netns, args, now, cluster, deadline };
        detach.run().map_err(|e| e.to_cni())
    }

    /// Tries the tombstones again, some time later.
    pub(crate) fn retry_tombstones(&self, later: Duration) {
        let conf = Conf::read(&self.call()).unwrap();
        retry_tombstones(&conf, SystemTime::now() + later, Deadline::after(Duration::from_secs(20)));
    }

    /// The files below `cniDir/multus-rs`, as `<folder>/<container id>`.
    pub(crate) fn own_files(&self) -> Vec<String> {
        let files = |folder: &str| {
            let path = self.folder.path().join("cni/multus-rs").join(folder);
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let name = |e: std::fs::DirEntry| format!("{folder}/{}", e.file_name().to_str().unwrap());
            entries.map(name).collect::<Vec<_>>()
        };
        [files("progress"), files("tombstones")].concat()
    }

    /// The calls since the last time this was called: `<plugin> <verb> <container> <interface> <args>`, and the conf.
    pub(crate) fn calls(&self) -> Vec<(String, Map<String, Value>)> {
        let log = self.folder.path().join("log");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let _ = std::fs::remove_file(log);
        let parse = |line: &str| {
            let (head, conf) = line.split_once(" {").unwrap_or((line, "}"));
            (head.to_owned(), serde_json::from_str(&format!("{{{conf}")).unwrap())
        };
        text.lines().map(parse).collect()
    }

    /// As [`Bench::calls`], only `<plugin> <verb> <interface>`.
    pub(crate) fn verbs(&self) -> Vec<String> {
        let short = |(head, _): &(String, _)| {
            let words: Vec<&str> = head.split(' ').collect();
            format!("{} {} {}", words[0], words[1], words[3])
        };
        self.calls().iter().map(short).collect()
    }
}
