use super::*;
use std::os::unix::fs::PermissionsExt;

struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    fn new(body: &str) -> Script {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plugin");
        let mut out = std::fs::File::create(&file).unwrap();
        write!(out, "#!/bin/sh\n{body}\n").unwrap();
        out.set_permissions(std::fs::Permissions::from_mode(0o755)).unwrap();
        Script { folder }
    }

    fn run(&self, stdin: &[u8], limit: Duration) -> Result<Vec<u8>, ExecError> {
        let program = self.folder.path().join("plugin");
        let env = [("CNI_COMMAND", "ADD".to_owned())];
        Run { program: &program, env: &env, stdin, deadline: Instant::now() + limit }.output()
    }
}

const LONG: Duration = Duration::from_secs(20);

fn error_of(script: &str) -> CniError {
    Script::new(script).run(b"", LONG).unwrap_err().into()
}

#[test]
fn stdin_and_environment_reach_the_plugin() {
    let out = Script::new("cat; echo \" $CNI_COMMAND\"").run(b"conf", LONG).unwrap();
    assert_eq!(out, b"conf ADD\n");
}

#[test]
fn a_large_stdin_and_stdout_do_not_block_each_other() {
    let input = vec![b'x'; MAX_OUTPUT - 10];
    assert_eq!(Script::new("cat").run(&input, LONG).unwrap().len(), input.len());
}

#[test]
fn a_plugin_that_does_not_read_its_stdin_succeeds() {
    assert_eq!(Script::new("echo ok").run(&vec![b'x'; 1 << 19], LONG).unwrap(), b"ok\n");
}

#[test]
fn an_error_object_keeps_code_and_details() {
    let error = error_of(r#"echo '{"code": 11, "msg": "later", "details": "d"}'; exit 1"#);
    assert_eq!(error, CniError::new(Code::TryAgainLater, "later").with_details("d"));
}

#[test]
fn an_error_object_is_a_failure_also_with_exit_status_0() {
    let error = error_of(r#"echo '{"code": 11, "msg": "later"}'"#);
    assert_eq!(error, CniError::new(Code::TryAgainLater, "later"));
}

#[test]
fn a_failure_without_error_object_shows_the_output() {
    assert_eq!(error_of("exit 3").msg, "netplugin failed with no error message: exit status 3");
    assert_eq!(error_of("echo oops >&2; exit 1").msg, "netplugin failed: \"oops\\n\": exit status 1");
    assert!(
        error_of("echo hello; exit 1")
            .msg
            .starts_with("netplugin failed but error parsing its diagnostic message \"hello")
    );
    assert_eq!(error_of("kill -9 $$").msg, "netplugin failed with no error message: signal 9");
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = Script::new(&format!("sleep 600 & echo $! > {}; wait", pid_file.display()));
    let error = script.run(b"", Duration::from_millis(500)).unwrap_err();
    assert!(matches!(error, ExecError::TimedOut { .. }), "{error}");
    let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        // In a container without init nothing reaps a killed orphan: it stays a zombie.
        std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(gone, "the child of the plugin still runs");
}

#[test]
fn a_child_that_keeps_stdout_open_does_not_block_the_caller() {
    let started = Instant::now();
    let out = Script::new("sleep 5 & echo done").run(b"", LONG).unwrap();
    assert_eq!(out, b"done\n");
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[test]
fn output_past_the_limit_is_an_error_even_if_the_plugin_ends() {
    for size in [MAX_OUTPUT + 1, MAX_OUTPUT + 40_000, MAX_OUTPUT + 65_536] {
        let error = Script::new(&format!("exec head -c {size} /dev/zero")).run(b"", LONG).unwrap_err();
        assert!(matches!(error, ExecError::TooMuchOutput { .. }), "{size}: {error}");
    }
    let out = Script::new(&format!("exec head -c {MAX_OUTPUT} /dev/zero")).run(b"", LONG).unwrap();
    assert_eq!(out.len(), MAX_OUTPUT);
}

#[test]
fn endless_output_is_an_error() {
    let error = Script::new("exec cat /dev/zero").run(b"", LONG).unwrap_err();
    assert!(matches!(error, ExecError::TooMuchOutput { .. }), "{error}");
}

#[test]
fn a_file_that_is_open_for_writing_is_retried() {
    let script = Script::new("echo ok");
    let file = script.folder.path().join("plugin");
    let writer = std::fs::File::options().append(true).open(&file).unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(writer);
    });
    assert_eq!(script.run(b"", LONG).unwrap(), b"ok\n");
    closer.join().unwrap();
}

#[test]
fn a_file_that_cannot_be_executed_is_an_error_with_its_path() {
    let script = Script::new("");
    let file = script.folder.path().join("plugin");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = script.run(b"", LONG).unwrap_err().to_string();
    assert!(text.contains(&file.display().to_string()) && text.contains("Permission denied"), "{text}");
}
