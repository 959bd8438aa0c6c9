//! The `whereabouts` binary; see the library.

use std::process::ExitCode;

// musl's allocator makes a system call for nearly every page, which is slow for a process that lives for milliseconds.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    node::rng::seed_from_kernel();
    cni::plugin::main(&whereabouts::plugin::Whereabouts)
}
