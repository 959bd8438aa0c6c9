//! The `whereabouts-daemon` binary, which is also `ip-control-loop`, `node-slice-controller` and `ip-reconciler`; see the library.

use node::daemon::Program;
use whereabouts::daemon::options::{Environment, USAGE};
use whereabouts::daemon::upstream;

const PROGRAM: Program =
    Program { name: "whereabouts-daemon", version: env!("CARGO_PKG_VERSION"), usage: USAGE };

fn main() -> anyhow::Result<()> {
    let environment = Environment {
        node_name: std::env::var("NODENAME").ok(),
        namespace: std::env::var("WHEREABOUTS_NAMESPACE").ok(),
        host_name: std::fs::read_to_string("/etc/hostname").ok(),
    };
    let mut args = std::env::args_os();
    let program = upstream::Program::of(&args.next().unwrap_or_default());
    let command = program.parse(args, environment, upstream::Schedule::find())?;
    Ok(node::daemon::run(&PROGRAM, command, whereabouts::daemon::run)?)
}
