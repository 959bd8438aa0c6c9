//! Finding a plugin, running it and reading its output: the cases of the reference implementation's package `invoke`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cni::exec::{ExecError, Run, SearchPath};
use cni::names::PluginType;
use cni::{CniError, Code, Version, chain};
use serde_json::{Value, json};
use tests::driver::write_script;

const LONG: Duration = Duration::from_secs(30);

/// A folder with an executable script named `plugin`.
struct Script(tempfile::TempDir);

impl Script {
    fn new(body: &str) -> Script {
        let folder = tempfile::tempdir().unwrap();
        write_script(&folder.path().join("plugin"), body);
        Script(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("plugin")
    }

    fn run(&self, env: &[(&str, String)], stdin: &[u8]) -> Result<Vec<u8>, ExecError> {
        Run { program: &self.file(), env, stdin, deadline: Instant::now() + LONG }.output()
    }
}

fn plugin(name: &str) -> PluginType {
    PluginType::parse(name).unwrap()
}

fn path_of(folders: &[&Path]) -> SearchPath {
    let texts: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    SearchPath::parse(&texts.join(":"))
}

#[test]
fn args_the_callers_variables_replace_those_of_the_process() {
    // Every process has PATH.
    let env = [("PATH", "/bin:/usr/bin:/elsewhere".to_owned()), ("CNI_COMMAND", "ADD".to_owned())];
    let text = String::from_utf8(Script::new("env").run(&env, b"").unwrap()).unwrap();
    let of = |name: &str| -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
    };
    assert_eq!(of("PATH"), ["/bin:/usr/bin:/elsewhere"]);
    assert_eq!(of("CNI_COMMAND"), ["ADD"]);
}

#[test]
fn args_the_last_of_two_values_counts() {
    let env = [("CNI_IFNAME", "eth0".to_owned()), ("CNI_IFNAME", "net1".to_owned())];
    let text = String::from_utf8(Script::new("env").run(&env, b"").unwrap()).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("CNI_IFNAME")).collect();
    assert_eq!(lines, ["CNI_IFNAME=net1"]);
}

#[test]
fn args_the_other_variables_of_the_process_are_passed_on() {
    let other = std::env::vars().find(|(name, _)| !name.starts_with("CNI_") && name != "PATH").unwrap();
    let output = Script::new("env").run(&[("CNI_COMMAND", "ADD".to_owned())], b"").unwrap();
    let text = String::from_utf8_lossy(&output).into_owned();
    assert!(text.contains(&format!("{}={}", other.0, other.1)), "{text}");
}

#[test]
fn find_takes_the_first_folder_that_has_the_plugin() {
    let (one, two, empty) = (Script::new(""), Script::new(""), tempfile::tempdir().unwrap());
    let found = |folders: &[&Path]| path_of(folders).find(&plugin("plugin")).unwrap();
    assert_eq!(found(&[one.0.path()]), one.file());
    assert_eq!(found(&[empty.path(), Path::new("/nowhere"), two.0.path(), one.0.path()]), two.file());
}

#[test]
fn find_skips_folders_and_dangling_links() {
    let (folder, script) = (tempfile::tempdir().unwrap(), Script::new(""));
    std::fs::create_dir(folder.path().join("plugin")).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join("dangling")).unwrap();
    let path = path_of(&[folder.path(), script.0.path()]);
    assert_eq!(path.find(&plugin("plugin")).unwrap(), script.file());
    path.find(&plugin("dangling")).unwrap_err();
    // A symbolic link to a plugin is found.
    std::os::unix::fs::symlink(script.file(), folder.path().join("link")).unwrap();
    assert_eq!(path.find(&plugin("link")).unwrap(), folder.path().join("link"));
}

