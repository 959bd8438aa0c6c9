//! From the command line to the output.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use node::client::{ApiClient, Credentials, Person, Timeouts, block_on};
use node::deadline::Deadline;

use super::answer::{Answer, Outcome};
use super::{check, explain, pools};
use crate::cluster::Cluster;
use crate::failure::Failure;
use crate::options::{Command, Options, Request, USAGE, parse};

/// The longest time of one command.
const LIMIT: Duration = Duration::from_secs(120);

/// The environment of this process.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `KUBECONFIG`.
    pub kubeconfig: Option<OsString>,
    /// `HOME`.
    pub home: Option<PathBuf>,
}

/// Runs the command line `args`, without the program's name, and prints its answer.
///
/// # Errors
/// [`Failure`].
pub fn main(
    args: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
) -> Result<Outcome, Failure> {
    let answer = match parse(args)? {
        Request::Help => Answer::right(USAGE.to_owned()),
        Request::Version => {
            Answer::right(format!("kubectl-multus, multus-rs v{}\n", env!("CARGO_PKG_VERSION")))
        }
        Request::Run(options) => answer(&options, environment, stdin)?,
    };
    stdout.write_all(answer.text.as_bytes())?;
    stdout.flush()?;
    Ok(answer.outcome)
}

fn answer(options: &Options, environment: &Environment, stdin: &mut dyn Read) -> Result<Answer, Failure> {
    if let Command::Check { source, links } = &options.command
        && let Some(answer) = check::without_cluster(options, source, links.as_deref(), stdin)?
    {
        return Ok(answer);
    }
    let deadline = Deadline::after(LIMIT);
    block_on(deadline, async {
        let client = connect(options, environment).await?;
        with_client(options, &client, deadline, stdin).await
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
) -> Result<Answer, Failure> {
    let cluster = Cluster { client, deadline };
    match &options.command {
        Command::Check { source, links } => {
            check::with_cluster(options, source, links.as_deref(), cluster, stdin).await
        }
        Command::Explain { namespace, pod } => explain::pod(options, namespace.as_ref(), pod, cluster).await,
        Command::Pools { names, holders } => pools::pools(options, names, *holders, cluster).await,
    }
}
