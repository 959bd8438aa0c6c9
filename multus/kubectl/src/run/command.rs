//! From the command line to the output.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use node::client::{ApiClient, Credentials, Person, Timeouts, block_on};
use node::deadline::Deadline;

use super::answer::{Answer, Outcome};
use super::pace::{PACE, limit};
use super::{check, explain, migrate, pools};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::options::{Command, Options, Request, USAGE, parse};

/// The longest time of one command, but for `migrate`.
const LIMIT: Duration = Duration::from_secs(120);

/// The environment of this process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `KUBECONFIG`.
    pub kubeconfig: Option<OsString>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

/// Runs the command line `args`, without the program's name, and prints its answer on `stdout`. `progress` gets a line for each step of a
/// command that takes long.
///
/// # Errors
/// [`Failure`].
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    progress: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let answer = match parse(args)? {
        Request::Help => Answer::right(USAGE.to_owned()),
        Request::Version => {
            Answer::right(format!("kubectl-multus, multus-rs v{}\n", env!("CARGO_PKG_VERSION")))
        }
        Request::Run(options) => answer(&options, environment, stdin, progress)?,
    };
    stdout.write_all(answer.text.as_bytes())?;
    stdout.flush()?;
    Ok(answer.outcome)
}

fn answer(
    options: &Options,
    environment: &Environment,
    stdin: &mut dyn Read,
    progress: &mut dyn Write,
) -> Result<Answer, Failure> {
    if let Command::Check { source, links } = &options.command
        && let Some(answer) = check::without_cluster(options, source, links.as_deref(), stdin)?
    {
        return Ok(answer);
    }
    let longest = match &options.command {
        Command::Migrate(request) => limit(request.timeout),
        Command::Check { .. } | Command::Explain { .. } | Command::Pools { .. } => LIMIT,
    };
    let deadline = Deadline::after(longest);
    block_on(deadline, async {
        let client = connect(options, environment).await?;
        with_client(options, &client, deadline, stdin, progress).await
    })?
}

async fn connect(options: &Options, environment: &Environment) -> Result<ApiClient, Failure> {
    let (variable, home) = (environment.kubeconfig.as_deref(), environment.home.as_deref());
    let person = Person::find(options.kubeconfig.clone(), variable, home, options.context.clone());
    let is_chosen = options.kubeconfig.is_some()
        || options.context.is_some()
        || variable.is_some_and(|v| v != OsStr::new(""));
    match person {
        Some(person) if is_chosen || person.files.iter().any(|file| file.exists()) => {
            Ok(ApiClient::connect_as(&person, Timeouts::default()).await?)
        }
        // As kubectl: a pod has no kubeconfig, and a service account instead.
        _ => Ok(ApiClient::connect(Credentials::InCluster, Timeouts::default()).await?),
    }
}

pub(super) async fn with_client(
    options: &Options,
    client: &ApiClient,
    deadline: Deadline,
    stdin: &mut dyn Read,
    progress: &mut dyn Write,
) -> Result<Answer, Failure> {
    let cluster = Cluster { client, deadline };
    match &options.command {
        Command::Check { source, links } => {
            check::with_cluster(options, source, links.as_deref(), cluster, stdin).await
        }
        Command::Explain { namespace, pod } => explain::pod(options, namespace.as_ref(), pod, cluster).await,
        Command::Migrate(request) => migrate::migrate(options, request, cluster, PACE, progress).await,
        Command::Pools { names, holders } => pools::pools(options, names, *holders, cluster).await,
    }
}
