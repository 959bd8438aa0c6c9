//! The sysctls of network namespaces. A container that is not privileged sees `/proc/sys` read-only, but interface plugins switch off router
//! advertisements in the pod, and `tuning` writes what its configuration says.

use std::fs::OpenOptions;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// The sysctls that belong to the network namespace of whoever opens them.
const NET: &str = "/proc/sys/net";

/// A sysctl to try. It is opened, not written.
const PROBE: &str = "/proc/sys/net/ipv4/ip_forward";

/// Makes `/proc/sys/net`, and nothing else of `/proc/sys`, writable in the mount namespace of this process, which is the container's. On a node
/// itself it is writable.
pub(super) fn make_writable() -> nix::Result<()> {
    let read_only = Some(Errno::EROFS as i32);
    match OpenOptions::new().write(true).open(PROBE) {
        Err(error) if error.raw_os_error() == read_only => {}
        Ok(_) | Err(_) => return Ok(()),
    }
    let none = None::<&str>;
    mount(Some(NET), NET, none, MsFlags::MS_BIND, none)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(none, NET, none, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, none)
}
