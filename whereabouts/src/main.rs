//! The `whereabouts` binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&whereabouts::plugin::Whereabouts)
}
