//! The CNI plugin `multus`, which may also be installed as `multus-shim`. Installed as `passthru` it is the plugin of that name. With
//! the argument `explain` it says what this node knows about a pod, with `hotplug` it changes the networks of running pods.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use multus::{Multus, Passthru};

// The allocator of musl makes a system call for nearly every page.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os().peekable();
    let program = args.next().unwrap_or_default();
    let name = Path::new(&program).file_name().and_then(|name| name.to_str()).unwrap_or("multus");
    // Runtimes call a plugin without arguments.
    if args.next_if(|first| first == "explain").is_some() {
        return multus::explain::main(args);
    }
    if args.next_if(|first| first == "hotplug").is_some() {
        node::rng::seed_from_kernel();
        cni::exec::prepare_with(netlink::end_with_caller);
        return multus::hotplug::main(args);
    }
    if args.any(|arg| matches!(arg.to_str(), Some("-v" | "--version" | "-version" | "--v"))) {
        return print_version(name);
    }
    if name == "passthru" {
        return cni::plugin::main(&Passthru);
    }
    node::rng::seed_from_kernel();
    cni::exec::prepare_with(netlink::end_with_caller);
    let multus = Multus::default();
    let exit = cni::plugin::main(&multus);
    multus.send_events();
    multus::compress_log();
    exit
}

/// Prints the version as upstream does, for tools that parse it. A value that the build did not set is "unknown".
fn print_version(name: &str) -> ExitCode {
    let version = env!("CARGO_PKG_VERSION");
    let state = option_env!("MULTUS_RS_TREE_STATE").unwrap_or("unknown");
    let commit = option_env!("MULTUS_RS_COMMIT").unwrap_or("unknown");
    let date = option_env!("MULTUS_RS_DATE").unwrap_or("unknown");
    let text = format!("{name}: version:{version}({state}), commit:{commit}, date:{date}\n");
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
