//! The `whereabouts` binary; see the library.

use std::process::ExitCode;

// musl's allocator asks the kernel for nearly every page.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    node::rng::seed_from_kernel();
    cni::plugin::main(&whereabouts::plugin::Whereabouts)
}
