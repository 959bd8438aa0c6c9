//! The `multus-daemon` binary, which is also upstream's installers; see the library.

use daemon::install::Entry;
use daemon::options::{Environment, USAGE, parse};
use node::daemon::{Program, run_with_log};

const PROGRAM: Program = Program { name: "multus-daemon", version: env!("CARGO_PKG_VERSION"), usage: USAGE };

fn main() -> anyhow::Result<()> {
    if let Some((entry, args)) = Entry::of(std::env::args_os()) {
        return Ok(entry.run(args)?);
    }
    let command = parse(std::env::args_os().skip(1), Environment::of_process())?;
    Ok(run_with_log(&PROGRAM, command, |options| options.log.clone(), daemon::run)?)
}