#[test]
fn find_the_error_names_plugin_and_folders() {
    for (path, text) in [
        ("", "failed to find plugin \"missing\" in path []"),
        ("::", "failed to find plugin \"missing\" in path []"),
        ("/a:/b", "failed to find plugin \"missing\" in path [/a /b]"),
    ] {
        let error = SearchPath::parse(path).find(&plugin("missing")).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn find_refuses_an_empty_name_and_one_with_a_separator() {
    for bad in ["", "../plugin", "a/b", "/bin/sh", "..", "."] {
        let error = PluginType::parse(bad).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig, "{bad:?}: {error}");
        assert!(bad.is_empty() || error.to_string().contains(bad), "{bad:?}: {error}");
    }
}

#[test]
fn raw_exec_passes_stdin_and_variables_and_returns_stdout() {
    let script = Script::new("cat; echo \" $CNI_COMMAND $CNI_ARGS $CNI_PATH\"");
    let env = ["CNI_COMMAND", "CNI_ARGS", "CNI_PATH"].map(|name| (name, format!("{name}-value")));
    let output = script.run(&env, br#"{"some":"stdin-json"}"#).unwrap();
    let wanted = "{\"some\":\"stdin-json\"} CNI_COMMAND-value CNI_ARGS-value CNI_PATH-value\n";
    assert_eq!(String::from_utf8(output).unwrap(), wanted);
}

#[test]
fn raw_exec_a_failure_returns_the_error_object_of_the_plugin() {
    let script =
        Script::new(r#"echo remark >&2; echo '{"code": 120, "msg": "banana", "details": "d"}'; exit 1"#);
    let error = CniError::from(script.run(&[], b"").unwrap_err());
    assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (Code::Other(120), "banana", "d"));
}

#[test]
fn raw_exec_a_failure_without_an_error_object_returns_the_output() {
    for (body, msg) in [
        ("exit 1", "netplugin failed with no error message: exit status 1"),
        ("echo oh no >&2; exit 1", "netplugin failed: \"oh no\\n\": exit status 1"),
        (
            "echo '{'; exit 1",
            "netplugin failed but error parsing its diagnostic message \"{\\n\": not a CNI error object",
        ),
        ("kill -SEGV $$", "netplugin failed with no error message: signal 11"),
    ] {
        let error = CniError::from(Script::new(body).run(&[], b"").unwrap_err());
        assert_eq!((error.code, error.msg.as_str()), (Code::Internal, msg), "{body}");
    }
}

#[test]
fn raw_exec_the_error_names_a_file_that_is_not_executable() {
    use std::os::unix::fs::PermissionsExt;
    let script = Script::new("");
    std::fs::set_permissions(script.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = script.run(&[], b"").unwrap_err();
    assert!(matches!(error, ExecError::NotStarted { .. }));
    assert!(error.to_string().contains(&script.file().display().to_string()), "{error}");
}

/// Reads a plugin's output of ADD for a conf of this version.
fn result(output: &str, version: Version) -> Result<Value, CniError> {
    chain::result_of(&plugin("some-plugin"), output.as_bytes(), version).map(|raw| raw.value().clone())
}

#[test]
fn exec_a_result_without_version_takes_the_confs() {
    for output in [r#"{"ip4": {"ip": "1.2.3.4/24"}}"#, r#"{"cniVersion": "", "ip4": {"ip": "1.2.3.4/24"}}"#] {
        assert_eq!(result(output, Version::V0_2_0).unwrap()["cniVersion"], "0.2.0");
    }
}

#[test]
fn exec_without_any_version_a_result_is_0_1_0() {
    let conf = cni::conf::NetConf::parse(br#"{"name": "n"}"#).unwrap();
    let result = result(r#"{"ip4": {"ip": "1.2.3.4/24"}}"#, conf.cni_version).unwrap();
    assert_eq!(result, json!({"cniVersion": "0.1.0", "ip4": {"ip": "1.2.3.4/24"}}));
}

#[test]
fn exec_a_result_keeps_its_version_and_an_unknown_one_is_refused() {
    assert_eq!(result(r#"{"cniVersion": "0.3.1"}"#, Version::V1_0_0).unwrap()["cniVersion"], "0.3.1");
    let error = result(r#"{"cniVersion": "7.0.0"}"#, Version::V1_0_0).unwrap_err();
    assert_eq!(error.msg, "unsupported CNI result version \"7.0.0\"");
}

#[test]
fn exec_no_output_is_an_empty_result_and_other_json_is_an_error() {
    for output in ["", "\n", "null"] {
        assert_eq!(result(output, Version::V1_0_0).unwrap(), json!({"cniVersion": "1.0.0"}), "{output:?}");
    }
    for output in ["banana", "{", "[]", "7"] {
        result(output, Version::V1_0_0).unwrap_err();
    }
}
