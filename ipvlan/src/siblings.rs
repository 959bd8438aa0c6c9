//! Mode and flag belong to the master: the kernel gives every link of a master those of the link made last. A new link with others
//! than its siblings would change how the networks of running pods work, so the siblings are looked for before it is made.
//!
//! The kernel refuses none of this, nor does it tell a master's mode, or which links of other namespaces sit on it; one sibling has to
//! be found beforehand. Looked at are the master's namespace, the pod's, and, as long as [`LIMIT`] allows, those mounted in `/run/netns`,
//! where container runtimes keep those of pods; of each, its ipvlan links only. What cannot be seen: siblings in namespaces that only a
//! process holds, or that are mounted elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use cni::{CniError, Code};
use netlink::{IpvlanFlag, IpvlanMode, Link, LinkKind, Netns, Socket};

use crate::conf::Conf;

/// Where container runtimes mount network namespaces.
const MOUNTED: &str = "/run/netns";

/// How long namespaces other than the master's and the pod's are looked at: enough for thousands, unless the node is overwhelmed, where
/// looking on would take of the pod's time to start.
const LIMIT: Duration = Duration::from_secs(1);

/// A link that is on the master already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Its name.
    pub name: String,
    /// The namespace it was seen in.
    pub netns: String,
    /// The mode of all of them.
    pub mode: IpvlanMode,
    /// The flag of all of them.
    pub flag: IpvlanFlag,
}

/// From where a link is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// From the namespace that the master is in.
    BesideMaster,
    /// From another one.
    Elsewhere,
}

/// An ipvlan link of `master`, which is in the namespace of `host`. `None` where none could be seen.
pub fn find(host: &Socket, master: &Link, pod: &Socket) -> Result<Option<Sibling>, netlink::Error> {
    // A link on an ipvlan link goes to that one's master.
    if let Some(sibling) = sibling(master, host.netns()) {
        return Ok(Some(sibling));
    }
    if let Some(sibling) = among(host, master, Seen::BesideMaster)? {
        return Ok(Some(sibling));
    }
    if let Some(sibling) = among(pod, master, seen_from(pod.netns(), host.netns())?)? {
        return Ok(Some(sibling));
    }
    let Ok(mounted) = std::fs::read_dir(Path::new(MOUNTED)) else { return Ok(None) };
    // A namespace that cannot be looked at, or ends meanwhile, is another pod's business.
    let look = |path: &Path| -> Option<Sibling> {
        let netns = Netns::open(path).ok()?;
        let seen = seen_from(&netns, host.netns()).ok()?;
        among(&Socket::in_netns(&netns).ok()?, master, seen).ok()?
    };
    let until = Instant::now() + LIMIT;
    let in_time = mounted.flatten().take_while(|_| Instant::now() < until);
    Ok(in_time.map(|entry| entry.path()).find_map(|path| look(&path)))
}

fn seen_from(netns: &Netns, masters: &Netns) -> Result<Seen, netlink::Error> {
    Ok(if netns.is_same(masters)? { Seen::BesideMaster } else { Seen::Elsewhere })
}

fn among(socket: &Socket, master: &Link, seen: Seen) -> Result<Option<Sibling>, netlink::Error> {
    let links = socket.ipvlan_links()?;
    let found = links.iter().filter(|link| is_on(link, master, seen));
    Ok(found.filter_map(|link| sibling(link, socket.netns())).next())
}

/// From another namespace the master is known by its index, which is unique in its own namespace only, and by the MAC address that
/// its links share.
fn is_on(link: &Link, master: &Link, seen: Seen) -> bool {
    let on_index = link.parent == Some(master.index);
    match seen {
        Seen::BesideMaster => on_index && !link.parent_is_elsewhere,
        Seen::Elsewhere => on_index && link.parent_is_elsewhere && link.mac == master.mac,
    }
}

fn sibling(link: &Link, netns: &Netns) -> Option<Sibling> {
    let LinkKind::Ipvlan { mode, flag } = link.kind else { return None };
    Some(Sibling { name: link.name.clone(), netns: netns.path().display().to_string(), mode, flag })
}

/// Refuses a link whose mode or flag is not that of its sibling. Code 7.
pub fn refuse_conflict(conf: &Conf, master: &str, sibling: &Sibling) -> Result<(), CniError> {
    let conflict = |what: &str, present: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
        let msg = format!(
            "master {master} has ipvlan links with {what} {present} already, which {what} {wanted} would change for all: use {what} {present}, or another master"
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
    use netlink::OperState;

    fn link(index: u32, parent: Option<u32>, mac: &str, kind: LinkKind) -> Link {
        Link {
            index,
            name: format!("if{index}"),
            mac: Some(mac.parse().unwrap()),
            mtu: 1500,
            kind,
            parent,
            parent_is_elsewhere: false,
            controller: None,
            up: true,
            lower_up: true,
            oper_state: OperState::Up,
            alt_names: Vec::new(),
        }
    }

    fn elsewhere(link: Link) -> Link {
        Link { parent_is_elsewhere: true, ..link }
    }

    const A: &str = "02:00:00:00:00:0a";
    const B: &str = "02:00:00:00:00:0b";
    const L2: LinkKind = LinkKind::Ipvlan { mode: IpvlanMode::L2, flag: IpvlanFlag::Bridge };

    #[test]
    fn a_link_is_on_the_master_by_index_and_from_elsewhere_by_mac_too() {
        let master = link(3, None, A, LinkKind::Plain);
        assert!(is_on(&link(7, Some(3), A, L2), &master, Seen::BesideMaster));
        assert!(!is_on(&link(7, Some(4), A, L2), &master, Seen::BesideMaster));
        assert!(!is_on(&elsewhere(link(7, Some(3), A, L2)), &master, Seen::BesideMaster));
        assert!(is_on(&elsewhere(link(7, Some(3), A, L2)), &master, Seen::Elsewhere));
        assert!(!is_on(&elsewhere(link(7, Some(3), B, L2)), &master, Seen::Elsewhere));
        assert!(!is_on(&link(7, Some(3), A, L2), &master, Seen::Elsewhere));
    }

    #[test]
    fn another_mode_or_flag_than_the_siblings_is_refused_by_name() {
        let of_conf = |text: &str| {
            let stdin = format!(r#"{{"name":"n","type":"ipvlan"{text}}}"#).into_bytes();
            let conf = cni::conf::NetConf::parse(&stdin).unwrap();
            let (args, path) = (cni::args::CniArgs::default(), cni::exec::SearchPath::default());
            Conf::parse(&cni::plugin::Call { conf, stdin, args, path }).unwrap()
        };
        let netns = Netns::current().unwrap();
        let sibling = sibling(&link(7, Some(3), A, L2), &netns).unwrap();
        assert!(refuse_conflict(&of_conf(""), "eth0", &sibling).is_ok());
        let error = refuse_conflict(&of_conf(r#","mode":"l3""#), "eth0", &sibling).unwrap_err();
        assert_eq!(error.code, Code::InvalidConfig);
        assert!(error.msg.contains("master eth0 has ipvlan links with mode l2 already"), "{error}");
        let error = refuse_conflict(&of_conf(r#","flag":"private""#), "eth0", &sibling).unwrap_err();
        assert!(error.msg.contains("flag bridge already, which flag private would change"), "{error}");
        assert!(error.details.contains("if7"), "{error}");
    }
}
