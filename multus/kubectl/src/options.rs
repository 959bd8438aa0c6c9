//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use node::names::{DnsLabel, DnsSubdomain, NameError};

/// The text of `--help`.
pub const USAGE: &str = "\
kubectl multus: says what the networks of pods are, and what is wrong with them. It changes nothing.

  kubectl multus check                  what would go wrong with the cluster's NetworkAttachmentDefinitions
  kubectl multus check -f FILE          the same for those in a file, before they are applied; \"-\" is standard input
  kubectl multus explain POD            what a pod asked for, what it got, and why anything is missing
  kubectl multus pools [POOL]...        how full the address pools are

check:
  -f, --filename FILE    a YAML or JSON file; may be given several times
      --against-cluster  with -f: compare with the definitions and nodes of the cluster too
      --links NAMES      the names of the nodes' interfaces, separated by commas: a \"master\" must be one of them
explain:
  POD                    NAME (with -n, or in the context's namespace) or NAMESPACE/NAME
pools:
      --holders          show who holds each address

  -n, --namespace NAME   check: only its definitions; explain: the pod's namespace; pools: only its IPPools
  -A, --all-namespaces   check and pools: all namespaces, which is the default
  -o, --output FORMAT    table (default) or json
      --kubeconfig FILE  default: KUBECONFIG, else ~/.kube/config, else the service account of this pod
      --context NAME     the context of the kubeconfig
  -h, --help
  -V, --version

Exit code: 0; 1 if check found an error, or if the command failed.
";

/// What the command line requests.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Print the usage.
    Help,
    /// Print name and version.
    Version,
    /// Run a command.
    Run(Options),
}

/// A command, and how it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// What to do.
    pub command: Command,
    /// `--namespace`.
    pub namespace: Option<DnsLabel>,
    /// `--output`.
    pub format: Format,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Check definitions.
    Check {
        /// Where they are.
        source: Source,
        /// `--links`: the names of the nodes' interfaces, if they are known.
        links: Option<Vec<String>>,
    },
    /// Explain one pod.
    Explain {
        /// The namespace that its argument states.
        namespace: Option<DnsLabel>,
        /// Its name.
        pod: DnsSubdomain,
    },
    /// Show pools.
    Pools {
        /// Their names; all if empty.
        names: Vec<String>,
        /// Whether the holder of each address is shown.
        holders: Holders,
    },
}

/// Where the definitions to check are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In the cluster.
    Cluster,
    /// In these files. "-" is standard input.
    Files {
        /// The paths.
        paths: Vec<PathBuf>,
        /// What else they are compared with.
        against: Against,
    },
}

/// What definitions in files are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// With each other.
    Themselves,
    /// With those of the cluster too.
    Cluster,
}

/// Whether the holders of addresses are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holders {
    /// Only their number.
    Counted,
    /// Each one.
    Listed,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Why the command line is invalid.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// An unknown flag, or a flag without its value.
    #[error("{0}; \"kubectl multus --help\" shows the flags")]
    Flag(#[from] lexopt::Error),
    /// There is no command.
    #[error("say what to do: check, explain or pools; \"kubectl multus --help\" shows more")]
    NoCommand,
    /// Nobody knows the command.
    #[error("unknown command {0:?}: use check, explain or pools; \"kubectl multus --help\" shows more")]
    UnknownCommand(String),
    /// A flag that the command does not have.
    #[error("{flag} is no flag of {command}; \"kubectl multus --help\" shows the flags")]
    ForeignFlag {
        /// The flag.
        flag: &'static str,
        /// The command.
        command: &'static str,
    },
    /// An argument that the command does not have.
    #[error("{command} takes no argument {argument:?}; \"kubectl multus --help\" shows the arguments")]
    ForeignArgument {
        /// The argument.
        argument: String,
        /// The command.
        command: &'static str,
    },
    /// `explain` without a pod, or with several.
    #[error("explain takes one pod: NAME or NAMESPACE/NAME")]
    OnePod,
    /// `-o` with an unknown format.
    #[error("--output {0:?}: use table or json")]
    Format(String),
    /// `-n` and `-A`.
    #[error("--namespace and --all-namespaces exclude each other: give one of them")]
    BothNamespaces,
    /// The argument of `explain` and `-n` name two namespaces.
    #[error("--namespace is {flag}, but the argument says namespace {argument}: give one of them")]
    TwoNamespaces {
        /// The namespace of the flag.
        flag: DnsLabel,
        /// The namespace of the argument.
        argument: DnsLabel,
    },
    /// An invalid name.
    #[error("{what}: {source}")]
    Name {
        /// The flag or argument.
        what: &'static str,
        /// What is wrong.
        source: NameError,
    },
}

/// The flags as given, before it is known whether the command has them.
#[derive(Default)]
struct Given {
    arguments: Vec<String>,
    files: Vec<PathBuf>,
    against_cluster: bool,
    links: Option<String>,
    holders: bool,
    namespace: Option<DnsLabel>,
    all_namespaces: bool,
    format: Option<String>,
    kubeconfig: Option<PathBuf>,
    context: Option<String>,
}

