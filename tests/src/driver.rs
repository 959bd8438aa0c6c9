//! Runs a plugin, ours or Go's, as a container runtime does: variables, conf on standard input, result or error on standard output.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use cni::CniError;
use netlink::Netns;
use serde_json::{Value, json};

use crate::place;

/// The plugin under test.
#[derive(Clone, Debug)]
pub struct Subject {
    /// `ours` or `go`.
    pub name: &'static str,
    /// The folder of its binaries.
    pub folder: PathBuf,
    /// The versions of the CNI spec that it supports.
    pub versions: &'static [&'static str],
}

impl Subject {
    /// This project's plugins.
    pub fn ours() -> Subject {
        let versions = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        Subject { name: "ours", folder: place::binaries(), versions }
    }

    /// Debian's Go plugins, which are older than spec 1.1.0.
    pub fn go() -> Subject {
        let versions = &["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];
        Subject { name: "go", folder: place::go_plugins(), versions }
    }

    /// Both, ours first.
    pub fn all() -> [Subject; 2] {
        [Subject::ours(), Subject::go()]
    }
}

/// One attachment by the runtime's names, and the network namespace of the node.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The node's network namespace, in which the plugin runs.
    pub host: &'a Netns,
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_NETNS`; without a value the plugin does not get the variable.
    pub netns: Option<&'a Path>,
    /// `CNI_IFNAME`.
    pub if_name: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a str,
    /// A folder of further plugins, in `CNI_PATH` after the subject's and before Debian's.
    pub helpers: Option<&'a Path>,
}

/// The outcome of a plugin's run.
#[derive(Debug)]
pub struct Answer {
    /// Exit status, standard output and standard error.
    pub output: Output,
}

impl Answer {
    /// The JSON on standard output, `null` if there is none. Panics if the plugin failed.
    #[track_caller]
    pub fn ok(&self) -> Value {
        let text = String::from_utf8_lossy(&self.output.stdout);
        let stderr = String::from_utf8_lossy(&self.output.stderr);
        assert!(self.output.status.success(), "the plugin failed: {text} {stderr}");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// The error object. Panics if the plugin succeeded or printed none.
    #[track_caller]
    pub fn error(&self) -> CniError {
        let text = String::from_utf8_lossy(&self.output.stdout);
        assert!(!self.output.status.success(), "the plugin succeeded: {text}");
        CniError::from_json(&self.output.stdout).unwrap_or_else(|| panic!("no error object: {text:?}"))
    }
}

impl<'a> Call<'a> {
    /// The attachment of interface `net1` in the namespace at `netns`.
    pub fn new(host: &'a Netns, container_id: &'a str, netns: &'a Path) -> Self {
        Call { host, container_id, netns: Some(netns), if_name: "net1", args: "", helpers: None }
    }

    /// Runs `verb` of the plugin that `conf.type` names, with the subject's plugins before Debian's in `CNI_PATH`.
    pub fn run(&self, subject: &Subject, verb: &str, conf: &Value) -> Answer {
        let plugin = conf["type"].as_str().expect("a conf with a type");
        self.run_raw(subject, plugin, verb, conf.to_string().as_bytes())
    }

    /// The same as [`Call::run`] with any standard input.
    pub fn run_raw(&self, subject: &Subject, plugin: &str, verb: &str, stdin: &[u8]) -> Answer {
        let go = place::go_plugins();
        let folders = [Some(subject.folder.as_path()), self.helpers, Some(&go)];
        let path =
            folders.into_iter().flatten().map(|f| f.display().to_string()).collect::<Vec<_>>().join(":");
        let mut env = vec![
            ("CNI_COMMAND", verb.to_owned()),
            ("CNI_CONTAINERID", self.container_id.to_owned()),
            ("CNI_IFNAME", self.if_name.to_owned()),
            ("CNI_ARGS", self.args.to_owned()),
            ("CNI_PATH", path),
        ];
        env.extend(self.netns.map(|netns| ("CNI_NETNS", netns.display().to_string())));
        Answer { output: run_in(self.host, &subject.folder.join(plugin), &env, stdin) }
    }

    /// Runs ADD, CHECK with its result (since 0.4.0), and DEL twice, which must all succeed. Returns the result of ADD.
    #[track_caller]
    pub fn round_trip(&self, subject: &Subject, conf: &Value) -> Value {
        let result = self.run(subject, "ADD", conf).ok();
        let version = conf["cniVersion"].as_str().unwrap_or_default();
        let with_result = merged(conf, json!({ "prevResult": result }));
        if version >= "0.4.0" {
            self.run(subject, "CHECK", &with_result).ok();
        }
        for _ in 0..2 {
            self.run(subject, "DEL", &with_result).ok();
        }
        result
    }
}

/// Runs a program in the network namespace `host` with PATH and these variables only.
#[allow(clippy::disallowed_methods)] // a test takes the place of the runtime
pub fn run_in(host: &Netns, program: &Path, env: &[(&str, String)], stdin: &[u8]) -> Output {
    let spawn = || {
        Command::new(program)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(env.iter().map(|(k, v)| (*k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    };
    let child = host.run(spawn).expect("a process can be started in the namespace");
    let mut child = child.unwrap_or_else(|e| panic!("{} cannot be run: {e}", program.display()));
    // A plugin that fails early closes the pipe before it has read the conf.
    let _ = child.stdin.take().expect("a pipe").write_all(stdin);
    child.wait_with_output().expect("the plugin ends")
}

/// Writes an executable shell script.
pub fn write_script(file: &Path, body: &str) {
    use std::os::unix::fs::PermissionsExt;
    let mut out = std::fs::File::create(file).expect("the script can be created");
    write!(out, "#!/bin/sh\n{body}\n").expect("the script can be written");
    out.set_permissions(std::fs::Permissions::from_mode(0o755)).expect("the script can be made executable");
}

/// `conf` with the keys of `more` added or replaced.
pub fn merged(conf: &Value, more: Value) -> Value {
    let mut object = conf.as_object().expect("an object").clone();
    object.extend(more.as_object().expect("an object").clone());
    Value::Object(object)
}
