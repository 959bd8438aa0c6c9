use std::path::Path;

use node::files::write_atomic;

use super::*;
use cni::Version;

fn pod(name: &str) -> Option<String> {
    match name {
        "KUBERNETES_SERVICE_HOST" => Some("10.96.0.1".into()),
        "KUBERNETES_SERVICE_PORT" => Some("443".into()),
        _ => None,
    }
}

fn read(args: &[&str], dialect: Dialect) -> Result<Options, ThinError> {
    match parse(args.iter().map(OsString::from), &pod, dialect)? {
        Command::Run(options) => Ok(options),
        other => panic!("{other:?}"),
    }
}

fn auto(options: Options) -> (Auto, InlineForm) {
    let Source::Auto(auto) = options.settings.source else { panic!() };
    let Form::Inline(form) = auto.form.clone() else { panic!() };
    (*auto, form)
}

#[test]
fn the_defaults_are_upstreams() {
    let options = read(&[], Dialect::Thin).unwrap();
    assert_eq!(options.settings.conf_dir, Path::new("/host/etc/cni/net.d"));
    assert_eq!(options.credentials.target, Path::new("/host/etc/cni/net.d/multus.d/multus.kubeconfig"));
    assert_eq!(options.credentials.server.to_string(), "https://10.96.0.1:443");
    let plugin =
        PluginCopy::To { from: "/usr/src/multus-cni/bin/multus".into(), folder: "/host/opt/cni/bin".into() };
    assert_eq!((&options.plugin, options.watch, options.at_exit), (&plugin, Watch::Follow, AtExit::Keep));
    let (auto, form) = auto(options);
    assert_eq!(auto.folder, Path::new("/host/etc/cni/net.d"));
    assert_eq!(
        (auto.election, auto.version, auto.name),
        (Election::First, VersionRule::OfPrimary, NameRule::Own)
    );
    assert_eq!(form.kubeconfig, "/etc/cni/net.d/multus.d/multus.kubeconfig");
    assert_eq!((form.cni_conf.as_str(), form.log_target), ("/host/etc/cni/multus/net.d", LogTarget::Stderr));
}

// The command lines of upstream's manifests.
#[test]
fn upstreams_manifests_are_read() {
    let four = [
        "--multus-conf-file=auto",
        "--multus-autoconfig-dir=/host/etc/cni/net.d",
        "--cni-conf-dir=/host/etc/cni/net.d",
    ];
    assert!(matches!(read(&four, Dialect::Thin).unwrap().settings.source, Source::Auto(_)));

    let three = read(&["--multus-conf-file=auto", "--cni-version=0.3.1"], Dialect::Script).unwrap();
    let (three, form) = auto(three);
    assert_eq!(three.version, VersionRule::Compatible(Version::V0_3_1));
    assert_eq!(form.cni_conf, "");

    let crio = [
        "--cni-version=0.3.1",
        "--cni-bin-dir=/host/usr/libexec/cni",
        "--multus-conf-file=auto",
        "--restart-crio=true",
    ];
    let crio = read(&crio, Dialect::Script).unwrap();
    assert!(crio.notes[0].contains("--restart-crio has no effect"));
    assert!(
        matches!(crio.plugin, PluginCopy::To { folder, .. } if folder == Path::new("/host/usr/libexec/cni"))
    );

    let generator = [
        "-cni-version=0.3.1",
        "-cni-config-dir=/host/etc/cni/net.d",
        "-multus-autoconfig-dir=/host/etc/cni/net.d",
        "-multus-log-to-stderr=true",
        "-multus-log-level=verbose",
    ];
    let generator = read(&generator, Dialect::Generator).unwrap();
    assert_eq!(generator.plugin, PluginCopy::Skipped);
    assert_eq!(auto(generator).1.log_level, Some(LogLevel::Verbose));
}

#[test]
fn every_flag_has_its_effect() {
    let args = [
        "--cni-bin-dir=/b",
        "--cni-conf-dir",
        "/c",
        "--cni-version=0.4.0",
        "--multus-autoconfig-dir=/a",
        "--multus-bin-file=/m",
        "--multus-cni-conf-dir=/cc",
        "--multus-kubeconfig-file-host=/k",
        "--multus-master-cni-file-name=10-x.conf",
        "--namespace-isolation=true",
        "--global-namespaces=a,b",
        "--multus-log-to-stderr=false",
        "--multus-log-level=DEBUG",
        "--multus-log-file=/l",
        "--override-network-name",
        "--cleanup-config-on-exit",
        "--skip-config-watch",
        "--rename-conf-file",
        "--readiness-indicator-file=/r",
        "--additional-bin-dir=/x",
        "--skip-tls-verify",
    ];
    let options = read(&args, Dialect::Thin).unwrap();
    assert_eq!(options.plugin, PluginCopy::To { from: "/m".into(), folder: "/b".into() });
    assert_eq!(options.credentials.target, Path::new("/c/multus.d/multus.kubeconfig"));
    assert_eq!(options.credentials.trust, Trust::Anybody);
    assert_eq!((options.watch, options.at_exit), (Watch::Once, AtExit::Remove));
    let (auto, form) = auto(options);
    assert_eq!(
        (auto.folder.as_path(), auto.election),
        (Path::new("/a"), Election::Named("10-x.conf".into()))
    );
    assert_eq!((auto.version, auto.name), (VersionRule::Same(Version::V0_4_0), NameRule::OfPrimary));
    assert_eq!(auto.master, Master::Renamed);
    let want = InlineForm {
        isolation: Isolation::On,
        global_namespaces: "a,b".into(),
        log_target: LogTarget::NotStderr,
        log_level: Some(LogLevel::Debug),
        log_file: "/l".into(),
        bin_dir: "/x".into(),
        cni_conf: "/cc".into(),
        readiness_file: "/r".into(),
        kubeconfig: "/k".into(),
    };
    assert_eq!(form, want);
    let forced =
        read(&["--force-cni-version", "--cni-version=0.4.0", "--skip-multus-binary-copy"], Dialect::Thin)
            .unwrap();
    assert_eq!(forced.plugin, PluginCopy::Skipped);
    assert_eq!(self::auto(forced).0.version, VersionRule::Forced(Version::V0_4_0));
}

