//! The `multus-daemon` binary; see the library.

use daemon::options::{Environment, USAGE, parse};
use node::daemon::{Program, run_with_log};

const PROGRAM: Program = Program { name: "multus-daemon", version: env!("CARGO_PKG_VERSION"), usage: USAGE };

fn main() -> anyhow::Result<()> {
    let command = parse(std::env::args_os().skip(1), Environment::of_process())?;
    Ok(run_with_log(&PROGRAM, command, |options| options.log_level.into(), daemon::run)?)
}
