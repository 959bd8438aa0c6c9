//! Finds the master: the interface that the link is on.

use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Link, MasterError, MasterSelector, Socket, find_master};

use crate::conf::{Common, MasterIn, invalid};
use crate::error::kernel;

/// The interface that the first matching selector selects, and a socket in its namespace. Code 7 if none matches.
pub fn find(conf: &Common, masters: &[MasterSelector], pod: &Socket) -> Result<(Socket, Link), CniError> {
    let socket = match conf.master_in {
        MasterIn::Host => Socket::host(),
        MasterIn::Container => Socket::in_netns(pod.netns()),
    };
    let socket = socket.map_err(|e| kernel(&e))?;
    let link = find_master(&socket, masters).map_err(|e| no_master(Code::InvalidConfig, &e))?;
    Ok((socket, link))
}

/// STATUS: fails with code 50 if the conf names a master and none of the selectors matches, and with the IPAM plugin's error. Without
/// `master` the interface may come from an earlier plugin of the chain, which STATUS does not get.
pub fn status(conf: &Common, call: &Call) -> Result<(), CniError> {
    // STATUS gets no CNI_NETNS, so that a master in the pod cannot be looked up.
    if conf.master_in == MasterIn::Host && !conf.master.is_empty() {
        let host = Socket::host().map_err(|e| kernel(&e))?;
        find_master(&host, &conf.master).map_err(|e| no_master(Code::NotAvailable, &e))?;
    }
    crate::ipam::forward(cni::env::Verb::Status, call)
}

/// As [`find`] for ADD; also fails with code 7 if the MTU of the conf is greater than the master's.
pub fn find_for_new_link(
    conf: &Common,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<(Socket, Link), CniError> {
    let (socket, master) = find(conf, masters, pod)?;
    check_mtu(conf, &master)?;
    Ok((socket, master))
}

fn check_mtu(conf: &Common, master: &Link) -> Result<(), CniError> {
    // Checked here because the kernel returns EINVAL for macvlan, without an explanation.
    match conf.mtu {
        Some(mtu) if mtu > master.mtu => {
            Err(invalid(format!("invalid MTU {mtu}, must be [0, master MTU({})]", master.mtu))
                .with_details(format!("the master is {}", master.name)))
        }
        Some(_) | None => Ok(()),
    }
}

/// The error for a missing master, with advice.
fn no_master(code: Code, error: &MasterError) -> CniError {
    let advice = match error {
        MasterError::NoDefaultRoute => "name the interface by the key \"master\"",
        MasterError::NotFound { .. } => {
            "for nodes with different cards, \"master\" can be a list of names, {\"mac\": ..} and {\"subnet\": ..}"
        }
        MasterError::Netlink(error) => return kernel(error).context("failed to lookup the master interface"),
    };
    CniError::new(code, error.to_string()).with_details(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_the_key_or_the_interfaces_that_exist() {
        let error = no_master(Code::InvalidConfig, &MasterError::NoDefaultRoute);
        assert_eq!(error.msg, "no default route interface found");
        assert_eq!(error.details, "name the interface by the key \"master\"");
        let selectors = vec![MasterSelector::Name("eth9".into())];
        let error =
            no_master(Code::NotAvailable, &MasterError::NotFound { selectors, present: vec!["lo".into()] });
        assert_eq!(error.code, Code::NotAvailable);
        assert_eq!(error.msg, "failed to lookup master \"eth9\": no such interface here; there are lo");
    }
}
