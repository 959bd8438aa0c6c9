//! The interface that the link sits on.

use cni::plugin::Call;
use cni::{CniError, Code};
use netlink::{Link, MasterError, MasterSelector, Socket, find_master};

use crate::conf::{Common, MasterIn, invalid};
use crate::error::kernel;

/// The first of `masters` that is here, and a socket in its namespace. Code 7 where none is.
pub fn find(conf: &Common, masters: &[MasterSelector], pod: &Socket) -> Result<(Socket, Link), CniError> {
    let socket = match conf.master_in {
        MasterIn::Host => Socket::host(),
        MasterIn::Container => Socket::in_netns(pod.netns()),
    };
    let socket = socket.map_err(|e| kernel(&e))?;
    let link = find_master(&socket, masters).map_err(|e| no_master(Code::InvalidConfig, &e))?;
    Ok((socket, link))
}

/// STATUS: whether a master that the conf names is here, code 50 if not, and the IPAM plugin ready. A master that the conf does not
/// name may come from the plugin before this one, which STATUS does not tell.
pub fn status(conf: &Common, call: &Call) -> Result<(), CniError> {
    if conf.master_in == MasterIn::Host && !conf.master.is_empty() {
        let host = Socket::host().map_err(|e| kernel(&e))?;
        find_master(&host, &conf.master).map_err(|e| no_master(Code::NotAvailable, &e))?;
    }
    crate::ipam::forward(cni::env::Verb::Status, call)
}

/// Refuses an MTU greater than the master's. Code 7.
pub fn check_mtu(conf: &Common, master: &Link) -> Result<(), CniError> {
    match conf.mtu {
        Some(mtu) if mtu > master.mtu => {
            Err(invalid(format!("invalid MTU {mtu}, must be [0, master MTU({})]", master.mtu))
                .with_details(format!("the master is {}", master.name)))
        }
        Some(_) | None => Ok(()),
    }
}

/// Why there is no master, and what to do.
fn no_master(code: Code, error: &MasterError) -> CniError {
    let advice = match error {
        MasterError::NoDefaultRoute => "name the interface by the key \"master\"",
        MasterError::NotFound { .. } => {
            "\"master\" may be a list of names, {\"mac\": ..} and {\"subnet\": ..}, so that one conf serves nodes whose cards differ"
        }
        MasterError::Netlink(error) => return kernel(error).context("failed to lookup the master interface"),
    };
    CniError::new(code, error.to_string()).with_details(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_no_master_is_told_the_key() {
        let error = no_master(Code::InvalidConfig, &MasterError::NoDefaultRoute);
        assert_eq!(error.msg, "no default route interface found");
        assert_eq!(error.details, "name the interface by the key \"master\"");
        let wanted = vec![MasterSelector::Name("eth9".into())];
        let error =
            no_master(Code::NotAvailable, &MasterError::NotFound { wanted, present: vec!["lo".into()] });
        assert_eq!(error.code, Code::NotAvailable);
        assert_eq!(error.msg, "failed to lookup master \"eth9\": no such interface here; there are lo");
    }
}