#[test]
fn the_scripts_variables_count_for_the_script_only() {
    let environment = |name: &str| match name {
        "KUBE_CA_FILE" => Some("/ca".to_owned()),
        other => pod(other),
    };
    let trust = |dialect| match parse([], &environment, dialect).unwrap() {
        Command::Run(options) => options.credentials.trust,
        other => panic!("{other:?}"),
    };
    assert_eq!(trust(Dialect::Script), Trust::Authority("/ca".into()));
    assert_eq!(trust(Dialect::Thin), Trust::Authority(Path::new(MOUNT).join("ca.crt")));
    let sample = read(&[], Dialect::Script).unwrap().settings.source;
    assert_eq!(sample, Source::File("/usr/src/multus-cni/images/70-multus.conf".into()));
}

#[test]
fn an_error_names_the_flag() {
    let text = |args: &[&str]| read(args, Dialect::Thin).unwrap_err().to_string();
    assert!(text(&["--banana=1"]).contains("--banana"));
    assert!(text(&["banana"]).contains("banana"));
    assert!(text(&["--cni-version=9"]).contains("cni-version"));
    assert!(text(&["--namespace-isolation=maybe"]).contains("maybe"));
    assert!(text(&["--multus-log-level=loud"]).contains("did not understand: \"loud\""));
    assert!(text(&["--multus-master-cni-file-name=a/b"]).contains("multus-master-cni-file-name"));
    let outside = parse([], &|_| None, Dialect::Thin).unwrap_err();
    assert!(outside.to_string().contains("KUBERNETES_SERVICE_HOST"), "{outside}");
    assert!(matches!(parse(["-h".into()], &|_| None, Dialect::Thin), Ok(Command::Help)));
}

/// A node with a default network, and a pod with a token.
fn node() -> (tempfile::TempDir, Options) {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    for folder in ["bin", "net.d"] {
        std::fs::create_dir(path(folder)).unwrap();
    }
    write_atomic(&path("multus"), b"\x7fELF", 0o755).unwrap();
    write_atomic(&path("token"), b"t", 0o600).unwrap();
    write_atomic(&path("ca"), b"c", 0o600).unwrap();
    let primary = br#"{"cniVersion":"0.3.1","name":"p","type":"t"}"#;
    write_atomic(&path("net.d/10-p.conf"), primary, 0o600).unwrap();
    let flag = |name: &str, to: &str| format!("--{name}={}", path(to).display());
    let args = [
        flag("cni-bin-dir", "bin"),
        flag("cni-conf-dir", "net.d"),
        flag("multus-autoconfig-dir", "net.d"),
        flag("multus-bin-file", "multus"),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut options = read(&args, Dialect::Thin).unwrap();
    options.credentials.user = crate::kubeconfig::User::Token(path("token"));
    options.credentials.trust = Trust::Authority(path("ca"));
    (root, options)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

#[test]
fn it_installs_stays_and_renews() {
    let (root, options) = node();
    let path = |name: &str| root.path().join(name);
    let rotated = path("token");
    let shutdown = Box::pin(async move {
        tokio::time::sleep(PERIOD / 2).await;
        write_atomic(&rotated, b"renewed", 0o600).unwrap();
        tokio::time::sleep(PERIOD).await;
    });
    block_on(run(options, shutdown)).unwrap();
    assert!(path("bin/multus").exists() && path("net.d/00-multus.conf").exists());
    let kubeconfig = std::fs::read_to_string(path("net.d/multus.d/multus.kubeconfig")).unwrap();
    assert!(kubeconfig.contains("\"renewed\""));
}

#[test]
fn the_configuration_is_removed_at_the_end_only_if_asked_for() {
    let (root, mut options) = node();
    options.at_exit = AtExit::Remove;
    // The timer needs the runtime, so it is made in the future.
    block_on(run(options, Box::pin(async { tokio::time::sleep(PERIOD / 2).await }))).unwrap();
    let names: Vec<_> =
        std::fs::read_dir(root.path().join("net.d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().starts_with("00-multus")), "{names:?}");
}

#[test]
fn a_failure_at_the_start_is_an_error() {
    for missing in ["multus", "token", "ca"] {
        let (root, options) = node();
        std::fs::remove_file(root.path().join(missing)).unwrap();
        let error = block_on(run(options, Box::pin(std::future::pending()))).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
}
