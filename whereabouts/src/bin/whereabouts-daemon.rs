//! The `whereabouts-daemon` binary; see the library.

use node::daemon::Program;
use whereabouts::daemon::options::{Environment, USAGE, parse};

const PROGRAM: Program =
    Program { name: "whereabouts-daemon", version: env!("CARGO_PKG_VERSION"), usage: USAGE };

fn main() -> anyhow::Result<()> {
    let environment = Environment {
        node_name: std::env::var("NODENAME").ok(),
        namespace: std::env::var("WHEREABOUTS_NAMESPACE").ok(),
        host_name: std::fs::read_to_string("/etc/hostname").ok(),
    };
    let command = parse(std::env::args_os().skip(1), environment)?;
    Ok(node::daemon::run(&PROGRAM, command, whereabouts::daemon::run)?)
}
