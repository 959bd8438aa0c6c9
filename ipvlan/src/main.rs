//! The `ipvlan` binary; see the library.

use std::process::ExitCode;

// musl's own allocator makes a third of all system calls of an ADD: it maps and unmaps memory all the time.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    cni::exec::prepare_with(netlink::end_with_caller);
    cni::plugin::main(&ipvlan::Ipvlan)
}
