//! The `whereabouts-daemon` binary; see the library.

use std::io::Write as _;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use whereabouts::daemon::options::{Command, Environment, USAGE, parse};

fn main() -> anyhow::Result<()> {
    let environment = Environment {
        node_name: std::env::var("NODENAME").ok(),
        namespace: std::env::var("WHEREABOUTS_NAMESPACE").ok(),
        host_name: std::fs::read_to_string("/etc/hostname").ok(),
    };
    let options = match parse(std::env::args_os().skip(1), environment)? {
        Command::Run(options) => options,
        Command::Help => return print(USAGE),
        Command::Version => {
            return print(concat!("whereabouts-daemon, multus-rs v", env!("CARGO_PKG_VERSION"), "\n"));
        }
    };
    let level =
        if std::env::var_os("DEBUG").is_some() { tracing::Level::DEBUG } else { tracing::Level::INFO };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).init();
    // One thread is enough: the daemon mostly waits for the API server.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut term = signal(SignalKind::terminate()).context("waiting for SIGTERM")?;
        let mut int = signal(SignalKind::interrupt()).context("waiting for SIGINT")?;
        let shutdown = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        Ok(whereabouts::daemon::run(*options, shutdown).await?)
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
