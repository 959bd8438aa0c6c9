//! The `ipvlan` binary; see the library.

use std::process::ExitCode;

// musl's allocator maps and unmaps memory a third of all system calls of an ADD.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    cni::plugin::main(&ipvlan::Ipvlan)
}
