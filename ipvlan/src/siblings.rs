//! Protects the mode and flag of a master's other links. The kernel keeps one mode and flag for all ipvlan links of a master, and a new
//! link changes them for all. That could break the networks of running pods, so that ADD refuses a link whose mode or flag differs from
//! that of its siblings.
//!
//! The kernel has no request for a master's mode, nor for its links in other namespaces. So this looks for one sibling: in the master's
//! namespace, in the pod's, and for at most [`LIMIT`] in those mounted in `/run/netns`, where container runtimes mount those of pods. It
//! does not find siblings in namespaces that only a process holds open or that are mounted elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::{CniError, Code};
use netlink::{IpvlanFlag, IpvlanMode, Link, LinkKind, Netns, Socket};

use crate::conf::Conf;

/// Where container runtimes mount network namespaces.
const MOUNTED: &str = "/run/netns";

/// The time limit for the search in mounted namespaces. Enough for thousands of them; on an overloaded node the start of the pod is more
/// important.
const LIMIT: Duration = Duration::from_secs(1);

/// An ipvlan link on the same master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// The path of its namespace.
    pub netns: String,
    /// Its mode, and that of all siblings.
    pub mode: IpvlanMode,
    /// Its flag, and that of all siblings.
    pub flag: IpvlanFlag,
}

/// The namespace of a link that may be a sibling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// The master's.
    SameAsMaster,
    /// Another one.
    Other,
}

/// An ipvlan link of `master`, which is in the namespace of `host`; none if none was found.
pub fn find(host: &Socket, master: &Link, pod: &Socket) -> Result<Option<Sibling>, netlink::Error> {
    // If the master is an ipvlan link itself, the kernel puts the new link on that link's master.
    if let Some(sibling) = sibling(master, host.netns()) {
        return Ok(Some(sibling));
    }
    if let Some(sibling) = among(host, master, Place::SameAsMaster)? {
        return Ok(Some(sibling));
    }
    if let Some(sibling) = among(pod, master, place_of(pod.netns(), host.netns())?)? {
        return Ok(Some(sibling));
    }
    // Without the directory no runtime mounts namespaces here.
    let Ok(mounted) = std::fs::read_dir(Path::new(MOUNTED)) else { return Ok(None) };
    // Errors are ignored: namespaces of other pods end at any time, and must not fail this pod's ADD.
    let sibling_in = |path: &Path| -> Option<Sibling> {
        let netns = Netns::open(path).ok()?;
        let place = place_of(&netns, host.netns()).ok()?;
        among(&Socket::in_netns(&netns).ok()?, master, place).ok()?
    };
    let until = Instant::now() + LIMIT;
    let in_time = mounted.flatten().take_while(|_| Instant::now() < until);
    Ok(in_time.map(|entry| entry.path()).find_map(|path| sibling_in(&path)))
}

fn place_of(netns: &Netns, masters: &Netns) -> Result<Place, netlink::Error> {
    Ok(if netns.is_same(masters)? { Place::SameAsMaster } else { Place::Other })
}

fn among(socket: &Socket, master: &Link, place: Place) -> Result<Option<Sibling>, netlink::Error> {
    let links = socket.ipvlan_links()?;
    let found = links.iter().filter(|link| is_on(link, master, place));
    Ok(found.filter_map(|link| sibling(link, socket.netns())).next())
}

/// Whether `link` is on `master`. Seen from another namespace the parent's index is not enough, since each namespace numbers its own
/// interfaces; there the MAC address, which ipvlan links share with their master, has to match as well.
fn is_on(link: &Link, master: &Link, place: Place) -> bool {
    let on_index = link.parent == Some(master.index);
    match place {
        // In the master's own namespace its index is unique.
        Place::SameAsMaster => on_index && !link.parent_is_elsewhere,
        Place::Other => on_index && link.parent_is_elsewhere && link.mac == master.mac,
    }
}

fn sibling(link: &Link, netns: &Netns) -> Option<Sibling> {
    let LinkKind::Ipvlan { mode, flag } = link.kind else { return None };
    Some(Sibling { name: link.name.clone(), netns: netns.path().display().to_string(), mode, flag })
}

/// Fails with code 7 if the sibling has another mode or flag than the conf says.
pub fn refuse_conflict(conf: &Conf, master: &str, sibling: &Sibling) -> Result<(), CniError> {
    let conflict = |what: &str, present: &dyn std::fmt::Display, requested: &dyn std::fmt::Display| {
        let msg = format!(
            "master {master} has ipvlan links with {what} {present} already, and {what} {requested} would change them all: use {what} {present}, or another master"
        );
        let details = format!("one of them is {} in {}", sibling.name, sibling.netns);
        Err(CniError::new(Code::InvalidConfig, msg).with_details(details))
    };
    if sibling.mode != conf.mode {
        return conflict("mode", &sibling.mode, &conf.mode);
    }
    if sibling.flag != conf.flag {
        return conflict("flag", &sibling.flag, &conf.flag);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, parent: Option<u32>, mac: &str, kind: LinkKind) -> Link {
        Link {
            index,
            name: format!("if{index}"),
            mac: Some(mac.parse().unwrap()),
            mtu: 1500,
            kind,
            parent,
            parent_is_elsewhere: false,
            up: true,
            lower_up: true,
        }
    }

    fn elsewhere(link: Link) -> Link {
        Link { parent_is_elsewhere: true, ..link }
    }

    const A: &str = "02:00:00:00:00:0a";
    const B: &str = "02:00:00:00:00:0b";
    const L2: LinkKind = LinkKind::Ipvlan { mode: IpvlanMode::L2, flag: IpvlanFlag::Bridge };

    #[test]
    fn a_sibling_is_found_by_index_and_in_another_namespace_also_by_mac() {
        let master = link(3, None, A, LinkKind::Plain);
        assert!(is_on(&link(7, Some(3), A, L2), &master, Place::SameAsMaster));
        assert!(!is_on(&link(7, Some(4), A, L2), &master, Place::SameAsMaster));
        assert!(!is_on(&elsewhere(link(7, Some(3), A, L2)), &master, Place::SameAsMaster));
        assert!(is_on(&elsewhere(link(7, Some(3), A, L2)), &master, Place::Other));
        assert!(!is_on(&elsewhere(link(7, Some(3), B, L2)), &master, Place::Other));
        assert!(!is_on(&link(7, Some(3), A, L2), &master, Place::Other));
    }

    #[test]
    fn another_mode_or_flag_is_refused_with_the_siblings_name() {
        let parse = |text: &str| {
            let stdin = format!(r#"{{"name":"n","type":"ipvlan"{text}}}"#).into_bytes();
            let conf = cni::conf::NetConf::parse(&stdin).unwrap();
            let (args, path) = (cni::args::CniArgs::default(), cni::exec::SearchPath::default());
            Conf::parse(&cni::plugin::Call { conf, stdin, args, path }).unwrap()
        };
        let netns = Netns::current().unwrap();
        let sibling = sibling(&link(7, Some(3), A, L2), &netns).unwrap();
        assert!(refuse_conflict(&parse(""), "eth0", &sibling).is_ok());
        let error = refuse_conflict(&parse(r#","mode":"l3""#), "eth0", &sibling).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.msg.contains("master eth0 has ipvlan links with mode l2 already"), "{error}");
        let error = refuse_conflict(&parse(r#","flag":"private""#), "eth0", &sibling).unwrap_err();
        assert!(error.msg.contains("flag bridge already, and flag private would change"), "{error}");
        assert!(error.details.contains("if7"), "{error}");
    }
}
