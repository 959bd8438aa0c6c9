//! The `ipvlan` binary; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&ipvlan::Ipvlan)
}
