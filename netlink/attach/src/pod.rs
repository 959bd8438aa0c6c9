//! The pod's namespace, and the link in it.

use cni::env::Attachment;
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::{Link, Netns, Socket};

use crate::conf::invalid;
use crate::error::kernel;

/// A socket in the pod's namespace. Code 8 where there is no such namespace.
pub fn socket(attachment: &Attachment) -> Result<Socket, CniError> {
    let netns = Netns::open(&attachment.netns).map_err(|error| {
        CniError::new(Code::InvalidNetns, format!("failed to open netns {:?}: {error}", attachment.netns))
    })?;
    Socket::in_netns(&netns).map_err(|e| kernel(&e))
}

/// Why a link of `kind`, "macvlan", could not be made on `master`. Code 7 where its name is taken.
pub fn not_made(error: &netlink::Error, kind: &str, attachment: &Attachment, master: &Link) -> CniError {
    match error {
        netlink::Error::Exists(_) => invalid(format!(
            "interface name {} already exists in {}",
            attachment.if_name,
            attachment.netns.display()
        )),
        other => {
            CniError::new(Code::Internal, format!("failed to create {kind} on {}: {other}", master.name))
        }
    }
}

/// The link as results have it.
pub fn interface(attachment: &Attachment, link: &Link) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: mac_text(link),
        mtu: link.mtu,
        sandbox: attachment.netns.to_string_lossy().into_owned(),
        ..Interface::default()
    }
}

pub(crate) fn mac_text(link: &Link) -> String {
    link.mac.map(|mac| mac.to_string()).unwrap_or_default()
}