/// Parses the arguments after the program's name.
///
/// # Errors
/// [`OptionsError`].
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Request, OptionsError> {
    let mut parser = lexopt::Parser::from_args(args);
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Value(argument) => given.arguments.push(argument.string()?),
            Short('f') | Long("filename") => given.files.push(parser.value()?.into()),
            Long("against-cluster") => given.against_cluster = true,
            Long("links") => given.links = Some(parser.value()?.string()?),
            Long("holders") => given.holders = true,
            Short('n') | Long("namespace") => {
                let text = parser.value()?.string()?;
                given.namespace = Some(named("--namespace", DnsLabel::new(text))?);
            }
            Short('A') | Long("all-namespaces") => given.all_namespaces = true,
            Short('o') | Long("output") => given.format = Some(parser.value()?.string()?),
            Long("kubeconfig") => given.kubeconfig = Some(parser.value()?.into()),
            Long("context") => given.context = Some(parser.value()?.string()?),
            Short('h') | Long("help") => return Ok(Request::Help),
            Short('V') | Long("version") => return Ok(Request::Version),
            other => return Err(other.unexpected().into()),
        }
    }
    given.request()
}

fn named<T>(what: &'static str, name: Result<T, NameError>) -> Result<T, OptionsError> {
    name.map_err(|source| OptionsError::Name { what, source })
}

impl Given {
    fn request(mut self) -> Result<Request, OptionsError> {
        if self.arguments.is_empty() {
            return Err(OptionsError::NoCommand);
        }
        let command = match self.arguments.remove(0).as_str() {
            "check" => self.check()?,
            "explain" => self.explain()?,
            "pools" => self.pools()?,
            other => return Err(OptionsError::UnknownCommand(other.to_owned())),
        };
        if self.namespace.is_some() && self.all_namespaces {
            return Err(OptionsError::BothNamespaces);
        }
        let format = match self.format.as_deref() {
            None | Some("table") => Format::Table,
            Some("json") => Format::Json,
            Some(other) => return Err(OptionsError::Format(other.to_owned())),
        };
        let Given { namespace, kubeconfig, context, .. } = self;
        Ok(Request::Run(Options { command, namespace, format, kubeconfig, context }))
    }

    fn check(&mut self) -> Result<Command, OptionsError> {
        self.refuse_flags_of_others("check", &["-f", "--against-cluster", "--links", "-A"])?;
        if let Some(argument) = self.arguments.first() {
            return Err(OptionsError::ForeignArgument { argument: argument.clone(), command: "check" });
        }
        let against = if self.against_cluster { Against::Cluster } else { Against::Themselves };
        let source = match std::mem::take(&mut self.files) {
            paths if !paths.is_empty() => Source::Files { paths, against },
            _ if self.against_cluster => {
                return Err(OptionsError::ForeignFlag {
                    flag: "--against-cluster",
                    command: "check without -f",
                });
            }
            _ => Source::Cluster,
        };
        let names = |text: String| {
            text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
        };
        Ok(Command::Check { source, links: self.links.take().map(names) })
    }

    fn explain(&mut self) -> Result<Command, OptionsError> {
        self.refuse_flags_of_others("explain", &[])?;
        let [argument] = self.arguments.as_slice() else { return Err(OptionsError::OnePod) };
        let (namespace, name) = match argument.split_once('/') {
            Some((namespace, name)) => (Some(named("the pod's namespace", DnsLabel::new(namespace))?), name),
            None => (None, argument.as_str()),
        };
        if let (Some(flag), Some(argument)) = (&self.namespace, &namespace)
            && flag != argument
        {
            return Err(OptionsError::TwoNamespaces { flag: flag.clone(), argument: argument.clone() });
        }
        Ok(Command::Explain { namespace, pod: named("the pod's name", DnsSubdomain::new(name))? })
    }

    fn pools(&mut self) -> Result<Command, OptionsError> {
        self.refuse_flags_of_others("pools", &["--holders", "-A"])?;
        let holders = if self.holders { Holders::Listed } else { Holders::Counted };
        Ok(Command::Pools { names: std::mem::take(&mut self.arguments), holders })
    }

    fn refuse_flags_of_others(&self, command: &'static str, own: &[&str]) -> Result<(), OptionsError> {
        let given = [
            ("-f", !self.files.is_empty()),
            ("--against-cluster", self.against_cluster),
            ("--links", self.links.is_some()),
            ("--holders", self.holders),
            ("-A", self.all_namespaces),
        ];
        match given.into_iter().find(|(flag, is_given)| *is_given && !own.contains(flag)) {
            Some((flag, _)) => Err(OptionsError::ForeignFlag { flag, command }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
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
        ] {
            let error = run(args).unwrap_err().to_string();
            assert!(error.contains(want), "{args:?}: {error}");
        }
    }
}
