//! `multus hotplug`: gives running pods the networks that their annotation requests now.
//!
//! It is the plugin's own code, run by a program that stays: policy, plan, record, progress and the rules of DEL are the same. It asks only
//! the node's daemon, which tells it what changed, and writes what it reports. It uses no credentials. All that it must remember is in the record and the progress
//! file, so it may be killed at any moment.

mod apply;
mod decide;
mod error;
mod log;
mod node_conf;
mod options;
mod sandbox;
mod signals;
mod status;
mod sysctls;
mod todo;
mod work;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use log::{Level, log};
use options::{Options, Request, USAGE};
use signals::{Course, Signals, reap};
use work::Work;

/// The time between two questions to the daemon.
const ROUND: Duration = Duration::from_secs(1);

/// Runs `multus hotplug` with the arguments behind `hotplug`, until SIGTERM. The value is for `main` to return.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match options::parse(args) {
        Ok(Request::Help) => match std::io::stdout().write_all(USAGE.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Ok(Request::Run(options)) => run(options),
        Err(error) => {
            log(Level::Warn, &error);
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> ExitCode {
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(error) => {
            log(Level::Warn, &format_args!("cannot handle SIGTERM: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = sysctls::make_writable() {
        log(
            Level::Warn,
            &format_args!(
                "cannot make /proc/sys/net writable: {error}; networks whose plugins write sysctls fail, and others keep the kernel's settings: \
                 give the container CAP_SYS_ADMIN, and no AppArmor profile that forbids mount"
            ),
        );
    }
    log(
        Level::Info,
        &format_args!(
            "following the annotations of running pods; configuration in {}",
            options.conf_dir.display()
        ),
    );
    let mut work = Work::new(options.conf_dir);
    loop {
        work.round(|| signals.wait(Duration::ZERO) == Course::End);
        reap();
        if signals.wait(ROUND) == Course::End {
            log(Level::Info, &"ending");
            return ExitCode::SUCCESS;
        }
    }
}
