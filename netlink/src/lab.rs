//! Test support: network namespaces that vanish with their guards, also when a test panics.
//!
//! Behind the cargo feature `lab`; nothing here is for programs. Needs root.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NetlinkMessage};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoVeth, LinkAttribute, Prop},
};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rtnetlink::{LinkBridge, LinkUnspec, LinkVeth};

use crate::{
    Address, Error, Link, Netns, Route, Socket,
    addr::address_of,
    answer::{Failure, Step, step},
    route::routes_of,
    socket::{About, io_error, raw_fd},
};

mod frames;

pub use frames::Frames;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A network namespace with a path, unmounted and removed when dropped. It ends once no process, socket or
/// open [`Netns`] holds it any more.
#[derive(Debug)]
pub struct NamedNetns {
    netns: Netns,
    path: Mounted,
}

#[derive(Debug)]
struct Mounted(PathBuf);

impl NamedNetns {
    /// A new namespace at `/run/netns/mrs-t-<pid>-<n>`, its loopback up.
    pub fn new() -> Result<Self, Error> {
        fs::create_dir_all("/run/netns").map_err(io_error("create /run/netns"))?;
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/run/netns/mrs-t-{}-{number}", std::process::id()));
        fs::File::create_new(&path).map_err(io_error("create the file of a namespace"))?;
        let path = Mounted(path);
        std::thread::scope(|scope| scope.spawn(|| mount_new(&path.0)).join())
            .unwrap_or_else(|_panic| Err(io::ErrorKind::Other.into()))
            .map_err(io_error("make a network namespace"))?;
        let netns = Netns::open(&path.0)?;
        let socket = Socket::in_netns(&netns)?;
        if let Some(loopback) = socket.link_by_name("lo")? {
            socket.set_up(&loopback)?;
        }
        Ok(Self { netns, path })
    }

    /// The open namespace. `netns().run(...)` starts processes in it.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its path, to hand to a plugin.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path.0
    }

    /// A socket in it.
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

/// On a thread that ends afterwards, in the namespace it made.
fn mount_new(path: &Path) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let none: Option<&str> = None;
    mount(Some("/proc/thread-self/ns/net"), path, none, MsFlags::MS_BIND, none)?;
    Ok(())
}

/// A node, a pod and a neighbour on the wire, as namespaces: `host` has the master interface
/// [`Lab::MASTER`], a veth whose other end, [`Lab::WIRE`], is in `peer`. Both ends are up. `pod` is empty.
#[derive(Debug)]
pub struct Lab {
    /// The node.
    pub host: NamedNetns,
    /// The pod.
    pub pod: NamedNetns,
    /// Another host on the same wire.
    pub peer: NamedNetns,
}

impl Lab {
    /// Name of the master interface in `host`.
    pub const MASTER: &str = "mst0";
    /// Name of the interface in `peer`.
    pub const WIRE: &str = "wire0";

    /// Makes the three namespaces and the wire.
    pub fn new() -> Result<Self, Error> {
        let lab = Self { host: NamedNetns::new()?, pod: NamedNetns::new()?, peer: NamedNetns::new()? };
        let (host, peer) = (lab.host.socket()?, lab.peer.socket()?);
        let (master, wire) = create_veth(&host, Self::MASTER, &peer, Self::WIRE)?;
        host.set_up(&master)?;
        peer.set_up(&wire)?;
        Ok(lab)
    }
}

/// Makes a veth pair, `name` in the namespace of `socket` and `peer_name` in that of `peer`, both down.
pub fn create_veth(
    socket: &Socket,
    name: &str,
    peer: &Socket,
    peer_name: &str,
) -> Result<(Link, Link), Error> {
    let about = About { op: "create veth", object: &name };
    let mut other_end = LinkUnspec::new_with_name(peer_name).build();
    other_end.attributes.push(LinkAttribute::NetNsFd(raw_fd(peer.netns())));
    let builder = LinkVeth::new(name, peer_name).set_info_data(InfoData::Veth(InfoVeth::Peer(other_end)));
    create(socket, about, builder.build())?;
    let found = (socket.link_by_name(name)?, peer.link_by_name(peer_name)?);
    let (Some(one), Some(two)) = found else { return Err(about.unexpected("an end is missing")) };
    Ok((one, two))
}

/// Makes a bridge, down.
pub fn create_bridge(socket: &Socket, name: &str) -> Result<Link, Error> {
    let about = About { op: "create bridge", object: &name };
    create(socket, about, LinkBridge::new(name).build())?;
    socket.link_by_name(name)?.ok_or_else(|| about.unexpected("it is missing"))
}

/// Gives `link` a further name.
pub fn add_alt_name(socket: &Socket, link: &Link, name: &str) -> Result<(), Error> {
    let names = LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    let message = LinkUnspec::new_with_index(link.index).append_extra_attribute(names).build();
    let about = About { op: "add an alternative name to", object: link };
    socket.change(about, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLinkProp(message))
}

/// Makes `port` a port of `bridge`.
pub fn enslave(socket: &Socket, port: &Link, bridge: &Link) -> Result<(), Error> {
    let message = LinkUnspec::new_with_index(port.index).controller(bridge.index).build();
    socket.change(About { op: "add port", object: port }, 0, RouteNetlinkMessage::SetLink(message))
}

fn create(
    socket: &Socket,
    about: About<'_>,
    message: netlink_packet_route::link::LinkMessage,
) -> Result<(), Error> {
    socket.change(about, NLM_F_CREATE | NLM_F_EXCL, RouteNetlinkMessage::NewLink(message))
}

/// What a message from the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// An interface.
    Link(Link),
    /// An address that can be one; an entry without address is left out.
    Address(Option<Address>),
    /// Unicast routes, one for each next hop; none for other routes.
    Routes(Vec<Route>),
    /// Another object.
    Other,
    /// The end of an answer.
    End,
    /// A refusal: its error number, and the kernel's explanation.
    Refused(i32, Option<String>),
    /// No message, or none that an answer may hold.
    Unreadable,
}

/// Reads one message as the sockets do. What it is given may be anything.
#[must_use]
pub fn read_reply(bytes: &[u8]) -> Reply {
    let Ok(message) = NetlinkMessage::deserialize(bytes) else { return Reply::Unreadable };
    match step(message) {
        Step::Object(object) => match *object {
            RouteNetlinkMessage::NewLink(link) => Reply::Link(link.into()),
            address @ RouteNetlinkMessage::NewAddress(_) => Reply::Address(address_of(address)),
            route @ RouteNetlinkMessage::NewRoute(_) => Reply::Routes(routes_of(route)),
            _ => Reply::Other,
        },
        Step::End(Ok(())) => Reply::End,
        Step::End(Err(Failure::Refused { errno, ext_ack })) => Reply::Refused(errno, ext_ack),
        Step::End(Err(_)) => Reply::Unreadable,
    }
}
