use super::*;

fn run(args: &[&str]) -> Result<Options, OptionsError> {
    match parse(args.iter().map(OsString::from))? {
        Request::Run(options) => Ok(options),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_command_has_its_flags() {
    let check = run(&[
        "check",
        "-f",
        "a.yaml",
        "-f",
        "-",
        "--against-cluster",
        "--links",
        "eth0, eth1",
        "-o",
        "json",
    ])
    .unwrap();
    let source = Source::Files { paths: vec!["a.yaml".into(), "-".into()], against: Against::Cluster };
    let links = Some(vec!["eth0".to_owned(), "eth1".to_owned()]);
    assert_eq!((check.command, check.format), (Command::Check { source, links }, Format::Json));
    let explain = run(&["--context=c", "explain", "ns/web-0", "--kubeconfig", "/k"]).unwrap();
    let (namespace, pod) = (DnsLabel::new("ns").ok(), DnsSubdomain::new("web-0").unwrap());
    assert_eq!(explain.command, Command::Explain { namespace, pod });
    assert_eq!((explain.context.as_deref(), explain.kubeconfig), (Some("c"), Some("/k".into())));
    let pools = run(&["pools", "10.0.0.0-8", "--holders", "-n", "kube-system"]).unwrap();
    assert_eq!(
        pools.command,
        Command::Pools { names: vec!["10.0.0.0-8".to_owned()], holders: Holders::Listed }
    );
    assert_eq!(pools.namespace.unwrap().as_str(), "kube-system");
    let migrate =
        run(&["migrate", "--apply", "--image", "r/x:1", "--accept", "clash", "--timeout=5"]).unwrap();
    let (image, timeout) = ("r/x:1".to_owned(), Duration::from_secs(5));
    let accepted = vec!["clash".to_owned()];
    assert_eq!(migrate.command, Command::Migrate(Migrate { act: Act::Apply, image, accepted, timeout }));
    assert!(run(&["check", "-A"]).is_ok() && run(&["explain", "a/b", "-n", "a"]).is_ok());
    assert_eq!(parse([OsString::from("--help")]).unwrap(), Request::Help);
    assert_eq!(parse(["check", "-V"].map(OsString::from)).unwrap(), Request::Version);
}

#[test]
fn what_is_not_understood_is_refused_by_its_name() {
    for (args, want) in [
        (&[][..], "say what to do"),
        (&["checks"], "\"checks\""),
        (&["check", "--banana"], "--banana"),
        (&["check", "x.yaml"], "takes no argument \"x.yaml\""),
        (&["check", "--holders"], "--holders is no flag of check"),
        (&["check", "--against-cluster"], "check without -f"),
        (&["explain"], "one pod"),
        (&["explain", "a", "b"], "one pod"),
        (&["explain", "../x"], "namespace"),
        (&["explain", "a/b/c"], "the pod's name"),
        (&["explain", "a/b", "-n", "c"], "--namespace is c, but the argument says namespace a"),
        (&["explain", "a", "-A"], "-A is no flag of explain"),
        (&["pools", "-f", "x"], "-f is no flag of pools"),
        (&["pools", "-o", "yaml"], "use table or json"),
        (&["pools", "-n", "a", "-A"], "exclude each other"),
        (&["pools", "-n"], "-n"),
        (&["pools", "--apply"], "--apply is no flag of pools"),
        (&["migrate", "--apply", "--back"], "exclude each other"),
        (&["migrate", "-n", "x"], "-n is no flag of migrate"),
        (&["migrate", "x"], "takes no argument \"x\""),
        (&["migrate", "--timeout", "0"], "number of seconds"),
        (&["migrate", "--image", "r/x"], "REPOSITORY:TAG"),
        (&["migrate", "--image", "r/x:1 y"], "REPOSITORY:TAG"),
    ] {
        let error = run(args).unwrap_err().to_string();
        assert!(error.contains(want), "{args:?}: {error}");
    }
}
