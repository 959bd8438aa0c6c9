//! What people read about a pod's networks: the command `multus explain` on a node, and the text output that `kubectl multus` shares.

mod options;
mod page;
mod render;
mod sandboxes;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use options::{Format, OptionsError, Request, USAGE};

use crate::record::{Moment, RecordError};

pub use page::{Page, json};

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The command line is not understood.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The records cannot be read.
    #[error("{0}; run this as root on the pod's node")]
    Records(#[from] RecordError),
}

/// Runs `multus explain` with the arguments behind `explain`. The value is for `main` to return.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match answer(args, &Moment::now()) {
        Ok(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(failure) => {
            // If standard error is closed, there is nowhere to report it.
            let _ = writeln!(std::io::stderr(), "multus explain: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn answer(args: impl IntoIterator<Item = OsString>, now: &Moment) -> Result<String, Failure> {
    let options = match options::parse(args)? {
        Request::Help => return Ok(USAGE.to_owned()),
        Request::Explain(options) => options,
    };
    let found = sandboxes::read(&options.cni_dir, &options.pod, now)?;
    Ok(match options.format {
        Format::Table => render::render(&found),
        Format::Json => json(&found),
    })
}

#[cfg(test)]
mod tests;
