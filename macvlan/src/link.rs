//! ADD: creates the link and configures it.

use attach::error::kernel;
use attach::rollback::roll_back;
use attach::{ipam, master, pod};
use cni::CniError;
use cni::conf::Ipam;
use cni::env::Attachment;
use cni::plugin::Call;
use cni::result::CniResult;
use netlink::interface::{Ipv6Autoconf, Plan, configure, detect_conflicts};
use netlink::{Link, Mac, MacvlanSpec, MasterSelector, Socket};

use crate::conf::{Conf, ConflictDetection, MacSource};
use crate::{chained, stable_mac};

/// Creates the link, allocates its addresses and configures it. After an error link and addresses are removed again. The result also
/// has what earlier plugins of the chain reported.
pub fn add(attachment: &Attachment, call: &Call) -> Result<CniResult, CniError> {
    // All that can be checked without the kernel comes before the link, so that there is nothing to undo.
    let conf = Conf::parse(call)?;
    let previous = call.conf.prev_result()?;
    let earlier = previous.as_ref().map(|result| result.interfaces.as_slice());
    let masters = chained::masters(&conf.common, &attachment.netns, earlier)?;
    let mac = mac(attachment, call, &conf)?;
    let pod = pod::socket(attachment)?;
    let link = create(attachment, &conf, mac, &masters, &pod)?;
    cni::crash_point!("macvlan-after-create");
    // From here on an error must remove the link.
    let result = configure_link(attachment, call, &conf, &pod, &link);
    let result = result.map_err(|error| roll_back(error, attachment, call, &pod, &link))?;
    Ok(match previous {
        Some(previous) => result.after(previous),
        None => result,
    })
}

/// The MAC address of the link; none for the kernel's choice.
fn mac(attachment: &Attachment, call: &Call, conf: &Conf) -> Result<Option<Mac>, CniError> {
    match conf.mac {
        MacSource::Kernel => Ok(None),
        MacSource::Given(mac) => Ok(Some(mac)),
        MacSource::Pod => stable_mac::derive(&call.args, &attachment.if_name).map(Some),
    }
}

fn create(
    attachment: &Attachment,
    conf: &Conf,
    mac: Option<Mac>,
    masters: &[MasterSelector],
    pod: &Socket,
) -> Result<Link, CniError> {
    let (host, master) = master::find_for_new_link(&conf.common, masters, pod)?;
    let spec = MacvlanSpec {
        mtu: conf.common.mtu,
        mac,
        bc_queue_len: conf.bc_queue_len,
        ..MacvlanSpec::new(attachment.if_name.as_str(), master.index, conf.mode)
    };
    pod::create("macvlan", attachment, &master, || host.create_macvlan(&spec, pod))
}

/// Allocates the addresses, configures the link with them, and returns the result.
fn configure_link(
    attachment: &Attachment,
    call: &Call,
    conf: &Conf,
    pod: &Socket,
    link: &Link,
) -> Result<CniResult, CniError> {
    let result = match &call.conf.ipam {
        Some(ipam) => ipam::add(ipam, call)?,
        // An interface without addresses is allowed: something in the pod may configure it.
        None => CniResult::default(),
    };
    cni::crash_point!("macvlan-after-ipam");
    let plan = plan(conf, call.conf.ipam.as_ref(), &result);
    if conf.conflict_detection == ConflictDetection::On {
        // Before configure, as RFC 5227 requires: a host must not use an address while it probes for it.
        detect_conflicts(pod, link, &plan).map_err(|e| kernel(&e))?;
    }
    configure(pod, link, &plan).map_err(|e| kernel(&e))?;
    cni::crash_point!("macvlan-after-configure");
    Ok(result.on_interface(pod::interface(attachment, link), &call.conf.dns))
}

fn plan(conf: &Conf, ipam: Option<&Ipam>, result: &CniResult) -> Plan {
    let plan = attach::plan::plan(&conf.common, result);
    match (plan.ipv6_autoconf, ipam) {
        // Without IPAM something in the pod configures the addresses, and may need router advertisements.
        (Ipv6Autoconf::Off, None) => Plan { ipv6_autoconf: Ipv6Autoconf::KernelDefault, ..plan },
        _ => plan,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::tests::parse;

    #[test]
    fn without_ipam_the_kernels_defaults_for_ipv6_stay_unless_accept_ra_is_set() {
        let of = |text: &str| plan(&parse(text).unwrap(), None, &CniResult::default()).ipv6_autoconf;
        assert_eq!(of(""), Ipv6Autoconf::KernelDefault);
        assert_eq!(of(r#","acceptRA":true"#), Ipv6Autoconf::On);
        let ipam = br#"{"cniVersion":"1.0.0","name":"n","type":"macvlan","ipam":{"type":"static"}}"#;
        let ipam = cni::conf::NetConf::parse(ipam).unwrap().ipam;
        let with_ipam = plan(&parse("").unwrap(), ipam.as_ref(), &CniResult::default());
        assert_eq!(with_ipam.ipv6_autoconf, Ipv6Autoconf::Off);
    }
}
