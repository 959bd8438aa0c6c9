//! The `macvlan` binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&macvlan::Macvlan)
}
