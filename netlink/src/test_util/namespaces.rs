//! Network namespaces for tests.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::links::create_veth;
use crate::{
    error::Error,
    netns::Netns,
    socket::{Socket, io_error},
};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace that is mounted at a path until this is dropped. It exists until no process, socket and open [`Netns`]
/// holds it any more.
#[derive(Debug)]
pub struct NamedNetns {
    netns: Netns,
    path: Mounted,
}

#[derive(Debug)]
struct Mounted(PathBuf);

impl NamedNetns {
    /// A new namespace at `/run/netns/mrs-t-<pid>-<n>` with its loopback up.
    pub fn new() -> Result<Self, Error> {
        fs::create_dir_all("/run/netns").map_err(io_error("create /run/netns"))?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/run/netns/mrs-t-{}-{number}", std::process::id()));
        fs::File::create_new(&path).map_err(io_error("create the file of a namespace"))?;
        let path = Mounted(path);
        std::thread::scope(|scope| scope.spawn(|| mount_new(&path.0)).join())
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map_err(io_error("make a network namespace"))?;
        let netns = Netns::open(&path.0)?;
        let socket = Socket::in_netns(&netns)?;
        if let Some(loopback) = socket.link_by_name("lo")? {
            socket.set_up(&loopback)?;
        }
        Ok(Self { netns, path })
    }

    /// The open namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The path, for `CNI_NETNS`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// Opens a socket in it.
    pub fn socket(&self) -> Result<Socket, Error> {
        Socket::in_netns(&self.netns)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.0);
    }
}

/// Mounts a new namespace at `path`. For a thread that ends afterwards, since it stays in the new namespace.
fn mount_new(path: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let none: Option<&str> = None;
    mount(Some("/proc/thread-self/ns/net"), path, none, MsFlags::MS_BIND, none)?;
    Ok(())
}

/// Three namespaces for a node, a pod and another host on the wire. `host` has the master interface [`Testbed::MASTER`], a veth whose
/// other end, [`Testbed::WIRE`], is in `peer`. Both ends are up. `pod` has only a loopback.
#[derive(Debug)]
pub struct Testbed {
    /// The node.
    pub host: NamedNetns,
    /// The pod.
    pub pod: NamedNetns,
    /// Another host on the same wire.
    pub peer: NamedNetns,
}

impl Testbed {
    /// The name of the master interface in `host`.
    pub const MASTER: &str = "mst0";
    /// The name of the interface in `peer`.
    pub const WIRE: &str = "wire0";

    /// Creates the three namespaces and the wire.
    pub fn new() -> Result<Self, Error> {
        let testbed = Self { host: NamedNetns::new()?, pod: NamedNetns::new()?, peer: NamedNetns::new()? };
        let (host, peer) = (testbed.host.socket()?, testbed.peer.socket()?);
        let (master, wire) = create_veth(&host, Self::MASTER, &peer, Self::WIRE)?;
        host.set_up(&master)?;
        peer.set_up(&wire)?;
        Ok(testbed)
    }
}
