//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt as _;
use node::names::{DnsLabel, DnsSubdomain, NameError};

/// The text of `--help`.
pub const USAGE: &str = "\
kubectl multus: says what the networks of pods are, and what is wrong with them. Only migrate --apply and --back change anything.

  kubectl multus check                  what would go wrong with the cluster's NetworkAttachmentDefinitions
  kubectl multus check -f FILE          the same for those in a file, before they are applied; \"-\" is standard input
  kubectl multus explain POD            what a pod asked for, what it got, and why anything is missing
  kubectl multus pools [POOL]...        how full the address pools are
  kubectl multus migrate                what changing over from Multus and Whereabouts would do, and what blocks it

check:
  -f, --filename FILE    a YAML or JSON file; may be given several times
      --against-cluster  with -f: compare with the definitions and nodes of the cluster too
      --links NAMES      the names of the nodes' interfaces, separated by commas: a \"master\" must be one of them
explain:
  POD                    NAME (with -n, or in the context's namespace) or NAMESPACE/NAME
pools:
      --holders          show who holds each address
migrate:
      --apply            change over: set our image in the workloads of Multus and Whereabouts, one after the other
      --back             go back to the images that were there before
      --image IMAGE      our image; default: that of this version
      --accept CODE      go on although this blocks, as \"definitions\"; may be given several times
      --timeout SECONDS  the longest time of one step; default: 900

  -n, --namespace NAME   check: only its definitions; explain: the pod's namespace; pools: only its IPPools
  -A, --all-namespaces   check and pools: all namespaces, which is the default
  -o, --output FORMAT    table (default) or json
      --kubeconfig FILE  default: KUBECONFIG, else ~/.kube/config, else the service account of this pod
      --context NAME     the context of the kubeconfig
  -h, --help
  -V, --version

Exit code: 0; 1 if check found an error, if something blocks migrate, or if the command failed.
";

/// The flags of `migrate`.
const MIGRATE: &[&str] = &["--apply", "--back", "--image", "--accept", "--timeout"];

/// Our image of this version.
const DEFAULT_IMAGE: &str = concat!("ghcr.io/multus-rs/multus-rs:v", env!("CARGO_PKG_VERSION"));

/// The longest time of one step of `migrate`: a DaemonSet replaces the pods of many nodes one after the other.
const DEFAULT_STEP: Duration = Duration::from_secs(900);

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
    /// Change over from Multus and Whereabouts, or back.
    Migrate(Migrate),
}

/// How to change over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrate {
    /// What to do.
    pub act: Act,
    /// Our image.
    pub image: String,
    /// What may block without effect.
    pub accepted: Vec<String>,
    /// The longest time of one step.
    pub timeout: Duration,
}

/// What `migrate` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say what would be done.
    Show,
    /// Change over.
    Apply,
    /// Go back.
    Back,
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
    #[error("say what to do: check, explain, pools or migrate; \"kubectl multus --help\" shows more")]
    NoCommand,
    /// Nobody knows the command.
    #[error(
        "unknown command {0:?}: use check, explain, pools or migrate; \"kubectl multus --help\" shows more"
    )]
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
    /// `--apply` and `--back`.
    #[error("--apply and --back exclude each other: give one of them")]
    BothWays,
    /// `--timeout` without a number of seconds.
    #[error("--timeout {0:?}: use a number of seconds from 1 to 86400")]
    Timeout(String),
    /// `--image` without a repository and a tag or digest.
    #[error("--image {0:?}: use REGISTRY/REPOSITORY:TAG")]
    Image(String),
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
    apply: bool,
    back: bool,
    image: Option<String>,
    accepted: Vec<String>,
    timeout: Option<String>,
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
            Long("apply") => given.apply = true,
            Long("back") => given.back = true,
            Long("image") => given.image = Some(parser.value()?.string()?),
            Long("accept") => given.accepted.push(parser.value()?.string()?),
            Long("timeout") => given.timeout = Some(parser.value()?.string()?),
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
            "migrate" => self.migrate()?,
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

    fn migrate(&mut self) -> Result<Command, OptionsError> {
        self.refuse_flags_of_others("migrate", MIGRATE)?;
        if let Some(argument) = self.arguments.first() {
            return Err(OptionsError::ForeignArgument { argument: argument.clone(), command: "migrate" });
        }
        if self.namespace.is_some() {
            return Err(OptionsError::ForeignFlag { flag: "-n", command: "migrate" });
        }
        let act = match (self.apply, self.back) {
            (true, true) => return Err(OptionsError::BothWays),
            (true, false) => Act::Apply,
            (false, true) => Act::Back,
            (false, false) => Act::Show,
        };
        let image = self.image.take().unwrap_or_else(|| DEFAULT_IMAGE.to_owned());
        let is_plain = image.chars().all(|c| c.is_ascii_graphic() && !"'\"\\$`".contains(c));
        if !is_plain || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']) {
            return Err(OptionsError::Image(image));
        }
        let timeout = match self.timeout.take() {
            None => DEFAULT_STEP,
            Some(text) => match text.parse() {
                Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
                _ => return Err(OptionsError::Timeout(text)),
            },
        };
        Ok(Command::Migrate(Migrate { act, image, accepted: std::mem::take(&mut self.accepted), timeout }))
    }

    fn refuse_flags_of_others(&self, command: &'static str, own: &[&str]) -> Result<(), OptionsError> {
        let given = [
            ("-f", !self.files.is_empty()),
            ("--against-cluster", self.against_cluster),
            ("--links", self.links.is_some()),
            ("--holders", self.holders),
            ("-A", self.all_namespaces),
            ("--apply", self.apply),
            ("--back", self.back),
            ("--image", self.image.is_some()),
            ("--accept", !self.accepted.is_empty()),
            ("--timeout", self.timeout.is_some()),
        ];
        match given.into_iter().find(|(flag, is_given)| *is_given && !own.contains(flag)) {
            Some((flag, _)) => Err(OptionsError::ForeignFlag { flag, command }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
