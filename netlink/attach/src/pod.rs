//! Access to the pod's namespace, and the link in it as results and errors describe it.

use cni::env::Attachment;
use cni::result::Interface;
use cni::{CniError, Code};
use netlink::interface::{may_end_creating, retry};
use netlink::{Link, Netns, Socket};

use crate::conf::invalid;
use crate::error::kernel;

/// Opens a socket in the pod's namespace. Code 8 if the namespace does not exist.
pub fn socket(attachment: &Attachment) -> Result<Socket, CniError> {
    let netns = Netns::open(&attachment.netns).map_err(|error| {
        CniError::new(Code::InvalidNetns, format!("failed to open netns {:?}: {error}", attachment.netns))
    })?;
    Socket::in_netns(&netns).map_err(|e| kernel(&e))
}

/// Creates a link of `kind` ("macvlan") on `master` by `create`, which is repeated for half a second while a link of an earlier pod may be
/// in the way. Code 7 if the name is taken.
pub fn create(
    kind: &str,
    attachment: &Attachment,
    master: &Link,
    create: impl FnMut() -> Result<Link, netlink::Error>,
) -> Result<Link, CniError> {
    let created = retry(may_end_creating, create);
    created.map_err(|error| create_error(&error, kind, attachment, master))
}

fn create_error(error: &netlink::Error, kind: &str, attachment: &Attachment, master: &Link) -> CniError {
    match error {
        // A retry cannot help: an earlier attachment or another network of the pod has the name.
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

/// The link as an interface of a result.
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
